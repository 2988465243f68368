"""/accounts/{account}/events and /events: what happens to an account, or to all, as it is booked."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Annotated, Any, Protocol, Self, TypeVar

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from charging.clock import Clock, iso
from charging.errors import LedgerError
from charging.service.actor import actor, customer, is_for_customer
from charging.service.events import Event, Line, Place, Reader, What
from charging.service.refusal import Code, Refused
from charging.service.service import Service
from charging.web.forms import EVENT_CURSOR, FEED_AFTER, FEED_CURSOR
from charging.web.models import Instant
from charging.web.parts import DIGITS, TheService, matches
from charging.web.problem import Refusal, granted
from charging.web.public import STANDS

router = APIRouter(prefix="/accounts/{account}/events", tags=["events"])
of_all = APIRouter(prefix="/events", tags=["events"])

SSE = "text/event-stream"
STREAMS_MAX = 32
"""At a time; each holds a connection."""
STREAMS_MAX_EACH = 4
"""Of them, of one token, or of all that are bound to one account."""
STREAMS_OF_CUSTOMERS_MAX = 16
"""Of them, of all tokens that are bound to an account: some customers must not keep the operator's website out."""
CUSTOMER = "customer's "
"""How those are counted: before the account, for an actor's name has no space."""
STREAM_S = 300
"""After which a stream ends, and its client connects again."""
END = "end"
"""In place of a cursor: behind all that has happened."""
LOOK_S = 1
"""Between two looks for what is new."""
ROWS = 100
Rows = Annotated[int, Query(ge=1, le=ROWS, description="rows in a page"), DIGITS]
RESET = "reset"
"""The name of what a stream says in place of the status 410: a browser's reader would not go on after that."""
LAST = (
    "the last event's id, as a browser sends it that connects again; it counts in place of `after`; empty: no event "
    "was seen"
)


PLACE_OF = {
    EVENT_CURSOR: "the `cursor` of a page of this account's events, or the id of one of them",
    FEED_CURSOR: "the `cursor` of a page of /v1/events, or an event's id there, or `end`",
}
ADVICE = (
    "0, or none, begins with the first event that is kept; the ids of /v1/events and those of /v1/accounts/ID/events "
    "are not the same: keep one for each stream that you read"
)
P = TypeVar("P", Line, Place)


class Asked(Protocol[P]):
    """What comes behind a place, and the place behind that."""

    async def __call__(self, after: P, /) -> tuple[list[Event], P] | Refused: ...


class EventOut(BaseModel):
    """Something that was booked."""

    id: str = Field(description="unique within the stream: the cursor behind this event")
    type: What
    account: str
    at: Instant
    data: dict[str, Any] = Field(
        description="of money: amount, reason, transfer, and for tokens of the scope audit actor; of free minutes: "
        "seconds, month; of a call, a message or a fax: session; with its end: cost and cdr; "
        "of a refused call: reason, outcome, number, decision; of a notice: notice and kind; of a setting: act, "
        "fields, number, change; of a restored ledger, which is no account's: after and change"
    )

    @classmethod
    def of(cls, event: Event) -> Self:
        return cls(id=event.id, type=event.what, account=event.account, at=iso(event.at_us), data=dict(event.data))


class Reset(BaseModel):
    """What a stream says where its cursor is of no use any more."""

    code: Code
    detail: str
    after: str = Field(description="the cursor from which the stream goes on")


class EventPage(BaseModel):
    """Some events, and where to go on."""

    items: list[EventOut]
    cursor: str = Field(description="for `after` next time, also if nothing is new")


@router.get("", responses={200: {"content": {SSE: {"schema": {"type": "string"}}}}}, response_model=EventPage)
async def list_events(
    request: Request,
    account: str,
    service: TheService,
    after: Annotated[
        str | None,
        Query(
            max_length=24,
            description="`cursor` of the page before, or an event's id; left out: from the first that is kept",
            json_schema_extra={"pattern": EVENT_CURSOR},
        ),
    ] = None,
    limit: Rows = ROWS,
    last_event_id: Annotated[
        str | None, Header(max_length=24, description=LAST, json_schema_extra={"pattern": rf"^$|{EVENT_CURSOR}"})
    ] = None,
) -> Response | EventPage:
    """What has happened to the account, oldest first: credit, free minutes, calls, messages, faxes. If the request
    accepts `text/event-stream`, what happens from then on is sent as it is booked, for some minutes; a browser connects
    again by itself, and misses nothing. A page may have fewer than ``limit`` items though more follow: go on until the
    cursor stays. 410: what was asked for is archived, or the ledger was restored from an older copy (``code`` is
    ``rewound``); go on with ``after``. A stream says the same by an event ``reset``, and goes on from there."""
    place = _line(_cursor(EVENT_CURSOR, after, last_event_id or None))
    asked = partial(service.events.page, account, limit=ROWS)
    return await _answer(request, service, await service.events.page(account, place, limit), asked, _line)


