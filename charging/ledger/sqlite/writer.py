"""The one thread that writes to a ledger file. It commits waiting jobs together.

A durable commit costs one flush of the disk, whatever it holds. While one is under way, the next jobs gather in the
queue; then they share a commit (*group commit*). A job that fails takes nothing but itself back. A caller is answered
only after the commit that holds its job.

A caller that is cancelled or times out stops waiting; its job may be carried out all the same. That is an unknown
outcome like any other: asked again with the same id, the ledger answers EXISTS.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar

from charging.clock import Deadlines
from charging.errors import LedgerError, LedgerUnavailable
from charging.ledger.sqlite.file import DRIVER_ERRORS, connect, translate
from charging.ledger.sqlite.known import Known
from charging.ledger.sqlite.room import makes_room

QUEUE_MAX = 10_000
"""Jobs waiting; one more is refused with LedgerUnavailable."""

BATCH_MAX = 1000
"""Jobs in one commit; bounds how long the first of them waits for the last."""

GATHER_S, SIBLINGS = 0.002, 2
"""So long a commit waits for more jobs, where the one before was for so many callers: under load they come at once, and
a decision takes up to a fifth less of the processor. One caller alone waits for nobody. PostgreSQL has the same by the
names of ``commit_delay`` and ``commit_siblings``."""

REST_S, REST_ROWS = 0.02, 2_500
"""After so many rows the write-ahead log is carried over into the file as soon as no job has come for so long: ticks
come together, each 0.1 s, and it takes a part of what lies between. In a commit (`file.CHECKPOINT_PAGES`) all that wait
would wait for it, too. It is done by this thread and its connection alone: with two, SQLite before version 3.51.3 can
lose what is committed (sqlite.org/wal.html#walresetbug)."""

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], Any]
Together = Callable[[sqlite3.Connection, Sequence[Any]], Sequence[Any]]
"""Carries out many works of one kind, and returns what came of each."""


@dataclass(slots=True)
class Asked:
    """What one caller waits for: some jobs."""

    future: asyncio.Future[None]
    """Done once all of them are answered; before that where the caller has given up."""
    loop: asyncio.AbstractEventLoop
    left: int = 1
    """Jobs that are not answered yet."""


@dataclass(slots=True)
class Job:
    """What a thread is to do with the ledger, and what came of it."""

    work: Work
    asked: Asked
    result: Any = None
    error: Exception | None = None
    together: Together | None = None
    """Carries it out with others of its kind; ``None``: it is carried out alone."""
    after: Work | None = None
    """What is done once it is committed, outside of any transaction, and gives the result."""


