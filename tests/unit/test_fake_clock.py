"""The fake clock keeps the order that the real one has."""

from __future__ import annotations

import asyncio

from charging.clock import MICROSECONDS
from tests.fakes.clock import START_MONO_US, START_WALL_US, FakeClock, settle


async def sleep_and_note(clock: FakeClock, seconds: float, name: str, woken: list[str]) -> None:
    await clock.sleep_until(clock.now().plus(seconds).mono_us)
    woken.append(name)


async def test_advance_moves_both_clocks() -> None:
    clock = FakeClock()
    await clock.advance(1.5)
    assert clock.now().mono_us == START_MONO_US + 1_500_000
    assert clock.now().wall_us == START_WALL_US + 1_500_000


async def test_step_wall_moves_the_wall_clock_alone() -> None:
    clock = FakeClock()
    clock.step_wall(-3600)
    assert clock.now().mono_us == START_MONO_US
    assert clock.now().wall_us == START_WALL_US - 3600 * MICROSECONDS


async def test_sleepers_wake_in_the_order_of_their_deadlines() -> None:
    clock, woken = FakeClock(), list[str]()
    async with asyncio.TaskGroup() as group:
        for name, seconds in (("late", 3), ("early", 1), ("middle", 2), ("middle too", 2)):
            group.create_task(sleep_and_note(clock, seconds, name, woken))
        await clock.advance(5)
    assert woken == ["early", "middle", "middle too", "late"]


async def test_sleeper_wakes_at_its_deadline_and_not_a_microsecond_before() -> None:
    clock, woken = FakeClock(), list[str]()
    async with asyncio.TaskGroup() as group:
        group.create_task(sleep_and_note(clock, 2, "it", woken))
        await clock.advance(1.999999)
        assert woken == []
        await clock.advance(0.000001)
        assert woken == ["it"]


async def test_woken_task_sees_the_time_of_its_deadline_and_may_sleep_again() -> None:
    clock, seen = FakeClock(), list[int]()

    async def tick() -> None:
        for _ in range(3):
            await clock.sleep_until(clock.now().plus(1).mono_us)
            seen.append(clock.now().mono_us - START_MONO_US)

    async with asyncio.TaskGroup() as group:
        group.create_task(tick())
        await clock.advance(10)
    assert seen == [MICROSECONDS, 2 * MICROSECONDS, 3 * MICROSECONDS]


async def test_deadline_that_has_passed_does_not_sleep() -> None:
    clock = FakeClock()
    await clock.sleep_until(START_MONO_US)
    assert clock.sleepers == 0


async def test_cancelled_sleeper_is_forgotten() -> None:
    clock = FakeClock()
    task = asyncio.create_task(sleep_and_note(clock, 1, "never", []))
    await settle()
    assert clock.sleepers == 1
    task.cancel()
    await settle()
    assert (clock.sleepers, clock.next_deadline_us) == (0, None)


async def test_autojump_passes_time_only_as_far_as_somebody_waits_for_it() -> None:
    clock, woken = FakeClock(), list[str]()
    async with clock.autojump():
        await sleep_and_note(clock, 3600, "an hour", woken)
        await sleep_and_note(clock, 60, "a minute", woken)
        await settle()
    assert clock.now().mono_us == START_MONO_US + 3660 * MICROSECONDS
    assert woken == ["an hour", "a minute"]


async def test_jump_goes_to_the_next_deadline_only() -> None:
    clock, woken = FakeClock(), list[str]()
    async with asyncio.TaskGroup() as group:
        group.create_task(sleep_and_note(clock, 5, "first", woken))
        group.create_task(sleep_and_note(clock, 9, "second", woken))
        await clock.jump()
        assert woken == ["first"]
        await clock.jump()
    assert woken == ["first", "second"]
