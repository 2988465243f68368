"""Decides whose document is converted, or whose statement is made, next: a few at a time, one of each account. The
account comes first whose documents have taken least time lately.

Accounts whose documents take as long as they may would keep all others waiting. So an account with a document that took
`SLOW_S` is slow for a while, and slow accounts leave one place to the others. Whether a document is slow is known only
once it has taken that long; so where slow ones have all places and a quick account waits, the document that became slow
last is broken off, and waits again among the slow ones (`Turns.run`). A quick account waits no longer for a place,
however many slow ones there are.

Who waits for a mail's document holds one of the mail server's few places meanwhile, which all customers share: he is
impatient. He does not wait behind a slow account's document if his own account is slow, nor for longer than
`IMPATIENT_S`.
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

SLOW_S = 5
"""Longer than most documents take that people send, on a machine that has other work."""
SLOW_FOR_S = 900
IMPATIENT_S = 15
HALF_S = 300
"""After so many seconds the time that an account's documents have taken counts half."""
FORGOTTEN_S = 10 * HALF_S
"""What they took counts for nothing."""

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
    """A document that is being made ready. Times are on the monotonic clock."""

    begun_us: int
    slow_us: int
    """Since when it takes one of the places of slow ones: from its beginning if its account was slow then."""
    may_break: bool
    broken: asyncio.Event = field(default_factory=asyncio.Event)


class _Lately:
    """What the accounts' documents have taken lately. Times are on the monotonic clock."""

    def __init__(self) -> None:
        self._slow_until_us: dict[str, int] = {}
        self._used: OrderedDict[str, tuple[float, int]] = OrderedDict()
        """Microseconds, and when it was so many. The oldest stands first."""

    def note(self, account: str, took_us: int, now_us: int) -> None:
        """A document of the account is over. What counts no more is forgotten."""
        if took_us >= SLOW_S * MICROSECONDS:
            self._slow_until_us[account] = now_us + SLOW_FOR_S * MICROSECONDS
        self._slow_until_us = {one: until for one, until in self._slow_until_us.items() if until > now_us}
        self._used[account] = self.used_us(account, now_us) + took_us, now_us
        self._used.move_to_end(account)
        while next(iter(self._used.values()))[1] < now_us - FORGOTTEN_S * MICROSECONDS:
            self._used.popitem(last=False)

    def used_us(self, account: str, now_us: int) -> float:
        """Microseconds that its documents have taken; the longer ago, the less of it."""
        used_us, then_us = self._used.get(account, (0.0, now_us))
        return float(used_us * 0.5 ** ((now_us - then_us) / (HALF_S * MICROSECONDS)))

    def is_slow(self, account: str, now_us: int) -> bool:
        """Whether one of them has taken `SLOW_S`."""
        return self._slow_until_us.get(account, 0) > now_us


class Turns:
    """A bounded queue in which each account has an equal share: a slow document holds up those of its own account, and
    then those of other accounts that were slow."""

    def __init__(self, clock: Clock, bounds: QueueBounds = QueueBounds()) -> None:  # it is frozen
        self._clock = clock
        self._bounds = bounds
        self._slow_places = max(1, bounds.at_once - 1)
        self._waiting: dict[str, deque[asyncio.Future[bool]]] = {}
        """By account, in the order in which they came, or were served."""
        self._working: dict[str, _Work] = {}
        self._count: Counter[str] = Counter()
        self._lately = _Lately()

    def hindrance(self, account: str, *, patient: bool = True) -> Refused | None:
        """Why another document of the account cannot wait now."""
        if not patient and self._is_slow(account) and any(map(self._is_slow, (*self._working, *self._waiting))):
            message = f"{self._bounds.what} of account {account!r} take long, and others that do are being made ready"
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
        while (hindrance := self.hindrance(account, patient=patient)) is None:
            async with self._turn(account, patient=patient, may_break=True) as is_turn:
                if not is_turn:
                    return self.crowded()
                done = await self._done(self._working[account], work)
            if done is not None:
                return done.result()
        return hindrance

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
        """The work, once it is over; ``None``: it was broken off."""

        async def working() -> T:
            return await work()

        async def over() -> None:
            await asyncio.wait((task,))

        task = asyncio.create_task(working())
        slow_us = mine.begun_us + SLOW_S * MICROSECONDS
        try:
            await first_of(over(), mine.broken.wait(), self._clock.sleep_until(slow_us))
            if not task.done() and not mine.broken.is_set():
                self._call_next()  # it is slow by now, and others may be waiting for its place
                await first_of(over(), mine.broken.wait())
            return task if task.done() else None
        finally:
            await end((task,))

    def _is_full(self) -> bool:
        return self._count.total() >= self._bounds.at_once + self._bounds.waiting

    def _who_goes(self, account: str) -> asyncio.Future[bool] | None:
        """Which document makes room for the first one of an account: the last of the account that has most, if that
        has several; else for one that is not slow, that of one that is."""
        last = {
            one: mine[-1] for one, queue in self._waiting.items() if (mine := [it for it in queue if not it.done()])
        }
        most = max(last, key=lambda one: self._count[one], default=None)
        if most is None or self._count[account]:
            return None
        if self._count[most] > 1:
            return last[most]
        slow = [] if self._is_slow(account) else [one for one in last if self._is_slow(one)]
        return last[slow[-1]] if slow else None

    def _is_slow(self, account: str) -> bool:
        """Whether a document of it has taken long, lately or just now."""
        now_us = self._clock.now().mono_us
        work = self._working.get(account)
        takes_long = work is not None and now_us - work.begun_us >= SLOW_S * MICROSECONDS
        return takes_long or self._lately.is_slow(account, now_us)

    def _call_next(self) -> None:
        while (account := self._next()) is not None:
            now_us = self._clock.now().mono_us
            slow_us = now_us if self._is_slow(account) else now_us + SLOW_S * MICROSECONDS
            queue = self._waiting.pop(account)
            while queue and queue[0].done():  # nobody waits for it any more
                queue.popleft()
            if queue:
                queue.popleft().set_result(True)
                self._working[account] = _Work(now_us, slow_us, may_break=False)
            if queue:
                self._waiting[account] = queue  # behind all others

    def _next(self) -> str | None:
        """Whose turn it is; ``None``: nobody's now."""
        slow = sum(map(self._is_slow, self._working))
        ready = [
            one
            for one in self._waiting
            if one not in self._working and (slow < self._slow_places or not self._is_slow(one))
        ]
        if not ready:
            return None
        if len(self._working) < self._bounds.at_once:
            now_us = self._clock.now().mono_us
            return min(ready, key=lambda one: self._lately.used_us(one, now_us))
        if slow > self._slow_places:
            self._break_one_off()
        return None

    def _break_one_off(self) -> None:
        """That which became slow last: so one that has the slow ones' place keeps it until it is done."""
        works = [one for one in self._working.values() if one.may_break]
        if works and not any(one.broken.is_set() for one in works):
            max(works, key=lambda one: one.slow_us).broken.set()
