"""The ledger in Redis, shared by several daemons: one Lua script a money operation, all keys of an account in one slot.

What lies in other slots (which sessions a switch may have, which CDRs there are, which accounts) are indexes; in a
cluster they are written before what they list, and everywhere read with suspicion; see
:class:`charging.ledger.redis.records.Keys`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from heapq import nlargest, nsmallest
from pathlib import Path
from typing import Any, TypeVar

from charging.clock import MICROSECONDS
from charging.errors import LedgerCorrupt, LedgerError, LedgerUnavailable
from charging.ledger.documents import is_beyond
from charging.ledger.durable import new_file
from charging.ledger.model import (
    AMOUNT_MAX,
    Applied,
    Balance,
    CdrRow,
    Closed,
    JournalLine,
    Kept,
    Opened,
    OpenSession,
    Outcome,
    Snapshot,
    Transfer,
    check_request,
)
from charging.ledger.port import Wanted
from charging.ledger.redis.check import RedisCheck
from charging.ledger.redis.client import RedisClient, Script, answer_of, in_steps, or_error
from charging.ledger.redis.directory import RedisDirectory, RedisLeases
from charging.ledger.redis.documents import RedisDocuments
from charging.ledger.redis.feed import RedisFeed
from charging.ledger.redis.indexes import PAGE_ROWS, RedisIndexes
from charging.ledger.redis.pipeline import Command
from charging.ledger.redis.records import (
    Keys,
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
from charging.ledger.redis.schema import RedisSchema
from charging.ledger.redis.url import RedisUrl
from charging.tasks import in_turns

STEP_ENTRIES = 5_000
"""Removed by one command, while which the server answers nobody else: some milliseconds."""

SCAN_ENTRIES = 1000
"""Looked through by one command."""

T = TypeVar("T")


class RedisStore:
    """See the port."""

    def __init__(self, url: RedisUrl, *, begins: bool = True, upgrades: bool = False) -> None:
        """``begins``: an empty Redis becomes a ledger, ``upgrades``: an older program's ledger is brought to this one's
        schema; else each is LedgerUnavailable."""
        self._url = url
        self._keys = keys = Keys(url.prefix)
        self._client = client = RedisClient(url)
        self._indexes = indexes = RedisIndexes(client, keys)
        names = "apply keep snapshot journal restore replace_head replace_cdr forget_cdrs time drop_balances".split()
        self._scripts = {name: Script(name) for name in names}
        self.documents = documents = RedisDocuments(client, keys, url)
        self.directory = RedisDirectory(client, keys, indexes, apart=url.is_cluster)
        self.leases = RedisLeases(client, keys, indexes, documents)
        lines, document, waits = self._lines, documents.get_document, bool(url.min_replicas_ack)
        self.feed = RedisFeed(client, keys, lines, document, apart=url.is_cluster, waits=waits)
        self.schema = RedisSchema(client, keys, indexes, self, begins=begins, upgrades=upgrades)

    async def open(self) -> None:
        """Connect, and make sure that there is a ledger of this schema. Raises LedgerUnavailable."""
        try:
            await self.schema.take_into_use()
        except BaseException:
            await self._client.close()
            raise

    async def close(self) -> None:
        await self._client.close()

    async def ping(self) -> None:
        await self._client.command("SET", self._keys.probe, 1)
        if await self._client.command("GET", self._keys.schema) is None:
            raise LedgerCorrupt(
                "the Redis ledger has lost its schema: someone emptied it. Stop every daemon, and restore a copy"
            )

    async def wall_us(self) -> int | None:
        seconds, us = await self._client.script(self._scripts["time"], [self._keys.schema], ())
        return int(seconds) * MICROSECONDS + int(us)

    # -- ledger

    async def apply(self, transfer: Transfer, grants: Sequence[Transfer] = ()) -> Applied:
        check_request(transfer, grants)
        apart = self._url.is_cluster
        arguments = apply_arguments(transfer, grants, self._url.touch, indexes="" if apart else self._url.prefix)
        before = await self._indexed(transfer, grants) if apart else ()
        keys = self._keys.needed(transfer)
        reply = await self._client.script_acknowledged(self._scripts["apply"], keys, arguments, before)
        applied, switch = load_applied(reply, transfer)
        if apart:
            await self._forget_open(transfer, applied.outcome, switch)
        return applied

    async def _indexed(self, transfer: Transfer, grants: Sequence[Transfer]) -> list[Command]:
        """What has to be in the indexes before the transfer is. The account is marked for the feed meanwhile."""
        if not any(one.kind.has_place for one in (*grants, transfer)):
            return await self._index_commands(transfer)
        commands, _ = await asyncio.gather(self._index_commands(transfer), self.feed.mark(transfer.account))
        return commands

    async def _index_commands(self, transfer: Transfer) -> list[Command]:
        change, session = transfer.change, transfer.session or ""
        if isinstance(change, Opened):
            await self._indexes.know(change.switch)
            return [("SADD", self._keys.switch(change.switch), index_member(session, transfer.account))]
        if isinstance(change, Closed) and change.cdr:
            member = cdr_member(session, transfer.account, change.ended_us)
            return [("ZADD", self._keys.cdrs, change.ended_us, member)]
        return []

    async def apply_all(self, wanted: Sequence[Wanted]) -> Sequence[Applied | LedgerError]:
        """Those of one moment travel together; where no replica and no index in another slot is waited for, as one
        request."""
        if self._url.is_cluster or self._url.min_replicas_ack:
            return await asyncio.gather(*(answer_of(self.apply(transfer, grants)) for transfer, grants in wanted))
        asked = []
        for transfer, grants in wanted:
            check_request(transfer, grants)
            arguments = apply_arguments(transfer, grants, self._url.touch, indexes=self._url.prefix)
            asked.append((self._keys.needed(transfer), arguments))
        answers = await self._client.scripts(self._scripts["apply"], asked)
        return [
            answer if isinstance(answer, LedgerError) else or_error(_applied, answer, transfer)
            for answer, (transfer, _) in zip(answers, wanted, strict=True)
        ]

    async def keep_session(self, account: str, session: str, kept: Kept) -> Outcome:
        keys, arguments = [self._keys.of(account, "sessions")], (session, kept.state, kept.epoch, kept.follows)
        reply = await self._client.script_acknowledged(self._scripts["keep"], keys, arguments)
        return Outcome(reply.decode())

    async def balances(self, account: str) -> Mapping[str, Balance]:
        return load_balances(await self._client.pairs(self._keys.of(account, "books")))

    async def balances_of(self, accounts: Sequence[str]) -> Sequence[Mapping[str, Balance] | LedgerError]:
        commands = [("HGETALL", self._keys.of(account, "books")) for account in accounts]
        answers = await self._client.commands(commands)
        return [one if isinstance(one, LedgerError) else or_error(load_balances, one) for one in answers]

    async def drop_balances(self, account: str, names: Sequence[str]) -> None:
        for some in in_steps(names, STEP_ENTRIES):
            await self._client.script(self._scripts["drop_balances"], [self._keys.of(account, "books")], some)

    async def sessions(self, switch: str | None = None, account: str | None = None) -> Sequence[OpenSession]:
        if account is not None:
            records = await self._client.pairs(self._keys.of(account, "sessions"))
            found = [load_session(account, session.decode(), record) for session, record in records.items()]
        else:
            found = await self._indexed_sessions(switch)
        wanted = [session for session in found if switch in (None, session.switch)]
        return sorted(wanted, key=lambda session: (session.opened_us, session.id, session.account))

    async def _indexed_sessions(self, switch: str | None) -> list[OpenSession]:
        switches = [switch] if switch is not None else await self._indexes.members(self._keys.switches)
        indexes = await asyncio.gather(*(self._client.command("SMEMBERS", self._keys.switch(one)) for one in switches))
        members = {split_index_member(member) for index in indexes for member in index}
        records = await self._indexes.fields(members, "sessions")
        named = in_turns(records.items())
        return [load_session(account, session, record) async for (session, account), record in named]

    async def session(self, session: str, switch: str | None = None) -> OpenSession | None:
        pattern = index_member(_literally(session), "*")
        for one in [switch] if switch is not None else await self._indexes.members(self._keys.switches):
            async for members in self._scan(self._keys.switch(one), pattern):
                records = await self._indexes.fields(map(split_index_member, members), "sessions")
                found = [load_session(account, session, record) for (_, account), record in records.items()]
                if here := [record for record in found if record.switch == one]:
                    return here[0]
        return None

    async def sessions_page(self, after: str, limit: int, *, backwards: bool = False) -> Sequence[OpenSession]:
        """The index is looked through some at a time, and its names alone. Names that are no session's (any more) are
        passed over."""
        found: dict[str, OpenSession] = {}
        first = nlargest if backwards else nsmallest
        while len(found) < limit:
            names: list[tuple[str, str]] = []
            for switch in await self._indexes.members(self._keys.switches):
                async for members in self._scan(self._keys.switch(switch), "*"):
                    known = map(split_index_member, members)
                    beyond = {name for name in known if is_beyond(name[0], after, backwards=backwards)}
                    names = first(limit, {*names, *beyond})
            records = await self._indexes.fields(names, "sessions")
            found |= {name[0]: load_session(name[1], name[0], record) for name, record in records.items()}
            if len(names) < limit:
                break
            after = names[-1][0]
        return [found[id] for id in sorted(found, reverse=backwards)[:limit]]

    async def _scan(self, key: str, pattern: str) -> AsyncIterator[Sequence[bytes]]:
        """What of a set matches, some of it at a time; the server looks through all of it."""
        cursor, more = 0, True
        while more:
            words = ("SSCAN", key, cursor, "MATCH", pattern, "COUNT", SCAN_ENTRIES)
            place, members = await self._client.command(*words)
            yield members
            more = (cursor := int(place)) != 0

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
        keys = [self._keys.of(account, "journal"), self._keys.of(account, "actors")]
        lines, actors = await self._client.script(self._scripts["journal"], keys, (first, last, limit))
        return [load_line(account, *one) for one in zip(lines, actors or [None] * len(lines), strict=True)]

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
        first: int | str = since_us
        last: int | str = f"({until_us}" if until_us is not None else "+inf"
        if after is not None and backwards:
            last = after[0] if until_us is None or after[0] < until_us else last
        elif after is not None:
            first = max(since_us, after[0])
        command, begin, end = ("ZREVRANGEBYSCORE", last, first) if backwards else ("ZRANGEBYSCORE", first, last)
        key = self._keys.cdrs if account is None else self._keys.of(account, "cdrs")
        found: list[CdrRow] = []
        offset = 0
        while len(found) < limit:
            page = await self._client.command(command, key, begin, end, "WITHSCORES", "LIMIT", offset, PAGE_ROWS)
            for row in await self._cdr_rows(page, account):
                if after is None or (_place(row) < after if backwards else _place(row) > after):
                    found.append(row)
            if len(page) < 2 * PAGE_ROWS:
                break
            # Not by the rows that were read: meanwhile newer ones come, and older ones go to the archive.
            after, last = _place(found[-1]) if found else after, int(page[-1])
            offset = offset + PAGE_ROWS if begin == last else 0
            begin = last
        return found[:limit]

    async def cdr(self, account: str, session: str) -> CdrRow | None:
        record = await self._client.command("HGET", self._keys.of(account, "cdr"), session)
        return None if record is None else load_cdr(session, account, record)

    async def _cdr_rows(self, page: Sequence[bytes], account: str | None) -> list[CdrRow]:
        """The CDRs that an index names, in its order, but for those that never came to be or ended at another time."""
        members, ends = page[::2], [int(score) for score in page[1::2]]
        names = [split_cdr_member(one) if account is None else (one.decode(), account) for one in members]
        records = await self._indexes.fields(names, "cdr")
        rows = [(load_cdr(*name, records[name]), end) for name, end in zip(names, ends, strict=True) if name in records]
        return [row for row, end in rows if row.ended_us == end]

    # -- restoring

    async def restore_lines(self, account: str, lines: Sequence[JournalLine], balances: Mapping[str, Balance]) -> None:
        await self.feed.begin_behind(lines[-1])
        books, ids, journal, *_, actors = self._keys.books(account)
        await self._client.script(
            self._scripts["restore"], [books, ids, journal, actors], restore_arguments(lines, balances)
        )

    async def restore_cdrs(self, cdrs: Sequence[CdrRow]) -> None:
        for cdr in cdrs:
            member = cdr_member(cdr.session, cdr.account, cdr.ended_us)
            await self._client.command("ZADD", self._keys.cdrs, cdr.ended_us, member)
            await self._client.command("ZADD", self._keys.of(cdr.account, "cdrs"), cdr.ended_us, cdr.session)
            record = f"{cdr.ended_us} {cdr.document}"
            await self._client.command("HSET", self._keys.of(cdr.account, "cdr"), cdr.session, record)

    # -- archiving

    async def replace_head(self, opening: JournalLine, archived: Sequence[JournalLine]) -> bool:
        """Of very many lines most ids go first, so that no step keeps the server from others: broken off in between,
        the lines still stand to be archived again. The rest go with the lines, so that an audit misses none."""
        _, ids, journal, *_, actors = self._keys.books(opening.account)
        head = await self._client.command("LINDEX", journal, 0)
        if head is None or load_line(opening.account, head).number != archived[0].number:
            return False
        archived_ids = [line.id for line in archived]
        for some in in_steps(archived_ids[:-STEP_ENTRIES], STEP_ENTRIES):
            await self._client.command("HDEL", ids, *some)
        arguments = replace_head_arguments(opening, archived, archived_ids[-STEP_ENTRIES:])
        return bool(await self._client.script(self._scripts["replace_head"], [ids, journal, actors], arguments))

    async def replace_cdrs(self, cdrs: Sequence[CdrRow]) -> None:
        script = self._scripts["replace_cdr"]
        for cdr in cdrs:
            keys, arguments = [self._keys.of(cdr.account, "cdr")], [cdr.session, f"{cdr.ended_us} {cdr.document}"]
            await self._client.script(script, keys, arguments)

    async def forget_cdrs(self, cdrs: Sequence[CdrRow]) -> None:
        account = cdrs[0].account
        keys = [self._keys.of(account, "cdrs"), self._keys.of(account, "cdr")]
        for some in in_steps(cdrs, STEP_ENTRIES):
            await self._client.script(self._scripts["forget_cdrs"], keys, [cdr.session for cdr in some])
            members = [cdr_member(cdr.session, account, cdr.ended_us) for cdr in some]
            await self._client.command("ZREM", self._keys.cdrs, *members)

    # -- its own state

    async def self_check(self) -> Sequence[str]:
        check = RedisCheck(self._client, self._keys)
        problems: list[str] = []
        async for account in self.directory.account_ids():
            problems += await check.account(account)
        async for page in self._indexes.pages(self._keys.numbers):
            problems += await check.numbers(page)
        return problems

    async def backup(self, path: Path) -> None:
        await self.schema.assert_there()
        try:
            with new_file(path) as part:
                await self._client.dump(part)
        except OSError as error:
            raise LedgerUnavailable(f"{path}: {error.strerror or error}; name another file") from error

    async def scrub(self) -> str:
        return (
            "Redis keeps what it had in its append-only file until that is rewritten (BGREWRITEAOF), and in snapshots: "
            "have it rewritten on every server, and remove old snapshots"
        )

    async def warnings(self) -> Sequence[str]:
        return await self._client.warnings(self._keys.probe)

    # -- small helpers

    async def _forget_open(self, transfer: Transfer, outcome: Outcome, switch: str) -> None:
        """Take a closed session out of the index. What fails here leaves an entry that readers pass over. (A session
        that is reopened at this very moment would be missed; a daemon never opens an id twice. So what was refused
        stays, if it may be tried again: another daemon may be about to open it.)"""
        change = transfer.change
        if isinstance(change, Opened) and change.is_only_try and outcome is Outcome.INSUFFICIENT:
            switch = change.switch
        elif not isinstance(change, Closed) or change.opens or not outcome.applied:
            return
        member = index_member(transfer.session or "", transfer.account)
        with suppress(LedgerUnavailable):
            # Of one that was closed by an earlier attempt the switch is not told.
            for one in [switch] if switch else await self._indexes.members(self._keys.switches):
                await self._client.command("SREM", self._keys.switch(one), member)


def _literally(text: str) -> str:
    """As a pattern of Redis that only this text matches."""
    return "".join(f"\\{each}" if each in "*?[]^-\\" else each for each in text)


def _place(row: CdrRow) -> tuple[int, str]:
    return row.ended_us, row.session


def _applied(answer: Any, transfer: Transfer) -> Applied:
    return load_applied(answer, transfer)[0]
