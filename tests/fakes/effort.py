"""What a piece of work costs, counted instead of timed: the lines of Python that it runs through, or their steps."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

TWICE = 2.3
"""Of what doubling the input may multiply the cost by, at most."""
SLACK = 2_000
C_CALL = 10
"""About so many operations of the interpreter cost as much as a call of a function that is written in C."""
FAKES = f"{Path(__file__).parent}/"


def lines_run(work: Callable[[], object]) -> int:
    """How many lines ``work`` takes, whatever else the machine does."""
    count = 0

    def step(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return step

    before = sys.gettrace()
    sys.settrace(step)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def assert_linear(work: Callable[[int], object], *sizes: int) -> None:
    """Twice the input costs no more than about twice as much, at each of these sizes. ``work`` is given a size."""
    for size in sizes:
        once, twice = lines_run(lambda: work(size)), lines_run(lambda: work(2 * size))  # noqa: B023  called at once
        assert twice <= TWICE * once + SLACK, f"{once} lines at {size}, {twice} at twice that"


class _Steps:
    """Counts for all threads that it is set in; what the fakes do is no cost."""

    def __init__(self) -> None:
        self.counting = False
        self.count = 0

    def trace(self, frame: FrameType, _event: str, _argument: object) -> Any:
        if not self.counting or frame.f_code.co_filename.startswith(FAKES):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._step

    def profile(self, frame: FrameType, event: str, _argument: object) -> None:
        if self.counting and event == "c_call" and not frame.f_code.co_filename.startswith(FAKES):
            self.count += C_CALL

    def _step(self, _frame: FrameType, event: str, _argument: object) -> Any:
        self.count += self.counting and event == "opcode"
        return self._step


_steps = _Steps()


async def steps_run(work: Callable[[], Awaitable[object]]) -> int:
    """How many steps of the interpreter ``work`` takes in this thread, and in those that began under
    :func:`threads_counted`: its own operations, and each call of what is written in C as :data:`C_CALL` of them."""
    before = sys.gettrace(), sys.getprofile()
    gc.collect()
    gc.disable()  # when it would run depends on what ran before
    sys.settrace(_steps.trace)
    sys.setprofile(_steps.profile)
    _steps.count, _steps.counting = 0, True
    try:
        await work()
    finally:
        _steps.counting = False
        sys.settrace(before[0])
        sys.setprofile(before[1])
        gc.enable()
    return _steps.count


@contextmanager
def threads_counted() -> Iterator[None]:
    """Threads that begin within are counted, too."""
    threading.settrace(_steps.trace)
    threading.setprofile(_steps.profile)
    try:
        yield
    finally:
        threading.settrace(None)
        threading.setprofile(None)


async def turns_of(work: asyncio.Task[object]) -> int:
    """How often the event loop comes round until ``work`` is done: so often could a call have been decided."""
    turns = 0
    while not work.done():
        turns += 1
        await asyncio.sleep(0)
    return turns
