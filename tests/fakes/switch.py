"""A switch in memory, for the session layer: it dials, answers, counts down, cuts and keeps its black box.

It fulfils `charging.engine.ports.Switch` and behaves as `ASTERISK.md` measured the real one: the quota's deadline
counts from the bridge, a later order replaces it, the cut happens with nobody listening, and the record of the call's
length is written at every hang-up. While its link is down orders raise LinkDown and events are lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field

from charging.call.events import BlackBoxRead, Leg
from charging.call.switch_events import (
    BridgeEntered,
    BridgeLeft,
    ChannelEnded,
    DialEnded,
    DialStarted,
    SwitchEvent,
)
from charging.clock import MICROSECONDS, Instant
from charging.engine.ports import Legs, Look, PromptResult
from charging.errors import LinkDown, SwitchError
from tests.fakes.clock import FakeClock

OVERSHOOT_MS = 3
"""How late the switch cuts: measured 2 to 17 ms."""
RING_S, BACKSTOP_S = 30, 5
"""So much longer than the quota the dialplan lets its caller stay, as it dials."""


async def failure_of(order: Awaitable[None]) -> SwitchError | None:
    """What kept the switch from obeying."""
    try:
        await order
    except SwitchError as error:
        return error
    return None


@dataclass
class FakeCall:
    """One call on the fake switch."""

    session: str
    quota_s: int
    caller_uid: str
    callee_uid: str
    answered: Instant | None = None
    deadline_mono_us: int | None = None
    caller_alive: bool = True
    callee_alive: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    countdown: asyncio.Task[None] | None = None
    backstop_mono_us: int | None = None
    """When the caller's own channel is cut, and so the call."""
    counts_to_us: int | None = None
    status: str = ""
    true_ms: int = 0
    """How long the parties talked, by the monotonic clock."""
    noted_ms: int | None = None
    """The same as the black box noted it, even where that record is deleted by now."""

    def answered_ms(self, now: Instant) -> int:
        """By the wall clock, as Asterisk measures it."""
        return 0 if self.answered is None else (now.wall_us - self.answered.wall_us) // 1000


