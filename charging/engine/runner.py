"""One session: takes its events in order, lets the core decide, carries out what it says.

A session has one mailbox and has its turns (`rounds`) while there is something to do, so nothing about it happens at
the same time as anything else about it. While a command waits for the ledger or the switch, events queue up behind;
every such wait ends by the adapter's time-out. It has no task of its own: thousands talk at the same time, and cost
memory.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import Protocol

from charging.call import commands as do
from charging.call.events import ClockJumped, Event, KeptAnswer, PromptPlayed, SwitchSaid, SwitchSilent, Woke
from charging.call.model import Policy, Session, State
from charging.call.storage import Record
from charging.call.table import as_known, step, wake_at
from charging.call.told import PromptPlayed as PromptTold
from charging.clock import Instant
from charging.engine import told
from charging.engine.ports import Observer, PromptResult, Switch
from charging.engine.rounds import Rounds
from charging.errors import LedgerError, SwitchError, UnexpectedEvent
from charging.ledger.model import Kept
from charging.ledger.port import Ledger

MAILBOX_MAX = 1000
"""Events waiting for one session. A call makes some twenty-five; this many mean that something is wrong, and the
oldest of the rest are dropped: what is lost, the next look at the switch tells again."""


NOTHING: Iterator[do.Command] = iter(())
NO_ANSWERS: list[Event] = []
"""Of all that are at rest; never changed."""


class Legs(Protocol):
    """Where sessions are found by their forwarded leg."""

    def leg_changed(self, runner: SessionRunner, was: str, now: str) -> None:
        """The forwarded leg's unique id was ``was`` and is ``now``; empty if there is no leg."""


class Home(Protocol):
    """What all sessions of one switch share."""

    rounds: Rounds
    switch: Switch
    ledger: Ledger
    observe: Observer

    @property
    def open(self) -> Legs:
        """All that are open."""

    def leads(self) -> bool:
        """Whether this daemon is the one that ticks the switch."""

    def now(self) -> Instant:
        """Read the clocks; a step of the wall clock is offered to every session first."""

    def forget(self, record: Record, how: do.Forget) -> None:
        """The session's end is booked: have its black-box record deleted."""

    async def keep_finding(self, session: str, finding: do.Find) -> None:
        """Keep a finding that contradicts a booking."""

    def doubt(self) -> None:
        """Our copy of the open sessions may be incomplete: reload them at the next audit."""

    def ended(self, runner: SessionRunner) -> None:
        """The session is closed."""


