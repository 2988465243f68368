"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any

from charging.clock import MICROSECONDS, Instant

START_MONO_US = 1_000 * MICROSECONDS
START_WALL_US = 1_795_262_400 * MICROSECONDS
"""2026-11-21T12:00:00Z."""
SETTLE_ROUNDS_MAX = 100_000
"""So many turns of the loop without coming to rest mean that some task spins."""


class FakeClock:
    """A :class:`charging.clock.Clock` whose time passes only by order.

    Sleepers wake in the order of their deadlines (those of one deadline in the order in which they went to
    sleep), and each has run as far as it can before the next wakes: a task that wakes, works and sleeps again
    within the time that is advanced wakes again within it.
    """

    def __init__(self, mono_us: int = START_MONO_US, wall_us: int = START_WALL_US) -> None:
        self._mono_us = mono_us
        self._wall_us = wall_us
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = count()
        self._someone_sleeps = asyncio.Event()
        self.boot = "boot-1"

    def now(self) -> Instant:
        return Instant(self._mono_us, self._wall_us)

    async def sleep_until(self, mono_us: int) -> None:
        if mono_us <= self._mono_us:
            return
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (mono_us, next(self._order), future))
        self._someone_sleeps.set()
        await future

    def step_wall(self, seconds: float) -> None:
        """Step the wall clock alone, as NTP or an operator would; nobody wakes."""
        self._wall_us += round(seconds * MICROSECONDS)

    def pass_unseen(self, seconds: float) -> None:
        """Let time pass while everybody who might wake is frozen (SIGSTOP)."""
        self._move_to(self._mono_us + round(seconds * MICROSECONDS))

    @property
    def sleepers(self) -> int:
        """How many tasks sleep now."""
        return sum(not future.done() for _, _, future in self._sleepers)

    @property
    def next_deadline_us(self) -> int | None:
        """The monotonic time at which the next sleeper wakes."""
        while self._sleepers and self._sleepers[0][2].done():  # cancelled while asleep
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    async def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass on both clocks, waking every sleeper on the way, in order."""
        end_us = self._mono_us + round(seconds * MICROSECONDS)
        await self.rest()
        while (deadline := self.next_deadline_us) is not None and deadline <= end_us:
            self._wake_first()
            await self.rest()
        self._move_to(end_us)

    async def rest(self) -> None:
        """Return when every task waits for time to pass."""
        await settle()

    async def jump(self) -> None:
        """Let time pass until the next sleeper wakes; at once when nobody sleeps."""
        await settle()
        if self.next_deadline_us is not None:
            self._wake_first()
            await settle()

    @asynccontextmanager
    async def autojump(self, idle_s: float = 0.0) -> AsyncIterator[None]:
        """Within the block time jumps to the next deadline whenever every task waits.

        ``idle_s``: real seconds that the loop must have been at rest, for code that also waits for threads
        or sockets.
        """
        jumper = asyncio.create_task(self._jump_for_ever(idle_s), name="autojump")
        try:
            yield
        finally:
            jumper.cancel()
            with suppress(asyncio.CancelledError):
                await jumper

    async def _jump_for_ever(self, idle_s: float) -> None:
        while True:
            await settle()
            if self.next_deadline_us is None:
                self._someone_sleeps.clear()
                await self._someone_sleeps.wait()
                continue
            before = self.next_deadline_us
            if idle_s:
                await asyncio.sleep(idle_s)
            if self.next_deadline_us == before:
                self._wake_first()

    def _wake_first(self) -> None:
        deadline, _, future = heapq.heappop(self._sleepers)
        self._move_to(deadline)
        future.set_result(None)

    def _move_to(self, mono_us: int) -> None:
        passed = max(0, mono_us - self._mono_us)
        self._mono_us += passed
        self._wall_us += passed


_settling = 0
"""How many tasks are within settle() now: they keep the loop turning themselves."""


async def settle() -> None:
    """Return when every other task waits for something that is not there yet (threads and sockets apart)."""
    global _settling
    loop = asyncio.get_running_loop()
    _settling += 1
    try:
        for _ in range(SETTLE_ROUNDS_MAX):
            await asyncio.sleep(0)
            if len(loop._ready) < _settling:  # type: ignore[attr-defined]  # no public word for "idle"
                return
    finally:
        _settling -= 1
    raise AssertionError("the event loop does not come to rest")


async def right() -> bool:
    """Of a clock that a test moves by months between two lives of a daemon: it is believed."""
    return True


async def stopped(*tasks: asyncio.Task[Any]) -> None:
    """Cancel them, and wait until they are gone. Raises what one of them had failed with before: nobody tests what a
    dead one does."""
    for task in tasks:
        task.cancel()
    for ended in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(ended, Exception):
            raise ended


@asynccontextmanager
async def running(work: Coroutine[Any, Any, object], name: str) -> AsyncIterator[None]:
    """``work`` as a task of this name, which waits for something already; `stopped` at the end."""
    task = asyncio.create_task(work, name=name)
    await settle()
    try:
        yield
    finally:
        await stopped(task)
