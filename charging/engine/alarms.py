"""When sessions want to be woken: one queue in the order of time, and one sleeper, for all of them.

Each wait of each call had two tasks and a timer of its own. What is due at about the same time is woken together: then
its questions to the ledger share a thread's turn and a commit, and its orders to the switch one write.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from itertools import count
from typing import NoReturn

from charging.clock import Clock

TOGETHER_US = 50_000
"""What falls due within one such stretch is woken at its end: at most so much later than it wished. A tick is due a
whole horizon before its call's money ends."""


class Alarm:
    """One wish; it may be taken back."""

    __slots__ = ("at_us", "ring")

    def __init__(self, at_us: int, ring: Callable[[], None]) -> None:
        self.at_us = at_us
        self.ring: Callable[[], None] | None = ring

    def cancel(self) -> None:
        self.ring = None


class Alarms:
    """All that are set."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: list[tuple[int, int, Alarm]] = []
        self._order = count()
        self._sleeps_until_us: int | None = None
        self._sooner = asyncio.Event()

    def set(self, at_us: int, ring: Callable[[], None]) -> Alarm:
        """Call ``ring`` once ``at_us`` has come by the monotonic clock; in the next turn of the loop if it has."""
        alarm, due_us = Alarm(at_us, ring), at_us
        if at_us > self._clock.now().mono_us:
            due_us = -(-at_us // TOGETHER_US) * TOGETHER_US
        heapq.heappush(self._waiting, (due_us, next(self._order), alarm))
        if self._sleeps_until_us is None or due_us < self._sleeps_until_us:
            self._sooner.set()
        return alarm

    async def run(self) -> NoReturn:
        """For ever."""
        while True:
            self._ring()
            self._sooner.clear()
            self._sleeps_until_us = self._waiting[0][0] if self._waiting else None
            await self._sleep(self._sleeps_until_us)

    def _ring(self) -> None:
        now_us = self._clock.now().mono_us
        while self._waiting and (self._waiting[0][0] <= now_us or self._waiting[0][2].ring is None):
            _, _, alarm = heapq.heappop(self._waiting)
            if alarm.ring is not None:
                alarm.ring()

    async def _sleep(self, until_us: int | None) -> None:
        """Until then, or until an earlier one is set."""
        if until_us is None:
            await self._sooner.wait()
            return
        waits = asyncio.create_task(self._clock.sleep_until(until_us)), asyncio.create_task(self._sooner.wait())
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()
