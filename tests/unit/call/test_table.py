"""The core alone: single steps that no whole call shows by itself."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace

import pytest

from charging.call import table
from charging.call.booking import extend, extend_transfer
from charging.call.commands import AskSwitch, Command, HangUp, Post, ReadBalances, ReadBlackBox, SetDeadline, Tell
from charging.call.events import (
    BalancesRead,
    BlackBoxRead,
    ClockJumped,
    DeadlineSet,
    Event,
    Leg,
    Posted,
    PromptPlayed,
    SwitchSaid,
    SwitchSilent,
    Woke,
)
from charging.call.model import Policy, Session, State, from_json
from charging.call.switch_events import (
    BridgeEntered,
    BridgeLeft,
    ChannelEnded,
    ChannelReplaced,
    DialEnded,
    DialStarted,
    TransferKind,
    TransferSeen,
)
from charging.call.told import EventContradicted, TickPostponed
from charging.clock import Instant
from charging.errors import UnexpectedEvent
from charging.ledger.model import CREDIT, Applied, Balance, Outcome
from charging.pricing.rate import Rate, Segment, Step

NOW = Instant(1_000_000_000, 1_795_262_400_000_000)
RATE = Rate(plan="light", destination="nl_mobile", steps=(Step(0, 60_000, 60, 1),))
POLICY = Policy()
CREDIT_LEFT = {CREDIT: Balance(10_000_000, 120_000)}


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
        confirmed=True,
    )
    return replace(session, **changes)  # type: ignore[arg-type]


def step(session: Session, event: Event, now: Instant, policy: Policy) -> tuple[Session, tuple[Command, ...]]:
    after, commands = table.step(session, event, now, policy)
    assert isinstance(after, Session)
    return after, commands


def leg(uid: str, *, bridged: bool = True, left_ms: int | None = 110_000) -> Leg:
    return Leg(uid, bridged=bridged, up=True, time_left_ms=left_ms)


def hung_up(commands: Iterable[object]) -> set[str]:
    return {command.uid for command in commands if isinstance(command, HangUp)}


def test_every_state_but_closed_has_its_rows() -> None:
    assert set(table.TABLE) == set(State) - {State.CLOSED}


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


def test_call_out_of_its_bridge_is_ended_only_when_that_lasts() -> None:
    said = SwitchSaid(NOW.mono_us, leg("caller"), leg("callee", bridged=False))
    first, commands = step(running(), said, NOW, POLICY)
    assert (first.state, commands) == (State.RUNNING, ())
    later = NOW.plus(2)
    second, second_commands = step(first, replace(said, asked_mono_us=later.mono_us), later, POLICY)
    assert (second.state, second.cut_by) == (State.RUNNING, "moved")
    assert hung_up(second_commands) == {"callee", "caller"}


def test_call_that_comes_back_to_its_bridge_goes_on() -> None:
    left, _ = step(running(), BridgeLeft("s-1", "callee", "PJSIP/m", "callee", "b", NOW.wall_us), NOW, POLICY)
    assert left.left is not None
    entered = BridgeEntered("s-1", "callee", "PJSIP/m", "callee", "b", "simple_bridge", NOW.wall_us)
    back, _ = step(left, entered, NOW.plus(1), POLICY)
    assert (back.state, back.left) == (State.RUNNING, None)


@pytest.mark.parametrize(
    ("prompting", "remaining", "asks"), [(True, 1, True), (True, 2, False), (True, None, False), (False, 1, False)]
)
def test_a_subscriber_whom_a_prompt_keeps_on_the_line_is_released_once_his_caller_has_left_him_alone(
    remaining: int | None, *, prompting: bool, asks: bool
) -> None:
    """With two in the bridge, another has taken the caller's place (an attended transfer). The switch is asked first,
    for an event alone ends nothing."""
    left = BridgeLeft("s-1", "caller", "PJSIP/t", "caller", "b", NOW.wall_us, remaining)
    gone = ChannelEnded("s-1", "caller", "PJSIP/t", "caller", 16, NOW.wall_us)
    session, commands = step(_told(running(prompting=prompting), left), gone, NOW, POLICY)
    assert commands == ((AskSwitch(),) if asks else ())
    _, ordered = step(session, SwitchSaid(NOW.mono_us, None, leg("callee"), alone=True), NOW, POLICY)
    assert hung_up(ordered) == ({"callee"} if asks else set())
    _, ordered = step(session, SwitchSaid(NOW.mono_us, leg("caller"), leg("callee"), alone=True), NOW, POLICY)
    assert hung_up(ordered) == set(), "he is there"


def test_a_prompt_that_is_over_keeps_nobody_on_the_line() -> None:
    session, _ = step(running(prompting=True), PromptPlayed("credit_low", "fallback"), NOW, POLICY)
    assert not session.prompting


@pytest.mark.parametrize(("heard_s", "charges"), [(POLICY.proof_max_age_s, True), (POLICY.proof_max_age_s + 1, False)])
def test_a_tick_over_a_link_that_has_been_silent_for_too_long_asks_for_no_money(heard_s: int, *, charges: bool) -> None:
    heard = Woke(NOW.plus(-heard_s).mono_us)
    session, commands = step(running(tick_mono_us=NOW.mono_us), heard, NOW, POLICY)
    assert (ReadBalances() in commands) is charges
    assert (
        Tell(TickPostponed(silent=True)) not in commands if charges else commands == (Tell(TickPostponed(silent=True)),)
    )
    assert session.tick_mono_us == (NOW.plus(50) if charges else NOW.plus(5)).mono_us


@pytest.mark.parametrize(("covered_s", "again_s"), [(3600, 5), (70, 3), (50, 2), (49, 1), (5, 1)])
def test_the_more_a_call_is_paid_ahead_the_less_often_its_tick_is_tried_over_a_silent_link(
    covered_s: int, again_s: int
) -> None:
    """Of thousands, each would else have a turn every second, while the daemon has other things to do."""
    due = running(tick_mono_us=NOW.mono_us, funding=(Segment(0, covered_s, "credit"),), enforced_s=covered_s)
    session, _ = step(due, Woke(None), NOW, POLICY)
    assert session.tick_mono_us == NOW.plus(again_s).mono_us


def test_a_tick_over_a_link_that_never_spoke_asks_for_no_money() -> None:
    _, commands = step(running(tick_mono_us=NOW.mono_us), Woke(None), NOW, POLICY)
    assert commands == (Tell(TickPostponed(silent=True)),)


@pytest.mark.parametrize(
    ("proven_ms", "confirmed", "settled_s"),
    [(4_200, True, 4), (4_201, True, 5), (10_000, True, 10), (4_201, False, 0)],
)
def test_a_tick_settles_up_to_what_is_proven_of_a_call_that_the_switch_has_confirmed(
    proven_ms: int, settled_s: int, *, confirmed: bool
) -> None:
    """Though ten seconds have passed: its end may have come, and not have been heard of."""
    session = running(proven_ms=proven_ms, confirmed=confirmed)
    after, commands = step(session, BalancesRead(CREDIT_LEFT), NOW, POLICY)
    assert after.pending is not None
    assert after.pending.fixed_s == settled_s
    (posting,) = commands
    assert isinstance(posting, Post)
    taken = sum(one.posted for one in posting.transfer.legs if one.balance == CREDIT)
    assert taken == -1000 * settled_s, "a second costs a tenth of a cent"


@pytest.mark.parametrize("target_s", [70, 119, 120, 121])
def test_a_tick_that_reaches_less_far_takes_nothing_back(target_s: int) -> None:
    """The switch has that deadline, and a drain has ended since: were its money given back, the call would go on to
    there unpaid, should the daemon be killed before it has set another."""
    extension = extend(running(), CREDIT_LEFT, used_s=10, target_s=target_s)
    assert extension.funding[-1].end_s == max(120, target_s)


LEG_ENDED = ChannelEnded("s-1", "callee", "PJSIP/m", "callee", 16, NOW.wall_us)


def _left(uid: str, leg_name: str) -> BridgeLeft:
    return BridgeLeft("s-1", uid, "PJSIP/m", leg_name, "b", NOW.wall_us)


def _told(session: Session, *events: Event) -> Session:
    for event in events:
        after, _ = step(session, event, NOW, POLICY)
        assert isinstance(after, Session)
        session = after
    return session


def test_caller_who_left_the_bridge_with_the_leg_is_not_asked_about() -> None:
    over = _told(running(), _left("callee", "callee"), _left("caller", "caller"))
    assert step(over, LEG_ENDED, NOW, POLICY)[1] == (ReadBlackBox(),)


def test_caller_who_stays_in_the_bridge_of_a_leg_that_ended_is_hung_up_at_once() -> None:
    ending, asked = step(_told(running(), _left("callee", "callee")), LEG_ENDED, NOW, POLICY)
    assert asked == (AskSwitch(),)
    _, commands = step(ending, SwitchSaid(NOW.mono_us, leg("caller"), None), NOW, POLICY)
    assert hung_up(commands) == {"caller"}
    assert ReadBlackBox() in commands


def test_caller_who_is_about_to_end_is_not_hung_up() -> None:
    ending = _told(running(), LEG_ENDED)
    _, commands = step(ending, SwitchSaid(NOW.mono_us, leg("caller", bridged=False), None), NOW, POLICY)
    assert commands == (ReadBlackBox(),)


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ((ChannelReplaced("callee", "newcomer"), LEG_ENDED), "replaced"),
        ((ChannelReplaced("caller", "newcomer"), LEG_ENDED), ""),
        ((ChannelReplaced("callee", "newcomer"), SwitchSaid(NOW.mono_us, leg("caller"), leg("callee")), LEG_ENDED), ""),
    ],
    ids=["the leg", "its caller", "not so, says the switch"],
)
def test_leg_whose_place_another_took_ended_for_that_reason(events: tuple[Event, ...], reason: str) -> None:
    assert _told(running(), *events).hangup_reason == reason


@pytest.mark.parametrize(
    "end", [LEG_ENDED, SwitchSaid(NOW.mono_us, None, None)], ids=["as the leg ends", "as the switch denies it"]
)
@pytest.mark.parametrize(("whose", "hung_up"), [("callee", True), ("caller", False)])
def test_whoever_took_the_legs_place_is_hung_up(end: Event, whose: str, hung_up: bool) -> None:
    """With whom he talks may have taken the caller's place before, and bears no session either."""
    _, commands = step(_told(running(), ChannelReplaced(whose, "newcomer")), end, NOW, POLICY)
    assert (HangUp("newcomer", "replaced", if_nobodys=True) in commands) is hung_up


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
    session, commands = step(running(), entered, NOW, POLICY)
    assert AskSwitch(everywhere=True) in commands
    assert hung_up(commands) == set(), "not on an event's word"
    said = SwitchSaid(NOW.mono_us, leg("caller"), leg("callee"), (leg("stranger"), leg("waiting", bridged=False)))
    assert hung_up(step(session, said, NOW, POLICY)[1]) == {"stranger"}


