"""Which evidence a call's length is decided by, where record, stamps and our own clock say different things."""

from __future__ import annotations

from dataclasses import replace

import pytest

from charging.call.commands import Command, ReadBalances, Tell
from charging.call.events import BlackBoxRead, SwitchSaid
from charging.call.finished import contradicting_ms, decide_duration, is_outlived
from charging.call.model import STEPS_MAX, Pending, Proof, Session, Short, State, from_json
from charging.call.switch_events import BridgeEntered, BridgeLeft
from charging.call.told import BridgeJoined
from charging.clock import Instant
from charging.ledger.model import Kind, Transfer
from tests.unit.call.test_table import NOW, POLICY, leg, running, step


def ended(**changes: object) -> Session:
    """Answered ten seconds ago and just over, by events whose stamps agree with our clock."""
    return replace(running(left=NOW, left_us=NOW.wall_us), **changes)  # type: ignore[arg-type]


def by_leg(answered_ms: int) -> BlackBoxRead:
    return BlackBoxRead(True, "ANSWER", answered_ms, by_leg=True)


@pytest.mark.parametrize(
    ("answered_ms", "proof", "contradicted"),
    [
        (10_000, Proof.BLACK_BOX, None),
        (12_000, Proof.BLACK_BOX, None),
        (12_001, Proof.BLACK_BOX, 10_000),
        (20_000, Proof.BLACK_BOX, 10_000),
        (1000, Proof.BLACK_BOX, 10_000),
    ],
)
def test_legs_own_record_is_booked_and_events_that_say_otherwise_are_a_finding(
    answered_ms: int, proof: Proof, contradicted: int | None
) -> None:
    session, box = ended(), by_leg(answered_ms)
    duration = decide_duration(session, box, NOW.wall_us, POLICY)
    assert (duration.used_ms, duration.proof) == (answered_ms, proof)
    assert contradicting_ms(session, box, duration, POLICY) == contradicted


@pytest.mark.parametrize(("talked_ms", "overrun_s"), [(120_200, 0), (120_201, 1), (125_200, 5)])
def test_r23_seconds_beyond_what_was_reserved_are_the_operators(talked_ms: int, overrun_s: int) -> None:
    answered = NOW.plus(-talked_ms / 1000)
    session = ended(answered=answered, answered_us=answered.wall_us)
    assert session.covered_s == 120
    duration = decide_duration(session, by_leg(talked_ms), NOW.wall_us, POLICY)
    assert (duration.used_ms, duration.billed_s, duration.overrun_s) == (talked_ms, 120, overrun_s)


@pytest.mark.parametrize(("status", "proof", "billed_s"), [("ANSWER", Proof.EVENTS, 1), ("", Proof.NEVER_ANSWERED, 0)])
def test_r3_an_answer_that_ends_in_the_same_instant_costs_its_first_increment(
    status: str, proof: Proof, billed_s: int
) -> None:
    """It came into no bridge and left no record: the switch's word that the dial ended with an answer is all there
    is."""
    answered = NOW if status else None
    session = ended(answered=answered, answered_us=answered and NOW.wall_us, technology="", dial_status=status)
    duration = decide_duration(session, BlackBoxRead(found=False), NOW.wall_us, POLICY)
    assert (duration.used_ms, duration.billed_s, duration.proof) == (0, billed_s, proof)


@pytest.mark.parametrize(("reason", "billed_s"), [("picked_up", 0), ("", 1)])
def test_call_that_another_phone_picks_up_as_it_rings_was_not_answered(reason: str, billed_s: int) -> None:
    answered = NOW.plus(-0.005)
    session = ended(answered=answered, answered_us=answered.wall_us, hangup_reason=reason)
    assert decide_duration(session, by_leg(5), NOW.wall_us, POLICY).billed_s == billed_s


def test_record_of_the_callers_up_time_yields_to_the_events() -> None:
    """Written by a dialplan of before, of a caller who had been answered by a welcome message."""
    duration = decide_duration(ended(), BlackBoxRead(True, "ANSWER", 25_000), NOW.wall_us, POLICY)
    assert (duration.used_ms, duration.proof) == (10_000, Proof.CLOCK_JUMP)


