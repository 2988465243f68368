"""A rehearsal has an account of its own, exact to the last millionth of a euro; no customer's is touched."""

from __future__ import annotations

import pytest

from charging.ledger.accounts import Number
from charging.ledger.model import CREDIT, Balance, Kind
from charging.service.refusal import Code
from charging.service.rehearsals import ACCOUNT, REASON, Cleared
from tests.fakes.rig import TARGET
from tests.unit.service.conftest import NUMBER, Shop, refused

SPARE = "+31201234599"
AMOUNT = 20_123


async def begin(shop: Shop, number: str = SPARE, plan: str = "light") -> Number:
    begun = await shop.service.rehearsals.begin(number, plan, TARGET, AMOUNT)
    assert isinstance(begun, Number), begun
    return begun


async def test_the_number_and_the_money_are_there_and_gone_again(shop: Shop) -> None:
    await shop.anna()
    before = await shop.store.balances("anna")
    number = await begin(shop)
    assert (number.number, number.account, number.forward_to, number.paid_voicemail) == (SPARE, ACCOUNT, TARGET, False)
    assert (await shop.store.balances(ACCOUNT))[CREDIT].available == AMOUNT
    assert await shop.service.rehearsals.end() == Cleared(AMOUNT, Balance())
    assert await shop.store.number(SPARE) is None
    lines = [line async for line in shop.store.journal(ACCOUNT)]
    assert [(line.kind, line.reason) for line in lines] == [(Kind.CORRECT, REASON)] * 2
    assert await shop.store.balances("anna") == before


async def test_one_that_was_killed_is_ended_before_the_next_begins(shop: Shop) -> None:
    await begin(shop, "+31201234598", "free")
    await begin(shop)
    assert [one.number for one in await shop.store.numbers(ACCOUNT)] == [SPARE]
    assert (await shop.store.balances(ACCOUNT))[CREDIT].available == AMOUNT
    account = await shop.store.account(ACCOUNT)
    assert account is not None
    assert account.plan == "light"


async def test_a_customers_number_and_a_customers_account_are_refused(shop: Shop) -> None:
    await shop.anna()
    await shop.service.numbers.add("anna", NUMBER, {"forward_to": TARGET})
    await begin(shop)
    said = refused(await shop.service.rehearsals.begin(NUMBER, "light", TARGET, AMOUNT), Code.NOT_ALLOWED)
    assert "'anna'" in said.message
    assert await shop.store.number(SPARE) is not None, "the one that runs is left alone"
    account = await shop.store.account(ACCOUNT)
    assert account is not None
    await shop.service.accounts.change(ACCOUNT, {"email": "anna@example.com"})
    refused(await shop.service.rehearsals.begin(SPARE, "light", TARGET, AMOUNT), Code.NOT_ALLOWED)


@pytest.mark.parametrize("number", ["x", "12"])
async def test_what_is_no_number_or_no_plan_changes_nothing_but_the_account(shop: Shop, number: str) -> None:
    refused(await shop.service.rehearsals.begin(number, "light", TARGET, AMOUNT), Code.INVALID)
    refused(await shop.service.rehearsals.begin(SPARE, "gold", TARGET, AMOUNT), Code.INVALID)
    assert await shop.store.numbers() == []
    assert await shop.store.balances(ACCOUNT) == {}


async def test_ending_without_any_is_nothing(shop: Shop) -> None:
    assert await shop.service.rehearsals.end() == Cleared(0, Balance())
    assert await shop.store.account(ACCOUNT) is None
