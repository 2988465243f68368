"""Checks that the indexes of a Redis ledger, and its records beside each account's journal, are complete.

The ledger may be in use. A record that an index does not list may have ended, or been archived, since the index was
read; neither ever comes back. So it is a problem only if the record is still there afterwards. (A superfluous entry in
an index is no problem: readers check each entry.)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any

from charging.errors import LedgerCorrupt
from charging.ledger.codec import load_account
from charging.ledger.redis.client import RedisClient, Script
from charging.ledger.redis.records import Keys, cdr_member, index_member, load_cdr, load_session, mail_member

PAGE_ROWS = 500


class RedisCheck:
    """Of one ledger. Each problem is a sentence."""

    def __init__(self, client: RedisClient, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._check_ids = Script("check_ids")

    async def account(self, account: str) -> list[str]:
        """Every problem of an account."""
        looks = (self._ids, self._sessions, self._cdrs, self._cdr_places, self._numbers, self._mail)
        found = await asyncio.gather(*(_problems(look(account), account) for look in looks))
        return [problem for problems in found for problem in problems]

    async def numbers(self, numbers: Sequence[str]) -> list[str]:
        """Those of the index of numbers that their account does not know of."""
        found = await asyncio.gather(*map(self._number, numbers))
        return [problem for problem in found if problem]

    async def _number(self, number: str) -> str:
        owner = "HGET", self._keys.number(number), "account"
        account = await self._client.command(*owner)
        if account is None:
            return ""
        listed = await self._client.command("SISMEMBER", self._keys.of(account.decode(), "numbers"), number)
        if listed or await self._client.command(*owner) != account:
            return ""
        return f"number {number} of {account.decode()} is missing from its account's numbers"

    async def _ids(self, account: str) -> AsyncIterator[str]:
        """A transfer whose id is forgotten would be carried out again."""
        keys = [self._keys.of(account, "ids"), self._keys.of(account, "journal")]
        first, more_ids = 1, 0
        while first:
            first, more_ids_now, *wrong = await self._client.script(self._check_ids, keys, (first, PAGE_ROWS))
            for number, remembered in zip(wrong[::2], wrong[1::2], strict=True):
                what = "remembered with other contents" if remembered else "not remembered"
                yield f"line {number.decode()} of {account} is {what}"
                more_ids += not remembered
        if (more_ids := more_ids + more_ids_now) > 0:
            yield f"{more_ids} transfers of {account} are remembered of which the journal has no line"

    async def _sessions(self, account: str) -> AsyncIterator[str]:
        records = await self._client.command("HGETALL", self._keys.of(account, "sessions"))
        for name, record in records.items():
            session = load_session(account, name.decode(), record)
            listed = "SISMEMBER", self._keys.switch(session.switch), index_member(session.id, account)
            known = "SISMEMBER", self._keys.switches, session.switch
            stored = "HEXISTS", self._keys.of(account, "sessions"), session.id
            found = await self._client.command(*listed) and await self._client.command(*known)
            if not found and await self._client.command(*stored):
                yield f"session {session.id} of {account} is missing from the index of its switch"

    async def _cdrs(self, account: str) -> AsyncIterator[str]:
        key, places = self._keys.of(account, "cdr"), self._keys.of(account, "cdrs")
        async for page in self._scan("HSCAN", key):
            rows = [load_cdr(session.decode(), account, record) for session, record in page.items()]
            members = [cdr_member(row.session, account, row.ended_us) for row in rows]
            own = await self._client.command("ZMSCORE", places, *(row.session for row in rows))
            of_all = await self._client.command("ZMSCORE", self._keys.cdrs, *members)
            for row, *scores in zip(rows, own, of_all, strict=True):
                wrong = [
                    where
                    for where, score in zip(("its account's index", "the index"), scores, strict=True)
                    if score != row.ended_us
                ]
                if wrong and await self._client.command("HEXISTS", key, row.session):
                    for where in wrong:
                        yield f"the CDR of {row.session} of {account} is missing from {where}"

    async def _cdr_places(self, account: str) -> AsyncIterator[str]:
        key, places = self._keys.of(account, "cdr"), self._keys.of(account, "cdrs")
        async for page in self._scan("ZSCAN", places):
            sessions = [session for session, _ in page]
            records = await self._client.command("HMGET", key, *sessions)
            for session in (one for one, record in zip(sessions, records, strict=True) if record is None):
                if await self._client.command("ZSCORE", places, session) is not None:
                    yield f"the CDR of {session.decode()} of {account} is gone, its place in time is not"

    async def _numbers(self, account: str) -> AsyncIterator[str]:
        async for page in self._scan("SSCAN", self._keys.of(account, "numbers")):
            for name in page:
                number = name.decode()
                owner = "HGET", self._keys.number(number), "account"
                if await self._client.command(*owner) != account.encode():
                    continue
                listed = await self._client.command("ZSCORE", self._keys.numbers, number)
                if listed is None and await self._client.command(*owner) == account.encode():
                    yield f"number {number} of {account} is missing from the index of numbers"

    async def _mail(self, account: str) -> AsyncIterator[str]:
        record = "HMGET", self._keys.of(account, "account"), "record", "version"
        text, version = await self._client.command(*record)
        entry = ""
        with suppress(LedgerCorrupt):  # `charging ledger verify` names a damaged account by itself
            entry = "" if text is None else mail_member(load_account(text.decode(), int(version)))
        if not entry or await self._client.command("ZSCORE", self._keys.mail, entry) is not None:
            return
        if await self._client.command(*record) == [text, version]:
            yield f"the mail address of {account} is missing from the index of addresses"

    async def _scan(self, command: str, key: str) -> AsyncIterator[Any]:
        """What a key holds, in pages that are not empty; an element may come twice."""
        cursor = 0
        while True:
            cursor, page = await self._client.command(command, key, cursor, "COUNT", PAGE_ROWS)
            if page:
                yield page
            if not cursor:
                return


async def _problems(look: AsyncIterator[str], account: str) -> list[str]:
    """A record that cannot be read ends the look at its kind alone."""
    found: list[str] = []
    try:
        async for problem in look:
            found.append(problem)
    except LedgerCorrupt as error:
        found.append(f"account {account}: {error}")
    return found
