"""Which evidence a call's length is decided by, where record, stamps and our own clock say different things."""

from __future__ import annotations

from dataclasses import replace

import pytest

from charging.call.events import BlackBoxRead
from charging.call.finished import contradicting_ms, decide_duration
from charging.call.model import STEPS_MAX, Proof, Session
from tests.unit.call.test_table import NOW, POLICY, running


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


def test_time_before_the_forward_is_not_billed_though_no_event_was_heard() -> None:
    """The daemon was away: the record alone tells, and it is the leg's own."""
    session = running(anchored=False)
    duration = decide_duration(session, by_leg(4000), NOW.wall_us, POLICY)
    assert (duration.used_ms, duration.billed_s, duration.overrun_s) == (4000, 4, 0)


@pytest.mark.parametrize(
    ("lasted_ms", "used_ms", "proof"),
    [
        (40_000, 40_000, Proof.BLACK_BOX),
        (38_000, 40_000, Proof.BLACK_BOX),
        (37_999, 37_999, Proof.CLOCK_JUMP),
        (42_000, 40_000, Proof.BLACK_BOX),
        (42_001, 40_000, Proof.CLOCK_JUMP),
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
