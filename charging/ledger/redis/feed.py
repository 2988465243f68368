"""The feed in Redis: its readers give the places, from the journals.

A booking is one script in its account's slot, which cannot see other accounts. It leaves a *mark* on its account:
outside a cluster in the same step, in a cluster before it, because the marks are in another slot. A reader takes the
marked accounts, reads the lines of their journals behind the last that was *told* (has its place), and gives those
lines their places by one script. The script does nothing if another reader was faster. So readers need no lease, and a
reader that is killed leaves nothing unfinished.

In a cluster a mark may be older than its booking. The mark stays for LINGER_S, longer than a booking can take. Each
look also compares some other accounts, in turn, with what was told. So the booking of a daemon that was frozen between
mark and booking is found too, a little later. (A document that is written so late is not found: it is no booking.)

If the journal does not have the line that was told last, a fail-over has lost that line. Then the lines before it are
looked at again: those that have a place keep it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from charging.clock import MICROSECONDS
from charging.ledger.documents import Document
from charging.ledger.feed import FeedEntry, takes_place
from charging.ledger.model import AMOUNT_MAX, JournalLine, Kind
from charging.ledger.redis.client import RedisClient, Script
from charging.ledger.redis.records import Keys, feed_member, split_feed_member

ACCOUNTS_MAX = 200
"""In one look."""
LINES_MAX = 500
"""Of each of them; the rest at the next look."""
LINGER_S = 15
"""Longer than any store lets a booking wait."""
COMPARED = 50
"""Accounts that each look at a cluster compares beside those that are marked."""
LOOKED_AT_AGAIN = 200
"""Lines before one that a fail-over has lost."""

TOGETHER = 16
"""Questions at a time, beside the calls' own; of a cluster one, for each needs a connection of its own there."""

T = TypeVar("T")

Lines = Callable[[str, int, int, int], Awaitable[list[JournalLine]]]
"""Of an account, from a number to a number, at most so many."""
Documented = Callable[[str, str], Awaitable[Document | None]]


@dataclass(frozen=True, slots=True)
class _Marked:
    account: str
    """Or ``#COLLECTION/ID``."""
    mark: str
    """Empty: it is not marked."""
    told: str
    """``NUMBER DIGEST``; empty: nothing."""
    is_old: bool = True
    """Whether the mark may go."""

    @property
    def is_document(self) -> bool:
        return self.account.startswith("#")


