"""Tasks that live and end together, whatever forgets an order to stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from structlog.testing import capture_logs

from charging import tasks
from charging.tasks import Afterwards, Tasks, deaf_to_hangup, end, first_of, together, within
from tests.fakes.ami import eventually
from tests.fakes.clock import settle


class Broken(Exception):
    """What a task of these tests raises."""


async def forgetful(orders: list[str], forgets: int) -> None:
    """Take the first ``forgets`` orders to stop for something else, as ``asyncio.wait_for`` may."""
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            orders.append("stop")
            if len(orders) > forgets:
                raise


async def fail_when(told: asyncio.Event) -> None:
    await told.wait()
    raise Broken


@pytest.mark.parametrize("forgets", [0, 1, 3])
async def test_a_task_that_forgets_an_order_to_stop_gets_another(forgets: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "CANCEL_AGAIN_S", 0.01)
    orders: list[str] = []
    task = asyncio.create_task(forgetful(orders, forgets))
    await settle()
    await end([task])
    assert task.cancelled()
    assert len(orders) == forgets + 1


async def test_an_order_forgotten_by_wait_for_is_given_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hazard itself: what it waits for is done in the moment of the order."""
    monkeypatch.setattr(tasks, "CANCEL_AGAIN_S", 0.01)
    answer = asyncio.get_running_loop().create_future()

    async def duty() -> None:
        await asyncio.wait_for(answer, 60)
        await asyncio.Event().wait()

    task = asyncio.create_task(duty())
    await settle()
    answer.set_result("done")
    await end([task])
    assert task.cancelled()


async def test_a_clean_up_that_takes_its_time_is_not_broken_off() -> None:
    cleaned: list[str] = []

    async def careful() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(50):
                await asyncio.sleep(0)
            cleaned.append("all of it")

    task = asyncio.create_task(careful())
    await settle()
    await end([task])
    assert cleaned == ["all of it"]


async def test_the_first_failure_of_a_group_is_raised_and_the_others_end() -> None:
    group, told = Tasks(), asyncio.Event()
    other = group.begin(asyncio.Event().wait(), "other")
    group.begin(fail_when(told), "failing")
    told.set()
    with pytest.raises(Broken):
        await group.failure()
    await group.end()
    assert other.cancelled()


async def test_a_group_waits_until_it_is_told_to_stop() -> None:
    group, stop = Tasks(), asyncio.Event()
    group.begin(asyncio.sleep(0), "short")
    waiting = asyncio.create_task(group.until(stop))
    await settle()
    assert not waiting.done()
    stop.set()
    await waiting
    await group.end()


async def test_a_failure_in_the_moment_of_the_order_to_stop_is_raised() -> None:
    group, told = Tasks(), asyncio.Event()
    group.begin(fail_when(told), "failing")
    waiting = asyncio.create_task(group.until(told))
    await settle()
    told.set()
    with pytest.raises(Broken):
        await waiting
    await group.end()


async def test_a_task_that_was_cancelled_by_others_is_no_failure() -> None:
    group, stop = Tasks(), asyncio.Event()
    life = group.begin(asyncio.Event().wait(), "life")
    await end([life])
    stop.set()
    await group.until(stop)


async def test_work_within_its_time_gives_its_result_or_its_failure() -> None:
    async def three() -> int:
        return 3

    async def broken() -> None:
        raise Broken

    assert await within(10, three()) == 3
    with pytest.raises(Broken):
        await within(10, broken())


async def test_work_that_takes_longer_than_its_time_is_ended() -> None:
    ended: list[str] = []

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("work")

    with pytest.raises(TimeoutError):
        await within(0.001, endless())
    assert ended == ["work"]


async def test_an_order_to_stop_is_kept_though_the_work_forgets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "CANCEL_AGAIN_S", 0.01)

    async def by_a_library() -> str:
        with pytest.raises(asyncio.CancelledError):
            await asyncio.Event().wait()
        return "sent after all"

    waiting = asyncio.create_task(within(3600, by_a_library()))
    await settle()
    waiting.cancel()
    await asyncio.wait((waiting,), timeout=10)
    assert waiting.cancelled()


@pytest.mark.parametrize("turns", [0, 1])
async def test_the_end_of_a_task_is_told_though_it_was_stopped_before_its_first_step(turns: int) -> None:
    """Nothing within the task could tell: a ``finally`` there is never reached."""
    group, told, inside = Tasks(), list[str](), list[str]()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            inside.append("over")

    task = group.begin(work(), "work", ended=lambda: told.append("over"))
    for _ in range(turns):
        await asyncio.sleep(0)
    await end([task])
    assert told == ["over"]
    assert inside == ["over"] * turns


async def test_whoever_waits_for_the_end_finds_it_told_though_the_task_was_done_before() -> None:
    group, told, done = Tasks(), list[str](), asyncio.Event()

    async def work() -> None:
        done.set()

    task = group.begin(work(), "work", ended=lambda: told.append("over"))
    await done.wait()
    await end([task])
    assert told == ["over"]


