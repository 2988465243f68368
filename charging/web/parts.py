"""What every route shares: the service behind it, pages, and the texts that become numbers and times."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time
from typing import Annotated, Literal, TypeVar
from zoneinfo import ZoneInfo

from fastapi import Depends, Query, Request
from fastapi.dependencies.models import Dependant
from pydantic import AfterValidator, BeforeValidator
from pydantic_core import PydanticCustomError

from charging.clock import MICROSECONDS
from charging.pricing.money import parse_euro
from charging.service.refusal import Code, Refused
from charging.service.service import Service
from charging.tariff.numbering import expected
from charging.web.forms import ACCOUNT, AMOUNT, CALL_CURSOR, CDR_CURSOR, DECISION_CURSOR, EXACT_AMOUNT, MOMENT, NUMBER
from charging.web.models import Page
from charging.web.problem import Refusal

Row = TypeVar("Row")
Out = TypeVar("Out")

AMOUNT_DECIMALS = 2
"""Of amounts that people type to pay: with three, ``1.000`` would be a thousand to one and one to another."""

YEARS = range(2000, 2200)


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


async def known_parameters(request: Request) -> None:
    """Raise Refusal for a query parameter that the route does not have, or that stands there twice: a filter that is
    misspelt and ignored shows everyone's calls to one customer, and of two accounts one would be left out."""
    known = _query_names(request.scope["route"].dependant)
    if (twice := first_twice([name for name, _ in request.query_params.multi_items()])) is not None:
        raise Refusal(Refused(Code.INVALID, f"found {twice[:40]!r} twice, expected it once", at=f"?{twice[:40]}"))
    for name in request.query_params:
        if name not in known:
            expected = "one of " + ", ".join(sorted(known)) if known else "none"
            message = f"found the unknown parameter {name[:40]!r}, expected {expected}"
            raise Refusal(Refused(Code.INVALID, message, at=f"?{name[:40]}"))


def first_twice(names: Sequence[str]) -> str | None:
    """The first that stands there again; ``None``: none does. A query of 60 kB has 15,000, and calls wait for it."""
    found: set[str] = set()
    for name in names:
        if name in found:
            return name
        found.add(name)
    return None


ROWS_MAX_BESIDE_CALLS = 100
"""Of a page that the process writes out which decides calls: some milliseconds."""


async def small_pages(request: Request) -> None:
    """Raise Refusal for a page of more than ROWS_MAX_BESIDE_CALLS rows."""
    asked = request.query_params.get("limit", "")
    if asked.isdecimal() and len(asked) < 10 and int(asked) > ROWS_MAX_BESIDE_CALLS:
        expected = f"at most {ROWS_MAX_BESIDE_CALLS} rows of the process that decides calls"
        advice = "go on by `next`; the command line and the public interface read in a process of their own"
        raise Refusal(Refused(Code.INVALID, f"found limit={asked}, expected {expected}", advice, at="?limit"))


def _query_names(dependant: Dependant) -> set[str]:
    names = {parameter.alias for parameter in dependant.query_params}
    return names.union(*map(_query_names, dependant.dependencies))


def _not_a_plus(text: str) -> str:
    """A ``+`` in a query means a space: ``number=+1212…`` must not be taken for a national number."""
    if text[:1].isspace():
        raise ValueError("a space stands before the number; write the + of a query as %2B")
    return text


QueryNumber = Annotated[str, AfterValidator(_not_a_plus)]
"""A telephone number in a query."""


def _in_digits(text: object) -> object:
    """pydantic would read ``1_000``, ``+7`` and ``1.0`` too, which the document does not allow."""
    if isinstance(text, str) and not re.fullmatch("-?[0-9]+", text):
        raise PydanticCustomError("int_parsing", "expected a whole number")
    return text


DIGITS = BeforeValidator(_in_digits)
"""Of a whole number in a query."""
TheService = Annotated[Service, Depends(_service)]
Order = Annotated[
    Literal["asc", "desc"],
    Query(description="asc: from the first, or the oldest, on; desc: from the last on. A cursor is good for both"),
]
Limit = Annotated[int, Query(ge=1, le=1000, description="rows in a page"), DIGITS]
Cursor = Annotated[str | None, Query(max_length=200, description="`next` of the page before")]
AccountCursor = Annotated[
    str | None, Query(max_length=200, description="`next` of the page before", json_schema_extra={"pattern": ACCOUNT})
]
CallCursor = Annotated[
    str | None,
    Query(max_length=200, description="`next` of the page before", json_schema_extra={"pattern": CALL_CURSOR}),
]
NumberCursor = Annotated[
    QueryNumber | None,
    Query(max_length=200, description="`next` of the page before", json_schema_extra={"pattern": NUMBER}),
]
CdrCursor = Annotated[
    str | None,
    Query(max_length=200, description="`next` of the page before", json_schema_extra={"pattern": CDR_CURSOR}),
]
DecisionCursor = Annotated[
    str | None,
    Query(max_length=200, description="`next` of the page before", json_schema_extra={"pattern": DECISION_CURSOR}),
]
Moment = Annotated[
    str | None, Query(max_length=40, description="a day or a time", json_schema_extra={"pattern": MOMENT})
]
AccountFilter = Annotated[str | None, Query(max_length=500)]
NumberFilter = Annotated[
    QueryNumber | None,
    Query(max_length=500, description="the subscriber's, in any form", json_schema_extra={"pattern": NUMBER}),
]
CallerFilter = Annotated[
    QueryNumber | None,
    Query(max_length=500, description="who called, in any form", json_schema_extra={"pattern": NUMBER}),
]


