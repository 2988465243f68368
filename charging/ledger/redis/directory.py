"""Accounts, numbers and leases in Redis, and the indexes by which they are listed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from charging.errors import LedgerUnavailable
from charging.ledger.accounts import Account, Number, folded
from charging.ledger.codec import dump_account, dump_number, load_account, load_number
from charging.ledger.port import SOLE
from charging.ledger.redis.client import Script
from charging.ledger.redis.documents import RedisDocuments
from charging.ledger.redis.pipeline import Command
from charging.ledger.redis.records import mail_member
from charging.ledger.redis.url import RedisUrl
from charging.ledger.unfinished import MARK

PAGE_ROWS = 500

Record = TypeVar("Record", Account, Number)


class RedisDirectory(RedisDocuments):
    """Part of the Redis store."""

    def __init__(self, url: RedisUrl) -> None:
        super().__init__(url)
        self._known_switches: set[str] = set()
        """Those that this process has put into the index of switches."""
        self._put_account = Script("put_account")
        self._put_number = Script("put_number")
        self._remove_number = Script("remove_number")
        self._lease_script = Script("lease")

    # -- directory

    async def account(self, account: str) -> Account | None:
        record = await self._hash(self._keys.of(account, "account"))
        return load_account(record[b"record"].decode(), int(record[b"version"])) if record else None

    async def put_account(self, account: Account) -> bool:
        apart, entry = self._url.mode == "cluster", mail_member(account)
        listing: list[Command] = [("ZADD", self._keys.accounts, 0, account.id)] if account.version == 0 else []
        if apart and entry:
            listing.append(("ZADD", self._keys.mail, 0, entry))
        keys = [self._keys.of(account.id, "account"), self._keys.of(account.id, "books")]
        arguments = (account.version, dump_account(account), entry, "" if apart else self._keys.mail)
        stored, before = await self._client.script_acknowledged(self._put_account, keys, arguments, listing)
        if apart and stored and before.decode() != entry:
            await self._forget_mail(account.id, before.decode(), entry)
        return bool(stored)

    async def _forget_mail(self, account: str, before: str, entry: str) -> None:
        """In a cluster: take an account's former entry out of the index of mail addresses, unless another edit has
        brought it back. Entered again after the record as well as before it, its new one survives whoever took it out
        meanwhile. What fails here leaves an entry that readers pass over."""
        with suppress(LedgerUnavailable):
            if entry:
                await self._client.command("ZADD", self._keys.mail, 0, entry)
            if before:
                await self._client.command("ZREM", self._keys.mail, before)
                now = await self._client.command("HGET", self._keys.of(account, "account"), "mail")
                if now == before.encode():
                    await self._client.command("ZADD", self._keys.mail, 0, before)

    async def accounts(self) -> AsyncIterator[Account]:
        async for page in self._pages(self._keys.accounts):
            for account in await asyncio.gather(*(self.account(one) for one in page)):
                if account is not None:
                    yield account

    def account_ids(self) -> AsyncIterator[str]:
        return self._ids(self._keys.accounts)

    async def accounts_page(self, after: str, limit: int) -> Sequence[Account]:
        return await self._page(self._keys.accounts, self.account, after, limit)

    async def accounts_of_mail(self, address: str, limit: int) -> Sequence[Account]:
        wanted, found = folded(address), list[Account]()
        if not wanted:
            return []
        begin = f"[{wanted} "
        while len(found) < limit:
            window = ("ZRANGEBYLEX", self._keys.mail, begin, f"({wanted}!", "LIMIT", 0, limit)
            if not (page := await self._client.command(*window)):
                break
            read = await asyncio.gather(*(self.account(entry.decode().rpartition(" ")[2]) for entry in page))
            found += [account for account in read if account is not None and account.found_by == wanted]
            begin = "(" + page[-1].decode()
        return found[:limit]

    async def number(self, number: str) -> Number | None:
        record = await self._number_record(number)
        return load_number(record) if record else None

    async def _number_record(self, number: str) -> str:
        """As it is stored; empty: there is none."""
        record: bytes | None = await self._client.command("HGET", self._keys.number(number), "record")
        return record.decode() if record else ""

    async def put_number(self, number: Number, expected: Number | None = None) -> bool:
        if not await self._client.command("EXISTS", self._keys.of(number.account, "account")):
            return False
        listing: list[Command] = [
            ("ZADD", self._keys.numbers, 0, number.number),
            ("SADD", self._keys.of(number.account, "numbers"), number.number),
        ]
        # The script compares text. What another version of this program wrote may read the same and be written
        # otherwise, so it is given the text as it is stored, where that reads as what is expected.
        seen = await self._number_record(number.number) if expected is not None else ""
        if expected is not None and (not seen or load_number(seen) != expected):
            seen = dump_number(expected)
        keys, arguments = [self._keys.number(number.number)], [number.account, dump_number(number), seen]
        return bool(await self._client.script_acknowledged(self._put_number, keys, arguments, listing))

    async def remove_number(self, number: str) -> bool:
        """The indexes keep it: taking it out there would race with its coming back."""
        keys = [self._keys.number(number)]
        return bool(await self._client.script_acknowledged(self._remove_number, keys, ()))

    async def numbers(self, account: str | None = None) -> Sequence[Number]:
        if account is not None:
            pages = [sorted(await self._members(self._keys.of(account, "numbers")))]
        else:
            pages = [page async for page in self._pages(self._keys.numbers)]
        found = [await asyncio.gather(*(self.number(one) for one in page)) for page in pages]
        numbers = [number for page in found for number in page if number is not None]
        return [number for number in numbers if account in (None, number.account)]

    def number_ids(self) -> AsyncIterator[str]:
        return self._ids(self._keys.numbers)

    async def numbers_page(self, after: str, limit: int, account: str | None = None) -> Sequence[Number]:
        if account is None:
            return await self._page(self._keys.numbers, self.number, after, limit)
        named = sorted(one for one in await self._members(self._keys.of(account, "numbers")) if one > after)
        found: list[Number] = []
        while named and len(found) < limit:  # it may name some that never came to be, or are another account's by now
            page, named = named[:limit], named[limit:]
            read = await asyncio.gather(*map(self.number, page))
            found += [number for number in read if number is not None and number.account == account]
        return found[:limit]

    # -- leases: they wait for no replica. One that a fail-over loses is acquired again, with an epoch beyond any given
    # out before (`lease.lua`), which fences whoever had it; and no daemon is to lose its calls for want of a replica.

    async def acquire_lease(self, switch: str, owner: str, ttl_s: float) -> int | None:
        await self._know(switch)
        epoch = await self._lease("acquire", switch, owner, ttl_s)
        # In this order: who wants to be alone takes its lease first and looks for others second, so one of the two sees
        # the other.
        if epoch and switch != SOLE and (await self._is_held_alone() or await self.get_document(*MARK)):
            await self._lease("release", switch, owner, 0, epoch)
            return None
        return epoch or None

    async def _is_held_alone(self) -> bool:
        return bool(await self._client.command("EXISTS", self._keys.lease(SOLE)[0]))

    async def renew_lease(self, switch: str, owner: str, epoch: int, ttl_s: float) -> bool:
        return await self._lease("renew", switch, owner, ttl_s, epoch) > 0

    async def release_lease(self, switch: str, owner: str, epoch: int) -> None:
        await self._lease("release", switch, owner, 0, epoch)

    async def _lease(self, what: str, switch: str, owner: str, ttl_s: float, epoch: int = 0) -> int:
        arguments = (what, owner, max(1, round(ttl_s * 1000)), epoch)
        return int(await self._client.script(self._lease_script, self._keys.lease(switch), arguments))

    async def held_leases(self) -> Sequence[str]:
        switches = sorted(await self._members(self._keys.switches))
        commands = (self._client.command("GET", self._keys.lease(switch)[0]) for switch in switches)
        leases = zip(switches, await asyncio.gather(*commands), strict=True)
        return [f"switch {switch} by {lease.decode().partition(' ')[2]}" for switch, lease in leases if lease]

    # -- small helpers

    async def _know(self, switch: str) -> None:
        """Put the switch into the index of switches, once."""
        if switch not in self._known_switches:
            await self._client.command("SADD", self._keys.switches, switch)
            self._known_switches.add(switch)

    async def _hash(self, key: str) -> dict[bytes, bytes]:
        pairs: dict[bytes, bytes] = await self._client.command("HGETALL", key)
        return pairs

    async def _members(self, key: str) -> list[str]:
        return [member.decode() for member in await self._client.command("SMEMBERS", key)]

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

    async def _ids(self, key: str) -> AsyncIterator[str]:
        """All that an index names; it may name some that never came to be."""
        async for page in self._pages(key):
            for one in page:
                yield one

    async def _pages(self, key: str, after: str = "", rows: int = PAGE_ROWS) -> AsyncIterator[list[str]]:
        """The members of an index whose scores are all 0, in order, beyond ``after``."""
        begin = f"({after}" if after else "-"
        while page := await self._client.command("ZRANGEBYLEX", key, begin, "+", "LIMIT", 0, rows):
            yield [member.decode() for member in page]
            begin = "(" + page[-1].decode()