def test_who_was_put_in_the_callers_place_while_it_rang_gets_the_calls_deadline() -> None:
    """A transfer: the channel is another, and goes on with the first deadline of the caller's."""
    said = SwitchSaid(NOW.mono_us, leg("other"), leg("callee"))
    session, commands = step(running(), replace(said, alone=False), NOW, POLICY)
    assert commands == (AskSwitch(listed=("callee", "other")),), "a list is not believed"
    session, commands = step(session, said, NOW, POLICY)
    assert [(one.callee_uid, one.caller_uid) for one in commands if isinstance(one, SetDeadline)] == [
        ("callee", "other")
    ]
    gone = ChannelEnded("s-1", "other", "PJSIP/x", "caller", 16, NOW.wall_us)
    assert step(session, gone, NOW, POLICY)[0].caller_gone


@pytest.mark.parametrize("kind", [TransferKind.BLIND, TransferKind.PICKUP])
def test_transfer_that_takes_a_party_away_ends_the_call(kind: TransferKind) -> None:
    seen = TransferSeen("s-1", kind, "victim", "PJSIP/m", NOW.wall_us)
    session, commands = step(running(), seen, NOW, POLICY)
    assert session.cut_by == "transfer"
    assert hung_up(commands) == {"caller"}, "the channel that the event names may be anyone's"
    assert AskSwitch(everywhere=True) in commands
    said = SwitchSaid(NOW.mono_us, None, leg("callee"), (leg("moved"),))
    assert hung_up(step(session, said, NOW, POLICY)[1]) == {"callee", "moved"}