def e164(service: Service, number: str, at: str = "?number") -> str:
    """A telephone number in its one form. Raises Refusal if it is none; ``at`` is where it stands."""
    tariff = service.tariff()
    normal = tariff.normalise(number)
    if normal is None:
        message = f"found {number[:40]!r}, expected {expected(number, tariff.region)}"
        raise Refusal(Refused(Code.INVALID, message, at=at))
    return normal


def parties(service: Service, number: str | None, caller: str | None) -> Callable[[str, str], bool]:
    """Whether a call of a subscriber's number and a caller is one that is asked for. Refuses the request where a
    filter is no telephone number."""
    ours = None if number is None else e164(service, number)
    theirs = None if caller is None else e164(service, caller, "?caller")
    tariff = service.tariff()

    def are_wanted(of: str, by: str) -> bool:
        return ours in (None, of) and (theirs is None or theirs in (by, tariff.normalise(by)))

    return are_wanted


def page(rows: Sequence[Row], limit: int, out: Callable[[Row], Out], cursor: Callable[[Row], str]) -> Page[Out]:
    """A page of up to ``limit`` of ``rows``, which were asked with one more than that to know whether more follow."""
    shown = rows[:limit]
    return Page(items=[out(row) for row in shown], next=cursor(shown[-1]) if len(rows) > limit else None)


def euro(text: str) -> int:
    """Micro-euro of what someone typed, a sign allowed. Refuses the request where it is no amount."""
    if not re.fullmatch(AMOUNT, text):
        raise _no_amount(text, AMOUNT_DECIMALS, "#/amount")
    amount = parse_euro(text.lstrip("+-"))
    return -amount if text.startswith("-") else amount


def exact_euro(text: str, at: str) -> int:
    """Micro-euro of an amount that nobody pays, with all the decimals that prices have. Refuses the request where it is
    none."""
    if not re.fullmatch(EXACT_AMOUNT, text):
        raise _no_amount(text, 6, at)
    return parse_euro(text.lstrip("+"))


def _no_amount(text: str, decimals: int, at: str) -> Refusal:
    expected = f"euros with up to {decimals} decimals, such as 12.50"
    return Refusal(Refused(Code.INVALID, f"found the amount {text[:40]!r}, expected {expected}", at=at))


def wall_us(text: str, zone: str, at: str) -> int:
    """Microseconds of a day (its first moment in the operator's zone) or a time. Raises Refusal for all else; ``at`` is
    where it stands."""
    try:
        if not matches(MOMENT, text):
            raise ValueError
        if len(text) == len("2026-11-21"):
            moment = datetime.combine(date.fromisoformat(text), time(), ZoneInfo(zone))
        else:
            moment = datetime.fromisoformat(text)
            moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=ZoneInfo(zone))
        if moment.astimezone(UTC).year in YEARS:
            return round(moment.timestamp() * 1000) * (MICROSECONDS // 1000)
    except (ValueError, OverflowError):
        pass
    expected = "expected a day such as 2026-11-21, or a time such as 2026-11-21T18:00:00"
    expected += f", from {YEARS.start} to {YEARS.stop - 1}"
    raise Refusal(Refused(Code.INVALID, f"found the time {text[:40]!r}, {expected}", at=at))


def span(service: Service, since: str | None, until: str | None) -> tuple[int, int | None]:
    """From when on, and before when, wall clock in µs. Raises Refusal if they are in the wrong order."""
    zone = service.tariff().zone if since is not None or until is not None else "UTC"
    since_us = wall_us(since, zone, "?since") if since is not None else 0
    until_us = wall_us(until, zone, "?until") if until is not None else None
    if until_us is not None and until_us < since_us:
        message = f"found since {since} after until {until}, expected the earlier one as since"
        raise Refusal(Refused(Code.INVALID, message, at="?since"))
    return since_us, until_us


def matches(pattern: str, text: str) -> bool:
    """Whether the whole text has a form."""
    return re.fullmatch(pattern, text) is not None


def bad_cursor(cursor: str) -> Refusal:
    """The cursor is none that a page gave."""
    return Refusal(
        Refused(Code.INVALID, f"found the cursor {cursor[:40]!r}, expected the `next` of a page", at="?cursor")
    )


def place_of(cursor: str | None, pattern: str) -> str:
    """The id behind which a page begins. Refuses the request where it has not the form of one."""
    if cursor is not None and not matches(pattern, cursor):
        raise bad_cursor(cursor)
    return cursor or ""


def number_place(cursor: str | None) -> str:
    """The number behind which a page of numbers begins. Refuses the request where it is no cursor of such a page."""
    return place_of(cursor, NUMBER)


def cdr_cursor(ended_us: int, session: str) -> str:
    """The cursor behind a CDR."""
    return f"{ended_us}.{session}"


def cdr_place(cursor: str | None) -> tuple[int, str] | None:
    """Where :func:`cdr_cursor` points. Refuses the request where it is no such cursor."""
    if cursor is None:
        return None
    if not re.fullmatch(CDR_CURSOR, cursor):
        raise bad_cursor(cursor)
    ended, _, session = cursor.partition(".")
    return int(ended), session
