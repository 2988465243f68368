"""Decides whose document is converted, or whose statement is made, next: a few at a time, one of each account. The
account comes first whose documents have taken least time lately.

Accounts whose documents take as long as they may would keep all others waiting, and that a document is slow is known
only once it has taken long. So where all that are being made ready have taken `SLOW_S`, and an account waits whose
documents have taken that much less, one is broken off for it, and begun again at its account's next turn (`Turns.run`).
It is that of the account which has had most, but never the one that was begun first: that is done some day, whoever
comes. So an account that has had little waits for `SLOW_S`, however many slow ones there are, and one whose document
takes longer than that is not kept from it by others who have had more.

Who waits for a mail's document holds one of the mail server's few places meanwhile, which all customers share: he is
impatient, and waits for `IMPATIENT_S` at most; not at all where no place is free and his account has had `SLOW_S`.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from charging.clock import MICROSECONDS, Clock
from charging.service.refusal import Code, Refused
from charging.tasks import end, first_of

SLOW_S = 8
"""Longer than most documents take that people send, on a machine that has other work."""
LOOK_S = 2
"""Between two looks, from then on, whether one is to be broken off."""
IMPATIENT_S = 15
HALF_S = 300
"""After so many seconds the time that an account's documents have taken counts half."""
FORGOTTEN_S = 10 * HALF_S
"""What they took counts for nothing."""

_SLOW_US = SLOW_S * MICROSECONDS
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class QueueBounds:
    """How many documents there may be."""

    at_once: int = 2
    """Being made ready, each of another account: as many as the smallest machine has cores."""
    waiting: int = 20
    """Of all accounts, beside those being made ready; each holds its bytes in memory."""
    of_account: int = 4
    """Of one account, waiting and being made ready."""
    what: str = "documents"
    advice: str = "nothing was charged; send it again in a minute"


@dataclass(eq=False, slots=True)
class _Work:
    """A document that is being made ready."""

    begun_us: int
    """On the monotonic clock."""
    may_break: bool = False
    broken: asyncio.Event = field(default_factory=asyncio.Event)


class Lately:
    """How long the accounts' documents have taken: the longer ago, the less it counts. Times are on the monotonic
    clock."""

    def __init__(self) -> None:
        self._used: OrderedDict[str, tuple[float, int]] = OrderedDict()
        """Microseconds, and when it was so many. The oldest stands first."""

    def note(self, account: str, took_us: int, now_us: int) -> None:
        """A document of the account is over. What counts no more is forgotten."""
        self._used[account] = self.used_us(account, now_us) + took_us, now_us
        self._used.move_to_end(account)
        while next(iter(self._used.values()))[1] < now_us - FORGOTTEN_S * MICROSECONDS:
            self._used.popitem(last=False)

    def used_us(self, account: str, now_us: int) -> float:
        """Microseconds."""
        used_us, then_us = self._used.get(account, (0.0, now_us))
        return float(used_us * 0.5 ** ((now_us - then_us) / (HALF_S * MICROSECONDS)))


