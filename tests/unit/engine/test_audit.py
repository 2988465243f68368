"""The comparison of the switch's channels with our sessions: it costs calls nothing that are as they should be."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from charging.call.events import Event, SwitchSaid
from charging.call.model import Policy
from charging.call.switch_events import BridgeLeft
from charging.clock import MICROSECONDS
from charging.engine import sessions
from charging.engine.looker import Looker
from charging.engine.ports import Legs, Look
from charging.engine.recovery import AUDIT_MAX_S, AUDIT_S, Recovery
from charging.engine.runner import SessionRunner
from charging.errors import SwitchError
from charging.records import replace
from tests.fakes.rig import EURO, Rig, make_rig
from tests.fakes.switch import FakeCall


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with make_rig() as rig:
        await rig.subscriber(credit=10 * EURO)
        yield rig


async def confirmed(rig: Rig) -> FakeCall:
    """A call that has had its first tick, so that nothing of it is open."""
    call = await rig.talking()
    await rig.clock.advance(rig.policy.tick_s + 1)
    return call


Woken = Callable[[FakeCall], list[Event]]


@pytest.fixture
def woken(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Woken:
    """The answers of the switch that wake a call from now on."""
    heard: dict[SessionRunner, list[Event]] = {}
    offer = SessionRunner.offer

    def noting(runner: SessionRunner, event: Event) -> None:
        if isinstance(event, SwitchSaid):
            heard.get(runner, []).append(event)
        offer(runner, event)

    monkeypatch.setattr(SessionRunner, "offer", noting)
    return lambda call: heard.setdefault(rig.runner_of(call), [])


async def test_a_call_that_is_as_it_should_be_is_known_to_live_and_is_not_woken(rig: Rig, woken: Woken) -> None:
    call = await confirmed(rig)
    heard, before = woken(call), rig.session_of(call)
    await rig.clock.advance(2 * AUDIT_S)
    assert heard == []
    assert rig.session_of(call).proven_ms >= before.proven_ms + AUDIT_S * 1000


async def test_after_a_restart_calls_are_asked_about_together_and_no_list_of_all_channels_stands_before_that(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R23: with thousands of calls a list takes seconds, in which the switch answers nothing else."""
    monkeypatch.setattr(sessions, "AT_ONCE_MAX", 2)
    calls = [await confirmed(rig) for _ in range(5)]
    await rig.kill_daemon()
    lists, asked = 0, list[int]()
    look, look_at = Looker.look, rig.switch.look_at

    async def listed(looker: Looker) -> Look:
        nonlocal lists
        lists += 1
        return await look(looker)

    async def asked_alone(wanted: Sequence[tuple[str, Sequence[str]]]) -> Sequence[Legs | SwitchError]:
        asked.append(len(wanted))
        return await look_at(wanted)

    monkeypatch.setattr(Looker, "look", listed)
    monkeypatch.setattr(rig.switch, "look_at", asked_alone)
    await rig.start_daemon()
    await rig.clock.advance(2)
    assert all(rig.session_of(call).confirmed for call in calls)
    assert rig.registry.open.are_paid_ahead()
    assert lists == 0
    assert sum(asked) == len(calls)
    assert max(asked) == 2


async def test_after_a_restart_only_calls_that_are_not_paid_ahead_tick_at_once(rig: Rig) -> None:
    """R23: with thousands of calls those that are cut first must not stand behind the others."""
    early = await confirmed(rig)
    await rig.clock.advance(40)
    late = await confirmed(rig)
    before = len(rig.heard("tick_posted"))
    await rig.kill_daemon()
    await rig.clock.advance(25)
    await rig.start_daemon()
    await rig.clock.advance(1)
    assert [rig.session_of(call).covered_s for call in (early, late)] == [307, 180], "its tick fell into the outage"
    assert len(rig.heard("tick_posted")) == before + 1
    await rig.clock.advance(40)
    assert rig.session_of(late).covered_s == 240, "at its own time"


async def test_after_a_restart_on_a_shared_ledger_each_call_ticks_at_once_for_what_it_has_shown_may_be_lost() -> None:
    """R23, and money before time: the deadline may have been set by a reservation that a fail-over loses."""
    async with make_rig(Policy(short_poll_s=1)) as rig:
        await rig.subscriber(credit=10 * EURO)
        await confirmed(rig)
        before = len(rig.heard("tick_posted"))
        await rig.kill_daemon()
        await rig.start_daemon()
        await rig.clock.advance(2)
        assert len(rig.heard("tick_posted")) == before + 1


