"""Asking the switch for its channels, once for all who want to know.

A question must be answered by a look that began after it was put: "that channel is not there" would else be said of a
channel that came meanwhile. So whoever asks while a look is on its way waits for the next one.
"""

from __future__ import annotations

import asyncio

from charging.errors import ActionRefused
from charging.session.events import SwitchSaid
from charging.session.ports import Legs, Look, Switch


class Looker:
    """Shares one look at a time among any number of askers."""

    def __init__(self, switch: Switch) -> None:
        self._switch = switch
        self._lock = asyncio.Lock()
        self._begun = 0
        self._last: Look | None = None

    async def look(self) -> Look:
        """A look that began after this call. Raises SwitchError."""
        wanted = self._begun + 1
        async with self._lock:
            if self._last is None or self._begun < wanted:
                self._begun += 1
                self._last = None
                self._last = await self._switch.look()
            return self._last


def switch_said(look: Look, session: str) -> SwitchSaid:
    """What a look says of one session. Raises ActionRefused where it cannot be believed."""
    if session in look.doubtful:
        raise ActionRefused("a stranger has written into what the switch says of this session's channel")
    legs = look.legs.get(session, Legs())
    return SwitchSaid(look.asked_mono_us, legs.caller, legs.callee)
