"""Reads a ledger file on threads and connections of its own: WAL lets them see the last commit while the writer works
on the next. Work that may take minutes (a backup, SQLite's check of the whole file) has separate threads, so that no
call waits for it.

Handing work to a thread and back costs more than most reads. So all reads asked for in one turn of the loop go to one
thread together, and their results come back together. If a batch takes too long, one of its reads is slow: then the
finished results come back at once, and the other thread takes the reads that still wait.

A process that decides no calls spares itself the thread for what is read by its key (`KeyReader`).
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from charging.clock import Deadlines
from charging.errors import LedgerUnavailable
from charging.ledger.sqlite.file import DRIVER_ERRORS, connect, translate
from charging.ledger.sqlite.writer import QUEUE_MAX, Asked, Job, answer, hand_back

THREADS = 2
"""Of each kind: for ordinary reads, and for long ones."""

TOGETHER_MAX = 20
"""Reads that are answered together."""

LOOK_S = 0.005
"""How often it is looked whether a slow read holds others up."""

PAGE_ROWS = 500
"""Rows read at a time by what streams; no snapshot is held open between pages."""

T = TypeVar("T")


class Reader:
    """The reading threads of one ledger file, for one event loop."""

    def __init__(self, path: Path, timeout_s: float, queue_max: int = QUEUE_MAX) -> None:
        """``queue_max``: ordinary reads waiting; one more is refused with LedgerUnavailable."""
        self._path = path
        self._timeout_s = timeout_s
        self._queue_max = queue_max
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._pool = _Threads()
        self._lasting = ThreadPoolExecutor(THREADS, thread_name_prefix="ledger-long-reader")
        self._waiting: deque[Job] = deque()
        self._done: deque[Job] = deque()
        """Not answered yet."""
        self._at_work = 0
        """Threads that take what waits."""
        self._gathering = False
        """Whether what is asked in this turn of the loop is handed over at its end."""
        self._looking = False
        self._stopped = False
        self._deadlines: Deadlines[asyncio.Future[None]] = Deadlines(timeout_s, self._time_out)

    async def stop(self) -> None:
        self._stopped = True
        await asyncio.to_thread(self._pool.shutdown)
        await asyncio.to_thread(self._lasting.shutdown, wait=True, cancel_futures=True)
        self._refuse_waiting()
        for connection in self._connections:
            connection.close()

    async def read(self, work: Callable[[sqlite3.Connection], T], *, may_last: bool = False) -> T:
        """What ``work`` returned; it runs in a reading thread, unless its caller has given up before. ``may_last``: as
        long as it takes, in a thread that nothing else waits for. Raises LedgerError; LedgerUnavailable once the
        ledger is closed."""
        if self._stopped:
            raise LedgerUnavailable(f"ledger {self._path} is closed")
        loop = asyncio.get_running_loop()
        job = Job(work, Asked(loop.create_future(), loop))
        if may_last:
            self._begin_lasting(job)
        else:
            self._enqueue(job)
            self._deadlines.begin(job.asked.future)
        try:
            await job.asked.future
        finally:
            self._deadlines.end(job.asked.future)
        if job.error is not None:
            raise job.error
        found: T = job.result
        return found

    async def rows(self, statement: str, parameters: Any = ()) -> list[Any]:
        """All rows of one statement."""
        return await self.read(lambda connection: connection.execute(statement, parameters).fetchall())

    def _enqueue(self, job: Job) -> None:
        if len(self._waiting) >= self._queue_max:
            raise LedgerUnavailable(f"ledger {self._path}: {len(self._waiting)} reads are waiting for the disk")
        self._waiting.append(job)
        if not self._gathering:
            self._gathering = True
            job.asked.loop.call_soon(self._hand_over, job.asked.loop)

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        self._gathering = False
        self._begin(loop)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Put a thread to what waits, if one is idle."""
        if not self._waiting or self._at_work == THREADS or self._stopped:
            return
        try:
            self._pool.submit(partial(self._carry_out_waiting, loop))
        except RuntimeError:  # there can be no more threads
            self._refuse_waiting()
            return
        self._at_work += 1
        if not self._looking:
            self._looking = True
            loop.call_later(LOOK_S, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._answer_done()
        self._begin(loop)
        self._looking = self._at_work > 0
        if self._looking:
            loop.call_later(LOOK_S, self._look, loop)

    def _ended(self, loop: asyncio.AbstractEventLoop) -> None:
        self._at_work -= 1
        self._answer_done()
        self._begin(loop)

    def _answer_done(self) -> None:
        answer([self._done.popleft() for _ in range(len(self._done))])

    def _begin_lasting(self, job: Job) -> None:
        try:
            self._lasting.submit(self._carry_out_lasting, job).add_done_callback(lambda done: self._closed(done, job))
        except RuntimeError:  # it was shut down in this very turn
            self._refuse(job)

    def _closed(self, done: Future[None], job: Job) -> None:
        if done.cancelled():
            self._refuse(job)

    def _refuse_waiting(self) -> None:
        while self._waiting:
            self._refuse(self._waiting.popleft())

    def _refuse(self, job: Job) -> None:
        job.error = LedgerUnavailable(f"ledger {self._path} is closed")
        hand_back(job.asked.loop, [job])

    def _time_out(self, future: asyncio.Future[None]) -> None:
        if not future.done():
            message = f"ledger {self._path} did not answer within {self._timeout_s} s"
            future.set_exception(LedgerUnavailable(message))

    # -- in a reading thread

    def _carry_out_waiting(self, loop: asyncio.AbstractEventLoop) -> None:
        with suppress(RuntimeError):  # the callers' loop is closed: nobody waits any more
            while not self._stopped:
                try:
                    job = self._waiting.popleft()
                except IndexError:  # the other thread has taken the last
                    break
                self._carry_out(job)
                self._done.append(job)
                if len(self._done) == TOGETHER_MAX:
                    loop.call_soon_threadsafe(self._answer_done)
            loop.call_soon_threadsafe(self._ended, loop)

    def _carry_out_lasting(self, job: Job) -> None:
        self._carry_out(job)
        hand_back(job.asked.loop, [job])

    def _carry_out(self, job: Job) -> None:
        if job.asked.future.done():  # its caller has given up
            return
        try:
            job.result = job.work(self._connection())
        except DRIVER_ERRORS as error:
            job.error = translate(error, self._path)
            job.error.__cause__ = error
        except Exception as error:  # noqa: BLE001  whatever it is, it is this caller's alone
            job.error = error

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = connect(self._path, self._timeout_s / 2, read_only=True)
            self._connections.append(connection)
        return connection


class _Threads:
    """For ordinary reads: THREADS of them, begun as they are needed. The work itself tells its end: the library's pool,
    which tells it too, costs as much as a read."""

    def __init__(self) -> None:
        self._begun: list[threading.Thread] = []
        self._works: SimpleQueue[Callable[[], object] | None] = SimpleQueue()

    def submit(self, work: Callable[[], object]) -> None:
        """Have one of them carry it out. Raises RuntimeError: there can be no thread."""
        if len(self._begun) < THREADS:
            thread = threading.Thread(target=self._run, name=f"ledger-reader_{len(self._begun)}", daemon=True)
            with suppress(RuntimeError) if self._begun else nullcontext():
                thread.start()
                self._begun.append(thread)
        self._works.put(work)

    def shutdown(self) -> None:
        """Return when all has been carried out."""
        for _ in self._begun:
            self._works.put(None)
        for thread in self._begun:
            thread.join()

    def _run(self) -> None:
        while (work := self._works.get()) is not None:
            work()


class KeyReader:
    """Reads a few rows by their keys, some 10 µs, of which a thread makes 300: ``at_once`` in the loop's own thread.
    Not for a process that decides calls: a disk that stands still would hold up its loop."""

    def __init__(self, reader: Reader, path: Path, *, at_once: bool) -> None:
        self._reader = reader
        self._path = path
        self._at_once = at_once
        self._connection: sqlite3.Connection | None = None

    def stop(self) -> None:
        self._at_once = False
        if self._connection is not None:
            self._connection.close()

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What ``work`` returned."""
        if self._at_once:
            with suppress(*DRIVER_ERRORS):  # such as a lock: a thread can wait for that
                if self._connection is None:
                    self._connection = connect(self._path, 0, read_only=True)
                return work(self._connection)
        return await self._reader.read(work)

    async def rows(self, statement: str, parameters: Any = ()) -> list[Any]:
        """All rows of one statement."""
        return await self.read(lambda connection: connection.execute(statement, parameters).fetchall())
