"""What calls leave that cost their callers nothing: how often a caller may give up, or come to a mailbox, and how many
forwards an account may have dialled for nothing. The desk asks before the next call.
"""

from __future__ import annotations

from charging.call.decide import source_of
from charging.call.events import BlackBoxRead
from charging.call.fax import Fax
from charging.call.model import Policy, Session
from charging.call.storage import Record
from charging.call.voicemail import Voicemail
from charging.clock import Clock
from charging.engine import told
from charging.engine.ports import Observer
from charging.engine.runner import leg_of
from charging.limits import GIVEN_UP_SAVED, HOUR, MINUTE_US, InVain, Limits
from charging.pricing.rate import cost_of_seconds

NOBODY = " "
"""How the source of a caller without a number begins."""


class Uncharged:
    """Counts them as they end."""

    def __init__(self, policy: Policy, clock: Clock, observe: Observer) -> None:
        a_minute = policy.given_up_a_minute
        self._clock = clock
        self.given_up = Limits(a_minute, saved_minutes=GIVEN_UP_SAVED) if a_minute else None
        """Of one caller to one number, the calls that ended without anything charged."""
        an_hour = policy.messages_an_hour
        self.messages = Limits(an_hour, saved_minutes=HOUR, minutes=HOUR) if an_hour else None
        """Of one caller to one number, the messages that were left."""
        self.in_vain = InVain(a_minute, clock, lambda account: observe(told.ForwardsInVain(account)))

    def closed(self, session: Record, booked: Record | None, source: str, talked_s: int) -> None:
        """A session of this daemon's has closed, of a call of ``talked_s`` billed seconds. ``booked``: as it was
        booked; ``source``: who called, and whom; empty if that is not counted."""
        self._count(session, source, talked_s, charged=_was_charged(session, booked))

    def message_left(self, box: BlackBoxRead) -> None:
        """In a call for which none was sold, by the switch's record. Of an hour ago it counts for nothing."""
        if self._clock.now().wall_us - (box.ended_us or 0) < HOUR * MINUTE_US:
            self._count_message(source_of(box.caller, box.number))

    def _count_message(self, source: str) -> None:
        """Callers without a number are many, and none is kept out for another."""
        if self.messages is not None and source and not source.startswith(NOBODY):
            self.messages.count(source, self._clock.now().mono_us)

    def ended_aside(self, session: Session, source: str, talked_s: int) -> None:
        """A call of this desk's that another daemon ticked has ended."""
        self._count(session, source, talked_s, charged=talked_s > 0)

    def _count(self, call: Record, source: str, talked_s: int, *, charged: bool) -> None:
        if self.given_up is not None and source and not charged:
            self.given_up.take(source, self._clock.now().mono_us)
        if isinstance(call, Voicemail) and charged:
            self._count_message(source)
        if not isinstance(call, Fax) and (call.dial_status or leg_of(call)):
            self._count_dialled(call, talked_s)

    def _count_dialled(self, call: Session | Voicemail, talked_s: int) -> None:
        """Count a forward that was dialled, also one whose caller came to voicemail: nobody was reached. Where no
        second costs anything, no forward leaves anything uncharged; and talk that has cost nothing forgives none."""
        if not talked_s:
            if not isinstance(call, Session) or _costs(call, call.rate.max_call_s):
                self.in_vain.ended(call.account, call.target)
        elif talked_s >= 60 and isinstance(call, Session) and _costs(call, talked_s):
            self.in_vain.forgive(call.account, call.target, talked_s // 60)


def _costs(call: Session, seconds: int) -> bool:
    return cost_of_seconds(call.rate, call.opened.wall_us, seconds) > 0


def _was_charged(closed: Record, booked: Record | None) -> bool:
    """Whether a session that has closed has cost its account anything: money, free seconds or included messages.
    ``booked`` is the session as it was booked; ``None`` if that is not known, which counts as paid."""
    if isinstance(closed, Session):
        return closed.duration is None or closed.duration.billed_s > 0
    pending = None if booked is None or isinstance(booked, Session) else booked.pending
    return pending is None or any(leg.posted for leg in pending.legs)
