"""Top-ups and corrections: once for each key, never below zero, and running calls are told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from charging.ledger.balances import bundle, granted
from charging.ledger.model import AMOUNT_MAX, CREDIT, Balance, Kind
from charging.pricing.packs import MINUTES_MAX
from charging.service.balance import BalanceView
from charging.service.ledger_contents import LedgerContents
from charging.service.money import Credited, Minutes, reason_shown
from charging.service.refusal import Code, Refused
from charging.tariff.tariff import TopUps
from tests.contract.scenario import assert_sound
from tests.fakes.rig import EURO
from tests.unit.service.conftest import Shop, refused


async def posted(shop: Shop) -> int:
    return (await shop.store.balances("anna")).get(CREDIT, Balance()).posted


async def test_r1_a_top_up_is_credit_one_to_one(shop: Shop) -> None:
    await shop.anna()
    made = await shop.service.money.top_up("anna", 25 * EURO, "k")
    assert made == Credited("top-up/k", True, 25 * EURO, Balance(25 * EURO))
    assert await posted(shop) == 25 * EURO


@pytest.mark.parametrize("amount", [10 * EURO, 25 * EURO])
async def test_r2_an_amount_on_offer_is_taken(shop: Shop, amount: int) -> None:
    await shop.anna()
    assert isinstance(await shop.service.money.top_up("anna", amount, "k"), Credited)


@pytest.mark.parametrize("amount", [10 * EURO - 1, 11 * EURO, 0, -25 * EURO, AMOUNT_MAX, AMOUNT_MAX + 1])
async def test_r2_any_other_amount_is_refused_and_nothing_is_booked(shop: Shop, amount: int) -> None:
    await shop.anna()
    answer = await shop.service.money.top_up("anna", amount, "k")
    refused(answer, Code.INVALID if amount > AMOUNT_MAX else Code.NOT_ALLOWED)
    assert await posted(shop) == 0
    assert shop.told == []


async def test_r2_from_the_minimum_on_where_no_amounts_are_listed(shop: Shop) -> None:
    shop.tariff = replace(shop.tariff, top_ups=TopUps(10 * EURO, ()))
    await shop.anna()
    refused(await shop.service.money.top_up("anna", 10 * EURO - 1, "a"), Code.NOT_ALLOWED)
    assert isinstance(await shop.service.money.top_up("anna", 10 * EURO, "b"), Credited)


async def test_r22_running_calls_are_told_of_a_top_up(shop: Shop) -> None:
    await shop.anna()
    await shop.service.money.top_up("anna", 25 * EURO, "k")
    assert shop.told == ["anna"]


async def test_the_same_key_and_amount_is_credited_once(shop: Shop) -> None:
    await shop.anna()
    await shop.service.money.top_up("anna", 25 * EURO, "k")
    again = await shop.service.money.top_up("anna", 25 * EURO, "k")
    assert again == Credited("top-up/k", False, 25 * EURO, Balance(25 * EURO))
    assert await posted(shop) == 25 * EURO


async def test_the_same_key_with_another_amount_is_refused_loudly(shop: Shop) -> None:
    await shop.anna()
    await shop.service.money.top_up("anna", 25 * EURO, "k")
    refused(await shop.service.money.top_up("anna", 10 * EURO, "k"), Code.KEY_REUSED)
    assert await posted(shop) == 25 * EURO


async def test_a_repeated_top_up_is_known_though_the_tariff_or_account_would_refuse_it_now(shop: Shop) -> None:
    await shop.anna()
    await shop.service.money.top_up("anna", 25 * EURO, "k")
    shop.tariff = replace(shop.tariff, top_ups=TopUps(50 * EURO, ()))
    again = await shop.service.money.top_up("anna", 25 * EURO, "k")
    assert isinstance(again, Credited)
    assert not again.created
    await shop.service.accounts.close("anna", "moved")
    assert isinstance(await shop.service.money.top_up("anna", 25 * EURO, "k"), Credited)
    refused(await shop.service.money.top_up("anna", 25 * EURO, "k2"), Code.CLOSED)
    assert await posted(shop) == 25 * EURO


async def test_a_suspended_account_may_pay(shop: Shop) -> None:
    await shop.anna()
    await shop.service.accounts.suspend("anna", "unpaid")
    assert isinstance(await shop.service.money.top_up("anna", 25 * EURO, "k"), Credited)


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "a\n", "x" * 129])
async def test_a_key_that_is_none_is_refused(shop: Shop, key: str) -> None:
    await shop.anna()
    refused(await shop.service.money.top_up("anna", 25 * EURO, key), Code.INVALID)
    refused(await shop.service.money.correct("anna", EURO, "why", key), Code.INVALID)


async def test_an_unknown_account_is_refused(shop: Shop) -> None:
    refused(await shop.service.money.top_up("anna", 25 * EURO, "k"), Code.NOT_FOUND)
    refused(await shop.service.money.correct("anna", EURO, "why", "k"), Code.NOT_FOUND)
    refused(await shop.service.money.journal_page("anna", None, 10), Code.NOT_FOUND)
    refused(await shop.service.balances.view("anna"), Code.NOT_FOUND)


async def test_a_correction_takes_to_zero_and_not_a_micro_euro_below(shop: Shop) -> None:
    await shop.anna()
    await shop.service.money.top_up("anna", 10 * EURO, "k")
    refused(await shop.service.money.correct("anna", -10 * EURO - 1, "too much", "c1"), Code.INSUFFICIENT)
    assert await posted(shop) == 10 * EURO
    made = await shop.service.money.correct("anna", -10 * EURO, "typed twice", "c2")
    assert made == Credited("correct/c2", True, -10 * EURO, Balance())


async def test_a_correction_stands_in_the_journal_with_its_reason(shop: Shop) -> None:
    await shop.anna()
    await shop.service.money.correct("anna", EURO, " goodwill ", "c")
    lines = await shop.service.money.journal_page("anna", None, 10)
    assert [(line.kind, line.reason) for line in lines] == [("correct", "goodwill")]  # type: ignore[union-attr]
    refused(await shop.service.money.correct("anna", EURO, "another reason", "c"), Code.KEY_REUSED)


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501, "a\x00b", "\ufeff"])
async def test_a_correction_without_a_reason_is_refused(shop: Shop, reason: str) -> None:
    await shop.anna()
    refused(await shop.service.money.correct("anna", EURO, reason, "c"), Code.INVALID)


async def test_a_correction_of_nothing_is_refused(shop: Shop) -> None:
    await shop.anna()
    refused(await shop.service.money.correct("anna", 0, "why", "c"), Code.INVALID)


async def test_credit_beyond_what_a_store_can_hold_is_refused(shop: Shop) -> None:
    await shop.anna()
    await shop.service.money.correct("anna", AMOUNT_MAX, "rich", "c1")
    refused(await shop.service.money.correct("anna", 1, "richer", "c2"), Code.NOT_ALLOWED)


async def test_the_journal_tells_a_persons_reason_and_no_word_that_repeats_the_kind(shop: Shop) -> None:
    await shop.anna()
    await shop.service.money.top_up("anna", 25 * EURO, "order-1")
    await shop.service.money.correct("anna", -1, "a slip", "mend-1")
    lines = await shop.service.money.journal_page("anna", None, 10)
    assert not isinstance(lines, Refused)
    assert [(line.kind, reason_shown(line)) for line in lines] == [(Kind.CORRECT, "a slip"), (Kind.TOP_UP, "")]


# --- free minutes --------------------------------------------------------------------------------------------------

MONTH = "2026-11"


async def given(shop: Shop, minutes: int, key: str) -> Minutes:
    made = await shop.service.money.grant_minutes("anna", minutes, "sorry", key)
    assert isinstance(made, Minutes), made
    return made


async def free(shop: Shop) -> tuple[int, int, int]:
    """Free seconds left, all that were granted by plans, and what is left by R5's view."""
    balances = await shop.store.balances("anna")
    view = await shop.service.balances.view("anna")
    assert isinstance(view, BalanceView)
    return balances[bundle(MONTH)].posted, balances[granted(MONTH)].posted, view.free.left


