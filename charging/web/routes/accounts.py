"""/accounts: who pays, their balance, their money."""

from __future__ import annotations

import re
from typing import Annotated, Any, cast

from fastapi import APIRouter, Header, Query, Response

from charging.ledger.accounts import Account, Status
from charging.service.accounts import AccountChanges
from charging.service.gifts import PackWish
from charging.service.refusal import Refused
from charging.service.service import Service
from charging.web.forms import ACCOUNT, JOURNAL_CURSOR, KEY
from charging.web.gift_models import CreditGrant, GivenOut, PackGivenOut, PackGrant
from charging.web.models import (
    AccountEdit,
    AccountNew,
    AccountOut,
    AccountSet,
    BalanceOut,
    Correction,
    CreditedOut,
    FaxAddressMade,
    FaxAddressOut,
    JournalLineOut,
    MinuteGrant,
    MinutesOut,
    NumberOut,
    Page,
    StatusEdit,
    SubscriptionCorrection,
    SubscriptionPayment,
    TopUp,
)
from charging.web.parts import (
    AccountCursor,
    Limit,
    NumberCursor,
    Order,
    TheService,
    bad_cursor,
    euro,
    number_place,
    page,
    place_of,
)
from charging.web.problem import granted

router = APIRouter(prefix="/accounts", tags=["accounts"])

DONE_BEFORE: dict[int | str, dict[str, Any]] = {
    200: {"model": CreditedOut, "description": "the same was asked before; nothing was changed now"}
}
IdempotencyKey = Annotated[
    str,
    Header(
        max_length=200,
        description="made by the caller; the same act, the same key",
        json_schema_extra={"pattern": KEY},
    ),
]


@router.get("")
async def list_accounts(
    service: TheService, order: Order = "asc", limit: Limit = 100, cursor: AccountCursor = None
) -> Page[AccountOut]:
    """Accounts by id."""
    rows = await service.accounts.page(place_of(cursor, ACCOUNT), limit + 1, backwards=order == "desc")
    return page(rows, limit, AccountOut.of, lambda row: row.id)


@router.post("", status_code=201)
async def add_account(body: AccountNew, service: TheService) -> AccountSet:
    """Make an account. A mail address that another one has is warned of."""
    warnings = await service.listed_faxes.sender_warnings(body.id, body.email)
    made = AccountSet.of(granted(await service.accounts.add(body.id, body.plan, body.language, body.email)))
    return made.model_copy(update={"warnings": warnings})


@router.get("/{account}")
async def show_account(account: str, service: TheService) -> AccountOut:
    """One account."""
    return AccountOut.of(granted(await service.accounts.get(account)))


@router.patch("/{account}")
async def edit_account(account: str, body: AccountEdit, service: TheService) -> AccountSet:
    """Change plan, language or mail address. An address that another account has is warned of."""
    changes = cast(AccountChanges, body.model_dump(include=body.model_fields_set))
    warnings = await service.listed_faxes.sender_warnings(account, changes.get("email", ""))
    edited = AccountSet.of(granted(await service.accounts.change(account, changes)))
    return edited.model_copy(update={"warnings": warnings})


@router.put("/{account}/status")
async def set_status(account: str, body: StatusEdit, service: TheService) -> AccountOut:
    """Suspend, activate or close (for good, R21). Suspended or closed, no new call is forwarded; running calls go on
    while they can pay: `GET /calls` lists them, `DELETE /calls/{session}` ends one."""
    return AccountOut.of(granted(await _status(service, account, body)))


async def _status(service: Service, account: str, body: StatusEdit) -> Account | Refused:
    match body.status:
        case Status.SUSPENDED:
            return await service.accounts.suspend(account, body.reason)
        case Status.ACTIVE:
            return await service.accounts.activate(account, body.reason)
        case Status.CLOSED:
            return await service.accounts.close(account, body.reason)


@router.get("/{account}/numbers")
async def list_numbers_of(
    account: str, service: TheService, order: Order = "asc", limit: Limit = 100, cursor: NumberCursor = None
) -> Page[NumberOut]:
    """The account's numbers, in order."""
    place, backwards = number_place(cursor), order == "desc"
    rows = granted(await service.numbers.page(place, limit + 1, account, backwards=backwards))
    return page(rows, limit, NumberOut.of, lambda row: row.number)


@router.get("/{account}/balance")
async def show_balance(account: str, service: TheService) -> BalanceOut:
    """Credit and free seconds now, running calls included (R5)."""
    return BalanceOut.of(granted(await service.balances.view(account)))


@router.post("/{account}/top-ups", status_code=201, responses=DONE_BEFORE)
async def top_up(
    account: str, body: TopUp, service: TheService, response: Response, idempotency_key: IdempotencyKey
) -> CreditedOut:
    """Add bought credit (R2); it can be spent at once, also by running calls (R22). 200: it was there already."""
    credited = granted(await service.money.top_up(account, euro(body.amount), idempotency_key))
    response.status_code = 201 if credited.created else 200
    return CreditedOut.of(credited)


@router.post("/{account}/corrections", status_code=201, responses=DONE_BEFORE)
async def correct(
    account: str, body: Correction, service: TheService, response: Response, idempotency_key: IdempotencyKey
) -> CreditedOut:
    """Put credit right, up or down, never below zero. 200: it was there already."""
    credited = granted(await service.money.correct(account, euro(body.amount), body.reason, idempotency_key))
    response.status_code = 201 if credited.created else 200
    return CreditedOut.of(credited)


