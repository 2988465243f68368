"""The indexes of a Redis ledger, read with suspicion, and the fields that they name; see `Keys`."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TypeVar

from charging.errors import LedgerError
from charging.ledger.accounts import Account, Number
from charging.ledger.redis.client import TOGETHER_MAX, RedisClient, in_steps
from charging.ledger.redis.records import Keys

PAGE_ROWS = 500
"""How many are asked about at a time, however many there are: what calls ask meanwhile waits for no more."""

Record = TypeVar("Record", Account, Number)


class RedisIndexes:
    """Of one ledger."""

    def __init__(self, client: RedisClient, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._known_switches: set[str] = set()
        """Those that this process has put into the index of switches."""

    async def know(self, switch: str, *, waits: bool = True) -> None:
        """Put the switch into the index of switches, once; again each time by whoever ``waits`` for no replica."""
        if switch in self._known_switches:
            return
        if waits:
            await self._client.command_acknowledged("SADD", self._keys.switches, switch)
            self._known_switches.add(switch)
        else:
            await self._client.command("SADD", self._keys.switches, switch)

    async def members(self, key: str) -> list[str]:
        """All of a set, in no order."""
        return [member.decode() for member in await self._client.command("SMEMBERS", key)]

    async def page(
        self,
        key: str,
        read: Callable[[str], Awaitable[Record | None]],
        after: str,
        limit: int,
        *,
        backwards: bool = False,
    ) -> list[Record]:
        """The first ``limit`` records that an index names beyond ``after`` (``backwards``: the last before it); it may
        name some that never came to be."""
        found: list[Record] = []
        async for page in self.pages(key, after, limit, backwards=backwards):
            found += [record for record in await asyncio.gather(*map(read, page)) if record is not None]
            if len(found) >= limit:
                break
        return found[:limit]

    async def ids(self, key: str) -> AsyncIterator[str]:
        """All that an index names; it may name some that never came to be."""
        async for page in self.pages(key):
            for one in page:
                yield one

    async def pages(
        self, key: str, after: str = "", rows: int = PAGE_ROWS, *, backwards: bool = False
    ) -> AsyncIterator[list[str]]:
        """The members of an index whose scores are all 0, in order, beyond ``after``; or in the order from the last,
        before it."""
        command, first, last = ("ZREVRANGEBYLEX", "+", "-") if backwards else ("ZRANGEBYLEX", "-", "+")
        begin = f"({after}" if after else first
        while page := await self._client.command(command, key, begin, last, "LIMIT", 0, rows):
            yield [member.decode() for member in page]
            begin = "(" + page[-1].decode()

    async def fields(self, of: Iterable[tuple[str, str]], what: str) -> dict[tuple[str, str], bytes]:
        """The fields named by (field, account), of each account's hash; those that there are."""
        by_account: dict[str, list[str]] = defaultdict(list)
        for field, account in of:
            by_account[account].append(field)
        found: dict[tuple[str, str], bytes] = {}
        for some in in_steps(tuple(by_account.items()), TOGETHER_MAX):
            commands = [("HMGET", self._keys.of(one, what), *fields) for one, fields in some]
            for (one, fields), values in zip(some, await self._client.commands(commands), strict=True):
                if isinstance(values, LedgerError):
                    raise values
                pairs = zip(fields, values, strict=True)
                found |= {(field, one): value for field, value in pairs if value is not None}
        return found
