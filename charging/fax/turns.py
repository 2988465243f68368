"""Decides whose document is converted next: a few at a time, one of each account, in turn."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from charging.service.refusal import Code, Refused


@dataclass(frozen=True, slots=True)
class QueueBounds:
    """How many documents there may be."""

    at_once: int = 2
    """Being made ready, each of another account: as many as the smallest machine has cores."""
    waiting: int = 20
    """Of all accounts, beside those being made ready; each holds its bytes in memory."""
    of_account: int = 4
    """Of one account, waiting and being made ready."""


class Turns:
    """A bounded queue in which each account has an equal share: a slow document holds up those of its own account."""

    def __init__(self, bounds: QueueBounds = QueueBounds()) -> None:  # it is frozen
        self._bounds = bounds
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        """By account, in the order in which they come next."""
        self._working: set[str] = set()
        """Accounts whose document is being made ready."""
        self._count: Counter[str] = Counter()

    def hindrance(self, account: str) -> Refused | None:
        """Why another document of the account cannot wait now."""
        bounds = self._bounds
        if self._count[account] >= bounds.of_account:
            message = f"{bounds.of_account} documents of account {account!r} are being made ready already"
            return Refused(Code.UNAVAILABLE, message, "nothing was charged; send it again in a minute")
        if self._count.total() >= bounds.at_once + bounds.waiting:
            message = f"{self._count.total()} documents are waiting to be made ready"
            return Refused(Code.UNAVAILABLE, message, "nothing was charged; send it again in a minute")
        return None

    @asynccontextmanager
    async def turn(self, account: str) -> AsyncIterator[None]:
        """Wait for the account's turn, and have it. Ask `hindrance` first."""
        self._count[account] += 1
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(account, deque()).append(mine)
        self._call_next()
        try:
            await mine
            yield
        finally:
            if mine.done() and not mine.cancelled():
                self._working.discard(account)
            self._count[account] -= 1
            self._count += Counter()  # forget accounts without documents
            self._call_next()

    def _call_next(self) -> None:
        for account in [one for one in self._waiting if one not in self._working]:
            if len(self._working) >= self._bounds.at_once:
                return
            queue = self._waiting.pop(account)
            while queue and queue[0].done():  # nobody waits for it any more
                queue.popleft()
            if queue:
                queue.popleft().set_result(None)
                self._working.add(account)
            if queue:
                self._waiting[account] = queue  # behind all others
