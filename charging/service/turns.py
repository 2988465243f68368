"""Decides whose document is converted, or whose statement is made, next: a few at a time, one of each account, in turn.

Two accounts whose documents take as long as they may would keep all others waiting. So an account with a document that
took longer than SLOW_S is slow for a while, and slow accounts leave one place to the others.

Who waits for a mail's document holds one of the mail server's few places meanwhile, which all customers share: he is
impatient. He does not wait behind a slow account's document if his own account is slow, nor for longer than SLOW_S.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from charging.clock import MICROSECONDS, Clock
from charging.service.refusal import Code, Refused
from charging.tasks import first_of

SLOW_S = 15
"""Longer than documents take that people send, on a machine that has other work."""
SLOW_FOR_S = 900


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


class Turns:
    """A bounded queue in which each account has an equal share: a slow document holds up those of its own account, and
    then those of other accounts that were slow."""

    def __init__(self, clock: Clock, bounds: QueueBounds = QueueBounds()) -> None:  # it is frozen
        self._clock = clock
        self._bounds = bounds
        self._waiting: dict[str, deque[asyncio.Future[bool]]] = {}
        """By account, in the order in which they come next."""
        self._working: dict[str, int] = {}
        """Accounts whose document is being made ready, and since when, on the monotonic clock."""
        self._count: Counter[str] = Counter()
        self._slow_until_us: dict[str, int] = {}
        """By account, on the same clock."""

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

    @asynccontextmanager
    async def turn(self, account: str, *, patient: bool = True) -> AsyncIterator[bool]:
        """Wait for the account's turn, and have it; ``False``: it had to go, for one of an account that has fewer, or
        since it did not come in time for who is not ``patient``. Ask `hindrance` first."""
        if self._is_full() and (goes := self._who_goes(account)) is not None:
            goes.set_result(False)
        self._count[account] += 1
        mine: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(account, deque()).append(mine)
        self._call_next()
        try:
            yield await mine if patient else await self._called_soon(mine)
        finally:
            if not mine.cancel() and not mine.cancelled() and mine.result():
                self._note(account)
                del self._working[account]
            self._count[account] -= 1
            self._count += Counter()  # forget accounts without documents
            self._call_next()

    async def _called_soon(self, mine: asyncio.Future[bool]) -> bool:
        async def called() -> None:
            await mine

        await first_of(called(), self._clock.sleep_until(self._clock.now().plus(SLOW_S).mono_us))
        return mine.done() and not mine.cancelled() and mine.result()

    def _is_full(self) -> bool:
        return self._count.total() >= self._bounds.at_once + self._bounds.waiting

    def _who_goes(self, account: str) -> asyncio.Future[bool] | None:
        """Which document makes room for the first one of an account: the last of the account that has most, if that
        has several."""
        last = {
            one: mine[-1] for one, queue in self._waiting.items() if (mine := [it for it in queue if not it.done()])
        }
        most = max(last, key=lambda one: self._count[one], default=None)
        if most is None or self._count[account] or self._count[most] == 1:
            return None
        return last[most]

    def _note(self, account: str) -> None:
        """Whether the account is slow from now on. Those that are no more are forgotten."""
        now_us = self._clock.now().mono_us
        if self._takes_long(account, now_us):
            self._slow_until_us[account] = now_us + SLOW_FOR_S * MICROSECONDS
        self._slow_until_us = {one: until for one, until in self._slow_until_us.items() if until > now_us}

    def _is_slow(self, account: str) -> bool:
        """Whether a document of it has taken long, lately or just now."""
        now_us = self._clock.now().mono_us
        return self._slow_until_us.get(account, 0) > now_us or self._takes_long(account, now_us)

    def _takes_long(self, account: str, now_us: int) -> bool:
        return now_us - self._working.get(account, now_us) > SLOW_S * MICROSECONDS

    def _call_next(self) -> None:
        for account in [one for one in self._waiting if one not in self._working]:
            if len(self._working) >= self._bounds.at_once:
                return
            if self._is_slow(account) and sum(map(self._is_slow, self._working)) >= max(1, self._bounds.at_once - 1):
                continue
            queue = self._waiting.pop(account)
            while queue and queue[0].done():  # nobody waits for it any more
                queue.popleft()
            if queue:
                queue.popleft().set_result(True)
                self._working[account] = self._clock.now().mono_us
            if queue:
                self._waiting[account] = queue  # behind all others
