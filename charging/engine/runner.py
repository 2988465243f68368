"""One session: takes its events in order, lets the core decide, carries out what it says.

A session has one mailbox and has its turns (`sessions`) while there is something to do, so nothing about it happens at
the same time as anything else about it. While a command waits for the ledger or the switch, events queue up behind;
every such wait ends by the adapter's time-out. It has no task of its own: thousands talk at the same time, and cost
memory.

What sessions ask for within one turn is put as one question: one read of all their balances, one transaction, one write
to the switch. Each is given its own answer by a plain call, and the failure of one touches no other.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

from charging.call import commands as do
from charging.call.events import (
    BalancesRead,
    BlackBoxRead,
    ClockJumped,
    DeadlineSet,
    Event,
    KeptAnswer,
    PagesConfirmed,
    Posted,
    PromptPlayed,
    SwitchSaid,
    SwitchSilent,
    Woke,
)
from charging.call.model import Policy, Session, State
from charging.call.storage import Record
from charging.call.table import as_known, step, wake_at
from charging.call.told import PromptPlayed as PromptTold
from charging.clock import Bell, Instant
from charging.engine import told
from charging.engine.looker import Looker
from charging.engine.ports import Observer, PromptResult, Switch
from charging.engine.turns import Acting, Home, Turns
from charging.errors import LedgerError, SwitchError, UnexpectedEvent
from charging.ledger.model import Kept
from charging.ledger.port import Ledger
from charging.tasks import end

MAILBOX_MAX = 1000
"""Events waiting for one session. A call makes some twenty-five; this many mean that something is wrong, and the
oldest of the rest are dropped: what is lost, the next look at the switch tells again."""

ENDS_TOGETHER_S = 0.05
"""So long a call that is over waits for others that end, and they are booked together: at 250 ends a second that halves
the CPU of an end, and nobody waits for it but other calls that are short of its money."""

ENDS_TOGETHER_MAX = 32
"""So many wait for no more: when very many end at once, others wait for their turns."""

AT_SWITCH_MAX = 800
"""Sessions that wait for the switch at the same time: each has two orders on their way, at most, of the 2,000 that a
link takes. Others wait until some are answered."""

C = TypeVar("C", bound=do.Command)

NOTHING: Iterator[do.Command] = iter(())
NO_ANSWERS: list[Event] = []
"""Of all that are at rest; never changed."""


# --- one session --------------------------------------------------------------------------------------------------


class SessionRunner:
    """Carries out one session, for as long as it is open."""

    __slots__ = (
        *("session", "booked", "policy", "alarm_us", "_home", "_mailbox", "_commands", "_answers"),
        *("_acts", "_rested", "_stopped", "_over", "_prompts", "told_us", "source"),
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
        self.source = ""
        """Who called, and whom, if this process decided it (`given_up`)."""

    def offer(self, event: Event, *, wakes: bool = True) -> None:
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
        if wakes:
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
            case do.ReadBalances() | do.Post() | do.SetDeadline() | do.AskSwitch() | do.ReadBlackBox():
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
            case do.Find() | do.Keep() | do.HangUp() | do.AskPages():
                home.rounds.questions.aside(self, command, self._ask)
                return False
        return True

    async def _ask(self, command: do.Find | do.Keep | do.HangUp | do.AskPages) -> Event | None:
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
                case do.AskPages(uids):
                    return PagesConfirmed(uids, await home.switch.fax_pages(uids))
                case do.HangUp(uid):
                    if not home.leads():  # this daemon was frozen: the call is another's by now
                        return SwitchSilent("other")
                    if not command.if_nobodys or await _is_nobodys(home.switch, uid):
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


class Hold:
    """A hold on the session of a running call: someone else takes its next steps until it is released, and what it is
    offered meanwhile waits."""

    __slots__ = ("_runner", "session")

    def __init__(self, runner: SessionRunner, session: Session) -> None:
        runner._acts = True
        self._runner = runner
        self.session = session
        """As it was when it was taken hold of."""

    @staticmethod
    def of(runner: SessionRunner) -> Hold | None:
        """``None``: it is no running call's, has something to do already, or was stopped."""
        session = runner.session
        if not isinstance(session, Session) or session.state is not State.RUNNING:
            return None
        return None if runner._acts or runner._stopped or runner._mailbox else Hold(runner, session)

    @property
    def policy(self) -> Policy:
        return self._runner.policy

    @property
    def is_disturbed(self) -> bool:
        """Whether the session was stopped since, or was offered something."""
        return self._runner._stopped or bool(self._runner._mailbox)

    def release(self, after: Session | None = None, answer: Event | None = None) -> None:
        """Let it go on by itself: from a step that was taken for it, with the answer to what that has asked."""
        runner = self._runner
        if runner._stopped:
            return
        if after is not None:
            runner.session = after
        runner.answered(answer)
        runner._acts = False
        runner.wake()


