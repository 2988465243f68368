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
Of the accounts that have had as much, one document of an impatient one is made ready at a time, wherever places are
free: that of the account which has had less. Else a few accounts would hold all places of the mail server for good.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
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

BYTES = 60_000_000
"""Of all documents, waiting and being made ready: they are in memory."""

_SLOW_US = SLOW_S * MICROSECONDS
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class QueueBounds:
    """How many documents there may be."""

    at_once: int = 2
    """Being made ready, each of another account: as many as the smallest machine has cores."""
    waiting: int = 20
    """Of all accounts, beside those being made ready."""
    bytes: int = BYTES
    """Of all, waiting and being made ready. One that is larger is taken where it is alone."""
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
    is_patient: bool = True
    must_go: bool = False
    """It is broken off, and its turn does not come again."""
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


class _Had:
    """What the accounts have had, and have now: by account the work that is being done, in the order in which it
    began."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lately = Lately()
        self.working: dict[str, _Work] = {}

    def begin(self, account: str) -> None:
        """Its work is done from now on."""
        self.working[account] = _Work(self._clock.now().mono_us)

    def end(self, account: str) -> None:
        """It is over."""
        now_us = self._clock.now().mono_us
        self._lately.note(account, now_us - self.working.pop(account).begun_us, now_us)

    def used_us(self, account: str) -> float:
        """Microseconds, with what its work takes just now."""
        now_us, work = self._clock.now().mono_us, self.working.get(account)
        return self._lately.used_us(account, now_us) + (now_us - work.begun_us if work is not None else 0)

    def slow_and_impatient(self) -> list[str]:
        """Whose work is being done that have had much and are not patient; who began last stands first."""
        working = ((account, work) for account, work in reversed(self.working.items()) if not work.broken.is_set())
        return [one for one, work in working if not work.is_patient and self.used_us(one) >= _SLOW_US]

    def leave_one(self) -> None:
        """Of these, that of the account which has had most goes."""
        if len(slow := self.slow_and_impatient()) > 1:
            goes = self.working[max(slow, key=self.used_us)]
            goes.must_go = True
            goes.broken.set()

    def break_one_off(self, least_us: float) -> None:
        """For an account that has had so much, if that is due."""
        first_us = self._clock.now().mono_us - _SLOW_US
        if any(one.begun_us > first_us or one.broken.is_set() for one in self.working.values()):
            return  # a place is free soon
        may = [account for account, one in list(self.working.items())[1:] if one.may_break]
        most = max(may, key=self.used_us, default=None)
        if most is not None and least_us + _SLOW_US <= self.used_us(most):
            self.working[most].broken.set()


class Turns:
    """A bounded queue in which each account has an equal share: slow documents hold up those of accounts that have had
    as much."""

    def __init__(self, clock: Clock, bounds: QueueBounds = QueueBounds()) -> None:  # it is frozen
        self._clock = clock
        self._bounds = bounds
        self._waiting: dict[str, deque[asyncio.Future[bool]]] = {}
        """By account, in the order in which they came, or were served."""
        self._had = _Had(clock)
        self._count: Counter[str] = Counter()
        self._held: dict[asyncio.Future[bool], tuple[str, int]] = {}
        """Of each that waits or is being made ready its account, and its bytes."""

    def hindrance(self, account: str, *, patient: bool = True, size: int = 0) -> Refused | None:
        """Why another document of the account, of ``size`` bytes, cannot wait now."""
        if not patient and self._had.used_us(account) >= _SLOW_US and not self._is_free_for_slow(account):
            return _took_long(account, self._bounds)
        if self._count[account] >= self._bounds.of_account:
            most = f"{self._bounds.of_account} {self._bounds.what}"
            message = f"{most} of account {account!r} are being made ready already"
            return Refused(Code.UNAVAILABLE, message, self._bounds.advice)
        return self.crowded() if self._who_make_room(account, size) is None else None

    def _is_free_for_slow(self, account: str) -> bool:
        """Whether a document of an account that has had much, which nobody is to wait for, is begun at once."""
        is_free = len(self._had.working) < self._bounds.at_once and account not in self._had.working
        least_us = min(map(self._had.used_us, self._had.slow_and_impatient()), default=None)
        return is_free and (least_us is None or self._had.used_us(account) + _SLOW_US <= least_us)

    def crowded(self) -> Refused:
        """Of one for which there is no room among those of all accounts."""
        message = f"{self._count.total()} {self._bounds.what} are waiting to be made ready"
        return Refused(Code.UNAVAILABLE, message, self._bounds.advice)

    async def run(
        self, account: str, work: Callable[[], Awaitable[T]], *, patient: bool = True, size: int = 0
    ) -> T | Refused:
        """Wait for the account's turn, and return what the work does; or why it cannot be done now. Work that is broken
        off is cancelled, and begun again at its account's next turn. ``size``: of its document, in bytes."""
        if (hindrance := self.hindrance(account, patient=patient, size=size)) is not None:
            return hindrance
        while True:
            async with self._turn(account, size, patient=patient, may_break=True) as is_turn:
                if not is_turn:
                    return self.crowded()
                mine = self._had.working[account]
                done = await self._done(mine, work)
            if done is not None:
                return done.result()
            if mine.must_go:
                return _took_long(account, self._bounds)

    @asynccontextmanager
    async def turn(self, account: str) -> AsyncIterator[bool]:
        """Wait for the account's turn, and have it: for what cannot be done again, and so is never broken off.
        ``False``: it had to go, for one of an account that has fewer. Ask `hindrance` first."""
        async with self._turn(account, 0, patient=True, may_break=False) as is_turn:
            yield is_turn

    @asynccontextmanager
    async def _turn(self, account: str, size: int, *, patient: bool, may_break: bool) -> AsyncIterator[bool]:
        """``False`` also where it did not come in time for who is not ``patient``."""
        for goes in self._who_make_room(account, size) or ():
            goes.set_result(False)
            del self._held[goes]
        self._count[account] += 1
        mine: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._held[mine] = account, size
        self._waiting.setdefault(account, deque()).append(mine)
        self._call_next()
        try:
            is_turn = await mine if patient else await self._called_soon(mine)
            if is_turn:
                self._had.working[account].may_break, self._had.working[account].is_patient = may_break, patient
            yield is_turn
        finally:
            if not mine.cancel() and not mine.cancelled() and mine.result():
                self._had.end(account)
            self._held.pop(mine, None)
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

    def _who_make_room(self, account: str, size: int) -> list[asyncio.Future[bool]] | None:
        """Whose documents go for another of the account, of ``size`` bytes; ``None``: there is no room for it."""
        go: list[asyncio.Future[bool]] = []
        most = self._bounds.at_once + self._bounds.waiting
        while (is_heavy := self._is_heavy(size, go)) or self._count.total() - len(go) >= most:
            one = self._who_goes(account, size, go, is_heavy=is_heavy)
            if one is None:
                return None
            go.append(one)
        return go

    def _is_heavy(self, size: int, gone: Collection[asyncio.Future[bool]]) -> bool:
        """Whether that is too many bytes."""
        if not size:
            return False
        held = sum(its for one, (_, its) in self._held.items() if one not in gone)
        return held > 0 and held + size > self._bounds.bytes

    def _who_goes(
        self, account: str, size: int, gone: Collection[asyncio.Future[bool]], *, is_heavy: bool
    ) -> asyncio.Future[bool] | None:
        """Which document makes room for the first one of an account: the last of the account that has most, if that
        has several (of bytes: more than this one); else that of the one that has had most time, if that is so much
        more."""
        queues = ((one, [it for it in queue if it not in gone]) for one, queue in self._still_waiting().items())
        last = {one: queue[-1] for one, queue in queues if queue}
        if not last or self._count[account]:
            return None
        has: Counter[str] = Counter()
        for it, (one, its) in self._held.items():
            has[one] += (its if is_heavy else 1) if it not in gone else 0
        enough = size if is_heavy else 1
        most = max(last, key=lambda one: (has[one] if has[one] > enough else 0, self._had.used_us(one)))
        if has[most] > enough or self._had.used_us(account) + _SLOW_US <= self._had.used_us(most):
            return last[most]
        return None

    def _still_waiting(self) -> dict[str, deque[asyncio.Future[bool]]]:
        """Those of `_waiting`, once those are out of it that nobody waits for any more: nothing is broken off for
        them."""
        left = ((one, deque(it for it in queue if not it.done())) for one, queue in self._waiting.items())
        self._waiting = {one: queue for one, queue in left if queue}
        return self._waiting

    def _call_next(self) -> None:
        self._had.leave_one()
        while (account := self._next()) is not None:
            queue = self._waiting.pop(account)
            queue.popleft().set_result(True)
            self._had.begin(account)
            if queue:
                self._waiting[account] = queue  # behind all others

    def _next(self) -> str | None:
        """Whose turn it is; ``None``: nobody's now."""
        ready = [one for one in self._still_waiting() if one not in self._had.working]
        if not ready:
            return None
        least = min(ready, key=self._had.used_us)
        if len(self._had.working) < self._bounds.at_once:
            return least
        self._had.break_one_off(self._had.used_us(least))
        return None


def _took_long(account: str, bounds: QueueBounds) -> Refused:
    message = f"{bounds.what} of account {account!r} took long lately, and others are being made ready"
    return Refused(Code.UNAVAILABLE, message, bounds.advice)
