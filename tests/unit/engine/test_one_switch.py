"""Two daemons of one ``switch.id``: at one switch they share its lease; at two, who stands by decides nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from charging.app_switch import fit_of
from charging.engine import told
from charging.engine.one_switch import COLLECTION, DOUBTED_S, LOOK_S, OneSwitch
from charging.engine.told import Told
from charging.ledger.memory import MemoryStore
from charging.sandbox.switch import PlayedSwitch
from tests.fakes.clock import FakeClock


@dataclass
class Site:
    """A daemon, its lease and its switch."""

    store: MemoryStore
    clock: FakeClock
    started: str
    holds: bool = False
    heard: list[Told] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.one = OneSwitch(self.store.documents, self.clock, self, "asterisk", self._observe, lambda: self.holds)

    def _observe(self, what: Told, session: object = None) -> None:
        self.heard.append(what)


async def pass_by(seconds: int, *sites: Site) -> None:
    for _ in range(seconds // LOOK_S):
        for site in sites:
            await site.one.look()
        await sites[0].clock.advance(LOOK_S)


@pytest.fixture
def east(clock: FakeClock) -> Site:
    return Site(MemoryStore(clock), clock, "2026-11-30 10:00:00", holds=True)


async def test_a_daemon_at_another_switch_of_the_same_id_decides_nothing_and_says_so_once(east: Site) -> None:
    """Its calls were the other daemon's, who closed them as never answered: each was free, cut after two minutes."""
    west = Site(east.store, east.clock, "2026-11-30 10:00:07")
    await pass_by(DOUBTED_S, east, west)
    assert not west.one.is_another
    await pass_by(5 * LOOK_S, east, west)
    assert west.one.is_another
    assert (west.heard, east.heard) == ([told.SwitchIdTaken("asterisk")], [])
    east.holds = False  # it is away, and has not said so
    await pass_by(DOUBTED_S, west)
    assert west.one.is_another, "it would end the other's calls, and take its place"
    east.holds = True
    await pass_by(2 * DOUBTED_S, west, east)
    assert not east.one.is_another


@pytest.mark.parametrize("file", [None, Path("ledger.db")])
def test_a_daemon_at_another_switch_is_not_fit_for_a_lease_that_others_seek(
    east: Site, clock: FakeClock, file: Path | None
) -> None:
    ledger, switch = SimpleNamespace(sqlite_file=file), SimpleNamespace(lease_s=15)
    config: Any = SimpleNamespace(settings=SimpleNamespace(ledger=ledger, switch=switch))
    fit = fit_of(config, clock, PlayedSwitch(clock, "asterisk"), 30, east.one)
    assert fit()
    east.one.is_another = True
    assert fit() == (file is not None)


async def test_daemons_at_one_switch_decide_both_also_after_its_restart(east: Site) -> None:
    other = Site(east.store, east.clock, east.started)
    await pass_by(2 * DOUBTED_S, east, other)
    other.started = "2026-11-30 11:00:00"  # the one that holds the lease hears of it later
    await pass_by(DOUBTED_S - LOOK_S, east, other)
    east.started = other.started
    await pass_by(2 * DOUBTED_S, east, other)
    assert not other.one.is_another
    assert other.heard == []


async def test_nothing_is_said_before_the_switch_has_told_when_it_was_started(east: Site) -> None:
    other = Site(east.store, east.clock, "")
    await pass_by(3 * DOUBTED_S, east, other)
    assert not other.one.is_another


@pytest.mark.parametrize("body", ["", "{}", '{"started": 1}', "damaged"])
async def test_a_mark_that_cannot_be_read_is_written_again(east: Site, body: str) -> None:
    await east.store.documents.put_document(COLLECTION, "asterisk", body)
    await east.one.look()
    other = Site(east.store, east.clock, east.started)
    await pass_by(3 * DOUBTED_S, other)
    assert not other.one.is_another
