"""``charging ledger upgrade``, and the daemon's own: with a copy first, rehearsed if asked, and taken back."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from charging.errors import LedgerUnavailable
from charging.ledger.model import CREDIT, Kind, Leg, Transfer
from charging.ledger.open import open_store
from charging.ledger.redis.schema import SCHEMA
from charging.ledger.sqlite import file as sqlite_file
from charging.ledger.sqlite import upgrade as sqlite_upgrade
from charging.ledger.sqlite.store import SqliteStore
from tests.contract.scenario import add_account, assert_sound, run
from tests.integration.command import Command, Place
from tests.integration.redis_servers import RedisServer, wait_until
from tests.integration.test_cli_run import daemon
from tests.integration.test_cli_run import place as place_of_a_daemon  # noqa: F401  a fixture
from tests.integration.test_sqlite_upgrade import schema_of
from tests.unit.call.test_table import running

DATA = Path(__file__).parents[1] / "data" / "ledger"
CDR = '{"seconds":45,"cost":"0.1125"}'
NEWEST = max(sqlite_file.schema_versions())


def lay_down(file: Path, schema: int) -> None:
    """A ledger of an older program, with a call open (s2)."""
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript((DATA / f"schema-{schema}.sql").read_text(encoding="utf-8"))
        connection.execute("UPDATE sessions SET state = ?", (running(id="s2").to_json(),))
        connection.execute("UPDATE cdrs SET document = ?", (CDR,))
        connection.commit()
        connection.execute("PRAGMA journal_mode = WAL")


def assert_exact(charging: Command) -> None:
    """But for the end of a call that a daemon would have booked by now."""
    found = charging("ledger", "verify").out.splitlines()
    assert [one for one in found if "overdue of session s2" not in one] == []


def knows(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """This program is a newer one, with this further script."""
    known = sqlite_file.schema_versions() | {NEWEST + 1: script}
    for module in (sqlite_file, sqlite_upgrade):  # both imported by now: else one would keep the other's replacement
        monkeypatch.setattr(module, "schema_versions", lambda: known)


def test_an_older_ledger_is_upgraded_by_nobody_in_passing(charging: Command, place: Place) -> None:
    lay_down(place.folder / "ledger.db", 2)
    for words in (["account", "list"], ["ledger", "verify"], ["top-up", "anna", "10"]):
        ran = charging(*words)
        assert ran.code == 1, words
        assert f"has schema 2, this program works on {NEWEST}: `charging ledger upgrade` brings it there" in ran.err
    assert charging("ledger", "backup", str(place.folder / "copy.db")).code == 0, "an older one too"
    assert schema_of(place.folder / "ledger.db") == schema_of(place.folder / "copy.db") == 2


def test_a_rehearsal_beside_the_older_daemon_says_what_would_be_done_and_changes_nothing(
    charging: Command, place: Place
) -> None:
    ledger = place.folder / "ledger.db"
    lay_down(ledger, 1)
    lock = sqlite_file.FileLock(ledger)
    lock.acquire()
    before, there = ledger.read_bytes(), sorted(one.name for one in place.folder.iterdir())
    with socket.socket(socket.AF_UNIX) as older:
        older.bind(str(place.socket))
        older.listen()
        ran = charging("ledger", "upgrade", "--dry-run")
        assert "a daemon runs" in charging("ledger", "upgrade").problem
    lock.release()
    assert ran.code == 0, ran
    assert f"the ledger would go from schema 1 to {NEWEST}" in ran.out
    assert ledger.read_bytes() == before
    assert sorted({*there, "ledger.db-shm", "ledger.db-wal"} & {one.name for one in place.folder.iterdir()}) == there


def test_an_upgrade_copies_first_and_the_copy_is_a_ledger(charging: Command, place: Place) -> None:
    ledger = place.folder / "ledger.db"
    lay_down(ledger, 2)
    done = charging("ledger", "upgrade", "--json").json
    assert (done["stored"], done["newest"]) == (2, NEWEST)
    copy = Path(done["backup"])
    assert copy.parent == place.folder
    assert (schema_of(ledger), schema_of(copy)) == (NEWEST, 2)
    assert_exact(charging)
    assert "nothing to do" in charging("ledger", "upgrade").out
    ledger.write_bytes(b"damaged")
    assert charging("ledger", "restore", str(copy)).code == 0
    assert schema_of(ledger) == NEWEST, "an older copy is brought here too; it is not touched itself"
    assert schema_of(copy) == 2
    assert_exact(charging)


async def test_todays_ledger_goes_to_a_newer_schema_and_back_with_a_call_open(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = place.folder / "ledger.db"
    store = SqliteStore(ledger)
    await store.open()
    await add_account(store)
    await run(store, "t1 top_up credit=+10 -> created\nr1 reserve s1:open credit=/5 -> created")
    await store.close()
    with closing(sqlite3.connect(ledger)) as connection:
        connection.execute("UPDATE sessions SET state = ?", (running(id="s1", account="a").to_json(),))
        connection.commit()
    charging = Command(place, capsys).beside
    with monkeypatch.context() as newer:
        knows(newer, "CREATE TABLE newer (id TEXT PRIMARY KEY) STRICT;")
        copy = (await charging("ledger", "upgrade", "--json")).json["backup"]
        store = SqliteStore(ledger)
        await store.open()
        assert [one.id for one in await store.sessions()] == ["s1"]
        await run(store, "v1 settle s1:close credit=-3/-5 -> created credit 7/0")
        await assert_sound(store)
        await store.close()
    with pytest.raises(LedgerUnavailable, match="use the newer program"):
        await SqliteStore(ledger).open()
    assert (await charging("ledger", "restore", copy)).code == 0
    store = SqliteStore(ledger)
    await store.open()
    assert [one.id for one in await store.sessions()] == ["s1"], "as it was; the switch's record will end it again"
    await run(store, "v2 settle s1:close credit=-3/-5 -> created credit 7/0")
    await assert_sound(store)
    await store.close()


async def test_a_daemon_upgrades_its_file_itself_with_a_copy_and_says_so(place_of_a_daemon: Place) -> None:  # noqa: F811
    place = place_of_a_daemon
    lay_down(place.folder / "ledger.db", 2)
    async with daemon(place):
        said = [json.loads(line) for line in (place.folder / "log").read_text().splitlines() if line.startswith("{")]
    (done,) = [one for one in said if one["event"] == "ledger_upgrade_done"]
    assert schema_of(Path(done["copy"])) == 2
    assert schema_of(place.folder / "ledger.db") == NEWEST


@pytest.fixture
def on_redis(place: Place, tmp_path: Path) -> RedisServer:
    server = RedisServer(tmp_path / "redis")
    place.config.write_text(place.config.read_text().replace("sqlite:///ledger.db", server.url))
    return server


def test_a_redis_ledger_is_upgraded_and_taken_back_from_its_copy(
    charging: Command, place: Place, on_redis: RedisServer
) -> None:
    copy = place.folder / "copy.rdb"
    with on_redis as server:
        for line in (DATA / "redis-1.jsonl").read_text(encoding="utf-8").splitlines():
            server.cli(*json.loads(line))
        server.cli("hset", "charging:{anna}:cdr", "s1", f"1795262400000002 {CDR}")
        state = running(id="s2").to_json()
        session = f"1 1795262400000003 credit=150000\nasterisk\n{state}"
        server.cli("hset", "charging:{anna}:sessions", "s2", session)
        assert "charging ledger upgrade --backup FILE" in charging("account", "list").err
        server.cli("set", "charging:lease:{asterisk}", "1795317157231 host/7", "px", "60000")
        assert "switch asterisk by host/7" in charging("ledger", "upgrade", "--backup", str(copy)).err
        server.cli("del", "charging:lease:{asterisk}")
        assert f"would go from schema 1 to {SCHEMA}" in charging("ledger", "upgrade", "--dry-run").out
        assert "name a new file by --backup" in charging("ledger", "upgrade").problem
        assert server.cli("get", "charging:schema").strip() == "1"
        assert charging("ledger", "upgrade", "--backup", str(copy)).code == 0
        assert server.cli("get", "charging:schema").strip() == str(SCHEMA)
        assert_exact(charging)
        restore(server, copy)
        assert server.cli("get", "charging:schema").strip() == "1"
        assert "s2" in server.cli("hkeys", "charging:{anna}:sessions")


def restore(server: RedisServer, copy: Path) -> None:
    """As docs/operate.md says."""
    server.kill()
    shutil.rmtree(server.folder / "appendonlydir")
    shutil.copy(copy, server.folder / "dump.rdb")
    settings = server.folder / "redis.conf"
    settings.write_text(settings.read_text().replace("appendonly yes", "appendonly no"))
    server.start()
    server.cli("config", "set", "appendonly", "yes")
    wait_until(lambda: "aof_rewrite_in_progress:0" in server.cli("info", "persistence"), "the append-only file is made")
    settings.write_text(settings.read_text().replace("appendonly no", "appendonly yes"))


async def test_a_redis_is_backed_up_under_load_and_restored(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        store = open_store(server.url)
        await store.open()
        await add_account(store)
        stop = asyncio.Event()

        async def traffic() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                await store.apply(Transfer(f"t/{number}", "a", Kind.TOP_UP, 1, (Leg(CREDIT, 1),)))

        busy = asyncio.create_task(traffic())
        await store.apply(Transfer("before", "a", Kind.TOP_UP, 1, (Leg(CREDIT, 1),)))
        await store.backup(tmp_path / "copy.rdb")
        stop.set()
        await busy
        await store.close()
        await asyncio.to_thread(restore, server, tmp_path / "copy.rdb")
        again = open_store(server.url)
        await again.open()
        assert "before" in [line.id async for line in again.journal("a")]
        await assert_sound(again)
        await again.close()


async def test_a_daemon_that_stood_by_while_a_newer_program_upgraded_leads_no_more(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        store = open_store(server.url)
        await store.open()
        assert await store.leases.acquire_lease("asterisk", "older", 1) is not None
        server.cli("set", "charging:schema", str(SCHEMA + 1))
        with pytest.raises(LedgerUnavailable, match="use the newer program"):
            await store.leases.acquire_lease("another", "older", 1)
        await store.close()
