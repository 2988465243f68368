"""What one step of the core gives back, and what all its phases share. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from charging.clock import MICROSECONDS, Instant
from charging.session.commands import Command, HangUp, Tell
from charging.session.events import HangupOrdered
from charging.session.model import Policy, Session


class Step(NamedTuple):
    """The session after an event, and what is to be done now."""

    session: Session
    commands: tuple[Command, ...] = ()


class Context(NamedTuple):
    """What every handler is given besides the session and the event."""

    now: Instant
    policy: Policy

    def in_s(self, seconds: float) -> int:
        """The monotonic reading that many seconds from now."""
        return self.now.mono_us + round(seconds * MICROSECONDS)


def due(mono_us: int | None, context: Context) -> bool:
    """Whether a wake-up is set and has come."""
    return mono_us is not None and mono_us <= context.now.mono_us


def stay(session: Session, _event: object, _context: Context) -> Step:
    """For rows of the table where nothing is to be done."""
    return Step(session)


def hang_up(session: Session, event: HangupOrdered, _context: Context) -> Step:
    """End the call by its caller's leg; the dialplan's hang-up handler and the channels' ends do the rest."""
    ordered = replace(session, hangup_reason=event.reason, cut_by="operator")
    uid = session.caller_uid
    return Step(ordered, (HangUp(uid, event.reason), Tell("hangup_ordered", {"reason": event.reason})))
