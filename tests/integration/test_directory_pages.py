"""A page of accounts, numbers or CDRs costs what it has, not what the store has: shown by counting, not by timing."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from charging.ledger.accounts import Account, Number
from charging.ledger.model import CdrRow
from charging.ledger.open import open_store
from charging.ledger.port import Store
from charging.ledger.sqlite.file import queries
from charging.ledger.sqlite.store import SqliteStore
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


@pytest.mark.parametrize("account", ["a000000", None])
@pytest.mark.parametrize("backwards", [False, True])
async def test_a_page_of_cdrs_in_sqlite_takes_as_many_steps_wherever_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, account: str | None, backwards: bool
) -> None:
    store = SqliteStore(tmp_path / "ledger.db")
    await store.open()
    await fill(store, 0, 1)
    cdrs = [CdrRow(f"s{index:06}", "a000000", index // 2, "{}") for index in range(200 * ROWS)]
    await store.restore_cdrs(cdrs)
    asked: list[tuple[str, object]] = []
    rows = store._reader.rows

    async def noted(statement: str, bounds: Any) -> Any:
        asked.append((statement, bounds))
        return await rows(statement, bounds)

    monkeypatch.setattr(store._reader, "rows", noted)
    found, after = list[CdrRow](), None
    while page := await store.cdrs(account=account, after=after, limit=ROWS, backwards=backwards):
        found += page
        after = page[-1].ended_us, page[-1].session
    assert found == (cdrs[::-1] if backwards else cdrs)
    await store.close()
    steps = [steps_of(tmp_path / "ledger.db", *one) for one in asked[:-1]]
    assert max(steps) <= 1.5 * min(steps)


def steps_of(path: Path, statement: str, bounds: Any) -> int:
    """How many steps SQLite's machine takes for a query."""
    taken = 0

    def step() -> int:
        nonlocal taken
        taken += 1
        return 0

    with closing(sqlite3.connect(path)) as connection:
        connection.set_progress_handler(step, 1)
        connection.execute(statement, bounds).fetchall()
    return taken
