"""Words of the switch on sessions that have no runner here, for another daemon opened or ticks them. Pure.

Two daemons stand at one switch, and either may be asked what to do with a call; the one that leads finds the sessions
of the other's desk a moment later. What it has heard of them by then is not told again.
"""

from __future__ import annotations

from collections import OrderedDict

from charging.call.switch_events import BridgeEntered, ChannelEnded, DialEnded, DialStarted, SwitchEvent
from charging.engine.closed import ClosedRecords

SESSIONS_MAX = 2_000
EVENTS_MAX = 8
"""Of one session: it is dialled by two trunks at most, and its caller hangs up."""

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
    """Sessions that this daemon's desk opened while another leads: that one ticks and books them. What their callers
    make of them is counted here all the same, where the next one is decided."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, tuple[str, str, bool]] = OrderedDict()
        """Who called, the account, and whether the forward was dialled."""

    def add(self, session: str, source: str, account: str) -> None:
        """Add a session that has just opened."""
        self._sessions[session] = source, account, False
        while len(self._sessions) > SESSIONS_MAX:
            self._sessions.popitem(last=False)

    def gave_up(self, event: SwitchEvent) -> tuple[str, str, bool] | None:
        """Who called, the account, and whether the forward was dialled, where the event ends a call that nobody
        answered."""
        if not isinstance(event, SetUpEvent) or (known := self._sessions.get(event.session)) is None:
            return None
        if isinstance(event, DialStarted):
            self._sessions[event.session] = *known[:2], True
        elif isinstance(event, BridgeEntered) or (isinstance(event, DialEnded) and event.answered):
            del self._sessions[event.session]
        elif isinstance(event, ChannelEnded) and event.leg == CALLER:
            return self._sessions.pop(event.session)
        return None
