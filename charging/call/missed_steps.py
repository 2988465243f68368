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
from charging.frozen import replace


class SeenStep(NamedTuple):
    """One step, and when this daemon saw it."""

    seen_mono_us: int
    jumped: ClockJumped


def with_missed_steps(session: Session, seen: Iterable[SeenStep], now: Instant, boot: str, policy: Policy) -> Session:
    """A session that comes to life, with the steps that it missed; from now on it is kept on this ``boot``."""
    tolerance_us = policy.clock_jump_ms * 1000
    unknown = [
        one for one in seen if not any(abs(one.jumped.by_us - by_us) <= tolerance_us for _, by_us in session.steps)
    ]
    if boot and session.boot == boot:
        session = _by_its_own_clocks(session, unknown, now, tolerance_us)
    else:
        session = _by_what_was_seen(session, unknown)
    return replace(session, boot=boot, apart_us=now.apart_us)


def _by_its_own_clocks(session: Session, unknown: list[SeenStep], now: Instant, tolerance_us: int) -> Session:
    """What the steps that were seen do not explain came before them, and after the call was last known to be alive."""
    began_us = (session.answered or session.opened).mono_us
    missed = [one for one in unknown if one.seen_mono_us >= began_us]
    unseen_us = now.apart_us - session.apart_us - sum(one.jumped.by_us for one in missed)
    if abs(unseen_us) > tolerance_us:
        until_us = missed[0].jumped.since_mono_us if missed else now.mono_us
        since_us = min(until_us, began_us + session.proven_ms * 1000)
        missed.insert(0, SeenStep(until_us, ClockJumped(unseen_us, since_us)))
    for one in missed:
        session = session.stepped(one.jumped.by_us, one.seen_mono_us, one.jumped.since_mono_us)
    return session


def _by_what_was_seen(session: Session, unknown: list[SeenStep]) -> Session:
    """A step to which it was set back may be missed: then the record is the smaller duration anyway."""
    for seen_us, jumped in unknown:
        by_us = jumped.by_us
        # One that was opened before the step looks older by it: this one, seen late, came before that.
        if seen_us - max(0, by_us) >= (session.answered or session.opened).mono_us:
            answered = session.answered and _later(session.answered, by_us)
            session = replace(session, opened=_later(session.opened, by_us), answered=answered)
            session = session.stepped(by_us, seen_us, jumped.since_mono_us)
    return session


def _later(read: Instant, by_us: int) -> Instant:
    """A reading of before a step, whose monotonic part was found out by a time of day of after it."""
    return Instant(read.mono_us + by_us, read.wall_us)