def leg_of(record: Record) -> str:
    """The unique id of the forwarded leg; empty if there is none."""
    return record.callee_uid if isinstance(record, Session) else ""


# --- what they ask ------------------------------------------------------------------------------------------------


class Questions:
    """What sessions ask for: together, or each for itself."""

    def __init__(
        self,
        turns: Turns,
        ledger: Ledger,
        switch: Switch,
        looker: Looker,
        observe: Observer,
        leads: Callable[[], bool],
    ) -> None:
        """``turns`` takes the answers; ``leads`` says whether this daemon may give orders to the switch."""
        self._turns = turns
        self._ledger = ledger
        self._switch = switch
        self._looker = looker
        self._observe = observe
        self._leads = leads
        self._reads: list[tuple[Acting, do.ReadBalances]] = []
        self._posts: list[tuple[Acting, do.Post]] = []
        self._deadlines: list[tuple[Acting, do.SetDeadline]] = []
        self._looks: list[tuple[Acting, do.AskSwitch]] = []
        self._ends: list[Acting] = []
        """Who asks for his record, together with those who come within ENDS_TOGETHER_S."""
        self._enough = Bell(turns.clock)
        self._asked: dict[asyncio.Task[None], Sequence[Acting]] = {}
        """What is asked for now, and who waits for it."""
        self._at_switch: dict[asyncio.Task[None], int] = {}
        """Of these, what the switch is asked for, and by how many."""

    async def end(self) -> None:
        """End all questions of sessions that were stopped, and return when they have ended."""
        held_back = [acting for acting, _ in (*self._deadlines, *self._looks)]
        self._deadlines, self._looks = [], []
        await end(self._asked)
        for acting in held_back:
            self._turns.again(acting)

    def ask(
        self, acting: Acting, command: do.ReadBalances | do.Post | do.SetDeadline | do.AskSwitch | do.ReadBlackBox
    ) -> None:
        """Ask, together with what other sessions ask for in this turn; for records, within ENDS_TOGETHER_S."""
        match command:
            case do.ReadBlackBox():
                self._gather(acting)
            case do.ReadBalances():
                self._reads.append((acting, command))
            case do.Post():
                self._posts.append((acting, command))
            case do.SetDeadline():
                self._deadlines.append((acting, command))
            case do.AskSwitch(everywhere=True):
                self.aside(acting, command, partial(self._look_everywhere, acting))
            case do.AskSwitch():
                self._looks.append((acting, command))

    def aside(self, acting: Acting, command: C, asks: Callable[[C], Awaitable[Event | None]]) -> None:
        """Ask for this session alone: what is rare, or takes more than one question."""
        self._begin(self._answered_by(acting, command, asks), [acting], "session-asks")

    async def _answered_by(self, acting: Acting, command: C, asks: Callable[[C], Awaitable[Event | None]]) -> None:
        acting.answered(await asks(command))
        self._turns.again(acting)  # its next question joins those of sessions that were answered in this turn

    def put(self) -> None:
        """Ask for all that has come together in this turn."""
        reads, self._reads = self._reads, []
        posts, self._posts = self._posts, []
        room = max(0, AT_SWITCH_MAX - sum(self._at_switch.values()))
        deadlines, self._deadlines = self._deadlines[:room], self._deadlines[room:]
        room -= len(deadlines)
        looks, self._looks = self._looks[:room], self._looks[room:]
        if posts:
            self._begin(self._post(posts), [acting for acting, _ in posts], "sessions-post")
        if reads:
            self._begin(self._read(reads), [acting for acting, _ in reads], "sessions-read")
        if deadlines:
            waiting = [acting for acting, _ in deadlines]
            self._at_switch[self._begin(self._set_deadlines(deadlines), waiting, "sessions-deadlines")] = len(waiting)
        if looks:
            waiting = [acting for acting, _ in looks]
            self._at_switch[self._begin(self._look(looks), waiting, "sessions-look")] = len(waiting)

    def _gather(self, acting: Acting) -> None:
        if not self._ends:
            self._ends = []
            self._begin(self._read_records(self._ends), self._ends, "sessions-end")
        self._ends.append(acting)
        if len(self._ends) == ENDS_TOGETHER_MAX:
            self._enough.ring()

    def _begin(self, work: Coroutine[Any, Any, None], waiting: Sequence[Acting], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._asked[task] = waiting
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        waiting = self._asked.pop(task)
        if self._at_switch.pop(task, 0) and (self._deadlines or self._looks):
            self._turns.call_soon()  # there is room for what waits
        if waiting is self._ends:
            self._ends = []
        if task.cancelled():
            for acting in waiting:  # they were stopped: others act in their place
                self._turns.again(acting)
        elif (error := task.exception()) is not None:
            self._turns.fail(error)

    async def _read(self, asked: Sequence[tuple[Acting, do.ReadBalances]]) -> None:
        try:
            found = await self._ledger.balances_of([acting.session.account for acting, _ in asked])
        except LedgerError as error:
            found = [error] * len(asked)
        answers = []
        for (acting, command), one in zip(asked, found, strict=True):
            balances = _unless_failed(self._observe, acting, one)
            answers.append((acting, BalancesRead(balances, command.looks)))
        self._turns.answer(answers)

    async def _post(self, asked: Sequence[tuple[Acting, do.Post]]) -> None:
        try:
            found = await self._ledger.apply_all([(post.transfer, post.grants) for _, post in asked])
        except LedgerError as error:
            found = [error] * len(asked)
        answers = []
        for (acting, post), one in zip(asked, found, strict=True):
            answers.append((acting, Posted(post.transfer, _unless_failed(self._observe, acting, one))))
        self._turns.answer(answers)

    async def _read_records(self, ended: Sequence[Acting]) -> None:
        """Ask for the records of ``ended``, who still become more. Their charges then share a commit."""
        await self._enough.rest(ENDS_TOGETHER_S)
        self._ends = []
        found = await self._switch.black_boxes_of([acting.session.id for acting in ended])
        self._turns.answer(
            [(acting, _unless_silent(self._observe, acting, one)) for acting, one in zip(ended, found, strict=True)]
        )

    async def _set_deadlines(self, asked: Sequence[tuple[Acting, do.SetDeadline]]) -> None:
        if not self._leads():
            # This daemon was frozen: another may have moved these calls' deadlines since.
            self._turns.answer([(acting, SwitchSilent("set_deadline")) for acting, _ in asked])
            return
        orders: list[tuple[str, Instant]] = []
        for _, command in asked:
            orders += (command.callee_uid, command.at), (command.caller_uid, command.backstop)
        failed = iter(await self._switch.set_deadlines(orders))
        answers: list[tuple[Acting, Event]] = []
        for acting, command in asked:
            errors = [error for error in (next(failed), next(failed)) if error is not None]
            if errors:
                self._observe(told.SwitchFailed(str(errors[0]), type(errors[0]).__name__), acting.session)
            answers.append((acting, SwitchSilent("set_deadline") if errors else DeadlineSet(command.covered_s)))
        self._turns.answer(answers)

    async def _look(self, asked: Sequence[tuple[Acting, do.AskSwitch]]) -> None:
        now_us = self._turns.clock.now().mono_us
        found = await self._looker.ask([(acting.session, command) for acting, command in asked], now_us)
        answers: list[tuple[Acting, Event]] = []
        for (acting, command), one in zip(asked, found, strict=True):
            if one is None:
                self.aside(acting, command, partial(self._look_everywhere, acting))
            else:
                answers.append((acting, _unless_silent(self._observe, acting, one)))
        self._turns.answer(answers)

    async def _look_everywhere(self, acting: Acting, command: do.AskSwitch) -> Event:
        now_us = self._turns.clock.now().mono_us
        try:
            return await self._looker.ask_everywhere(acting.session, command, now_us)
        except SwitchError as error:
            return _unless_silent(self._observe, acting, error)


def _unless_failed(observe: Observer, acting: Acting, answer: Any) -> Any:
    """Return the ledger's answer; ``None`` if it is an error, which is logged."""
    if not isinstance(answer, LedgerError):
        return answer
    observe(told.LedgerFailed(str(answer), type(answer).__name__), acting.session)
    return None


def _unless_silent(observe: Observer, acting: Acting, answer: BlackBoxRead | SwitchSaid | SwitchError) -> Event:
    """Return the switch's answer; an error is logged, and an event too."""
    if not isinstance(answer, SwitchError):
        return answer
    observe(told.SwitchFailed(str(answer), type(answer).__name__), acting.session)
    return SwitchSilent("other")


async def _is_nobodys(switch: Switch, uid: str) -> bool:
    """Whether this channel talks, and bears no session. Raises SwitchError."""
    (legs,) = await switch.look_at([("", (uid,))])
    if isinstance(legs, SwitchError):
        raise legs
    return any(leg.bridged for leg in legs.others)
