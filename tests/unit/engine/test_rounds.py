"""Turns of sessions: woken in the order of time, together, and none too early; asked for together, and none touched by
what becomes of another; of many, those act first that would be cut first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import NoReturn, TypeVar, cast

import pytest

from charging.call import commands as do
from charging.call.events import BlackBoxRead, Draining, Event, SwitchSilent
from charging.call.model import State
from charging.call.storage import Record
from charging.clock import MICROSECONDS, Instant
from charging.engine import runner, sessions
from charging.engine.looker import Looker
from charging.engine.runner import ENDS_TOGETHER_MAX, ENDS_TOGETHER_S
from charging.engine.sessions import TOGETHER_US, Rounds
from charging.errors import ActionTimeout, LedgerCorrupt, LedgerError, LedgerUnavailable, SwitchError
from charging.ledger.accounts import Account, Number
from charging.ledger.memory import MemoryStore
from charging.ledger.model import CREDIT, Applied, Balance, Kind, Leg, Transfer
from charging.ledger.port import Wanted
from tests.fakes.clock import FakeClock, settle
from tests.fakes.rig import EURO, TARGET, Rig, make_rig
from tests.fakes.switch import FakeCall, FakeSwitch

TOGETHER_S = TOGETHER_US / MICROSECONDS
CALLS = 4

T = TypeVar("T")


class Sleeper:
    """Something that only wants to be woken."""

    def __init__(self, woken: Callable[[], object]) -> None:
        self.session = cast(Record, SimpleNamespace(state=State.RINGING))
        self.alarm_us: int | None = None
        self._woken = woken

    def wake(self) -> None:
        self._woken()

    def go_on(self) -> bool:
        self._woken()
        return True

    def answered(self, event: Event | None) -> None:
        pass


class Asking(Sleeper):
    """Something that asks and hears nothing."""

    def __init__(self, queue: Rounds) -> None:
        super().__init__(lambda: None)
        self.asks = True
        self._queue = queue

    def go_on(self) -> bool:
        if self.asks:
            self._queue.questions.aside(self, do.Doubt(), self._never)
        return not self.asks

    async def _never(self, _command: do.Doubt) -> NoReturn:
        await asyncio.get_running_loop().create_future()
        raise AssertionError


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def queue(clock: FakeClock) -> AsyncIterator[Rounds]:
    switch = FakeSwitch(clock)
    queue = Rounds(MemoryStore(clock), switch, Looker(switch), clock, lambda *_: None, lambda: True)
    running = asyncio.create_task(queue.run())
    await settle()
    yield queue
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


# --- when ---------------------------------------------------------------------------------------------------------


async def test_they_are_woken_in_the_order_of_time_and_never_too_early(queue: Rounds, clock: FakeClock) -> None:
    woken: list[str] = []
    for name, in_s in (("third", 9), ("first", 1), ("second", 5)):
        queue.wake_at(Sleeper(partial(woken.append, name)), clock.now().plus(in_s).mono_us)
    await clock.advance(0.99)
    assert woken == []
    await clock.advance(0.01 + TOGETHER_S)
    assert woken == ["first"]
    await clock.advance(10)
    assert woken == ["first", "second", "third"]


async def test_an_earlier_wish_that_comes_later_is_met_first(queue: Rounds, clock: FakeClock) -> None:
    woken: list[str] = []
    queue.wake_at(Sleeper(lambda: woken.append("late")), clock.now().plus(60).mono_us)
    await settle()
    queue.wake_at(Sleeper(lambda: woken.append("soon")), clock.now().plus(1).mono_us)
    await clock.advance(1 + TOGETHER_S)
    assert woken == ["soon"]


async def test_what_is_due_at_about_the_same_time_is_woken_at_one_moment(queue: Rounds, clock: FakeClock) -> None:
    woken: list[int] = []
    begin_us = -(-clock.now().mono_us // TOGETHER_US) * TOGETHER_US + MICROSECONDS
    for later_us in range(1, TOGETHER_US + 1, 1997):
        queue.wake_at(Sleeper(lambda: woken.append(clock.now().mono_us)), begin_us + later_us)
    await clock.advance(2)
    assert len(woken) > 40
    assert set(woken) == {begin_us + TOGETHER_US}


async def test_a_wish_that_is_taken_back_or_changed_is_not_met(queue: Rounds, clock: FakeClock) -> None:
    woken: list[str] = []
    taken_back, changed = Sleeper(lambda: woken.append("no")), Sleeper(lambda: woken.append("later"))
    for one in (taken_back, changed):
        queue.wake_at(one, clock.now().plus(1).mono_us)
    queue.wake_at(taken_back, None)
    queue.wake_at(changed, clock.now().plus(3).mono_us)
    await clock.advance(2)
    assert woken == []
    await clock.advance(2)
    assert woken == ["later"]


async def test_thousands_wait_with_one_sleeper(queue: Rounds, clock: FakeClock) -> None:
    for number in range(5000):
        queue.wake_at(Sleeper(lambda: None), clock.now().plus(60 + number / 100).mono_us)
    await settle()
    assert clock.sleepers == 1


async def test_a_session_that_begins_while_those_before_it_are_ended_has_its_turn(
    queue: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that is decided in the moment of a take-over; and what was asked for the others takes up no place."""
    monkeypatch.setattr(sessions, "AT_ONCE_MAX", 1)
    went_on: list[str] = []
    stopped = Asking(queue)
    queue.take(stopped)
    await settle()
    assert stopped.asks
    ending = asyncio.create_task(queue.questions.end())
    await asyncio.sleep(0)
    stopped.asks = False
    queue.take(Sleeper(lambda: went_on.append("new")))
    await ending
    await settle()
    assert went_on == ["new"]
    queue.take(Sleeper(lambda: went_on.append("later")))
    await settle()
    assert went_on == ["new", "later"]


