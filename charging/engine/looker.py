"""Asking the switch for its channels, once for all who want to know.

A question must be answered by a look that began after it was put: "that channel is not there" would else be said of a
channel that came meanwhile. So whoever asks while a look is on its way waits for the next one.
"""

from __future__ import annotations

import asyncio

from charging.call.events import SwitchSaid
from charging.call.storage import Record
from charging.call.voicemail import Voicemail
from charging.engine.ports import Legs, Look, Switch

ASKED_ALONE_MAX = 8
"""Channels of one session; two are usual."""


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

    async def ask(self, record: Record, now_us: int, *, everywhere: bool) -> SwitchSaid:
        """What the switch says of one session's channels, each asked about alone. The list of all channels tells only
        which those are, and is read only where the one that matters is not there, or ``everywhere``. Raises
        SwitchError."""
        known = _known_uids(record)
        legs = await self._switch.look_at(record.id, known)
        found = legs.caller if isinstance(record, Voicemail) else legs.callee
        if found is not None and not everywhere:
            return _said(legs, now_us, alone=True)
        listed = (await self.look()).legs.get(record.id, Legs()).uids
        if set(listed) - set(known):
            uids = tuple(dict.fromkeys((*known, *listed)))[:ASKED_ALONE_MAX]
            legs = await self._switch.look_at(record.id, uids)
        return _said(legs, now_us, alone=True)


def switch_said(look: Look, session: str) -> SwitchSaid:
    """What a list of all channels says of one session."""
    return _said(look.legs.get(session, Legs()), look.asked_mono_us, alone=False)


def _said(legs: Legs, asked_mono_us: int, *, alone: bool) -> SwitchSaid:
    return SwitchSaid(asked_mono_us, legs.caller, legs.callee, legs.others, alone)


def _known_uids(record: Record) -> tuple[str, ...]:
    names = ("callee_uid", "caller_uid")
    return tuple(uid for uid in (getattr(record, name, "") for name in names) if uid)
