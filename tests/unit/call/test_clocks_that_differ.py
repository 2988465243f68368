"""When a call was answered, where our clocks cannot tell: the switch's own countdown does."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from charging.call.model import Policy, Session
from charging.call.switch_events import BridgeEntered, SwitchEvent
from charging.call.table import step
from charging.clock import MICROSECONDS, Instant
from charging.engine.findings import COLLECTION
from charging.engine.ports import Look
from charging.errors import ActionTimeout
from charging.ledger.memory import MemoryStore
from tests.fakes.clock import FakeClock
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.rig import EURO, Rig, make_rig, make_tariff
from tests.fakes.switch import FakeCall, FakeSwitch
from tests.unit.call.test_table import NOW, POLICY, running

SECOND = 1_000


class SteppedClock:
    """The clock of a machine whose time of day is another."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.by_s = 0.0
        self.boot = "first"

    def now(self) -> Instant:
        now = self._clock.now()
        return Instant(now.mono_us, now.wall_us + round(self.by_s * MICROSECONDS))

    async def sleep_until(self, mono_us: int) -> None:
        await self._clock.sleep_until(mono_us)

    async def advance(self, seconds: float) -> None:
        await self._clock.advance(seconds)


async def cdr(rig: Rig) -> dict[str, Any]:
    (row,) = await rig.store.cdrs()
    document: dict[str, Any] = json.loads(row.document)
    return document


@asynccontextmanager
async def restarted(
    by_s: int, credit: int, policy: Policy, boot: str = "booted again"
) -> AsyncIterator[tuple[Rig, FakeClock, FakeCall]]:
    """A call of 70 seconds; its daemon, on another machine than the switch, has just started with its clock moved."""
    clock = FakeClock()
    mine = SteppedClock(clock)
    rig = Rig(cast(FakeClock, mine), MemoryStore(clock), FakeSwitch(clock), policy, make_tariff())
    await rig.start_daemon()
    await rig.subscriber(credit=credit)
    call = await rig.talking()
    await clock.advance(70)
    await rig.kill_daemon()
    mine.by_s, mine.boot = by_s, boot
    await rig.start_daemon()
    yield rig, clock, call
    await rig.kill_daemon()


SHARED = Policy(short_poll_s=1)


@pytest.mark.parametrize("policy", [Policy(), SHARED], ids=["alone", "shared"])
@pytest.mark.parametrize("by_s", [-600, -30, 3, 30, 600])
@pytest.mark.parametrize("boot", ["first", "booted again"])
async def test_daemon_that_starts_with_another_time_of_day_cuts_where_the_money_ends(
    boot: str, by_s: int, policy: Policy
) -> None:
    """On a machine that runs on, the monotonic clock tells how long ago the answer was; else the switch does."""
    async with restarted(by_s, 180 * SECOND, policy, boot) as (rig, clock, call):
        await clock.advance(109)
        assert not call.ended.is_set()
        await clock.advance(20)
        assert call.ended.is_set()
        assert (call.true_ms, (await cdr(rig))["billed_s"]) == (180_003, 180)
        moved = [fields["by_ms"] for fields in rig.heard("answer_moved")]
        assert moved == ([] if boot == "first" else [1000 * by_s])
        assert (await rig.balance()).posted == 0


@pytest.mark.parametrize("boot", ["first", "booted again"])
@pytest.mark.parametrize("by_s", [-600, 600])
async def test_daemon_that_starts_with_another_time_of_day_charges_what_was_talked(by_s: int, boot: str) -> None:
    async with restarted(by_s, 100 * EURO, Policy(), boot) as (rig, clock, call):
        await clock.advance(430.1)
        assert not call.ended.is_set()
        rig.switch.end(call.session)
        await clock.advance(10)
        assert (await cdr(rig))["billed_s"] == 500
        assert (await rig.balance()).posted == 100 * EURO - 500 * SECOND


async def test_daemon_whose_time_of_day_is_the_same_moves_nothing() -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=180 * SECOND)
        call = await rig.talking()
        await rig.clock.advance(70)
        await rig.kill_daemon()
        await rig.start_daemon()
        await rig.clock.advance(112)
        assert call.true_ms == 180_003
        assert not rig.heard("answer_moved")


