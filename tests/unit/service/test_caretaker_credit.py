"""Old credit expires (R18, R19), whatever is in the way; nothing is paid out (R21)."""

from __future__ import annotations

import asyncio
from datetime import date

import pytest

from charging.ledger.accounts import Status
from charging.ledger.model import CREDIT, Applied, Balance, Kind, Leg, Transfer
from charging.service.caretaker import REST_S
from tests.fakes.rig import EURO
from tests.unit.service.conftest import Shop
from tests.unit.service.house import House

# --- credit ---------------------------------------------------------------------------------------------------


async def test_r19_credit_expires_when_the_day_a_year_after_its_purchase_is_over(house: House) -> None:
    await house.top_up()
    assert await house.credit_after_turn("2027-11-21T23:59:59") == 10 * EURO
    assert await house.credit_after_turn("2027-11-22T00:00:00") == 0
    assert await house.expiries() == ["expire/credit/2027-11-22"]
    assert house.told == ["anna"]


async def test_r19_a_second_year_expires_under_an_id_of_its_own(house: House) -> None:
    await house.top_up()
    await house.credit_after_turn("2027-11-22T00:00:00")
    await house.top_up(25)
    assert await house.credit_after_turn("2028-11-22T12:00:00") == 25 * EURO
    assert await house.credit_after_turn("2028-11-23T00:00:00") == 0
    assert await house.expiries() == ["expire/credit/2027-11-22", "expire/credit/2028-11-23"]


async def test_r19_leap_day_gives_its_credit_a_day_more(house: House) -> None:
    await house.until("2028-02-29T12:00")
    await house.top_up()
    assert await house.credit_after_turn("2029-03-01T23:59:59") == 10 * EURO
    assert await house.credit_after_turn("2029-03-02T00:00:00") == 0


async def test_r19_summer_time_moves_no_midnight(house: House) -> None:
    """Bought on 27 March 2027; on 28 March 2027 and 26 March 2028 clocks change in Amsterdam."""
    await house.until("2027-03-27T23:30")
    await house.top_up()
    assert await house.credit_after_turn("2028-03-27T23:59:59") == 10 * EURO
    assert await house.credit_after_turn("2028-03-28T00:00:00") == 0


@pytest.mark.parametrize("kind", [Kind.EXTEND, Kind.SETTLE, Kind.CHARGE])
async def test_r19_using_credit_begins_a_year_anew(house: House, kind: Kind) -> None:
    await house.top_up()
    await house.until("2027-06-01T12:00")
    await house.move(kind, Leg(CREDIT, -EURO))
    assert await house.credit_after_turn("2028-06-01T23:59:59") == 9 * EURO
    assert await house.credit_after_turn("2028-06-02T00:00:00") == 0


@pytest.mark.parametrize("between", [0, 120])
async def test_r19_a_call_that_a_clock_behind_has_dated_too_early_shortens_no_year(house: House, between: int) -> None:
    await house.top_up()
    house.clock.step_wall(-40 * 86_400)
    await house.move(Kind.SETTLE, Leg(CREDIT, -EURO))
    for _ in range(between):  # so that the purchase is on another page
        await house.move(Kind.GRANT, Leg("bundle:2026-11", 1))
    house.clock.step_wall(40 * 86_400)
    assert await house.credit_after_turn("2027-11-21T23:59:59") == 9 * EURO
    assert await house.credit_after_turn("2027-11-22T00:00:00") == 0


async def test_r19_what_a_clock_behind_has_dated_does_not_take_the_place_of_an_earlier_one_of_its_kind(
    house: House,
) -> None:
    """A machine that starts years behind: who tops up again before its clock is set loses neither."""
    await house.top_up()
    await house.move(Kind.SETTLE, Leg(CREDIT, -EURO))
    house.clock.step_wall(-800 * 86_400)
    await house.top_up()
    await house.move(Kind.SETTLE, Leg(CREDIT, -EURO))
    house.clock.step_wall(800 * 86_400)
    assert await house.credit_after_turn("2027-11-21T23:59:59") == 18 * EURO
    assert await house.credit_after_turn("2027-11-22T00:00:00") == 0


