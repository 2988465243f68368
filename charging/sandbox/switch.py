"""A switch that is played: no Asterisk, no telephones, and the same engine.

It fulfils what the engine asks of a switch (`charging.engine.ports`) and behaves as the real one was measured: the
quota's deadline counts from the answer, a later order replaces it, the cut comes with nobody listening, and each call
leaves its record. What people do at their telephones is told by requests (`charging.sandbox.desk`). Nothing outlives
the process: what ran when it ended is settled as after a restart of Asterisk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Container, Coroutine, Mapping, Sequence
from dataclasses import field
from enum import Enum, StrEnum
from typing import Any, NoReturn

from charging.call.events import BlackBoxRead, Leg
from charging.call.switch_events import (
    BridgeEntered,
    BridgeLeft,
    ChannelEnded,
    DialEnded,
    DialStarted,
    SwitchEvent,
)
from charging.clock import MICROSECONDS, Clock, Instant
from charging.engine.ports import FaxOrder, Legs, Look, PromptResult
from charging.errors import SwitchError
from charging.records import dataclass
from charging.tasks import Tasks, first_of

NORMAL, ANSWER, CANCEL = 16, "ANSWER", "CANCEL"
CALLEE = "PJSIP/sandbox-callee"
FAX_RINGS_S = 1


class PlayedState(Enum):
    """What the daemon says of its link."""

    UP = "up"


class Phase(StrEnum):
    """How far a call is."""

    RINGING = "ringing"
    TALKING = "talking"
    AT_VOICEMAIL = "at_voicemail"
    OVER = "over"


@dataclass(slots=True)
class PlayedCall:
    """One caller, and whom he reached."""

    uid: str
    number: str
    """As he dialled it."""
    caller: str
    began: Instant
    message_s: int | None
    """At voicemail he leaves a message after so long; ``None``: he waits."""
    phase: Phase = Phase.RINGING
    decision: str = ""
    """Empty while the daemon is asked, and if it did not say."""
    reason: str = ""
    session: str = ""
    target: str = ""
    """Empty if nobody is dialled."""
    quota_s: int = 0
    status: str = ""
    """How the dialling ended."""
    answered: Instant | None = None
    ended: Instant | None = None
    was_cut: bool = False
    """By the switch, at its deadline."""
    heard: list[str] = field(default_factory=list)
    """Prompts that the subscriber heard in the call."""
    deadline_mono_us: int | None = None
    countdown: asyncio.Task[None] | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def callee_uid(self) -> str:
        return f"{self.uid}-callee"

    @property
    def is_dialled(self) -> bool:
        """Whether the subscriber's leg is there."""
        return self.phase is Phase.TALKING or (self.phase is Phase.RINGING and bool(self.target))

    @property
    def talked_ms(self) -> int:
        """By the wall clock, as the real one's record has it."""
        if self.answered is None or self.ended is None:
            return 0
        return (self.ended.wall_us - self.answered.wall_us) // 1000


@dataclass(frozen=True, slots=True)
class FaxScript:
    """How the machine at the other end will do."""

    pages: int
    """That it confirms."""
    page_s: int
    """Each takes so long."""
    succeeds: bool


@dataclass(slots=True)
class PlayedFax:
    """One fax on its way."""

    uid: str
    over: asyncio.Event = field(default_factory=asyncio.Event)
    confirmed: int | None = None
    """Pages; ``None`` before it is answered."""


@dataclass(frozen=True, slots=True)
class Around:
    """What calls and faxes of a played switch share."""

    tell: Callable[[SwitchEvent], None]
    tasks: Tasks
    records: dict[str, BlackBoxRead]
    """By session, until they are deleted."""