class SessionRunner:
    """Carries out one session, for as long as it is open."""

    __slots__ = (
        *("session", "booked", "policy", "alarm_us", "_home", "_mailbox", "_commands", "_answers"),
        *("_acts", "_rested", "_stopped", "_over", "_prompts", "told_us"),
    )

    def __init__(self, session: Record, home: Home, policy: Policy) -> None:
        self.session = session
        self.booked: Record | None = None
        """Once its end is booked: the session as it was just before, with the transfer that booked it."""
        self.policy = policy
        self.alarm_us: int | None = None
        self._home = home
        self._mailbox: deque[Event] | None = None
        """``None``: empty. An empty one takes as much memory as the session's record."""
        self._commands: Iterator[do.Command] = NOTHING
        """What is to be carried out yet, of the last step."""
        self._answers: list[Event] = NO_ANSWERS
        """To be handled before any other event."""
        self._acts = False
        """Whether it has a turn, or waits for an answer; else it waits, with nothing half done."""
        self._rested = False
        """Whether a turn of the loop has passed since it was due."""
        self._stopped = False
        self._over: asyncio.Event | None = None
        self._prompts: set[asyncio.Task[None]] | None = None
        self.told_us = -1
        """When the switch last told something of it, by the monotonic clock."""

    def offer(self, event: Event) -> None:
        """Put an event into the mailbox; never waits."""
        if self._mailbox is None:
            self._mailbox = deque()
        elif len(self._mailbox) >= MAILBOX_MAX:
            self._mailbox.popleft()
            self._home.observe(told.MailboxOverflowed(), self.session)
        if isinstance(event, ClockJumped):
            self._mailbox.appendleft(event)  # waiting events may have come after the step
        else:
            self._mailbox.append(event)
        self.wake()

    def wake(self) -> None:
        """Ask for a turn: there may be something to do."""
        if not self._acts and not self._stopped:
            self._acts = True
            self._home.rounds.take(self)

    def stop(self) -> None:
        """Do nothing from now on, and ignore answers that are still to come."""
        self._stopped = True
        self._home.rounds.wake_at(self, None)
        for task in self._prompts or ():
            task.cancel()
        if self._over is not None:
            self._over.set()

    async def forward_over(self) -> None:
        """Return when the session is closed or stopped, or goes on as a paid voicemail."""
        if self._over is None:
            self._over = asyncio.Event()
        if not self._stopped and isinstance(self.session, Session):
            await self._over.wait()

    def hear(self, said: SwitchSaid) -> None:
        """Take what a list of all channels says of the session. Only news costs a turn. What was asked before the
        switch last reported something may be older than that, and does not count."""
        if said.asked_mono_us <= self.told_us:
            return
        after = None if self._acts else as_known(self.session, said, self._home.now(), self.policy)
        if after is None:
            self.offer(said)
        elif not self._stopped:
            self.session = after

    def _becomes(self, after: Record) -> None:
        before, self.session = self.session, after
        if before is not after and leg_of(before) != leg_of(after):
            self._home.open.leg_changed(self, leg_of(before), leg_of(after))

    # --- a turn -----------------------------------------------------------------------------------------------

    def go_on(self) -> bool:
        """Act until the session is closed, waits, or needs an answer (see `Acting`). All commands of a step are carried
        out before their answers are handled, and the answers before any other event."""
        while not self._stopped:
            for command in self._commands:  # goes on where it stopped
                if not self._carry_out(command):
                    return False
            if self._answers:
                self._step(self._answers.pop(0))
            elif self.session.state is State.CLOSED:
                self.stop()
                self._home.ended(self)
            elif self._mailbox:
                self._step(self._mailbox.popleft())
            elif not self._is_due():
                if not self._mailbox:  # else a step of the clock has just been seen
                    break
            elif not self._rested:
                # An event of the same moment goes first: a proof of the past must never overtake it.
                self._rested = True
                self._home.rounds.again(self)
                return False
            else:
                self._step(Woke(self._home.switch.proven_mono_us))
        self._mailbox, self._commands, self._answers = None, NOTHING, NO_ANSWERS
        self._acts = self._rested = False
        return True

    def answered(self, event: Event | None) -> None:
        """See `Acting`."""
        if event is not None:
            self._answers = [*self._answers, event]

    def _is_due(self) -> bool:
        wake = wake_at(self.session, self.policy)
        if wake is not None and wake <= self._home.now().mono_us:
            return True
        self._home.rounds.wake_at(self, wake)
        return False

    def _step(self, event: Event) -> None:
        self._rested = False
        now, before = self._home.now(), self.session
        if self._mailbox and isinstance(self._mailbox[0], ClockJumped):  # it goes before all else
            self._answers = [event, *self._answers]
            event = self._mailbox.popleft()
        try:
            after, commands = step(before, event, now, self.policy)
        except UnexpectedEvent as error:
            self._home.observe(told.UnexpectedEventMet(str(error)), self.session)
            return
        self._becomes(after)
        self._commands = iter(commands)
        if do.Forget in map(type, commands):
            self.booked = before

    def _carry_out(self, command: do.Command) -> bool:
        """Carry out one command. ``False`` if its answer comes later."""
        home = self._home
        match command:
            case do.Tell(what):
                home.observe(what, self.session)
            case do.ReadBalances() | do.Post() | do.SetDeadline() | do.AskSwitch():
                home.rounds.questions.ask(self, command)
                return False
            case do.Forget():
                assert self.booked is not None, "noted before it is carried out"
                home.forget(self.booked, command)
            case do.Doubt():
                home.doubt()
            case do.Become(voicemail):
                self._becomes(voicemail)
                if self._over is not None:
                    self._over.set()
            case do.PlayPrompt():
                self._start_prompt(command)
            case do.Find() | do.Keep() | do.ReadBlackBox() | do.HangUp():
                home.rounds.questions.aside(self, command, self._ask)
                return False
        return True

    async def _ask(self, command: do.Find | do.Keep | do.ReadBlackBox | do.HangUp) -> Event | None:
        """Ask what concerns this session alone, and return the answer as an event."""
        home = self._home
        try:
            match command:
                case do.Find():
                    await home.keep_finding(self.session.id, command)
                    return None
                case do.Keep():
                    held = self.session
                    kept = Kept(held.to_json(), held.epoch, held.sequence - 1)
                    return KeptAnswer(await home.ledger.keep_session(held.account, held.id, kept))
                case do.ReadBlackBox():
                    return await home.switch.black_box(self.session.id)
                case do.HangUp(uid):
                    if not home.leads():  # this daemon was frozen: the call is another's by now
                        return SwitchSilent("other")
                    await home.switch.hang_up(uid)
                    return None
        except LedgerError as error:
            home.observe(told.LedgerFailed(str(error), type(error).__name__), self.session)
            return KeptAnswer(None)
        except SwitchError as error:
            home.observe(told.SwitchFailed(str(error), type(error).__name__), self.session)
            return SwitchSilent("other")

    def _start_prompt(self, command: do.PlayPrompt) -> None:
        """Play a prompt beside the mailbox: it takes seconds to start, and the call's money must not wait for it."""
        task = asyncio.create_task(self._play(command), name=f"prompt-{self.session.id}")
        self._prompts = self._prompts or set()
        self._prompts.add(task)
        task.add_done_callback(self._prompts.discard)

    async def _play(self, command: do.PlayPrompt) -> None:
        try:
            result = await self._home.switch.play_prompt(
                self.session.id, command.sequence, command.callee_uid, command.language, command.prompt
            )
        except asyncio.CancelledError:
            if self.session.state is State.CLOSED:
                self._home.observe(PromptTold(command.prompt, PromptResult.UNHEARD), self.session)
            raise
        except SwitchError as error:
            self._home.observe(told.SwitchFailed(str(error), type(error).__name__), self.session)
            result = PromptResult.FAILED
        except Exception:  # a fault of ours: the call must not wait for this prompt's end, and asyncio logs the fault
            self.offer(PromptPlayed(command.prompt, PromptResult.FAILED))
            raise
        self.offer(PromptPlayed(command.prompt, result))


def leg_of(record: Record) -> str:
    """The unique id of the forwarded leg; empty if there is none."""
    return record.callee_uid if isinstance(record, Session) else ""