def test_attended_transfer_is_followed_while_the_forwarded_leg_talks() -> None:
    seen = TransferSeen("s-1", TransferKind.ATTENDED, "caller", "PJSIP/m", NOW.wall_us)
    session, commands = step(running(), seen, NOW, POLICY)
    assert hung_up(commands) == set()
    gone = ChannelEnded("s-1", "caller", "PJSIP/x", "caller", 16, NOW.wall_us)
    alone, _ = step(session, gone, NOW, POLICY)
    assert alone.state is State.RUNNING
    followed, _ = step(alone, SwitchSaid(NOW.mono_us, None, leg("callee")), NOW, POLICY)
    assert (followed.state, followed.caller_gone, followed.left) == (State.RUNNING, True, None)


def test_attended_transfer_by_the_forwarded_leg_takes_it_away_and_ends_the_call() -> None:
    seen = TransferSeen("s-1", TransferKind.ATTENDED, "callee", "PJSIP/m", NOW.wall_us)
    session, commands = step(running(), seen, NOW, POLICY)
    assert (session.hangup_reason, session.cut_by) == ("transferred", "transfer")
    assert hung_up(commands) == {"caller"}


def test_callers_channel_may_end_before_the_call() -> None:
    """A Local channel that Asterisk optimises away: the leg that is charged talks on."""
    gone = ChannelEnded("s-1", "caller", "Local/x;2", "caller", 16, NOW.wall_us)
    session, commands = step(running(), gone, NOW, POLICY)
    assert (session.state, commands) == (State.RUNNING, ())
    ended = ChannelEnded("s-1", "callee", "PJSIP/m", "callee", 16, NOW.wall_us)
    over, commands = step(session, ended, NOW.plus(9), POLICY)
    assert (over.state, commands) == (State.ENDING, (ReadBlackBox(),))


