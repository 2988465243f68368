"""Never slower again: what a decision, a tick, a settled call and a rated hour cost is kept, and may not grow.

Steps of the interpreter are counted, no time is measured: a busy machine changes nothing.
"""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from tests.benchmarks.costs import REFERENCE, count_all, growth, read_kept, too_dear
from tests.fakes.effort import C_CALL, steps_run


async def test_nothing_costs_much_more_than_what_is_kept() -> None:
    found = await count_all()
    assert not (dear := too_dear(read_kept(), found)), f"{dear}: mend it; or if it is worth it, `make costs`"
    assert read_kept().keys() == found.keys(), "`make costs` writes tests/data/costs.json again"


@pytest.mark.parametrize(("cost", "is_told"), [(1150, False), (1151, True), (500, False)])
def test_a_growth_of_more_than_15_percent_is_told(cost: int, is_told: bool) -> None:
    assert bool(too_dear({REFERENCE: 100, "a": 1000}, {REFERENCE: 100, "a": cost})) is is_told


def test_an_interpreter_that_takes_more_steps_for_everything_is_no_growth() -> None:
    assert growth({REFERENCE: 100, "a": 1000}, {REFERENCE: 200, "a": 2000}) == {"a": 0.0}


def test_a_work_that_is_not_kept_is_told() -> None:
    assert too_dear({REFERENCE: 100}, {REFERENCE: 100, "new": 1})


async def test_twice_the_work_is_twice_the_steps_also_across_tasks() -> None:
    async def one(times: int) -> int:
        return sum(len(str(number)) for number in range(times))

    async def many(times: int) -> None:
        await asyncio.gather(*(one(100) for _ in range(times)))

    once, twice = [await steps_run(partial(many, times)) for times in (10, 20)]
    assert once > 10 * 100 * C_CALL
    assert 1.9 < twice / once < 2.1