MINUTES_DONE_BEFORE: dict[int | str, dict[str, Any]] = {
    200: {"model": MinutesOut, "description": "the same was asked before; nothing was changed now"}
}


@router.post("/{account}/minute-grants", status_code=201, responses=MINUTES_DONE_BEFORE)
async def grant_minutes(
    account: str, body: MinuteGrant, service: TheService, response: Response, idempotency_key: IdempotencyKey
) -> MinutesOut:
    """Give free minutes of this month beside the plan's, or take back, never below zero; running calls can use them at
    once. 200: it was there already."""
    made = granted(await service.money.grant_minutes(account, body.minutes, body.reason, idempotency_key, body.month))
    response.status_code = 201 if made.created else 200
    return MinutesOut.of(made)


GIVEN_BEFORE: dict[int | str, dict[str, Any]] = {
    200: {"model": GivenOut, "description": "the same was asked before; nothing was changed now"}
}


@router.post("/{account}/credit-grants", status_code=201, responses=GIVEN_BEFORE)
async def grant_credit(
    account: str, body: CreditGrant, service: TheService, response: Response, idempotency_key: IdempotencyKey
) -> GivenOut:
    """Give promotional credit with a last day, which pays before bought credit, or take it back, never below zero;
    running calls can use it at once. 200: it was there already."""
    amount = euro(body.amount)
    given = granted(await service.gifts.give_credit(account, amount, body.last_day, body.reason, idempotency_key))
    response.status_code = 201 if given.created else 200
    return GivenOut.of(given)


PACK_GIVEN_BEFORE: dict[int | str, dict[str, Any]] = {
    200: {"model": PackGivenOut, "description": "the same was asked before; nothing was changed now"}
}


@router.post("/{account}/pack-grants", status_code=201, responses=PACK_GIVEN_BEFORE)
async def grant_pack(
    account: str, body: PackGrant, service: TheService, response: Response, idempotency_key: IdempotencyKey
) -> PackGivenOut:
    """Give a pack of minutes, fax pages or messages, or take some of it back, never below zero; running calls can use
    minutes at once. 200: it was there already."""
    wish = PackWish(body.pack, body.last_day, body.minutes, body.pieces)
    given = granted(await service.gifts.give_pack(account, wish, body.reason, idempotency_key))
    response.status_code = 201 if given.created else 200
    return PackGivenOut.of(given)


@router.post("/{account}/subscription-payments")
async def subscription_paid(
    account: str, body: SubscriptionPayment, service: TheService, idempotency_key: IdempotencyKey
) -> AccountSet:
    """The subscription is paid (R18). The same payment told again, or a period that is paid already, changes
    nothing; a period that ends before what is paid is warned of."""
    paid = granted(await service.subscriptions.paid(account, idempotency_key, body.until))
    shown = AccountSet.of(paid)
    if warning := service.subscriptions.paid_already(paid, body.until):
        shown.warnings.append(warning)
    return shown


@router.post("/{account}/subscription-corrections")
async def subscription_corrected(
    account: str, body: SubscriptionCorrection, service: TheService, idempotency_key: IdempotencyKey
) -> AccountSet:
    """Put the end of what is paid right, also to an earlier day. No payment: R19's year counts from the last one."""
    return AccountSet.of(granted(await service.subscriptions.correct(account, idempotency_key, body.until)))


@router.get("/{account}/fax-address")
async def show_fax_address(account: str, service: TheService) -> FaxAddressOut:
    """Since when the account has a fax address of its own; the address itself is not kept. 404: it has none."""
    return FaxAddressOut.of(granted(await service.fax_addresses.get(account)))


@router.post("/{account}/fax-address", status_code=201)
async def renew_fax_address(account: str, service: TheService) -> FaxAddressMade:
    """Make a fax address whose mails are faxed at the account's cost, whoever sends them. It is shown now and never
    again; one that there was is good no more."""
    return FaxAddressMade.made_of(granted(await service.fax_addresses.renew(account)))


@router.delete("/{account}/fax-address")
async def withdraw_fax_address(account: str, service: TheService) -> FaxAddressOut:
    """Take the account's fax address back. Answers what there was."""
    return FaxAddressOut.of(granted(await service.fax_addresses.withdraw(account)))


@router.get("/{account}/journal")
async def journal(
    account: str,
    service: TheService,
    order: Order = "desc",
    limit: Limit = 100,
    cursor: Annotated[str | None, Query(max_length=20, json_schema_extra={"pattern": JOURNAL_CURSOR})] = None,
) -> Page[JournalLineOut]:
    """The account's journal; if not said otherwise, newest first."""
    if cursor is not None and not re.fullmatch(JOURNAL_CURSOR, cursor):
        raise bad_cursor(cursor)
    place = None if cursor is None else int(cursor)
    if order == "desc":
        rows = granted(await service.money.journal_page(account, place, limit + 1))
    else:
        rows = granted(await service.money.journal_from(account, place or 0, limit + 1))
    return page(rows, limit, JournalLineOut.of, lambda row: str(row.number))