# --- what an event says, and the switch denies ------------------------------------------------------------------


def test_end_that_the_switch_denies_changes_nothing() -> None:
    ended = ChannelEnded("s-1", "callee", "PJSIP/m", "callee", 16, NOW.wall_us)
    over, _ = step(running(), ended, NOW, POLICY)
    no_record, commands = step(over, BlackBoxRead(found=False), NOW, POLICY)
    assert (no_record.state, commands) == (State.ENDING, ())
    later = NOW.plus(POLICY.black_box_wait_s)
    asked, commands = step(no_record, Woke(None), later, POLICY)
    assert commands == (AskSwitch(),)
    back, commands = step(asked, SwitchSaid(later.mono_us, leg("caller"), leg("callee")), later, POLICY)
    assert (back.state, back.ended, back.left) == (State.RUNNING, None, None)
    assert Tell(EventContradicted("end")) in commands


def test_end_of_a_ringing_call_that_the_switch_denies_leaves_it_ringing() -> None:
    ringing = running(state=State.RINGING, answered=None, answered_us=None, technology="")
    over, _ = step(ringing, ChannelEnded("s-1", "caller", "PJSIP/x", "caller", 16, NOW.wall_us), NOW, POLICY)
    assert over.state is State.ENDING
    back, _ = step(over, SwitchSaid(NOW.mono_us, leg("caller", bridged=False), None), NOW, POLICY)
    assert back.state is State.RINGING


def test_answer_that_the_switch_denies_is_none_and_has_charged_nothing() -> None:
    said = SwitchSaid(NOW.mono_us, leg("caller"), replace(leg("callee", bridged=False), up=False))
    session, commands = step(running(), said, NOW, POLICY)
    assert (session.state, session.answered, session.technology) == (State.RINGING, None, "")
    assert Tell(EventContradicted("answer")) in commands


