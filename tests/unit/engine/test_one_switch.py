"""Two daemons of one ``switch.id``: at one switch they share its lease; at two, who stands by decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from charging.app_switch import fit_of
from charging.engine import told
from charging.engine.leadership import LeaseKeeper
from charging.engine.one_switch import COLLECTION, DOUBTED_S, HORIZONS, LOOK_S, OneSwitch
from charging.engine.told import Told
from charging.errors import LedgerUnavailable
from charging.ledger.memory import MemoryStore
from charging.sandbox.switch import PlayedSwitch
from charging.tasks import end
from tests.fakes.clock import FakeClock

TTL_S, HORIZON_S = 15, 60
FREED_S = HORIZONS * HORIZON_S
EAST, WEST = "2026-11-30 10:00:00", "2026-11-30 10:00:07"


class Site:
    """A daemon at a switch that was started then."""

    def __init__(self, store: MemoryStore, clock: FakeClock, started: str, ttl_s: int = TTL_S, owner: str = "") -> None:
        self.started, self.heard = started, list[Told]()
        self.one = OneSwitch(store, clock, lambda: self.started, self._observe, lambda: self.lease, HORIZON_S)
        self.lease = LeaseKeeper(
            store.leases,
            clock,
            switch_id="asterisk",
            owner=owner or started,
            ttl_s=ttl_s,
            observe=self._observe,
            fit=lambda: bool(self.started) and not self.one.is_another,
        )

    def _observe(self, what: Told, session: object = None) -> None:
        self.heard.append(what)

    async def lead(self, epoch: int) -> None:
        """As of `charging.engine.leadership.Follower`."""

    async def stand_by(self) -> None:
        """As of the same."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Cut off at the end, as by kill -9."""
        tasks = [asyncio.create_task(self.one.run()), asyncio.create_task(self.lease.run(self))]
        try:
            yield
        finally:
            await end(tasks)

    @property
    def state(self) -> tuple[bool, bool]:
        return self.lease.holds, self.one.is_another

    @property
    def says_taken(self) -> int:
        return self.heard.count(told.SwitchIdTaken("asterisk"))


class Sites:
    """Daemons that share a ledger."""

    def __init__(self, clock: FakeClock) -> None:
        self.store, self._clock = MemoryStore(clock), clock

    def __call__(self, started: str, ttl_s: int = TTL_S, owner: str = "") -> Site:
        return Site(self.store, self._clock, started, ttl_s, owner)


@pytest.fixture
def site(clock: FakeClock) -> Sites:
    return Sites(clock)


async def test_a_daemon_at_another_switch_of_the_same_id_decides_nothing_and_says_so_once(
    site: Sites, clock: FakeClock
) -> None:
    """Its calls were the other daemon's, who closed them as never answered: each was free, cut after two minutes."""
    east, west = site(EAST), site(WEST)
    async with west.running(), east.running():
        await clock.advance(TTL_S + LOOK_S)
        leads, stands_by = (east, west) if east.lease.holds else (west, east)
        assert (leads.state, stands_by.state) == ((True, False), (False, False))
        await clock.advance(DOUBTED_S + TTL_S + LOOK_S)
        assert (leads.state, stands_by.state) == ((True, False), (False, True))
        await clock.advance(10 * DOUBTED_S)
    assert (stands_by.says_taken, leads.says_taken) == (1, 0)


