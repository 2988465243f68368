"""Overload: who comes again is turned away at once and nothing is reserved for him; who talks goes on talking."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from itertools import repeat
from typing import Any

import pytest
from structlog.testing import capture_logs

from agi.port import IncomingCall, Unproven
from charging.call.decide import OVERLOADED
from charging.call.model import Session, Short
from charging.call.storage import Record
from charging.clock import MICROSECONDS, Instant
from charging.engine import told
from charging.engine.desk import AT_ONCE_MAX, UNPROVEN_AT_ONCE_MAX, Desk
from charging.engine.observer import MeteredObserver
from charging.engine.overload import COUNT_S, REFUSES_US, SAMPLE_MAX_US, TAKES_US, CrowdWatch, LoadWatch
from charging.errors import LinkDown
from charging.ledger.model import Called
from charging.metrics import Metrics
from tests.fakes.ami import eventually
from tests.fakes.rig import EURO, NUMBER, Rig, make_rig

LONG = 40
"""Looks, four seconds: the level has come to what they say."""


class Told:
    """What the watch says."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.late_s: list[float] = []

    def __call__(self, what: told.Told, session: Record | None = None) -> None:
        self.words.append(told.name_of(type(what)))


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with make_rig() as rig:
        await rig.subscriber(credit=10 * EURO)
        yield rig


def watch_of(rig: Rig) -> LoadWatch:
    return LoadWatch(rig.clock, Told())


def behind(watch: LoadWatch, late_us: int, looks: int = LONG) -> bool:
    """Whether it is too much, after so many looks that were so late."""
    for late in repeat(late_us, looks):
        watch.saw(late)
    return watch.is_overloaded


@pytest.mark.parametrize(("late_us", "too_much"), [(REFUSES_US + 1000, True), (REFUSES_US - 1000, False)])
async def test_new_calls_are_refused_from_a_fifth_of_a_second_on(rig: Rig, late_us: int, too_much: bool) -> None:
    assert behind(watch_of(rig), late_us) is too_much


@pytest.mark.parametrize(("late_us", "too_much"), [(TAKES_US + 1000, True), (TAKES_US - 1000, False)])
async def test_they_are_taken_again_once_it_has_caught_up(rig: Rig, late_us: int, too_much: bool) -> None:
    """Between the two nothing changes: it would else come and go with every caller who is let in."""
    watch = watch_of(rig)
    assert behind(watch, SAMPLE_MAX_US)
    assert behind(watch, late_us) is too_much


async def test_one_long_stop_is_no_overload(rig: Rig) -> None:
    watch = watch_of(rig)
    assert not behind(watch, 3600 * MICROSECONDS, looks=1)


async def test_each_change_is_told_once() -> None:
    told = Told()
    watch = LoadWatch(_LateClock(0), told)
    for late_us in (SAMPLE_MAX_US, 0, SAMPLE_MAX_US):
        behind(watch, late_us)
    assert told.words == ["overload_begun", "overload_ended", "overload_begun"]


class _LateClock:
    """Wakes whoever sleeps so much later than he asked for."""

    def __init__(self, late_us: int) -> None:
        self._late_us, self._now_us = late_us, 0
        self.boot = ""

    def now(self) -> Instant:
        return Instant(self._now_us, self._now_us)

    async def sleep_until(self, mono_us: int) -> None:
        self._now_us = mono_us + self._late_us
        await asyncio.sleep(0)


async def test_what_is_measured_is_how_late_the_loop_comes_to_what_is_due() -> None:
    seen: list[float] = []
    watch = LoadWatch(_LateClock(700_000), Told(), seen.append)
    task = asyncio.create_task(watch.run())
    await eventually(lambda: len(seen) >= LONG)
    task.cancel()
    assert set(seen) == {0.7}
    assert watch.is_overloaded