def test_clock_that_stepped_is_no_finding_and_bills_the_smaller_length() -> None:
    session = ended(left_us=NOW.plus(30).wall_us, steps=((5_000, 30_000_000),))
    duration = decide_duration(session, by_leg(40_000), NOW.wall_us, POLICY)
    assert (duration.used_ms, duration.proof) == (10_000, Proof.CLOCK_JUMP)
    assert contradicting_ms(session, by_leg(40_000), duration, POLICY) is None


def lost(*steps: tuple[int, int]) -> Session:
    """Answered ten seconds ago, its end unheard; the clock was stepped so many ms after the answer, by so many s."""
    return running(ended=NOW, steps=tuple((at_ms, by_s * 1_000_000) for at_ms, by_s in steps))


@pytest.mark.parametrize(
    ("steps", "answered_ms", "used_ms"),
    [
        ((), 9000, 9000),
        (((5000, 40),), 49_000, 9000),
        (((5000, 40), (9000, -40)), 9500, 9500),
        (((3000, 5), (9000, -30)), 11_000, 6000),
        (((5000, -3),), 4000, 4000),
        (((3000, 5), (9000, -4)), 10_500, 5500),
    ],
    ids=["none", "one", "taken back", "one in the call", "either may be", "smaller"],
)
def test_end_that_nobody_heard_of_came_between_the_steps_that_it_fits(
    steps: tuple[tuple[int, int], ...], answered_ms: int, used_ms: int
) -> None:
    duration = decide_duration(lost(*steps), by_leg(answered_ms), NOW.wall_us, POLICY)
    assert duration.used_ms == used_ms


def test_step_that_came_while_nobody_watched_may_have_come_at_any_moment_since() -> None:
    """Every daemon was frozen from the third second on; the call ended in the eighth, and the step was seen later."""
    session = replace(lost((9500, 5)), unwatched=((9500, 3000),))
    assert decide_duration(session, by_leg(13_000), NOW.wall_us, POLICY).used_ms == 8000
    back = replace(lost((3000, 5), (9500, -30)), unwatched=((9500, 3000),))
    assert decide_duration(back, by_leg(11_000), NOW.wall_us, POLICY).used_ms == 6000


def test_end_that_was_heard_of_late_may_have_come_after_a_step() -> None:
    """The daemon woke to both of them: by the stamps it heard of the end two and a half seconds late, of ten."""
    session = ended(left_us=NOW.plus(-2.5).wall_us, steps=((10_000, 5_000_000),), unwatched=((10_000, 1000),))
    duration = decide_duration(session, by_leg(7500), NOW.wall_us, POLICY)
    assert (duration.used_ms, duration.proof) == (2500, Proof.CLOCK_JUMP)


def test_step_before_an_answer_that_nobody_heard_of_makes_the_call_no_longer() -> None:
    """Stepped back by thirty seconds while it rang, and ahead by five while it was talked."""
    ringing = lost((0, -30), (0, 5))
    for session in (ringing, replace(ringing, answered=None, answered_us=None)):
        assert decide_duration(session, by_leg(15_000), NOW.wall_us, POLICY).used_ms == 10_000


def test_step_may_have_come_in_a_call_of_which_only_the_end_was_heard() -> None:
    """The answer's event was lost, and no question came through until it was over: the end alone sets no bound."""
    session = ended(answered=None, answered_us=None, fixed_s=0, proven_ms=0, steps=((0, 40_000_000),))
    duration = decide_duration(session, by_leg(83_600), NOW.wall_us, POLICY)
    assert (duration.used_ms, duration.proof) == (43_600, Proof.CLOCK_JUMP)


def test_of_many_steps_the_oldest_are_added_up() -> None:
    session = running()
    for second in range(STEPS_MAX + 2):
        session = session.stepped(1_000_000 * (second + 1), NOW.plus(second).mono_us, NOW.plus(second - 1).mono_us)
    assert (len(session.steps), session.steps[0]) == (STEPS_MAX, (12_000, 6_000_000))
    assert session.stepped_us == sum(range(1, STEPS_MAX + 3)) * 1_000_000
    assert (len(session.unwatched), session.unwatched[0]) == (STEPS_MAX, (12_000, 9_000)), "since the first of them"


def test_record_of_a_forward_that_was_not_answered_is_believed_against_events() -> None:
    box = BlackBoxRead(True, "CANCEL", by_leg=True)
    duration = decide_duration(ended(), box, NOW.wall_us, POLICY)
    assert (duration.billed_s, duration.proof) == (0, Proof.NEVER_ANSWERED)
    assert contradicting_ms(ended(), box, duration, POLICY) == 10_000