class Turns:
    """A bounded queue in which each account has an equal share: slow documents hold up those of accounts that have had
    as much."""

    def __init__(self, clock: Clock, bounds: QueueBounds = QueueBounds()) -> None:  # it is frozen
        self._clock = clock
        self._bounds = bounds
        self._waiting: dict[str, deque[asyncio.Future[bool]]] = {}
        """By account, in the order in which they came, or were served."""
        self._working: dict[str, _Work] = {}
        """By account, in the order in which they began."""
        self._count: Counter[str] = Counter()
        self._lately = Lately()

    def hindrance(self, account: str, *, patient: bool = True) -> Refused | None:
        """Why another document of the account cannot wait now."""
        is_free = len(self._working) < self._bounds.at_once
        if not patient and not (is_free and account not in self._working) and self._used_us(account) >= _SLOW_US:
            message = f"{self._bounds.what} of account {account!r} took long lately, and others are being made ready"
            return Refused(Code.UNAVAILABLE, message, self._bounds.advice)
        if self._count[account] >= self._bounds.of_account:
            most = f"{self._bounds.of_account} {self._bounds.what}"
            message = f"{most} of account {account!r} are being made ready already"
            return Refused(Code.UNAVAILABLE, message, self._bounds.advice)
        return self.crowded() if self._is_full() and self._who_goes(account) is None else None

    def crowded(self) -> Refused:
        """Of one for which there is no room among those of all accounts."""
        message = f"{self._count.total()} {self._bounds.what} are waiting to be made ready"
        return Refused(Code.UNAVAILABLE, message, self._bounds.advice)

    async def run(self, account: str, work: Callable[[], Awaitable[T]], *, patient: bool = True) -> T | Refused:
        """Wait for the account's turn, and return what the work does; or why it cannot be done now. Work that is broken
        off is cancelled, and begun again at its account's next turn."""
        if (hindrance := self.hindrance(account, patient=patient)) is not None:
            return hindrance
        while True:
            async with self._turn(account, patient=patient, may_break=True) as is_turn:
                if not is_turn:
                    return self.crowded()
                done = await self._done(self._working[account], work)
            if done is not None:
                return done.result()

    @asynccontextmanager
    async def turn(self, account: str) -> AsyncIterator[bool]:
        """Wait for the account's turn, and have it: for what cannot be done again, and so is never broken off.
        ``False``: it had to go, for one of an account that has fewer. Ask `hindrance` first."""
        async with self._turn(account, patient=True, may_break=False) as is_turn:
            yield is_turn

    @asynccontextmanager
    async def _turn(self, account: str, *, patient: bool, may_break: bool) -> AsyncIterator[bool]:
        """``False`` also where it did not come in time for who is not ``patient``."""
        if self._is_full() and (goes := self._who_goes(account)) is not None:
            goes.set_result(False)
        self._count[account] += 1
        mine: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(account, deque()).append(mine)
        self._call_next()
        try:
            is_turn = await mine if patient else await self._called_soon(mine)
            if is_turn:
                self._working[account].may_break = may_break
            yield is_turn
        finally:
            if not mine.cancel() and not mine.cancelled() and mine.result():
                now_us = self._clock.now().mono_us
                self._lately.note(account, now_us - self._working.pop(account).begun_us, now_us)
            self._count[account] -= 1
            self._count += Counter()  # forget accounts without documents
            self._call_next()

    async def _called_soon(self, mine: asyncio.Future[bool]) -> bool:
        async def called() -> None:
            await mine

        await first_of(called(), self._clock.sleep_until(self._clock.now().plus(IMPATIENT_S).mono_us))
        return mine.done() and not mine.cancelled() and mine.result()

    async def _done(self, mine: _Work, work: Callable[[], Awaitable[T]]) -> asyncio.Task[T] | None:
        """The work, once it is over; ``None``: it was broken off. Now and then it is looked whether others wait that
        have had less by now."""

        async def working() -> T:
            return await work()

        async def over() -> None:
            await asyncio.wait((task,))

        task, look_us = asyncio.create_task(working()), mine.begun_us + _SLOW_US
        try:
            while not task.done() and not mine.broken.is_set():
                await first_of(over(), mine.broken.wait(), self._clock.sleep_until(look_us))
                look_us += LOOK_S * MICROSECONDS
                if not task.done():
                    self._call_next()
            return task if task.done() else None
        finally:
            await end((task,))

    def _is_full(self) -> bool:
        return self._count.total() >= self._bounds.at_once + self._bounds.waiting

    def _who_goes(self, account: str) -> asyncio.Future[bool] | None:
        """Which document makes room for the first one of an account: the last of the account that has most, if that
        has several; else that of the one that has had most time, if that is so much more."""
        last = {one: queue[-1] for one, queue in self._still_waiting().items()}
        if not last or self._count[account]:
            return None
        most = max(last, key=lambda one: (self._count[one] if self._count[one] > 1 else 0, self._used_us(one)))
        if self._count[most] > 1 or self._used_us(account) + _SLOW_US <= self._used_us(most):
            return last[most]
        return None

    def _still_waiting(self) -> dict[str, deque[asyncio.Future[bool]]]:
        """Those of `_waiting`, once those are out of it that nobody waits for any more: nothing is broken off for
        them."""
        left = ((one, deque(it for it in queue if not it.done())) for one, queue in self._waiting.items())
        self._waiting = {one: queue for one, queue in left if queue}
        return self._waiting

    def _used_us(self, account: str) -> float:
        """With what it takes just now."""
        now_us, work = self._clock.now().mono_us, self._working.get(account)
        return self._lately.used_us(account, now_us) + (now_us - work.begun_us if work is not None else 0)

    def _call_next(self) -> None:
        while (account := self._next()) is not None:
            queue = self._waiting.pop(account)
            queue.popleft().set_result(True)
            self._working[account] = _Work(self._clock.now().mono_us)
            if queue:
                self._waiting[account] = queue  # behind all others

    def _next(self) -> str | None:
        """Whose turn it is; ``None``: nobody's now."""
        ready = [one for one in self._still_waiting() if one not in self._working]
        if not ready:
            return None
        least = min(ready, key=self._used_us)
        if len(self._working) < self._bounds.at_once:
            return least
        self._break_one_off(self._used_us(least))
        return None

    def _break_one_off(self, least_us: float) -> None:
        """For an account that has had so much, if that is due."""
        first_us = self._clock.now().mono_us - _SLOW_US
        if any(one.begun_us > first_us or one.broken.is_set() for one in self._working.values()):
            return  # a place is free soon
        may = [account for account, one in list(self._working.items())[1:] if one.may_break]
        most = max(may, key=self._used_us, default=None)
        if most is not None and least_us + _SLOW_US <= self._used_us(most):
            self._working[most].broken.set()