async def test_r11_minutes_are_given_beside_the_plans_once_for_each_key_and_calls_are_told(shop: Shop) -> None:
    await shop.anna("pro")
    for created in (True, False):
        made = await given(shop, 30, "k")
        assert made == Minutes("correct/k", created, MONTH, 1800, Balance(600 + 1800))
    assert await free(shop) == (2400, 600, 2400)
    assert shop.told == ["anna", "anna"]
    lines = [line async for line in shop.store.journal("anna")]
    assert [(line.kind, line.reason) for line in lines] == [(Kind.GRANT, "monthly_bundle"), (Kind.CORRECT, "sorry")]
    await assert_sound(shop.store, LedgerContents(shop.clock.now()))


async def test_r11_a_gift_is_not_counted_as_the_plans_so_an_upgrade_grants_all_that_it_gives(shop: Shop) -> None:
    await shop.anna("light")
    await given(shop, 5, "k")
    assert await free(shop) == (300, 0, 300)
    await shop.service.accounts.change("anna", {"plan": "pro"})
    assert await free(shop) == (900, 600, 900)


async def test_r11_minutes_are_taken_back_to_nothing_and_no_further(shop: Shop) -> None:
    await shop.anna("pro")
    assert (
        "the 10 that are left"
        in refused(await shop.service.money.grant_minutes("anna", -11, "a slip", "a"), Code.INSUFFICIENT).message
    )
    await given(shop, -10, "b")
    assert await free(shop) == (0, 600, 0)


