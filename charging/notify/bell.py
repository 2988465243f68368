"""Lets a task rest between two rounds of work: for some seconds, or until it is rung."""

from __future__ import annotations

import asyncio

from charging.clock import Clock
from charging.tasks import first_of


class Bell:
    """One task rests by it; anyone rings it, and never waits."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """There is work: end the rest, or let the next one end at once."""
        self._rung.set()

    async def rest(self, seconds: int) -> None:
        """Return once rung since the last rest ended, or after ``seconds``."""
        until_us = self._clock.now().plus(seconds).mono_us
        await first_of(self._clock.sleep_until(until_us), self._rung.wait())
        self._rung.clear()