async def test_ticks_that_a_fail_over_lost_are_not_taken_for_a_clock_that_is_wrong() -> None:
    """The switch's deadline is later than the record that is left knows."""
    store = FaultyStore(random.Random(1))
    async with make_rig(SHARED, store=store) as rig:
        await rig.subscriber(credit=10 * EURO)
        call = await rig.talking()
        await rig.clock.advance(62)
        store.remember()
        await rig.clock.advance(60)
        store.fail_over()
        await rig.kill_daemon()
        await rig.start_daemon()
        await rig.clock.advance(30.1)
        await rig.hang_up(call)
        await rig.clock.advance(10)
        assert not rig.heard("answer_moved")
        booked = await cdr(rig)
        assert (booked["billed_s"], booked["proof"]) == (152, "black_box")
        assert (await rig.balance()).posted == 10 * EURO - 152 * SECOND


@pytest.mark.parametrize("policy", [Policy(), SHARED], ids=["alone", "shared"])
@pytest.mark.parametrize(("away_s", "by_s"), [(7, 50), (60, 50), (400, 5)], ids=["within", "at its end", "later"])
async def test_an_older_copy_of_the_ledger_charges_a_running_call_for_all_it_lasts(
    away_s: int, by_s: int, policy: Policy
) -> None:
    """R3, R23: a ledger is restored under a call, to which a later daemon has given deadlines that the copy does not
    know. No clock is wrong: the leg says when it answered."""
    store = FaultyStore(random.Random(1))
    async with make_rig(policy, store=store) as rig:
        await rig.subscriber(credit=10 * EURO)
        call = await rig.talking()
        await rig.clock.advance(62)
        store.remember()
        await rig.kill_daemon()
        await rig.clock.advance(11)
        await rig.start_daemon()
        await rig.clock.advance(away_s)
        await rig.kill_daemon()
        store.fail_over()
        await rig.start_daemon()
        await rig.clock.advance(by_s)
        assert not call.ended.is_set()
        assert (await rig.balance()).posted <= 10 * EURO - (73 + away_s) * SECOND, "charged for what it lasted"
        await rig.clock.advance(200.1 - by_s)
        await rig.hang_up(call)
        await rig.clock.advance(10)
        assert not rig.heard("answer_moved")
        booked = await cdr(rig)
        assert (booked["billed_s"], booked["proof"], booked["overrun_s"]) == (273 + away_s, "black_box", 0)
        assert (await rig.balance()).posted == 10 * EURO - (273 + away_s) * SECOND


async def test_an_older_copy_pays_for_no_more_than_there_is_and_the_call_ends() -> None:
    """R23: the ledger that was given up had paid for the deadline that the switch still has; the copy can not."""
    store = FaultyStore(random.Random(1))
    async with make_rig(store=store) as rig:
        await rig.subscriber(credit=300 * SECOND)
        call = await rig.talking()
        await rig.clock.advance(62)
        store.remember()
        await rig.credit(1000 * SECOND, "second")
        await rig.clock.advance(500)
        await rig.kill_daemon()
        store.fail_over()
        await rig.start_daemon()
        await rig.clock.advance(10)
        assert call.ended.is_set()
        booked = await cdr(rig)
        assert (booked["billed_s"], booked["overrun_s"] > 200) == (300, True)
        assert (await rig.balance()).posted == 0


async def test_a_dialplan_that_does_not_say_when_the_leg_answered_is_believed_by_its_countdown() -> None:
    """Older ones do not: a call whose record is too old for its deadline is charged for less, and that is told."""
    store = FaultyStore(random.Random(1))
    async with make_rig(store=store) as rig:
        rig.switch.tells_since = False
        await rig.subscriber(credit=10 * EURO)
        call = await rig.talking()
        await rig.clock.advance(62)
        store.remember()
        await rig.clock.advance(180)
        await rig.kill_daemon()
        store.fail_over()
        await rig.start_daemon()
        await rig.clock.advance(60.1)
        assert not call.ended.is_set()
        await rig.hang_up(call)
        await rig.clock.advance(10)
        assert [fields["by_ms"] for fields in rig.heard("answer_moved")] == [180_000]


