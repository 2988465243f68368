"""A call through the operator's own dialplan, from a caller of ours to a far end of ours, without a trunk.

The caller enters where the carrier's calls do. Channel variables, which no SIP header can set, put the context
``charging-rehearsal`` in the place of the trunk for this call alone. Everything between the two ends is what a
customer's call meets: the operator's contexts, our dialplan, the daemon, its ledger. (`charging check --call`)
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

from charging.asterisk import variables
from charging.asterisk.message import AmiMessage
from charging.asterisk.numbers import scaled, whole
from charging.asterisk.probe import Inside
from charging.asterisk.reply import Orders
from charging.clock import MICROSECONDS, Clock

ARRIVES_S = 45.0
"""From the order to the forward's dialling, with welcome messages and queues of the operator's between."""
ANSWERED_S = 10.0
OVERTIME_S = 12.0
"""So long after the end of its money the call is waited for, then ended."""
TELLS_S = 3.0
CALLER_TIMEOUT_MS = 60_000
_LIMIT = re.compile(r",[^,]*,[^,]*S\((\d*)\)")
"""Among the options of Dial, its third argument."""


@dataclass
class Seen:
    """What was seen of the call at the switch."""

    refused: bool = False
    """The switch could not begin it: the context has no such extension, or ended it at once."""
    entered: bool = False
    """It came to ``charging-incoming``, as far as the channel that we see tells."""
    decision: str = ""
    """As the dialplan was told, where the call did not leave the channel that we see."""
    dialled: str = ""
    """The forward, as it was dialled."""
    strayed: str = ""
    """What was dialled in the place of our far end."""
    quota: str | None = None
    """The limit among the options of Dial; empty: none at all."""
    answered_us: int | None = None
    """By the switch's own stamps, as the next."""
    ended_us: int | None = None
    cut: bool = False
    """It ended before we ended it."""
    heard: str = ""
    """As ``variables.HEARD``."""
    heard_ms: int = 0
    """After the answer, by our clock."""

    @property
    def talked_ms(self) -> int | None:
        if self.answered_us is None or self.ended_us is None:
            return None
        return (self.ended_us - self.answered_us) // 1000


class Rehearsal:
    """One such call. ``observe`` must be given every event."""

    def __init__(self, link: Orders, clock: Clock) -> None:
        self._inside = Inside(link, clock)
        self._uid = f"{variables.REHEARSAL_UID}{secrets.token_hex(8)}"
        self._dialler = self._far = self._far_uid = ""
        self._ended = False
        """By us: what is told from then on is no news."""
        self.seen = Seen()

    def observe(self, message: AmiMessage) -> None:
        """Take note of what is about this call."""
        seen = self.seen
        if message.event == "OriginateResponse" and message.get("ActionID") == self._uid:
            seen.refused = message.response == "Failure" and not self._ended
        elif self._uid not in message.get("Linkedid"):
            return
        elif message.event == "DialBegin":
            self._dialling(message)
        elif message.get("Uniqueid") != self._far_uid or not self._far_uid:
            return
        elif message.event == "BridgeEnter" and seen.answered_us is None:
            seen.answered_us = scaled(message.get("Timestamp"), 6)
        elif message.event == "BridgeLeave":
            seen.ended_us = scaled(message.get("Timestamp"), 6)

    def _dialling(self, message: AmiMessage) -> None:
        if f"@{variables.REHEARSAL_CONTEXT}-" in message.get("DestChannel"):
            self._dialler, self._far_uid = message.get("Uniqueid"), message.get("DestUniqueid")
            self._far = f"{message.get('DestChannel').removesuffix(';1')};2"
            self.seen.dialled = message.get("DialString")
        elif message.channel_variable(variables.SESSION):
            self.seen.strayed = self.seen.strayed or message.get("DestChannel")

    async def run(self, number: str, context: str, caller: str, quota_s: int) -> Seen:
        """Make the call and see it to its end. Raises SwitchError (ActionRefused if the login lacks the right)."""
        inside, seen = self._inside, self.seen
        near = {"Context": variables.REHEARSAL_CONTEXT, "Exten": variables.REHEARSAL_CALLER, "Priority": "1"}
        into = f"Local/{number}@{context}/n"
        stands_in = (
            *(f"{variables.inherited(name)}=Local/" for name in variables.DIAL_PREFIXES),
            *(f"{variables.inherited(name)}=@{variables.REHEARSAL_CONTEXT}/n" for name in variables.DIAL_SUFFIXES),
        )
        then = {**near, "CallerID": caller}
        await inside.originate(self._uid, into, then, *stands_in, timeout_ms=CALLER_TIMEOUT_MS)
        try:
            await inside.until(ARRIVES_S, self._has_turned_out)
            if self._far_uid and not seen.strayed:
                seen.quota = await self._limit()
                if await inside.until(ANSWERED_S, self._is_answered):
                    seen.cut = await self._listen(quota_s)
        finally:
            self._ended = True
            await inside.hang_up(self._uid)
        if seen.answered_us is not None:
            await inside.until(TELLS_S, self._has_ended)
        return seen

    async def _listen(self, quota_s: int) -> bool:
        """Until it is over; whether it ended by itself."""
        clock = self._inside.clock
        began_us = clock.now().mono_us

        async def ended() -> bool:
            if not self.seen.heard and (heard := await self._inside.variable(self._far, variables.HEARD)):
                self.seen.heard, self.seen.heard_ms = heard, (clock.now().mono_us - began_us) // 1000
            return await self._has_ended()

        return await self._inside.until(quota_s + OVERTIME_S, ended)

    async def _limit(self) -> str:
        """What Dial was told: it rings, so its application is still running."""
        for entry in await self._inside.status(self._dialler):
            if found := _LIMIT.search(entry.get("Data")):
                return found[1]
        return ""

    async def _has_turned_out(self) -> bool:
        """Whether it is clear what becomes of it: forwarded, refused, or over."""
        if self.seen.refused or self.seen.strayed or self._far_uid:
            return True
        far = f"{self._uid}-2"
        if not self.seen.entered and await self._inside.variable(far, variables.NUMBER):
            self.seen.entered = True
        self.seen.decision = await self._inside.variable(far, variables.DECISION)
        return self.seen.decision not in ("", "forward")

    async def _is_answered(self) -> bool:
        return self.seen.answered_us is not None

    async def _has_ended(self) -> bool:
        return self.seen.ended_us is not None


def seconds(limit: str | None) -> int | None:
    """A limit as a number; ``None`` if it is none."""
    return whole(limit or "")


def late_ms(seen: Seen, quota_s: int) -> int | None:
    """By how much the call outlived its money; negative: it was cut before."""
    return None if seen.talked_ms is None else seen.talked_ms - quota_s * MICROSECONDS // 1000
