"""The event loop of a story: time passes only where nobody has anything to do, and then it jumps to what comes next.

Much of a story's cost would be questions to the kernel about sockets that there are none of, and turns of the loop that
only find out whether all are at rest. This loop knows that by itself: what is ready is carried out in the order in
which asyncio would, and where nothing is ready the clock moves. asyncio's timers wait for the same clock.
"""

from __future__ import annotations

import asyncio
import heapq
import threading
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from datetime import UTC, datetime
from typing import Any, cast

from charging.clock import MICROSECONDS, Instant
from tests.fakes.clock import FakeClock

CALLBACKS_MAX = 500_000
"""So many without the clock moving mean that some task spins."""


class CityClock(FakeClock):
    """Moves while somebody awaits `advance`, in a `StoryLoop`; stands still while a ledger with threads is at work."""

    def __init__(self, start: str) -> None:
        super().__init__(wall_us=round(datetime.fromisoformat(start).replace(tzinfo=UTC).timestamp()) * MICROSECONDS)
        self.at_work: Callable[[], bool] = lambda: False
        self._arrived: asyncio.Future[None] | None = None
        """Who moves the clock waits for it."""
        self._end_us = 0
        self._now = super().now()

    def now(self) -> Instant:
        """The same object as long as neither clock has moved: it is read at each await of everybody."""
        now = self._now
        if now.mono_us != self._mono_us or now.wall_us != self._wall_us:
            now = self._now = super().now()
        return now

    async def advance(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, StoryLoop), "the clock moves where the loop has nothing to do"
        assert self._arrived is None, "one moves the clock"
        loop.clock = self
        self._end_us = self._mono_us + round(seconds * MICROSECONDS)
        self._arrived = loop.create_future()
        await self._arrived

    def move(self) -> bool:
        """Nobody has anything to do: wake the one who wakes next, or arrive. ``False``: nobody moves the clock, or it
        has to wait."""
        if self._arrived is None or self.at_work():
            return False
        deadline = self.next_deadline_us
        if deadline is not None and deadline <= self._end_us:
            self._wake_first()
            return True
        self._move_to(self._end_us)
        arrived, self._arrived = self._arrived, None
        arrived.set_result(None)
        return True

    def fail(self, why: str) -> None:
        """Raise AssertionError in the one who moves the clock."""
        arrived, self._arrived = self._arrived, None
        if arrived is None:
            raise AssertionError(why)
        arrived.set_exception(AssertionError(why))

    def wake_timer(self, mono_us: int, timer: Timer) -> None:
        """Like a sleeper, in its order among them."""
        heapq.heappush(self._sleepers, (mono_us, next(self._order), cast("asyncio.Future[None]", timer)))


class Ready(asyncio.Handle):
    """What is carried out next; without what asyncio's own looks up for debugging alone."""

    __slots__ = ()

    def __init__(self, loop: StoryLoop, callback: Callable[..., object], args: tuple[Any, ...], context: Context):
        self._loop = loop
        self._callback, self._args, self._context = callback, args, context
        self._cancelled = False
        self._repr = self._source_traceback = None


class Timer(Ready):
    """Looks to the clock like the future of a sleeper."""

    __slots__ = ()

    def done(self) -> bool:
        return self.cancelled()

    def set_result(self, _result: None) -> None:
        self._loop.ready.append(self)


class StoryLoop(asyncio.SelectorEventLoop):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.clock: CityClock | None = None
        self.ready: deque[asyncio.Handle] = self._ready  # type: ignore[attr-defined]  # what asyncio itself adds to

    def time(self) -> float:
        """Monotonic, of the story; before it has begun, the machine's."""
        return super().time() if self.clock is None else self.clock.now().mono_us / MICROSECONDS

    def call_soon(  # type: ignore[override]  # of any signature
        self, callback: Any, *args: Any, context: Context | None = None
    ) -> Ready:
        ready = Ready(self, callback, args, copy_context() if context is None else context)
        self.ready.append(ready)
        return ready

    def call_soon_threadsafe(  # type: ignore[override]  # of any signature
        self, callback: Any, *args: Any, context: Context | None = None
    ) -> Any:
        """Where there is no other thread nobody has to be woken."""
        if threading.get_ident() == self._thread_id:  # type: ignore[attr-defined]
            return self.call_soon(callback, *args, context=context)
        return super().call_soon_threadsafe(callback, *args, context=context)

    def call_at(  # type: ignore[override]  # a timer of the story's clock
        self, when: float, callback: Any, *args: Any, context: Context | None = None
    ) -> Any:
        if self.clock is None:
            return super().call_at(when, callback, *args, context=context)
        timer = Timer(self, callback, args, copy_context() if context is None else context)
        self.clock.wake_timer(round(when * MICROSECONDS), timer)
        return timer

    def _run_once(self) -> None:
        """Everything that is ready; then one step of the clock, or where there is none to take, asyncio's own turn,
        which waits for threads."""
        ready, left = self.ready, CALLBACKS_MAX
        while ready:
            handle: Any = ready.popleft()
            if not handle._cancelled:
                handle._context.run(handle._callback, *handle._args)
            left -= 1
            if not left:
                assert self.clock is not None
                self.clock.fail("a task spins: the event loop does not come to rest")
        if self._stopping or (self.clock is not None and self.clock.move()):  # type: ignore[attr-defined]
            return
        super()._run_once()  # type: ignore[misc]
