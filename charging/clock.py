"""The only file that reads a clock, and what the clock on the wall shows: local days and months.

Two clocks are read together, always: the wall clock (tariffs, CDRs, months; it can step) and the monotonic
clock (durations, deadlines; it cannot). Both are integers in microseconds. Pure code takes an
:class:`Instant`; code that waits does so through a :class:`Clock`, so that tests inject their own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Generic, NoReturn, Protocol, TypeVar
from zoneinfo import ZoneInfo

MICROSECONDS = 1_000_000

T = TypeVar("T")

WATCH_S = 1
"""Between two looks for a step of the wall clock, where nothing else reads it."""


@dataclass(frozen=True, slots=True, order=True)
class Instant:
    """One reading of both clocks, in microseconds."""

    mono_us: int
    """Monotonic; comparable only with readings of the same boot of a machine (`Clock.boot`)."""
    wall_us: int
    """Since the Unix epoch, UTC."""

    def plus(self, seconds: float) -> Instant:
        """The instant ``seconds`` later on both clocks (negative: earlier)."""
        delta = round(seconds * MICROSECONDS)
        return Instant(self.mono_us + delta, self.wall_us + delta)

    @property
    def apart_us(self) -> int:
        """By how much the wall clock is ahead of the monotonic one: the same as long as neither is stepped."""
        return self.wall_us - self.mono_us

    def seconds_until(self, later: Instant) -> float:
        """Seconds from here to ``later`` by the monotonic clock; negative when it has passed."""
        return (later.mono_us - self.mono_us) / MICROSECONDS


def parted_us(earlier: Instant, later: Instant) -> int:
    """By how much the wall clock ran further than the monotonic one between two readings; negative: less far."""
    return later.apart_us - earlier.apart_us


def iso(wall_us: int) -> str:
    """A wall-clock reading as ISO 8601 in UTC, with milliseconds."""
    return datetime.fromtimestamp(wall_us / MICROSECONDS, tz=UTC).isoformat(timespec="milliseconds")


def boot_of_machine(proc: Path = Path("/proc")) -> str:
    """Linux's name for this boot, with that of the time namespace: a container may have a monotonic clock of its own.
    Empty where there are none (proc(5), time_namespaces(7))."""
    with suppress(OSError):
        return f"{(proc / 'sys/kernel/random/boot_id').read_text().strip()} {(proc / 'self/ns/time').readlink()}"
    return ""


class Clock(Protocol):
    """What the daemon knows of time."""

    @property
    def boot(self) -> str:
        """Which boot of which machine the monotonic readings are of; empty: of this process alone."""

    def now(self) -> Instant:
        """Both clocks, read together."""

    async def sleep_until(self, mono_us: int) -> None:
        """Return once the monotonic clock has reached ``mono_us``; at once if it has."""


class Bell:
    """One task rests by it; anyone rings it, and never waits."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """There is work: end the rest, or let the next one end at once."""
        self._rung.set()

    async def rest(self, seconds: float) -> None:
        """Return once rung since the last rest ended, or after ``seconds``."""
        await self.rest_until(self._clock.now().plus(seconds).mono_us)

    async def rest_until(self, mono_us: int | None) -> None:
        """Return once rung since the last rest ended, or at that monotonic reading; ``None``: only once rung."""
        sleep = None if mono_us is None else asyncio.create_task(self._clock.sleep_until(mono_us))
        try:
            if sleep is not None:
                sleep.add_done_callback(self._slept)
            await self._rung.wait()
        finally:
            self._rung.clear()
            if sleep is not None:
                sleep.remove_done_callback(self._slept)
                sleep.cancel()

    def _slept(self, _sleep: asyncio.Task[None]) -> None:
        self._rung.set()


class WatchedClock:
    """Both clocks, of which every reading is compared with the last: a step of the wall clock is told before the
    reading is used. So a daemon that was frozen acts on nothing before it knows of the step."""

    def __init__(self, clock: Clock, tolerance_ms: int, stepped: Callable[[Instant, Instant], None]) -> None:
        """``stepped`` is called with the last reading before a step and the first after it. The clocks may part by
        ``tolerance_ms`` between two readings: they are slewed."""
        self._clock = clock
        self._tolerance_us = tolerance_ms * 1000
        self._stepped = stepped
        self._last = clock.now()

    def now(self) -> Instant:
        """Read the clocks."""
        before, now = self._last, self._clock.now()
        self._last = now
        by_us = now.wall_us - now.mono_us - (before.wall_us - before.mono_us)  # `parted_us`: a tick asks a dozen times
        if abs(by_us) > self._tolerance_us:
            self._stepped(before, now)
        return now

    async def watch(self) -> NoReturn:
        """Read the clocks each WATCH_S seconds, for ever."""
        while True:
            await self._clock.sleep_until(self._clock.now().mono_us + WATCH_S * MICROSECONDS)
            self.now()


class SystemClock:
    """The machine's clocks."""

    boot = boot_of_machine()

    def now(self) -> Instant:
        return Instant(time.monotonic_ns() // 1000, time.time_ns() // 1000)

    async def sleep_until(self, mono_us: int) -> None:
        while (left := mono_us - time.monotonic_ns() // 1000) > 0:  # noqa: ASYNC110  waits for time itself
            await asyncio.sleep(left / MICROSECONDS)


class Deadlines(Generic[T]):
    """One deadline of the same length for each of many. All share one timer of the loop: nearly all are over long
    before, and a timer that is made and cancelled costs as much as the rest of a short wait."""

    def __init__(self, seconds: float, late: Callable[[T], None]) -> None:
        """``late`` is called for each that is not over after ``seconds``; it must not raise."""
        self._seconds = seconds
        self._late = late
        self._until: dict[T, float] = {}
        """In the order in which they are due, by the loop's clock."""
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def begin(self, one: T) -> None:
        """From now on it has ``seconds``. It has no deadline yet. Where another event loop was used before, that one is
        over, and nobody waits there."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._timer = loop, None
            self._until.clear()
        self._until[one] = until = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_at(until, self._look, loop)

    def end(self, one: T) -> None:
        """It is over, or was never begun."""
        self._until.pop(one, None)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer, now = None, loop.time()
        late = []
        for one, until in self._until.items():
            if until > now:
                self._timer = loop.call_at(until, self._look, loop)
                break
            late.append(one)
        for one in late:
            if self._until.pop(one, None) is not None:  # else another that was late has ended it
                self._late(one)


# --- what the clock on the wall shows -----------------------------------------------------------------------------
#
# Days and months of a zone are found by looking at the local clock at that instant, so summer time needs no rule of its
# own. Edges are found without walking: between two changes of the zone's offset local time is linear.


def local_reading(zone: ZoneInfo, wall_us: int) -> datetime:
    """What the local clock shows, without its zone."""
    return _local_second(zone, wall_us // MICROSECONDS).replace(microsecond=wall_us % MICROSECONDS)


@lru_cache(maxsize=256)
def _local_second(zone: ZoneInfo, second: int) -> datetime:
    """One decision asks some ten times about the same moment."""
    return datetime.fromtimestamp(second, zone).replace(tzinfo=None, fold=0)


def month_name(zone: ZoneInfo, wall_us: int) -> str:
    """The calendar month, as ``2026-11``."""
    return day_name(zone, wall_us)[:7]


def day_name(zone: ZoneInfo, wall_us: int) -> str:
    """The calendar day, as ``2026-11-21``."""
    return _day_at(zone, wall_us // MICROSECONDS)


@lru_cache(maxsize=256)
def _day_at(zone: ZoneInfo, second: int) -> str:
    return _local_second(zone, second).date().isoformat()


_month_seen: dict[ZoneInfo, tuple[int, int, str]] = {}
"""By zone, the month that was asked for last: the first moment in it that was asked for, where it may end, its name."""


def month_and_edge_us(zone: ZoneInfo, wall_us: int) -> tuple[str, int]:
    """The calendar month, and the first instant after ``wall_us`` at which it may end."""
    since_us, edge_us, name = _month_seen.get(zone, (0, 0, ""))
    if not since_us <= wall_us < edge_us:  # rarely: nearly all ask about now
        known_us = edge_us
        name, edge_us = _month_and_edge_us(zone, wall_us)
        # The edge of an earlier moment, if it is the same, is that of all between.
        _month_seen[zone] = (wall_us if edge_us != known_us else min(wall_us, since_us)), edge_us, name
    return name, edge_us


def _month_and_edge_us(zone: ZoneInfo, wall_us: int) -> tuple[str, int]:
    local = local_reading(zone, wall_us)
    years, month = divmod(local.month, 12)
    following = datetime(local.year + years, month + 1, 1)  # noqa: DTZ001
    return f"{local.year:04d}-{local.month:02d}", instant_of(zone, wall_us, local, following)


def instant_of(zone: ZoneInfo, wall_us: int, local: datetime, target: datetime) -> int:
    """When (wall clock, µs) the local clock gets from ``local`` to ``target``, or, if sooner, the zone's offset
    changes."""
    instant = wall_us + _micros(target - local)
    if _offset_us(zone, wall_us) == _offset_us(zone, instant):
        return instant
    change = _offset_change_us(zone, wall_us // MICROSECONDS, instant // MICROSECONDS + 1)
    return change if wall_us < change < instant else instant


@lru_cache(maxsize=256)
def _offset_change_us(zone: ZoneInfo, low_s: int, high_s: int) -> int:
    """The first second in ``(low_s, high_s]`` with another offset than ``low_s`` has, by halving."""
    offset = _offset_us(zone, low_s * MICROSECONDS)
    while high_s - low_s > 1:
        middle = (low_s + high_s) // 2
        if _offset_us(zone, middle * MICROSECONDS) == offset:
            low_s = middle
        else:
            high_s = middle
    return high_s * MICROSECONDS


def _offset_us(zone: ZoneInfo, wall_us: int) -> int:
    offset = datetime.fromtimestamp(wall_us // MICROSECONDS, zone).utcoffset()
    assert offset is not None
    return _micros(offset)


def _micros(delta: timedelta) -> int:
    return delta // timedelta(microseconds=1)
