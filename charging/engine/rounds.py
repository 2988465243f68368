"""Whose turn it is, and what is asked for all of them together.

Sessions only wait, most of the time: one queue of deadlines says when each wants to be woken. What is due within one
stretch of :data:`TOGETHER_US` has its turn at one moment, and what those sessions ask for in it is one question: one
read of all their balances, one transaction, one write to the switch. The answers are handed to each by a plain call.
What becomes of one touches no other.

Of very many that have something to do at once (after an outage, say) so many act at a time, and then the one whose
paid time ends first.
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
from charging.clock import Clock
from charging.engine import told
from charging.engine.looker import Looker
from charging.engine.ports import Observer, Switch
from charging.errors import LedgerError, SwitchError
from charging.ledger.port import Ledger
from charging.tasks import end, first_of

TOGETHER_US = 100_000
"""What falls due within one such stretch is woken at its end: at most so much later than it wished. A tick is due a
whole horizon before its call's money ends."""

AT_ONCE_MAX = 256
"""Sessions that act at the same time. Each has a few orders to the switch on their way, at most."""

A_TURN_MAX = 32
"""Sessions that go on within one turn of the loop: new callers wait no longer than for these."""


C = TypeVar("C", bound=do.Command)


class Acting(Protocol):
    """A session, as far as its turns are concerned."""

    session: Record
    alarm_us: int | None
    """When it wants to be woken next, by the monotonic clock."""

    def wake(self) -> None:
        """What it wished to be woken for is due."""

    def go_on(self) -> bool:
        """Do what there is to do; ``False``: it waits for an answer, which `answered` gives it."""

    def answered(self, event: Event | None) -> None:
        """The answer to what it asked; ``None``: there is nothing to say."""