class RedisFeed:
    """Of one ledger."""

    def __init__(
        self, client: RedisClient, keys: Keys, lines: Lines, document: Documented, *, apart: bool, waits: bool
    ) -> None:
        """``apart``: the accounts are in other slots, out of a script's reach. ``waits``: nothing counts before some
        replicas have it."""
        self._client = client
        self._keys = keys
        self._lines = lines
        self._document = document
        self._apart = apart
        self._waits = waits
        self._together = 1 if apart else TOGETHER
        names = ("read_news", "mark_news", "tell", "touch")
        self._scripts = {name: Script(name) for name in names}
        self._looking = asyncio.Lock()
        self._compared = "-"
        """Where the next accounts to be compared begin."""

    async def mark(self, account: str) -> None:
        """Something is about to be booked on it."""
        await self._client.script(self._scripts["mark_news"], [self._keys.news], (account,))

    async def read_feed(self, after: int, limit: int) -> list[FeedEntry]:
        """As `charging.ledger.feed.Feed.read_feed`."""
        await self._look()
        window = ("ZRANGEBYSCORE", self._keys.feed, f"({after}", "+inf", "WITHSCORES", "LIMIT", 0, limit)
        page = await self._client.command(*window)
        if page and self._waits:  # what another reader has told must outlive a fail-over before we pass it on
            await self._acknowledged(self._keys.told, "#")
        each = zip(page[::2], page[1::2], strict=True)
        return await self._all_of([self._entry(member, int(place)) for member, place in each])

    async def _acknowledged(self, key: str, field: str) -> None:
        await self._client.script_acknowledged(self._scripts["touch"], [key], (field,))

    async def _entry(self, member: bytes, place: int) -> FeedEntry:
        if member.startswith(b"#"):
            name = member[1:].decode()
            return FeedEntry(place, document=name, found=await self._named(name))
        account, number = split_feed_member(member)
        lines = await self._lines(account, number, number, 1)
        is_it = bool(lines) and lines[0].kind.has_place and feed_member(lines[0]) == member.decode()
        return FeedEntry(place, account, number, found=lines[0] if is_it else None)

    async def _named(self, name: str) -> Document | None:
        collection, _, id = name.partition("/")
        return await self._document(collection, id)

    async def last_place(self, up_to: int = AMOUNT_MAX) -> int:
        """The largest place up to this one that was given, once what was booked before has its own."""
        begun = left = 0
        while left <= begun:  # what is booked meanwhile is marked later
            now, left = await self._look()
            begun = begun or now
        window = ("ZREVRANGEBYSCORE", self._keys.feed, up_to, "-inf", "WITHSCORES", "LIMIT", 0, 1)
        found = await self._client.command(*window)
        return int(found[1]) if found else 0

    async def _look(self) -> tuple[int, int]:
        """Tell what was booked since the last look. The server's time, µs, and a mark before which nothing is left."""
        async with self._looking:
            keys = [self._keys.news, self._keys.told]
            now, *found = await self._client.script(self._scripts["read_news"], keys, (ACCOUNTS_MAX,))
            linger_us = LINGER_S * MICROSECONDS if self._apart else 0
            marked = [
                _Marked(account.decode(), mark.decode(), told.decode(), int(now) - int(mark) >= linger_us)
                for account, mark, told in zip(found[::3], found[1::3], found[2::3], strict=True)
            ]
            beyond = int(marked[-1].mark) if len(marked) == ACCOUNTS_MAX else AMOUNT_MAX
            if self._apart:
                marked += await self._to_compare()
            tells = [self._tell_document(one) if one.is_document else self._tell(one) for one in marked]
            is_all = await self._all_of(tells)
            left = [int(one.mark) for one, whole in zip(marked, is_all, strict=True) if one.mark and not whole]
            return int(now), min(beyond, *left) if left else beyond

    async def _to_compare(self) -> list[_Marked]:
        """The next accounts in turn whose journals have gone on since the last look at them."""
        window = ("ZRANGEBYLEX", self._keys.accounts, self._compared, "+", "LIMIT", 0, COMPARED)
        accounts = [one.decode() for one in await self._client.command(*window)]
        self._compared = f"({accounts[-1]}" if len(accounts) == COMPARED else "-"
        if not accounts:
            return []
        told = await self._client.command("HMGET", self._keys.told, *accounts)
        asked = (self._client.command("HGET", self._keys.of(one, "books"), "#lines") for one in accounts)
        lines = await self._all_of(list(asked))
        each = zip(accounts, ((one or b"").decode() for one in told), lines, strict=True)
        return [_Marked(account, "", seen) for account, seen, last in each if int(last or 0) != _number(seen)]

    async def _tell_document(self, one: _Marked) -> bool:
        document = await self._named(one.account[1:])
        is_told = document is not None and takes_place(document, is_new=True)
        if is_told or one.is_old:
            mark, members = one.mark if one.is_old else "", [one.account] if is_told else []
            await self._give(one, "", mark, members)
        return True

    async def _give(self, one: _Marked, told: str, mark: str, members: Sequence[str]) -> None:
        keys = [self._keys.feed, self._keys.told, self._keys.news]
        arguments = (one.account, one.told, told, mark, *members)
        await self._client.script_acknowledged(self._scripts["tell"], keys, arguments)

    async def _tell(self, one: _Marked) -> bool:
        """Give the account's new lines their places. Returns whether there are no more."""
        number, digest = _number(one.told), one.told.partition(" ")[2]
        lines = await self._lines(one.account, max(1, number), AMOUNT_MAX, LINES_MAX)
        if number and _is_lost(number, digest, lines):
            number = max(0, number - LOOKED_AT_AGAIN)
            lines = await self._lines(one.account, number + 1, AMOUNT_MAX, LINES_MAX)
        is_all = len(lines) < LINES_MAX
        fresh = [line for line in lines if line.number > number]
        mark = one.mark if one.is_old and is_all else ""
        if not fresh and not mark:
            return is_all
        if fresh and self._apart and self._waits:  # elsewhere the script's own writes are behind these
            await self._acknowledged(self._keys.of(one.account, "books"), "#lines")
        told = f"{fresh[-1].number} {fresh[-1].digest}" if fresh else one.told
        await self._give(one, told, mark, [feed_member(line) for line in fresh if line.kind.has_place])
        return is_all

    async def _all_of(self, asked: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
        """What all of them answer, some of them at a time. The first that fails is raised once no other is under way: a
        connection that is left in the middle of a command is never closed."""
        found: list[T] = []
        left = list(asked)
        try:
            while left:
                batch, left = left[: self._together], left[self._together :]
                some = await asyncio.gather(*batch, return_exceptions=True)
                if failed := [one for one in some if isinstance(one, BaseException)]:
                    raise failed[0]
                found += [one for one in some if not isinstance(one, BaseException)]
        finally:
            for one in left:
                one.close()
        return found

    async def begin_behind(self, line: JournalLine, *, overwrite: bool = True) -> None:
        """Begin the account's feed behind this line: lines up to it get no place. Without ``overwrite``, nothing
        happens if its feed has begun already."""
        write = "HSET" if overwrite else "HSETNX"
        await self._client.command(write, self._keys.told, line.account, f"{line.number} {line.digest}")

    async def clear_feed(self) -> None:
        """Nothing has a place."""
        await self._client.command("DEL", self._keys.feed, self._keys.news)

    async def restore_feed(self, entries: Sequence[FeedEntry]) -> None:
        """Put entries at their places."""
        for entry in entries:
            member = f"#{entry.document}"
            if not entry.document:
                lines = await self._lines(entry.account, entry.number, entry.number, 1)
                member = feed_member(lines[0]) if lines else f"{entry.account} {entry.number} archived"
            await self._client.command("ZADD", self._keys.feed, entry.place, member)

    async def forget_feed(self, before: int) -> None:
        """Take out what is at places below."""
        await self._client.command("ZREMRANGEBYSCORE", self._keys.feed, "-inf", f"({before}")


def _number(told: str) -> int:
    return int(told.partition(" ")[0] or 0)


def _is_lost(number: int, digest: str, lines: Sequence[JournalLine]) -> bool:
    """Whether the journal has not the line that was told last, nor an opening in its place."""
    if not lines:
        return True
    first = lines[0]
    return first.number == number and first.digest != digest and first.kind is not Kind.OPENING
