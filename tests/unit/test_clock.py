"""The machine's clocks, and which boot of it their readings are of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from charging.clock import WATCH_S, Bell, Deadlines, Instant, SystemClock, WatchedClock, boot_of_machine, parted_us
from tests.fakes.clock import FakeClock


def test_a_boot_has_one_name_and_each_another(tmp_path: Path) -> None:
    made = []
    for name in ("a", "b"):
        proc = tmp_path / name
        (proc / "sys/kernel/random").mkdir(parents=True)
        (proc / "sys/kernel/random/boot_id").write_text(f"{name}\n")
        (proc / "self/ns").mkdir(parents=True)
        (proc / "self/ns/time").symlink_to("time:[4026531834]")
        made.append(boot_of_machine(proc))
    assert made == ["a time:[4026531834]", "b time:[4026531834]"]


def test_a_machine_that_names_no_boot_has_readings_of_the_process_alone(tmp_path: Path) -> None:
    assert boot_of_machine(tmp_path) == ""


def test_two_processes_of_a_machine_read_the_same_clocks() -> None:
    assert SystemClock().boot == boot_of_machine()


def test_clocks_part_by_what_one_of_them_was_stepped() -> None:
    assert parted_us(Instant(10, 100), Instant(30, 150)) == 30


async def test_a_rest_ends_when_it_is_rung_or_when_its_time_is_over() -> None:
    clock = FakeClock()
    bell, ends = Bell(clock), list[int]()

    async def rests() -> None:
        for seconds in (10, 10, 10):
            await bell.rest(seconds)
            ends.append(clock.now().mono_us // 1_000_000)

    began = clock.now().mono_us // 1_000_000
    task = asyncio.create_task(rests())
    await clock.advance(9.9)
    assert not ends
    await clock.advance(0.1)
    await clock.advance(3)
    bell.ring()
    await clock.advance(0)
    await clock.advance(9.9)
    assert ends == [began + 10, began + 13], "the sleep of a rest that was rung does not end the next"
    await clock.advance(0.1)
    await task
    assert ends[2:] == [began + 23]
    assert clock.sleepers == 0


async def test_a_ring_between_two_rests_ends_the_next_at_once() -> None:
    clock = FakeClock()
    bell = Bell(clock)
    bell.ring()
    await bell.rest(10)
    resting = asyncio.create_task(bell.rest_until(None))
    await clock.advance(100)
    assert not resting.done(), "without a time it waits until it is rung"
    bell.ring()
    await resting


async def test_a_rest_that_is_broken_off_leaves_no_sleep_behind() -> None:
    clock = FakeClock()
    resting = asyncio.create_task(Bell(clock).rest(10))
    await clock.advance(1)
    resting.cancel()
    await asyncio.gather(resting, return_exceptions=True)
    await clock.advance(0)
    assert resting.cancelled()
    assert clock.sleepers == 0


async def test_a_step_is_told_once_before_the_reading_that_shows_it() -> None:
    clock, steps = FakeClock(), list[tuple[int, int]]()
    watched = WatchedClock(clock, 500, lambda before, after: steps.append((parted_us(before, after), before.mono_us)))
    clock.step_wall(0.5)
    assert watched.now() == clock.now()
    assert not steps, "clocks are slewed by so much"
    before = clock.now()
    clock.step_wall(-0.501)
    watched.now()
    watched.now()
    assert steps == [(-501_000, before.mono_us)]


async def test_a_step_is_seen_though_nothing_reads_the_clocks() -> None:
    clock, steps = FakeClock(), list[int]()
    watched = WatchedClock(clock, 500, lambda before, after: steps.append(parted_us(before, after)))
    watching = asyncio.create_task(watched.watch())
    await clock.advance(WATCH_S / 2)
    clock.step_wall(3600)
    await clock.advance(WATCH_S)
    assert steps == [3_600_000_000]
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_each_of_many_has_its_deadline_from_when_it_began_and_those_that_are_over_have_none() -> None:
    late: list[str] = []
    came = asyncio.Event()

    def is_late(one: str) -> None:
        late.append(one)
        if len(late) == 2:
            came.set()

    deadlines = Deadlines(0.02, is_late)
    for one in ("first", "over", "second"):
        deadlines.begin(one)
    deadlines.end("over")
    deadlines.end("never begun")
    async with asyncio.timeout(60):
        await came.wait()
    assert late == ["first", "second"]
    came.clear()
    late.clear()
    deadlines.begin("third")
    deadlines.begin("fourth")
    async with asyncio.timeout(60):
        await came.wait()
    assert late == ["third", "fourth"], "its timer goes on after a rest"


async def test_a_deadline_that_has_ended_another_of_the_same_moment_is_the_only_one_told() -> None:
    late: list[str] = []
    came = asyncio.Event()

    def is_late(one: str) -> None:
        late.append(one)
        deadlines.end("second")
        came.set()

    deadlines = Deadlines(0.0, is_late)
    deadlines.begin("first")
    deadlines.begin("second")
    async with asyncio.timeout(60):
        await came.wait()
    await asyncio.sleep(0)
    assert late == ["first"]


async def test_one_that_begins_again_has_the_whole_time_again() -> None:
    loop, late = asyncio.get_running_loop(), asyncio.Event()
    at: list[float] = []

    def is_late(_one: str) -> None:
        at.append(loop.time())
        late.set()

    deadlines = Deadlines(0.05, is_late)
    deadlines.begin("one")
    await asyncio.sleep(0)
    deadlines.end("one")
    again = loop.time()
    deadlines.begin("one")
    async with asyncio.timeout(60):
        await late.wait()
    assert at[0] >= again + 0.05


def test_what_a_loop_that_is_over_has_left_keeps_no_deadline_of_the_next_from_passing() -> None:
    late: list[str] = []

    async def left() -> None:
        deadlines.begin("first")

    async def passes() -> None:
        came = asyncio.Event()
        told.append(came.set)
        deadlines.begin("second")
        async with asyncio.timeout(60):
            await came.wait()

    def is_late(one: str) -> None:
        late.append(one)
        told[0]()

    told: list[Callable[[], None]] = []
    deadlines = Deadlines(0.02, is_late)
    asyncio.run(left())
    asyncio.run(passes())
    assert late == ["second"]