class Rounds:
    """The sessions of one switch."""

    def __init__(
        self,
        ledger: Ledger,
        switch: Switch,
        looker: Looker,
        clock: Clock,
        observe: Observer,
        leads: Callable[[], bool],
    ) -> None:
        """``leads``: whether orders to the switch are ours to give."""
        self._ledger = ledger
        self._switch = switch
        self._looker = looker
        self._clock = clock
        self._observe = observe
        self._leads = leads
        self._due: dict[int, dict[Acting, None]] = {}
        """Who wants to be woken, by the end of the stretch in which that is."""
        self._ends: list[int] = []
        """The ends of those stretches: a heap."""
        self._sleeps_until_us: int | None = None
        self._sooner = asyncio.Event()
        self._failure: BaseException | None = None
        self._ready: deque[Acting] = deque()
        """Who goes on in the next turn of the loop."""
        self._is_called = False
        self._acting = 0
        self._waiting: list[tuple[int, int, Acting]] = []
        """Who acts once others are through: a heap, by when each is cut."""
        self._order = count()
        self._reads: list[tuple[Acting, do.ReadBalances]] = []
        self._posts: list[tuple[Acting, do.Post]] = []
        self._deadlines: list[tuple[Acting, do.SetDeadline]] = []
        self._looks: list[tuple[Acting, do.AskSwitch]] = []
        self._asked: dict[asyncio.Task[None], Sequence[Acting]] = {}
        """What is asked for now, and who waits for it."""
        self._is_over = False

    # --- when -------------------------------------------------------------------------------------------------

    def wake_at(self, acting: Acting, at_us: int | None) -> None:
        """Wake it once ``at_us`` has come by the monotonic clock, and not when it wished before; ``None``: not at
        all."""
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
        if self._sleeps_until_us is None or end_us < self._sleeps_until_us:
            self._sooner.set()

    async def run(self) -> NoReturn:
        """Wake who is due, for ever. Raises what a session has failed with: a fault of ours, loudly."""
        try:
            while self._failure is None:
                self._wake_due()
                self._sooner.clear()
                self._sleeps_until_us = self._ends[0] if self._ends else None
                await self._sleep(self._sleeps_until_us)
            raise self._failure
        finally:
            self._is_over = True
            await end(self._asked)

    def _wake_due(self) -> None:
        now_us = self._clock.now().mono_us
        while self._ends and (self._ends[0] <= now_us or not self._due[self._ends[0]]):
            for acting in self._due.pop(heapq.heappop(self._ends)):
                acting.alarm_us = None
                acting.wake()

    async def _sleep(self, until_us: int | None) -> None:
        """Until then, or until an earlier one is set."""
        if until_us is None:
            await self._sooner.wait()
            return
        await first_of(self._clock.sleep_until(until_us), self._sooner.wait())

    # --- whose turn -------------------------------------------------------------------------------------------

    def take(self, acting: Acting) -> None:
        """It has something to do."""
        if self._acting < AT_ONCE_MAX:
            self._acting += 1
            self.again(acting)
        else:
            heapq.heappush(self._waiting, (self._cut_at_us(acting), next(self._order), acting))

    def again(self, acting: Acting) -> None:
        """It goes on in the next turn of the loop."""
        self._ready.append(acting)
        self._call()

    def _call(self) -> None:
        if not self._is_called and not self._is_over:
            self._is_called = True
            asyncio.get_running_loop().call_soon(self._turn)

    async def end(self) -> None:
        """The sessions that there are were stopped: end what is asked for them, and return once it has ended."""
        await end(self._asked)

    def _turn(self) -> None:
        self._is_called = False
        try:
            self._go_on()
        except Exception as error:  # noqa: BLE001  whatever it is, it is raised by run
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error
        self._sooner.set()

    def _go_on(self) -> None:
        if self._is_over:
            return
        for _ in range(min(len(self._ready), A_TURN_MAX)):
            if self._ready.popleft().go_on():
                self._next()
        self._ask()
        if self._ready:
            self._call()

    def _next(self) -> None:
        """One is through: another acts in its place."""
        if self._waiting:
            self.again(heapq.heappop(self._waiting)[2])
        else:
            self._acting -= 1

    def _cut_at_us(self, acting: Acting) -> int:
        """Monotonic; for all but running calls now, for they hold up a caller, or money of others."""
        session, now = acting.session, self._clock.now()
        return now.mono_us + max(0, session.due_us - now.wall_us) if session.state is State.RUNNING else now.mono_us

    # --- what they ask for ------------------------------------------------------------------------------------

    def ask(self, acting: Acting, command: do.ReadBalances | do.Post | do.SetDeadline | do.AskSwitch) -> None:
        """Asked for together with what others ask for in this turn."""
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
        """Asked for by itself: what is rare, or takes more than one question."""
        self._begin(self._answered_by(acting, command, asks), [acting], "session-asks")

    async def _answered_by(self, acting: Acting, command: C, asks: Callable[[C], Awaitable[Event | None]]) -> None:
        acting.answered(await asks(command))
        self.again(acting)  # what others were answered in this turn makes one question with what it asks now

    def _ask(self) -> None:
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
                self.again(acting)
        elif (error := task.exception()) is not None:
            self._fail(error)

    def _answer(self, answers: Sequence[tuple[Acting, Event | None]]) -> None:
        for acting, event in answers:
            acting.answered(event)
            self._ready.append(acting)
        self._go_on()

    async def _read(self, asked: Sequence[tuple[Acting, do.ReadBalances]]) -> None:
        try:
            found = await self._ledger.balances_of([acting.session.account for acting, _ in asked])
        except LedgerError as error:
            found = [error] * len(asked)
        answers = []
        for (acting, command), one in zip(asked, found, strict=True):
            balances = self._unless_failed(acting, one)
            answers.append((acting, BalancesRead(balances, command.looks)))
        self._answer(answers)

    async def _post(self, asked: Sequence[tuple[Acting, do.Post]]) -> None:
        try:
            found = await self._ledger.apply_all([(post.transfer, post.grants) for _, post in asked])
        except LedgerError as error:
            found = [error] * len(asked)
        answers = []
        for (acting, post), one in zip(asked, found, strict=True):
            answers.append((acting, Posted(post.transfer, self._unless_failed(acting, one))))
        self._answer(answers)

    def _unless_failed(self, acting: Acting, answer: Any) -> Any:
        """The ledger's answer; ``None``: it had none."""
        if not isinstance(answer, LedgerError):
            return answer
        self._observe(told.LedgerFailed(str(answer), type(answer).__name__), acting.session)
        return None

    async def _set_deadlines(self, asked: Sequence[tuple[Acting, do.SetDeadline]]) -> None:
        if not self._leads():
            # Frozen and woken up late: another daemon may have moved these calls' deadlines since.
            self._answer([(acting, SwitchSilent("set_deadline")) for acting, _ in asked])
            return
        orders = [one for _, command in asked for one in command.deadlines]
        failed = iter(await self._switch.set_deadlines(orders))
        answers: list[tuple[Acting, Event]] = []
        for acting, command in asked:
            errors = [error for error in [next(failed) for _ in command.deadlines] if error is not None]
            if errors:
                self._observe(told.SwitchFailed(str(errors[0]), type(errors[0]).__name__), acting.session)
            answers.append((acting, SwitchSilent("set_deadline") if errors else DeadlineSet(command.covered_s)))
        self._answer(answers)

    async def _look(self, asked: Sequence[tuple[Acting, do.AskSwitch]]) -> None:
        now_us = self._clock.now().mono_us
        found = await self._looker.ask([(acting.session, command) for acting, command in asked], now_us)
        answers: list[tuple[Acting, Event]] = []
        for (acting, command), one in zip(asked, found, strict=True):
            if one is None:
                self.aside(acting, command, partial(self._look_everywhere, acting))
            else:
                answers.append((acting, self._unless_silent(acting, one)))
        self._answer(answers)

    async def _look_everywhere(self, acting: Acting, command: do.AskSwitch) -> Event:
        now_us = self._clock.now().mono_us
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
    """Of the stretch that it lies in."""
    return -(-at_us // TOGETHER_US) * TOGETHER_US
