"""/webhooks: what the operator's programs were told, and what they have not taken. Only on the control socket."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Self

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, Field

from charging.clock import iso
from charging.service.refusal import Refused
from charging.service.webhooks import Endpoint, Failing, Letter, Report, Webhooks, behind_us, failing
from charging.web.forms import FEED_CURSOR, told
from charging.web.models import Body, Instant, Page, iso_or_none
from charging.web.parts import Limit, bad_cursor, matches
from charging.web.problem import Refusal, granted

router = APIRouter(prefix="/webhooks", tags=["webhooks"])
lists = APIRouter(prefix="/webhooks", tags=["webhooks"])
"""What reads every letter."""

EventId = Annotated[str, told(FEED_CURSOR, max_length=20, description="its id in the stream of all accounts")]
Count = Annotated[int, Field(ge=0, le=2**53)]
RESENT_AT_ONCE = 100


class PlaceNew(Body):
    """How far a sender is."""

    place: EventId
    off: bool
    report: ReportNew


class ReportNew(Body):
    """What it has seen since it last said so; times in microseconds."""

    told_us: Count
    waiting: Count
    dead: Count
    taken: Count
    failed: Count
    why: str = Field("", max_length=500)
    next_us: Count | None = None


class LetterNew(Body):
    """An event that was not taken; times in microseconds."""

    event: EventId
    account: str = Field(max_length=500)
    what: str = Field(max_length=40)
    at_us: Count
    why: str = Field(max_length=500)
    tries: Count
    next_us: Count | None
    rest: bool = False
    skipped: bool = False

    @property
    def letter(self) -> Letter:
        return Letter(**self.model_dump())


class Delivery(Body):
    """A letter was taken."""

    event: EventId


class EndpointOut(BaseModel):
    """How far an endpoint was told."""

    place: str = Field(description="a cursor of the stream of all accounts")
    off: bool = Field(description="it has answered 410: nothing is sent")

    @classmethod
    def of(cls, one: Endpoint) -> Self:
        return cls(place=one.place, off=one.off)


class WebhookOut(BaseModel):
    """An endpoint, and what it has not taken."""

    name: str
    place: str = Field(description="a cursor of the stream of all accounts; empty: nothing was sent yet")
    told: Instant | None = Field(description="when that was")
    behind: Instant | None = Field(
        description="since when events wait that it was not told: it is away, off, or nobody sends; null: none does"
    )
    off: bool
    in_settings: bool = Field(description="else nothing is sent to it, and its letters wait to be dropped")
    waiting: int = Field(description="letters that are tried again")
    dead: int = Field(description="letters that wait for an order")
    why: str = Field(description="why the last try has failed; empty: it has not")
    next: Instant | None = Field(description="when it is tried again; null: nothing waits for that")


class LetterOut(BaseModel):
    """An event that was not taken."""

    event: str
    account: str
    type: str
    at: Instant
    tries: int
    next: str | None = Field(description="when it is tried again; null: it is dead, and waits for an order")
    why: str
    rest: bool = Field(description="it stands for all later events of its account, too")

    @classmethod
    def of(cls, one: Letter) -> Self:
        following = None if one.next_us is None else iso(one.next_us) if one.next_us else "once its turn comes"
        return cls(
            event=one.event,
            account=one.account,
            type=one.what,
            at=iso(one.at_us),
            tries=one.tries,
            next=following,
            why=one.why,
            rest=one.rest,
        )


class Resent(BaseModel):
    """So many letters of this page are tried again, or were dropped."""

    count: int
    next: str | None = Field(description="`cursor` of the next page")


async def _webhooks(request: Request) -> Webhooks:
    webhooks: Webhooks = request.app.state.webhooks
    return webhooks


TheWebhooks = Annotated[Webhooks, Depends(_webhooks)]
Cursor = Annotated[str | None, Query(max_length=20, json_schema_extra={"pattern": FEED_CURSOR})]


def _behind(cursor: str | None) -> str:
    if cursor is not None and not matches(FEED_CURSOR, cursor):
        raise bad_cursor(cursor)
    return cursor or ""


@lists.get("")
async def list_webhooks(webhooks: TheWebhooks) -> Page[WebhookOut]:
    """Every endpoint that the settings have, then those that they had."""
    found = []
    for name in (*webhooks.names, *await webhooks.former()):
        endpoint = granted(await webhooks.state(name))
        letters = [one async for one in webhooks.letters(name)]
        dead = sum(one.next_us is None for one in letters)
        why, next_us = _last_failure(await failing(webhooks.store.documents, name), letters)
        since_us = None if endpoint is None else await behind_us(webhooks, endpoint)
        place, off = ("", False) if endpoint is None else (endpoint.place, endpoint.off)
        one = WebhookOut(
            name=name,
            place=place,
            told=iso(endpoint.begins.place) if endpoint is not None and endpoint.begins.place else None,
            behind=None if since_us is None else iso(since_us),
            off=off,
            in_settings=name in webhooks.names,
            waiting=len(letters) - dead,
            dead=dead,
            why=why,
            next=iso_or_none(next_us),
        )
        found.append(one)
    return Page(items=found)


def _last_failure(known: Failing | None, letters: Sequence[Letter]) -> tuple[str, int | None]:
    """Why it has failed last, and when it is tried again (wall clock, µs): the stream, or its letters, of which the
    soonest is told, or else a dead one."""
    if known is not None and known.next_us is not None:
        return known.why, known.next_us
    tried = [one for one in letters if one.tries]
    waiting = [one for one in tried if one.next_us]
    if waiting:
        soonest = min(waiting, key=lambda one: one.next_us or 0)
        return soonest.why, soonest.next_us
    if tried:
        return tried[-1].why, None
    return "" if known is None else known.why, None


@router.get("/{webhook}/letters")
async def list_letters(
    webhook: str, webhooks: TheWebhooks, limit: Limit = 100, cursor: Cursor = None
) -> Page[LetterOut]:
    """What an endpoint has not taken, in the order of the stream."""
    _known(await webhooks.state(webhook))
    found, following = await webhooks.page(webhook, _behind(cursor), limit)
    return Page(items=[LetterOut.of(one) for one in found], next=following)


@router.post("/{webhook}/resends")
async def resend_letters(webhook: str, webhooks: TheWebhooks, cursor: Cursor = None) -> Resent:
    """Have letters tried again, dead ones too, and switch the endpoint on: some at a time, go on by `next`."""
    count, following = granted(await webhooks.resend(webhook, _behind(cursor), RESENT_AT_ONCE))
    return Resent(count=count, next=following)


@router.delete("/{webhook}/letters/{event}")
async def drop_letter(webhook: str, event: str, webhooks: TheWebhooks, rest: bool = False) -> LetterOut:
    """Give a letter up, so that its account goes on. Of one that stands for all that followed its own event alone, but
    with `rest`."""
    if not matches(FEED_CURSOR, event):
        raise bad_cursor(event)
    return LetterOut.of(granted(await webhooks.drop(webhook, event, rest=rest)))


@router.delete("/{webhook}")
async def forget_webhook(webhook: str, webhooks: TheWebhooks, cursor: Cursor = None) -> Resent:
    """Drop the letters of an endpoint that has left the settings, and its place: some at a time, go on by `next`."""
    count, following = granted(await webhooks.forget(webhook, _behind(cursor)))
    return Resent(count=count, next=following)


@router.post("/{webhook}/turns")
async def take_turn(webhook: str, webhooks: TheWebhooks) -> EndpointOut:
    """Send to an endpoint from now on; 409: another daemon's process does."""
    return EndpointOut.of(granted(await webhooks.take(webhook)))


