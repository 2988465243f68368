"""Two daemons at one switch and one ledger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from charging.call.switch_events import SwitchEvent
from charging.ledger.memory import MemoryStore
from tests.fakes.clock import FakeClock
from tests.fakes.daemons import Daemon
from tests.fakes.switch import FakeSwitch


@pytest.fixture
async def pair() -> AsyncIterator[tuple[Daemon, Daemon]]:
    clock = FakeClock()
    store, switch = MemoryStore(clock), FakeSwitch(clock)
    one, two = (Daemon(name, clock, store, switch) for name in ("one", "two"))

    def both(event: SwitchEvent) -> None:
        for daemon in (one, two):
            if daemon.tasks and daemon.link.up:
                daemon.rig.registry.deliver(event)

    switch.deliver = both
    for daemon in (one, two):
        await daemon.start()
        await clock.advance(0)
    yield one, two
    for daemon in (one, two):
        await daemon.kill()
    countdowns = [call.countdown for call in switch.calls.values() if call.countdown is not None]
    for countdown in countdowns:
        countdown.cancel()
    await asyncio.gather(*countdowns, return_exceptions=True)