async def test_work_that_fails_once_nobody_waits_for_it_any_more_is_not_complained_of() -> None:
    """A start that fails gives up what it waits for, and then the loop is ended: two orders to stop, one behind the
    other. asyncio wrote forty lines of traceback over the one that said what was wrong."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, about: complaints.append(about))

    async def fails_at_the_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            raise Broken

    waiting = asyncio.create_task(within(5, fails_at_the_end()))
    await settle()
    waiting.cancel()
    await asyncio.sleep(0)
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    del waiting
    await settle()
    gc.collect()
    assert complaints == []


async def test_works_together_are_done_when_all_are_and_the_first_that_fails_ends_the_others() -> None:
    done: list[str] = []
    gate = asyncio.Event()

    async def waits(name: str) -> None:
        try:
            await gate.wait()
            done.append(name)
        except asyncio.CancelledError:
            done.append(f"{name} was ended")
            raise

    async def fails() -> None:
        await asyncio.sleep(0)
        raise Broken

    all_of_them = asyncio.create_task(together((waits("a"), waits("b")), "test"))
    await settle()
    assert not all_of_them.done()
    gate.set()
    await all_of_them
    assert done == ["a", "b"]
    gate.clear()
    with pytest.raises(Broken):
        await together((waits("c"), fails(), waits("d")), "test")
    assert sorted(done[2:]) == ["c was ended", "d was ended"]
    await together((), "test")


async def test_whoever_is_told_to_stop_ends_the_works_that_it_waits_for() -> None:
    ended: list[str] = []

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("it")

    waiting = asyncio.create_task(together((waits(), waits()), "test"))
    await settle()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended == ["it", "it"]


async def test_who_waits_for_the_first_of_some_goes_on_with_it_and_the_others_are_broken_off() -> None:
    first, broken_off = asyncio.Event(), asyncio.Event()

    async def other() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            broken_off.set()

    waiting = asyncio.create_task(first_of(other(), first.wait()))
    await settle()
    assert not waiting.done()
    first.set()
    await asyncio.wait_for(waiting, 60)
    await asyncio.wait_for(broken_off.wait(), 60)


async def test_who_is_told_to_stop_while_he_waits_for_the_first_of_some_breaks_all_off() -> None:
    broken_off: list[int] = []

    async def other(number: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            broken_off.append(number)

    waiting = asyncio.create_task(first_of(other(1), other(2)))
    await settle()
    waiting.cancel()
    await settle()
    assert waiting.cancelled()
    assert broken_off == [1, 2]


@pytest.fixture
def mask() -> Iterator[None]:
    """The signals that this thread hears are left as they were."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, set())
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _is_deaf() -> bool:
    return signal.SIGHUP in signal.pthread_sigmask(signal.SIG_BLOCK, set())


@pytest.mark.usefixtures("mask")
@pytest.mark.parametrize("how", [signal.SIG_BLOCK, signal.SIG_UNBLOCK])
def test_who_starts_a_process_that_hears_no_hangup_hears_as_much_as_before(how: signal.Sigmasks) -> None:
    """A process that was started so has no handler: a hangup that waits would end it as soon as it hears again."""
    signal.pthread_sigmask(how, {signal.SIGHUP})
    with deaf_to_hangup():
        assert _is_deaf()
    assert _is_deaf() is (how is signal.SIG_BLOCK)


@pytest.mark.usefixtures("mask")
@pytest.mark.parametrize("first", [0, 1])
def test_who_starts_two_such_processes_at_a_time_hears_hangups_again(first: int) -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    starts = [deaf_to_hangup(), deaf_to_hangup()]
    for one in starts:
        one.__enter__()
    for one in (starts[first], starts[1 - first]):
        one.__exit__(None, None, None)
    assert not _is_deaf()


async def test_of_several_tasks_that_fail_the_first_is_told_and_the_others_are_logged_in_a_line_each() -> None:
    """As when each port that a daemon listens on is taken. asyncio complains of none."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
    told, group = asyncio.Event(), Tasks()
    for name in ("a", "b", "c"):
        group.begin(fail_when(told), name)
    told.set()
    with capture_logs() as logs, pytest.raises(Broken):
        await group.until(asyncio.Event())
    await group.end()
    await settle()
    gc.collect()
    assert not complaints
    assert [(one["event"], one["task"]) for one in logs] == [("another_task_failed", "b"), ("another_task_failed", "c")]


async def test_what_nobody_waits_for_is_done_together_in_order_a_moment_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Afterwards, "MOMENT_S", 0)
    later, done = Afterwards(), list[int]()
    for number in range(3):
        later.do(partial(done.append, number))
    assert done == []
    await eventually(lambda: done, "the moment is over")
    assert done == [0, 1, 2]
    later.do(partial(done.append, 3))
    await eventually(lambda: len(done) == 4, "the next moment is over")


async def test_so_many_wait_for_a_moment_and_one_more_has_them_done_at_once() -> None:
    later, done = Afterwards(), list[int]()
    for number in range(Afterwards.TOGETHER_MAX):
        later.do(partial(done.append, number))
    assert done == []
    later.do(partial(done.append, -1))
    assert done == [*range(Afterwards.TOGETHER_MAX), -1]


@pytest.mark.parametrize("by", ["the moment's end", "whoever is one too many"])
async def test_work_of_a_moment_that_fails_takes_nothing_with_it(by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does it fail whoever comes just then: in the step of another call, which would end with it."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
    monkeypatch.setattr(Afterwards, "MOMENT_S", 0 if by == "the moment's end" else 3600)
    monkeypatch.setattr(Afterwards, "TOGETHER_MAX", 9 if by == "the moment's end" else 1)
    later, done = Afterwards(), list[int]()
    later.do(partial(divmod, 1, 0))
    later.do(partial(done.append, 1))
    await eventually(lambda: done, "the moment is over")
    assert done == [1]
    assert [type(one["exception"]) for one in complaints] == [ZeroDivisionError]
