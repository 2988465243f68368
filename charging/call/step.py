"""What one step of the core gives back, and what all its phases share. Pure."""

from __future__ import annotations

from typing import NamedTuple

from charging.call import told
from charging.call.commands import AskSwitch, Command, HangUp, Tell
from charging.call.events import HangupOrdered, SwitchSaid
from charging.call.model import Policy, Session
from charging.clock import MICROSECONDS, Instant
from charging.frozen import replace


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
    """Someone wants the call to end."""
    return order_end(session, event.reason, "operator", told.HangupOrdered(event.reason))


def order_end(session: Session, reason: str, cut_by: str, why: told.Told) -> Step:
    """End the call: the caller's channel, and whatever else the switch says is a channel of the session. The caller's
    own may be gone by now (a Local channel that was optimised away), and what events named need not be ours."""
    ordered = replace(session, hangup_reason=reason, cut_by=cut_by)
    return Step(ordered, (Tell(why), HangUp(session.caller_uid, reason), AskSwitch(everywhere=True)))


def hang_up_all(session: Session, event: SwitchSaid, context: Context) -> Step:
    """The end of this call is ordered: every channel of it that is still there, until there is none."""
    legs = [leg for leg in (event.callee, event.caller, *event.others) if leg is not None]
    waiting = replace(session, check_mono_us=context.in_s(context.policy.retry_s))
    return Step(waiting, tuple(HangUp(leg.uid, session.hangup_reason) for leg in legs))