class Writer:
    """The writing thread of one ledger file."""

    def __init__(self, path: Path, timeout_s: float, queue_max: int = QUEUE_MAX, known: Known | None = None) -> None:
        """``known`` hears what becomes of each transaction."""
        self._path = path
        self._known = known or Known()
        self._timeout_s = timeout_s
        self._queue_max = queue_max
        self._queue: deque[Job] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._connection: sqlite3.Connection | None = None
        self._rows_in_log = 0
        """Changed since it was carried over."""
        self._deadlines: Deadlines[asyncio.Future[None]] = Deadlines(timeout_s, self._time_out)
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    async def stop(self) -> None:
        """Carry out what is queued, then end the thread, if it was started."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join)

    async def submit(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What ``work`` returned, once it is durable. ``work`` runs in the writer's thread, inside a transaction."""
        (answer,) = await self.submit_all([work])
        if isinstance(answer, LedgerError):
            raise answer
        return answer

    async def changed(self, statement: str, parameters: Mapping[str, object] | tuple[object, ...]) -> bool:
        """Carry out one statement; whether it changed a row."""
        return await self.submit(lambda connection: connection.execute(statement, parameters).rowcount > 0)

    async def submit_all(
        self,
        works: Sequence[Callable[[sqlite3.Connection], T]],
        together: Together | None = None,
        after: Work | None = None,
    ) -> list[T | LedgerError]:
        """What each returned, or why it could not, once all that were carried out are durable. One that fails takes
        nothing but itself back. ``together`` carries out those of one kind that wait together; if it fails, each is
        carried out by itself. ``after`` is done once they are durable, between two transactions, and gives the result;
        it must not wait, for all writes do."""
        if not works:
            return []
        loop = asyncio.get_running_loop()
        asked = Asked(loop.create_future(), loop, len(works))
        jobs = [Job(work, asked, together=together, after=after) for work in works]
        self._enqueue(jobs)
        self._deadlines.begin(asked.future)
        try:
            await asked.future
        finally:
            self._deadlines.end(asked.future)
        return [job.result if job.error is None else expected(job.error) for job in jobs]

    def _enqueue(self, jobs: list[Job]) -> None:
        with self._wake:
            if self._stopping:
                raise LedgerUnavailable(f"ledger {self._path} is closed")
            if len(self._queue) + len(jobs) > self._queue_max:
                raise LedgerUnavailable(f"ledger {self._path}: {len(self._queue)} writes are waiting for the disk")
            self._queue.extend(jobs)
            if len(self._queue) == len(jobs):
                self._wake.notify()

    def _time_out(self, future: asyncio.Future[None]) -> None:
        if not future.done():
            message = f"ledger {self._path} did not answer within {self._timeout_s} s"
            future.set_exception(LedgerUnavailable(message))

    # -- in the writer's thread

    def _run(self) -> None:
        callers = 0
        while batch := self._next_batch(callers):
            callers = len({id(job.asked) for job in batch})
            self._carry_out(batch)
            for job in batch:
                _follow(self._connection, job, self._path)
            for loop in {job.asked.loop for job in batch}:
                hand_back(loop, [job for job in batch if job.asked.loop is loop])
            if self._rows_in_log >= REST_ROWS and not self._is_wanted_within(REST_S):
                self._rows_in_log = 0
                carry_over(self._connection)
        self._disconnect()

    def _is_wanted_within(self, seconds: float) -> bool:
        """Whether there is a job, or comes one so soon, or the end."""
        with self._wake:
            return self._wake.wait_for(lambda: bool(self._queue) or self._stopping, seconds)

    def _next_batch(self, callers: int = 0) -> list[Job]:
        """The jobs waiting now, at least one; none: the writer shall end. ``callers``: so many had the last."""
        with self._wake:
            while not self._queue and not self._stopping:
                self._wake.wait()
            if callers >= SIBLINGS and not self._stopping:
                self._wake.wait(GATHER_S)
            waiting = [self._queue.popleft() for _ in range(min(len(self._queue), BATCH_MAX))]
        return waiting

    def _carry_out(self, batch: list[Job], *, again: bool = False) -> None:
        """Carry out and commit; ``again``: with the room that the ledger had kept for itself. Savepoints cost a copy of
        every page that is written, so they are used only once a job of the batch has failed without them."""
        try:
            connection = self._connection = self._connection or connect(self._path, self._timeout_s / 2)
            before = connection.total_changes
            connection.execute("BEGIN IMMEDIATE")
            if not self._run_together(connection, batch):
                connection.execute("ROLLBACK")
                self._known.rolled_back()
                connection.execute("BEGIN IMMEDIATE")
                self._run_apart(connection, batch)
            connection.execute("COMMIT")
            self._rows_in_log += connection.total_changes - before
            self._known.committed()
        except Exception as error:  # noqa: BLE001  of whatever type: this thread ends with the store alone
            self._known.doubted()
            if not again and makes_room(self._connection, error):
                for job in batch:
                    job.error = None
                self._carry_out(batch, again=True)
                return
            # What a failed flush left behind is not to be trusted: begin again with a new connection, which reads
            # back what is really in the file.
            self._disconnect()
            for job in batch:
                job.error = _translated(error, self._path)

    def _run_together(self, connection: sqlite3.Connection, batch: list[Job]) -> bool:
        try:
            for together, jobs in groupby(batch, attrgetter("together")):
                _run_alike(connection, together, list(jobs))
        except Exception as error:  # noqa: BLE001  whatever it is, it is told to its caller when run apart
            _raise_if_rolled_back(connection, error)
            return False
        return True

    def _run_apart(self, connection: sqlite3.Connection, batch: list[Job]) -> None:
        """Each job that fails takes itself back alone."""
        for job in batch:
            connection.execute("SAVEPOINT job")
            try:
                job.result = job.work(connection)
            except Exception as error:  # noqa: BLE001  whatever it is, it is this caller's alone
                _raise_if_rolled_back(connection, error)
                job.error = _translated(error, self._path) if isinstance(error, DRIVER_ERRORS) else error
                connection.execute("ROLLBACK TO job")
            connection.execute("RELEASE job")

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*DRIVER_ERRORS):  # it is given up, whatever it says
                connection.close()


def _follow(connection: sqlite3.Connection | None, job: Job, path: Path) -> None:
    """Do what is to be done after a job's commit."""
    if job.after is None or job.error is not None or connection is None:
        return
    try:
        job.result = job.after(connection)
    except Exception as error:  # noqa: BLE001  whatever it is, it is this caller's alone
        job.error = _translated(error, path)


def carry_over(connection: sqlite3.Connection | None) -> None:
    """Put what the write-ahead log holds into the file, as far as no reader is in the way."""
    if connection is not None:
        with suppress(*DRIVER_ERRORS):  # what it cannot read or write a commit cannot either, and says so
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")


def _translated(error: Exception, path: Path) -> LedgerError:
    translated = translate(error, path)
    translated.__cause__ = error
    return translated


def _run_alike(connection: sqlite3.Connection, together: Together | None, jobs: list[Job]) -> None:
    if together is None or len(jobs) == 1:
        for job in jobs:
            job.result = job.work(connection)
        return
    results = together(connection, [job.work for job in jobs])
    for job, result in zip(jobs, results, strict=True):
        job.result = result


def _raise_if_rolled_back(connection: sqlite3.Connection, error: Exception) -> None:
    """Raise the error where SQLite took back the whole transaction by itself (disk full, say)."""
    if isinstance(error, DRIVER_ERRORS) and not connection.in_transaction:
        raise error


def hand_back(loop: asyncio.AbstractEventLoop, jobs: list[Job]) -> None:
    """Have the loop that asked for them give the answers, from whatever thread."""
    try:
        loop.call_soon_threadsafe(answer, jobs)
    except RuntimeError:
        return  # the callers' loop is closed: nobody waits any more


def answer(jobs: list[Job]) -> None:
    """Tell those whose jobs are all done, in the loop that asked for them."""
    for job in jobs:
        job.asked.left -= 1
        if not job.asked.left and not job.asked.future.done():  # else it was cancelled or timed out
            job.asked.future.set_result(None)


def expected(error: Exception) -> LedgerError:
    """The error, as an answer; raises any that is no ledger's."""
    if not isinstance(error, LedgerError):
        raise error
    return error
