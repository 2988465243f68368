"""A page of accounts or numbers costs what the page has, not what the store has: shown by counting, not by timing."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from charging.ledger.accounts import Account, Number
from charging.ledger.open import open_store
from charging.ledger.port import Store
from charging.ledger.sqlite.file import queries
from tests.integration.redis_servers import RedisServer

ROWS = 10


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


async def fill(store: Store, first: int, last: int) -> None:
    """Accounts, each with a number."""

    async def add(index: int) -> None:
        await store.directory.put_account(Account(f"a{index:06}", "voice_pro", email=f"a{index:06}@example.nl"))
        await store.directory.put_number(Number(f"+3120{index:06}", f"a{index:06}"))

    await asyncio.gather(*(add(index) for index in range(first, last)))


async def test_a_page_in_sqlite_is_a_search_of_the_primary_key_from_where_it_begins(tmp_path: Path) -> None:
    store = open_store(f"sqlite://{tmp_path}/ledger.db")
    await store.open()
    await fill(store, 0, 3 * ROWS)
    assert [one.id for one in await store.directory.accounts_page("a000004", 2)] == ["a000005", "a000006"]
    await store.close()
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        for query, table, key in (("accounts_after", "accounts", "id"), ("numbers_after", "numbers", "number")):
            plan = connection.execute(f"EXPLAIN QUERY PLAN {queries()[query]}", ("", ROWS)).fetchall()
            (step,) = [row[3] for row in plan]  # one step: nothing is sorted or scanned beside it
            assert re.fullmatch(rf"SEARCH {table} USING PRIMARY KEY \({key}>\?\)", step), step
        plan = connection.execute(f"EXPLAIN QUERY PLAN {queries()['accounts_of_mail']}", ("a@example.nl", 2)).fetchall()
        assert [row[3] for row in plan] == ["SEARCH accounts USING INDEX accounts_by_mail (<expr>=?)"]
        plan = connection.execute(f"EXPLAIN QUERY PLAN {queries()['numbers_of']}", ("a",)).fetchall()
        assert [row[3] for row in plan] == ["SEARCH numbers USING INDEX numbers_by_account (account=?)"]
    connection.close()


async def test_a_page_in_redis_takes_as_many_commands_in_a_large_store_as_in_a_small_one(redis: RedisServer) -> None:
    store = open_store(f"{redis.url}?timeout_s=20")
    await store.open()

    async def commands_of_a_page() -> dict[str, int]:
        redis.cli("config", "resetstat")
        assert len(await store.directory.accounts_page("a000003", ROWS)) == ROWS
        assert len(await store.directory.numbers_page("+3120000003", ROWS)) == ROWS
        assert len(await store.directory.accounts_of_mail("a000002@example.nl", ROWS)) == 1
        calls = re.findall(r"cmdstat_(z\w+|hget\w*):calls=(\d+)", redis.cli("info", "commandstats"))
        return {name: int(count) for name, count in calls}

    await fill(store, 0, 3 * ROWS)
    small = await commands_of_a_page()
    await fill(store, 3 * ROWS, 60 * ROWS)
    assert await commands_of_a_page() == small == {"zrangebylex": 4, "hgetall": ROWS + 1, "hget": ROWS}
    await store.close()
