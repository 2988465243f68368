"""Reads of a ledger file, on threads and connections of their own: WAL lets them see the last commit while the
writer works on the next. What may take minutes (a backup, SQLite's check of the whole file) has threads apart: no call
waits for it."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from charging.errors import LedgerUnavailable
from charging.ledger.sqlite.file import DRIVER_ERRORS, connect, translate

THREADS = 2
"""Of each kind: for ordinary reads, and for long ones."""

T = TypeVar("T")


class Reader:
    """The reading threads of one ledger file."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="ledger-reader")
        self._lasting = ThreadPoolExecutor(THREADS, thread_name_prefix="ledger-long-reader")
        self._stopped = False

    async def stop(self) -> None:
        self._stopped = True
        for pool in (self._pool, self._lasting):
            await asyncio.to_thread(pool.shutdown, wait=True, cancel_futures=True)
        for connection in self._connections:
            connection.close()

    async def read(self, work: Callable[[sqlite3.Connection], T], *, may_last: bool = False) -> T:
        """What ``work`` returned; it runs in a reading thread. ``may_last``: as long as it takes, in a thread
        that nothing else waits for."""
        if self._stopped:
            raise LedgerUnavailable(f"ledger {self._path} is closed")
        loop = asyncio.get_running_loop()
        pool = self._lasting if may_last else self._pool
        try:
            async with asyncio.timeout(None if may_last else self._timeout_s):
                return await loop.run_in_executor(pool, self._work, work)
        except DRIVER_ERRORS as error:
            raise translate(error, self._path) from error
        except TimeoutError as error:
            raise LedgerUnavailable(f"ledger {self._path} did not answer within {self._timeout_s} s") from error

    async def rows(self, statement: str, parameters: Any = ()) -> list[Any]:
        """All rows of one statement."""
        return await self.read(lambda connection: connection.execute(statement, parameters).fetchall())

    def _work(self, work: Callable[[sqlite3.Connection], T]) -> T:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = connect(self._path, self._timeout_s / 2, read_only=True)
            self._connections.append(connection)
        return work(connection)
