"""The ledger in Redis, shared by several daemons: one Lua script a money operation, all keys of an account in one slot.

What lies in other slots (which sessions a switch may have, which CDRs there are, which accounts) are indexes; in a
cluster they are written before what they list, and everywhere read with suspicion; see
:class:`charging.ledger.redis_records.Keys`.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from charging.errors import LedgerCorrupt, LedgerUnavailable
from charging.ledger.accounts import Account, Number
from charging.ledger.codec import dump_account, dump_number, load_account, load_number
from charging.ledger.model import (
    AMOUNT_MAX,
    Applied,
    Balance,
    CdrRow,
    Closed,
    JournalLine,
    Opened,
    OpenSession,
    Outcome,
    Snapshot,
    Transfer,
)
from charging.ledger.redis_client import RedisClient, Script
from charging.ledger.redis_documents import RedisDocuments
from charging.ledger.redis_pipeline import Command
from charging.ledger.redis_records import (
    SCHEMA,
    apply_arguments,
    cdr_member,
    index_member,
    load_applied,
    load_balances,
    load_cdr,
    load_line,
    load_session,
    load_snapshot,
    replace_head_arguments,
    restore_arguments,
    split_cdr_member,
    split_index_member,
)
from charging.ledger.redis_url import RedisUrl
from charging.ledger.rules import check_request

PAGE_ROWS = 500

Record = TypeVar("Record", Account, Number)


class RedisStore(RedisDocuments):
    """See the port."""

    def __init__(self, url: RedisUrl) -> None:
        super().__init__(url)
        self._known_switches: set[str] = set()
        """Those that this process has put into the index of switches."""
        names = "apply keep snapshot put_account put_number journal lease restore replace_head replace_cdr".split()
        self._scripts = {name: Script(name) for name in names}

    async def open(self) -> None:
        """Connect, and take an empty Redis into use. Raises LedgerUnavailable."""
        self._client = RedisClient(self._url)
        try:
            await self._client.command("SET", self._keys.schema, SCHEMA, "NX")
            stored = int(await self._client.command("GET", self._keys.schema))
            if stored > SCHEMA:
                raise LedgerUnavailable(
                    f"the Redis ledger has schema {stored}, this program knows up to {SCHEMA}: use the newer program"
                )
        except BaseException:
            await self._client.close()
            raise

    async def close(self) -> None:
        await self._client.close()

    async def ping(self) -> None:
        if await self._client.command("GET", self._keys.schema) is None:
            raise LedgerCorrupt("the Redis ledger has lost its schema: somebody emptied it")

    # -- ledger

    async def apply(self, transfer: Transfer, grants: Sequence[Transfer] = ()) -> Applied:
        check_request(transfer, grants)
        waits, apart = self._url.min_replicas_ack > 0, self._url.mode == "cluster"
        run = self._client.script_acknowledged if waits else self._client.script
        arguments = apply_arguments(transfer, grants, touch=waits, indexes="" if apart else self._url.prefix)
        before = await self._index_commands(transfer) if apart else ()
        reply = await run(self._scripts["apply"], self._keys.books(transfer.account), arguments, before)
        applied, switch = load_applied(reply, transfer)
        if apart and isinstance(transfer.change, Closed) and applied.outcome is Outcome.CREATED:
            await self._forget_open(transfer, switch)
        return applied

    async def _index_commands(self, transfer: Transfer) -> list[Command]:
        """What has to be in the indexes before the transfer is."""
        change, session = transfer.change, transfer.session or ""
        if isinstance(change, Opened):
            await self._know(change.switch)
            return [("SADD", self._keys.switch(change.switch), index_member(session, transfer.account))]
        if isinstance(change, Closed) and change.cdr:
            member = cdr_member(session, transfer.account, change.ended_us)
            return [("ZADD", self._keys.cdrs, change.ended_us, member)]
        return []

    async def keep_session(self, account: str, session: str, state: str, epoch: int = 0) -> Outcome:
        keys = [self._keys.of(account, "sessions")]
        reply = await self._client.script(self._scripts["keep"], keys, [session, state, epoch])
        return Outcome(reply.decode())

    async def balances(self, account: str) -> Mapping[str, Balance]:
        return load_balances(await self._hash(self._keys.of(account, "books")))

    async def sessions(self, switch: str | None = None, account: str | None = None) -> Sequence[OpenSession]:
        if account is not None:
            records = await self._hash(self._keys.of(account, "sessions"))
            found = [load_session(account, session.decode(), record) for session, record in records.items()]
        else:
            found = await self._indexed_sessions(switch)
        wanted = [session for session in found if switch in (None, session.switch)]
        return sorted(wanted, key=lambda session: (session.opened_us, session.id, session.account))

    async def _indexed_sessions(self, switch: str | None) -> list[OpenSession]:
        switches = [switch] if switch is not None else await self._members(self._keys.switches)
        indexes = await asyncio.gather(*(self._client.command("SMEMBERS", self._keys.switch(one)) for one in switches))
        members = {split_index_member(member) for index in indexes for member in index}
        records = await self._fields(members, "sessions")
        return [load_session(account, session, record) for (session, account), record in records.items()]

    async def snapshot(self, account: str) -> Snapshot:
        keys = [self._keys.of(account, "books"), self._keys.of(account, "sessions")]
        return load_snapshot(account, *await self._client.script(self._scripts["snapshot"], keys, ()))

    async def journal(self, account: str, after: int = 0) -> AsyncIterator[JournalLine]:
        more = True
        while more:
            lines = await self._lines(account, after + 1, AMOUNT_MAX, PAGE_ROWS)
            for line in lines:
                yield line
                after = line.number
            more = len(lines) == PAGE_ROWS

    async def journal_page(self, account: str, before: int | None, limit: int) -> Sequence[JournalLine]:
        lines = int(await self._client.command("HGET", self._keys.of(account, "books"), "#lines") or 0)
        end = lines + 1 if before is None else min(before, lines + 1)
        return (await self._lines(account, max(1, end - limit), end - 1, limit))[::-1]

    async def _lines(self, account: str, first: int, last: int, limit: int) -> list[JournalLine]:
        keys, arguments = [self._keys.of(account, "journal")], (first, last, limit)
        lines = await self._client.script(self._scripts["journal"], keys, arguments)
        return [load_line(account, line) for line in lines]

    async def cdrs(
        self,
        *,
        account: str | None = None,
        since_us: int = 0,
        until_us: int | None = None,
        after: tuple[int, str] | None = None,
        limit: int = 100,
    ) -> Sequence[CdrRow]:
        first_us = max(since_us, after[0]) if after is not None else since_us
        last = f"({until_us}" if until_us is not None else "+inf"
        key = self._keys.cdrs if account is None else self._keys.of(account, "cdrs")
        found: list[CdrRow] = []
        offset = 0
        while len(found) < limit:
            window = ("ZRANGEBYSCORE", key, first_us, last, "WITHSCORES", "LIMIT", offset, PAGE_ROWS)
            page = await self._client.command(*window)
            if not page:
                break
            offset += PAGE_ROWS
            found += [row for row in await self._cdr_rows(page, account) if after is None or _place(row) > after]
        return found[:limit]

    async def _cdr_rows(self, page: Sequence[bytes], account: str | None) -> list[CdrRow]:
        """The CDRs that an index names, in its order, but for those that never came to be or ended at another time."""
        members, ends = page[::2], [int(score) for score in page[1::2]]
        names = [split_cdr_member(one) if account is None else (one.decode(), account) for one in members]
        records = await self._fields(names, "cdr")
        rows = [(load_cdr(*name, records[name]), end) for name, end in zip(names, ends, strict=True) if name in records]
        return [row for row, end in rows if row.ended_us == end]

    # -- directory

    async def account(self, account: str) -> Account | None:
        record = await self._hash(self._keys.of(account, "account"))
        return load_account(record[b"record"].decode(), int(record[b"version"])) if record else None

    async def put_account(self, account: Account) -> bool:
        if account.version == 0:
            await self._client.command("ZADD", self._keys.accounts, 0, account.id)
        keys = [self._keys.of(account.id, "account"), self._keys.of(account.id, "books")]
        arguments = (account.version, dump_account(account))
        return bool(await self._client.script(self._scripts["put_account"], keys, arguments))

    async def accounts(self) -> AsyncIterator[Account]:
        async for page in self._pages(self._keys.accounts):
            for account in await asyncio.gather(*(self.account(one) for one in page)):
                if account is not None:
                    yield account

    async def accounts_page(self, after: str, limit: int) -> Sequence[Account]:
        return await self._page(self._keys.accounts, self.account, after, limit)

    async def number(self, number: str) -> Number | None:
        record = await self._client.command("HGET", self._keys.number(number), "record")
        return load_number(record.decode()) if record else None

    async def put_number(self, number: Number) -> bool:
        if not await self._client.command("EXISTS", self._keys.of(number.account, "account")):
            return False
        await self._client.command("ZADD", self._keys.numbers, 0, number.number)
        await self._client.command("SADD", self._keys.of(number.account, "numbers"), number.number)
        keys, arguments = [self._keys.number(number.number)], [number.account, dump_number(number)]
        return bool(await self._client.script(self._scripts["put_number"], keys, arguments))

    async def remove_number(self, number: str) -> bool:
        """The indexes keep it: taking it out there would race with its coming back."""
        return bool(await self._client.command("DEL", self._keys.number(number)))

    async def numbers(self, account: str | None = None) -> Sequence[Number]:
        if account is not None:
            pages = [sorted(await self._members(self._keys.of(account, "numbers")))]
        else:
            pages = [page async for page in self._pages(self._keys.numbers)]
        found = [await asyncio.gather(*(self.number(one) for one in page)) for page in pages]
        numbers = [number for page in found for number in page if number is not None]
        return [number for number in numbers if account in (None, number.account)]

    async def numbers_page(self, after: str, limit: int) -> Sequence[Number]:
        return await self._page(self._keys.numbers, self.number, after, limit)

    # -- leases

    async def acquire_lease(self, switch: str, owner: str, ttl_s: float) -> int | None:
        await self._know(switch)
        return await self._lease("acquire", switch, owner, ttl_s) or None

    async def renew_lease(self, switch: str, owner: str, epoch: int, ttl_s: float) -> bool:
        return await self._lease("renew", switch, owner, ttl_s, epoch) > 0

    async def release_lease(self, switch: str, owner: str, epoch: int) -> None:
        await self._lease("release", switch, owner, 0, epoch)

    async def _lease(self, what: str, switch: str, owner: str, ttl_s: float, epoch: int = 0) -> int:
        arguments = (what, owner, max(1, round(ttl_s * 1000)), epoch)
        return int(await self._client.script(self._scripts["lease"], self._keys.lease(switch), arguments))

    async def held_leases(self) -> Sequence[str]:
        switches = sorted(await self._members(self._keys.switches))
        commands = (self._client.command("GET", self._keys.lease(switch)[0]) for switch in switches)
        leases = zip(switches, await asyncio.gather(*commands), strict=True)
        return [f"switch {switch} by {lease.decode().partition(' ')[2]}" for switch, lease in leases if lease]

    # -- restoring

    async def restore_account(self, account: Account) -> None:
        await self._client.command("ZADD", self._keys.accounts, 0, account.id)
        record = ("version", account.version, "record", dump_account(account))
        await self._client.command("HSET", self._keys.of(account.id, "account"), *record)
        await self._client.command("HSET", self._keys.of(account.id, "books"), "#lines", 0)

    async def restore_lines(self, account: str, lines: Sequence[JournalLine], balances: Mapping[str, Balance]) -> None:
        keys = self._keys.books(account)[:3]
        await self._client.script(self._scripts["restore"], keys, restore_arguments(lines, balances))

    async def restore_cdrs(self, cdrs: Sequence[CdrRow]) -> None:
        for cdr in cdrs:
            member = cdr_member(cdr.session, cdr.account, cdr.ended_us)
            await self._client.command("ZADD", self._keys.cdrs, cdr.ended_us, member)
            await self._client.command("ZADD", self._keys.of(cdr.account, "cdrs"), cdr.ended_us, cdr.session)
            record = f"{cdr.ended_us} {cdr.document}"
            await self._client.command("HSET", self._keys.of(cdr.account, "cdr"), cdr.session, record)

    # -- archiving

    async def replace_head(self, opening: JournalLine) -> None:
        keys = self._keys.books(opening.account)[1:3]
        await self._client.script(self._scripts["replace_head"], keys, replace_head_arguments(opening))

    async def replace_cdrs(self, cdrs: Sequence[CdrRow]) -> None:
        script = self._scripts["replace_cdr"]
        for cdr in cdrs:
            keys, arguments = [self._keys.of(cdr.account, "cdr")], [cdr.session, f"{cdr.ended_us} {cdr.document}"]
            await self._client.script(script, keys, arguments)

    async def forget_cdrs(self, cdrs: Sequence[CdrRow]) -> None:
        account, sessions = cdrs[0].account, [cdr.session for cdr in cdrs]
        await self._client.command("HDEL", self._keys.of(account, "cdr"), *sessions)
        await self._client.command("ZREM", self._keys.of(account, "cdrs"), *sessions)
        members = [cdr_member(cdr.session, account, cdr.ended_us) for cdr in cdrs]
        await self._client.command("ZREM", self._keys.cdrs, *members)

    # -- its own state

    async def self_check(self) -> Sequence[str]:
        """Open sessions and CDRs that their indexes miss. What is missing there may have ended, or gone to the archive,
        since it was read: only what is still in its place afterwards is a problem, for neither ever comes back."""
        problems: list[str] = []
        async for page in self._pages(self._keys.accounts):
            for account in page:
                problems += [problem async for problem in self._unindexed(account)]
        return problems

    async def _unindexed(self, account: str) -> AsyncIterator[str]:
        for session in await self.sessions(account=account):
            listed = "SISMEMBER", self._keys.switch(session.switch), index_member(session.id, account)
            known = "SISMEMBER", self._keys.switches, session.switch
            stored = "HEXISTS", self._keys.of(account, "sessions"), session.id
            found = await self._client.command(*listed) and await self._client.command(*known)
            if not found and await self._client.command(*stored):
                yield f"session {session.id} of {account} is missing from the index of its switch"
        cdrs = await self._hash(self._keys.of(account, "cdr"))
        rows = [load_cdr(session.decode(), account, record) for session, record in cdrs.items()]
        members = [cdr_member(row.session, account, row.ended_us) for row in rows]
        scores = await self._client.command("ZMSCORE", self._keys.cdrs, *members) if members else []
        for row in (row for row, score in zip(rows, scores, strict=True) if score is None):
            if await self._client.command("HEXISTS", self._keys.of(account, "cdr"), row.session):
                yield f"the CDR of {row.session} of {account} is missing from the index"

    async def backup(self, path: Path) -> None:
        raise LedgerUnavailable(
            "a Redis ledger is backed up by Redis itself: copy its append-only files or a BGSAVE's file from a replica"
        )

    async def warnings(self) -> Sequence[str]:
        return await self._client.warnings()

    # -- small helpers

    async def _know(self, switch: str) -> None:
        """Put the switch into the index of switches, once."""
        if switch not in self._known_switches:
            await self._client.command("SADD", self._keys.switches, switch)
            self._known_switches.add(switch)

    async def _forget_open(self, transfer: Transfer, switch: str) -> None:
        """Take a closed session out of the index. What fails here leaves an entry that readers pass over. (A session
        that is opened anew at this very moment would be missed; a daemon never opens an id twice.)"""
        member = index_member(transfer.session or "", transfer.account)
        with suppress(LedgerUnavailable):
            await self._client.command("SREM", self._keys.switch(switch), member)

    async def _hash(self, key: str) -> dict[bytes, bytes]:
        pairs: dict[bytes, bytes] = await self._client.command("HGETALL", key)
        return pairs

    async def _members(self, key: str) -> list[str]:
        return [member.decode() for member in await self._client.command("SMEMBERS", key)]

    async def _fields(self, of: Iterable[tuple[str, str]], what: str) -> dict[tuple[str, str], bytes]:
        """The fields named by (field, account), of each account's hash; those that there are."""
        by_account: dict[str, list[str]] = defaultdict(list)
        for field, account in of:
            by_account[account].append(field)
        commands = (
            self._client.command("HMGET", self._keys.of(account, what), *fields)
            for account, fields in by_account.items()
        )
        found: dict[tuple[str, str], bytes] = {}
        for (account, fields), values in zip(by_account.items(), await asyncio.gather(*commands), strict=True):
            found |= {(field, account): value for field, value in zip(fields, values, strict=True) if value is not None}
        return found

    async def _page(
        self, key: str, read: Callable[[str], Awaitable[Record | None]], after: str, limit: int
    ) -> list[Record]:
        """The first ``limit`` records that an index names beyond ``after``; it may name some that never came to be."""
        found: list[Record] = []
        async for page in self._pages(key, after, limit):
            found += [record for record in await asyncio.gather(*map(read, page)) if record is not None]
            if len(found) >= limit:
                break
        return found[:limit]

    async def _pages(self, key: str, after: str = "", rows: int = PAGE_ROWS) -> AsyncIterator[list[str]]:
        """The members of an index whose scores are all 0, in order, beyond ``after``."""
        begin = f"({after}" if after else "-"
        while page := await self._client.command("ZRANGEBYLEX", key, begin, "+", "LIMIT", 0, rows):
            yield [member.decode() for member in page]
            begin = "(" + page[-1].decode()


def _place(row: CdrRow) -> tuple[int, str]:
    return row.ended_us, row.session
