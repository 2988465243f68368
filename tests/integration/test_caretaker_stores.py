"""Months and years on real stores: what the caretaker makes of calendars, of nights it missed, and of calls in the way
(R11, R18, R19). One turn of a daemon that has just been started each, as after a night that it was down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import pytest

from charging.ledger.balances import bundle
from charging.ledger.books.verify import verify
from charging.ledger.model import CREDIT, Balance, Kind, Leg, Outcome, day_spend
from charging.ledger.open import open_store
from tests.fakes.clock import FakeClock
from tests.fakes.rig import EURO
from tests.integration.killing_ground import ground_of
from tests.unit.service.house import ZONE, House


@pytest.fixture(params=["sqlite", "redis"])
async def house(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[House]:
    with ground_of(request.param, tmp_path) as ground:
        url, _ = ground.new()
        store = open_store(url)
        await store.open()
        made = House(FakeClock(), store)
        await made.open()
        yield made
        assert [str(one) async for one in verify(store)] == []
        await store.close()


async def test_r11_nights_and_months_that_were_missed_end_each_month_once(house: House) -> None:
    await house.edit(plan="pro")
    for month in ("2026-11", "2026-12", "2027-01"):
        await house.until(f"{month}-28T12:00")
        await house.use_month(month, 100)
    await house.until("2027-02-03T12:00")
    await asyncio.gather(*(house.another().turn() for _ in range(3)))
    await house.another().turn()
    assert await house.expiries() == [f"expire/{bundle(month)}" for month in ("2026-11", "2026-12", "2027-01")]
    assert await house.balance(bundle("2027-01")) == Balance()


async def test_r11_a_month_ends_at_the_operators_midnight_in_winter_and_in_summer(house: House) -> None:
    """23:00 UTC in winter, 22:00 in summer; a month of 28 days, and one of 29."""
    await house.edit(plan="pro", paid_until_us=house.at("2030-01-01T00:00"))
    for month, last, first in (
        ("2027-02", "2027-02-28T23:59:59", "2027-03-01T00:00:00"),
        ("2027-03", "2027-03-31T23:59:59", "2027-04-01T00:00:00"),
        ("2028-02", "2028-02-29T23:59:59", "2028-03-01T00:00:00"),
    ):
        await house.until(f"{month}-15T12:00")
        await house.use_month(month, 100)
        await house.until(last)
        await house.another().turn()
        assert await house.balance(bundle(month)) == Balance(500)
        await house.until(first)
        await house.another().turn()
        assert await house.balance(bundle(month)) == Balance()


@pytest.mark.parametrize(
    ("bought", "last", "gone"),
    [
        ("2028-02-29T12:00", "2029-03-01T23:59:59", "2029-03-02T00:00:00"),  # the customer's favour
        ("2027-02-28T12:00", "2028-02-28T23:59:59", "2028-02-29T00:00:00"),
        ("2027-03-27T23:30", "2028-03-27T23:59:59", "2028-03-28T00:00:00"),  # summer time begins on the 28th
        ("2027-10-31T02:30", "2028-10-31T23:59:59", "2028-11-01T00:00:00"),  # an hour that there was twice
    ],
)
async def test_r19_a_year_is_a_calendar_year_in_the_operators_zone(
    house: House, bought: str, last: str, gone: str
) -> None:
    await house.until(bought)
    await house.top_up()
    assert await house.credit_after_turn(last) == 10 * EURO
    assert await house.credit_after_turn(gone) == 0


@pytest.mark.parametrize(
    ("kind", "used", "left"), [(Kind.RELEASE, 0, 0), (Kind.SETTLE, EURO // 2, 10 * EURO - EURO // 2)]
)
async def test_r19_credit_that_a_running_call_holds_at_midnight_waits_for_its_end(
    house: House, kind: Kind, used: int, left: int
) -> None:
    """A call that used none of it does not prolong its life; one that did begins a year."""
    await house.top_up()
    await house.until("2027-11-21T23:59")
    await house.call("s", Leg(CREDIT, 0, EURO))
    await house.until("2027-11-22T00:01")
    caretaker = house.another()
    await caretaker.turn()
    assert await house.balance() == Balance(10 * EURO, EURO)
    await house.hang_up("s", kind, Leg(CREDIT, -used, -EURO))
    await caretaker.turn()
    assert await house.balance() == Balance(left)


async def test_r11_seconds_that_a_running_call_holds_at_midnight_wait_for_its_end(house: House) -> None:
    await house.edit(plan="pro")
    await house.use_month("2026-11", 100)
    await house.until("2026-11-30T23:59:30")
    await house.call("s", Leg(bundle("2026-11"), 0, 30))
    await house.until("2026-12-01T00:01")
    caretaker = house.another()
    await caretaker.turn()
    assert await house.balance(bundle("2026-11")) == Balance(500, 30)
    await house.hang_up("s", Kind.SETTLE, Leg(bundle("2026-11"), -30, -30))
    await caretaker.turn()
    assert await house.balance(bundle("2026-11")) == Balance()
    assert await house.expiries() == [f"expire/{bundle('2026-11')}"]


async def test_r18_credit_outlives_the_nights_for_which_the_subscription_is_paid(house: House) -> None:
    await house.top_up()
    await house.edit(plan="light", paid_until_us=house.at("2028-03-01T00:00"))
    assert await house.credit_after_turn("2028-02-29T23:59:59") == 10 * EURO
    assert await house.credit_after_turn("2028-03-01T00:00:00") == 0


# --- what counts days and months that are long over ---------------------------------------------------------------


async def spend_daily(house: House, days: int) -> None:
    """A call a day, on an account whose plan caps the day."""
    for _ in range(days):
        day = datetime.fromtimestamp(house.clock.now().wall_us // 1_000_000, ZONE).date().isoformat()
        assert await house.move(Kind.SETTLE, Leg(CREDIT, -1), Leg(day_spend(day), -1, 0, -EURO)) is Outcome.CREATED
        await house.clock.advance(86_400)


async def test_r11_balances_of_days_and_months_long_over_do_not_pile_up(house: House) -> None:
    await house.edit(plan="pro", paid_until_us=house.at("2030-01-01T00:00"))
    await house.top_up()
    await house.use_month("2026-11", 100)
    for _ in range(5):
        await spend_daily(house, 30)
        await asyncio.gather(*(house.another().turn() for _ in range(2)))
    left = await house.store.balances("anna")
    assert len(left) <= 2 + 31 + 35, sorted(left)
    assert not [name for name in left if "2026" in name]
    assert {one.posted for name, one in left.items() if name.startswith("day:")} == {-1}
    assert (await house.balance()).posted == 10 * EURO - 150
    lines = [line.number async for line in house.store.journal("anna")]
    await house.another().turn()
    assert [line.number async for line in house.store.journal("anna")] == lines, "once"


async def test_a_day_of_which_a_call_was_booked_very_late_is_closed_again(house: House) -> None:
    await house.top_up()
    for _ in range(2):
        assert await house.move(Kind.SETTLE, Leg(CREDIT, -1), Leg("day:2026-11-21", -1, 0, -EURO)) is Outcome.CREATED
        await house.clock.advance(90 * 86_400)
        await house.another().turn()
        assert "day:2026-11-21" not in await house.store.balances("anna")


async def test_a_month_that_an_open_call_holds_is_kept(house: House) -> None:
    await house.edit(plan="pro")
    await house.use_month("2026-11", 100)
    await house.call("s", Leg(bundle("2026-11"), 0, 30))
    await house.clock.advance(90 * 86_400)
    await house.another().turn()
    assert await house.balance(bundle("2026-11")) == Balance(500, 30)
