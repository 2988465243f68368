"""Accounts, numbers and leases in a ledger's SQLite file; see :mod:`charging.ledger.port`."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial

from charging.clock import MICROSECONDS, Clock
from charging.ledger.accounts import Account, Number, folded
from charging.ledger.codec import dump_account, dump_number, load_account, load_number
from charging.ledger.model import Called
from charging.ledger.port import SOLE
from charging.ledger.sqlite import rows as sqlite_rows
from charging.ledger.sqlite.file import LAST, queries
from charging.ledger.sqlite.known import Known
from charging.ledger.sqlite.reader import PAGE_ROWS, KeyReader, Reader
from charging.ledger.sqlite.writer import Writer
from charging.ledger.unfinished import MARK


class SqliteDirectory:
    """Part of the SQLite store."""

    def __init__(self, writer: Writer, reader: Reader, by_key: KeyReader, known: Known) -> None:
        self._writer = writer
        self._reader = reader
        self._by_key = by_key
        self._known = known

    async def account(self, account: str) -> Account | None:
        rows = await self._by_key.rows(queries()["account"], (account,))
        return load_account(rows[0][1], rows[0][0]) if rows else None

    async def put_account(self, account: Account) -> bool:
        record = {"id": account.id, "record": dump_account(account), "version": account.version}
        query = "update_account" if account.version else "insert_account"
        return await self._writer.submit(partial(_change_account, known=self._known, query=query, record=record))

    async def accounts(self) -> AsyncIterator[Account]:
        after = ""
        while page := await self.accounts_page(after, PAGE_ROWS):
            for account in page:
                yield account
            after = page[-1].id

    def account_ids(self) -> AsyncIterator[str]:
        return self._ids("account_ids_after")

    async def _ids(self, query: str) -> AsyncIterator[str]:
        after = ""
        while page := await self._reader.rows(queries()[query], (after, PAGE_ROWS)):
            for (one,) in page:
                yield one
            after = page[-1][0]

    async def accounts_page(self, after: str, limit: int, *, backwards: bool = False) -> Sequence[Account]:
        query, bound = ("accounts_before", after or LAST) if backwards else ("accounts_after", after)
        rows = await self._reader.rows(queries()[query], (bound, limit))
        return [load_account(record, version) for version, record in rows]

    async def accounts_of_mail(self, address: str, limit: int) -> Sequence[Account]:
        if not address:
            return []
        rows = await self._reader.rows(queries()["accounts_of_mail"], (folded(address), limit))
        return [load_account(record, version) for version, record in rows]

    async def number(self, number: str) -> Number | None:
        rows = await self._by_key.rows(queries()["number"], (number,))
        return load_number(rows[0][0]) if rows else None

    async def called(self, numbers: Sequence[str]) -> Called | None:
        if numbers and (known := self._known.called(numbers[0])) is not None:
            return known
        age = self._known.age
        found = await self._reader.read(partial(sqlite_rows.called, numbers=numbers))
        if found is not None:
            self._known.keep(found, age)
        return found

    async def put_number(self, number: Number, expected: Number | None = None) -> bool:
        record = {"number": number.number, "account": number.account, "record": dump_number(number)}

        def work(connection: sqlite3.Connection) -> bool:
            if _stored_number(connection, number.number) != expected:
                return False
            self._known.number_changed(number.number, comes_or_goes=expected is None)
            return connection.execute(queries()["put_number"], record).rowcount > 0

        return await self._writer.submit(work)

    async def remove_number(self, expected: Number) -> bool:
        def work(connection: sqlite3.Connection) -> bool:
            if _stored_number(connection, expected.number) != expected:
                return False
            self._known.number_changed(expected.number, comes_or_goes=True)
            return connection.execute(queries()["delete_number"], {"number": expected.number}).rowcount > 0

        return await self._writer.submit(work)

    async def numbers(self, account: str | None = None) -> Sequence[Number]:
        if account is None:
            rows = await self._reader.rows(queries()["numbers"])
        else:
            rows = await self._reader.rows(queries()["numbers_of"], (account,))
        return [load_number(record) for (record,) in rows]

    def number_ids(self) -> AsyncIterator[str]:
        return self._ids("number_ids_after")

    async def numbers_page(
        self, after: str, limit: int, account: str | None = None, *, backwards: bool = False
    ) -> Sequence[Number]:
        side, bound = ("before", after or LAST) if backwards else ("after", after)
        if account is None:
            rows = await self._reader.rows(queries()[f"numbers_{side}"], (bound, limit))
        else:
            rows = await self._reader.rows(queries()[f"numbers_of_{side}"], (account, bound, limit))
        return [load_number(record) for (record,) in rows]

    async def restore_account(self, account: Account) -> None:
        record = {"id": account.id, "record": dump_account(account), "version": account.version}
        work = partial(_change_account, known=self._known, query="restore_account", record=record)
        await self._writer.submit(work)


class SqliteLeases:
    """Part of the SQLite store."""

    def __init__(self, writer: Writer, clock: Clock) -> None:
        self._writer = writer
        self._clock = clock
        self._holders: dict[str, tuple[str, int, int]] = {}
        """By switch: owner, epoch, end by the monotonic clock. In memory, because a lease cannot outlive the one
        process that may write."""

    async def acquire_lease(self, switch: str, owner: str, ttl_s: float) -> int | None:
        def work(connection: sqlite3.Connection) -> int | None:
            now_us = self._clock.now().mono_us
            leases = (self._holders.get(one, ("", 0, 0)) for one in (switch, SOLE))
            if any(until_us > now_us and held_by != owner for held_by, _, until_us in leases):
                return None
            mark = dict(zip(("collection", "id"), MARK, strict=True))
            if switch != SOLE and connection.execute(queries()["document"], mark).fetchone():
                return None
            (epoch,) = connection.execute(queries()["next_epoch"], (switch,)).fetchone()
            self._holders[switch] = owner, epoch, now_us + round(ttl_s * MICROSECONDS)
            return int(epoch)

        return await self._writer.submit(work)

    async def renew_lease(self, switch: str, owner: str, epoch: int, ttl_s: float) -> bool:
        now_us = self._clock.now().mono_us
        if self._holders.get(switch, ("", 0, 0))[:2] != (owner, epoch) or self._holders[switch][2] <= now_us:
            return False
        self._holders[switch] = owner, epoch, now_us + round(ttl_s * MICROSECONDS)
        return True

    async def release_lease(self, switch: str, owner: str, epoch: int) -> None:
        if self._holders.get(switch, ("", 0, 0))[:2] == (owner, epoch):
            del self._holders[switch]

    async def held_leases(self) -> Sequence[str]:
        now_us = self._clock.now().mono_us
        return [f"switch {switch} by {owner}" for switch, (owner, _, end) in self._holders.items() if end > now_us]


def _change_account(connection: sqlite3.Connection, known: Known, query: str, record: Mapping[str, object]) -> bool:
    """Within the writer's transaction, carry out one statement that changes an account; whether it changed a row."""
    known.account_changed(str(record["id"]))
    return connection.execute(queries()[query], record).rowcount > 0


def _stored_number(connection: sqlite3.Connection, number: str) -> Number | None:
    """As it is now, within the writer's transaction."""
    stored = connection.execute(queries()["number"], (number,)).fetchone()
    return load_number(stored[0]) if stored else None
