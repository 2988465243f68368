"""A SQLite ledger is backed up while it is in use, and the copy is a ledger."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from charging.errors import LedgerUnavailable
from charging.ledger.model import Kind, Leg, Transfer
from charging.ledger.sqlite.reader import THREADS, TOGETHER_MAX, Reader
from charging.ledger.sqlite.store import SqliteStore
from tests.contract.scenario import add_account, assert_sound, run
from tests.fakes.disk import disk_full_at


async def test_a_backup_under_load_is_a_sound_ledger_with_all_that_was_acknowledged_before(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "ledger.db")
    await store.open()
    await add_account(store)
    await run(store, "r1 reserve s1:open calls=/1@-1 -> created")
    stop = asyncio.Event()

    async def traffic(task: int) -> int:
        number = 0
        while not stop.is_set():
            number += 1
            await store.apply(Transfer(f"t{task}/{number}", "a", Kind.TOP_UP, 1, (Leg("credit", 1),)))
        return number

    tasks = [asyncio.create_task(traffic(task)) for task in range(5)]
    await store.apply(Transfer("before", "a", Kind.TOP_UP, 1, (Leg("credit", 1),)))
    await store.backup(tmp_path / "copy.db")
    stop.set()
    await asyncio.gather(*tasks)
    await store.close()
    copy = SqliteStore(tmp_path / "copy.db")
    await copy.open()
    await assert_sound(copy)
    assert "before" in [line.id async for line in copy.journal("a")]
    assert [session.id for session in await copy.sessions()] == ["s1"]
    await run(copy, "v1 release s1:close calls=/-1 -> created calls 0/0")
    await copy.close()
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600


async def test_a_backup_that_fails_leaves_no_file(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "ledger.db")
    await store.open()
    await add_account(store)
    before = sorted(tmp_path.iterdir())  # noqa: ASYNC240
    with disk_full_at(4096), pytest.raises(LedgerUnavailable):
        await store.backup(tmp_path / "copy.db")
    assert sorted(tmp_path.iterdir()) == before  # noqa: ASYNC240
    await store.backup(tmp_path / "copy.db")
    await store.close()


async def test_a_backup_replaces_no_file(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "ledger.db")
    await store.open()
    with pytest.raises(LedgerUnavailable, match="File exists"):
        await store.backup(tmp_path / "ledger.db")
    with pytest.raises(LedgerUnavailable, match="No such file"):
        await store.backup(tmp_path / "missing" / "copy.db")
    await store.close()


async def test_a_call_does_not_wait_for_a_backup_and_a_check_of_the_whole_file(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "ledger.db")
    await store.open()
    await store.close()
    reader = Reader(tmp_path / "ledger.db", timeout_s=2)
    begun, finish = threading.Semaphore(0), threading.Event()

    def lasts(_connection: sqlite3.Connection) -> bool:
        begun.release()
        return finish.wait(60)

    tasks = [asyncio.create_task(reader.read(lasts, may_last=True)) for _ in range(THREADS + 1)]
    for _ in range(THREADS):
        assert await asyncio.to_thread(begun.acquire, timeout=20)
    try:
        assert await reader.rows("SELECT 1") == [(1,)]
    finally:
        finish.set()
    assert await asyncio.gather(*tasks) == [True] * len(tasks)  # the one too many has waited for its turn
    await reader.stop()


async def test_reads_of_one_turn_go_to_a_thread_together_and_fail_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, handed = Reader(tmp_path / "ledger.db", timeout_s=20), list[int]()
    submit = reader._pool.submit
    monkeypatch.setattr(reader._pool, "submit", lambda work, jobs: (handed.append(len(jobs)), submit(work, jobs))[1])
    asked = [reader.rows("SELECT ?", (number,)) for number in range(TOGETHER_MAX)]
    answers = await asyncio.gather(*asked, reader.rows("SELECT oddity"), return_exceptions=True)
    assert answers[:-1] == [[(number,)] for number in range(TOGETHER_MAX)]
    assert isinstance(answers[-1], LedgerUnavailable)
    assert handed == [TOGETHER_MAX, 1], "no more than a few wait for one another"
    await reader.stop()


async def test_a_read_that_was_not_begun_when_the_ledger_closed_is_refused(tmp_path: Path) -> None:
    reader, begun, finish = Reader(tmp_path / "ledger.db", timeout_s=60), threading.Semaphore(0), threading.Event()

    def lasts(_connection: sqlite3.Connection) -> bool:
        begun.release()
        return finish.wait(60)

    tasks = [asyncio.create_task(reader.read(lasts, may_last=True)) for _ in range(THREADS + 1)]
    for _ in range(THREADS):
        assert await asyncio.to_thread(begun.acquire, timeout=20)
    stopping = asyncio.create_task(reader.stop())
    with pytest.raises(LedgerUnavailable, match="is closed"):
        await tasks[-1]
    with pytest.raises(LedgerUnavailable, match="is closed"):
        await reader.rows("SELECT 1")
    finish.set()
    assert await asyncio.gather(*tasks[:-1]) == [True] * THREADS
    await stopping


async def test_a_ping_of_a_ledger_on_a_full_disk_fails_though_it_answers_reads(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "ledger.db")
    await store.open()
    await add_account(store)
    await store.ping()
    with disk_full_at(4096):
        with pytest.raises(LedgerUnavailable):
            await store.ping()
        assert await store.account("a") is not None
    await store.ping()
    await store.close()