class PlayedCalls:
    """The calls of a played switch, and what their people do."""

    def __init__(self, clock: Clock, switch_id: str, around: Around) -> None:
        self._clock = clock
        self._switch_id = switch_id
        self._deliver, self._tasks, self._records = around.tell, around.tasks, around.records
        self.under_way: dict[str, PlayedCall] = {}
        """Those that are not over, by their callers' unique ids."""

    def arrive(self, call: PlayedCall) -> None:
        """Its caller is in the dialplan, which is about to ask."""
        self.under_way[call.uid] = call

    def begin(self, call: PlayedCall, life: Coroutine[Any, Any, None]) -> None:
        """Its people do what they were said to do."""
        self._tasks.begin(life, f"sandbox-{call.uid}")

    def dial(self, call: PlayedCall, session: str, target: str, quota_s: int) -> None:
        """What the dialplan does with ``forward``."""
        call.session, call.target, call.quota_s = session, target, quota_s
        self._deliver(DialStarted(session, call.uid, call.callee_uid, self._stamp()))

    def answer(self, call: PlayedCall) -> None:
        """The subscriber takes the call, and the quota begins."""
        call.answered, call.status, call.phase = self._clock.now(), ANSWER, Phase.TALKING
        self._deliver(DialEnded(call.session, ANSWER, call.uid, call.callee_uid, self._stamp()))
        for uid, leg in ((call.callee_uid, "callee"), (call.uid, "caller")):
            self._deliver(BridgeEntered(call.session, uid, CALLEE, leg, call.uid, "simple_bridge", self._stamp()))
        self.count_down(call, call.answered.mono_us + call.quota_s * MICROSECONDS)

    def fail(self, call: PlayedCall, status: str) -> None:
        """The subscriber does not take it; the caller waits for what comes instead."""
        call.status, call.target = status, ""
        self._deliver(DialEnded(call.session, status, call.uid, call.callee_uid, self._stamp()))

    def end(self, call: PlayedCall, *, message: bool = False, is_cut: bool = False) -> None:
        """Someone hangs up, or the switch cuts. ``message``: the caller has left one."""
        if call.phase is Phase.OVER:
            return
        if call.countdown is not None and call.countdown is not asyncio.current_task():
            call.countdown.cancel()
        was_dialled, was_talking = call.is_dialled, call.phase is Phase.TALKING
        call.ended, call.phase, call.was_cut = self._clock.now(), Phase.OVER, is_cut
        del self.under_way[call.uid]
        if call.session:
            self._records[call.session] = self._record(call, message)
            self._tell_end(call, was_dialled, was_talking)
        call.over.set()

    def give_up(self, call: PlayedCall, session: str | None) -> None:
        """The dialplan does nothing with an answer for a caller who is gone; that ends the answer's session."""
        if session and session != call.session:
            call.session, call.target = session, ""
            self._records[session] = self._record(call, message=False)
            self._tell_end(call, was_dialled=False, was_talking=False)

    def _record(self, call: PlayedCall, message: bool) -> BlackBoxRead:
        return BlackBoxRead(
            found=True,
            dial_status=call.status or (CANCEL if call.target else ""),
            answered_ms=call.talked_ms,
            by_leg=True,
            message_stored=message,
            number=call.number,
            caller=call.caller,
            ended_us=self._stamp(),
            switch=self._switch_id,
        )

    def _tell_end(self, call: PlayedCall, was_dialled: bool, was_talking: bool) -> None:
        legs = [(call.uid, "caller")]
        if was_dialled:
            legs.insert(0, (call.callee_uid, "callee"))
        for uid, leg in legs if was_talking else ():
            self._deliver(BridgeLeft(call.session, uid, CALLEE, leg, call.uid, self._stamp()))
        for uid, leg in legs:
            self._deliver(ChannelEnded(call.session, uid, CALLEE, leg, NORMAL, self._stamp()))

    def count_down(self, call: PlayedCall, mono_us: int) -> None:
        """The switch cuts the call then, and not when it would have before."""
        if call.countdown is not None:
            call.countdown.cancel()
        call.deadline_mono_us = mono_us
        call.countdown = self._tasks.begin(self._cut_at(call, mono_us), f"sandbox-{call.uid}-deadline")

    async def _cut_at(self, call: PlayedCall, mono_us: int) -> None:
        await self._clock.sleep_until(mono_us)
        self.end(call, is_cut=True)

    def _stamp(self) -> int:
        return self._clock.now().wall_us


class PlayedFaxes:
    """The faxes of a played switch, and how the machines at the other end do."""

    def __init__(self, clock: Clock, around: Around) -> None:
        self._clock = clock
        self._deliver, self._tasks, self._records = around.tell, around.tasks, around.records
        self.under_way: dict[str, PlayedFax] = {}
        """By session."""
        self._scripts: dict[str, FaxScript] = {}
        """Of those that are not dialled yet, by session."""

    def expect(self, session: str, script: FaxScript) -> None:
        """A fax that is dialled next goes so."""
        self._scripts[session] = script

    @property
    def proven_mono_us(self) -> int | None:
        return self._clock.now().mono_us

    async def is_sending(self, session: str) -> bool:
        return session in self.under_way

    async def send_fax(self, order: FaxOrder) -> None:
        """Once, however often it is ordered."""
        if order.session not in self.under_way and order.session not in self._records:
            self.under_way[order.session] = fax = PlayedFax(f"fax-{order.session}")
            self._tasks.begin(self._send(order, fax), fax.uid)

    async def _send(self, order: FaxOrder, fax: PlayedFax) -> None:
        script, confirmed = self._scripts.pop(order.session), 0
        await self._pause(fax.over, FAX_RINGS_S)
        while confirmed < script.pages and not fax.over.is_set():
            fax.confirmed = confirmed
            await self._pause(fax.over, script.page_s)
            confirmed += not fax.over.is_set()
        sent = script.succeeds and not fax.over.is_set()
        status, stamp = "SUCCESS" if sent else "FAILED", self._clock.now().wall_us
        self._records[order.session] = BlackBoxRead(
            True,
            ANSWER,
            number=order.number,
            ended_us=stamp,
            fax_status=status,
            fax_pages=confirmed,
            switch=order.switch,
        )
        del self.under_way[order.session]
        self._deliver(ChannelEnded(order.session, fax.uid, CALLEE, "callee", NORMAL, stamp))

    async def _pause(self, over: asyncio.Event, seconds: int) -> None:
        """Unless it is over before."""
        await first_of(over.wait(), self._clock.sleep_until(self._clock.now().plus(seconds).mono_us))