# --- a record that the switch's own answers outlive ---------------------------------------------------------------


def seen(seen_ms: int, talked_ms: int = 60_000, **changes: object) -> Session:
    """Over just now, by events whose stamps agree with our clock; the switch, asked about its leg, has seen it in its
    bridge so long after the answer."""
    answered = NOW.plus(-talked_ms / 1000)
    session = ended(answered=answered, answered_us=answered.wall_us, proven_ms=seen_ms, seen_ms=seen_ms)
    return replace(session, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("recorded_ms", "used_ms", "proof"),
    [(2, 60_000, Proof.EVENTS), (47_949, 60_000, Proof.EVENTS), (47_950, 47_950, Proof.BLACK_BOX)],
)
def test_record_that_ends_before_the_switch_saw_the_leg_alive_is_of_another_channel(
    recorded_ms: int, used_ms: int, proof: Proof
) -> None:
    """It may differ by as much as clocks may: by two seconds, and by how much two of them are slewed meanwhile."""
    session, box = seen(50_000), by_leg(recorded_ms)
    duration = decide_duration(session, box, NOW.wall_us, POLICY)
    assert (duration.used_ms, duration.billed_s, duration.proof) == (used_ms, -(-(used_ms - 200) // 1000), proof)
    assert is_outlived(session, box, POLICY) is (proof is Proof.EVENTS)


@pytest.mark.parametrize(("seen_ms", "used_ms"), [(2004, 2), (2005, 60_000)])
def test_record_is_believed_against_events_alone(seen_ms: int, used_ms: int) -> None:
    """Events can be late or forged; by more than two seconds it takes the switch's own answer, too."""
    assert decide_duration(seen(seen_ms), by_leg(2), NOW.wall_us, POLICY).used_ms == used_ms


@pytest.mark.parametrize(("stamped_ms", "used_ms"), [(2004, 2), (2005, 2005)])
def test_record_is_believed_against_what_was_seen_by_our_clock_alone(stamped_ms: int, used_ms: int) -> None:
    """The switch's machine may have slept, or its clock be slow: then its stamps say what its record says."""
    session = seen(50_000)
    assert session.answered_us is not None
    session = replace(session, left_us=session.answered_us + stamped_ms * 1000)
    box = replace(by_leg(2), lasted_ms=2)
    assert decide_duration(session, box, NOW.wall_us, POLICY).used_ms == used_ms


def test_call_whose_end_nobody_heard_is_billed_what_is_proven_if_its_record_is_outlived() -> None:
    """The link was away at its end, or the daemon."""
    session = seen(50_000, left=None, left_us=None, ended=NOW, proven_ms=55_000)
    box = replace(by_leg(40), lasted_ms=40)
    duration = decide_duration(session, box, NOW.wall_us, POLICY)
    assert (duration.used_ms, duration.proof) == (55_000, Proof.UNPROVEN)


def test_leg_that_was_seen_in_its_bridge_was_answered_whatever_its_record_says() -> None:
    box = BlackBoxRead(True, "CANCEL", by_leg=True)
    duration = decide_duration(seen(50_000), box, NOW.wall_us, POLICY)
    assert (duration.used_ms, duration.proof) == (60_000, Proof.EVENTS)


BOOKING = Pending(Transfer("s-1/2/extend", "anna", Kind.EXTEND, NOW.wall_us, ()), (), (), 0, Short.NO, NOW.mono_us)


@pytest.mark.parametrize(
    ("changes", "further"),
    [({}, (ReadBalances(),)), ({"pending": BOOKING}, ()), ({"anchored": False}, ())],
    ids=["known", "a booking is under way", "the answer came late"],
)
def test_bridge_is_told_of_whatever_else_the_call_waits_for(
    changes: dict[str, object], further: tuple[Command, ...]
) -> None:
    """A busy machine's answer comes late, and its ledger is slow."""
    entered = BridgeEntered("s-1", "callee", "PJSIP/m", "callee", "b", "simple_bridge", NOW.wall_us)
    _, commands = step(running(technology="", **changes), entered, NOW, POLICY)
    assert commands == (Tell(BridgeJoined("simple_bridge")), *further)


@pytest.mark.parametrize(
    "changes",
    [{"inferred": True}, {"steps": ((5_000, 100_000),)}],
    ids=["answer not heard", "clock stepped"],
)
def test_doubtful_clocks_and_answers_outlive_no_record(changes: dict[str, object]) -> None:
    session = replace(seen(50_000), **changes)  # type: ignore[arg-type]
    assert not is_outlived(session, by_leg(2), POLICY)
    assert decide_duration(session, by_leg(2), NOW.wall_us, POLICY).used_ms == 2


def test_record_that_is_not_there_is_not_outlived() -> None:
    assert not is_outlived(seen(50_000), BlackBoxRead(found=False), POLICY)


def test_time_before_the_forward_is_not_billed_though_no_event_was_heard() -> None:
    """The daemon was away: the record alone tells, and it is the leg's own."""
    session = running(anchored=False)
    duration = decide_duration(session, by_leg(4000), NOW.wall_us, POLICY)
    assert (duration.used_ms, duration.billed_s, duration.overrun_s) == (4000, 4, 0)


@pytest.mark.parametrize(
    ("lasted_ms", "used_ms", "proof"),
    [
        (40_000, 40_000, Proof.BLACK_BOX),
        (39_600, 40_000, Proof.BLACK_BOX),
        (39_599, 39_599, Proof.CLOCK_JUMP),
        (40_400, 40_000, Proof.BLACK_BOX),
        (40_401, 40_000, Proof.CLOCK_JUMP),
        (0, 0, Proof.CLOCK_JUMP),
    ],
)
@pytest.mark.parametrize("steps", [(), ((5_000, 30_000_000),)], ids=["none seen", "one seen"])
def test_how_long_the_switchs_machine_was_up_bounds_what_is_billed_whatever_steps_were_seen(
    steps: tuple[tuple[int, int], ...], lasted_ms: int, used_ms: int, proof: Proof
) -> None:
    session = running(ended=NOW, steps=steps)
    box = BlackBoxRead(True, "ANSWER", 40_000, lasted_ms, by_leg=True)
    duration = decide_duration(session, box, NOW.wall_us, POLICY)
    assert (duration.used_ms, duration.proof) == (used_ms, proof)


def away(set_up_s: float, *steps: tuple[float, float, int]) -> Session:
    """Set up so long ago, its answer and end unheard, its end known now. Of each step: how many seconds ago it was
    seen, when the clocks had been read last before that, and by how many seconds it was."""
    session = running(answered=None, answered_us=None, technology="", fixed_s=0, proven_ms=0, ended=NOW)
    by_s = sum(step_s for _, _, step_s in steps)
    opened = Instant(NOW.plus(-set_up_s).mono_us, NOW.plus(-set_up_s - by_s).wall_us)
    session = replace(session, opened=opened, begun_mono_us=opened.mono_us)
    for seen_s, since_s, step_s in steps:
        session = session.stepped(step_s * 1_000_000, NOW.plus(-seen_s).mono_us, NOW.plus(-since_s).mono_us)
    return session


@pytest.mark.parametrize(("answered_ms", "used_ms"), [(22_000, 22_000), (22_001, 0)])
def test_call_has_lasted_no_longer_than_since_its_set_up_by_our_own_clock(answered_ms: int, used_ms: int) -> None:
    """The switch's clock alone says more: it was stepped, and back before anybody saw it. The last proven second
    counts, and there is none."""
    duration = decide_duration(away(20), by_leg(answered_ms), NOW.wall_us, POLICY)
    assert (duration.used_ms, duration.proof is Proof.CLOCK_JUMP) == (used_ms, used_ms != answered_ms)


@pytest.mark.parametrize(("reckoned", "used_ms"), [(True, 20_000), (False, 0)])
def test_end_that_another_process_knew_seems_as_much_earlier_as_the_clock_was_stepped_since(
    reckoned: bool, used_ms: int
) -> None:
    """It is reckoned back from the time of day: a call of 20 s seems to have ended before it began."""
    session = replace(away(20, (0, 1, 40)), ended=NOW.plus(-40), reckoned=reckoned)
    assert decide_duration(session, by_leg(20_000), NOW.wall_us, POLICY).used_ms == used_ms


def test_end_that_this_process_knows_is_bound_by_its_own_clock_also_after_a_restart() -> None:
    kept = replace(running(), boot="here", begun_mono_us=NOW.plus(-12).mono_us, apart_us=NOW.apart_us)
    for changes, reckoned in (({}, False), ({"left": NOW}, True), ({"ended": NOW}, True)):
        text = replace(kept, **changes).to_json()  # type: ignore[arg-type]
        assert from_json(text, NOW, 1, "here").reckoned is reckoned
    taken_over = replace(kept, reckoned=True)
    assert not step(taken_over, BridgeLeft("s-1", "callee", "PJSIP/m", "callee", "b", NOW.wall_us), NOW, POLICY)[
        0
    ].reckoned


def test_set_up_on_another_boot_bounds_nothing() -> None:
    session = replace(away(20), begun_mono_us=None)
    assert decide_duration(session, by_leg(22_001), NOW.wall_us, POLICY).used_ms == 22_001


def by_stamps(session: Session, answered_s: int, answered_ms: int) -> BlackBoxRead:
    """Answered so many seconds after the set-up, by the switch's clock."""
    answered_us = session.opened.wall_us + answered_s * 1_000_000
    return BlackBoxRead(True, "ANSWER", answered_ms, by_leg=True, ended_us=answered_us + answered_ms * 1000)


@pytest.mark.parametrize(("step_s", "used_ms"), [(24, 20_000), (23, 8000)], ids=["explains it", "is not all"])
def test_length_that_no_step_explains_is_as_long_as_the_clocks_ran_evenly(step_s: int, used_ms: int) -> None:
    """As the call ended the switch's clock showed what ours never did. So it was stepped twice between two of our
    readings, and until the first of them, eight seconds after the answer, the call was alive."""
    session = away(20, (9, 10, step_s))
    assert decide_duration(session, by_stamps(session, 2, 46_000), NOW.wall_us, POLICY).used_ms == used_ms


@pytest.mark.parametrize(("answered_s", "used_ms"), [(-1, 0), (0, 10_000), (10, 0), (11, 0)])
def test_what_was_not_answered_before_the_steps_is_not_proven_to_have_lasted(answered_s: int, used_ms: int) -> None:
    session = away(20, (9, 10, 5))
    assert decide_duration(session, by_stamps(session, answered_s, 46_000), NOW.wall_us, POLICY).used_ms == used_ms


def test_answer_is_not_read_before_the_set_up() -> None:
    """A daemon that starts on the same boot reckons the answer by the time of day, and our clock knows better."""
    kept = replace(running(), boot="here", begun_mono_us=NOW.plus(-12).mono_us, apart_us=NOW.apart_us)
    for moved_s, read_s in ((-12, 12), (-13, 12), (-11, 11)):
        text = replace(kept, answered=NOW.plus(moved_s)).to_json()
        assert from_json(text, NOW, 1, "here").elapsed_ms(NOW.mono_us) == read_s * 1000
    elsewhere = from_json(replace(kept, answered=NOW.plus(-13)).to_json(), NOW, 1, "another boot")
    assert (elsewhere.elapsed_ms(NOW.mono_us), elsewhere.begun_mono_us) == (13_000, None)


@pytest.mark.parametrize(("set_up_s", "past_s"), [(30, 25), (25, 25), (20, 20)])
def test_answer_that_nobody_heard_is_not_inferred_before_the_set_up(set_up_s: int, past_s: int) -> None:
    """By its countdown the switch has forwarded for 25 s: its clock has been stepped."""
    ringing = replace(away(set_up_s), state=State.RINGING, ended=None)
    said = SwitchSaid(NOW.mono_us, leg("caller"), leg("callee", left_ms=95_000), alone=True)
    assert step(ringing, said, NOW, POLICY)[0].elapsed_ms(NOW.mono_us) == past_s * 1000


@pytest.mark.parametrize(("set_up_s", "lasted_s"), [(70, 60), (60, 60), (50, 50)])
def test_answer_is_not_moved_before_the_set_up_by_the_switchs_word(set_up_s: int, lasted_s: int) -> None:
    """By its countdown it has forwarded for a minute, by our reckoning for ten seconds."""
    taken = replace(running(anchored=False), begun_mono_us=NOW.plus(-set_up_s).mono_us)
    said = SwitchSaid(NOW.mono_us, leg("caller"), leg("callee", left_ms=60_000), alone=True)
    assert step(taken, said, NOW, POLICY)[0].elapsed_ms(NOW.mono_us) == lasted_s * 1000
