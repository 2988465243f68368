"""Which sessions act now. Most only wait, and have no task; of those that have something to do, so many act at a time,
and then the one whose paid time ends first.

So thousands that all have something to do at once (after an outage, say) are served one after the other, in the order
in which they would be cut, and never ask the switch and the ledger all together.
"""

from __future__ import annotations

import asyncio
import heapq
from itertools import count

from charging.call.model import State
from charging.clock import Clock
from charging.engine.runner import SessionRunner
from charging.tasks import Tasks, end

AT_ONCE_MAX = 256
"""Sessions that act at the same time. Each has a few orders to the switch on their way, at most."""


class Turns:
    """The sessions that have something to do."""

    def __init__(self, tasks: Tasks, clock: Clock) -> None:
        """``tasks``: the group in which they act."""
        self._tasks = tasks
        self._clock = clock
        self._acting: dict[asyncio.Task[None], SessionRunner] = {}
        self._waiting: list[tuple[int, int, SessionRunner]] = []
        self._order = count()
        self._closed = False

    def take(self, runner: SessionRunner) -> None:
        """It has something to do."""
        if len(self._acting) < AT_ONCE_MAX and not self._closed:
            self._begin(runner)
        else:
            heapq.heappush(self._waiting, (self._cut_at_us(runner), next(self._order), runner))

    def close(self) -> None:
        """Nobody acts any more but those that do already; their group ends them."""
        self._closed = True

    async def end(self) -> None:
        """End those that act, and return once they have ended."""
        await end(list(self._acting))

    def _begin(self, runner: SessionRunner) -> None:
        def ended() -> None:
            del self._acting[task]
            self._next()

        task = self._tasks.begin(runner.run(), f"session-{runner.session.id}", ended)
        self._acting[task] = runner

    def _next(self) -> None:
        while self._waiting and len(self._acting) < AT_ONCE_MAX and not self._closed:
            self._begin(heapq.heappop(self._waiting)[2])

    def _cut_at_us(self, runner: SessionRunner) -> int:
        """Monotonic; for all but running calls now, for they hold up a caller, or money of others."""
        session = runner.session
        now = self._clock.now()
        return now.mono_us + max(0, session.due_us - now.wall_us) if session.state is State.RUNNING else now.mono_us
