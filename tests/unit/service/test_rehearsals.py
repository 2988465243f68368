"""A rehearsal has an account of its own, exact to the last millionth of a euro; no customer's is touched."""

from __future__ import annotations

import pytest

from charging.ledger.accounts import REHEARSAL, Account, Language, Number
from charging.ledger.model import CREDIT, Balance, Kind
from charging.service.refusal import Code
from charging.service.rehearsals import REASON, Cleared
from tests.fakes.rig import EURO, TARGET
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
    assert number == Number(SPARE, REHEARSAL, TARGET, paid_voicemail=False)
    assert (await shop.store.balances(REHEARSAL))[CREDIT].available == AMOUNT
    assert await shop.service.rehearsals.end() == Cleared(AMOUNT, Balance())
    assert await shop.store.directory.number(SPARE) is None
    lines = [line async for line in shop.store.journal(REHEARSAL)]
    assert [(line.kind, line.reason) for line in lines] == [(Kind.CORRECT, REASON)] * 2
    assert await shop.store.balances("anna") == before


async def test_one_that_was_killed_is_ended_before_the_next_begins(shop: Shop) -> None:
    await begin(shop, "+31201234598", "free")
    await begin(shop)
    assert [one.number for one in await shop.store.directory.numbers(REHEARSAL)] == [SPARE]
    assert (await shop.store.balances(REHEARSAL))[CREDIT].available == AMOUNT
    account = await shop.store.directory.account(REHEARSAL)
    assert account is not None
    assert account.plan == "light"


async def test_a_customers_number_and_a_customers_account_are_refused(shop: Shop) -> None:
    await shop.anna()
    await shop.service.numbers.add("anna", NUMBER, {"forward_to": TARGET})
    await begin(shop)
    said = refused(await shop.service.rehearsals.begin(NUMBER, "light", TARGET, AMOUNT), Code.NOT_ALLOWED)
    assert "'anna'" in said.message
    assert await shop.store.directory.number(SPARE) is not None, "the one that runs is left alone"
    account = await shop.store.directory.account(REHEARSAL)
    assert account is not None
    await shop.service.accounts.change(REHEARSAL, {"email": "anna@example.com"})
    refused(await shop.service.rehearsals.begin(SPARE, "light", TARGET, AMOUNT), Code.NOT_ALLOWED)


async def test_a_customer_gets_no_account_of_that_name(shop: Shop) -> None:
    """A rehearsal takes its numbers and its money."""
    said = refused(await shop.service.accounts.add(REHEARSAL, "light", Language.NL), Code.INVALID)
    assert "`charging check --call`" in said.message
    assert await shop.store.directory.account(REHEARSAL) is None


@pytest.mark.parametrize("of_a_customer", ["top-up", "payment"])
async def test_a_customer_who_has_that_name_from_of_old_keeps_number_and_money(shop: Shop, of_a_customer: str) -> None:
    await shop.service.accounts.add_rehearsal("pro")
    if of_a_customer == "top-up":
        await shop.service.money.top_up(REHEARSAL, 10 * EURO, "paid")
    else:
        assert isinstance(await shop.service.subscriptions.paid(REHEARSAL, "paid"), Account)
    await shop.service.numbers.add(REHEARSAL, NUMBER, {"forward_to": TARGET})
    before = await shop.store.balances(REHEARSAL)
    refused(await shop.service.rehearsals.begin(SPARE, "light", TARGET, AMOUNT), Code.NOT_ALLOWED)
    assert [one.number for one in await shop.store.directory.numbers(REHEARSAL)] == [NUMBER]
    assert await shop.store.balances(REHEARSAL) == before


@pytest.mark.parametrize("number", ["x", "12"])
async def test_what_is_no_number_or_no_plan_changes_nothing_but_the_account(shop: Shop, number: str) -> None:
    refused(await shop.service.rehearsals.begin(number, "light", TARGET, AMOUNT), Code.INVALID)
    refused(await shop.service.rehearsals.begin(SPARE, "gold", TARGET, AMOUNT), Code.INVALID)
    assert await shop.store.directory.numbers() == []
    assert await shop.store.balances(REHEARSAL) == {}


async def test_ending_without_any_is_nothing(shop: Shop) -> None:
    assert await shop.service.rehearsals.end() == Cleared(0, Balance())
    assert await shop.store.directory.account(REHEARSAL) is None