class FakeSwitch:
    """See the module."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.deliver: Callable[[SwitchEvent], None] = lambda _event: None
        self.up = True
        self.starts = 0
        self.disobeys: Callable[[], bool] = lambda: False
        """Whether the next order or question fails, though events come."""
        self.calls: dict[str, FakeCall] = {}
        self.records: dict[str, BlackBoxRead] = {}
        self.prompts: list[tuple[str, str, str]] = []
        self.deadlines: list[tuple[str, int]] = []
        self.hung_up: list[str] = []
        self.pages_confirmed: dict[str, int] = {}
        """By unique id of the channel that sends a fax."""
        self.note: Callable[[str, BlackBoxRead], BlackBoxRead | None] = lambda _session, record: record
        """What the black box gets of a call that ends; ``None``: nothing."""
        self.tells_since = True
        """Whether a leg that is asked about says when it answered; older dialplans do not."""
        self.up_longer_us = 0
        """By how much its machine has been up longer than that of its daemons; 0: it is theirs."""
        self.notes_uptime = False
        """Whether its records have a length that no step of the clock is in; those of older dialplans do not."""
        self.asked_alone = 0
        """How often someone asked about a session's channels by themselves."""
        self.nobodys: tuple[Leg, ...] = ()
        """Channels that bear no session."""
        self._is_reconciled = True
        self.dialled = "+31201234567"
        self.deleted: list[list[str]] = []
        """Each order to delete records."""
        self.records_read: list[str] = []
        """Keys of records that a look at all of them took apart."""
        self.asked_for: list[list[str]] = []
        """Of whom records were asked for, question by question."""
        self.nameless: set[str] = set()
        """Unique ids of callers' channels that do not bear their session's name yet."""
        self.without_call: set[str] = set()
        """Unique ids of calls that there are not, though someone asks about them."""
        self.rehearsals: set[str] = set()
        """Unique ids of callers of `charging check --call`."""
        self.deletes = True
        """Whether the dialplan obeys such an order."""
        self.prompt_result = PromptResult.PLAYED
        self._proven: int | None = clock.now().mono_us

    def begin(self) -> None:
        """A daemon that has just been started connects: until it has reconciled, nothing is proven."""
        self._proven, self._is_reconciled = None, False

    def reconnect(self) -> None:
        """The link is up again: until the daemon has reconciled, no more is proven than before."""
        self.up, self._is_reconciled = True, False

    def reconciled(self) -> None:
        """It has; the link proves the past from now on."""
        self._proven, self._is_reconciled = self.clock.now().mono_us, True

    # --- what the world does ----------------------------------------------------------------------------------

    def dial(self, session: str, quota_s: int, caller_uid: str) -> FakeCall:
        call = FakeCall(session, quota_s, caller_uid, f"{caller_uid}-callee", callee_alive=True)
        self.calls[session] = call
        self._back_stop(call, self.clock.now().plus(RING_S + quota_s + BACKSTOP_S).mono_us)
        self._tell(DialStarted(session, caller_uid, call.callee_uid, self._stamp()))
        return call

    def answer(self, session: str) -> None:
        call = self.calls[session]
        call.answered, call.status = self.clock.now(), "ANSWER"
        self._tell(DialEnded(session, "ANSWER", call.caller_uid, call.callee_uid, self._stamp()))
        self._tell(self._entered(call, call.callee_uid, "callee", 1))
        self._tell(self._entered(call, call.caller_uid, "caller", 2))
        self._count_down(call, call.answered.mono_us + call.quota_s * MICROSECONDS)

    def leave_message(
        self, session: str, caller_uid: str, *, stored: bool = True, fallback: bool = False, withheld: bool = False
    ) -> None:
        """A caller who was sent to voicemail has left; ``session`` is the black box's key."""
        stamp = self._stamp()
        self.records[session] = BlackBoxRead(
            True,
            message_stored=stored,
            fallback=fallback,
            undecided=fallback and session.startswith("nosession-"),
            number=self.dialled,
            caller="+31201234567",
            withheld=withheld,
            cause=16,
            ended_us=stamp,
            by_leg=True,
        )
        self.calls.pop(session, None)
        self._tell(ChannelEnded(session, caller_uid, "PJSIP/world-1", "caller", 16, stamp))

    def fail(self, session: str, status: str) -> None:
        call = self.calls[session]
        call.status, call.callee_alive = status, False
        self._back_stop(call, None)
        self._tell(DialEnded(session, status, call.caller_uid, call.callee_uid, self._stamp()))

    def end(self, session: str) -> None:
        """Either side hangs up, or the switch cuts."""
        call = self.calls[session]
        if not call.caller_alive:
            return
        if call.countdown is not None and call.countdown is not asyncio.current_task():
            call.countdown.cancel()
        now = self.clock.now()
        self._note_length(call)
        call.noted_ms = call.answered_ms(now)
        lasted_ms = call.true_ms if self.notes_uptime else None
        record = BlackBoxRead(True, call.status, call.noted_ms, lasted_ms, by_leg=True, ended_us=self._stamp())
        if (noted := self.note(session, record)) is not None:
            self.records[session] = noted
        if call.answered is not None:
            self._tell(BridgeLeft(session, call.callee_uid, "PJSIP/mobile-1", "callee", "b", self._stamp()))
            self._tell(BridgeLeft(session, call.caller_uid, "PJSIP/world-1", "caller", "b", self._stamp()))
        if call.callee_alive:
            self._tell(ChannelEnded(session, call.callee_uid, "PJSIP/mobile-1", "callee", 16, self._stamp()))
        call.caller_alive = call.callee_alive = False
        self._tell(ChannelEnded(session, call.caller_uid, "PJSIP/world-1", "caller", 16, self._stamp()))
        call.ended.set()

    def step_clock(self, seconds: float) -> None:
        """Of this machine."""
        self.clock.step_wall(seconds)
        self.clock_stepped(seconds)

    def clock_stepped(self, seconds: float) -> None:
        """Asterisk keeps its deadlines by the time of day, so they have moved with it."""
        for call in self.calls.values():
            if call.deadline_mono_us is not None and call.callee_alive:
                self._count_down(call, call.deadline_mono_us - round(seconds * MICROSECONDS))
            if call.backstop_mono_us is not None and call.caller_alive:
                self._back_stop(call, call.backstop_mono_us - round(seconds * MICROSECONDS))

    def restart(self) -> None:
        """Asterisk itself dies: no hang-up handler runs, nothing is recorded."""
        self.starts += 1
        for call in self.calls.values():
            if call.caller_alive:
                self._note_length(call)
            call.caller_alive = call.callee_alive = False
            if call.countdown is not None:
                call.countdown.cancel()

    # --- what the engine orders -------------------------------------------------------------------------------

    @property
    def proven_mono_us(self) -> int | None:
        if self.up and self._is_reconciled:
            self._proven = self.clock.now().mono_us
        return self._proven

    @property
    def started(self) -> str:
        return f"start {self.starts}"

    async def is_asking(self, caller_uid: str, proof: str) -> bool:
        if not self.up or self.disobeys():
            raise LinkDown
        return caller_uid not in self.without_call

    async def is_rehearsal(self, caller_uid: str) -> bool:
        self._must_be_up()
        return caller_uid in self.rehearsals

    async def look(self) -> Look:
        self._must_be_up()
        now = self.clock.now()
        living = [call for call in self.calls.values() if call.caller_alive]
        return Look(now.mono_us, {call.session: self._legs(call, now) for call in living})

    async def look_at(self, asked: Sequence[tuple[str, Sequence[str]]]) -> Sequence[Legs | SwitchError]:
        try:
            return [await self._look_at(session, uids) for session, uids in asked]
        except SwitchError as error:
            return [error] * len(asked)

    async def _look_at(self, session: str, uids: Sequence[str]) -> Legs:
        self.asked_alone += 1
        self._must_be_up()
        if not session:
            return Legs(others=tuple(leg for leg in self.nobodys if leg.uid in uids))
        call = self.calls.get(session)
        legs = Legs() if call is None or not call.caller_alive else self._legs(call, self.clock.now())
        caller = legs.caller if legs.caller is not None and legs.caller.uid in uids else None
        callee = legs.callee if legs.callee is not None and legs.callee.uid in uids else None
        others = tuple(leg for leg in legs.others if leg.uid in uids)
        return Legs(caller, callee, others, nameless=not self.nameless.isdisjoint(uids))

    async def set_deadlines(self, deadlines: Sequence[tuple[str, Instant]]) -> Sequence[SwitchError | None]:
        return [await failure_of(self.set_deadline(uid, at)) for uid, at in deadlines]

    async def set_deadline(self, uid: str, at: Instant) -> None:
        self._must_be_up()
        self.deadlines.append((uid, at.mono_us))
        for call in self.calls.values():
            if call.callee_uid == uid and call.callee_alive:
                self._count_down(call, at.mono_us)
            if call.caller_uid == uid and call.caller_alive:
                self._back_stop(call, at.mono_us)

    async def fax_pages(self, uids: Sequence[str]) -> int | None:
        self._must_be_up()
        return next((self.pages_confirmed[uid] for uid in uids if uid in self.pages_confirmed), None)

    async def hang_up(self, uid: str) -> None:
        self._must_be_up()
        self.hung_up.append(uid)
        for call in list(self.calls.values()):
            if uid in (call.caller_uid, call.callee_uid):
                self.end(call.session)

    async def play_prompt(
        self, session: str, sequence: int, callee_uid: str, language: str, prompt: str
    ) -> PromptResult:
        self._must_be_up()
        self.prompts.append((session, language, prompt))
        return self.prompt_result

    async def black_boxes_of(self, sessions: Sequence[str]) -> Sequence[BlackBoxRead | SwitchError]:
        self.asked_for.append(list(sessions))
        return [self._record_of(session) for session in sessions]

    def _record_of(self, session: str) -> BlackBoxRead | SwitchError:
        try:
            self._must_be_up()
        except SwitchError as error:
            return error
        return self.records.get(session, BlackBoxRead(found=False))

    async def black_boxes(self, booked: Container[str] = ()) -> Mapping[str, BlackBoxRead | None]:
        self._must_be_up()
        found = {key: None if key in booked else record for key, record in self.records.items()}
        self.records_read += [key for key, record in found.items() if record is not None]
        return found

    async def delete_records(self, keys: Sequence[str]) -> None:
        self._must_be_up()
        self.deleted.append(list(keys))
        if self.deletes:
            for key in keys:
                self.records.pop(key, None)

    # --- within -----------------------------------------------------------------------------------------------

    def _note_length(self, call: FakeCall) -> None:
        if call.answered is not None:
            call.true_ms = (self.clock.now().mono_us - call.answered.mono_us) // 1000

    def _tell(self, event: SwitchEvent) -> None:
        if self.up:
            self.deliver(event)

    def _stamp(self) -> int:
        return self.clock.now().wall_us

    def _must_be_up(self) -> None:
        if not self.up or self.disobeys():
            raise LinkDown

    def _entered(self, call: FakeCall, uid: str, leg: str, channels: int) -> BridgeEntered:
        return BridgeEntered(call.session, uid, "PJSIP/x", leg, "b", "simple_bridge", self._stamp(), channels)

    def _legs(self, call: FakeCall, now: Instant) -> Legs:
        up = call.answered is not None
        left = None if call.deadline_mono_us is None else (call.deadline_mono_us - now.mono_us) // 1000
        since_ms = call.answered_ms(now) if up and self.tells_since else None
        noted = call.answered if self.tells_since else None
        if noted is not None:
            noted = Instant(noted.mono_us + self.up_longer_us, noted.wall_us)
        callee = Leg(call.callee_uid, up, up, left, since_ms, noted) if call.callee_alive else None
        back = None if call.backstop_mono_us is None else (call.backstop_mono_us - now.mono_us) // 1000
        return Legs(Leg(call.caller_uid, bridged=up, up=up, time_left_ms=back), callee)

    def _count_down(self, call: FakeCall, mono_us: int) -> None:
        call.deadline_mono_us = mono_us
        self._count_to_first(call)

    def _back_stop(self, call: FakeCall, mono_us: int | None) -> None:
        call.backstop_mono_us = mono_us
        self._count_to_first(call)

    def _count_to_first(self, call: FakeCall) -> None:
        """Of the two deadlines: either ends the call."""
        first_us, other_us = call.deadline_mono_us, call.backstop_mono_us
        if first_us is None or (other_us is not None and other_us < first_us):
            first_us = other_us
        if first_us == call.counts_to_us:
            return
        if call.countdown is not None:
            call.countdown.cancel()
        call.counts_to_us, call.countdown = first_us, None
        if first_us is not None:
            call.countdown = asyncio.create_task(self._cut_at(call, first_us + OVERSHOOT_MS * 1000))

    async def _cut_at(self, call: FakeCall, mono_us: int) -> None:
        await self.clock.sleep_until(mono_us)
        self.end(call.session)
