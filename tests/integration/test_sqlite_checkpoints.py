"""The write-ahead log is carried over into the file by its writer, while nobody waits for that."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from charging.ledger.sqlite import writer as of_writer
from charging.ledger.sqlite.file import connect
from charging.ledger.sqlite.writer import Writer
from tests.fakes.ami import eventually

ROWS = 10
NEVER_S = 60
SOON_S = 10


@pytest.fixture
async def writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Writer]:
    monkeypatch.setattr(of_writer, "REST_ROWS", ROWS)
    with closing(connect(tmp_path / "any.db", 1)) as connection:
        connection.execute("CREATE TABLE seen (number INTEGER PRIMARY KEY)")
    writer = Writer(tmp_path / "any.db", 5.0)
    writer.start()
    yield writer
    await writer.stop()


async def write(writer: Writer, first: int, count: int) -> None:
    rows = [(number,) for number in range(first, first + count)]
    await writer.submit(lambda connection: connection.executemany("INSERT INTO seen VALUES (?)", rows).rowcount)


def carried(tmp_path: Path) -> int:
    """Rows in the file itself, as it is without its log."""
    with closing(sqlite3.connect(f"file:{tmp_path}/any.db?immutable=1", uri=True)) as connection:
        return int(connection.execute("SELECT count(*) FROM seen").fetchone()[0])


async def test_log_is_carried_over_at_the_first_rest_after_so_many_rows(writer: Writer, tmp_path: Path) -> None:
    await write(writer, 0, ROWS)
    await eventually(lambda: carried(tmp_path) == ROWS)


async def test_fewer_rows_wait_for_more(writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rested: list[float] = []
    monkeypatch.setattr(Writer, "_is_wanted_within", lambda _writer, seconds: rested.append(seconds))
    await write(writer, 0, ROWS - 1)
    await write(writer, ROWS, 0)  # the thread is through with the first
    assert (rested, carried(tmp_path)) == ([], 0)
    await write(writer, ROWS, 1)
    await eventually(lambda: carried(tmp_path) == ROWS)
    await write(writer, 2 * ROWS, ROWS - 1)
    await write(writer, 3 * ROWS, 0)
    assert (rested, carried(tmp_path)) == ([of_writer.REST_S], ROWS)


async def test_whoever_comes_is_served_before_the_log(
    writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_writer, "REST_S", NEVER_S)
    async with asyncio.timeout(SOON_S):
        await write(writer, 0, ROWS)
        await write(writer, ROWS, ROWS)
    assert carried(tmp_path) == 0


async def test_a_daemon_that_stops_does_not_wait_for_the_rest(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_writer, "REST_S", NEVER_S)
    await write(writer, 0, ROWS)
    begun = time.monotonic()
    await writer.stop()
    assert time.monotonic() - begun < SOON_S


async def test_a_log_that_cannot_be_carried_over_stops_nobody_and_is_tried_again(
    writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    class Broken(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            if "wal_checkpoint" in sql:
                tried.append(sql)
                if len(tried) == 1:
                    raise sqlite3.OperationalError("disk I/O error")
            return super().execute(sql, *parameters)

    def broken(path: Path, _busy_s: float) -> sqlite3.Connection:
        return sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=Broken)

    monkeypatch.setattr(of_writer, "connect", broken)
    await write(writer, 0, ROWS)
    await eventually(lambda: len(tried) == 1)
    assert carried(tmp_path) == 0
    await write(writer, ROWS, ROWS)
    await eventually(lambda: carried(tmp_path) == 2 * ROWS)


async def test_log_is_used_again_from_its_beginning(writer: Writer, tmp_path: Path) -> None:
    for round_ in range(30):
        await write(writer, round_ * ROWS, ROWS)
        await eventually(lambda done=(round_ + 1) * ROWS: carried(tmp_path) == done)  # type: ignore[misc]
    assert (tmp_path / "any.db-wal").stat().st_size < 10 * 4_120