def test_nothing_is_charged_before_the_switch_has_confirmed_the_call() -> None:
    due = running(tick_mono_us=NOW.mono_us, confirmed=False)
    waiting, commands = step(due, Woke(NOW.mono_us), NOW, POLICY)
    assert commands == (AskSwitch(),)
    assert waiting.tick_mono_us is not None
    assert waiting.tick_mono_us > NOW.mono_us, "not asked in a circle"
    confirmed, _ = step(waiting, SwitchSaid(NOW.mono_us, leg("caller"), leg("callee")), NOW, POLICY)
    assert confirmed.confirmed
    _, commands = step(replace(confirmed, tick_mono_us=NOW.mono_us), Woke(NOW.mono_us), NOW, POLICY)
    assert commands == (ReadBalances(),)


def test_channel_that_events_name_is_given_no_order_before_the_switch_has_confirmed_it() -> None:
    jumped = running(confirmed=False, callee_uid="victim")
    asked, commands = step(jumped, ClockJumped(5_000_000, NOW.plus(-1).mono_us), NOW, POLICY)
    assert AskSwitch() in commands
    assert not any(isinstance(command, SetDeadline) for command in commands)
    _, commands = step(asked, SwitchSaid(NOW.mono_us, leg("caller"), leg("callee")), NOW, POLICY)
    assert [one.callee_uid for one in commands if isinstance(one, SetDeadline)] == ["callee"]


@pytest.mark.parametrize(
    ("caller", "callee"),
    [(None, None), ("caller", None), ("caller", "another")],
    ids=["gone", "leg gone", "another leg"],
)
def test_list_of_all_channels_ends_nothing_and_has_the_channels_asked_alone(
    caller: str | None, callee: str | None
) -> None:
    legs = (None if caller is None else leg(caller), None if callee is None else leg(callee))
    session, commands = step(running(), SwitchSaid(NOW.mono_us, *legs, alone=False), NOW, POLICY)
    listed = tuple(uid for uid in (callee, caller) if uid is not None)
    assert (session, commands) == (running(confirmed=False), (AskSwitch(listed=listed),))


def deadlines(commands: Iterable[Command]) -> list[int]:
    return [command.covered_s for command in commands if isinstance(command, SetDeadline)]


@pytest.mark.parametrize(("silent", "given"), [(True, [120]), (False, [])])
def test_r23_deadline_that_one_leg_may_lack_is_given_again_though_the_forwarded_one_has_it(
    silent: bool, given: list[int]
) -> None:
    """The order for the caller's leg had failed: its earlier backstop would have cut a call that is paid for longer."""
    session = running(enforced_s=60 if silent else 120)
    if silent:
        session, _ = step(session, SwitchSilent("set_deadline"), NOW, POLICY)
    session, commands = step(session, SwitchSaid(NOW.mono_us, leg("caller"), leg("callee"), alone=True), NOW, POLICY)
    assert deadlines(commands) == given
    settled, _ = step(session, DeadlineSet(120), NOW, POLICY)
    assert (settled.enforced_s, settled.doubtful_s, settled.retry_mono_us) == (120, (), None)


def test_r23_deadline_that_moves_with_a_step_of_the_clock_is_tried_again_where_it_is_not_set() -> None:
    """It stands at the same second of the call as before, but not at the same time of day."""
    session, commands = step(running(), ClockJumped(40_000_000, NOW.plus(-1).mono_us), NOW.plus(0), POLICY)
    assert deadlines(commands) == [120]
    session, _ = step(session, SwitchSilent("set_deadline"), NOW, POLICY)
    _, commands = step(session, Woke(None), NOW.plus(POLICY.retry_s), POLICY)
    assert deadlines(commands) == [120]


KNOWN = running(check_mono_us=NOW.plus(115).mono_us)
LISTED = SwitchSaid(NOW.mono_us, leg("caller"), leg("callee"), alone=False)


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize(("left_ms", "given"), [(109_000, []), (108_999, [120]), (400_000, []), (None, [])])
def test_r22_callers_deadline_that_lies_before_what_is_paid_is_put_there(
    left_ms: int | None, given: list[int], alone: bool
) -> None:
    """As after a restart: the order for his leg was lost, and nobody knows. Where it lies behind, nothing is amiss."""
    said = SwitchSaid(NOW.mono_us, leg("caller", left_ms=left_ms), leg("callee"), alone=alone)
    assert (table.as_known(KNOWN, said, NOW, POLICY) is None) is (alone or bool(given))
    _, commands = step(KNOWN, said, NOW, POLICY)
    assert deadlines(commands) == given


