"""The sessions' turns, and the questions that they ask together.

Sessions wait most of the time: one queue of deadlines holds when each wants to be woken. Sessions that are due within
the same stretch of :data:`TOGETHER_US` act at one moment, and what they ask for is put as one question: one read of all
their balances, one transaction, one write to the switch. Each is given its own answer by a plain call, and the failure
of one touches no other.

If very many have something to do at once (after an outage, say), a limited number acts at a time, and then the one
whose paid time ends first.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from itertools import count
from typing import Any, NoReturn, Protocol, TypeVar

from charging.call import commands as do
from charging.call.events import BalancesRead, DeadlineSet, Event, Posted, SwitchSaid, SwitchSilent
from charging.call.model import State
from charging.call.storage import Record
from charging.clock import Bell, Clock, Instant
from charging.engine import told
from charging.engine.looker import Looker
from charging.engine.ports import Observer, Switch
from charging.errors import LedgerError, SwitchError
from charging.ledger.port import Ledger
from charging.tasks import end

TOGETHER_US = 100_000
"""What falls due within one such stretch is woken at its end: at most so much later than it wished. A tick is due a
whole horizon before its call's money ends."""

AT_ONCE_MAX = 256
"""Sessions that act at the same time. Each has a few orders to the switch on their way, at most."""

A_TURN_MAX = 32
"""Sessions that go on within one turn of the loop: new callers wait no longer than for these."""


C = TypeVar("C", bound=do.Command)


class Acting(Protocol):
    """A session, as `Rounds` sees it."""

    session: Record
    alarm_us: int | None
    """When it wants to be woken next, by the monotonic clock."""

    def wake(self) -> None:
        """The moment that it wanted to be woken at has come."""

    def go_on(self) -> bool:
        """Do what there is to do. ``False`` if it waits for an answer, which `answered` brings."""

    def answered(self, event: Event | None) -> None:
        """Take the answer to what it asked; ``None`` if the answer says nothing."""


class Rounds:
    """Gives the sessions of one switch their turns."""

    def __init__(
        self,
        ledger: Ledger,
        switch: Switch,
        looker: Looker,
        clock: Clock,
        observe: Observer,
        leads: Callable[[], bool],
    ) -> None:
        """``leads`` says whether this daemon may give orders to the switch."""
        self.questions = Questions(self, ledger, switch, looker, observe, leads)
        self.clock = clock
        self._due: dict[int, dict[Acting, None]] = {}
        """Who wants to be woken, by the end of the stretch in which that is."""
        self._ends: list[int] = []
        """The ends of those stretches: a heap."""
        self._rests_until_us: int | None = None
        self._sooner = Bell(clock)
        self._failure: BaseException | None = None
        self._ready: deque[Acting] = deque()
        """Who goes on in the next turn of the loop."""
        self._is_called = False
        self._acting = 0
        self._waiting: list[tuple[int, int, Acting]] = []
        """Who acts once others are through: a heap, by when each is cut."""
        self._order = count()
        self._is_over = False

    # --- when -------------------------------------------------------------------------------------------------

    def wake_at(self, acting: Acting, at_us: int | None) -> None:
        """Wake the session at ``at_us`` (monotonic, µs) instead of any earlier wish; ``None``: do not wake it."""
        if acting.alarm_us == at_us:
            return
        if acting.alarm_us is not None:
            self._due.get(_end_of(acting.alarm_us), {}).pop(acting, None)
        acting.alarm_us = at_us
        if at_us is None:
            return
        end_us = _end_of(at_us)
        if end_us not in self._due:
            self._due[end_us] = {}
            heapq.heappush(self._ends, end_us)
        self._due[end_us][acting] = None
        if self._rests_until_us is None or end_us < self._rests_until_us:
            self._sooner.ring()

    async def run(self) -> NoReturn:
        """Wake sessions when they are due, for ever. Raises the error that a session failed with: it is a fault of the
        program."""
        try:
            while self._failure is None:
                self._wake_due()
                self._rests_until_us = self._ends[0] if self._ends else None
                await self._sooner.rest_until(self._rests_until_us)
            raise self._failure
        finally:
            self._is_over = True
            await self.questions.end()

    def _wake_due(self) -> None:
        now_us = self.clock.now().mono_us
        while self._ends and (self._ends[0] <= now_us or not self._due[self._ends[0]]):
            for acting in self._due.pop(heapq.heappop(self._ends)):
                acting.alarm_us = None
                acting.wake()

    # --- whose turn -------------------------------------------------------------------------------------------

    def take(self, acting: Acting) -> None:
        """Give the session a turn, now or when another has finished."""
        if self._acting < AT_ONCE_MAX:
            self._acting += 1
            self.again(acting)
        else:
            heapq.heappush(self._waiting, (self._cut_at_us(acting), next(self._order), acting))

    def again(self, acting: Acting) -> None:
        """Let the session go on in the next turn of the loop."""
        self._ready.append(acting)
        self._call()

    def _call(self) -> None:
        if not self._is_called and not self._is_over:
            self._is_called = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._is_called = False
        try:
            self._go_on()
        except Exception as error:  # noqa: BLE001  whatever it is, it is raised by run
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Have `run` raise the error: it is a fault of the program."""
        self._failure = self._failure or error
        self._sooner.ring()

    def _go_on(self) -> None:
        if self._is_over:
            return
        for _ in range(min(len(self._ready), A_TURN_MAX)):
            if self._ready.popleft().go_on():
                self._next()
        self.questions.put()
        if self._ready:
            self._call()

    def answer(self, answers: Sequence[tuple[Acting, Event | None]]) -> None:
        """Give each session its answer, and let them go on at once."""
        for acting, event in answers:
            acting.answered(event)
            self._ready.append(acting)
        self._go_on()

    def _next(self) -> None:
        """One session has finished: another acts in its place."""
        if self._waiting:
            self.again(heapq.heappop(self._waiting)[2])
        else:
            self._acting -= 1

    def _cut_at_us(self, acting: Acting) -> int:
        """When a running call is cut, as a monotonic reading; any other session counts as due now, since it holds up a
        caller or other calls' money."""
        session, now = acting.session, self.clock.now()
        return now.mono_us + max(0, session.due_us - now.wall_us) if session.state is State.RUNNING else now.mono_us


