"""Words of the switch on sessions that have no runner here, for another daemon opened or ticks them. Pure.

Two daemons stand at one switch, and either may be asked what to do with a call; the one that leads finds the sessions
of the other's desk a moment later. What it has heard of them by then is not told again.
"""

from __future__ import annotations

from collections import OrderedDict

from charging.call.model import Session, State
from charging.call.storage import Record
from charging.call.switch_events import BridgeEntered, ChannelEnded, DialEnded, DialStarted, SwitchEvent
from charging.clock import MICROSECONDS
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
    """Sessions that this daemon's desk opened while another leads, until they are answered or over: that one ticks and
    books them. What their callers make of them is counted here all the same, where the next one is decided, and a
    forward that comes back is known."""

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
        """Return a session as it was opened, and who called; ``None`` if it was not opened here, or may have gone on.
        It is forgotten."""
        return self._sessions.pop(session, None)

    def unanswered(self, account: str, now_us: int) -> list[Session]:
        """Return the account's forwards that are not answered yet, dialled or not. ``now_us`` is monotonic."""
        since_us = now_us - self._longest_us
        records = (one for one, _ in self._sessions.values() if one.account == account)
        return [one for one in records if isinstance(one, Session) and one.opened.mono_us > since_us]

    def gave_up(self, event: SwitchEvent) -> tuple[str, str, bool] | None:
        """Who called, the account, and whether the forward was dialled, where the event ends a call that nobody
        answered."""
        if not isinstance(event, SetUpEvent) or (known := self._sessions.get(event.session)) is None:
            return None
        session, source = known
        if isinstance(event, DialStarted) and isinstance(session, Session):
            self._sessions[session.id] = replace(session, state=State.RINGING), source
        elif isinstance(event, BridgeEntered) or (isinstance(event, DialEnded) and event.answered):
            del self._sessions[session.id]
        elif isinstance(event, ChannelEnded) and event.leg == CALLER:
            del self._sessions[session.id]
            if isinstance(session, Session):  # of a message for sale it is not known here whether it was left
                return source, session.account, session.state is State.RINGING
        return None
