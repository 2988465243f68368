"""A ledger on a disk that others have filled to the last byte: it goes on with the room that it has kept."""

from __future__ import annotations

import sqlite3
import textwrap
from contextlib import closing
from pathlib import Path

import pytest

from charging.ledger.sqlite import room
from charging.ledger.sqlite.file import connect
from charging.ledger.sqlite.room import KEPT_BYTES, KEPT_MIN_BYTES, LOG_BYTES, PAGE_BYTES, PIECE_BYTES, Room
from charging.ledger.sqlite.store import SqliteStore
from tests.contract.scenario import add_account
from tests.integration.test_sqlite_file import run_script

PIECES = KEPT_BYTES // PIECE_BYTES + 2
"""Looks after which all is made: the first makes the table, the last frees what is in it."""


def free_bytes(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA freelist_count").fetchone()[0]) * PAGE_BYTES


@pytest.mark.parametrize("is_linked", [False, True], ids=["", "the settings name a link to it"])
async def test_room_is_kept_in_the_file_and_in_its_log(tmp_path: Path, is_linked: bool) -> None:
    path = named = tmp_path / "ledger.db"
    if is_linked:
        named = tmp_path / "elsewhere" / "link.db"
        named.parent.mkdir()
        path.touch(0o600)
        named.symlink_to(path)
    store = SqliteStore(named, keeps_room=True)
    await store.open()
    await add_account(store)
    left = [await store.ping() for _ in range(PIECES)]
    assert None not in left
    assert free_bytes(path) >= KEPT_BYTES
    assert path.stat().st_blocks * 512 >= KEPT_BYTES
    assert path.with_name("ledger.db-wal").stat().st_blocks * 512 >= LOG_BYTES
    size = path.stat().st_size
    assert await store.ping()
    assert await store.self_check() == []
    await store.close()
    assert path.stat().st_size == size, "what there is enough of is not made again"
    assert not path.with_name("ledger.db-wal").exists()


@pytest.mark.parametrize(("missing", "made"), [(0, False), (1, True)])
async def test_room_is_made_again_once_half_of_it_is_used(tmp_path: Path, missing: int, made: bool) -> None:
    path = tmp_path / "ledger.db"
    store = SqliteStore(path, keeps_room=True)
    await store.open()
    await add_account(store)
    with closing(connect(path, 1)) as connection:
        connection.execute("CREATE TABLE other (text BLOB)")
        connection.execute("INSERT INTO other VALUES (zeroblob(?))", (KEPT_MIN_BYTES,))
        connection.execute("DROP TABLE other")
        while (free := connection.execute("PRAGMA freelist_count").fetchone()[0] * PAGE_BYTES) > KEPT_MIN_BYTES:
            connection.execute("CREATE TABLE t%d (number INTEGER)" % free)  # noqa: UP031  a page each
        for _ in range(missing):
            connection.execute("CREATE TABLE last (number INTEGER)")
    for _ in range(PIECES):
        await store.ping()
    await store.close()
    assert (free_bytes(path) >= KEPT_BYTES) is made


async def test_no_room_is_made_of_the_last_that_others_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waited to become room is room at once."""
    path = tmp_path / "ledger.db"
    store = SqliteStore(path, keeps_room=True)
    await store.open()
    await add_account(store)
    await store.ping()
    await store.ping()
    monkeypatch.setattr(Room, "is_tight", lambda _self: True)
    await store.ping()
    size = path.stat().st_size
    await store.ping()
    assert (free_bytes(path) >= 2 * PIECE_BYTES, path.stat().st_size) == (True, size)
    await store.close()


async def test_room_is_made_where_the_disk_tells_no_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was taken for a full one: no call was forwarded any more."""
    path = tmp_path / "ledger.db"
    monkeypatch.setattr(room, "free_bytes", lambda _folder: None)
    store = SqliteStore(path, keeps_room=True)
    await store.open()
    await add_account(store)
    assert [await store.ping() for _ in range(PIECES)] == [None] * PIECES
    assert free_bytes(path) >= KEPT_BYTES
    assert await store.scrub() == ""
    await store.close()


@pytest.mark.parametrize(
    ("code", "makes"),
    [
        (sqlite3.SQLITE_FULL, True),
        (sqlite3.SQLITE_IOERR_WRITE, True),  # what SQLite says of EDQUOT
        (sqlite3.SQLITE_IOERR_FSYNC, False),
        (sqlite3.SQLITE_IOERR_READ, False),
        (sqlite3.SQLITE_BUSY, False),
    ],
)
async def test_a_quota_that_is_used_up_is_a_full_disk(tmp_path: Path, code: int, makes: bool) -> None:
    store = SqliteStore(tmp_path / "ledger.db", keeps_room=True)
    await store.open()
    await add_account(store)
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    with closing(connect(tmp_path / "ledger.db", 1)) as connection:
        assert room.makes_room(connection, error) is makes
    await store.close()


SCRIPT = """
    import asyncio, os, subprocess, sys
    from pathlib import Path
    from charging.errors import LedgerUnavailable
    from charging.ledger.sqlite import room
    from charging.ledger.model import Kind, Leg, Transfer
    from charging.ledger.sqlite.store import SqliteStore
    from charging.ledger.sqlite.upgrade import due
    from tests.contract.scenario import add_account
    from tests.integration.test_ledger_room import PIECES

    folder = sys.argv[1]
    store = SqliteStore(Path(folder, "ledger.db"), keeps_room=True)

    def fill():
        with open(Path(folder, "neighbour"), "ab", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                return

    async def spend(first, count):
        for number in range(first, first + count):
            await store.apply(Transfer(f"t{number}", "a", Kind.TOP_UP, number, (Leg("credit", 1),), reason="x" * 500))

    async def begin():
        await store.open()
        await add_account(store)
        for _ in range(PIECES):
            await store.ping()
        fill()

    async def main():
        {then}

    asyncio.run(main())
"""
MOUNTED = """
    import subprocess, sys
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", sys.argv[1]], check=True)
    for script in sys.argv[2:]:
        subprocess.run([sys.executable, "-c", script, sys.argv[1]])
"""


def seen_on_a_full_disk(folder: Path, *daemons: str) -> str:
    """What daemons print that run one after the other."""
    scripts = [
        textwrap.dedent(SCRIPT).replace("{then}", textwrap.dedent(one).replace("\n", "\n    ")) for one in daemons
    ]
    return run_script(MOUNTED, folder, *scripts, prefix=("unshare", "-rm"))


def test_a_full_disk_stops_no_charging(tmp_path: Path) -> None:
    """The log is used up several times over, and a neighbour takes each byte that is free for a moment."""
    then = """
        await begin()
        for turn in range(20):
            await spend(turn * 250, 250)
            fill()
        print(await store.ping(), (await store.balances("a"))["credit"].posted)
        print(len([line async for line in store.journal("a")]), await store.self_check())
        await store.close()"""
    left, posted, lines, wrong = seen_on_a_full_disk(tmp_path, then).split()
    assert (posted, lines, wrong) == ("5000", "5000", "[]")
    assert 0 < int(left) < KEPT_BYTES


@pytest.mark.parametrize("end", ["await store.close()", "os.kill(os.getpid(), 9)"])
def test_a_daemon_that_starts_on_a_full_disk_charges(tmp_path: Path, end: str) -> None:
    """The one before it was stopped, or killed. Its log stays in its place, and so does all that is booked."""
    first = f"""
        await begin()
        await spend(0, 250)
        {end}"""
    again = """
        fill()
        assert due(Path(folder, "ledger.db")) is None
        fill()
        await store.open()
        fill()
        await spend(250, 250)
        print((await store.balances("a"))["credit"].posted, await store.self_check())
        await store.close()"""
    assert seen_on_a_full_disk(tmp_path, first, again).split() == ["500", "[]"]


async def test_while_the_disk_is_full_the_log_is_not_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its room would be another's, and nothing could be booked any more. What is erased is overwritten later."""
    log = tmp_path / "ledger.db-wal"
    store = SqliteStore(tmp_path / "ledger.db", keeps_room=True)
    await store.open()
    await add_account(store)
    await store.ping()
    with monkeypatch.context() as full:
        full.setattr(Room, "is_tight", lambda _self: True)
        assert "repeat this once it has room" in await store.scrub()
        assert log.stat().st_size >= LOG_BYTES
    assert (await store.scrub(), log.stat().st_size) == ("", 0)
    await store.close()


def test_without_room_a_full_disk_is_the_end(tmp_path: Path) -> None:
    """Once all is used up nothing more is booked, nothing is lost, and room mends it."""
    then = """
        room.KEPT_BYTES, room.KEPT_MIN_BYTES = 2**20, 2**19
        await begin()
        number = 0
        try:
            while True:
                await spend(number, 1)
                number += 1
                if number % 100 == 0:
                    fill()
        except LedgerUnavailable as error:
            print(error)
        assert number > 1_000, number
        os.unlink(Path(folder, "neighbour"))
        await spend(number, 1)
        assert (await store.balances("a"))["credit"].posted == number + 1
        await store.close()"""
    assert "the disk is full; make room" in seen_on_a_full_disk(tmp_path, then)
