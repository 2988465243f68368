"""When a call was answered, where our clocks cannot tell: the switch's own countdown does."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from charging.clock import MICROSECONDS, Instant
from charging.ledger.memory import MemoryStore
from charging.session.model import Policy
from charging.session.switch_events import SwitchEvent
from tests.fakes.clock import FakeClock
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.rig import EURO, Rig, make_rig, make_tariff
from tests.fakes.switch import FakeCall, FakeSwitch

SECOND = 1_000


class SteppedClock:
    """The clock of a machine whose time of day is another."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.by_s = 0

    def now(self) -> Instant:
        now = self._clock.now()
        return Instant(now.mono_us, now.wall_us + self.by_s * MICROSECONDS)

    async def sleep_until(self, mono_us: int) -> None:
        await self._clock.sleep_until(mono_us)

    async def advance(self, seconds: float) -> None:
        await self._clock.advance(seconds)


async def cdr(rig: Rig) -> dict[str, Any]:
    (row,) = await rig.store.cdrs()
    document: dict[str, Any] = json.loads(row.document)
    return document


@asynccontextmanager
async def restarted(by_s: int, credit: int, policy: Policy) -> AsyncIterator[tuple[Rig, FakeClock, FakeCall]]:
    """A call of 70 seconds; its daemon, on another machine than the switch, has just started with its clock moved."""
    clock = FakeClock()
    mine = SteppedClock(clock)
    rig = Rig(cast(FakeClock, mine), MemoryStore(clock), FakeSwitch(clock), policy, make_tariff())
    await rig.start_daemon()
    await rig.subscriber(credit=credit)
    call = await rig.talking()
    await clock.advance(70)
    await rig.kill_daemon()
    mine.by_s = by_s
    await rig.start_daemon()
    yield rig, clock, call
    await rig.kill_daemon()


SHARED = Policy(short_poll_s=1)


@pytest.mark.parametrize("policy", [Policy(), SHARED], ids=["alone", "shared"])
@pytest.mark.parametrize("by_s", [-600, -30, 3, 30, 600])
async def test_daemon_that_starts_with_another_time_of_day_cuts_where_the_money_ends(by_s: int, policy: Policy) -> None:
    async with restarted(by_s, 180 * SECOND, policy) as (rig, clock, call):
        await clock.advance(109)
        assert not call.ended.is_set()
        await clock.advance(20)
        assert call.ended.is_set()
        assert (call.true_ms, (await cdr(rig))["billed_s"]) == (180_003, 180)
        assert [fields["by_ms"] for fields in rig.heard("answer_moved")] == [1000 * by_s]
        assert (await rig.balance()).posted == 0


@pytest.mark.parametrize("by_s", [-600, 600])
async def test_daemon_that_starts_with_another_time_of_day_charges_what_was_talked(by_s: int) -> None:
    async with restarted(by_s, 100 * EURO, Policy()) as (rig, clock, call):
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


@asynccontextmanager
async def stopped(rig: Rig) -> AsyncIterator[None]:
    """The daemon is stopped meanwhile; what the switch has said then comes at once, and in order."""
    held: list[SwitchEvent] = []
    deliver, rig.switch.deliver = rig.switch.deliver, held.append
    yield
    rig.switch.deliver = deliver
    for event in held:
        deliver(event)


@pytest.mark.parametrize(("stopped_s", "is_asked"), [(1.9, False), (5, True)])
async def test_answer_that_is_heard_of_late_moves_no_deadline(stopped_s: float, is_asked: bool) -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=180 * SECOND)
        call = await rig.ringing()
        async with stopped(rig):
            rig.switch.answer(call.session)
            await rig.clock.advance(stopped_s)
        await rig.clock.advance(200)
        assert bool(rig.heard("answer_moved")) is is_asked
        assert call.true_ms <= 180_003 + (0 if is_asked else stopped_s * 1000)
        assert (await cdr(rig))["billed_s"] == 180
        assert (await rig.balance()).posted == 0


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
