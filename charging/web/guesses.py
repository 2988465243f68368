"""Limits of tries that name a secret and may be anyone's: a link, a widget's token, a payment of which a hook tells.

A secret has too many bits to be guessed; each try costs a look into the ledger. Tries are counted by address, and many
customers may share one (a gateway of their provider's, a proxy that the settings do not name). So what is good passes,
however many bad ones came from its address: beyond the limit there is one look at a time, and only what was bad is
refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import TypeVar

from charging.clock import Clock
from charging.sources import neighbourhood
from charging.web.limits import Limits

Found = TypeVar("Found")


class Guesses:
    """Of all addresses."""

    def __init__(self, clock: Clock, per_minute: int) -> None:
        """``per_minute``: bad ones, of one address."""
        self._clock = clock
        self._bad = Limits(per_minute)
        self._beyond = asyncio.Lock()

    def bad(self, host: str) -> int:
        """Count a try for which nothing needs to be looked up; the seconds to wait for, 0: it is within the limit."""
        return self._bad.take(neighbourhood(host), self._clock.now().mono_us)

    async def looked(self, host: str, look: Callable[[], Awaitable[Found | None]]) -> tuple[Found | None, int]:
        """What ``look`` has found. If that is nothing: the seconds to wait for, as `bad`. Raises what ``look``
        raises."""
        wait_s = self.bad(host)  # before it is waited for, so that many at once count as many
        async with self._beyond if wait_s else nullcontext():
            found = await look()
        if found is None:
            return None, wait_s
        if not wait_s:
            self._bad.forgive(neighbourhood(host))
        return found, 0
