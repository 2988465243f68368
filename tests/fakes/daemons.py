"""Daemons that share a ledger and a switch."""

from __future__ import annotations

import asyncio
import inspect
from typing import NoReturn, cast

from charging.call.model import Policy
from charging.clock import MICROSECONDS
from charging.engine.leadership import LeaseKeeper
from charging.errors import LinkDown
from charging.ledger.memory import MemoryStore
from tests.fakes.clock import FakeClock, stopped
from tests.fakes.rig import Rig, make_tariff
from tests.fakes.switch import FakeSwitch

TTL_S = 10


class OwnLink:
    """One daemon's own link to the switch that all of them have."""

    def __init__(self, switch: FakeSwitch) -> None:
        self._switch = switch
        self._proven = switch.proven_mono_us
        self.up = True

    @property
    def proven_mono_us(self) -> int | None:
        if self.up:
            self._proven = self._switch.proven_mono_us
        return self._proven

    def __getattr__(self, name: str) -> object:
        member = getattr(self._switch, name)
        return self._refuse if inspect.iscoroutinefunction(member) and not self.up else member

    async def _refuse(self, *_: object) -> NoReturn:
        raise LinkDown


class Daemon:
    """One of several daemons: a rig and its lease."""

    def __init__(self, name: str, clock: FakeClock, store: MemoryStore, switch: FakeSwitch) -> None:
        self.link = OwnLink(switch)
        self.rig = Rig(clock, store, cast(FakeSwitch, self.link), Policy(short_poll_s=1), make_tariff())
        self.name = name
        self.tasks: list[asyncio.Task[object]] = []
        self.keeper: LeaseKeeper

    async def start(self) -> None:
        self.rig.wire()
        registry = self.rig.registry
        self.keeper = LeaseKeeper(
            self.rig.store.leases,
            self.rig.clock,
            switch_id="test",
            owner=self.name,
            ttl_s=TTL_S,
            observe=self.rig.observe,
            fit=self.hears_the_switch,
        )
        registry.leads = lambda: self.keeper.holds
        self.tasks = [asyncio.create_task(self.rig.run())]
        await asyncio.sleep(0)
        self.tasks.append(asyncio.create_task(self.keeper.run(self.rig.recovery)))

    def hears_the_switch(self) -> bool:
        proven = self.link.proven_mono_us
        return proven is not None and self.rig.clock.now().mono_us - proven <= TTL_S * MICROSECONDS

    async def kill(self) -> None:
        """Raises what a task of it had failed with before."""
        tasks, self.tasks = self.tasks, []
        await stopped(*tasks)