async def test_who_comes_is_turned_away_before_anything_is_reserved_and_who_talks_goes_on(rig: Rig) -> None:
    """R23, R4: the running call is charged and extended all the while."""
    watch = watch_of(rig)
    call = await rig.talking()
    behind(watch, SAMPLE_MAX_US)
    rig.desk = Desk(
        store=rig.store,
        tariff=lambda: rig.tariff,
        registry=rig.registry,
        switch=rig.switch,
        clock=rig.clock,
        policy=rig.policy,
        switch_id="test",
        observe=rig.observe,
        keep=lambda made: rig.decided.append(made()),
        turns_away=lambda: OVERLOADED if watch.is_overloaded else None,
    )
    before, rig.switch.up = await rig.reserved(), False  # the switch is not asked either
    answer = await rig.ring()
    assert (answer.decision, answer.reason, answer.session) == ("reject", "overloaded", None)
    assert (rig.decided[-1].outcome, rig.decided[-1].reason) == ("reject", "overloaded")
    assert await rig.reserved() == before
    rig.switch.up = True
    await rig.clock.advance(3 * rig.policy.tick_s)
    assert not call.ended.is_set()
    assert len(rig.heard("tick_posted")) == 3
    behind(watch, 0)
    assert (await rig.ring()).decision == "forward"


@pytest.mark.parametrize(("waits_s", "seen_s"), [(3, 3), (-3, 0)])
async def test_a_tick_that_waits_is_seen(rig: Rig, waits_s: int, seen_s: int) -> None:
    runner = rig.runner_of(await rig.talking())
    session = runner.session
    assert isinstance(session, Session)
    runner.session = replace(session, tick_mono_us=rig.clock.now().plus(-waits_s).mono_us)
    assert rig.registry.open.tick_overdue_s() == seen_s


@pytest.mark.parametrize(
    ("changed", "left_s", "is_ahead"),
    [
        ({}, 60, True),
        ({}, 54, True),
        ({}, 53, False),
        ({"confirmed": False}, 120, False),
        ({"short": Short.MONEY}, 20, True),
    ],
    ids=["a tick is due just now", "one is late", "one is missing", "the switch has not been asked", "its money ends"],
)
async def test_calls_are_paid_ahead_though_there_is_always_one_whose_tick_is_due(
    rig: Rig, changed: dict[str, Any], left_s: int, is_ahead: bool
) -> None:
    """Else a daemon with many calls would let nobody in for as long as it may, each time that it starts."""
    runner = rig.runner_of(await rig.talking())
    session = runner.session
    assert isinstance(session, Session)
    now = rig.clock.now()
    ticks = {"answered": now.plus(left_s - session.enforced_s), "tick_mono_us": now.plus(-0.1).mono_us}
    runner.session = replace(session, **{"confirmed": True, **ticks, **changed})
    assert rig.registry.open.are_paid_ahead() is is_ahead


@pytest.mark.parametrize(
    ("numbers", "callers", "is_flooded"),
    [
        (["+31850000001"], [f"+3120{nth:07}" for nth in range(100)], True),
        ([f"+3185{nth:07}" for nth in range(100)], ["+31209999999"], True),
        ([f"+3185{nth:07}" for nth in range(100)], [""], False),
    ],
)
async def test_a_flood_of_one_caller_or_to_one_number_refuses_nobody_else(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, numbers: list[str], callers: list[str], is_flooded: bool
) -> None:
    """Nothing is looked up, or asked of the switch, for those who are too many; once the others are through, room is
    there again."""
    held, asked = asyncio.Event(), 0

    async def slowly(_uid: str, _proof: str) -> bool:
        nonlocal asked
        asked += 1
        await held.wait()
        return True

    monkeypatch.setattr(rig.switch, "is_asking", slowly)
    flood = [
        asyncio.create_task(
            rig.desk.incoming(
                IncomingCall(numbers[nth % len(numbers)], callers[nth % len(callers)], f"f{nth}", "PJSIP/trunk-1")
            )
        )
        for nth in range(100)
    ]
    await eventually(lambda: asked >= UNPROVEN_AT_ONCE_MAX)
    honest = asyncio.create_task(rig.desk.incoming(IncomingCall(NUMBER, "+31201234567", "h1", "PJSIP/trunk-2")))
    assert NUMBER not in numbers
    try:
        await eventually(lambda: asked > UNPROVEN_AT_ONCE_MAX)
    finally:  # else who waits keeps the test for as long as pytest lets it
        held.set()
    answers = await asyncio.gather(*flood)
    refused = sum(one.reason == "too_many_wait" for one in answers)
    assert {one.reason for one in answers} & {"overloaded"} == set(), "that would page someone for the machine"
    assert asked == (UNPROVEN_AT_ONCE_MAX if is_flooded else 100) + 1
    assert refused >= 101 - asked
    assert (await honest).decision == "forward"
    again = await rig.desk.incoming(IncomingCall(numbers[0], callers[0], "f200", "PJSIP/trunk-1"))
    assert again.reason != "too_many_wait"


