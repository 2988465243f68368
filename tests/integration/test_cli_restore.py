"""``charging ledger restore``: a copy becomes the ledger whole or not at all, and what was there is kept."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from charging.ledger.sqlite.file import FileLock
from charging.ledger.sqlite.store import SqliteStore
from charging.service.events import Event, Events, What
from charging.service.events import Place as Cursor
from tests.integration.command import Command, Place


@pytest.fixture
def copy(charging: Command, place: Place) -> Path:
    """A backup with € 25; the ledger has € 35."""
    charging("account", "add", "anna", "--plan", "pro")
    charging("top-up", "anna", "25", "--id", "order-1")
    assert charging("ledger", "backup", str(place.folder / "copy.db")).code == 0
    charging("top-up", "anna", "10", "--id", "order-2")
    return place.folder / "copy.db"


@contextmanager
def looked_into(ledger: Path) -> Iterator[sqlite3.Connection]:
    """Someone has the file open, so that SQLite leaves what was written last in the file beside it."""
    with closing(sqlite3.connect(ledger)) as connection:
        connection.execute("SELECT count(*) FROM meta").fetchone()
        yield connection


def credit(charging: Command) -> str:
    shown: str = charging("account", "show", "anna", "--json").json["balance"]["credit"]["now"]
    return shown


def kept(place: Place) -> Path:
    return min(place.folder.glob("ledger.db.before-restore-*Z"))


def test_a_copy_becomes_the_ledger_and_what_was_there_is_kept_whole(
    charging: Command, place: Place, copy: Path
) -> None:
    with looked_into(place.folder / "ledger.db"):
        charging("top-up", "anna", "10", "--id", "order-3")
        assert (place.folder / "ledger.db-wal").stat().st_size > 0
        ran = charging("ledger", "restore", str(copy))
    assert ran.code == 0, ran
    assert str(kept(place)) in ran.out
    assert credit(charging) == "25.00"
    assert charging("ledger", "verify").code == 0
    assert copy.exists()
    assert charging("ledger", "restore", str(kept(place))).code == 0
    assert credit(charging) == "45.00"
    assert charging("ledger", "verify").code == 0
    assert not list(place.folder.glob("*.restoring*"))


def test_who_follows_the_events_is_told_that_what_came_behind_the_copy_is_undone(
    charging: Command, place: Place, copy: Path
) -> None:
    """A webhook's program has no cursor whose end it could be told."""
    before = asyncio.run(events(place.folder / "ledger.db"))
    assert charging("ledger", "restore", str(copy)).code == 0
    after = asyncio.run(events(place.folder / "ledger.db"))
    (undone,) = [one for one in before if one.data.get("transfer") == "top-up/order-2"]
    told = after[-1]
    assert (told.what, told.account) == (What.RESTORED, "")
    assert int(told.data["after"]) < undone.number < told.number
    assert [one for one in before if one.number <= int(told.data["after"])] == after[:-1]
    assert asyncio.run(events(place.folder / "ledger.db", "anna"))[-1] == told
    (note,) = [one for one in charging("changes", "--json").json if one["act"] == "ledger.restored"]
    assert note["id"] == told.data["change"]
    assert note["actor"].startswith("cli:")


async def events(ledger: Path, account: str | None = None) -> list[Event]:
    store = SqliteStore(ledger)
    await store.open()
    try:
        answer = await Events(store).of_all(Cursor(), 100, account=account)
        assert isinstance(answer, tuple)
        return answer[0]
    finally:
        await store.close()


def test_a_ledger_that_is_damaged_or_gone_is_restored(charging: Command, place: Place, copy: Path) -> None:
    ledger = place.folder / "ledger.db"
    ledger.write_bytes(b"damaged" * 1000)
    ledger.with_name("ledger.db-wal").write_bytes(b"too")
    assert charging("ledger", "restore", str(copy)).code == 0
    assert credit(charging) == "25.00"
    assert kept(place).read_bytes() == b"damaged" * 1000
    assert kept(place).with_name(kept(place).name + "-wal").read_bytes() == b"too"
    ledger.unlink()
    assert charging("ledger", "restore", str(copy), "--json").json == {"restored": str(ledger), "kept": None}
    assert credit(charging) == "25.00"


def edited(copy: Path) -> None:
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("UPDATE balances SET posted = posted + 1 WHERE name = 'credit'")
        connection.commit()


def damaged(copy: Path) -> None:
    content = copy.read_bytes()
    copy.write_bytes(content[:4096] + b"\xff" * 4096 + content[8192:])


def another_program_s(copy: Path) -> None:
    copy.unlink()
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("CREATE TABLE other (x)")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (edited, "the books of"),
        (damaged, "malformed"),
        (another_program_s, "not a ledger"),
        (lambda copy: copy.write_text("tariff: yes\n" * 1000), "not a database"),
        (lambda copy: copy.write_bytes(b""), "is empty"),
        (lambda copy: copy.with_name(copy.name + "-wal").write_text("x"), "copy.db-wal is beside it"),
        (lambda copy: copy.unlink(), "No such file"),
    ],
    ids=["edited", "damaged", "another program's", "no database", "empty", "half of it", "missing"],
)
def test_a_copy_that_is_no_sound_ledger_changes_nothing(
    charging: Command, place: Place, copy: Path, spoil: Callable[[Path], None], told: str
) -> None:
    spoil(copy)
    ran = charging("ledger", "restore", str(copy))
    assert ran.code == 1, ran
    assert told in ran.err
    assert "nothing was changed" in ran.err
    assert credit(charging) == "35.00"
    assert not [one for one in place.folder.glob("ledger.db.*") if one.name != "ledger.db.lock"]


def test_a_ledger_in_use_and_the_ledger_itself_are_not_restored(charging: Command, place: Place, copy: Path) -> None:
    ledger = place.folder / "ledger.db"
    assert "is the ledger itself" in charging("ledger", "restore", str(ledger)).problem
    lock = FileLock(ledger)
    lock.acquire()
    assert "has this ledger open" in charging("ledger", "restore", str(copy)).problem
    lock.release()
    with looked_into(ledger) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM meta").fetchone()
        charging("top-up", "anna", "10", "--id", "order-3")
        assert "another process reads" in charging("ledger", "restore", str(copy)).problem
    assert not list(place.folder.glob("ledger.db.before*"))
    assert credit(charging) == "45.00"


def test_a_redis_is_restored_by_its_own_means(charging: Command, place: Place, copy: Path) -> None:
    place.config.write_text(place.config.read_text().replace("sqlite:///ledger.db", "redis://127.0.0.1:1/0"))
    assert "by Redis' own means" in charging("ledger", "restore", str(copy)).problem


def test_a_backup_says_how_it_is_restored(charging: Command, place: Place) -> None:
    charging("account", "add", "anna", "--plan", "pro")
    file = place.folder / "a copy.db"
    said = charging("ledger", "backup", str(file)).out
    assert f"charging --config {place.config} ledger restore '{file}'" in said
    assert "stop the daemon" in said


def test_a_copy_put_in_place_by_hand_is_the_ledger_once_both_files_beside_it_are_gone(
    charging: Command, place: Place, copy: Path
) -> None:
    ledger = place.folder / "ledger.db"
    with looked_into(ledger):
        charging("top-up", "anna", "10", "--id", "order-3")
    shutil.copy(copy, ledger)
    for left in (ledger.with_name("ledger.db-wal"), ledger.with_name("ledger.db-shm")):
        left.unlink(missing_ok=True)
    assert credit(charging) == "25.00"
    assert charging("ledger", "verify").code == 0
