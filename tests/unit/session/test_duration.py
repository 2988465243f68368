"""Which evidence a call's length is decided by, where record, stamps and our own clock say different things."""

from __future__ import annotations

from dataclasses import replace

import pytest

from charging.session.duration import contradicting_ms, decide_duration
from charging.session.events import BlackBoxRead
from charging.session.model import Proof, Session
from tests.unit.session.test_core import NOW, POLICY, running


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


def test_record_of_the_callers_up_time_yields_to_the_events() -> None:
    """Written by a dialplan of before, of a caller who had been answered by a welcome message."""
    duration = decide_duration(ended(), BlackBoxRead(True, "ANSWER", 25_000), NOW.wall_us, POLICY)
    assert (duration.used_ms, duration.proof) == (10_000, Proof.CLOCK_JUMP)


def test_clock_that_stepped_is_no_finding_and_bills_the_smaller_length() -> None:
    session = ended(left_us=NOW.plus(30).wall_us, stepped_us=30_000_000)
    duration = decide_duration(session, by_leg(40_000), NOW.wall_us, POLICY)
    assert (duration.used_ms, duration.proof) == (10_000, Proof.CLOCK_JUMP)
    assert contradicting_ms(session, by_leg(40_000), duration, POLICY) is None


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
