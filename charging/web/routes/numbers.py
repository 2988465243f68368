"""/numbers: what callers dial, and where it goes."""

from __future__ import annotations

from typing import cast

from fastapi import APIRouter

from charging.call.decide import mailbox_of
from charging.service.numbers import NumberChanges
from charging.web.models import NumberEdit, NumberNew, NumberOut, Page
from charging.web.parts import AccountFilter, Limit, NumberCursor, Order, TheService, number_place, page
from charging.web.problem import granted

VOICEMAIL_STAYS = "its voicemail stays on the switch, in the mailbox {}: remove that before the number is another's"

router = APIRouter(prefix="/numbers", tags=["numbers"])


@router.get("")
async def list_numbers(
    service: TheService,
    account: AccountFilter = None,
    order: Order = "asc",
    limit: Limit = 100,
    cursor: NumberCursor = None,
) -> Page[NumberOut]:
    """Numbers in order, of one account or all."""
    place, backwards = number_place(cursor), order == "desc"
    rows = granted(await service.numbers.page(place, limit + 1, account, backwards=backwards))
    return page(rows, limit, NumberOut.of, lambda row: row.number)


@router.post("", status_code=201)
async def add_number(body: NumberNew, service: TheService) -> NumberOut:
    """Give a number to an account."""
    settings = NumberChanges(forward_to=body.forward_to, paid_voicemail=body.paid_voicemail, mailbox=body.mailbox)
    return NumberOut.of_set(granted(await service.numbers.add(body.account, body.number, settings)))


@router.get("/{number}")
async def show_number(number: str, service: TheService) -> NumberOut:
    """One number, in whatever form it is written."""
    return NumberOut.of(granted(await service.numbers.get(number)))


@router.patch("/{number}")
async def edit_number(number: str, body: NumberEdit, service: TheService) -> NumberOut:
    """Change where it forwards to, or its voicemail."""
    changes = cast(NumberChanges, body.model_dump(include=body.model_fields_set))
    return NumberOut.of_set(granted(await service.numbers.change(number, changes)))


@router.delete("/{number}")
async def remove_number(number: str, service: TheService) -> NumberOut:
    """Take it out of service; the history of its calls stays. Answers what it was."""
    removed = granted(await service.numbers.remove(number))
    return NumberOut.of(removed, (VOICEMAIL_STAYS.format(mailbox_of(removed)),))