# --- together -----------------------------------------------------------------------------------------------------


class Asked(MemoryStore):
    """Remembers what is asked for together; answers for some accounts only."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[list[str]] = []
        self.writes: list[list[str]] = []
        self.corrupt = ""
        self.away = False

    async def balances_of(self, accounts: Sequence[str]) -> Sequence[Mapping[str, Balance] | LedgerError]:
        self.reads.append(list(accounts))
        found = await super().balances_of(accounts)
        pairs = zip(accounts, found, strict=True)
        return [LedgerCorrupt() if account == self.corrupt else one for account, one in pairs]

    async def apply_all(self, wanted: Sequence[Wanted]) -> Sequence[Applied | LedgerError]:
        self.writes.append([transfer.account for transfer, _ in wanted])
        if self.away:
            raise LedgerUnavailable
        return await super().apply_all(wanted)


async def talking(rig: Rig, calls: int = CALLS) -> list[FakeCall]:
    """Calls of as many subscribers, answered at one moment."""
    talking = []
    for index in range(calls):
        who, number = f"a{index}", f"+3120765{index:04d}"
        await rig.store.directory.put_account(Account(who, "light"))
        await rig.store.directory.put_number(Number(number, who, TARGET))
        await rig.store.apply(Transfer("t", who, Kind.TOP_UP, rig.clock.now().wall_us, (Leg(CREDIT, 100 * EURO),)))
        answer = await rig.ring(number)
        assert answer.session is not None
        talking.append(rig.switch.dial(answer.session, answer.quota_s or 0, rig.caller_uid))
    await rig.clock.advance(0)
    for call in talking:
        rig.switch.answer(call.session)
    await rig.clock.advance(1)
    return talking


def covered(rig: Rig, calls: list[FakeCall]) -> list[int]:
    return [rig.session_of(call).covered_s for call in calls]


@pytest.fixture
def store() -> Asked:
    return Asked()


@pytest.fixture
async def busy(store: Asked) -> AsyncIterator[tuple[Rig, list[FakeCall]]]:
    """Just before the first tick of some calls."""
    async with make_rig(store=store) as rig:
        calls = await talking(rig)
        await rig.clock.advance(rig.policy.tick_s - 2)
        store.reads.clear()
        store.writes.clear()
        yield rig, calls


async def test_ticks_that_are_due_together_are_one_read_one_write_and_one_order(
    busy: tuple[Rig, list[FakeCall]], store: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig, calls = busy
    orders: list[int] = []
    set_deadlines = rig.switch.set_deadlines

    async def noting(deadlines: Sequence[tuple[str, Instant]]) -> Sequence[SwitchError | None]:
        orders.append(len(deadlines))
        return await set_deadlines(deadlines)

    monkeypatch.setattr(rig.switch, "set_deadlines", noting)
    await rig.clock.advance(2)
    assert (len(store.reads), len(store.writes)) == (1, 1)
    assert sorted(store.writes[0]) == sorted(store.reads[0]) == [f"a{index}" for index in range(CALLS)]
    assert orders == [2 * CALLS]
    reach_s = rig.policy.tick_s + rig.policy.reach_s
    assert covered(rig, calls) == [reach_s] * CALLS


async def test_balances_that_one_of_them_cannot_have_are_asked_for_again_and_the_others_go_on(
    busy: tuple[Rig, list[FakeCall]], store: Asked
) -> None:
    rig, (first, *others) = busy
    store.corrupt = "a0"
    await rig.clock.advance(2)
    reach_s = rig.policy.tick_s + rig.policy.reach_s
    assert covered(rig, others) == [reach_s] * (CALLS - 1)
    assert covered(rig, [first]) < [reach_s]
    store.corrupt = ""
    await rig.clock.advance(2)
    assert covered(rig, [first]) >= [reach_s]


async def test_a_write_without_an_answer_is_repeated_for_all_of_them(
    busy: tuple[Rig, list[FakeCall]], store: Asked
) -> None:
    rig, calls = busy
    store.away = True
    await rig.clock.advance(2)
    assert len(store.writes[0]) == CALLS
    store.away = False
    await rig.clock.advance(2)
    assert min(covered(rig, calls)) >= rig.policy.tick_s + rig.policy.reach_s
    lines = [line.id async for line in store.journal("a0")]
    assert len(lines) == len(set(lines))


async def test_an_order_that_the_switch_does_not_obey_is_repeated_for_that_call_alone(
    busy: tuple[Rig, list[FakeCall]], monkeypatch: pytest.MonkeyPatch
) -> None:
    rig, calls = busy
    stubborn, set_deadline = calls[1].callee_uid, rig.switch.set_deadline
    heard: list[str] = []

    async def mostly(uid: str, at: Instant) -> None:
        heard.append(uid)
        if uid == stubborn and heard.count(uid) == 1:
            raise ActionTimeout
        await set_deadline(uid, at)

    monkeypatch.setattr(rig.switch, "set_deadline", mostly)
    await rig.clock.advance(2)
    await rig.clock.advance(2)
    assert [heard.count(call.callee_uid) for call in calls] == [1, 2, 1, 1]
    enforced = [rig.session_of(call).enforced_s for call in calls]
    assert enforced == covered(rig, calls)


async def test_calls_that_end_one_after_the_other_are_one_question_and_one_write(
    busy: tuple[Rig, list[FakeCall]], store: Asked
) -> None:
    rig, calls = busy
    for call in calls:
        rig.switch.end(call.session)
        await rig.clock.advance((ENDS_TOGETHER_S - 0.001) / CALLS)
    assert rig.switch.asked_for == []
    await rig.clock.advance(0.001)
    assert rig.switch.asked_for == [[call.session for call in calls]]
    assert store.writes == [[f"a{index}" for index in range(CALLS)]]
    assert len(await store.cdrs()) == CALLS
    assert not await store.sessions()


async def test_so_many_ends_wait_for_no_more() -> None:
    async with make_rig() as rig:
        *calls, last = await talking(rig, ENDS_TOGETHER_MAX)
        for call in calls:
            rig.switch.end(call.session)
        await rig.clock.advance(0)
        assert rig.switch.asked_for == []
        rig.switch.end(last.session)
        await rig.clock.advance(0)
        assert [len(asked) for asked in rig.switch.asked_for] == [ENDS_TOGETHER_MAX]
        assert len(await rig.store.cdrs()) == ENDS_TOGETHER_MAX


async def test_of_calls_that_end_together_one_without_an_answer_is_asked_about_again_alone(
    busy: tuple[Rig, list[FakeCall]], store: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig, (first, *others) = busy
    read, silent = rig.switch.black_boxes_of, [first.session]

    async def mostly(sessions: Sequence[str]) -> Sequence[BlackBoxRead | SwitchError]:
        found = await read(sessions)
        return [ActionTimeout() if one in silent else box for one, box in zip(sessions, found, strict=True)]

    monkeypatch.setattr(rig.switch, "black_boxes_of", mostly)
    for call in (first, *others):
        rig.switch.end(call.session)
    await rig.clock.advance(ENDS_TOGETHER_S)
    assert len(await store.cdrs()) == CALLS - 1
    silent.clear()
    await rig.clock.advance(rig.policy.retry_s + 1)
    assert len(await store.cdrs()) == CALLS


async def test_ends_that_wait_for_others_are_let_go_of_when_another_daemon_leads(
    busy: tuple[Rig, list[FakeCall]], store: Asked
) -> None:
    rig, (first, second, *_) = busy
    rig.switch.end(first.session)
    await rig.clock.advance(0)
    await rig.recovery.stand_by()
    await rig.clock.advance(ENDS_TOGETHER_S)
    assert (rig.switch.asked_for, await store.cdrs()) == ([], [])
    await rig.recovery.reconcile()
    rig.switch.end(second.session)
    await rig.clock.advance(10)
    assert len(await store.cdrs()) == 2


# --- whose turn ---------------------------------------------------------------------------------------------------


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with make_rig() as rig:
        await rig.subscriber(credit=100 * EURO)
        yield rig


@pytest.fixture
def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "AT_ONCE_MAX", 1)


def session_tasks() -> list[str]:
    names = {task.get_name() for task in asyncio.all_tasks()}
    return [name for name in names if name.startswith("session") and name not in ("session-audit", "sessions-named")]


async def test_a_call_that_only_talks_has_no_task(rig: Rig) -> None:
    call = await rig.talking()
    await rig.clock.advance(rig.policy.tick_s + 1)
    assert session_tasks() == []
    await rig.clock.advance(10)
    rig.switch.end(call.session)
    await rig.clock.advance(1)
    assert await rig.reserved() == {}


@pytest.mark.usefixtures("one_at_a_time")
async def test_the_call_that_would_be_cut_first_acts_first(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[FakeCall] = []
    for _ in range(CALLS):
        calls.append(await rig.talking())
        await rig.clock.advance(5)
    posted: list[str | None] = []
    apply_all = rig.store.apply_all

    async def noting(wanted: Sequence[Wanted]) -> object:
        posted.extend(transfer.session for transfer, _ in wanted)
        await asyncio.sleep(0)
        return await apply_all(wanted)

    monkeypatch.setattr(rig.store, "apply_all", noting)
    further = replace(rig.policy, drain_s=rig.policy.horizon_s + rig.policy.tick_s + 60)
    for call in reversed(calls):
        one = rig.runner_of(call)
        one.policy = further
        one.offer(Draining())
    await rig.clock.advance(1)
    *sooner, last = [call.session for call in calls]
    assert posted == [last, *sooner], "who acts already is not interrupted"


@pytest.mark.usefixtures("one_at_a_time")
async def test_all_come_to_their_turn(rig: Rig) -> None:
    calls = [await rig.talking() for _ in range(CALLS)]
    await rig.clock.advance(2 * rig.policy.tick_s + 1)
    for call in calls:
        assert rig.session_of(call).fixed_s >= rig.policy.tick_s
        rig.switch.end(call.session)
    await rig.clock.advance(1)
    assert (await rig.reserved(), session_tasks()) == ({}, [])


async def test_of_very_many_some_go_on_in_each_turn_of_the_loop_and_all_do(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "A_TURN_MAX", 1)
    calls = [await rig.talking() for _ in range(CALLS)]
    await rig.clock.advance(rig.policy.tick_s + 1)
    assert [rig.session_of(call).fixed_s >= rig.policy.tick_s for call in calls] == [True] * CALLS


async def test_no_more_wait_for_the_switch_than_it_is_to_have_orders_and_all_are_asked_for(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "AT_SWITCH_MAX", 1)
    calls = [await rig.talking() for _ in range(CALLS)]
    on_their_way = [0]
    set_deadlines, look_at = rig.switch.set_deadlines, rig.switch.look_at

    async def counting(asked: int, answer: Callable[[], Awaitable[T]]) -> T:
        on_their_way.append(on_their_way[-1] + asked)
        await asyncio.sleep(0)
        on_their_way.append(on_their_way[-1] - asked)
        return await answer()

    monkeypatch.setattr(rig.switch, "set_deadlines", lambda all: counting(len(all) // 2, lambda: set_deadlines(all)))
    monkeypatch.setattr(rig.switch, "look_at", lambda all: counting(len(all), lambda: look_at(all)))
    before = len(rig.switch.deadlines)
    await rig.clock.advance(rig.policy.tick_s + 1)
    for call in calls:
        rig.runner_of(call).offer(SwitchSilent("set_deadline"))
    await rig.clock.advance(5)
    assert max(on_their_way) == 1
    assert len(rig.switch.deadlines) >= before + 2 * 2 * CALLS
    assert [rig.session_of(call).doubtful_s for call in calls] == [()] * CALLS


async def test_who_waits_for_room_at_the_switch_takes_up_no_place_once_stopped(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "AT_SWITCH_MAX", 1)
    calls = [await rig.talking() for _ in range(CALLS)]
    silent = asyncio.Event()

    async def never(_asked: object) -> NoReturn:
        silent.set()
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    with monkeypatch.context() as silence:
        silence.setattr(rig.switch, "set_deadlines", never)
        await rig.clock.advance(rig.policy.tick_s + 1)
        assert silent.is_set()
        await rig.recovery.stand_by()
        await settle()
    monkeypatch.setattr(sessions, "AT_ONCE_MAX", 1)  # a place that is still taken up would be the only one
    await rig.recovery.restore()
    await rig.clock.advance(rig.policy.tick_s + 1)
    assert [rig.session_of(call).confirmed for call in calls] == [True] * CALLS


async def test_a_fault_of_ours_in_a_session_ends_the_daemon(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    call = await rig.talking()

    def stumbles(*_: object) -> NoReturn:
        raise ZeroDivisionError

    monkeypatch.setattr(runner, "step", stumbles)
    rig.runner_of(call).offer(Draining())
    await rig.clock.advance(0)
    with pytest.raises(ZeroDivisionError):
        await rig.kill_daemon()