async def test_of_calls_to_one_number_so_many_are_looked_up_in_the_ledger_at_a_time(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.subscriber(credit=10 * EURO)
    held, looked_up, called = asyncio.Event(), 0, rig.store.directory.called

    async def slowly(spellings: Sequence[str]) -> Called | None:
        nonlocal looked_up
        looked_up += 1
        await held.wait()
        return await called(spellings)

    monkeypatch.setattr(rig.store.directory, "called", slowly)
    asks = (rig.desk.incoming(IncomingCall(NUMBER, f"+3120{nth:07}", f"c{nth}", "PJSIP/x-1")) for nth in range(50))
    calls = [asyncio.create_task(one) for one in asks]
    await eventually(lambda: sum(one.done() for one in calls) == 50 - AT_ONCE_MAX)
    assert looked_up == AT_ONCE_MAX
    held.set()
    reasons = [one.reason for one in await asyncio.gather(*calls)]
    assert reasons.count("too_many_wait") == 50 - AT_ONCE_MAX


@pytest.mark.parametrize("forged", [AT_ONCE_MAX, UNPROVEN_AT_ONCE_MAX - 1])
async def test_forgeries_about_a_number_keep_none_of_its_callers_away(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, forged: int
) -> None:
    """A program on the switch's machine may ask as often as it likes; the switch knows of no such call."""
    await rig.subscriber(credit=10 * EURO)
    held = asyncio.Event()

    async def says(uid: str, _proof: str) -> bool:
        if uid == "h1":
            return True
        await held.wait()
        return False

    monkeypatch.setattr(rig.switch, "is_asking", says)
    asks = (rig.desk.incoming(IncomingCall(NUMBER, "+31201234567", f"f{nth}", "PJSIP/x-1")) for nth in range(forged))
    forgeries = [asyncio.create_task(one) for one in asks]
    await asyncio.sleep(0)
    honest = await rig.desk.incoming(IncomingCall(NUMBER, "+31201234567", "h1", "PJSIP/trunk-2"))
    held.set()
    assert {type(one) for one in await asyncio.gather(*forgeries, return_exceptions=True)} == {Unproven}
    assert honest.decision == "forward"


async def test_whom_the_switch_turns_away_is_told_every_ten_seconds_however_many_they_are(rig: Rig) -> None:
    """Those of before this daemon's start are not its to tell, nor those that another daemon tells; Asterisk begins
    again at nought. Where the switch does not answer the next look tells them."""
    counts, leads, is_down = {"caller": 7, "all": 0}, True, False
    metrics = Metrics()

    async def asked() -> dict[str, int]:
        if is_down:
            raise LinkDown()
        return dict(counts)

    watch = asyncio.create_task(CrowdWatch(asked, rig.clock, MeteredObserver(metrics), lambda: leads).run())

    async def turned(after: dict[str, int]) -> dict[str, float]:
        counts.update(after)
        await rig.clock.advance(COUNT_S)
        return {why: metrics.switch_turned.labels(why)._value.get() for why in counts}

    try:
        await rig.clock.advance(0)
        with capture_logs() as lines:
            assert await turned({}) == {"caller": 0, "all": 0}
            assert await turned({"caller": 5007, "all": 3}) == {"caller": 5000, "all": 3}
            is_down = True
            assert await turned({"caller": 5008}) == {"caller": 5000, "all": 3}
            is_down = False
            assert await turned({}) == {"caller": 5001, "all": 3}
            leads = False
            assert await turned({"caller": 5010}) == {"caller": 5001, "all": 3}
            leads = True
            assert await turned({"caller": 2, "all": 1}) == {"caller": 5003, "all": 4}
        told_of = [{key: one[key] for key in one if key in counts} for one in lines]
        assert told_of == [{"caller": 5000, "all": 3}, {"caller": 1}, {"caller": 2, "all": 1}]
    finally:
        watch.cancel()