async def test_r19_a_call_paid_by_free_minutes_alone_does_not(house: House) -> None:
    await house.top_up()
    await house.until("2027-06-01T12:00")
    await house.use_month("2027-06", 60)
    assert await house.credit_after_turn("2027-11-22T00:00:00") == 0


async def test_r19_the_last_event_is_found_behind_many_lines(house: House) -> None:
    await house.top_up()
    for _ in range(120):
        await house.move(Kind.GRANT, Leg("bundle:2026-11", 1))
    assert await house.credit_after_turn("2027-11-21T12:00") == 10 * EURO
    assert await house.credit_after_turn("2027-11-22T12:00") == 0


async def test_r19_credit_given_by_a_correction_does_not_lapse_the_next_night(house: House) -> None:
    await house.top_up()
    await house.credit_after_turn("2027-12-01T12:00")
    await house.move(Kind.CORRECT, Leg(CREDIT, 5 * EURO), reason="goodwill")
    assert await house.credit_after_turn("2028-12-01T12:00") == 5 * EURO
    assert await house.credit_after_turn("2028-12-02T12:00") == 0


async def test_r19_nothing_ever_bought_nothing_expires(house: House) -> None:
    assert await house.credit_after_turn("2030-01-01T12:00") == 0
    assert await house.expiries() == []


@pytest.mark.parametrize("plan", ["light", "pro"])
async def test_r18_credit_stays_while_a_subscription_is_paid(house: House, plan: str) -> None:
    await house.top_up()
    await house.edit(plan=plan, paid_until_us=house.at("2029-01-01T00:00"))
    assert await house.credit_after_turn("2028-12-31T23:59:59") == 10 * EURO
    assert await house.credit_after_turn("2029-01-01T00:00:00") == 0


async def test_r18_voice_free_is_no_paid_subscription(house: House) -> None:
    await house.top_up()
    await house.edit(plan="free", paid_until_us=house.at("2027-11-01T00:00"))
    assert await house.credit_after_turn("2027-11-22T00:00:00") == 0


async def test_r18_what_was_paid_counts_to_its_end_also_after_a_move_to_voice_free(house: House) -> None:
    await house.top_up()
    await house.edit(plan="light", paid_until_us=house.at("2029-01-01T00:00"))
    await house.until("2028-12-10T11:00")
    await house.edit(plan="free")
    assert await house.credit_after_turn("2028-12-11T00:01") == 10 * EURO
    assert await house.credit_after_turn("2028-12-31T23:59:59") == 10 * EURO
    assert await house.credit_after_turn("2029-01-01T00:00:00") == 0


async def test_r19_a_payment_of_the_subscription_begins_a_year(house: House) -> None:
    await house.top_up()
    paid_at_us, paid_until_us = house.at("2027-08-01T10:00"), house.at("2027-09-01T00:00")
    await house.edit(plan="light", paid_at_us=paid_at_us, paid_until_us=paid_until_us)
    assert await house.credit_after_turn("2028-08-01T23:59:59") == 10 * EURO
    assert await house.credit_after_turn("2028-08-02T00:00:00") == 0


async def test_r18_a_plan_that_the_tariff_lost_takes_nothing_from_the_customer(house: House) -> None:
    await house.top_up()
    await house.edit(plan="gone", paid_until_us=house.at("2029-01-01T00:00"))
    assert await house.credit_after_turn("2028-12-31T23:00") == 10 * EURO


async def test_r19_a_subscription_paid_while_the_round_walks_counts(house: House) -> None:
    await house.top_up()
    stale = await house.store.directory.account("anna")
    assert stale is not None
    await house.until("2027-11-22T00:00")
    await house.edit(plan="light", paid_at_us=house.clock.now().wall_us)
    assert await house.caretaker.lapses.look(stale)
    assert (await house.balance()).posted == 10 * EURO


# --- calls in the way -----------------------------------------------------------------------------------------


