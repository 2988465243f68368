"""One queue of wishes to be woken: in the order of time, together, and none too early."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest

from charging.clock import MICROSECONDS
from charging.engine.alarms import TOGETHER_US, Alarms
from tests.fakes.clock import FakeClock, settle

TOGETHER_S = TOGETHER_US / MICROSECONDS


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def alarms(clock: FakeClock) -> AsyncIterator[Alarms]:
    alarms = Alarms(clock)
    running = asyncio.create_task(alarms.run())
    await settle()
    yield alarms
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_they_ring_in_the_order_of_time_and_never_too_early(alarms: Alarms, clock: FakeClock) -> None:
    rung: list[str] = []
    for name, in_s in (("third", 9), ("first", 1), ("second", 5)):
        alarms.set(clock.now().plus(in_s).mono_us, partial(rung.append, name))
    await clock.advance(0.99)
    assert rung == []
    await clock.advance(0.01 + TOGETHER_S)
    assert rung == ["first"]
    await clock.advance(10)
    assert rung == ["first", "second", "third"]


async def test_an_earlier_one_that_comes_later_rings_first(alarms: Alarms, clock: FakeClock) -> None:
    rung: list[str] = []
    alarms.set(clock.now().plus(60).mono_us, lambda: rung.append("late"))
    await settle()
    alarms.set(clock.now().plus(1).mono_us, lambda: rung.append("soon"))
    await clock.advance(1 + TOGETHER_S)
    assert rung == ["soon"]


async def test_what_is_due_already_rings_at_once(alarms: Alarms, clock: FakeClock) -> None:
    rung: list[int] = []
    for at_us in (clock.now().mono_us, clock.now().mono_us - 1):
        alarms.set(at_us, partial(rung.append, at_us))
    await settle()
    assert len(rung) == 2


async def test_what_is_due_at_about_the_same_time_rings_at_one_moment(alarms: Alarms, clock: FakeClock) -> None:
    rung: list[int] = []
    begin_us = -(-clock.now().mono_us // TOGETHER_US) * TOGETHER_US + MICROSECONDS
    for later_us in range(1, TOGETHER_US + 1, 997):
        alarms.set(begin_us + later_us, lambda: rung.append(clock.now().mono_us))
    await clock.advance(2)
    assert len(rung) > 40
    assert set(rung) == {begin_us + TOGETHER_US}


async def test_one_that_is_taken_back_does_not_ring(alarms: Alarms, clock: FakeClock) -> None:
    rung: list[str] = []
    taken_back = alarms.set(clock.now().plus(1).mono_us, lambda: rung.append("no"))
    alarms.set(clock.now().plus(2).mono_us, lambda: rung.append("yes"))
    taken_back.cancel()
    await clock.advance(3)
    assert rung == ["yes"]


async def test_thousands_wait_with_one_sleeper(alarms: Alarms, clock: FakeClock) -> None:
    for number in range(5000):
        alarms.set(clock.now().plus(60 + number / 100).mono_us, lambda: None)
    await settle()
    assert clock.sleepers == 1
