"""``charging ledger …``: the operator's side of the books, on real files and a real Redis."""

from __future__ import annotations

import asyncio
import json
import socket
import sqlite3
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.progress import Task, TaskID

from charging.app import build
from charging.cli.in_process import store_of
from charging.cli.ledger_idle import _Counted
from charging.cli.options import Options
from charging.clock import MICROSECONDS, SystemClock
from charging.ledger.books.portable import Counts
from charging.ledger.model import CdrRow, Kind, Leg, Opened, Transfer
from charging.ledger.open import open_store
from charging.service.proven_time import COLLECTION, NOTE
from charging.settings import load_config
from tests.integration.command import Command, Place
from tests.integration.redis_servers import RedisServer

ACL = ("user default off", "user ledger on >right/ ~charging:* +@all -@dangerous +info +config|get")
"""All that a ledger needs, and a password with a character that a URL would have to quote."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("TEST_AMI_SECRET", "right")
    monkeypatch.setenv("TEST_LEDGER_PASSWORD", "right/")
    place = Place(tmp_path)
    place.write()
    return place


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path, *ACL) as server:
        yield server


def use_redis(place: Place, server: RedisServer, user: str = "ledger@") -> None:
    """Let the settings name this Redis, with a password."""
    place.write()
    url = f"redis://{user}127.0.0.1:{server.port}/0"
    text = place.config.read_text().replace('"sqlite:///ledger.db"', f'"{url}", password_env: TEST_LEDGER_PASSWORD')
    place.config.write_text(text)


async def test_an_empty_ledger_is_not_said_to_be_exact(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """It was emptied perhaps, or is another than yesterday's."""
    store = open_store(f"sqlite:///{place.folder / 'ledger.db'}")
    await store.open()
    await store.close()
    charging = Command(place, capsys).beside
    assert "IT HAS NO ACCOUNT" in (await charging("ledger", "verify")).out
    await charging("account", "add", "anna", "--plan", "pro")
    assert (await charging("ledger", "verify")).out.startswith("the books are exact")


