"""The only file that reads a clock.

Two clocks are read together, always: the wall clock (tariffs, CDRs, months; it can step) and the monotonic
clock (durations, deadlines; it cannot). Both are integers in microseconds. Pure code takes an
:class:`Instant`; code that waits does so through a :class:`Clock`, so that tests inject their own.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Protocol

MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True, order=True)
class Instant:
    """One reading of both clocks, in microseconds."""

    mono_us: int
    """Monotonic; comparable only with readings of the same process."""
    wall_us: int
    """Since the Unix epoch, UTC."""

    def plus(self, seconds: float) -> Instant:
        """The instant ``seconds`` later on both clocks (negative: earlier)."""
        delta = round(seconds * MICROSECONDS)
        return Instant(self.mono_us + delta, self.wall_us + delta)

    def seconds_until(self, later: Instant) -> float:
        """Seconds from here to ``later`` by the monotonic clock; negative when it has passed."""
        return (later.mono_us - self.mono_us) / MICROSECONDS


def parted_us(earlier: Instant, later: Instant) -> int:
    """By how much the wall clock ran further than the monotonic one between two readings; negative: less far."""
    return (later.wall_us - earlier.wall_us) - (later.mono_us - earlier.mono_us)


class Clock(Protocol):
    """What the daemon knows of time."""

    def now(self) -> Instant:
        """Both clocks, read together."""

    async def sleep_until(self, mono_us: int) -> None:
        """Return once the monotonic clock has reached ``mono_us``; at once if it has."""


class SystemClock:
    """The machine's clocks."""

    def now(self) -> Instant:
        return Instant(time.monotonic_ns() // 1000, time.time_ns() // 1000)

    async def sleep_until(self, mono_us: int) -> None:
        while (left := mono_us - time.monotonic_ns() // 1000) > 0:  # noqa: ASYNC110  waits for time itself
            await asyncio.sleep(left / MICROSECONDS)