@asynccontextmanager
async def stopped(rig: Rig) -> AsyncIterator[None]:
    """The daemon is stopped meanwhile; what the switch has said then comes at once, and in order."""
    held: list[SwitchEvent] = []
    deliver, rig.switch.deliver = rig.switch.deliver, held.append
    yield
    rig.switch.deliver = deliver
    for event in held:
        deliver(event)


@pytest.mark.parametrize(("stopped_s", "is_moved"), [(0.3, False), (1.9, False), (5, True)])
async def test_answer_that_is_heard_of_late_moves_no_deadline(stopped_s: float, is_moved: bool) -> None:
    """R23: the leg says how long ago it answered, and that agrees with the stamp of the word that came late."""
    async with make_rig() as rig:
        await rig.subscriber(credit=180 * SECOND)
        call = await rig.ringing()
        async with stopped(rig):
            rig.switch.answer(call.session)
            await rig.clock.advance(stopped_s)
        await rig.clock.advance(200)
        assert bool(rig.heard("answer_moved")) is is_moved
        booked = await cdr(rig)
        assert (call.true_ms, booked["billed_s"], booked["overrun_s"]) == (180_003, 180, 0)
        assert (await rig.balance()).posted == 0


async def test_answer_that_is_heard_of_late_moves_no_deadline_of_a_call_whose_daemon_dies() -> None:
    """Found by the simulation: what was paid for was the same, and the switch cut 0.3 seconds after it."""
    async with make_rig() as rig:
        await rig.subscriber(credit=10 * EURO)
        call = await rig.ringing()
        async with stopped(rig):
            rig.switch.answer(call.session)
            await rig.clock.advance(0.3)
        await rig.clock.advance(70)
        await rig.kill_daemon()
        await rig.clock.advance(300)
        await rig.start_daemon()
        await rig.clock.advance(10)
        booked = await cdr(rig)
        assert (call.true_ms, booked["billed_s"], booked["overrun_s"]) == (180_003, 180, 0)


@pytest.mark.parametrize("by_s", [-1.5, 1.5])
async def test_a_switch_with_another_time_of_day_cuts_nobody_before_his_money_ends(by_s: float) -> None:
    """Its stamps alone would make each answer look late."""
    clock = FakeClock()
    mine = SteppedClock(clock)
    mine.by_s = by_s
    rig = Rig(cast(FakeClock, mine), MemoryStore(clock), FakeSwitch(clock), Policy(), make_tariff())
    await rig.start_daemon()
    await rig.subscriber(credit=180 * SECOND)
    call = await rig.talking()
    await clock.advance(200)
    assert (call.true_ms, (await cdr(rig))["billed_s"]) == (180_003, 180)
    await rig.kill_daemon()


async def test_call_of_which_everything_is_heard_late_is_charged_by_the_switchs_record() -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=10 * EURO)
        call = await rig.ringing()
        async with stopped(rig):
            rig.switch.answer(call.session)
            await rig.clock.advance(40)
            rig.switch.end(call.session)
            await rig.clock.advance(5)
        await rig.clock.advance(10)
        assert (await cdr(rig))["billed_s"] == 40
        assert (await rig.balance()).posted == 10 * EURO - 40 * SECOND


STEPS = [(40, 60), (3, 60), (-40, 20), (1, 61)]
"""Seconds by which the time of day is stepped in a call of 60 s, and what is billed: a step is taken off, unless it is
too small to be seen as one."""


@pytest.mark.parametrize(("step_s", "billed_s"), STEPS)
async def test_a_step_that_was_seen_is_not_billed_though_the_link_was_down_at_the_end(
    step_s: int, billed_s: int
) -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=10 * EURO)
        call = await rig.talking()
        await rig.clock.advance(20)
        rig.switch.up = False
        rig.clock.step_wall(step_s)
        await rig.clock.advance(40.1)
        rig.switch.end(call.session)
        await rig.clock.advance(45)
        rig.switch.up = True
        await rig.recovery.reconcile()
        await rig.clock.advance(10)
        booked = await cdr(rig)
        assert (call.true_ms, booked["billed_s"]) == (60_100, billed_s)
        assert (booked["proof"] == "clock_jump") is (abs(step_s) > 2)
        assert (await rig.balance()).posted == 10 * EURO - billed_s * SECOND


