"""Tasks that live and end together.

Python 3.11's own means forget an order to stop that comes in the very moment in which something ends:
``asyncio.wait_for`` returns what it waited for instead (cpython issue 86296; aiosmtplib and redis-py use it), and so
does a ``TaskGroup`` of which a task fails just then. A daemon that forgets it hangs for ever. So an order is repeated
here until it has been carried out.
"""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

import structlog

log = structlog.get_logger(__name__)

CANCEL_AGAIN_S = 5.0
"""Longer than any clean-up of a task that is told to stop: being told again would break it off."""

T = TypeVar("T")


@contextmanager
def deaf_to_hangup() -> Iterator[None]:
    """A process that is started within hears no SIGHUP. `systemctl kill --signal=HUP` tells every process of the unit,
    those that are just starting too, and it means the daemon; who knows nothing of it would end.

    It is the mask that a process inherits (signal(7)); our own handler hears of it later. Nothing may be awaited within
    but the start, which asyncio carries out before it waits: the mask is this thread's. A process that was itself
    started so stays deaf, for it has no handler; of several that start at a time the first gives the hearing back.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        if signal.SIGHUP not in before:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


class Tasks:
    """A group of tasks, some begun later than others."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()
        self._first_failure: BaseException | None = None
        self._failed = asyncio.Event()

    def begin(
        self, work: Coroutine[Any, Any, T], name: str, ended: Callable[[], object] | None = None
    ) -> asyncio.Task[T]:
        """Start one more. ``ended`` is called once it has ended, however: what was noted of a task when it began is
        taken back there. A ``finally`` within ``work`` would not do it: a task that is cancelled before its first step
        never comes to it."""
        task = asyncio.create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        if ended is not None:
            task.add_done_callback(lambda _task: ended())
        return task

    async def failure(self) -> NoReturn:
        """Wait until a task of the group fails, and raise what it raised."""
        await self._failed.wait()
        assert self._first_failure is not None, "set before it is told"
        raise self._first_failure

    async def until(self, stop: asyncio.Event) -> None:
        """Return once ``stop`` is set; raise what a task of the group raised where that comes first."""
        await first_of(stop.wait(), self._failed.wait())
        if self._first_failure is not None:
            raise self._first_failure

    async def end(self) -> None:
        """Cancel all of them, and return once they have ended."""
        await end(self._running)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        # Looked at in any case, or asyncio complains of it later, with a traceback behind the first one.
        failure = None if task.cancelled() else task.exception()
        if failure is None:
            return
        if self._first_failure is None:
            self._first_failure = failure
            self._failed.set()
        else:
            log.error("another_task_failed", task=task.get_name(), why=f"{type(failure).__name__}: {failure}")


class Breath:
    """For a loop over what may be many: lets the calls' own work go between, every so many turns."""

    TURNS = 100

    def __init__(self) -> None:
        self._turns = 0

    async def take(self) -> None:
        """One more turn is done."""
        self._turns += 1
        if self._turns % self.TURNS == 0:
            await asyncio.sleep(0)


class Afterwards:
    """What nobody waits for, done together, in order, a moment later. The same work costs a third where it is done many
    times in a row, for the processor has all of it at hand."""

    MOMENT_S = 0.05
    TOGETHER_MAX = 100
    """One more is done at once, with all that wait: their number is bounded, and so is a step of the loop."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], object]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def do(self, work: Callable[[], object]) -> None:
        """Do this, too. In a running loop."""
        self._waiting.append(work)
        if len(self._waiting) > self.TOGETHER_MAX:
            self.run()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self.MOMENT_S, self.run)

    def run(self) -> None:
        """Do all that waits now. What one of them raises is the loop's to log: it is no fault of those behind it, or of
        whoever happens to come just then."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            work = self._waiting.popleft()
            try:
                work()
            except Exception as error:  # noqa: BLE001
                context = {"message": "what was left for later failed", "exception": error}
                asyncio.get_running_loop().call_exception_handler(context)


async def first_of(*waits: Coroutine[Any, Any, object]) -> None:
    """Return once one of them does; the others are broken off. For what does nothing but wait: nobody hears what it
    returns or raises."""
    tasks = [asyncio.create_task(one) for one in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in tasks:
            one.cancel()


async def in_turns(items: Iterable[T]) -> AsyncIterator[T]:
    """The items, with a breath after each. They must not change meanwhile."""
    breath = Breath()
    for item in items:
        yield item
        await breath.take()


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """What ``work`` returns or raises; TimeoutError if it takes longer than ``seconds``.

    For libraries that use ``asyncio.wait_for``: the work is a task of its own, so that a cancellation which the library
    forgets still ends the task that waits here.
    """
    task = asyncio.create_task(work)
    # Looked at however the waiting ends (also by two orders to stop), or asyncio complains of it later.
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        await asyncio.wait((task,), timeout=seconds)
    finally:
        late = not task.done()
        await end((task,))
        failure = None if task.cancelled() else task.exception()
    if late or task.cancelled():
        raise TimeoutError from failure
    return task.result()


async def together(works: Iterable[Coroutine[Any, Any, None]], name: str) -> None:
    """Return once all of these are done. What the first that fails raises is raised here, once the others have been
    ended."""
    tasks = [asyncio.create_task(work, name=name) for work in works]
    if not tasks:
        return
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        await end(tasks)
    for task in sorted(tasks, key=asyncio.Task.cancelled):
        task.result()


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel these tasks until every one has ended, and what is to be called then was called; what they raise stays in
    them."""
    running = {task for task in tasks if not task.done()}
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=CANCEL_AGAIN_S)
    await asyncio.sleep(0)  # a task that was done already may have its callbacks still before it
