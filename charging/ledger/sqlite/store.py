"""The ledger in a SQLite file: the embedded default (``sqlite:///var/lib/charging/ledger.db``).

WAL with ``synchronous = FULL``: when a transfer is answered, it is on the disk. One process writes (a lock file beside
the ledger sees to it), by one thread that commits together what waits together; reads go past it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from charging.clock import Clock, SystemClock
from charging.errors import LedgerError, LedgerUnavailable
from charging.ledger.durable import new_file
from charging.ledger.model import (
    AMOUNT_MAX,
    Applied,
    Balance,
    CdrRow,
    JournalLine,
    Kept,
    OpenSession,
    Outcome,
    Snapshot,
    Transfer,
    check_request,
)
from charging.ledger.port import Wanted
from charging.ledger.sqlite import rows as sqlite_rows
from charging.ledger.sqlite.directory import SqliteDirectory, SqliteLeases
from charging.ledger.sqlite.documents import SqliteDocuments, SqliteFeed
from charging.ledger.sqlite.file import (
    DRIVER_ERRORS,
    LAST,
    FileLock,
    assert_current,
    assert_ledger,
    assert_not_older,
    assert_there,
    connect,
    create,
    empty_log,
    migrate,
    place_advice,
    queries,
    translate,
)
from charging.ledger.sqlite.known import Known
from charging.ledger.sqlite.reader import PAGE_ROWS, KeyReader, Reader
from charging.ledger.sqlite.room import Room
from charging.ledger.sqlite.writer import Writer
from charging.ledger.unfinished import assert_whole
from charging.tasks import in_turns

TIMEOUT_S = 5.0
"""How long a call waits for the store before it is LedgerUnavailable."""
SCRUB_TRIES = 20
SCRUB_PAUSE_S = 0.25
"""So often, and so far apart, readers are looked for that have gone meanwhile."""


class SqliteStore:
    """See the port."""

    def __init__(
        self,
        path: Path,
        clock: Clock | None = None,
        timeout_s: float = TIMEOUT_S,
        *,
        reads_only: bool = False,
        upgrades: bool = False,
        keeps_room: bool = False,
    ) -> None:
        """``reads_only``: beside the one process that writes; every change is LedgerUnavailable. ``upgrades``: an older
        program's ledger is brought to this one's schema, without a copy; else it is LedgerUnavailable. ``keeps_room``:
        it goes on for some time after others have filled its disk (`charging.ledger.sqlite.room`)."""
        self._path = path
        self._upgrades = upgrades
        self._reads_only = reads_only
        self._lock = FileLock(path)
        self._timeout_s = timeout_s
        self._clock = clock = clock or SystemClock()
        self._known = known = Known(writes=not reads_only)
        self._room = Room(path, is_kept=keeps_room)
        self._writer = writer = Writer(path, timeout_s, known=known)
        self._reader = reader = Reader(path, timeout_s)
        self._by_key = by_key = KeyReader(reader, path, at_once=reads_only)
        self.directory = SqliteDirectory(writer, reader, by_key, known)
        self.leases = SqliteLeases(writer, clock)
        self.documents = SqliteDocuments(writer, reader, by_key, clock)
        self.feed = SqliteFeed(writer, reader)

    async def open(self) -> None:
        """Make (or upgrade) and lock the file. Raises LedgerUnavailable, LedgerCorrupt. An object opens once."""
        if self._reads_only:
            await self._open_to_read()
            return
        self._lock.acquire()
        try:
            create(self._path)
            self._migrate()
            await assert_whole(self.documents)
        except BaseException:
            await self._reader.stop()
            self._room.let_go()
            self._lock.release()
            raise
        self._writer.start()

    async def _open_to_read(self) -> None:
        await self._writer.stop()
        try:
            assert_current(self._path)
        except sqlite3.Error as error:
            raise translate(error, self._path) from error

    def _migrate(self) -> None:
        try:
            self._room.hold()
            assert_ledger(self._path)
            if not self._upgrades:
                assert_not_older(self._path)
            with closing(connect(self._path, self._timeout_s)) as connection:
                migrate(connection, self._path)
                self._room.hold()
        except DRIVER_ERRORS as error:
            raise translate(error, self._path) from error

    async def close(self) -> None:
        if not self._room.is_tight():
            self._room.let_go()
        await self._writer.stop()
        self._by_key.stop()
        await self._reader.stop()
        self._room.let_go()
        self._lock.release()

    async def ping(self) -> int | None:
        probe = lambda connection: connection.execute(queries()["probe"]).rowcount  # noqa: E731
        (left,) = await self._writer.submit_all([probe], after=self._room.make)
        if isinstance(left, LedgerError):
            raise left
        return None if left is None else int(left)

    async def wall_us(self) -> int | None:
        return None

    async def self_check(self) -> Sequence[str]:
        return await self._reader.read(sqlite_rows.self_check, may_last=True)

    async def scrub(self) -> str:
        if self._room.would_be_lost():
            return "the disk is full, and the write-ahead log still has what was erased: repeat this once it has room"
        for _ in range(SCRUB_TRIES):
            (emptied,) = await self._writer.submit_all([lambda connection: False], after=empty_log)
            if isinstance(emptied, LedgerError):
                raise emptied
            if emptied:
                return ""
            await asyncio.sleep(SCRUB_PAUSE_S)
        return "the write-ahead log was in use, and still has what was erased: repeat this later, or restart the daemon"

    async def warnings(self) -> Sequence[str]:
        return []

    # -- ledger

    async def apply(self, transfer: Transfer, grants: Sequence[Transfer] = ()) -> Applied:
        check_request(transfer, grants)
        (applied,) = await self._writer.submit_all([self._booking(transfer, grants)], sqlite_rows.apply_together)
        if isinstance(applied, LedgerError):
            raise applied
        return applied

    async def apply_all(self, wanted: Sequence[Wanted]) -> Sequence[Applied | LedgerError]:
        for transfer, grants in wanted:
            check_request(transfer, grants)
        bookings = [self._booking(transfer, grants) for transfer, grants in wanted]
        return await self._writer.submit_all(bookings, sqlite_rows.apply_together)

    def _booking(self, transfer: Transfer, grants: Sequence[Transfer]) -> sqlite_rows.Booking:
        return sqlite_rows.Booking(transfer, grants, lambda: self._clock.now().wall_us, self._known)

    async def keep_session(self, account: str, session: str, kept: Kept) -> Outcome:
        return await self._writer.submit(partial(sqlite_rows.keep_session, account=account, session=session, kept=kept))

    async def balances(self, account: str) -> Mapping[str, Balance]:
        if (known := self._known.balances(account)) is not None:
            return known
        return await self._reader.read(partial(sqlite_rows.balances, account=account))

    async def balances_of(self, accounts: Sequence[str]) -> Sequence[Mapping[str, Balance] | LedgerError]:
        found = {account: self._known.balances(account) for account in accounts}
        if unknown := [account for account, balances in found.items() if balances is None]:
            read = await self._reader.read(partial(sqlite_rows.balances_of, accounts=unknown))
            found |= dict(zip(unknown, read, strict=True))
        return [found[account] or {} for account in accounts]

    async def drop_balances(self, account: str, names: Sequence[str]) -> None:
        rows = [(account, name) for name in names]

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany(queries()["drop_balance"], rows)
            self._known.moved(account, None)

        await self._writer.submit(work)

    async def sessions(self, switch: str | None = None, account: str | None = None) -> Sequence[OpenSession]:
        statement = queries()["sessions" if account is None else "sessions_of_account"]
        rows = await self._reader.rows(statement, {"switch": switch, "account": account})
        return [sqlite_rows.open_session(row) async for row in in_turns(rows)]

    async def sessions_page(self, after: str, limit: int, *, backwards: bool = False) -> Sequence[OpenSession]:
        query, bound = ("sessions_before", after or LAST) if backwards else ("sessions_after", after)
        rows = await self._reader.rows(queries()[query], (bound, limit))
        return [sqlite_rows.open_session(row) for row in rows]

    async def session(self, session: str, switch: str | None = None) -> OpenSession | None:
        rows = await self._reader.rows(queries()["session_of_id"], {"id": session, "switch": switch})
        return sqlite_rows.open_session(rows[0]) if rows else None

    async def snapshot(self, account: str) -> Snapshot:
        return await self._by_key.read(partial(sqlite_rows.snapshot, account=account))

    async def journal(self, account: str, after: int = 0) -> AsyncIterator[JournalLine]:
        more = True
        while more:
            rows = await self._reader.rows(queries()["journal_after"], (account, after, PAGE_ROWS))
            for line in map(sqlite_rows.journal_line, rows):
                yield line
                after = line.number
            more = len(rows) == PAGE_ROWS

    async def journal_page(self, account: str, before: int | None, limit: int) -> Sequence[JournalLine]:
        last = AMOUNT_MAX if before is None else before
        rows = await self._reader.rows(queries()["journal_before"], (account, last, limit))
        return [sqlite_rows.journal_line(row) for row in rows]

    async def cdrs(
        self,
        *,
        account: str | None = None,
        since_us: int = 0,
        until_us: int | None = None,
        after: tuple[int, str] | None = None,
        limit: int = 100,
        backwards: bool = False,
    ) -> Sequence[CdrRow]:
        after_us, after_session = after if after is not None else (AMOUNT_MAX if backwards else -AMOUNT_MAX, "")
        until_us = AMOUNT_MAX if until_us is None else until_us
        # SQLite begins to read at these, not at the row value: without them each page would read all those before it.
        bounds = {
            "account": account,
            "since": since_us if backwards else max(since_us, after_us),
            "until": min(until_us, after_us + 1) if backwards else until_us,
            "after_us": after_us,
            "after_session": after_session,
            "limit": limit,
        }
        statement = queries()[("cdrs" if account is None else "cdrs_of_account") + ("_back" if backwards else "")]
        return [CdrRow(row[1], row[0], row[2], row[3]) for row in await self._reader.rows(statement, bounds)]

    async def cdr(self, account: str, session: str) -> CdrRow | None:
        rows = await self._reader.rows(queries()["cdr"], (account, session))
        return CdrRow(session, account, *rows[0]) if rows else None

    # -- restoring

    async def restore_lines(self, account: str, lines: Sequence[JournalLine], balances: Mapping[str, Balance]) -> None:
        def work(connection: sqlite3.Connection) -> None:
            sqlite_rows.restore_lines(connection, account, lines, balances)
            self._known.moved(account, None)

        await self._writer.submit(work)

    async def restore_cdrs(self, cdrs: Sequence[CdrRow]) -> None:
        rows = [(cdr.account, cdr.session, cdr.ended_us, cdr.document) for cdr in cdrs]
        await self._writer.submit(lambda connection: connection.executemany(queries()["store_cdr"], rows).rowcount)

    # -- archiving

    async def replace_head(self, opening: JournalLine, archived: Sequence[JournalLine]) -> bool:
        work = partial(sqlite_rows.replace_head, opening=opening, archived=archived)
        return await self._writer.submit(work)

    async def replace_cdrs(self, cdrs: Sequence[CdrRow]) -> None:
        rows = [(cdr.document, cdr.account, cdr.session) for cdr in cdrs]
        await self._writer.submit(lambda connection: connection.executemany(queries()["replace_cdr"], rows).rowcount)

    async def forget_cdrs(self, cdrs: Sequence[CdrRow]) -> None:
        rows = [(cdr.account, cdr.session) for cdr in cdrs]
        await self._writer.submit(lambda connection: connection.executemany(queries()["delete_cdr"], rows).rowcount)

    # -- keeping

    async def backup(self, path: Path) -> None:
        assert_there(self._path)
        try:
            with new_file(path) as part:
                await self._reader.read(partial(sqlite_rows.backup, path=part), may_last=True)
        except OSError as error:
            raise LedgerUnavailable(f"{path}: {error.strerror}; {place_advice(error)}") from error
