"""Looks at the switch's channels, each shared by all who ask at the time.

A question must be answered by a look that began after it was asked: an older look would report a channel as missing
that has come meanwhile. So a question that comes during a look waits for the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from charging.call.commands import AskSwitch
from charging.call.events import SwitchSaid
from charging.call.storage import Record
from charging.call.voicemail import Voicemail
from charging.engine.ports import Legs, Look, Switch
from charging.errors import SwitchError
from charging.records import replace

ASKED_ALONE_MAX = 8
"""Channels of one session; two are usual."""


class Looker:
    """Shares one look at a time among any number of askers."""

    def __init__(self, switch: Switch) -> None:
        self._switch = switch
        self._lock = asyncio.Lock()
        self._begun = 0
        self._wanting = 0
        """Askers that a look has not been given to yet."""
        self._last: Look | None = None

    async def look(self) -> Look:
        """Return a look that began after this call. Raises SwitchError."""
        wanted = self._begun + 1
        self._wanting += 1
        try:
            async with self._lock:
                if self._last is None or self._begun < wanted:
                    self._begun += 1
                    self._last = None
                    self._last = await self._switch.look()
                return self._last
        finally:
            self._wanting -= 1
            if not self._wanting:
                self._last = None  # with thousands of calls it is large

    async def ask(
        self, asked: Sequence[tuple[Record, AskSwitch]], now_us: int
    ) -> list[SwitchSaid | SwitchError | None]:
        """Ask the switch about each session's channels, each channel alone, all in one write. The answer is ``None`` if
        the channel that matters is not there: see :meth:`ask_everywhere`."""
        answers = await self._switch.look_at([(record.id, _known_uids(record, ask)) for record, ask in asked])
        return [
            one
            if isinstance(one, SwitchError)
            else SwitchSaid(now_us, one.caller, one.callee, one.others, caller_asked=not ask.leg_only)
            if _is_found(record, one)
            else None
            for (record, ask), one in zip(asked, answers, strict=True)
        ]

    async def ask_everywhere(self, record: Record, ask: AskSwitch, now_us: int) -> SwitchSaid:
        """Ask about one session's channels, unknown ones too: a list of all channels names them, and each is asked
        about alone. Raises SwitchError."""
        listed = (await self.look()).legs.get(record.id, Legs()).uids
        known = _known_uids(record, replace(ask, leg_only=False))
        uids = tuple(dict.fromkeys((*known, *listed)))[:ASKED_ALONE_MAX]
        (legs,) = await self._switch.look_at([(record.id, uids)])
        if isinstance(legs, SwitchError):
            raise legs
        return _said(legs, now_us, alone=True)


def switch_said(look: Look, session: str) -> SwitchSaid:
    """What a list of all channels says of one session."""
    return _said(look.legs.get(session, Legs()), look.asked_mono_us, alone=False)


def _said(legs: Legs, asked_mono_us: int, *, alone: bool) -> SwitchSaid:
    return SwitchSaid(asked_mono_us, legs.caller, legs.callee, legs.others, alone, nameless=legs.nameless)


def _is_found(record: Record, legs: Legs) -> bool:
    """Whether the session's main channel is there."""
    return (legs.caller if isinstance(record, Voicemail) else legs.callee) is not None


def _known_uids(record: Record, ask: AskSwitch) -> tuple[str, ...]:
    names = ("callee_uid",) if ask.leg_only else ("callee_uid", "caller_uid")
    uids = (*(getattr(record, name, "") for name in names), *ask.listed)
    return tuple(dict.fromkeys(filter(None, uids)))[:ASKED_ALONE_MAX]
