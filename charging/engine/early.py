"""Words of the switch on sessions that have no runner here, for another daemon opened or ticks them. Pure.

Two daemons stand at one switch, and either may be asked what to do with a call; the one that leads finds the sessions
of the other's desk a moment later. What it has heard of them by then is not told again.
"""

from __future__ import annotations

from collections import OrderedDict

from charging.call.model import Session, State
from charging.call.storage import Record
from charging.call.switch_events import BridgeEntered, ChannelEnded, DialEnded, DialStarted, SwitchEvent
from charging.clock import MICROSECONDS, Instant
from charging.engine.closed import ClosedRecords
from charging.records import replace

SESSIONS_MAX = 2_000
TRUNKS_MAX = 2
"""A forward is dialled by so many, one after the other."""
EVENTS_MAX = 8
"""Of one session: it is dialled by each trunk, and its caller hangs up."""

CALLER = "caller"
"""The mark of a caller's channel."""

SetUpEvent = DialStarted | DialEnded | BridgeEntered | ChannelEnded


class EarlyEvents:
    """The events of set-ups whose sessions are not open here yet."""

    def __init__(self, closed: ClosedRecords | None) -> None:
        """``closed``: sessions that closed lately, whose callers' ends come late; ``None``: no other daemon opens any,
        and so every caller's end is such a one."""
        self._closed = closed
        self._events: OrderedDict[str, list[SetUpEvent] | None] = OrderedDict()
        """``None``: it was answered. When, the switch knows better, which is asked."""

    def keep(self, event: SwitchEvent) -> bool:
        """Keep an event until its session opens here; ``False``: it is of no set-up, or of a session that is over."""
        if not isinstance(event, SetUpEvent):
            return False
        if isinstance(event, ChannelEnded) and (event.leg != CALLER or self._is_over(event.session)):
            return False
        kept = self._events.setdefault(event.session, [])
        self._events.move_to_end(event.session)
        while len(self._events) > SESSIONS_MAX:
            self._events.popitem(last=False)
        if isinstance(event, BridgeEntered) or (isinstance(event, DialEnded) and event.answered):
            self._events[event.session] = None
        elif kept is not None and len(kept) < EVENTS_MAX:
            kept.append(event)
        return True

    def _is_over(self, session: str) -> bool:
        return self._closed is None or self._closed.get(session) is not None

    def take(self, session: str) -> list[SetUpEvent]:
        """Return what was kept of a session that opens here, in its order, and forget it."""
        return self._events.pop(session, None) or []


class OpenedAside:
    """Sessions that this daemon's desk opened while another leads: that one ticks and books them. What comes of them is
    counted here all the same, where the next call is decided, and a forward that comes back is known."""

    def __init__(self, trunk_s: int) -> None:
        """A forward rings for ``trunk_s`` at most at each trunk: an older one has ended, and we have not heard of
        it."""
        self._longest_us = TRUNKS_MAX * trunk_s * MICROSECONDS
        self._sessions: OrderedDict[str, tuple[Record, str]] = OrderedDict()
        """Each as far as it is known here, and who called."""

    def add(self, session: Record, source: str) -> None:
        """Add a session that has just opened."""
        self._sessions[session.id] = session, source
        while len(self._sessions) > SESSIONS_MAX:
            self._sessions.popitem(last=False)

    def take(self, session: str) -> tuple[Record, str] | None:
        """Return a session that never reached the switch, and who called; ``None`` if it was not opened here. It is
        forgotten."""
        return self._sessions.pop(session, None)

    def unanswered(self, account: str, now: Instant) -> list[Session]:
        """Return the account's forwards that are not answered yet, dialled or not."""
        since_us = now.mono_us - self._longest_us
        calls = (one for one, _ in self._sessions.values() if isinstance(one, Session) and one.account == account)
        return [one for one in calls if one.answered is None and one.opened.mono_us > since_us]

    def over(self, event: SwitchEvent, now: Instant) -> tuple[Session, str, int] | None:
        """A forward, as far as it is known here, who called, and for how many seconds it was answered, where the event
        ends it."""
        if not isinstance(event, SetUpEvent) or (known := self._sessions.get(event.session)) is None:
            return None
        session, source = known
        if not isinstance(session, Session):
            return None  # of a message for sale it is not known here whether it was left
        if isinstance(event, DialStarted):
            self._sessions[session.id] = replace(session, state=State.RINGING, callee_uid=event.callee_uid), source
        elif isinstance(event, ChannelEnded) and event.leg == CALLER:
            del self._sessions[session.id]
            talked_us = 0 if session.answered is None else now.mono_us - session.answered.mono_us
            return session, source, -(-talked_us // MICROSECONDS)
        elif session.answered is None and (isinstance(event, BridgeEntered) or _is_answer(event)):
            self._sessions[session.id] = replace(session, answered=now), source
        return None


def _is_answer(event: SetUpEvent) -> bool:
    return isinstance(event, DialEnded) and event.answered
