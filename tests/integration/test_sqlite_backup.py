"""A SQLite ledger is backed up while it is in use, and the copy is a ledger."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from charging.errors import LedgerUnavailable
from charging.ledger.model import Kind, Leg, Transfer
from charging.ledger.sqlite.reader import THREADS, TOGETHER_MAX, KeyReader, Reader
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


async def _thread_of(reader: KeyReader) -> int:
    return await reader.read(lambda _connection: threading.get_ident())


async def test_a_process_that_decides_no_calls_reads_by_key_without_a_thread(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "ledger.db")
    await store.open()
    await store.close()
    path, reader = tmp_path / "ledger.db", Reader(tmp_path / "ledger.db", timeout_s=20)
    beside, daemons = KeyReader(reader, path, at_once=True), KeyReader(reader, path, at_once=False)
    assert await _thread_of(beside) == threading.get_ident()
    assert await _thread_of(daemons) != threading.get_ident()
    beside.stop()
    await reader.stop()
    with pytest.raises(LedgerUnavailable, match="is closed"):
        await _thread_of(beside)


async def test_what_the_loops_own_thread_cannot_read_at_once_a_thread_waits_for(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "ledger.db")
    await store.open()
    await store.close()
    reader, threads = Reader(tmp_path / "ledger.db", timeout_s=20), list[int]()
    by_key = KeyReader(reader, tmp_path / "ledger.db", at_once=True)

    def work(_connection: sqlite3.Connection) -> str:
        threads.append(threading.get_ident())
        if len(threads) == 1:
            raise sqlite3.OperationalError("database is locked")
        return "read"

    assert await by_key.read(work) == "read"
    assert [one == threading.get_ident() for one in threads] == [True, False]
    by_key.stop()
    await reader.stop()


async def test_reads_of_one_turn_go_to_a_thread_together_and_fail_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charging.ledger.sqlite.reader.LOOK_S", 60)  # opening the file may take its time here
    reader, handed = Reader(tmp_path / "ledger.db", timeout_s=20), list[int]()
    submit = reader._pool.submit

    def noting(work: Callable[[], object]) -> None:
        handed.append(len(reader._waiting))
        submit(work)

    monkeypatch.setattr(reader._pool, "submit", noting)
    asked = [reader.rows("SELECT ?", (number,)) for number in range(TOGETHER_MAX)]
    answers = await asyncio.gather(*asked, reader.rows("SELECT oddity"), return_exceptions=True)
    assert answers[:-1] == [[(number,)] for number in range(TOGETHER_MAX)]
    assert isinstance(answers[-1], LedgerUnavailable)
    assert handed == [TOGETHER_MAX + 1]
    await reader.stop()


class Slow:
    """A read that holds its thread until it is let go."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.finish = threading.Event()

    def __call__(self, _connection: sqlite3.Connection) -> bool:
        self.begun.release()
        return self.finish.wait(60)

    async def in_every_thread(self, reader: Reader) -> list[asyncio.Task[bool]]:
        tasks = [asyncio.create_task(reader.read(self)) for _ in range(THREADS)]
        for _ in range(THREADS):
            assert await asyncio.to_thread(self.begun.acquire, timeout=20), "one thread takes what the other has not"
        return tasks


async def test_a_slow_read_holds_up_none_of_its_turn(tmp_path: Path) -> None:
    reader, slow = Reader(tmp_path / "ledger.db", timeout_s=20), Slow()
    before, lasts, after = (asyncio.create_task(one) for one in (select(reader), reader.read(slow), select(reader)))
    try:
        assert [await before, await after] == [[(1,)], [(1,)]]
        assert not lasts.done()
    finally:
        slow.finish.set()
    assert await lasts
    await reader.stop()


async def test_a_read_whose_caller_has_given_up_is_not_carried_out(tmp_path: Path) -> None:
    reader, slow, ran = Reader(tmp_path / "ledger.db", timeout_s=60), Slow(), list[int]()
    lasting = await slow.in_every_thread(reader)

    async def noted(number: int) -> None:
        await reader.read(lambda _: ran.append(number))

    waiting = [asyncio.create_task(noted(number)) for number in range(3)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    await asyncio.gather(waiting[1], return_exceptions=True)
    slow.finish.set()
    assert await asyncio.gather(*lasting, waiting[0], waiting[2]) == [True] * THREADS + [None] * 2
    assert sorted(ran) == [0, 2]
    await reader.stop()


async def test_a_full_queue_of_reads_refuses_at_once(tmp_path: Path) -> None:
    reader, slow = Reader(tmp_path / "ledger.db", timeout_s=60, queue_max=THREADS), Slow()
    lasting = await slow.in_every_thread(reader)
    waiting = [asyncio.create_task(select(reader)) for _ in range(THREADS)]
    await asyncio.sleep(0)
    with pytest.raises(LedgerUnavailable, match=f"{THREADS} reads are waiting"):
        await select(reader)
    slow.finish.set()
    assert await asyncio.gather(*lasting, *waiting) == [True] * THREADS + [[(1,)]] * THREADS
    await reader.stop()


async def test_an_ordinary_read_that_was_not_begun_when_the_ledger_closed_is_refused(tmp_path: Path) -> None:
    reader, slow = Reader(tmp_path / "ledger.db", timeout_s=60), Slow()
    lasting = await slow.in_every_thread(reader)
    waits = asyncio.create_task(select(reader))
    await asyncio.sleep(0)
    stopping = asyncio.create_task(reader.stop())
    await asyncio.sleep(0)
    slow.finish.set()
    with pytest.raises(LedgerUnavailable, match="is closed"):
        await waits
    await stopping
    assert await asyncio.gather(*lasting) == [True] * THREADS


async def select(reader: Reader) -> list[tuple[int]]:
    return await reader.rows("SELECT 1")


async def test_a_long_read_that_was_not_begun_when_the_ledger_closed_is_refused(tmp_path: Path) -> None:
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
        assert await store.directory.account("a") is not None
    await store.ping()
    await store.close()