@pytest.mark.parametrize("away_s", [TTL_S // 2, 3 * TTL_S, FREED_S // 2])
async def test_a_daemon_at_another_switch_does_not_take_the_place_of_one_that_is_restarted(
    site: Sites, clock: FakeClock, away_s: int
) -> None:
    """It ended the calls at the other switch, and then turned away all of them for good."""
    west = site(WEST)
    async with site(EAST).running():
        await clock.advance(1)
        async with west.running():
            await clock.advance(DOUBTED_S + TTL_S + 2 * LOOK_S)
            assert west.state == (False, True)
    async with west.running():
        await clock.advance(away_s)
        assert west.state == (False, True)
        again = site(EAST, owner="again")
        async with again.running():
            await clock.advance(DOUBTED_S + 2 * TTL_S)
            assert (again.state, west.state) == ((True, False), (False, True))


async def test_once_nobody_has_held_the_lease_for_long_the_name_is_the_others(site: Sites, clock: FakeClock) -> None:
    """The first switch has another name now, or is gone: else all calls would be turned away until a person comes."""
    west = site(WEST)
    async with site(EAST).running():
        await clock.advance(DOUBTED_S)
        async with west.running():
            await clock.advance(2 * DOUBTED_S)
    async with west.running():
        await clock.advance(FREED_S - LOOK_S)
        assert west.state == (False, True)
        await clock.advance(TTL_S + 4 * LOOK_S)
        assert west.state == (True, False)


@pytest.mark.parametrize(("ttl_s", "boots_s"), [(15, 40), (15, 300), (120, 20), (90, 15), (600, 60)])
async def test_after_the_switch_and_its_daemon_died_together_one_of_two_leads(
    site: Sites, clock: FakeClock, ttl_s: int, boots_s: int
) -> None:
    """Both find another start than the mark has, while the lease of the dead one runs out."""
    other = site(EAST, ttl_s, "other")
    async with other.running():
        async with site(EAST, ttl_s, "first").running():
            await clock.advance(120)
        other.started = ""
        await clock.advance(boots_s)
        other.started, again = WEST, site(WEST, ttl_s, "again")
        async with again.running():
            await clock.advance(ttl_s + 3 * LOOK_S)
            assert sorted((other.state, again.state)) == [(False, False), (True, False)]
    assert other.says_taken == again.says_taken == 0


async def test_who_does_not_hear_his_switch_is_at_no_other_and_leads_later(site: Sites, clock: FakeClock) -> None:
    """Its link is down as the one switch is restarted; then the daemon that leads dies with it."""
    leads, deaf = site(EAST), site(EAST, owner="deaf")
    async with deaf.running():
        async with leads.running():
            await clock.advance(2 * TTL_S)
            first, second = (leads, deaf) if leads.lease.holds else (deaf, leads)
            second.started, first.started = "", WEST
            await clock.advance(3 * DOUBTED_S)
            assert not second.one.is_another
        deaf.started = "2026-11-30 12:00:00"
        await clock.advance(TTL_S + 3 * LOOK_S)
        assert deaf.state == (True, False)
    assert deaf.says_taken == leads.says_taken == 0


@pytest.mark.parametrize("away_s", [LOOK_S, FREED_S + LOOK_S])
async def test_at_another_switch_it_stays_though_he_does_not_hear_it_for_a_while(
    site: Sites, clock: FakeClock, away_s: int
) -> None:
    """After a blip of its link, the daemon at the wrong switch decided its calls again for a minute."""
    west = site(WEST)
    async with site(EAST).running():
        await clock.advance(1)
        async with west.running():
            await clock.advance(2 * DOUBTED_S)
            assert west.state == (False, True)
            for started in ("", WEST):
                west.started = started
                await clock.advance(away_s)
                assert west.state == (False, True)
            assert west.says_taken == 1


async def test_doubt_begins_anew_behind_a_time_in_which_he_does_not_hear_his_switch(
    site: Sites, clock: FakeClock
) -> None:
    """It may have been restarted meanwhile."""
    west = site(WEST)
    async with site(EAST).running():
        await clock.advance(1)
        async with west.running():
            for started in (WEST, "", WEST):
                west.started = started
                await clock.advance(DOUBTED_S - LOOK_S)
            assert west.state == (False, False)
            await clock.advance(2 * LOOK_S)
            assert west.state == (False, True)


@pytest.mark.parametrize("finds", [EAST, WEST, "2026-11-30 12:00:00"])
async def test_who_was_at_another_switch_leads_again_once_the_name_is_his(
    site: Sites, clock: FakeClock, finds: str
) -> None:
    """Its link went down as the others' daemon did, and it comes back to the one switch, or to its own."""
    west = site(WEST)
    async with AsyncExitStack() as first, AsyncExitStack() as both:
        await first.enter_async_context(site(EAST).running())
        await clock.advance(1)
        await both.enter_async_context(west.running())
        await clock.advance(3 * DOUBTED_S)
        assert west.state == (False, True)
        await first.aclose()
        west.started = ""
        await clock.advance(DOUBTED_S)
        west.started = finds
        await clock.advance(FREED_S + TTL_S + 4 * LOOK_S)
        assert west.state == (True, False)


async def test_an_old_mark_keeps_the_only_daemon_from_nothing_at_its_start(site: Sites, clock: FakeClock) -> None:
    async with site(EAST).running():
        await clock.advance(TTL_S)
    await clock.advance(2 * TTL_S)
    again = site(WEST)
    async with again.running():
        await clock.advance(1)
        assert again.state == (True, False)
        await clock.advance(10 * DOUBTED_S)
        assert again.state == (True, False)


async def test_daemons_at_one_switch_decide_both_also_after_its_restart(site: Sites, clock: FakeClock) -> None:
    leads, other = site(EAST), site(EAST, owner="other")
    async with leads.running():
        await clock.advance(1)
        async with other.running():
            await clock.advance(2 * DOUBTED_S)
            other.started = WEST  # the one that holds the lease hears of it later
            await clock.advance(DOUBTED_S - 2 * LOOK_S)
            leads.started = other.started
            await clock.advance(3 * DOUBTED_S)
            assert (leads.state, other.state) == ((True, False), (False, False))


async def test_a_ledger_that_is_away_begins_the_doubt_again(
    site: Sites, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Meanwhile anything may have become of the lease."""
    west = site(WEST)

    async def away(*_: object) -> None:
        raise LedgerUnavailable("away")

    async with site(EAST).running():
        await clock.advance(1)
        async with west.running():
            await clock.advance(DOUBTED_S - LOOK_S)
            with monkeypatch.context() as patched:
                patched.setattr(site.store.documents, "get_document", away)
                await clock.advance(2 * LOOK_S)
            await clock.advance(2 * LOOK_S)
            assert not west.one.is_another


@pytest.mark.parametrize("file", [None, Path("ledger.db")])
def test_a_daemon_at_another_switch_is_not_fit_for_a_lease_that_others_seek(
    site: Sites, clock: FakeClock, file: Path | None
) -> None:
    ledger, switch = SimpleNamespace(sqlite_file=file), SimpleNamespace(lease_s=15)
    config: Any = SimpleNamespace(settings=SimpleNamespace(ledger=ledger, switch=switch))
    one = site(EAST).one
    fit = fit_of(config, clock, PlayedSwitch(clock, "asterisk"), 30, one)
    assert fit()
    one.is_another = True
    assert fit() == (file is not None)


@pytest.mark.parametrize("body", ["", "{}", '{"started": 1}', "damaged"])
async def test_a_mark_that_cannot_be_read_is_written_again(site: Sites, clock: FakeClock, body: str) -> None:
    await site.store.documents.put_document(COLLECTION, "asterisk", body)
    async with site(EAST).running(), site(EAST, owner="other").running():
        await clock.advance(TTL_S + LOOK_S)
        stored = await site.store.documents.get_document(COLLECTION, "asterisk")
        assert stored is not None
        assert EAST in stored.body