def test_the_password_of_a_redis_with_users_reaches_the_commands(
    charging: Command, place: Place, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_redis(place, redis)
    assert charging("account", "add", "anna", "--plan", "pro").code == 0
    assert charging("top-up", "anna", "25").code == 0
    assert charging("ledger", "verify").code == 0
    monkeypatch.setenv("TEST_LEDGER_PASSWORD", "wrong")
    assert "invalid username-password pair" in charging("account", "list").problem
    monkeypatch.delenv("TEST_LEDGER_PASSWORD")
    assert "ledger.password_env: found nothing" in charging("account", "list").problem


def test_the_password_of_a_redis_without_users_reaches_the_commands(
    charging: Command, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RedisServer(tmp_path, "requirepass right/") as server:
        use_redis(place, server, user="")
        assert charging("account", "add", "anna", "--plan", "pro").code == 0
        monkeypatch.setenv("TEST_LEDGER_PASSWORD", "wrong")
        assert "invalid username-password pair" in charging("account", "list").problem


async def test_the_password_of_a_redis_reaches_the_daemon(place: Place, redis: RedisServer) -> None:
    use_redis(place, redis)
    engine = build(load_config(place.config))
    await engine.store.open()
    await engine.store.ping()
    await engine.store.close()


def test_a_redis_url_with_an_option_that_there_is_not_is_told(charging: Command, place: Place) -> None:
    place.config.write_text(place.config.read_text().replace("sqlite:///ledger.db", "redis://127.0.0.1:1/0?color=red"))
    assert "unknown option color" in charging("account", "list").problem


@pytest.fixture
def books(charging: Command) -> Command:
    """A ledger with an account, a number, money and its journal."""
    charging("account", "add", "anna", "--plan", "pro", "--email", "anna@example.nl")
    charging("number", "add", "anna", "0201234567", "--forward-to", "0612345678")
    charging("top-up", "anna", "25", "--id", "order-1")
    charging("account", "correct", "anna", "-1.5", "--reason", "“één”")
    return charging


# The documents are the notes of who changed what.
ALL = {"accounts": 1, "lines": 2, "cdrs": 0, "numbers": 1, "documents": 4}


def test_a_ledger_moves_from_sqlite_to_redis_and_back_unchanged(
    books: Command, place: Place, redis: RedisServer
) -> None:
    shown = [books("account", "journal", "anna", "--json").json, books("number", "list", "--json").json]
    first, second = place.folder / "first.jsonl", place.folder / "second.jsonl"
    assert books("ledger", "export", str(first), "--json").json == ALL
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    use_redis(place, redis)
    assert books("ledger", "import", str(first)).out == "imported 1 accounts, 2 lines, 0 cdrs, 1 numbers, 4 documents\n"
    assert books("ledger", "verify").code == 0
    assert [books("account", "journal", "anna", "--json").json, books("number", "list", "--json").json] == shown
    assert books("top-up", "anna", "25", "--id", "order-1", "--json").json["created"] is False
    assert books("ledger", "export", str(second)).code == 0
    (place.folder / "ledger.db").unlink()
    place.write()
    assert books("ledger", "import", str(second), "--json").json == ALL
    assert books("ledger", "verify").code == 0
    assert first.read_bytes() == second.read_bytes()
    assert books("account", "show", "anna", "--json").json["balance"]["credit"]["now"] == "23.50"


def test_nothing_moves_while_a_daemon_runs(books: Command, place: Place) -> None:
    with socket.socket(socket.AF_UNIX) as daemon:
        daemon.bind(str(place.socket))
        daemon.listen()
        for command in (
            ["export", "x"],
            ["import", "x"],
            ["archive", str(place.folder / "old"), "--before", "2026-01"],
        ):
            assert books("ledger", *command).problem.startswith("a daemon runs: stop it first")


def test_nothing_moves_while_a_daemon_elsewhere_has_a_lease_or_a_session_is_open(
    charging: Command, place: Place, redis: RedisServer
) -> None:
    use_redis(place, redis)
    charging("account", "add", "anna", "--plan", "pro")
    store = store_of(Options(place.config).settings())

    async def lease_and_session() -> int | None:
        await store.open()
        epoch = await store.leases.acquire_lease("other", "daemon-2", 60)
        transfer = Transfer("r", "anna", Kind.RESERVE, 1, (), session="s", change=Opened("other", "{}", 1))
        await store.apply(transfer)
        await store.close()
        return epoch

    epoch = asyncio.run(lease_and_session())
    assert epoch is not None
    out = place.folder / "out.jsonl"
    assert "switch other by daemon-2" in charging("ledger", "export", str(out)).problem

    async def release() -> None:
        await store.open()
        await store.leases.release_lease("other", "daemon-2", epoch)
        await store.close()

    asyncio.run(release())
    assert "1 sessions are open" in charging("ledger", "export", str(out)).problem
    assert not list(place.folder.glob("out*"))


def test_a_store_that_has_accounts_takes_no_import(books: Command, place: Place) -> None:
    books("ledger", "export", str(place.folder / "out.jsonl"))
    assert "not empty, it has account anna" in books("ledger", "import", str(place.folder / "out.jsonl")).problem


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda text: text[: text.rindex("\n", 0, -1) + 1], "cut short: its last record is missing; the store is no"),
        (lambda text: text.replace("25000000", "26000000"), "empty it"),
        (lambda text: "a tariff, say\n", "line 1: not a record"),
        (lambda text: "\x00" * 100, "line 1: not a record"),
    ],
    ids=["cut short", "edited", "another file", "no text"],
)
def test_a_file_that_is_no_whole_export_is_refused(
    books: Command, place: Place, spoil: Callable[[str], str], told: str
) -> None:
    file = place.folder / "out.jsonl"
    books("ledger", "export", str(file))
    file.write_text(spoil(file.read_text()))
    (place.folder / "ledger.db").unlink()
    assert told in books("ledger", "import", str(file)).problem


LOOKS = """
ledger verify|ledger export OUT|ledger backup OUT|ledger archive OUT --before 2025-01|ledger findings
ledger redact --before 2025-01-01|ledger confirm-time|account list|account show anna|account journal anna|number list
cdr list|calls|calls --decided|token list|webhook list|changes|payment list|console user list
top-up anna 25|account set anna --plan light|account suspend anna --reason unpaid|number add anna 0201234567
"""


