"""A wrong clock expires nothing (R11, R19): what is gone is gone, so expiry asks for proof of the time."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date

import pytest

from charging.ledger.accounts import Account
from charging.ledger.balances import bundle
from charging.ledger.memory import MemoryStore
from charging.ledger.model import CREDIT, Closed, Kind, Leg
from charging.service.caretaker import REST_S, Caretaker
from charging.service.gifts import PackGiven, PackWish
from charging.service.live import NoCalls
from charging.service.money import Credited, Minutes
from charging.service.proven_time import (
    COLLECTION,
    FREE_S,
    NOTE,
    OUTAGE_S,
    SETTLE_S,
    SKEW_S,
    ProvenTime,
    confirm_time,
    dated,
)
from charging.service.proven_time import time_warning as warning
from charging.service.service import Service
from charging.tariff.plans import Pack
from tests.fakes.clock import FakeClock
from tests.fakes.rig import EURO
from tests.unit.service.house import House

TWO_YEARS_S = 2 * 365 * 86_400
MONTH = bundle("2026-11")


class Daemon:
    """One life of a daemon on a machine whose wall clock is ``ahead_s`` of the world's, as far as it matters here."""

    def __init__(self, house: House, ahead_s: float = 0, store: MemoryStore | None = None) -> None:
        now = house.clock.now()
        self.clock = FakeClock(now.mono_us, now.wall_us + round(ahead_s * 1_000_000))
        self.levels: list[int] = []
        self._store = store or house.store
        time = ProvenTime(self._store, self.clock, self.levels.append)
        self._caretaker = Caretaker(self._store, lambda: house.tariff, self.clock, believed=time.believed)

    async def runs(self, seconds: float) -> None:
        """It looks each minute, as `Caretaker.run` does."""
        await self._caretaker.turn()
        for _ in range(round(seconds) // REST_S):
            await self.clock.advance(REST_S)
            await self._caretaker.turn()


async def credit(house: House) -> int:
    return (await house.balance(CREDIT)).posted


@pytest.fixture
async def lived(house: House) -> House:
    """A ledger with credit and free minutes; its last daemon has stopped a minute ago."""
    await house.edit(plan="pro")
    await house.top_up()
    await house.use_month("2026-11", 100)
    await Daemon(house).runs(60)
    await house.clock.advance(120)
    return house


@pytest.mark.parametrize("ahead_s", [TWO_YEARS_S, 30 * 86_400, OUTAGE_S + 60])
async def test_r11_r19_a_clock_that_is_wrong_at_the_start_expires_nothing(lived: House, ahead_s: float) -> None:
    daemon = Daemon(lived, ahead_s)
    await daemon.runs(2 * SETTLE_S)
    assert await lived.expiries() == []
    assert daemon.levels[-1] == 2
    assert "do not expire" in await warning(lived.store, daemon.clock)
    await Daemon(lived).runs(60)
    assert await lived.expiries() == [], "and has left nothing behind"


async def test_r11_a_clock_that_is_wrong_by_a_day_at_a_months_end_is_set_in_time(lived: House) -> None:
    await lived.until("2026-11-30T12:00")
    await Daemon(lived, -9 * 86_400).runs(0)
    before = Daemon(lived)
    await confirm_time(lived.store, before.clock)
    daemon = Daemon(lived, 86_400)
    await daemon.runs(SETTLE_S - 2 * REST_S)
    assert daemon.levels[-1] == 1
    daemon.clock.step_wall(-86_400)
    await daemon.runs(SETTLE_S - 2 * REST_S)
    assert daemon.levels[-1] == 0
    assert await lived.expiries() == []


async def test_r11_a_clock_that_steps_while_the_daemon_runs_expires_nothing(lived: House) -> None:
    daemon = Daemon(lived)
    await daemon.runs(3600)
    daemon.clock.step_wall(TWO_YEARS_S)
    await daemon.runs(2 * SETTLE_S)
    assert await lived.expiries() == []
    assert daemon.levels[-1] == 2
    daemon.clock.step_wall(-TWO_YEARS_S)
    await daemon.runs(SETTLE_S + REST_S)
    assert daemon.levels[-1] == 0


async def test_a_clock_before_the_note_is_not_believed(lived: House) -> None:
    within, before = Daemon(lived, -SKEW_S + 60), Daemon(lived, -SKEW_S - 240)
    await within.runs(0)
    assert within.levels == [0]
    await before.runs(REST_S)
    assert set(before.levels) == {2}


async def test_r11_an_operator_confirms_the_time(lived: House) -> None:
    daemon = Daemon(lived, TWO_YEARS_S)
    await daemon.runs(60)
    assert await credit(lived) == 10 * EURO
    await confirm_time(lived.store, daemon.clock)
    await daemon.runs(60)
    assert daemon.levels[-1] == 0
    assert await lived.expiries() == [f"expire/{MONTH}", "expire/credit/2027-11-22"]
    assert await warning(lived.store, daemon.clock) == ""


# --- what must not bother anyone -------------------------------------------------------------------------------


async def test_r11_a_restart_over_a_months_end_expires_at_once(house: House) -> None:
    await house.edit(plan="pro")
    await house.use_month("2026-11", 100)
    await house.until("2026-11-30T23:56")
    await Daemon(house).runs(0)
    await house.until("2026-12-01T00:05")
    daemon = Daemon(house)
    await daemon.runs(0)
    assert daemon.levels == [0]
    assert await house.expiries() == [f"expire/{MONTH}"]


@pytest.mark.parametrize(("away_s", "waits_s"), [(FREE_S + 120, FREE_S + 120), (62 * 3600, SETTLE_S)])
async def test_r11_after_an_outage_expiry_waits_some_hours_and_asks_nobody(
    house: House, away_s: int, waits_s: int
) -> None:
    await house.edit(plan="pro")
    await house.use_month("2026-11", 100)
    await house.until("2026-11-30T23:59")
    await Daemon(house).runs(0)
    await house.clock.advance(away_s)
    daemon = Daemon(house)
    assert await warning(house.store, daemon.clock) == ""
    await daemon.runs(waits_s - REST_S)
    assert await house.expiries() == []
    assert set(daemon.levels) == {1}
    await daemon.runs(REST_S)
    assert await house.expiries() == [f"expire/{MONTH}"]
    assert daemon.levels[-1] == 0


async def test_a_new_ledger_believes_its_first_clock(house: House) -> None:
    daemon = Daemon(house)
    await daemon.runs(0)
    assert daemon.levels == [0]


@pytest.mark.parametrize(("hours", "level"), [(35, 0), (37, 2)])
async def test_an_older_versions_ledger_believes_a_clock_that_agrees_with_its_last_call(
    house: House, hours: int, level: int
) -> None:
    closed = Closed('{"v":1}', house.clock.now().wall_us, opens=True)
    await house.move(Kind.CHARGE, session="s1", change=closed)
    await house.clock.advance(hours * 3600)
    daemon = Daemon(house)
    await daemon.runs(0)
    assert daemon.levels == [level]
    assert bool(await warning(house.store, daemon.clock)) == bool(level)


# --- several daemons, and the store's clock -----------------------------------------------------------------------


async def test_two_daemons_whose_clocks_differ_by_an_hour_do_not_both_expire(lived: House) -> None:
    """What the one notes each minute, the other's even clock does not explain."""
    await Daemon(lived).runs(0)
    good, ahead = Daemon(lived), Daemon(lived, 3600)
    for _ in range(3 * 60):
        for one in (good, ahead):
            await one.runs(0)
            await one.clock.advance(REST_S)
    assert set(good.levels) == {0}
    assert set(ahead.levels) == {1}


@pytest.mark.parametrize(("apart_s", "level"), [(SKEW_S, 0), (SKEW_S + 1, 2), (-SKEW_S - 1, 2)])
async def test_a_clock_that_the_ledgers_server_contradicts_is_not_believed(
    house: House, apart_s: int, level: int
) -> None:
    class OfServer(MemoryStore):
        async def wall_us(self) -> int | None:
            return house.clock.now().wall_us + apart_s * 1_000_000

    daemon = Daemon(house, store=OfServer(house.clock))
    await daemon.runs(0)
    assert daemon.levels == [level]


async def test_a_note_that_another_daemon_wrote_first_is_taken(lived: House) -> None:
    daemon = Daemon(lived)
    update = lived.store.documents.update_document

    async def late(document: object) -> bool:
        lived.store.documents.update_document = update  # type: ignore[method-assign]
        stored = await lived.store.documents.get_document(COLLECTION, NOTE)
        assert stored is not None
        body = json.dumps({"wall_us": daemon.clock.now().wall_us})
        assert await update(replace(stored, body=body))
        return await update(document)  # type: ignore[arg-type]

    lived.store.documents.update_document = late  # type: ignore[method-assign]
    await daemon.runs(3 * REST_S)
    assert set(daemon.levels) == {0}


async def test_r19_the_leg_that_expires_is_still_what_was_left(lived: House) -> None:
    await lived.until("2026-12-01T00:01")
    daemon = Daemon(lived)
    await confirm_time(lived.store, daemon.clock)
    await daemon.runs(0)
    line = [line async for line in lived.store.journal("anna")][-1]
    assert line.legs == (Leg(MONTH, -500),)


# --- what is bought by a clock that is behind ---------------------------------------------------------------------

SIX_YEARS_S = 6 * 365 * 86_400


def shop_of(house: House, behind_s: float) -> Service:
    """The service of a machine whose wall clock is so far behind."""
    clock = Daemon(house, -behind_s).clock
    ignored: list[str] = []
    return Service(
        store=house.store, tariff=lambda: house.tariff, clock=clock, funds_changed=ignored.append, live=NoCalls()
    )


@pytest.fixture
async def noted(house: House) -> House:
    """An account that has nothing yet, and a clock that was believed a minute ago."""
    house.tariff = replace(house.tariff, packs={"addon": Pack("addon", "Add-on", 600, 30)})
    await Daemon(house).runs(60)
    await house.clock.advance(120)
    return house


async def test_r19_credit_that_is_bought_by_a_clock_years_behind_lasts_its_year(noted: House) -> None:
    bought = await shop_of(noted, SIX_YEARS_S).money.top_up("anna", 10 * EURO, "k", sold=True)
    assert isinstance(bought, Credited)
    await Daemon(noted).runs(60)
    assert await credit(noted) == 10 * EURO
    await noted.until("2027-11-20T12:00")
    await confirm_time(noted.store, noted.clock)
    await Daemon(noted).runs(60)
    assert await credit(noted) == 10 * EURO, "nor does it end early"


async def test_r19_credit_that_is_given_by_a_clock_years_behind_lasts_its_year(noted: House) -> None:
    assert isinstance(await shop_of(noted, SIX_YEARS_S).money.correct("anna", EURO, "sorry", "k"), Credited)
    await Daemon(noted).runs(60)
    assert await credit(noted) == EURO


async def test_r19_a_subscription_that_is_paid_by_a_clock_years_behind_keeps_credit(noted: House) -> None:
    await noted.edit(plan="pro")
    paid = await shop_of(noted, SIX_YEARS_S).subscriptions.paid("anna", "invoice-7")
    assert isinstance(paid, Account)
    assert paid.paid_at_us == noted.clock.now().wall_us - 60 * 1_000_000
    assert paid.paid_until_us == noted.at("2026-12-21T00:00")


async def test_minutes_and_packs_that_are_given_by_a_clock_years_behind_are_there_when_it_is_right(
    noted: House,
) -> None:
    service = shop_of(noted, SIX_YEARS_S)
    given = await service.gifts.give_pack("anna", PackWish("addon"), "bought", "p1")
    assert isinstance(given, PackGiven)
    minutes = await service.money.grant_minutes("anna", 5, "sorry", "m1", "2026-11")
    assert isinstance(minutes, Minutes)
    await Daemon(noted).runs(60)
    assert await noted.expiries() == []
    assert given.last_day == date(2026, 12, 20)


@pytest.mark.parametrize(("behind_s", "is_dated_by_note"), [(SKEW_S + 60, False), (SKEW_S + 61, True)])
async def test_machines_whose_clocks_differ_by_minutes_date_by_their_own(
    noted: House, behind_s: int, is_dated_by_note: bool
) -> None:
    """The note is a minute old, for the last daemon has stopped."""
    clock = Daemon(noted, -behind_s).clock
    assert (await dated(noted.store, clock) != clock.now().wall_us) is is_dated_by_note


async def test_a_clock_that_is_ahead_dates_by_itself(noted: House) -> None:
    clock = Daemon(noted, TWO_YEARS_S).clock
    assert await dated(noted.store, clock) == clock.now().wall_us


async def test_r22_a_note_that_cannot_be_read_keeps_nobody_from_topping_up(noted: House) -> None:
    stored = await noted.store.documents.get_document(COLLECTION, NOTE)
    assert stored is not None
    assert await noted.store.documents.update_document(replace(stored, body="{"))
    assert isinstance(await shop_of(noted, 0).money.top_up("anna", 10 * EURO, "k", sold=True), Credited)