@pytest.mark.parametrize("restarts", [1, 2])
@pytest.mark.parametrize(("step_s", "billed_s"), STEPS)
async def test_a_step_that_was_seen_is_not_billed_though_the_daemon_was_away_at_the_end(
    step_s: int, billed_s: int, restarts: int
) -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=10 * EURO)
        call = await rig.talking()
        await rig.clock.advance(10)
        rig.clock.step_wall(step_s)
        await rig.clock.advance(2)
        for _ in range(restarts - 1):
            await rig.kill_daemon()
            await rig.start_daemon()
            await rig.clock.advance(3)
        await rig.kill_daemon()
        await rig.clock.advance(48.1 - 3 * (restarts - 1))
        rig.switch.end(call.session)
        await rig.clock.advance(45)
        await rig.start_daemon()
        await rig.clock.advance(10)
        assert (call.true_ms, (await cdr(rig))["billed_s"]) == (60_100, billed_s)
        assert not rig.heard("answer_moved"), "the record tells of the step"
        assert (await rig.balance()).posted == 10 * EURO - billed_s * SECOND


async def test_steps_that_take_one_another_back_take_nothing_off() -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=10 * EURO)
        call = await rig.talking()
        rig.switch.up = False
        for step_s in (40, -40):
            rig.clock.step_wall(step_s)
            await rig.clock.advance(10)
        rig.switch.end(call.session)
        await rig.clock.advance(30)
        rig.switch.up = True
        await rig.recovery.reconcile()
        await rig.clock.advance(10)
        assert ((await cdr(rig))["billed_s"], (await cdr(rig))["proof"]) == (20, "black_box")


@pytest.mark.parametrize("restarts", [0, 1])
async def test_a_step_that_was_seen_before_the_answer_was_is_not_billed(restarts: int) -> None:
    """The phone was answered over a link that was down; a daemon that starts afterwards reads the call's record."""
    async with make_rig() as rig:
        await rig.subscriber(credit=10 * EURO)
        call = await rig.ringing()
        rig.switch.up = False
        rig.switch.answer(call.session)
        rig.clock.step_wall(40)
        await rig.clock.advance(20.1)
        rig.switch.end(call.session)
        for _ in range(restarts):
            await rig.kill_daemon()
            rig.switch.up = True
            await rig.start_daemon()
        rig.switch.up = True
        await rig.recovery.reconcile()
        await rig.clock.advance(10)
        assert (call.true_ms, (await cdr(rig))["billed_s"]) == (20_100, 20)


@pytest.mark.parametrize("restarts", [0, 1])
async def test_a_step_after_an_end_that_nobody_heard_of_makes_the_call_no_longer(restarts: int) -> None:
    """The clock was stepped ahead while the call lasted, and back again long after it."""
    async with make_rig() as rig:
        await rig.subscriber(credit=10 * EURO)
        call = await rig.talking()
        rig.switch.up = False
        rig.clock.step_wall(5)
        await rig.clock.advance(20.1)
        rig.switch.end(call.session)
        await rig.clock.advance(30)
        rig.clock.step_wall(-30)
        await rig.clock.advance(2)
        for _ in range(restarts):
            await rig.kill_daemon()
            rig.switch.up = True
            await rig.start_daemon()
        rig.switch.up = True
        await rig.recovery.reconcile()
        await rig.clock.advance(10)
        booked = await cdr(rig)
        assert (call.true_ms, booked["billed_s"], booked["proof"]) == (20_100, 20, "clock_jump")


async def test_never_less_is_billed_than_was_proven_while_the_call_lasted() -> None:
    """The daemon's clock was stepped, the switch's on another machine was not."""
    clock = FakeClock()
    mine = SteppedClock(clock)
    rig = Rig(cast(FakeClock, mine), MemoryStore(clock), FakeSwitch(clock), Policy(), make_tariff())
    await rig.start_daemon()
    await rig.subscriber(credit=10 * EURO)
    call = await rig.talking()
    await clock.advance(61)
    mine.by_s = 40
    await clock.advance(2)
    rig.switch.up = False
    await clock.advance(2.1)
    rig.switch.end(call.session)
    await clock.advance(30)
    rig.switch.up = True
    await rig.recovery.reconcile()
    await clock.advance(10)
    assert 60 <= (await cdr(rig))["billed_s"] <= 66
    await rig.kill_daemon()