@pytest.mark.parametrize(
    ("minutes", "month", "code"),
    [
        (0, None, Code.INVALID),
        (MINUTES_MAX + 1, None, Code.INVALID),
        (1, "2026-10", Code.NOT_ALLOWED),
        (1, "2026-12", Code.NOT_ALLOWED),
    ],
)
async def test_minutes_of_another_month_or_out_of_bounds_are_refused(
    shop: Shop, minutes: int, month: str | None, code: Code
) -> None:
    await shop.anna("pro")
    refused(await shop.service.money.grant_minutes("anna", minutes, "sorry", "k", month), code)
    assert isinstance(await shop.service.money.grant_minutes("anna", MINUTES_MAX, "sorry", "k", MONTH), Minutes)
    assert [line.id async for line in shop.store.journal("anna")] == ["grant/2026-11", "correct/k"]


@pytest.mark.parametrize("meanwhile", ["the month is over", "closed"])
async def test_r18_minutes_that_were_given_are_answered_so_again_whatever_has_happened(
    shop: Shop, meanwhile: str
) -> None:
    await shop.anna("pro")
    grant = shop.service.money.grant_minutes
    first = await grant("anna", 5, "sorry", "k", MONTH)
    assert isinstance(first, Minutes)
    if meanwhile == "closed":
        await shop.service.accounts.close("anna", "moved")
    else:
        await shop.clock.advance(31 * 86_400)
    assert await grant("anna", 5, "sorry", "k", MONTH) == replace(first, created=False)
    assert isinstance(await grant("anna", 5, "sorry", "new", MONTH), Refused)
    refused(await grant("anna", 5, "sorry", "k", "x y"), Code.NOT_ALLOWED)


async def test_minutes_are_refused_without_an_account_a_reason_or_a_new_key(shop: Shop) -> None:
    grant = shop.service.money.grant_minutes
    refused(await grant("anna", 1, "sorry", "k"), Code.NOT_FOUND)
    await shop.anna("pro")
    refused(await grant("anna", 1, " ", "k"), Code.INVALID)
    await given(shop, 1, "k")
    refused(await grant("anna", 2, "sorry", "k"), Code.KEY_REUSED)
    refused(await shop.service.money.correct("anna", EURO, "sorry", "k"), Code.KEY_REUSED)
    await shop.service.accounts.close("anna", "moved")
    refused(await grant("anna", 1, "sorry", "n"), Code.CLOSED)
