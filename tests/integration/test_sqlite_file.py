"""The SQLite store's file: who may open it, and what is told where it cannot be used."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path

import pytest

from charging.errors import LedgerCorrupt, LedgerUnavailable
from charging.ledger.model import Kind, Leg, Transfer
from charging.ledger.sqlite.file import CACHE_KIB, connect
from charging.ledger.sqlite.store import SqliteStore
from tests.contract.scenario import add_account

TOP_UP = Transfer("t1", "a", Kind.TOP_UP, 1, (Leg("credit", 5),))


def run_script(script: str, *arguments: object, prefix: tuple[str, ...] = ()) -> str:
    """What a Python script prints, run by another process."""
    command = [*prefix, sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=200).stdout


def modes(folder: Path) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}


async def test_the_file_and_its_companions_are_their_owners_only(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "ledger.db")
    await store.open()
    await add_account(store)
    names = ["ledger.db", "ledger.db-shm", "ledger.db-wal", "ledger.db.lock"]
    assert modes(tmp_path) == dict.fromkeys(names, 0o600)
    await store.close()


def test_a_connection_that_only_reads_keeps_few_pages(tmp_path: Path) -> None:
    """A commit of the writer makes them worthless: after a long reading they would be memory that nobody uses."""
    path = tmp_path / "ledger.db"
    with closing(connect(path, 1)) as writer, closing(connect(path, 1, read_only=True)) as reader:
        kept_kib = [-one.execute("PRAGMA cache_size").fetchone()[0] for one in (writer, reader)]
    assert kept_kib[0] == CACHE_KIB
    assert kept_kib[1] <= CACHE_KIB / 8


async def test_a_second_process_is_told_who_has_the_ledger(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "ledger.db")
    await store.open()
    script = """
        import asyncio, sys
        from charging.errors import LedgerUnavailable
        from charging.ledger.open import open_store
        try:
            asyncio.run(open_store("sqlite://" + sys.argv[1]).open())
        except LedgerUnavailable as error:
            print(error)
    """
    message = run_script(script, tmp_path / "ledger.db")
    assert message.startswith("a daemon has this ledger open (process ")
    with pytest.raises(LedgerUnavailable, match="a daemon has this ledger open"):
        await SqliteStore(tmp_path / "ledger.db").open()
    await store.close()
    again = SqliteStore(tmp_path / "ledger.db")
    await again.open()
    await again.close()


async def test_no_link_leads_a_command_of_root_to_a_file_elsewhere(tmp_path: Path) -> None:
    """The folder is the daemon's user's. What lay behind a link was emptied and given to him."""
    folder, elsewhere, not_there = tmp_path / "state", tmp_path / "shadow", tmp_path / "cron"
    folder.mkdir()
    elsewhere.write_text("root:x")
    (folder / "ledger.db.lock").symlink_to(elsewhere)
    with pytest.raises(LedgerUnavailable, match=r"ledger\.db\.lock"):
        await SqliteStore(folder / "ledger.db").open()
    assert elsewhere.read_text() == "root:x"
    (folder / "ledger.db.lock").unlink()
    (folder / "ledger.db").symlink_to(not_there)
    with pytest.raises(LedgerUnavailable, match=r"ledger\.db"):
        await SqliteStore(folder / "ledger.db").open()
    assert not not_there.exists()


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    there_is_none = r"missing/ledger\.db.*No such file or directory; make the folder and give it to the daemon's user"
    with pytest.raises(LedgerUnavailable, match=there_is_none):
        await SqliteStore(tmp_path / "missing" / "ledger.db").open()


async def test_a_file_that_is_no_database_is_corrupt(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("tariff: yes\n" * 1000)
    with pytest.raises(LedgerCorrupt, match="not a database"):
        await SqliteStore(tmp_path / "ledger.db").open()


async def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "ledger.db")
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = (tmp_path / "ledger.db").read_bytes()
    with pytest.raises(LedgerCorrupt, match="not a ledger"):
        await SqliteStore(tmp_path / "ledger.db").open()
    assert (tmp_path / "ledger.db").read_bytes() == before


async def test_a_file_of_a_newer_program_is_refused_with_what_to_do(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "ledger.db")
    await store.open()
    await store.close()
    connection = sqlite3.connect(tmp_path / "ledger.db")
    connection.execute("UPDATE meta SET value = '99' WHERE key = 'schema'")
    connection.commit()
    connection.close()
    with pytest.raises(LedgerUnavailable, match=r"schema 99.*use the newer program"):
        await SqliteStore(tmp_path / "ledger.db").open()


async def test_a_refused_open_leaves_the_lock_free(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("garbage" * 1000)
    with pytest.raises(LedgerCorrupt):
        await SqliteStore(tmp_path / "ledger.db").open()
    (tmp_path / "ledger.db").unlink()
    store = SqliteStore(tmp_path / "ledger.db")
    await store.open()
    await store.close()


async def test_a_ledger_locked_by_another_process_is_unavailable_and_then_goes_on(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "ledger.db", timeout_s=0.5)
    await store.open()
    await add_account(store)
    other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerUnavailable, match="another process has locked it"):
        await store.apply(TOP_UP)
    assert (await store.balances("a")) == {}  # reading goes on
    other.execute("ROLLBACK")
    other.close()
    assert (await store.apply(TOP_UP)).outcome.applied
    await store.close()


def test_a_read_only_ledger_is_unavailable(tmp_path: Path) -> None:
    script = """
        import asyncio, subprocess, sys
        from pathlib import Path
        from charging.errors import LedgerUnavailable
        from charging.ledger.sqlite.store import SqliteStore
        from tests.integration.test_sqlite_file import TOP_UP
        from tests.contract.scenario import add_account

        async def main(folder):
            subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)
            store = SqliteStore(Path(folder, "ledger.db"))
            await store.open()
            await add_account(store)
            await store.close()
            subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
            try:
                await SqliteStore(Path(folder, "ledger.db")).open()
            except LedgerUnavailable as error:
                print(error)

        asyncio.run(main(sys.argv[1]))
    """
    assert "Read-only file system" in run_script(script, tmp_path, prefix=("unshare", "-rm"))


def test_a_full_disk_is_unavailable_loses_nothing_and_room_mends_it(tmp_path: Path) -> None:
    script = """
        import asyncio, subprocess, sys
        from pathlib import Path
        from charging.errors import LedgerUnavailable
        from charging.ledger.model import Kind, Leg, Transfer
        from charging.ledger.sqlite.store import SqliteStore
        from tests.contract.scenario import add_account

        async def fill(store):
            for number in range(100_000):
                transfer = Transfer(f"t{number}", "a", Kind.TOP_UP, number, (Leg("credit", 1),), reason="x" * 500)
                try:
                    await store.apply(transfer)
                except LedgerUnavailable as error:
                    print(error)
                    return number, transfer

        async def main(folder):
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True)
            store = SqliteStore(Path(folder, "ledger.db"))
            await store.open()
            await add_account(store)
            applied, failed = await fill(store)
            assert applied > 10
            balance = (await store.balances("a"))["credit"].posted
            assert balance == applied == len([line async for line in store.journal("a")]), balance
            subprocess.run(["mount", "-o", "remount,size=8m", folder], check=True)
            print((await store.apply(failed)).outcome)
            await store.close()
            assert (applied + 1) == len([line async for line in SqliteStore(Path(folder, "ledger.db")).journal("a")])

        asyncio.run(main(sys.argv[1]))
    """
    printed = run_script(script, tmp_path, prefix=("unshare", "-rm"))
    assert "the disk is full; make room" in printed
    assert printed.endswith("created\n")
