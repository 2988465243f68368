"""Reads of a ledger file, on threads and connections of their own: WAL lets them see the last commit while the
writer works on the next. What may take minutes (a backup, SQLite's check of the whole file) has threads apart: no call
waits for it.

To hand work to a thread and back costs more than most reads. So what is asked in one turn of the loop goes to one
thread together, and comes back together.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from charging.errors import LedgerUnavailable
from charging.ledger.sqlite.file import DRIVER_ERRORS, connect, translate
from charging.ledger.sqlite.writer import Job, hand_back

THREADS = 2
"""Of each kind: for ordinary reads, and for long ones."""

TOGETHER_MAX = 20
"""Reads that go to one thread; bounds how long the first of them waits for the last."""

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
        self._asked: list[Job] = []
        """In this turn of the loop."""
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
        job = Job(work, loop.create_future(), loop)
        if may_last:
            self._hand_over(self._lasting, [job])
        else:
            if not self._asked:
                loop.call_soon(self._hand_over_asked)
            self._asked.append(job)
        timer = None if may_last else loop.call_later(self._timeout_s, self._time_out, job.future)
        try:
            answer: T = await job.future
        finally:
            if timer is not None:
                timer.cancel()
        return answer

    async def rows(self, statement: str, parameters: Any = ()) -> list[Any]:
        """All rows of one statement."""
        return await self.read(lambda connection: connection.execute(statement, parameters).fetchall())

    def _hand_over_asked(self) -> None:
        asked, self._asked = self._asked, []
        for first in range(0, len(asked), TOGETHER_MAX):
            self._hand_over(self._pool, asked[first : first + TOGETHER_MAX])

    def _hand_over(self, pool: ThreadPoolExecutor, jobs: list[Job]) -> None:
        try:
            pool.submit(self._carry_out, jobs).add_done_callback(lambda done: self._closed(done, jobs))
        except RuntimeError:  # it was shut down in this very turn
            self._refuse(jobs)

    def _closed(self, done: Future[None], jobs: list[Job]) -> None:
        if done.cancelled():
            self._refuse(jobs)

    def _refuse(self, jobs: list[Job]) -> None:
        for job in jobs:
            job.error = LedgerUnavailable(f"ledger {self._path} is closed")
        hand_back(jobs[0].loop, jobs)

    def _time_out(self, future: asyncio.Future[Any]) -> None:
        if not future.done():
            message = f"ledger {self._path} did not answer within {self._timeout_s} s"
            future.set_exception(LedgerUnavailable(message))

    # -- in a reading thread

    def _carry_out(self, jobs: list[Job]) -> None:
        for job in jobs:
            try:
                job.result = job.work(self._connection())
            except DRIVER_ERRORS as error:
                job.error = translate(error, self._path)
                job.error.__cause__ = error
            except Exception as error:  # noqa: BLE001  whatever it is, it is this caller's alone
                job.error = error
        hand_back(jobs[0].loop, jobs)

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = connect(self._path, self._timeout_s / 2, read_only=True)
            self._connections.append(connection)
        return connection
