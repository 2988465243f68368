"""The write-ahead log is carried over into the file beside the writer, whom it does not hold up."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from charging.ledger.sqlite import checkpoints
from charging.ledger.sqlite.checkpoints import Checkpoints
from charging.ledger.sqlite.file import connect
from charging.ledger.sqlite.writer import Writer
from tests.fakes.ami import eventually

ROWS = 10


@pytest.fixture
async def writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Writer]:
    monkeypatch.setattr(checkpoints, "ROWS", ROWS)
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


async def test_log_is_carried_over_once_so_many_rows_are_written_and_not_before(writer: Writer, tmp_path: Path) -> None:
    ended = threading.Event()
    of_all = Checkpoints._carry_over

    def told(one: Checkpoints) -> None:
        of_all(one)
        ended.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "_carry_over", told)
        await write(writer, 0, ROWS - 1)
        assert not ended.is_set()
        assert carried(tmp_path) == 0
        await write(writer, ROWS, 1)
        await eventually(ended.is_set)
        assert carried(tmp_path) == ROWS


async def test_commits_go_on_while_the_log_is_carried_over(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    entered, opened = threading.Event(), threading.Event()

    def slow(_one: Checkpoints) -> None:
        entered.set()
        assert opened.wait(10)

    monkeypatch.setattr(Checkpoints, "_carry_over", slow)
    try:
        await write(writer, 0, ROWS)
        await eventually(entered.is_set)
        await write(writer, ROWS, 1)
    finally:
        opened.set()


async def test_a_checkpoint_that_fails_is_tried_again_and_stops_nobody(
    writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = threading.Event()

    def broken(*_: object) -> sqlite3.Connection:
        refused.set()
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "connect", broken)
        await write(writer, 0, ROWS)
        await eventually(refused.is_set)
    await write(writer, ROWS, ROWS)
    await eventually(lambda: carried(tmp_path) == 2 * ROWS)


async def test_log_is_used_again_from_its_beginning(writer: Writer, tmp_path: Path) -> None:
    """It does not grow for ever beside a writer that never rests."""
    log = tmp_path / "any.db-wal"
    for round_ in range(30):
        await write(writer, round_ * ROWS, ROWS)
        await eventually(lambda done=(round_ + 1) * ROWS: carried(tmp_path) == done)  # type: ignore[misc]
    assert log.stat().st_size < 10 * 4_120