@of_all.get("", responses={200: {"content": {SSE: {"schema": {"type": "string"}}}}}, response_model=EventPage)
async def list_all_events(
    request: Request,
    service: TheService,
    after: Annotated[
        str | None,
        Query(
            max_length=20,
            description="`cursor` of the page before, or an event's id; left out: from the first that is kept; `end`: "
            "what happens from now on",
            json_schema_extra={"pattern": FEED_AFTER},
        ),
    ] = None,
    account: Annotated[str | None, Query(max_length=500, description="its own alone")] = None,
    limit: Rows = ROWS,
    last_event_id: Annotated[
        str | None, Header(max_length=20, description=LAST, json_schema_extra={"pattern": rf"^$|{FEED_CURSOR}"})
    ] = None,
) -> Response | EventPage:
    """What has happened to all accounts, or to one, in one order: what is booked, and calls that were not forwarded,
    notices and changed settings. Pages, streams and 410 as of one account's bookings."""
    if account is not None:
        granted(await service.accounts.get(account))
    if after == END and not last_event_id:
        place = await service.events.end()
    else:
        place = _place(_cursor(FEED_CURSOR, None if after == END else after, last_event_id or None))
    asked = partial(service.events.of_all, limit=ROWS, account=account)
    return await _answer(request, service, await service.events.of_all(place, limit, account=account), asked, _place)


async def _answer(
    request: Request,
    service: Service,
    answer: tuple[list[Event], P] | Refused,
    asked: Asked[P],
    read: Callable[[str], P],
) -> Response | EventPage:
    if SSE in request.headers.get("accept", "") and (not isinstance(answer, Refused) or answer.after):
        reader, good = Reader(), request.scope.get(STANDS, _always)

        async def stands() -> bool:
            return not reader.must_go and await good()

        return _Stream(service, reader, _told(service.clock, answer, asked, read, stands))
    found, place = granted(answer)
    return EventPage(items=[EventOut.of(one) for one in found], cursor=str(place))


def _line(cursor: str) -> Line:
    number, _, mark = cursor.partition("-")
    return Line(int(number), mark)


def _place(cursor: str) -> Place:
    place, _, part = cursor.partition(".")
    return Place(int(place), int(part or 0))


def _cursor(form: str, after: str | None, last_event_id: str | None) -> str:
    """Where to go on: a browser that connects again sends ``Last-Event-ID`` beside the first address."""
    found = "0"
    for at, one in (("?after", after), ("Last-Event-Id", last_event_id)):
        if one is not None and not matches(form, one):
            raise Refusal(Refused(Code.INVALID, f"found {one[:40]!r}, expected {PLACE_OF[form]}", ADVICE, at=at))
        found = one or found
    return found


async def _always() -> bool:
    return True


class _Stream(StreamingResponse):
    """Events as they come. It counts from before its first byte until its end, however that comes about."""

    def __init__(self, service: Service, reader: Reader, told: AsyncIterator[str]) -> None:
        super().__init__(told, media_type=SSE, headers={"Cache-Control": "no-store"})
        self._open = service.events.streams
        self._reader = reader

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._reader.who = CUSTOMER + customer() if is_for_customer() else actor()
        _make_room(self._reader.who, [one for one in self._open if not one.must_go])
        self._open.append(self._reader)
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._open.remove(self._reader)


def _make_room(who: str, open: Sequence[Reader]) -> None:
    """Have another's stream end, where all are a customer's and his account has fewer. Raises Refusal."""
    theirs = [one for one in open if one.who.startswith(CUSTOMER)] if who.startswith(CUSTOMER) else []
    counts = Counter(one.who for one in open)
    most = max(theirs, key=lambda one: counts[one.who], default=None)
    is_full = len(theirs) >= STREAMS_OF_CUSTOMERS_MAX
    if counts[who] >= STREAMS_MAX_EACH:
        whose = "tokens of this account" if who.startswith(CUSTOMER) else "this token"
        why = f"{STREAMS_MAX_EACH} streams of events are open already with {whose}"
    elif is_full and most is not None and counts[most.who] > counts[who] + 1:
        most.must_go = True  # its client connects again, and misses nothing
        return
    elif is_full:
        why = f"{STREAMS_OF_CUSTOMERS_MAX} streams of events are open already with tokens of customers"
    elif len(open) >= STREAMS_MAX:
        why = f"{STREAMS_MAX} streams of events are open already"
    else:
        return
    raise Refusal(Refused(Code.UNAVAILABLE, why, "ask for pages, or again later"))


async def _told(
    clock: Clock,
    answer: tuple[list[Event], P] | Refused,
    asked: Asked[P],
    read: Callable[[str], P],
    stands: Callable[[], Awaitable[bool]],
) -> AsyncIterator[str]:
    """Events as they come, and between them a comment, which keeps the connection alive. An id without an event says
    how far was looked: who connects again goes on from there. It ends with the token that has asked for it
    (``stands``), or for another's stream."""
    seen = ""
    end_us = clock.now().plus(STREAM_S).mono_us
    with contextlib.suppress(LedgerError):  # the client connects again, and is told then
        yield ": events\n\n"
        while clock.now().mono_us < end_us and await stands():
            if isinstance(answer, Refused):
                if not answer.after:
                    return
                place, seen = read(answer.after), answer.after
                reset = Reset(code=answer.code, detail=answer.message, after=seen)
                yield f"id: {seen}\nevent: {RESET}\ndata: {reset.model_dump_json()}\n\n"
            else:
                found, place = answer
                for event in found:
                    out = EventOut.of(event)
                    seen = out.id
                    yield f"id: {out.id}\nevent: {out.type}\ndata: {out.model_dump_json()}\n\n"
                if seen != str(place):
                    seen = str(place)
                    yield f"id: {seen}\n\n"
            answer = await asked(place)
            if not isinstance(answer, Refused) and answer[1] == place:
                yield ": none\n\n"
                await clock.sleep_until(clock.now().plus(LOOK_S).mono_us)
