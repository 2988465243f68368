"""Limits of tries that name a secret and may be anyone's: a link, a widget's token, a payment of which a hook tells.

A secret has too many bits to be guessed; each try costs a look into the ledger. Tries are counted by address, and many
customers may share one (a gateway of their provider's, a proxy that the settings do not name). So what is good passes,
however many bad ones came from its address: beyond the limit an address has one look at a time, and what was bad is
refused, or what had no turn within TURN_S.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar
from weakref import WeakValueDictionary

from charging.clock import Clock
from charging.limits import Limits
from charging.sources import neighbourhood

TURN_S = 10
"""For a look beyond the limit to begin: those before it may find a ledger that does not answer."""

Found = TypeVar("Found")


class Guesses:
    """Of all addresses."""

    def __init__(self, clock: Clock, per_minute: int) -> None:
        """``per_minute``: bad ones, of one address."""
        self._clock = clock
        self._bad = Limits(per_minute)
        self._beyond: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """By address; those that someone holds or waits for."""

    def bad(self, host: str) -> int:
        """Count a try for which nothing needs to be looked up; the seconds to wait for, 0: it is within the limit."""
        return self._bad.take(neighbourhood(host), self._clock.now().mono_us)

    async def looked(self, host: str, look: Callable[[], Awaitable[Found | None]]) -> tuple[Found | None, int]:
        """What ``look`` has found. If that is nothing: the seconds to wait for, as `bad`. Raises what ``look``
        raises."""
        wait_s = self.bad(host)  # before it is waited for, so that many at once count as many
        found = await (self._in_turn(neighbourhood(host), look) if wait_s else look())
        if found is None:
            return None, wait_s
        if not wait_s:
            self._bad.forgive(neighbourhood(host))
        return found, 0

    async def _in_turn(self, address: str, look: Callable[[], Awaitable[Found | None]]) -> Found | None:
        turn = self._beyond.setdefault(address, asyncio.Lock())
        try:
            async with asyncio.timeout(TURN_S):
                await turn.acquire()
        except TimeoutError:
            return None
        try:
            return await look()
        finally:
            turn.release()
