"""What one durable write takes by itself, beside the daemon and in the same minutes: no ledger on that disk is faster.

Where the ledger is a file: 500 bytes and one fdatasync, in the same folder. In a Redis: one SET at a server that
answers, with WAIT for a replica where the daemon's writes wait for one.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError

from charging.tasks import end
from tests.benchmarks.figures import percentile
from tests.benchmarks.ledgers import Ledger

PAUSE_S = 0.05
BYTES = b"x" * 500
WAIT_MS = 2000


class Floor:
    """The waits so far, in seconds."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def read(self) -> dict[str, float]:
        """Half and 99 of 100 of them, in ms."""
        return {f"raw_p{percent}": 1000 * percentile(self.waits, percent) for percent in (50, 99)}

    async def measure(self, write: Callable[[], Awaitable[object]]) -> None:
        """For ever, or until that server is killed."""
        with suppress(RedisError, OSError):
            while True:
                before = time.perf_counter()
                await write()
                waited = time.perf_counter() - before
                self.waits.append(waited)
                while (waited := waited - PAUSE_S) > 0:  # who had come meanwhile would have waited the rest
                    self.waits.append(waited)
                await asyncio.sleep(PAUSE_S)


@asynccontextmanager
async def floor(ledger: Ledger, folder: Path) -> AsyncIterator[Floor]:
    """Measured until the block ends."""
    found = Floor()
    async with _writer(ledger, folder) as write:
        task = asyncio.create_task(found.measure(write))
        try:
            yield found
        finally:
            await end([task])


@asynccontextmanager
async def _writer(ledger: Ledger, folder: Path) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    if ledger.port is None:
        file = os.open(folder / "floor", os.O_CREAT | os.O_WRONLY | os.O_APPEND)

        def flushed() -> None:
            os.write(file, BYTES)
            os.fdatasync(file)

        try:
            yield lambda: asyncio.to_thread(flushed)
        finally:
            os.close(file)
        return

    async with Redis(port=ledger.port, single_connection_client=True) as redis:

        async def written() -> None:
            await redis.set(ledger.raw_key, BYTES)
            if ledger.replicas:
                await redis.wait(ledger.replicas, WAIT_MS)

        yield written