def test_list_that_says_what_is_known_proves_that_the_call_talked_and_does_no_more() -> None:
    known = table.as_known(KNOWN, LISTED, NOW, POLICY)
    assert known == replace(KNOWN, proven_ms=10_000, seen_ms=10_000)
    assert (known, ()) == step(KNOWN, LISTED, NOW, POLICY)


@pytest.mark.parametrize(
    ("confirmed", "alone", "seen_ms"), [(False, False, 0), (True, False, 10_000), (False, True, 10_000)]
)
def test_leg_is_seen_alive_once_it_was_confirmed_alone(confirmed: bool, alone: bool, seen_ms: int) -> None:
    seen, _ = step(replace(KNOWN, confirmed=confirmed), replace(LISTED, alone=alone), NOW, POLICY)
    assert (seen.seen_ms, seen.proven_ms) == (seen_ms, 10_000)


@pytest.mark.parametrize(
    ("session", "said"),
    [
        ({"confirmed": False}, {}),
        ({"ahead": True}, {}),
        ({"deadline_due": True}, {}),
        ({"replaced_by": "newcomer"}, {}),
        ({"technology": ""}, {}),
        ({"left": NOW}, {}),
        ({"doubtful_s": (180,)}, {}),
        ({"enforced_s": 60}, {}),
        ({"cut_by": "operator"}, {}),
        ({"anchored": False}, {}),
        ({"caller_gone": True}, {}),
        ({"check_mono_us": NOW.mono_us}, {}),
        ({"state": State.RINGING}, {}),
        ({"answered": NOW.plus(-126), "check_mono_us": NOW.plus(-1).mono_us}, {}),
        ({}, {"alone": True}),
        ({}, {"caller": None}),
        ({}, {"callee": None}),
        ({}, {"callee": leg("another")}),
        ({}, {"callee": leg("callee", bridged=False)}),
        ({}, {"callee": replace(leg("callee"), up=False)}),
        ({}, {"callee": leg("callee", left_ms=100_000)}),
        ({}, {"callee": leg("callee", left_ms=None)}),
        ({}, {"others": (leg("stranger"),)}),
    ],
)
def test_anything_else_in_a_list_is_an_event(session: dict[str, object], said: dict[str, object]) -> None:
    """The short way must never hide what the table would act upon."""
    changed = replace(LISTED, **said)  # type: ignore[arg-type]
    assert table.as_known(replace(KNOWN, **session), changed, NOW, POLICY) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("took_s", "left_ms", "stands"),
    [
        *((0, 109_000, True), (0, 108_999, False), (0, 111_000, True), (0, 111_001, False)),
        *((4, 105_000, True), (4, 104_999, False), (4, 111_000, True), (4, 111_001, False)),
        *((10, 99_000, True), (10, 98_999, False), (60, 99_000, True), (60, 98_999, False)),
    ],
)
def test_long_list_in_which_a_deadline_has_come_nearer_is_no_reason_to_order_it_again(
    took_s: int, left_ms: int, stands: bool
) -> None:
    """A list of 60,000 channels takes seconds. The last are as far from their ends as its end says, the first as its
    question; an answer that came far too late is no excuse."""
    listed = replace(LISTED, callee=leg("callee", left_ms=left_ms))
    now = NOW.plus(took_s)
    after = table.as_known(KNOWN, listed, now, POLICY)
    assert after == (replace(KNOWN, proven_ms=10_000, seen_ms=10_000) if stands else None)
    assert deadlines(step(KNOWN, listed, now, POLICY)[1]) == ([] if stands else [120])


def test_call_that_the_list_lacks_is_not_charged_by_the_links_proof_until_it_was_asked_about() -> None:
    """The switch was restarted, its link is up again, and the question about the call is lost."""
    due = running(tick_mono_us=NOW.mono_us, funding=(Segment(0, 60, CREDIT),))
    doubted, _ = step(due, SwitchSaid(NOW.mono_us, None, None, alone=False), NOW, POLICY)
    unanswered, _ = step(doubted, SwitchSilent("other"), NOW, POLICY)
    waiting, commands = step(unanswered, Woke(NOW.mono_us), NOW, POLICY)
    assert (waiting.proven_ms, commands) == (0, (AskSwitch(),))
    seen, _ = step(waiting, SwitchSaid(NOW.mono_us, leg("caller"), leg("callee")), NOW, POLICY)
    assert step(seen, Woke(NOW.mono_us), NOW, POLICY)[1] == (ReadBalances(),)