async def test_r19_a_running_call_paid_by_credit_postpones_expiry(house: House) -> None:
    await house.top_up()
    await house.until("2027-11-21T23:59")
    await house.call("s", Leg(CREDIT, 0, EURO))
    async with house.running():
        await house.until("2027-11-22T00:30")
        assert await house.balance() == Balance(10 * EURO, EURO), "neither the reserved part nor the rest"
        await house.hang_up("s", Kind.SETTLE, Leg(CREDIT, -EURO // 2, -EURO))
        await house.clock.advance(86_400)
        assert (await house.balance()).posted == 10 * EURO - EURO // 2, "using it began a year"


async def test_r19_a_call_that_used_nothing_lets_credit_expire_within_a_minute(house: House) -> None:
    await house.top_up()
    await house.until("2027-11-21T23:59")
    await house.call("s", Leg(CREDIT, 0, EURO))
    async with house.running():
        await house.until("2027-11-22T00:10")
        await house.hang_up("s", Kind.RELEASE, Leg(CREDIT, 0, -EURO))
        await house.clock.advance(REST_S)
        assert await house.balance() == Balance()


async def test_r19_a_reservation_made_between_look_and_expiry_is_not_taken(house: House) -> None:
    await house.top_up()
    await house.until("2027-11-22T00:00")
    apply = house.store.apply

    async def late(transfer: Transfer, grants: object = ()) -> Applied:
        house.store.apply = apply  # type: ignore[method-assign]
        await house.call("s", Leg(CREDIT, 0, EURO))
        return await apply(transfer)

    house.store.apply = late  # type: ignore[method-assign]
    await house.caretaker.turn()
    assert await house.balance() == Balance(10 * EURO, EURO)


async def test_r22_a_top_up_between_look_and_expiry_is_not_taken(house: House) -> None:
    await house.top_up()
    await house.until("2027-11-22T00:00")
    balances = house.store.balances
    reads = 0

    async def late(account: str) -> object:
        nonlocal reads
        found = await balances(account)
        reads += 1
        if reads == 1:
            await house.top_up(25)
        return found

    house.store.balances = late  # type: ignore[method-assign, assignment]
    await house.caretaker.turn()
    assert (await balances("anna"))[CREDIT].posted == 35 * EURO


async def test_r19_value_that_came_back_after_an_expiry_of_the_day_expires_too(house: House) -> None:
    await house.top_up()
    await house.until("2027-11-22T01:00")
    for _ in range(3):
        await house.another().turn()
        await house.move(Kind.GRANT, Leg(CREDIT, 10 * EURO))  # by no event of R19, and always the same amount
    await house.another().turn()
    assert (await house.balance()).posted == 0
    assert await house.expiries() == [f"expire/credit/2027-11-22{again}" for again in ("", "/2", "/3", "/4")]


async def test_several_daemons_expire_once(house: House) -> None:
    await house.top_up()
    await house.until("2027-11-22T01:00")
    await asyncio.gather(*(house.another().turn() for _ in range(4)))
    assert await house.expiries() == ["expire/credit/2027-11-22"]
    assert house.told == ["anna"]


# --- R21 ------------------------------------------------------------------------------------------------------


async def test_r21_a_closed_account_keeps_its_history_and_its_credit_expires_like_any(house: House) -> None:
    await house.top_up()
    await house.move(Kind.SETTLE, Leg(CREDIT, -EURO))
    await house.edit(status=Status.CLOSED)
    before = [line async for line in house.store.journal("anna")]
    await house.another().turn()
    assert [line async for line in house.store.journal("anna")] == before
    assert await house.credit_after_turn("2027-11-22T00:00") == 0
    assert [line async for line in house.store.journal("anna")][:2] == before


async def test_r21_cancelling_a_subscription_or_an_account_pays_nothing_out(shop: Shop) -> None:
    await shop.anna("pro")
    await shop.service.money.top_up("anna", 10 * EURO, "k1")
    await shop.service.subscriptions.paid("anna", "invoice-7", date(2027, 1, 31))
    before = [line async for line in shop.store.journal("anna")]
    await shop.service.accounts.change("anna", {"plan": "free"})
    await shop.service.accounts.suspend("anna", "asked for it")
    await shop.service.accounts.close("anna", "asked for it")
    after = [line async for line in shop.store.journal("anna")]
    assert after[: len(before)] == before
    assert [line.kind for line in after[len(before) :]] == [Kind.GRANT], "this month's free minutes stay (R11)"
    assert (await shop.store.balances("anna"))[CREDIT] == Balance(10 * EURO)