@pytest.mark.parametrize("kind", ["file", "redis"])
def test_a_ledger_that_is_not_there_is_not_made_by_looking_at_it(
    charging: Command, place: Place, kind: str, request: pytest.FixtureRequest
) -> None:
    """It may be lost: an empty one would be exact, and the daemon's alarm of it would end."""
    server = request.getfixturevalue("redis") if kind == "redis" else None
    if server is not None:
        use_redis(place, server)
    for command in LOOKS.strip().replace("\n", "|").split("|"):
        said = charging(*command.replace("OUT", str(place.folder / "out")).split())
        assert "there is no ledger" in said.problem, command
    (shown,) = (one for one in charging("check", "--json").json if one["part"] == "ledger" and one["grade"] == "ok")
    assert "there is no ledger" in shown["text"] or "not there yet" in shown["text"]
    assert not list(place.folder.glob("ledger.db*"))
    assert not (place.folder / "out").exists()
    if server is not None:
        login = "--no-auth-warning", "--user", "ledger", "--pass", "right/"
        assert server.cli(*login, "exists", "charging:schema").strip() == "0"
    assert charging("account", "add", "anna", "--plan", "pro").code == 0, "the first may make it"
    assert charging("account", "list", "--json").json


def test_no_command_takes_a_half_import_for_a_ledger(books: Command, place: Place) -> None:
    file = place.folder / "out.jsonl"
    books("ledger", "export", str(file))
    file.write_text(file.read_text()[:-20])
    (place.folder / "ledger.db").unlink()
    assert "empty it" in books("ledger", "import", str(file)).problem
    for command in (
        ["ledger", "verify"],
        ["ledger", "export", str(place.folder / "again.jsonl")],
        ["ledger", "import", str(file)],
        ["top-up", "anna", "25"],
    ):
        assert "an import into this ledger was broken off" in books(*command).problem
    (found,) = (one for one in books("check", "--json").json if one["part"] == "ledger")
    assert found["grade"] == "problem"
    assert "broken off" in found["text"]


def test_files_are_never_overwritten_and_missing_ones_told(books: Command, place: Place) -> None:
    there = place.folder / "there"
    there.write_text("mine")
    assert "is there already" in books("ledger", "export", str(there)).problem
    assert "name another file" in books("ledger", "backup", str(there)).problem
    assert there.read_text() == "mine"
    assert "No such file" in books("ledger", "export", str(place.folder / "none" / "x")).problem
    assert "No such file" in books("ledger", "import", str(place.folder / "none")).problem


def test_a_backup_put_in_the_ledger_s_place_is_the_ledger(books: Command, place: Place) -> None:
    assert books("ledger", "backup", str(place.folder / "copy.db")).code == 0
    books("top-up", "anna", "10")
    (place.folder / "copy.db").replace(place.folder / "ledger.db")
    assert books("account", "show", "anna", "--json").json["balance"]["credit"]["now"] == "23.50"
    assert books("ledger", "verify").code == 0


def test_a_redis_says_which_right_a_backup_needs(charging: Command, place: Place, redis: RedisServer) -> None:
    use_redis(place, redis)
    charging("account", "add", "anna", "--plan", "pro")
    said = charging("ledger", "backup", str(place.folder / "copy.rdb")).problem
    assert "its user needs the right +sync" in said
    assert not list(place.folder.glob("copy.rdb*"))


def test_old_months_go_to_files_and_the_books_stay_exact(books: Command, place: Place) -> None:
    folder = place.folder / "old"
    store = store_of(Options(place.config).settings())

    async def old_top_up() -> None:
        await store.open()
        at_us = 1_735_686_000_000_000  # 2025-01-01 in Amsterdam
        for number, moment in enumerate((at_us - 1, at_us)):
            await store.apply(Transfer(f"old/{number}", "bert", Kind.TOP_UP, moment, (Leg("credit", 1),)))
        await store.close()

    books("account", "add", "bert", "--plan", "pro")
    asyncio.run(old_top_up())
    assert books("ledger", "archive", str(folder), "--before", "2025-01", "--json").json["lines"] == 1
    assert [one.name for one in folder.iterdir()] == ["journal-2024-12.jsonl"]
    assert books("ledger", "archive", str(folder), "--before", "2025-02", "--json").json["lines"] == 1
    assert books("ledger", "verify").code == 0


