"""/calls (running now), /decisions (why they were forwarded or not) and /cdrs (over)."""

from __future__ import annotations

import re
from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Query

from charging.clock import MICROSECONDS
from charging.ledger.model import CdrRow
from charging.service import text
from charging.service.decisions import Sought
from charging.service.privacy import cdr_shown
from charging.service.refusal import Code, Refused
from charging.service.service import Service
from charging.web.cdr_models import Cdr, CdrPage
from charging.web.forms import ABOUT, CALL_CURSOR, DECISION_CURSOR, REASON
from charging.web.models import CallOut, DecisionOut, Page
from charging.web.parts import (
    DIGITS,
    ROWS_MAX_BESIDE_CALLS,
    AccountFilter,
    CallCursor,
    CallerFilter,
    CdrCursor,
    DecisionCursor,
    Limit,
    Moment,
    NumberFilter,
    Order,
    TheService,
    bad_cursor,
    cdr_cursor,
    cdr_place,
    matches,
    page,
    parties,
    place_of,
    span,
    wall_us,
)
from charging.web.problem import Refusal, granted

router = APIRouter(tags=["calls"])


class Served(StrEnum):
    """What a CDR can be of."""

    FORWARD = "forward"
    VOICEMAIL = "voicemail"
    FAX = "fax"


ABOUT_US = 5 * 60 * MICROSECONDS
"""Before and after a time that a customer remembers."""


@router.get("/calls")
async def list_calls(
    service: TheService,
    account: AccountFilter = None,
    number: NumberFilter = None,
    caller: CallerFilter = None,
    order: Order = "asc",
    limit: Annotated[int, Query(ge=1, le=ROWS_MAX_BESIDE_CALLS, description="rows in a page"), DIGITS] = 100,
    cursor: CallCursor = None,
) -> Page[CallOut]:
    """Open calls, in the order in which they began; of one ``account`` all at once, of everyone by the page. A page
    may have fewer than ``limit`` items, or none, though more follow: only ``next`` tells that."""
    are_wanted, following, backwards = parties(service, number, caller), None, order == "desc"
    if account is not None:
        granted(await service.accounts.get(account))
        views = await service.calls.of(account)
        views = views[::-1] if backwards else views
    else:
        views, following = await service.calls.page(place_of(cursor, CALL_CURSOR), limit, backwards=backwards)
    found = [CallOut.of(view) for view in views]
    return Page(items=[one for one in found if are_wanted(one.number, one.caller)], next=following)


@router.get("/decisions")
async def list_decisions(
    service: TheService,
    number: NumberFilter = None,
    account: AccountFilter = None,
    since: Moment = None,
    until: Moment = None,
    at: Annotated[
        str | None,
        Query(
            max_length=40,
            description="about then: a time, or `HH:MM` for the last time that it was so late; instead of since and "
            "until, from five minutes before it to five minutes after",
            json_schema_extra={"pattern": ABOUT},
        ),
    ] = None,
    order: Order = "asc",
    limit: Limit = 100,
    cursor: DecisionCursor = None,
) -> Page[DecisionOut]:
    """Why calls were forwarded or not: every decision of the last days, by its time; from ``since`` on, before
    ``until``. One stands here a second or two after it was made. A page may have fewer than ``limit`` items, or none,
    though more follow: only ``next`` tells that."""
    if cursor is not None and not re.fullmatch(DECISION_CURSOR, cursor):
        raise bad_cursor(cursor)
    if at is not None and (since, until) != (None, None):
        raise Refusal(Refused(Code.INVALID, "found at beside since or until, expected the one or the others", at="?at"))
    since_us, until_us = span(service, since, until) if at is None else _about(service, at)
    sought = Sought(number, account, since_us, until_us)
    found, following = granted(await service.decisions(sought, cursor, limit, backwards=order == "desc"))
    return Page(items=[DecisionOut.of(one) for one in found], next=following)


@router.get("/calls/{session}")
async def show_call(session: str, service: TheService) -> CallOut:
    """One open call."""
    return CallOut.of(granted(await service.calls.get(session)))


@router.delete("/calls/{session}", status_code=202)
async def hang_up(
    session: str,
    service: TheService,
    reason: Annotated[str, Query(max_length=500, json_schema_extra={"pattern": REASON})] = "operator",
) -> CallOut:
    """Order a call to end. It is over when it is gone from the list, a moment later."""
    wrong = text.reason(reason)
    if isinstance(wrong, Refused):
        raise Refusal(wrong)
    return CallOut.of(granted(await service.calls.hang_up(session, reason)))


@router.get("/cdrs")
async def list_cdrs(
    service: TheService,
    account: AccountFilter = None,
    number: NumberFilter = None,
    caller: CallerFilter = None,
    service_name: Annotated[Served | None, Query(alias="service", description="left out: all")] = None,
    since: Moment = None,
    until: Moment = None,
    order: Order = "asc",
    limit: Limit = 100,
    cursor: CdrCursor = None,
) -> CdrPage:
    """CDRs by end of call; from ``since`` on, before ``until``. With a ``number``, a ``caller`` or a
    ``service`` a page may have fewer than ``limit`` items, or none, though more follow: only ``next`` tells that."""
    are_wanted = parties(service, number, caller)
    since_us, until_us = span(service, since, until)
    rows = granted(
        await service.cdrs(
            account=account,
            since_us=since_us,
            until_us=until_us,
            after=cdr_place(cursor),
            limit=limit + 1,
            backwards=order == "desc",
        )
    )
    found = page(rows, limit, cdr_of, lambda row: cdr_cursor(row.ended_us, row.session))

    def is_wanted(cdr: Cdr) -> bool:
        is_served = service_name in (None, cdr.get("service"))
        return is_served and are_wanted(str(cdr.get("number", "")), str(cdr.get("caller", "")))

    return CdrPage(items=[one for one in found.items if is_wanted(one)], next=found.next)


@router.get("/cdrs/{session}")
async def show_cdr(
    session: str, service: TheService, account: Annotated[str, Query(max_length=500, description="whose it is")]
) -> Cdr:
    """The CDR of a call, a message or a fax that is over."""
    return cdr_of(granted(await service.cdr(account, session)))


def _about(service: Service, at: str) -> tuple[int, int]:
    """The minutes around ``at``; a time of day is the last that is not in the future."""
    zone, now_us = service.tariff().zone, service.clock.now().wall_us
    if re.fullmatch(r"[0-9]{2}:[0-9]{2}", at):
        today = service.tariff().day_of(now_us)
        moment_us = wall_us(f"{today.isoformat()}T{at}", zone, "?at")
        if moment_us > now_us:
            moment_us = wall_us(f"{(today - timedelta(days=1)).isoformat()}T{at}", zone, "?at")
    elif not matches(ABOUT, at):
        raise Refusal(
            Refused(
                Code.INVALID, f"found the time {at[:40]!r}, expected one such as 14:03 or 2026-11-21T14:03", at="?at"
            )
        )
    else:
        moment_us = wall_us(at, zone, "?at")
    return moment_us - ABOUT_US, moment_us + ABOUT_US


def cdr_of(row: CdrRow) -> Cdr:
    """The row's document; where it cannot be read, what the ledger knows beside it."""
    shown = cdr_shown(row.document)
    return {"session": row.session, "account": row.account, "unreadable": True} if shown is None else shown