async def test_own_lateness_in_hearing_of_the_answer_is_no_step_of_a_clock() -> None:
    """The event loop was busy for two seconds as the call was answered; the call ends soon after."""
    async with make_rig() as rig:
        await rig.subscriber(credit=10 * EURO)
        call = await rig.ringing()
        look = rig.switch.look

        async def slowly() -> Look:
            said = await look()
            await rig.clock.sleep_until(rig.clock.now().plus(0.1).mono_us)
            return said

        rig.switch.look = slowly  # type: ignore[method-assign]
        async with stopped(rig):
            rig.switch.answer(call.session)
            await rig.clock.advance(2.05)
        await rig.clock.advance(0.2)
        rig.switch.end(call.session)
        await rig.clock.advance(10)
        booked = await cdr(rig)
        assert (call.true_ms, booked["billed_s"], booked["proof"]) == (2_250, 3, "black_box")
        assert not rig.heard("clocks_disagreed")


@pytest.mark.parametrize("reaches", [True, False], ids=["order obeyed", "order lost"])
async def test_after_two_restarts_with_a_tick_in_between_the_call_is_cut_where_its_money_ends(reaches: bool) -> None:
    """The daemon dies between a tick's booking and the order that moves the deadline: what the switch was told last
    must be known from the record."""
    async with make_rig() as rig:
        await rig.subscriber(credit=300 * SECOND)
        call = await rig.talking()
        await rig.clock.advance(110)
        await rig.kill_daemon()
        if not reaches:
            rig.switch.set_deadline = never_obeyed  # type: ignore[method-assign, assignment]
        await rig.start_daemon()
        await rig.clock.advance(11)
        assert len(rig.heard("tick_posted")) == 2
        await rig.kill_daemon()
        rig.switch.__dict__.pop("set_deadline", None)
        await rig.start_daemon()
        await rig.clock.advance(300)
        assert not rig.heard("answer_moved"), "no clock is wrong"
        assert (call.true_ms, (await cdr(rig))["billed_s"]) == (300_003, 300)


async def test_an_order_half_of_which_was_obeyed_is_no_clock_that_is_wrong() -> None:
    """The callee's leg has the new deadline, the caller's has not, then orders are lost: found by the simulation."""
    async with make_rig(Policy(tick_s=30)) as rig:
        await rig.subscriber(credit=300 * SECOND)
        call = await rig.talking()
        await rig.clock.advance(50)
        rig.switch.disobeys = lambda: (
            rig.switch.deadlines[-1:] == [(call.callee_uid, rig.session_of(call).at(150).mono_us)]
        )
        await rig.clock.advance(12)
        rig.switch.disobeys = lambda: True
        await rig.clock.advance(61)
        await rig.kill_daemon()
        rig.switch.disobeys = lambda: False
        await rig.start_daemon()
        await rig.clock.advance(300)
        assert not rig.heard("answer_moved"), "no clock is wrong"
        assert (call.true_ms, (await cdr(rig))["billed_s"]) == (300_003, 300)


async def never_obeyed(_uid: str, _at: Instant) -> None:
    raise ActionTimeout