async def test_after_a_restart_the_forwarded_leg_alone_is_asked_about_and_the_audit_finds_that_its_caller_has_gone(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = await confirmed(rig)
    await rig.kill_daemon()
    asked, look_at = list[Sequence[str]](), rig.switch.look_at

    async def asked_alone(wanted: Sequence[tuple[str, Sequence[str]]]) -> Sequence[Legs | SwitchError]:
        asked.extend(uids for _, uids in wanted)
        return await look_at(wanted)

    monkeypatch.setattr(rig.switch, "look_at", asked_alone)
    legs = rig.switch._legs
    monkeypatch.setattr(rig.switch, "_legs", lambda *args: replace(legs(*args), caller=None))
    await rig.start_daemon()
    await rig.clock.advance(1)
    assert asked == [(call.callee_uid,)]
    assert (rig.session_of(call).confirmed, rig.session_of(call).caller_gone) == (True, False)
    await rig.clock.advance(AUDIT_S)
    assert rig.session_of(call).caller_gone


async def test_a_call_that_the_switch_told_of_while_it_listed_its_channels_knows_better(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list comes over a connection of its own: it may be older than an event that was heard before it."""
    call = await confirmed(rig)
    look = rig.switch.look

    async def listed() -> Look:
        found = await look()
        rig.switch.deliver(BridgeLeft(call.session, call.caller_uid, "PJSIP/world-1", "caller", "b", None))
        await rig.clock.sleep_until(rig.clock.now().plus(0.1).mono_us)
        return found

    monkeypatch.setattr(rig.switch, "look", listed)
    rig.registry.found.set()
    await rig.clock.advance(0.2)
    assert rig.session_of(call).left is not None


async def test_a_call_that_the_switch_told_of_while_the_list_was_gone_through_knows_better(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of thousands of calls that takes many turns of the loop, in which events are heard."""
    first, call = await confirmed(rig), await confirmed(rig)
    hear = SessionRunner.hear

    def heard(runner: SessionRunner, said: SwitchSaid) -> None:
        if runner is rig.runner_of(first):
            rig.switch.deliver(BridgeLeft(call.session, call.caller_uid, "PJSIP/world-1", "caller", "b", None))
        hear(runner, said)

    monkeypatch.setattr(SessionRunner, "hear", heard)
    rig.registry.found.set()
    await rig.clock.advance(0.2)
    assert rig.session_of(call).left is not None


async def test_a_call_whose_deadline_was_moved_is_woken_and_it_is_put_back(rig: Rig, woken: Woken) -> None:
    call = await confirmed(rig)
    other = await confirmed(rig)
    heard, not_woken = woken(call), woken(other)
    paid_until = call.deadline_mono_us
    assert paid_until is not None
    call.deadline_mono_us = paid_until + 3600 * MICROSECONDS
    await rig.clock.advance(AUDIT_S)
    assert len(heard) == 1
    assert not_woken == []
    assert call.deadline_mono_us == paid_until


async def test_after_a_look_that_took_long_the_next_waits_longer_and_within_bounds(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R23: a list of very many channels must not keep the calls themselves from being charged."""
    pauses: list[float] = []
    due = Recovery._audit_due

    async def noting(recovery: Recovery, pause_s: float) -> None:
        pauses.append(pause_s)
        await due(recovery, pause_s)

    monkeypatch.setattr(Recovery, "_audit_due", noting)
    look = rig.switch.look
    lasts_s = [0.05, 0.3, 600.0, 0.05]

    async def slow() -> object:
        await rig.clock.sleep_until(rig.clock.now().plus(lasts_s.pop(0) if lasts_s else 0).mono_us)
        return await look()

    monkeypatch.setattr(rig.switch, "look", slow)
    await rig.clock.advance(1000)
    assert pauses[:4] == [AUDIT_S, 30, AUDIT_MAX_S, AUDIT_S]


async def test_what_is_in_doubt_waits_for_one_usual_pause_however_long_the_last_look_took(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls whose task is missing are paid no further ahead: the next audit reloads them."""
    restored: list[int] = []
    restore = rig.recovery.restore

    async def noting() -> None:
        restored.append(rig.clock.now().mono_us)
        await restore()

    monkeypatch.setattr(rig.recovery, "restore", noting)
    look = rig.switch.look
    lasts_s = [float(AUDIT_S)]

    async def slow() -> object:
        await rig.clock.sleep_until(rig.clock.now().plus(lasts_s.pop(0) if lasts_s else 0).mono_us)
        return await look()

    monkeypatch.setattr(rig.switch, "look", slow)
    while lasts_s:
        await rig.clock.advance(1)
    await rig.clock.advance(AUDIT_S)  # the slow look ends, and a pause of AUDIT_MAX_S begins
    restored.clear()
    doubted_us = rig.clock.now().mono_us
    rig.registry.doubt()
    await rig.clock.advance(AUDIT_MAX_S)
    assert restored
    assert restored[0] - doubted_us <= (AUDIT_S + 1) * MICROSECONDS