def test_months_that_are_too_young_or_none_are_not_archived(books: Command, place: Place) -> None:
    folder = str(place.folder / "old")
    assert "older than 35 days" in books("ledger", "archive", folder, "--before", "2199-12").problem
    for wrong in ("2026-13", "2026", "2026-1", "26-01"):
        assert books("ledger", "archive", folder, "--before", wrong).code == 2


def test_progress_is_shown_on_a_terminal_only(books: Command, place: Place) -> None:
    out = place.folder / "out.jsonl"
    assert books("ledger", "export", str(out)).err == ""
    counts = Counts(accounts=12_345)
    column = _Counted(counts)
    assert str(column.render(Task(TaskID(0), "", None, 0, _get_time=lambda: 0.0))).startswith("12,345 accounts")


def test_a_redis_that_can_lose_money_is_warned_of_by_check(charging: Command, place: Place, redis: RedisServer) -> None:
    use_redis(place, redis)
    found = [one for one in charging("check", "--json").json if one["part"] == "ledger"]
    assert [one["grade"] for one in found] == ["warning", "ok"]
    assert "it has no replica" in found[0]["text"]


def test_a_customer_is_told_all_and_erased_by_a_command_each(books: Command, place: Place) -> None:
    file = place.folder / "anna.jsonl"
    assert books("account", "set", "anna", "--email", "anna@example.nl").code == 0
    assert books("account", "export-data", "anna", "--output", str(file)).code == 0
    assert "anna@example.nl" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert "name another file" in books("account", "export-data", "anna", "--output", str(file)).problem
    assert "close it first: charging account close anna" in books("account", "erase", "anna").problem
    assert books("account", "close", "anna", "--reason", "asked by Anna").code == 0
    assert books("account", "erase", "anna", "--json").json["left"] == ""
    told = books("account", "export-data", "anna")
    assert "anna@example.nl" not in told.out
    assert "asked by Anna" not in told.out
    assert '"journal"' in told.out
    assert "no account" in books("account", "export-data", "nobody").problem


def test_numbers_in_old_cdrs_are_hidden_by_the_command(books: Command, place: Place) -> None:
    store = store_of(Options(place.config).settings())

    async def two_calls() -> None:
        await store.open()
        noon_us = 1_735_729_200_000_000  # 2025-01-01 in Amsterdam
        for day in range(2):
            text = json.dumps({"session": f"s{day}", "account": "anna", "caller": "+31612345678"})
            await store.restore_cdrs([CdrRow(f"s{day}", "anna", noon_us + day * 86_400_000_000, text)])
        await store.close()

    asyncio.run(two_calls())
    assert books("ledger", "redact", "--before", "2025-01-02", "--json").json == {"hidden": 1}
    assert books("ledger", "redact", "--before", "2025-01-02").out == "the numbers of others are hidden in 0 CDRs\n"
    with sqlite3.connect(place.folder / "ledger.db") as file:
        rows = [json.loads(text)["caller"] for (text,) in file.execute("SELECT document FROM cdrs ORDER BY ended_us")]
    file.close()
    assert rows == ["+3161234xxxx", "+31612345678"]
    assert "expected a day" in books("ledger", "redact", "--before", "yesterday").problem


def noted(place: Place, wall_us: int) -> None:
    """The ledger has last believed a clock that said this."""
    with sqlite3.connect(place.folder / "ledger.db") as ledger:
        body = json.dumps({"wall_us": wall_us})
        ledger.execute("INSERT INTO documents VALUES (?, ?, ?, NULL, 1)", (COLLECTION, NOTE, body))


@pytest.mark.parametrize("days", [-1, 5])
def test_a_clock_that_is_not_believed_is_told_by_check_and_confirmed_by_a_command(
    charging: Command, place: Place, days: int
) -> None:
    assert charging("account", "add", "anna", "--plan", "pro").code == 0
    noted(place, SystemClock().now().wall_us - days * 86_400 * MICROSECONDS)
    assert "credit and free minutes do not expire" in charging("check").out
    assert charging("ledger", "confirm-time").code == 0
    assert "credit and free minutes do not expire" not in charging("check").out
