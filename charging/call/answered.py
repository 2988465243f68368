"""When a running call was answered, where our clocks cannot tell or the switch knows better. Pure."""

from __future__ import annotations

from charging.call import told
from charging.call.commands import Step, Tell
from charging.call.events import Leg
from charging.call.missed_steps import answered_as_noted, unstepped_ms
from charging.call.model import Context, Session
from charging.clock import MICROSECONDS, Instant
from charging.records import replace

DEADLINE_TOLERANCE_MS = 1000
"""The switch's remaining time may differ by so much from ours before it is set again."""


def anchored(session: Session, callee: Leg, asked_mono_us: int, context: Context) -> Step:
    """Find out when the call was answered, by a switch that counts down by its wall clock. If it has noted how long its
    machine had been up, and that machine is ours, we know. Else our reckoning holds if its countdown fits a deadline
    that it was given, with or without the steps seen, or if the leg's age fits. Else a clock is wrong, and the switch's
    word holds: it was true at some moment since the question, and the latest is taken, so that no call is cut too
    early. By now the answer counts as heard in time."""
    assert session.answered is not None, "a running call was answered"
    due_now = replace(session, anchored=True, tick_mono_us=context.now.mono_us)
    told_us = min(context.now.mono_us, asked_mono_us + DEADLINE_TOLERANCE_MS * 1000)
    mine_ms = (told_us - session.answered.mono_us) // 1000
    left_ms = callee.time_left_ms
    if left_ms is None:
        return Step(due_now)
    given = (session.covered_s, session.enforced_s, *session.doubtful_s)
    if (noted := answered_as_noted(due_now, callee.answered, context.now, context.policy)) is not None:
        return _anchored_by_note(noted, given, left_ms, told_us, mine_ms, context)
    jump_ms, stepped_ms = context.policy.clock_jump_ms, session.stepped_us // 1000
    fitting = [second for second in given if abs(second * 1000 - left_ms - mine_ms) <= jump_ms]
    if fitting:
        return Step(replace(due_now, enforced_s=fitting[0]))
    if any(abs(second * 1000 - left_ms - stepped_ms - mine_ms) <= jump_ms for second in given):
        return Step(replace(due_now, enforced_s=(mine_ms + left_ms + 500) // 1000))  # the step has moved it
    since_ms = callee.since_answer_ms
    if since_ms is None:
        its_ms, enforced_s = _counted(session, given, left_ms, mine_ms)
        its_ms = unstepped_ms(its_ms, stepped_ms, mine_ms)
    else:
        its_ms = unstepped_ms(since_ms, stepped_ms, mine_ms)
        enforced_s = (its_ms + left_ms + 500) // 1000
        # If the switch counts to a later second, the record is old: a fail-over lost ticks, or a copy was restored.
        due_now = replace(due_now, ahead=enforced_s > session.covered_s)
        if abs(its_ms - mine_ms) <= jump_ms:
            return Step(replace(due_now, enforced_s=enforced_s))
    its_ms = min(its_ms, session.since_set_up_ms(told_us))  # answered after the set-up, whatever a clock says
    stamp_us = session.answered.wall_us if session.answered_us is None or session.inferred else session.answered_us
    moved = replace(due_now, answered=Instant(told_us - its_ms * 1000, stamp_us), enforced_s=enforced_s)
    return Step(moved, (Tell(told.AnswerMoved(mine_ms - its_ms)),))


def _anchored_by_note(
    noted: Session, given: tuple[int, ...], left_ms: int, told_us: int, mine_ms: int, context: Context
) -> Step:
    """The answer is known. The switch cuts where its countdown ends. If no step that came since explains why that is
    later than what the record knows of, the record is old."""
    its_ms, jump_ms = noted.elapsed_ms(told_us), context.policy.clock_jump_ms
    shifts_ms = [sum(by_us for _, by_us in noted.steps[first:]) // 1000 for first in range(len(noted.steps) + 1)]
    explained = any(abs(one * 1000 - left_ms - its_ms - by_ms) <= jump_ms for one in given for by_ms in shifts_ms)
    enforced_s = (its_ms + left_ms + 500) // 1000
    known = replace(noted, enforced_s=enforced_s, ahead=not explained and enforced_s > noted.covered_s)
    return Step(known, (Tell(told.AnswerMoved(mine_ms - its_ms)),) if abs(its_ms - mine_ms) > jump_ms else ())


def heard_at_once(session: Session, callee: Leg, context: Context) -> Session:
    """Move back an answer whose event came a little late, since every deadline would lie as far behind the money (R23).
    The smaller of two latenesses counts, so that no call is cut too early: by the event's stamp (the switch may have a
    clock of its own), and by the leg's age (a step of that clock makes it longer)."""
    if session.answered is None or session.answered_us is None or callee.since_answer_ms is None:
        return session
    by_stamp_us = session.answered.wall_us - session.answered_us
    by_leg_us = (callee.since_answer_ms - session.elapsed_ms(context.now.mono_us)) * 1000
    late_us = max(0, min(by_stamp_us, by_leg_us))
    return replace(session, answered=session.answered.plus(-late_us / MICROSECONDS)) if late_us else session


def _counted(session: Session, given: tuple[int, ...], left_ms: int, mine_ms: int) -> tuple[int, int]:
    """How many ms the call has lasted by the countdown alone, and to which of the ``given`` seconds it counts: for a
    dialplan that does not say when the leg answered."""
    known_alive = [second for second in given if second * 1000 - left_ms >= session.proven_ms - DEADLINE_TOLERANCE_MS]
    second = min(known_alive or given, key=lambda one: abs(one * 1000 - left_ms - mine_ms))
    return second * 1000 - left_ms, second