class Questions:
    """What sessions ask for: together, or each for itself."""

    def __init__(
        self,
        turns: Rounds,
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
        self._asked: dict[asyncio.Task[None], Sequence[Acting]] = {}
        """What is asked for now, and who waits for it."""

    async def end(self) -> None:
        """End all questions of sessions that were stopped, and return when they have ended."""
        await end(self._asked)

    def ask(self, acting: Acting, command: do.ReadBalances | do.Post | do.SetDeadline | do.AskSwitch) -> None:
        """Ask, together with what other sessions ask for in this turn."""
        match command:
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
        deadlines, self._deadlines = self._deadlines, []
        looks, self._looks = self._looks, []
        if posts:
            self._begin(self._post(posts), [acting for acting, _ in posts], "sessions-post")
        if reads:
            self._begin(self._read(reads), [acting for acting, _ in reads], "sessions-read")
        if deadlines:
            self._begin(self._set_deadlines(deadlines), [acting for acting, _ in deadlines], "sessions-deadlines")
        if looks:
            self._begin(self._look(looks), [acting for acting, _ in looks], "sessions-look")

    def _begin(self, work: Coroutine[Any, Any, None], waiting: Sequence[Acting], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._asked[task] = waiting
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        waiting = self._asked.pop(task)
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
            balances = self._unless_failed(acting, one)
            answers.append((acting, BalancesRead(balances, command.looks)))
        self._turns.answer(answers)

    async def _post(self, asked: Sequence[tuple[Acting, do.Post]]) -> None:
        try:
            found = await self._ledger.apply_all([(post.transfer, post.grants) for _, post in asked])
        except LedgerError as error:
            found = [error] * len(asked)
        answers = []
        for (acting, post), one in zip(asked, found, strict=True):
            answers.append((acting, Posted(post.transfer, self._unless_failed(acting, one))))
        self._turns.answer(answers)

    def _unless_failed(self, acting: Acting, answer: Any) -> Any:
        """Return the ledger's answer; ``None`` if it is an error, which is logged."""
        if not isinstance(answer, LedgerError):
            return answer
        self._observe(told.LedgerFailed(str(answer), type(answer).__name__), acting.session)
        return None

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
                answers.append((acting, self._unless_silent(acting, one)))
        self._turns.answer(answers)

    async def _look_everywhere(self, acting: Acting, command: do.AskSwitch) -> Event:
        now_us = self._turns.clock.now().mono_us
        try:
            return await self._looker.ask_everywhere(acting.session, command, now_us)
        except SwitchError as error:
            return self._unless_silent(acting, error)

    def _unless_silent(self, acting: Acting, answer: SwitchSaid | SwitchError) -> Event:
        if not isinstance(answer, SwitchError):
            return answer
        self._observe(told.SwitchFailed(str(answer), type(answer).__name__), acting.session)
        return SwitchSilent("other")


def _end_of(at_us: int) -> int:
    """The end of the stretch in which a moment lies."""
    return -(-at_us // TOGETHER_US) * TOGETHER_US
