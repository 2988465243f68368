"""The steps of the wall clock that came while nobody kept a session, of which its record knows nothing. Pure.

Where the record was kept on the machine that reads it, since the same boot, the clocks tell by how much they were
stepped in all, also where no daemon lived through it. Else only the steps count that this daemon has seen.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from charging.call.events import ClockJumped
from charging.call.model import Policy, Session
from charging.clock import Instant
from charging.records import replace


class SeenStep(NamedTuple):
    """One step, and when this daemon saw it."""

    seen_mono_us: int
    jumped: ClockJumped


def with_missed_steps(session: Session, seen: Iterable[SeenStep], now: Instant, boot: str, policy: Policy) -> Session:
    """A session that comes to life, with the steps that it missed; from now on it is kept on this ``boot``."""
    tolerance_us = policy.clock_jump_ms * 1000
    if boot and session.boot == boot:
        session = _by_its_own_clocks(session, seen, now, tolerance_us)
    else:
        session = _by_what_was_seen(session, seen, tolerance_us)
    return session.read_on(boot, now)


def _by_its_own_clocks(session: Session, seen: Iterable[SeenStep], now: Instant, tolerance_us: int) -> Session:
    """What the steps that were seen do not explain came before them, and after the call was last known to be alive."""
    missed = [one for one in seen if one.seen_mono_us > session.read_mono_us]
    stepped_us = now.apart_us - session.apart_us
    unseen_us = stepped_us - sum(one.jumped.by_us for one in missed)
    begun_within = missed and missed[0].jumped.since_mono_us < session.read_mono_us
    if begun_within and abs(unseen_us + missed[0].jumped.by_us) <= tolerance_us:
        del missed[0]  # the record was begun after it, and before it was seen
    elif abs(unseen_us) > tolerance_us:
        session = replace(session, vouched=False)  # or the machine slept, and its monotonic clock stood still
        until_us = missed[0].jumped.since_mono_us if missed else now.mono_us
        began_us = (session.answered or session.opened).mono_us
        since_us = min(until_us, max(session.read_mono_us, began_us + session.proven_ms * 1000))
        missed.insert(0, SeenStep(until_us, ClockJumped(unseen_us, since_us)))
    for one in missed:
        session = session.stepped(one.jumped.by_us, one.seen_mono_us, one.jumped.since_mono_us)
    return session


def _by_what_was_seen(session: Session, seen: Iterable[SeenStep], tolerance_us: int) -> Session:
    """Whether the answer was read before a step or after it is a guess, where both came in the same second. It is held
    for the later: nobody is cut too early, and a record that has the step in it is the smaller duration."""
    for seen_us, jumped in seen:
        by_us = jumped.by_us
        known = any(abs(by_us - one_us) <= tolerance_us for _, one_us in session.steps)
        # One that was opened before the step looks older by it: this one, seen late, came before that.
        surely_us = seen_us - by_us if by_us > 0 else jumped.since_mono_us
        if surely_us > (session.answered or session.opened).mono_us and not known:
            answered = session.answered and _later(session.answered, by_us)
            session = replace(session, opened=_later(session.opened, by_us), answered=answered)
            session = session.stepped(by_us, seen_us, jumped.since_mono_us)
    return session


def answered_as_noted(session: Session, noted: Instant | None, now: Instant, policy: Policy) -> Session | None:
    """Return a session whose answer is read again, and whose steps are those that came after it, by what the switch has
    ``noted`` as the leg was answered: the time of day, and how long its machine had been up. ``None`` if it has not, or
    if no sum of our steps explains by how much they differed: that machine's clocks are not ours."""
    if noted is None:
        return None
    steps, tolerance_us = session.steps, policy.clock_jump_ms * 1000
    since_us = [sum(by_us for _, by_us in steps[first:]) for first in range(len(steps), -1, -1)]
    wrong_us = [abs(now.apart_us - one_us - noted.apart_us) for one_us in since_us]
    if (least_us := min(wrong_us)) > tolerance_us:
        return None
    count = wrong_us.index(least_us)
    answered = Instant(min(now.mono_us, noted.wall_us - (now.apart_us - since_us[count])), noted.wall_us)
    seen_ms = ((session.stepped_mono_us or now.mono_us) - answered.mono_us) // 1000
    moved_ms = ((session.answered or answered).mono_us - answered.mono_us) // 1000
    since_ms, after = dict(session.unwatched), steps[len(steps) - count :]
    placed = [max(1, at_ms + moved_ms if at_ms else seen_ms) for at_ms, _ in after]
    return replace(
        session,
        answered=answered,
        answered_us=noted.wall_us if session.inferred or session.answered_us is None else session.answered_us,
        inferred=False,
        steps=tuple((ms, by_us) for ms, (_, by_us) in zip(placed, after, strict=True)),
        unwatched=tuple(
            (ms, max(0, since_ms.get(at_ms, at_ms) + moved_ms)) for ms, (at_ms, _) in zip(placed, after, strict=True)
        ),
    )


def _later(read: Instant, by_us: int) -> Instant:
    """A reading of before a step, whose monotonic part was found out by a time of day of after it."""
    return Instant(read.mono_us + by_us, read.wall_us)


def unstepped_ms(its_ms: int, stepped_ms: int, mine_ms: int) -> int:
    """Return the length in ms, with or without the steps of the switch's wall clock: the one that fits ours better."""
    return min(its_ms, its_ms - stepped_ms, key=lambda one: abs(one - mine_ms))
