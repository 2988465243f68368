"""Who has called one number often lately, and nobody paid for it.

A forward that is given up while it rings, or a paid voicemail without a message, costs its caller nothing, and leaves
two lines in the journal and a CDR, which stay for years. One caller with a program makes a dozen a second of them, some
gigabytes a day. So what he leaves by calling one number is bounded, and beyond it he finds that number busy before
anything is looked up. All numbers together are not: a call centre shows one number for many calls to many people, and a
stranger who writes another's number must not keep him from all.
"""

from __future__ import annotations

from collections import OrderedDict

from charging.call.model import Session
from charging.call.storage import Record
from charging.clock import MICROSECONDS, Clock

SAVED_MINUTES = 3
"""Who has not called for so long may give up so many minutes' calls at once."""
SOURCES_MAX = 10_000
"""Pairs of a caller and a number that we know. In a flood of more the one that was seen longest ago is forgotten."""
DIGITS = 9
"""The last ones of a number: it may be written in several ways."""


def source_of(number: str, caller: str) -> str:
    """Whose calls count together: one caller's to one number. Callers without a number are one."""
    return f"{caller[-DIGITS:]} to {number[-DIGITS:]}"


class GivenUp:
    """Counts the calls that ended without anything charged, by who made them: so many a minute, and what was saved."""

    def __init__(self, clock: Clock, a_minute: int) -> None:
        """``a_minute``: so many are let of each source in the long run; 0: as many as come."""
        self._clock = clock
        self._each_us = 60 * MICROSECONDS // a_minute if a_minute else 0
        self._made_up_us: OrderedDict[str, int] = OrderedDict()
        """When (monotonic) a source's calls will be made up for, if no more come; who was seen last stands last."""
        self._sources: dict[str, str] = {}
        """Of the open sessions."""

    def is_beyond(self, source: str) -> bool:
        """Whether this source has used up what it may."""
        ahead_us = self._made_up_us.get(source, 0) - self._clock.now().mono_us
        return ahead_us + self._each_us > SAVED_MINUTES * 60 * MICROSECONDS

    def opened(self, session: str, source: str) -> None:
        """Note who has begun this session."""
        self._sources[session] = source

    def closed(self, session: str, *, was_charged: bool) -> None:
        """Count a session that is closed here."""
        source = self._sources.pop(session, None)
        if source is None or was_charged or not self._each_us:
            return
        now_us = self._clock.now().mono_us
        self._made_up_us[source] = max(now_us, self._made_up_us.get(source, 0)) + self._each_us
        self._made_up_us.move_to_end(source)
        if len(self._made_up_us) > SOURCES_MAX:
            self._made_up_us.popitem(last=False)


def was_charged(closed: Record, booked: Record | None) -> bool:
    """Whether a session that has closed has cost its account anything: money, free seconds or included messages.
    ``booked`` is the session as it was booked; ``None`` if that is not known, which counts as paid."""
    if isinstance(closed, Session):
        return closed.duration is None or closed.duration.billed_s > 0
    pending = None if booked is None or isinstance(booked, Session) else booked.pending
    return pending is None or any(leg.posted for leg in pending.legs)
