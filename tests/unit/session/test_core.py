"""The core alone: single steps that no whole call shows by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from charging.clock import Instant
from charging.errors import UnexpectedEvent
from charging.rating.funding import Segment
from charging.rating.rate import Rate, Step
from charging.session.commands import AskSwitch, HangUp, ReadBlackBox
from charging.session.core import TABLE, step
from charging.session.events import BlackBoxRead, Leg, SwitchSaid, Woke
from charging.session.model import Policy, Session, State, from_json
from charging.session.switch_events import BridgeEntered, BridgeLeft, TransferKind, TransferSeen

NOW = Instant(1_000_000_000, 1_795_262_400_000_000)
RATE = Rate(plan="light", destination="nl_mobile", steps=(Step(0, 60_000, 60, 1),))
POLICY = Policy()


def running(**changes: object) -> Session:
    """A call that was answered ten seconds ago."""
    session = Session(
        id="s-1",
        account="anna",
        number="+31201234567",
        caller="+31107654321",
        target="+31612345678",
        plan="light",
        language="nl",
        switch="test",
        reason="credit",
        rate=RATE,
        free_seconds=0,
        max_calls=2,
        day="2026-11-21",
        day_cap=None,
        opened=NOW.plus(-12),
        caller_uid="caller",
        state=State.RUNNING,
        callee_uid="callee",
        answered=NOW.plus(-10),
        answered_us=NOW.plus(-10).wall_us,
        technology="simple_bridge",
        funding=(Segment(0, 120, "credit"),),
        enforced_s=120,
        held={"credit": 120_000, "calls": 1},
        tick_mono_us=NOW.plus(50).mono_us,
    )
    return replace(session, **changes)  # type: ignore[arg-type]


def leg(uid: str, *, bridged: bool = True, left_ms: int | None = 110_000) -> Leg:
    return Leg(uid, bridged=bridged, up=True, time_left_ms=left_ms)


def test_every_state_but_closed_has_its_rows() -> None:
    assert set(TABLE) == set(State) - {State.CLOSED}


def test_event_that_cannot_come_is_an_error() -> None:
    with pytest.raises(UnexpectedEvent, match="BlackBoxRead while running"):
        step(running(), BlackBoxRead(found=False), NOW, POLICY)


def test_closed_session_takes_no_event() -> None:
    closed = running(state=State.CLOSED)
    assert step(closed, Woke(None), NOW, POLICY) == (closed, ())


def test_answered_call_that_is_not_bridged_yet_goes_on() -> None:
    said = SwitchSaid(NOW.mono_us, leg("caller"), leg("callee", bridged=False))
    session, commands = step(running(technology=""), said, NOW, POLICY)
    assert (session.state, commands) == (State.RUNNING, ())


def test_call_out_of_its_bridge_is_over_only_when_that_lasts() -> None:
    said = SwitchSaid(NOW.mono_us, leg("caller"), leg("callee", bridged=False))
    first, commands = step(running(), said, NOW, POLICY)
    assert (first.state, commands) == (State.RUNNING, ())
    later = NOW.plus(2)
    second, _ = step(first, replace(said, asked_mono_us=later.mono_us), later, POLICY)
    assert second.state is State.ENDING


def test_call_that_comes_back_to_its_bridge_goes_on() -> None:
    left, _ = step(running(), BridgeLeft("s-1", "callee", "PJSIP/m", "callee", "b", NOW.wall_us), NOW, POLICY)
    assert left.left is not None
    entered = BridgeEntered("s-1", "callee", "PJSIP/m", "callee", "b", "simple_bridge", NOW.wall_us)
    back, _ = step(left, entered, NOW.plus(1), POLICY)
    assert (back.state, back.left) == (State.RUNNING, None)


@pytest.mark.parametrize(("left_ms", "orders"), [(110_900, 0), (109_100, 0), (111_100, 1), (108_900, 1), (None, 1)])
def test_deadline_that_the_switch_holds_wrongly_is_set_again(left_ms: int | None, orders: int) -> None:
    said = SwitchSaid(NOW.mono_us, leg("caller"), leg("callee", left_ms=left_ms))
    _, commands = step(running(), said, NOW, POLICY)
    assert len(commands) == orders


@pytest.mark.parametrize(("past_s", "hung_up"), [(4.9, False), (5.1, True)])
def test_call_that_outlives_its_deadline_is_hung_up(past_s: float, hung_up: bool) -> None:
    now = NOW.plus(110 + past_s)
    said = SwitchSaid(now.mono_us, leg("caller"), leg("callee", left_ms=-int(past_s * 1000)))
    _, commands = step(running(), said, now, POLICY)
    assert any(isinstance(command, HangUp) for command in commands) is hung_up


def test_overdue_call_has_the_switch_asked() -> None:
    session = running(check_mono_us=NOW.plus(115).mono_us, tick_mono_us=None)
    _, commands = step(session, Woke(NOW.plus(116).mono_us), NOW.plus(116), POLICY)
    assert commands == (AskSwitch(),)


def test_channel_that_nobody_pays_for_is_hung_up() -> None:
    entered = BridgeEntered("s-1", "stranger", "PJSIP/x", "", "b", "simple_bridge", NOW.wall_us)
    _, commands = step(running(), entered, NOW, POLICY)
    assert [command.uid for command in commands if isinstance(command, HangUp)] == ["stranger"]


def test_transfer_ends_the_call() -> None:
    seen = TransferSeen("s-1", TransferKind.BLIND, "callee", "PJSIP/m", NOW.wall_us)
    session, commands = step(running(), seen, NOW, POLICY)
    assert {command.uid for command in commands if isinstance(command, HangUp)} == {"callee", "caller"}
    assert session.cut_by == "transfer"


def test_call_gone_from_the_switch_has_its_record_read() -> None:
    session, commands = step(running(), SwitchSaid(NOW.mono_us, None, None), NOW, POLICY)
    assert (session.state, commands) == (State.ENDING, (ReadBlackBox(),))


def test_record_survives_its_storage() -> None:
    session = running(warned=True, prompts=2, hangup_reason="fraud", left=NOW, left_us=NOW.wall_us, day_cap=5_000_000)
    restored = from_json(session.to_json(), NOW, 3)
    volatile = {"check_mono_us": None, "tick_mono_us": None, "epoch": 0, "anchored": True}
    assert replace(restored, **volatile) == replace(session, **volatile)  # type: ignore[arg-type]
    assert restored.epoch == 3


def test_record_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="version"):
        from_json(running().to_json().replace('"version":1', '"version":2'), NOW, 0)