@pytest.mark.parametrize("state", [State.RUNNING, State.ENDING])
def test_the_answer_to_another_transfer_books_nothing_and_that_to_its_own_does(state: State) -> None:
    """A transfer that was asked about twice is answered twice, and its second answer may come after the next is out."""
    talking = running()
    made = extend_transfer(talking, extend(talking, CREDIT_LEFT, 10, 180), CREDIT_LEFT, NOW.wall_us, NOW.mono_us)
    assert made is not None
    pending, _ = made
    waiting = replace(talking, pending=pending, state=state, ended=None if state is State.RUNNING else NOW)
    own, applied = pending.transfer, Applied(Outcome.CREATED)
    assert step(waiting, Posted(replace(own, id="s-1/7/extend"), applied), NOW, POLICY) == (waiting, ())
    booked, _ = step(waiting, Posted(own, applied), NOW, POLICY)
    assert (booked.covered_s, booked.pending) == (180, None)


def test_dialling_of_another_channel_makes_no_forwarded_leg() -> None:
    ringing = running(state=State.RINGING, answered=None, answered_us=None, technology="")
    for event in (
        DialStarted("s-1", "stranger", "victim", NOW.wall_us),
        DialEnded("s-1", "ANSWER", "stranger", "victim", NOW.wall_us),
    ):
        assert step(ringing, event, NOW, POLICY) == (ringing, ())


def test_pickup_of_a_ringing_forward_ends_it() -> None:
    ringing = running(state=State.RINGING, answered=None, answered_us=None, technology="")
    picked, commands = step(ringing, TransferSeen("s-1", TransferKind.PICKUP, "x", "PJSIP/x", None), NOW, POLICY)
    assert (picked.hangup_reason, hung_up(commands)) == ("picked_up", {"caller"})


def test_call_gone_from_the_switch_has_its_record_read() -> None:
    """A leg that a transfer has put under another session's name looks gone, too: it is hung up."""
    session, commands = step(running(), SwitchSaid(NOW.mono_us, None, None), NOW, POLICY)
    assert (session.state, commands) == (State.ENDING, (HangUp("callee", "moved"), ReadBlackBox()))


def test_record_survives_its_storage() -> None:
    begun = running(boot="here", begun_mono_us=running().opened.mono_us, apart_us=NOW.apart_us)
    session = replace(
        begun, warned=True, prompts=2, hangup_reason="fraud", left=NOW, left_us=NOW.wall_us, day_cap=5_000_000
    )
    session = session.stepped(40_000_000, NOW.mono_us, NOW.plus(-3).mono_us).stepped(
        -40_000_000, NOW.mono_us, NOW.mono_us
    )
    restored = from_json(session.to_json(), NOW, 3, "here")
    volatile = {"check_mono_us": None, "tick_mono_us": None, "epoch": 0, "anchored": True, "confirmed": True}
    volatile |= {"stepped_mono_us": None, "vouched": False, "reckoned": False}
    assert replace(restored, **volatile) == replace(session, **volatile)  # type: ignore[arg-type]
    assert restored.epoch == 3


def test_record_that_tells_the_sum_of_the_clocks_steps_alone_is_read() -> None:
    record = json.loads(running().to_json())
    assert "steps" not in record
    assert from_json(json.dumps(record), NOW, 0).steps == ()
    restored = from_json(json.dumps({**record, "stepped_us": 5_000_000}), NOW, 0)
    assert (restored.steps, restored.stepped_us) == (((0, 5_000_000),), 5_000_000)
    assert restored.answered == Instant(NOW.plus(-5).mono_us, NOW.plus(-10).wall_us)


def test_record_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="version"):
        from_json(running().to_json().replace('"version":1', '"version":2'), NOW, 0)
