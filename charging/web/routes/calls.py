"""/calls (running now) and /cdrs (over)."""

from __future__ import annotations

import json
from typing import Annotated

from fastapi import APIRouter, Query

from charging.ledger.model import CdrRow
from charging.service import text
from charging.service.refusal import Code, Refused
from charging.web.forms import MOMENT, REASON
from charging.web.models import CallOut, Cdr, Page
from charging.web.parts import AccountFilter, CdrCursor, Limit, TheService, cdr_cursor, cdr_place, page, wall_us
from charging.web.problem import Refusal, granted

router = APIRouter(tags=["calls"])

Moment = Annotated[
    str | None, Query(max_length=40, description="a day or a time", json_schema_extra={"pattern": MOMENT})
]


@router.get("/calls")
async def list_calls(service: TheService, account: AccountFilter = None) -> Page[CallOut]:
    """Every open call, in the order in which they began."""
    return Page(items=[CallOut.of(view) for view in await service.calls.views(account)])


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
    since: Moment = None,
    until: Moment = None,
    limit: Limit = 100,
    cursor: CdrCursor = None,
) -> Page[Cdr]:
    """CDRs by end of call, oldest first; from ``since`` on, before ``until``."""
    zone = service.tariff().zone if since is not None or until is not None else "UTC"
    since_us = wall_us(since, zone) if since is not None else 0
    until_us = wall_us(until, zone) if until is not None else None
    if until_us is not None and until_us < since_us:
        raise Refusal(
            Refused(Code.INVALID, f"found since {since} after until {until}, expected the earlier one as since")
        )
    rows = granted(
        await service.cdrs(
            account=account,
            since_us=since_us,
            until_us=until_us,
            after=cdr_place(cursor),
            limit=limit + 1,
        )
    )
    return page(rows, limit, cdr_of, lambda row: cdr_cursor(row.ended_us, row.session))


def cdr_of(row: CdrRow) -> Cdr:
    """The row's document; where it cannot be read, what the ledger knows beside it."""
    try:
        document = json.loads(row.document)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        return {"session": row.session, "account": row.account, "unreadable": True}
    return document
