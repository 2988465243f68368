"""A call placed by the lab's world: what its outside caller and the subscriber's mobile saw and heard of it."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from charging.lab.ami import Message
from charging.lab.errors import LabError

RECORDING_TIMEOUT_S = 20.0
POLL_S = 0.02


class CallState(enum.IntEnum):
    """How far a call has come, as the outside caller sees it."""

    DIALLING = 0
    RINGING = 1
    ANSWERED = 2
    ENDED = 3


@dataclass(slots=True)
class Party:
    """One end of a call. Times are the wall clock's, in µs since 1970, stamped by Asterisk; ``None``: not (yet)."""

    recordings: Path
    recording: str
    """The beginning of its recordings' names."""
    channel: str = ""
    answered_us: int | None = None
    recording_since_us: int | None = None
    """When its recordings begin, to about 20 ms."""
    ended_us: int | None = None
    cause: int | None = None
    """Q.850 cause of its end: 16 normal, 17 busy, 19 no answer, 1 unknown number …"""

    @property
    def was_answered(self) -> bool:
        return self.answered_us is not None

    @property
    def connected_s(self) -> float:
        """From answer to end, as this end saw it. Raises LabError where there was no answer, or no end yet."""
        if self.answered_us is None or self.ended_us is None:
            raise LabError(f"was not answered or has not ended: {self}")
        return (self.ended_us - self.answered_us) / 1e6

    @property
    def heard(self) -> Path:
        """What it received, as WAV; whole only after ``Call.recorded()``."""
        return self.recordings / f"{self.recording}-heard.wav"

    @property
    def said(self) -> Path:
        """What it sent, as WAV; whole only after ``Call.recorded()``."""
        return self.recordings / f"{self.recording}-said.wav"

    @property
    def is_recorded(self) -> bool:
        return (self.recordings / f"{self.recording}.done").exists()


@dataclass(slots=True)
class MobileLeg(Party):
    """A subscriber's mobile that was rung for a call."""

    target: str = ""
    written: str = ""
    """Its number as it was dialled."""
    shown: str = ""
    """The caller's number on its display."""
    diverted_from: str = ""
    """Whose number diverts to it, as the INVITE said (Diversion); empty where it did not."""


@dataclass(slots=True, eq=False)
class Call:
    """One call by one outside caller."""

    call_id: str
    number: str
    caller: str
    outside: Party
    _send: Callable[[str, dict[str, str]], Awaitable[Message]] = field(repr=False)
    state: CallState = CallState.DIALLING
    mobiles: list[MobileLeg] = field(default_factory=list)
    """Every mobile that was rung, in order."""
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition, repr=False)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set, repr=False)

    @property
    def was_answered(self) -> bool:
        """Whether the outside caller saw an answer (from the mobile or from voicemail)."""
        return self.outside.was_answered

    @property
    def cause(self) -> int | None:
        """The Q.850 cause that the outside caller got; ``None`` while the call lasts."""
        return self.outside.cause

    @property
    def caller_heard(self) -> Path:
        return self.outside.heard

    @property
    def mobile(self) -> MobileLeg:
        """The mobile that was rung last. Raises LabError if none was."""
        if not self.mobiles:
            raise LabError(f"no mobile was rung for {self}")
        return self.mobiles[-1]

    @property
    def mobile_heard(self) -> Path:
        return self.mobile.heard

    @property
    def duration_s(self) -> float:
        """From answer to end, as the outside caller saw it."""
        return self.outside.connected_s

    async def wait_state(self, state: CallState, deadline_s: float = 30.0) -> None:
        """Wait until the call has come at least as far as ``state``.

        Raises:
            LabError: it has not within ``deadline_s``, or it ended before it was answered and more was awaited.
        """
        await self.wait_for(lambda: self.state >= state, f"state {state.name}", deadline_s)
        if state is CallState.ANSWERED and not self.was_answered:
            raise LabError(f"ended without an answer: {self}")

    async def wait_end(self, deadline_s: float = 30.0) -> None:
        """Wait until every party is gone and the recordings are whole."""
        await self.wait_state(CallState.ENDED, deadline_s)
        await self.wait_for(
            lambda: all(leg.ended_us is not None for leg in self.mobiles), "the mobile's end", deadline_s
        )
        await self.recorded()

    async def wait_for(self, condition: Callable[[], bool], what: str, deadline_s: float = 30.0) -> None:
        """Wait for something about this call.

        Raises:
            LabError: it did not come true within ``deadline_s``.
        """
        try:
            async with self._changed:
                await asyncio.wait_for(self._changed.wait_for(condition), deadline_s)
        except TimeoutError as error:
            raise LabError(f"waited {deadline_s} s in vain for {what}: {self}") from error

    async def hang_up(self) -> None:
        """The outside caller hangs up; does nothing when the call is over."""
        if self.state is CallState.ENDED:
            return
        try:
            await self._send("Hangup", {"Channel": self.outside.channel or self.call_id, "Cause": "16"})
        except LabError as error:
            if "No such channel" not in str(error):
                raise  # it ended at this very moment is fine, everything else is not

    async def mobile_hangs_up(self) -> None:
        """The mobile that was rung last hangs up."""
        await self._send("Hangup", {"Channel": self.mobile.channel, "Cause": "16"})

    async def press(self, digits: str, *, on_mobile: bool = True) -> None:
        """One party presses keys (DTMF towards the switch)."""
        channel = self.mobile.channel if on_mobile else self.outside.channel
        for digit in digits:
            await self._send("PlayDTMF", {"Channel": channel, "Digit": digit, "Duration": "80"})
            await asyncio.sleep(0.12)

    async def recorded(self) -> None:
        """Wait until the recordings of all parties that were recorded are whole. LabError: it takes too long."""
        parties = [party for party in (self.outside, *self.mobiles) if party.recording_since_us is not None]
        for _ in range(int(RECORDING_TIMEOUT_S / POLL_S)):
            if all(party.is_recorded for party in parties):
                return
            await asyncio.sleep(POLL_S)
        raise LabError(f"recordings not finished after {RECORDING_TIMEOUT_S} s: {self}")

    def changed(self) -> None:
        """Wake whoever waits for this call; called for every event of it."""
        task = asyncio.get_running_loop().create_task(self._notify())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()
