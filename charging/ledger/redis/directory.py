"""Accounts, numbers and leases in Redis; see :mod:`charging.ledger.port`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

from charging.errors import LedgerUnavailable
from charging.ledger.accounts import Account, Number, folded
from charging.ledger.codec import dump_account, dump_number, load_account, load_number
from charging.ledger.documents import Documents, is_beyond
from charging.ledger.model import Called
from charging.ledger.port import SOLE
from charging.ledger.redis.client import RedisClient, Script, in_steps
from charging.ledger.redis.indexes import PAGE_ROWS, RedisIndexes
from charging.ledger.redis.pipeline import Command
from charging.ledger.redis.records import Keys, load_balances, mail_member
from charging.ledger.redis.schema import known_schema
from charging.ledger.unfinished import MARK


class RedisDirectory:
    """Part of the Redis store."""

    def __init__(self, client: RedisClient, keys: Keys, indexes: RedisIndexes, *, apart: bool) -> None:
        """``apart``: the accounts are in other slots than the indexes, out of a script's reach."""
        self._client = client
        self._keys = keys
        self._indexes = indexes
        self._apart = apart
        self._put_account = Script("put_account")
        self._put_number = Script("put_number")
        self._remove_number = Script("remove_number")

    async def account(self, account: str) -> Account | None:
        record = await self._client.pairs(self._keys.of(account, "account"))
        return load_account(record[b"record"].decode(), int(record[b"version"])) if record else None

    async def put_account(self, account: Account) -> bool:
        apart, entry = self._apart, mail_member(account)
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
        async for page in self._indexes.pages(self._keys.accounts):
            for account in await asyncio.gather(*(self.account(one) for one in page)):
                if account is not None:
                    yield account

    def account_ids(self) -> AsyncIterator[str]:
        return self._indexes.ids(self._keys.accounts)

    async def accounts_page(self, after: str, limit: int, *, backwards: bool = False) -> Sequence[Account]:
        return await self._indexes.page(self._keys.accounts, self.account, after, limit, backwards=backwards)

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
        seen = _as_stored(expected, await self._number_record(expected.number)) if expected is not None else ""
        keys, arguments = [self._keys.number(number.number)], [number.account, dump_number(number), seen]
        return bool(await self._client.script_acknowledged(self._put_number, keys, arguments, listing))

    async def remove_number(self, expected: Number) -> bool:
        """The indexes keep it: taking it out there would race with its coming back."""
        seen = _as_stored(expected, await self._number_record(expected.number))
        keys = [self._keys.number(expected.number)]
        return bool(await self._client.script_acknowledged(self._remove_number, keys, [seen]))

    async def numbers(self, account: str | None = None) -> Sequence[Number]:
        if account is not None:
            pages = list(in_steps(sorted(await self._indexes.members(self._keys.of(account, "numbers"))), PAGE_ROWS))
        else:
            pages = [page async for page in self._indexes.pages(self._keys.numbers)]
        found = [await asyncio.gather(*(self.number(one) for one in page)) for page in pages]
        numbers = [number for page in found for number in page if number is not None]
        return [number for number in numbers if account in (None, number.account)]

    def number_ids(self) -> AsyncIterator[str]:
        return self._indexes.ids(self._keys.numbers)

    async def numbers_page(
        self, after: str, limit: int, account: str | None = None, *, backwards: bool = False
    ) -> Sequence[Number]:
        if account is None:
            return await self._indexes.page(self._keys.numbers, self.number, after, limit, backwards=backwards)
        members = await self._indexes.members(self._keys.of(account, "numbers"))
        named = sorted((one for one in members if is_beyond(one, after, backwards=backwards)), reverse=backwards)
        found: list[Number] = []
        while named and len(found) < limit:  # it may name some that never came to be, or are another account's by now
            page, named = named[:limit], named[limit:]
            read = await asyncio.gather(*map(self.number, page))
            found += [number for number in read if number is not None and number.account == account]
        return found[:limit]

    async def called(self, numbers: Sequence[str]) -> Called | None:
        found = [one for one in await asyncio.gather(*map(self.number, numbers)) if one is not None]
        if not found:
            return None
        number = found[0]
        whose, target = number.account, number.forward_to
        reads = self.account(whose), self._client.pairs(self._keys.of(whose, "books")), self.number(target)
        account, books, ours = await asyncio.gather(*reads)
        return Called(number, account, load_balances(books), bool(target) and ours is not None)

    async def restore_account(self, account: Account) -> None:
        await self._client.command("ZADD", self._keys.accounts, 0, account.id)
        entry = mail_member(account)
        if entry:
            await self._client.command("ZADD", self._keys.mail, 0, entry)
        record = ("version", account.version, "record", dump_account(account), "mail", entry)
        await self._client.command("HSET", self._keys.of(account.id, "account"), *record)
        await self._client.command("HSET", self._keys.of(account.id, "books"), "#lines", 0)


class RedisLeases:
    """Part of the Redis store. Leases wait for no replica. One that a fail-over loses is acquired again, with an epoch
    beyond any given out before (`lease.lua`), which fences whoever had it; and no daemon is to lose its calls for want
    of a replica."""

    def __init__(self, client: RedisClient, keys: Keys, indexes: RedisIndexes, documents: Documents) -> None:
        self._client = client
        self._keys = keys
        self._indexes = indexes
        self._documents = documents
        self._script = Script("lease")

    async def acquire_lease(self, switch: str, owner: str, ttl_s: float) -> int | None:
        await known_schema(self._client, self._keys)  # who stood by while a newer program upgraded it leads no more
        await self._indexes.know(switch, waits=False)
        epoch = await self._lease("acquire", switch, owner, ttl_s)
        # In this order: who wants to be alone takes its lease first and looks for others second, so one of the two sees
        # the other.
        if epoch and switch != SOLE and (await self.is_held_alone() or await self._documents.get_document(*MARK)):
            await self._lease("release", switch, owner, 0, epoch)
            return None
        return epoch or None

    async def is_held_alone(self) -> bool:
        """Whether an export, an import or an archive has the ledger."""
        return bool(await self._client.command("EXISTS", self._keys.lease(SOLE)[0]))

    async def renew_lease(self, switch: str, owner: str, epoch: int, ttl_s: float) -> bool:
        return await self._lease("renew", switch, owner, ttl_s, epoch) > 0

    async def release_lease(self, switch: str, owner: str, epoch: int) -> None:
        await self._lease("release", switch, owner, 0, epoch)

    async def _lease(self, what: str, switch: str, owner: str, ttl_s: float, epoch: int = 0) -> int:
        arguments = (what, owner, max(1, round(ttl_s * 1000)), epoch)
        return int(await self._client.script(self._script, self._keys.lease(switch), arguments))

    async def held_leases(self) -> Sequence[str]:
        switches = sorted(await self._indexes.members(self._keys.switches))
        commands = (self._client.command("GET", self._keys.lease(switch)[0]) for switch in switches)
        leases = zip(switches, await asyncio.gather(*commands), strict=True)
        return [f"switch {switch} by {lease.decode().partition(' ')[2]}" for switch, lease in leases if lease]


def _as_stored(expected: Number, stored: str) -> str:
    """A number's record in the words in which it is ``stored``, if that reads as it. Scripts compare text, and what
    another version of this program wrote may read the same and be written otherwise."""
    return stored if stored and load_number(stored) == expected else dump_number(expected)