class PlayedSwitch:
    """See the module."""

    state = PlayedState.UP
    is_up, is_coming = True, False

    def __init__(self, clock: Clock, switch_id: str) -> None:
        self._clock = clock
        self._heard: Callable[[SwitchEvent], None] = lambda _event: None
        self._around = Around(lambda event: self._heard(event), Tasks(), {})
        self.calls = PlayedCalls(clock, switch_id, self._around)
        self.faxes = PlayedFaxes(clock, self._around)
        self.started = str(clock.now().wall_us)

    async def run(self, heard: Callable[[SwitchEvent], None], on_up: Callable[[], Awaitable[None]]) -> NoReturn:
        """Tell ``heard`` what happens, until cancelled; ``on_up`` comes first, as after a restart of the switch."""
        self._heard = heard
        try:
            await on_up()
            await self._around.tasks.failure()
        finally:
            await self._around.tasks.end()

    @property
    def proven_mono_us(self) -> int | None:
        return self._clock.now().mono_us

    async def is_asking(self, caller_uid: str, proof: str) -> bool:
        call = self.calls.under_way.get(caller_uid)
        return call is not None and not call.decision

    async def is_rehearsal(self, caller_uid: str) -> bool:
        return False

    async def look(self) -> Look:
        now = self._clock.now()
        calls = {call.session: _legs(call, now) for call in self.calls.under_way.values() if call.session}
        faxes = {session: Legs(callee=_fax_leg(fax)) for session, fax in self.faxes.under_way.items()}
        return Look(now.mono_us, calls | faxes)

    async def look_at(self, asked: Sequence[tuple[str, Sequence[str]]]) -> Sequence[Legs]:
        found = (await self.look()).legs
        return [_among(found.get(session, Legs()), uids) for session, uids in asked]

    async def set_deadlines(self, deadlines: Sequence[tuple[str, Instant]]) -> Sequence[SwitchError | None]:
        at_us = {uid: at.mono_us for uid, at in deadlines}
        for call in self.calls.under_way.values():
            if call.callee_uid in at_us and call.is_dialled:
                self.calls.count_down(call, at_us[call.callee_uid])
        return [None] * len(deadlines)

    async def fax_pages(self, uids: Sequence[str]) -> int | None:
        return next((fax.confirmed for fax in self.faxes.under_way.values() if fax.uid in uids), None)

    async def hang_up(self, uid: str) -> None:
        for call in list(self.calls.under_way.values()):
            if uid in (call.uid, call.callee_uid):
                self.calls.end(call)
        for fax in self.faxes.under_way.values():
            if uid == fax.uid:
                fax.over.set()

    async def play_prompt(
        self, session: str, sequence: int, callee_uid: str, language: str, prompt: str
    ) -> PromptResult:
        for call in self.calls.under_way.values():
            if call.session == session:
                call.heard.append(f"{language}/{prompt}")
        return PromptResult.PLAYED

    async def black_boxes_of(self, sessions: Sequence[str]) -> Sequence[BlackBoxRead]:
        return [self._around.records.get(session, BlackBoxRead(found=False)) for session in sessions]

    async def black_boxes(self, booked: Container[str] = ()) -> Mapping[str, BlackBoxRead | None]:
        return {key: None if key in booked else record for key, record in self._around.records.items()}

    async def delete_records(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._around.records.pop(key, None)


def _legs(call: PlayedCall, now: Instant) -> Legs:
    up = call.phase is Phase.TALKING
    caller = Leg(call.uid, bridged=up, up=up, time_left_ms=None)
    if not call.is_dialled:
        return Legs(caller)
    left = (call.deadline_mono_us - now.mono_us) // 1000 if up and call.deadline_mono_us is not None else None
    return Legs(caller, Leg(call.callee_uid, bridged=up, up=up, time_left_ms=left))


def _among(legs: Legs, uids: Sequence[str]) -> Legs:
    caller = legs.caller if legs.caller is not None and legs.caller.uid in uids else None
    callee = legs.callee if legs.callee is not None and legs.callee.uid in uids else None
    return Legs(caller, callee)


def _fax_leg(fax: PlayedFax) -> Leg:
    return Leg(fax.uid, bridged=True, up=True, time_left_ms=None)
