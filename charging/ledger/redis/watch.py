"""Whether a master that is watched by sentinels still is one, as far as they know.

WAIT counts any replica. While a fail-over goes on, one replica is the new master already, and another still follows the
former one and confirms what the new one never gets; it is emptied as it turns. So what WAIT has confirmed is answered
only if, asked after it, no sentinel knows of a fail-over. The sentinel that leads one says so before it begins. One
question serves all that wait at the same time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

ANSWER_S = 0.5
"""A sentinel that says nothing for so long is not waited for until it has answered again."""


class Master(Enum):
    """What is known of it."""

    LEADS = "leads"
    """No sentinel that answers knows otherwise."""
    IN_DOUBT = "in doubt"
    """A fail-over goes on."""
    REPLACED = "replaced"
    """Another is the master."""


class SentinelWatch:
    """Asks the sentinels of one master."""

    def __init__(self, sentinels: Sequence[Redis], ask: Callable[[Redis], Awaitable[Sequence[Any]]]) -> None:
        """``ask`` returns a sentinel's answer to ``SENTINEL MASTER NAME`` in a list. It raises RedisError, OSError."""
        self._sentinels = sentinels
        self._answer_of = ask
        self._epoch = 0
        """Of the configuration that names the master which was chosen: each fail-over makes a larger one, which the
        sentinel that leads it has first, and the others some seconds later."""
        self._away: set[int] = set()
        self._asking_again: set[asyncio.Task[Any]] = set()
        self._running: asyncio.Task[Master] | None = None
        self._following: asyncio.Task[Master] | None = None

    def begin(self, epoch: int) -> None:
        """A master was chosen, by a sentinel whose configuration has this epoch."""
        self._epoch = epoch

    async def look(self) -> Master:
        """What is known by those that are asked after this was called."""
        if self._following is None:
            self._following = asyncio.create_task(self._look_after(self._running), name="ledger-sentinels")
        return await asyncio.shield(self._following)

    async def close(self) -> None:
        """Wait until nobody is asked any more, and close the connections."""
        tasks = {one for one in (self._running, self._following) if one is not None} | self._asking_again
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(one.aclose() for one in self._sentinels), return_exceptions=True)

    async def _look_after(self, before: asyncio.Task[Master] | None) -> Master:
        if before is not None:
            await asyncio.wait([before])
        self._running, self._following = self._following, None
        away = set(self._away)
        if not self._asking_again:
            for number in away:
                task = asyncio.create_task(self._ask(number), name="ledger-sentinel-away")
                self._asking_again.add(task)
                task.add_done_callback(self._asking_again.discard)
        there = [number for number in range(len(self._sentinels)) if number not in away]
        found = await asyncio.gather(*map(self._ask, there))
        return next((one for one in (Master.REPLACED, Master.IN_DOUBT) if one in found), Master.LEADS)

    async def _ask(self, number: int) -> Master:
        try:
            async with asyncio.timeout(ANSWER_S):
                (answer,) = await self._answer_of(self._sentinels[number])
        except (RedisError, OSError):
            self._away.add(number)
            return Master.LEADS
        self._away.discard(number)
        if not isinstance(answer, list):  # it refuses, or knows no such master
            return Master.LEADS
        told = dict(zip(answer[::2], answer[1::2], strict=False))
        if int(told.get(b"config-epoch", 0)) > self._epoch:
            return Master.REPLACED
        return Master.IN_DOUBT if b"failover_in_progress" in told.get(b"flags", b"") else Master.LEADS
