"""One session: takes its events in order, lets the core decide, carries out what it says.

A session has one mailbox, and one task while there is something to do, so nothing about it happens at the same time as
anything else about it. While a command waits for the ledger or the switch, events queue up behind; every such wait ends
by the adapter's time-out. A session that only waits has no task: thousands talk at the same time, and cost memory.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from charging.call import commands as do
from charging.call.events import (
    BalancesRead,
    ClockJumped,
    DeadlineSet,
    Event,
    KeptAnswer,
    Posted,
    PromptPlayed,
    SwitchSilent,
    Woke,
)
from charging.call.model import Policy, Session, State
from charging.call.storage import Record
from charging.call.table import step, wake_at
from charging.clock import Instant
from charging.engine import told
from charging.engine.alarms import Alarm, Alarms
from charging.engine.looker import Looker
from charging.engine.ports import Observer, PromptResult, Switch
from charging.errors import LedgerError, SwitchError, UnexpectedEvent
from charging.ledger.model import Kept
from charging.ledger.port import Ledger

MAILBOX_MAX = 1000
"""Events waiting for one session. A call makes some twenty-five; this many mean that something is wrong, and the
oldest of the rest are dropped: what is lost, the next look at the switch tells again."""


class SessionRunner:
    """Lives as long as its session is open."""

    __slots__ = (
        *("session", "booked", "policy", "_ledger", "_switch", "_looker", "_now", "_alarms", "_alarm", "_observe"),
        *("_forget", "_find", "_doubt", "_leads", "_leg_changed", "_act", "_closed"),
        *("_mailbox", "_acts", "_stopped", "_over", "_prompts"),
    )

    def __init__(
        self,
        session: Record,
        *,
        ledger: Ledger,
        switch: Switch,
        looker: Looker,
        now: Callable[[], Instant],
        alarms: Alarms,
        policy: Policy,
        observe: Observer,
        forget: Callable[[Record, do.Forget], None],
        find: Callable[[str, do.Find], Awaitable[None]],
        doubt: Callable[[], None],
        leads: Callable[[], bool],
        leg_changed: Callable[[SessionRunner, str, str], None],
        act: Callable[[SessionRunner], None],
        closed: Callable[[SessionRunner], None],
    ) -> None:
        """``now`` reads the clocks, and offers a step of the wall clock to every session before it answers.
        ``leg_changed`` is given the unique ids of the forwarded leg that was and of the one that is; empty: none.
        ``act`` gives it a task that runs :meth:`run`; ``closed`` hears that the session is."""
        self.session = session
        self.booked: Record | None = None
        """Once its end is booked: the session as it was just before, with the transfer that booked it."""
        self._ledger = ledger
        self._switch = switch
        self._looker = looker
        self._now = now
        self._alarms = alarms
        self._alarm: Alarm | None = None
        self.policy = policy
        self._observe = observe
        self._forget = forget
        self._find = find
        self._doubt = doubt
        self._leads = leads
        self._leg_changed = leg_changed
        self._act = act
        self._closed = closed
        self._mailbox: deque[Event] | None = None
        """``None``: empty. An empty one takes as much memory as the session's record."""
        self._acts = False
        """Whether it has a task; else it waits, with nothing half done."""
        self._stopped = False
        self._over: asyncio.Event | None = None
        self._prompts: set[asyncio.Task[None]] | None = None

    def offer(self, event: Event) -> None:
        """Put an event into the mailbox; never waits."""
        if self._mailbox is None:
            self._mailbox = deque()
        elif len(self._mailbox) >= MAILBOX_MAX:
            self._mailbox.popleft()
            self._observe(told.MailboxOverflowed(), self.session)
        if isinstance(event, ClockJumped):
            self._mailbox.appendleft(event)  # whatever waits may be of after it
        else:
            self._mailbox.append(event)
        self.wake()

    def wake(self) -> None:
        """There may be something to do."""
        if not self._acts and not self._stopped:
            self._acts = True
            self._act(self)

    def stop(self) -> None:
        """Do nothing from now on; a task that it has is for its owner to end."""
        self._stopped = True
        self._set_alarm(None)
        for task in self._prompts or ():
            task.cancel()
        if self._over is not None:
            self._over.set()

    async def forward_over(self) -> None:
        """Return once the session is closed (or was stopped), or goes on as a paid voicemail."""
        if self._over is None:
            self._over = asyncio.Event()
        if not self._stopped and isinstance(self.session, Session):
            await self._over.wait()

    def hear(self, event: Event) -> None:
        """Take an event that mostly changes nothing: there is a task only if there is something to do."""
        now = self._now()
        if self._acts or self._stopped:
            self.offer(event)
            return
        try:
            after, commands = step(self.session, event, now, self.policy)
        except UnexpectedEvent:
            self.offer(event)  # is logged there
            return
        if commands or wake_at(after, self.policy) != wake_at(self.session, self.policy):
            self.offer(event)
        else:
            self._becomes(after)

    def _becomes(self, after: Record) -> None:
        before, self.session = self.session, after
        if before is not after and (was := leg_of(before)) != (now := leg_of(after)):
            self._leg_changed(self, was, now)

    async def run(self) -> None:
        """Until the session is closed, or only waits."""
        try:
            while not self._stopped and (event := await self._next()) is not None:
                await self._handle(event)
                if self.session.state is State.CLOSED:
                    self.stop()
                    self._closed(self)
        finally:
            self._acts = False

    async def _next(self) -> Event | None:
        """What is to be handled now; ``None``: nothing, until an event arrives or the alarm rings."""
        if not self._mailbox:
            wake = wake_at(self.session, self.policy)
            if wake is None or wake > self._now().mono_us:
                self._set_alarm(wake)
                self._mailbox = None
                return None
            await asyncio.sleep(0)
            # An event that came in the same moment goes first: a proof of the past must never overtake it.
            if not self._mailbox:
                return Woke(self._switch.proven_mono_us)
        return self._mailbox.popleft()

    def _set_alarm(self, at_us: int | None) -> None:
        if self._alarm is not None and self._alarm.at_us != at_us:
            self._alarm.cancel()
            self._alarm = None
        if self._alarm is None and at_us is not None:
            self._alarm = self._alarms.set(at_us, self._rung)

    def _rung(self) -> None:
        self._alarm = None
        self.wake()

    async def _handle(self, event: Event) -> None:
        events: deque[Event] = deque([event])
        while events:
            now, before = self._now(), self.session
            while self._mailbox and isinstance(self._mailbox[0], ClockJumped):
                events.appendleft(self._mailbox.popleft())
            try:
                after, commands = step(self.session, events.popleft(), now, self.policy)
            except UnexpectedEvent as error:
                self._observe(told.UnexpectedEventMet(str(error)), self.session)
                continue
            self._becomes(after)
            for command in commands:
                if isinstance(command, do.Forget):
                    self.booked = before
                answer = await self._carry_out(command)
                if answer is not None:
                    events.append(answer)

    async def _carry_out(self, command: do.Command) -> Event | None:
        match command:
            case do.Tell(what):
                self._observe(what, self.session)
            case do.Forget():
                assert self.booked is not None, "noted before it is carried out"
                self._forget(self.booked, command)
            case do.Find():
                await self._find(self.session.id, command)
            case do.Doubt():
                self._doubt()
            case do.Become(voicemail):
                self._becomes(voicemail)
                if self._over is not None:
                    self._over.set()
            case do.PlayPrompt():
                self._start_prompt(command)
            case do.ReadBalances() | do.Post() | do.Keep():
                return await self._ask_ledger(command)
            case do.AskSwitch() | do.ReadBlackBox() | do.SetDeadline() | do.HangUp():
                return await self._order_switch(command)
        return None

    async def _ask_ledger(self, command: do.LedgerCommand) -> Event:
        try:
            match command:
                case do.ReadBalances(looks):
                    return BalancesRead(await self._ledger.balances(self.session.account), looks)
                case do.Post(transfer, grants):
                    return Posted(transfer, await self._ledger.apply(transfer, grants))
                case do.Keep():
                    held = self.session
                    kept = Kept(held.to_json(), held.epoch, held.sequence - 1)
                    return KeptAnswer(await self._ledger.keep_session(held.account, held.id, kept))
        except LedgerError as error:
            self._observe(told.LedgerFailed(str(error), type(error).__name__), self.session)
        return _unknown(command)

    async def _order_switch(self, command: do.SwitchCommand) -> Event | None:
        if isinstance(command, do.SetDeadline | do.HangUp) and not self._leads():
            # Frozen and woken up late: another daemon may have moved this call's deadline since.
            return SwitchSilent("set_deadline" if isinstance(command, do.SetDeadline) else "other")
        try:
            match command:
                case do.AskSwitch(everywhere):
                    now_us = self._now().mono_us
                    return await self._looker.ask(self.session, now_us, everywhere=everywhere)
                case do.ReadBlackBox():
                    return await self._switch.black_box(self.session.id)
                case do.SetDeadline(covered_s, at, backstop, callee_uid, caller_uid):
                    orders = self._switch.set_deadline(callee_uid, at), self._switch.set_deadline(caller_uid, backstop)
                    # Neither is left under way, where it might overtake the one that is given next.
                    for failed in filter(None, await asyncio.gather(*orders, return_exceptions=True)):
                        raise failed
                    return DeadlineSet(covered_s)
                case do.HangUp(uid):
                    await self._switch.hang_up(uid)
                    return None
        except SwitchError as error:
            self._observe(told.SwitchFailed(str(error), type(error).__name__), self.session)
        return SwitchSilent("set_deadline" if isinstance(command, do.SetDeadline) else "other")

    def _start_prompt(self, command: do.PlayPrompt) -> None:
        """Beside the mailbox: a prompt takes seconds to start, and the call's money does not wait for it."""
        task = asyncio.create_task(self._play(command), name=f"prompt-{self.session.id}")
        self._prompts = {task, *(self._prompts or ())}
        task.add_done_callback(self._prompt_ended)

    def _prompt_ended(self, task: asyncio.Task[None]) -> None:
        self._prompts = {one for one in self._prompts or () if one is not task} or None

    async def _play(self, command: do.PlayPrompt) -> None:
        try:
            result = await self._switch.play_prompt(
                self.session.id, command.sequence, command.callee_uid, command.language, command.prompt
            )
        except SwitchError as error:
            self._observe(told.SwitchFailed(str(error), type(error).__name__), self.session)
            result = PromptResult.FAILED
        self.offer(PromptPlayed(command.prompt, result))


def leg_of(record: Record) -> str:
    """The unique id of the forwarded leg; empty where there is none (yet)."""
    return record.callee_uid if isinstance(record, Session) else ""


def _unknown(command: do.LedgerCommand) -> Event:
    """The ledger could not answer."""
    if isinstance(command, do.ReadBalances):
        return BalancesRead(None, command.looks)
    return Posted(command.transfer, None) if isinstance(command, do.Post) else KeptAnswer(None)
