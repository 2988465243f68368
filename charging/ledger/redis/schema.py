"""The version of what a Redis ledger keeps: an empty Redis taken into use, an older ledger brought up to date."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from charging.errors import LedgerMissing, LedgerUnavailable
from charging.ledger.redis.client import RedisClient, Script
from charging.ledger.redis.indexes import RedisIndexes
from charging.ledger.redis.records import Keys, mail_member, split_index_member
from charging.ledger.unfinished import assert_whole

if TYPE_CHECKING:
    from charging.ledger.redis.store import RedisStore

SCHEMA = 4
"""1: the first. 2: an open session's record has the number of its last transfer. 3: mail addresses have an index.
4: lines take places in the feed."""

MISSING = (
    "the daemon's first start makes it, or the first account; if there was one, it is lost: stop every daemon, look at "
    "ledger.url and at Redis' files, and restore a copy"
)


async def stored_schema(client: RedisClient, keys: Keys) -> int | None:
    """The version of its schema; ``None``: this Redis has no ledger. It need not be open."""
    stored = await client.command("GET", keys.schema)
    return None if stored is None else int(stored)


async def known_schema(client: RedisClient, keys: Keys) -> int:
    """The version of its schema. Raises LedgerUnavailable where it is a newer program's, or there is no ledger."""
    stored = await stored_schema(client, keys)
    if stored is None or stored > SCHEMA:
        raise LedgerUnavailable(
            f"the Redis ledger has schema {stored}, this program knows up to {SCHEMA}: use the newer program"
        )
    return stored


class RedisSchema:
    """Part of the Redis store."""

    def __init__(
        self, client: RedisClient, keys: Keys, indexes: RedisIndexes, store: RedisStore, *, begins: bool, upgrades: bool
    ) -> None:
        self._client = client
        self._keys = keys
        self._indexes = indexes
        self._store = store
        self._begins = begins
        self._upgrades = upgrades

    async def take_into_use(self) -> None:
        """Raises LedgerUnavailable where there is no ledger and none may be begun, or it is a newer program's, another
        has it alone, an import was broken off, or older programs are still at work on it."""
        if self._begins:
            await self._client.command("SET", self._keys.schema, SCHEMA, "NX")
        await self.assert_there()
        stored = await known_schema(self._client, self._keys)
        if stored < SCHEMA and not self._upgrades:
            raise LedgerUnavailable(
                f"the Redis ledger has schema {stored}, this program works on {SCHEMA}: stop every daemon on it, then "
                "`charging ledger upgrade --backup FILE`; --dry-run only looks"
            )
        if await self._store.leases.is_held_alone():
            raise LedgerUnavailable(
                "an export, import or archive has the Redis ledger: wait for its end (or a minute, if it died)"
            )
        await assert_whole(self._store.documents)
        if stored < SCHEMA:
            await self._migrate(stored)
            await self._client.command("SET", self._keys.schema, SCHEMA)

    async def assert_there(self) -> None:
        """Raises LedgerMissing where this Redis has no ledger."""
        if await self.stored() is None:
            raise LedgerMissing(f"there is no ledger in this Redis (no key {self._keys.schema}): {MISSING}")

    async def stored(self) -> int | None:
        """The version of its schema; ``None``: this Redis has no ledger. It need not be open."""
        return await stored_schema(self._client, self._keys)

    async def assert_may_upgrade(self, stored: int) -> None:
        """Raises LedgerUnavailable while older programs are at work."""
        if held := await self._store.leases.held_leases():
            raise LedgerUnavailable(
                f"the Redis ledger has schema {stored}, and programs that know no later one are at work "
                f"({', '.join(held)}): stop them all first"
            )

    async def _migrate(self, stored: int) -> None:
        """Each step can be repeated: one that was cut short is carried out again by the next upgrade."""
        await self.assert_may_upgrade(stored)
        if stored < 2:
            await self._number_sessions()
        if stored < 3:
            await self._list_mail()
        await self._begin_feed()

    async def _number_sessions(self) -> None:
        """1 to 2: every open session gets a number, which is not known."""
        script = Script("migrate_2")
        for switch in await self._indexes.members(self._keys.switches):
            members = await self._client.command("SMEMBERS", self._keys.switch(switch))
            for account in sorted({split_index_member(member)[1] for member in members}):
                await self._client.script(script, [self._keys.of(account, "sessions")], ())

    async def _list_mail(self) -> None:
        """2 to 3: every account's mail address is in an index."""
        async for page in self._indexes.pages(self._keys.accounts):
            await asyncio.gather(*map(self._list_mail_of, page))

    async def _list_mail_of(self, account: str) -> None:
        stored = await self._store.directory.account(account)
        if stored is not None and (entry := mail_member(stored)):
            await self._client.command("ZADD", self._keys.mail, 0, entry)
            await self._client.command("HSET", self._keys.of(account, "account"), "mail", entry)

    async def _begin_feed(self) -> None:
        """3 to 4: what was booked by now is not told."""
        async for page in self._indexes.pages(self._keys.accounts):
            newest = await asyncio.gather(*(self._store.journal_page(account, None, 1) for account in page))
            await asyncio.gather(
                *(self._store.feed.begin_behind(line, overwrite=False) for lines in newest for line in lines)
            )
