"""What a piece of work costs, counted instead of timed: the lines of Python that it runs through."""

from __future__ import annotations

import sys
from collections.abc import Callable

TWICE = 2.3
"""Of what doubling the input may multiply the cost by, at most."""
SLACK = 2_000


def lines_run(work: Callable[[], object]) -> int:
    """How many lines ``work`` takes, whatever else the machine does."""
    count = 0

    def step(_frame: object, event: str, _argument: object) -> object:
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