@router.post("/{webhook}/places")
async def move_place(webhook: str, body: PlaceNew, webhooks: TheWebhooks) -> EndpointOut:
    """Remember how far an endpoint was told, and keep the turn."""
    report = Report(**body.report.model_dump())
    return EndpointOut.of(granted(await webhooks.move(webhook, body.place, report, off=body.off)))


@router.post("/{webhook}/letters")
async def keep_letter(webhook: str, body: LetterNew, webhooks: TheWebhooks) -> LetterOut:
    """Keep an event that was not taken."""
    _known(await webhooks.state(webhook))
    await webhooks.bury(webhook, body.letter)
    return LetterOut.of(body.letter)


@router.put("/{webhook}/letters")
async def letter_failed(webhook: str, body: LetterNew, webhooks: TheWebhooks) -> LetterOut:
    """A letter was tried again, in vain."""
    _known(await webhooks.state(webhook))
    await webhooks.failed(webhook, body.letter)
    return LetterOut.of(body.letter)


@router.post("/{webhook}/deliveries")
async def letter_taken(webhook: str, body: Delivery, webhooks: TheWebhooks) -> EndpointOut:
    """A letter was taken."""
    endpoint = granted(await webhooks.state(webhook))
    await webhooks.taken(webhook, body.event)
    return EndpointOut.of(endpoint or Endpoint(body.event))


def _known(answer: Endpoint | Refused | None) -> None:
    if isinstance(answer, Refused):
        raise Refusal(answer)