@pytest.mark.parametrize("late_s", [1.0, 2.1, 9.0])
@pytest.mark.parametrize("heard", [True, False], ids=["word came", "word never came"])
@pytest.mark.parametrize("left", [True, False], ids=["end heard", "end found out"])
async def test_our_own_lateness_is_no_step_of_a_clock(late_s: float, heard: bool, left: bool) -> None:
    """R3: nothing tells the daemon, which is behind, when a call was answered. No clock was stepped: stamps hold."""
    async with make_rig() as rig:
        rig.switch.tells_since = False
        await rig.subscriber(credit=10 * EURO)
        call = await rig.ringing()
        waiting: list[SwitchEvent] = []
        rig.switch.deliver = waiting.append
        rig.switch.answer(call.session)
        await rig.clock.advance(late_s)
        assert call.countdown is not None
        call.countdown.cancel()
        call.deadline_mono_us = None
        await rig.recovery.reconcile()
        await rig.clock.advance(0)
        assert rig.heard("answer_inferred") == [{"past_ms": 0}]
        for event in waiting if heard else ():
            rig.registry.deliver(event)
        await rig.clock.advance(0.204)
        rig.switch.deliver = rig.registry.deliver if left else lambda _event: None
        await rig.hang_up(call)
        await rig.recovery.reconcile()
        await rig.clock.advance(10)
        booked = await cdr(rig)
        true_ms = round(late_s * 1000) + 204
        assert (booked["used_ms"], booked["proof"]) == (true_ms, "black_box")
        assert booked["billed_s"] == -(-(true_ms - rig.policy.answer_tolerance_ms) // 1000)
        assert not rig.heard("clocks_disagreed")
        assert await rig.store.documents.list_documents(COLLECTION) == []


def test_a_bridge_heard_of_late_proves_no_more_than_its_stamp() -> None:
    """Nothing else may be known of a call's length, and then that is what is charged."""
    heard = running(technology="", proven_ms=0)
    assert heard.answered_us is not None
    event = BridgeEntered(
        heard.id, heard.callee_uid, "PJSIP/1", "callee", "b", "simple_bridge", heard.answered_us + 7000
    )
    after, _ = step(heard, event, NOW, POLICY)
    assert isinstance(after, Session)
    assert after.proven_ms == 7


@pytest.mark.parametrize("step_s", [-30, -5, 5, 40])
@pytest.mark.parametrize("answered_before", [True, False])
async def test_a_daemon_that_takes_a_call_over_knows_of_the_step_that_it_saw_while_nobody_kept_the_call(
    step_s: int, *, answered_before: bool
) -> None:
    """The one that kept it was killed or frozen, so nothing of the step is stored."""
    async with make_rig(SHARED) as rig:
        await rig.subscriber(credit=10 * EURO)
        call = await rig.ringing()
        if answered_before:
            rig.switch.answer(call.session)
            await rig.clock.advance(61)
        rig.registry.leads = lambda: False
        await rig.recovery.stand_by()
        if not answered_before:
            rig.switch.answer(call.session)
        await rig.clock.advance(10)
        rig.clock.step_wall(step_s)
        await rig.clock.advance(3)
        rig.registry.leads = lambda: True
        await rig.recovery.lead(1)
        await rig.clock.advance(50.1)
        await rig.hang_up(call)
        await rig.clock.advance(20)
        (row,) = await rig.store.cdrs()
        billed_s = json.loads(row.document)["billed_s"]
        talked_s = 124 if answered_before else 63
        assert talked_s - abs(step_s) <= billed_s <= talked_s
        assert await rig.reserved() == {}


@pytest.mark.parametrize(
    ("heir", "step_s"),
    [
        (heir, step_s)
        for heir in ("started afterwards", "watched too", "watched elsewhere")
        for step_s in (-30, -5, 5, 40)
    ],
)
async def test_a_step_that_is_seen_after_an_answer_that_it_came_before_is_none_of_the_call(
    heir: str, step_s: int
) -> None:
    """R23: else whoever takes the call over moves its answer by the step, and the caller talks for so much more than
    was paid. Found by the simulation: the clock was stepped as the call came, and its daemon died."""
    async with make_rig(SHARED) as rig:
        await rig.subscriber(credit=180 * SECOND)
        await rig.clock.advance(5)
        rig.clock.step_wall(step_s)
        call = await rig.talking()
        await rig.clock.advance(13)
        if heir == "started afterwards":
            await rig.kill_daemon()
            await rig.start_daemon()
        else:
            rig.registry.leads = lambda: False
            await rig.recovery.stand_by()
            if heir == "watched elsewhere":
                rig.clock.boot = "of another machine"
            rig.registry.leads = lambda: True
            await rig.recovery.lead(1)
        await rig.clock.advance(200)
        assert not rig.heard("answer_moved")
        booked = await cdr(rig)
        assert (call.true_ms, booked["billed_s"], booked["overrun_s"]) == (180_003, 180, 0)
