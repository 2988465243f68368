"""The SQLite store's writer: what shares a commit, what does not, and what a lost caller or a killed process leaves."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from charging.errors import LedgerCorrupt, LedgerUnavailable
from charging.ledger.model import Applied, Kept, Kind, Leg, Opened, Outcome, Transfer
from charging.ledger.sqlite import rows
from charging.ledger.sqlite.file import connect
from charging.ledger.sqlite.known import Known
from charging.ledger.sqlite.store import SqliteStore
from charging.ledger.sqlite.writer import SIBLINGS, Job, Work, Writer
from tests.contract.scenario import add_account


@pytest.fixture
async def writer(tmp_path: Path) -> AsyncIterator[Writer]:
    connection = sqlite3.connect(tmp_path / "any.db")
    connection.execute("CREATE TABLE seen (name TEXT PRIMARY KEY)")
    connection.commit()
    connection.close()
    writer = Writer(tmp_path / "any.db", 5.0, queue_max=3)
    writer.start()
    yield writer
    await writer.stop()


class Gate:
    """A job that keeps the writer busy until it is opened, so that what is submitted meanwhile has to wait."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()

    def __call__(self, connection: sqlite3.Connection) -> None:
        self.entered.set()
        assert self.opened.wait(10)


async def close_gate(writer: Writer) -> tuple[Gate, asyncio.Task[None]]:
    gate = Gate()
    task = asyncio.create_task(writer.submit(gate))
    await asyncio.to_thread(gate.entered.wait, 10)
    return gate, task


def insert(name: str) -> Work:
    def work(connection: sqlite3.Connection) -> int:
        connection.execute("INSERT INTO seen VALUES (?)", (name,))
        return len(seen(connection))

    return work


def seen(connection: sqlite3.Connection) -> list[str]:
    return [name for (name,) in connection.execute("SELECT name FROM seen ORDER BY name")]


async def submit_all(writer: Writer, *works: Work) -> list[asyncio.Task[Any]]:
    tasks = [asyncio.create_task(writer.submit(work)) for work in works]
    await asyncio.sleep(0)
    return tasks


async def commit_of(writer: Writer, callers: int) -> None:
    gate, behind = await close_gate(writer)
    together = await submit_all(writer, *(insert(f"before {number}") for number in range(callers)))
    gate.opened.set()
    await asyncio.gather(behind, *together)


async def test_after_a_commit_for_several_callers_the_next_waits_for_more_jobs(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charging.ledger.sqlite.writer.GATHER_S", 60)
    await commit_of(writer, SIBLINGS)
    committed, carry_out = list[int](), writer._carry_out

    def noting(batch: list[Job]) -> None:
        committed.append(len(batch))
        carry_out(batch)

    monkeypatch.setattr(writer, "_carry_out", noting)
    early = await submit_all(writer, insert("early"))
    await asyncio.to_thread(seen, sqlite3.connect(writer._path, check_same_thread=False))  # a thread has had its turn
    late = await submit_all(writer, insert("late"))
    await writer.stop()  # it waits for nobody then
    await asyncio.gather(*early, *late)
    assert committed == [2]


async def test_after_a_commit_for_one_caller_the_next_waits_for_nobody(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charging.ledger.sqlite.writer.GATHER_S", 60)
    await commit_of(writer, SIBLINGS - 1)
    assert await writer.submit(insert("alone")) == SIBLINGS


async def test_of_jobs_that_are_asked_for_together_one_that_fails_takes_back_itself_alone(writer: Writer) -> None:
    def fails(connection: sqlite3.Connection) -> int:
        connection.execute("INSERT INTO seen VALUES ('half done')")
        raise LedgerCorrupt("this one alone")

    first, failed, last = await writer.submit_all([insert("first"), fails, insert("last")])
    assert (first, last) == (1, 2)
    assert isinstance(failed, LedgerCorrupt)
    assert await writer.submit(seen) == ["first", "last"]


async def test_of_jobs_that_are_asked_for_together_there_are_all_in_the_queue_or_none(writer: Writer) -> None:
    gate, blocked = await close_gate(writer)
    with pytest.raises(LedgerUnavailable):
        await writer.submit_all([insert("one"), insert("two"), insert("three"), insert("four")])
    waiting = asyncio.create_task(writer.submit_all([insert("one"), insert("two"), insert("three")]))
    await asyncio.sleep(0)
    gate.opened.set()
    await blocked
    assert await waiting == [1, 2, 3]


async def test_what_waits_together_is_committed_together(writer: Writer, tmp_path: Path) -> None:
    gate, blocked = await close_gate(writer)

    def look_from_outside(connection: sqlite3.Connection) -> tuple[list[str], list[str]]:
        other = sqlite3.connect(tmp_path / "any.db")
        committed = seen(other)
        other.close()
        return seen(connection), committed

    tasks = await submit_all(writer, insert("x"), insert("y"), look_from_outside)
    gate.opened.set()
    await blocked
    assert await asyncio.gather(*tasks) == [1, 2, (["x", "y"], [])]
    assert await writer.submit(look_from_outside) == (["x", "y"], ["x", "y"])


async def test_the_ticks_of_many_accounts_take_a_few_statements_for_all_of_them(tmp_path: Path) -> None:
    """Each statement is a wait for the interpreter, which the loop has meanwhile."""
    store = SqliteStore(tmp_path / "ledger.db")
    await store.open()
    accounts = [f"a{number}" for number in range(20)]
    for account in accounts:
        await add_account(store, account)
        await store.apply(Transfer("r1", account, Kind.RESERVE, 1, (Leg("calls", 0, 1, -2),), "s", Opened("x", "")))
    await store.close()
    ticks = [Transfer("x1", account, Kind.EXTEND, 1, (), "s", Kept("kept", 0, 1)) for account in accounts]
    statements: list[str] = []
    with closing(connect(tmp_path / "ledger.db", 5.0)) as connection:
        connection.set_trace_callback(statements.append)
        answers = rows.apply_together(connection, [rows.Booking(tick, (), lambda: 1, Known()) for tick in ticks])
        connection.set_trace_callback(None)
        stored = connection.execute("SELECT DISTINCT state, sequence FROM sessions").fetchall()
    assert [one.outcome for one in answers] == [Outcome.CREATED] * len(accounts)
    assert len(statements) == 4
    assert stored == [("kept", 2)]


async def test_what_opens_sessions_of_many_accounts_takes_a_few_statements_for_all(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "ledger.db")
    await store.open()
    accounts = [f"a{number}" for number in range(20)]
    for account in accounts:
        await add_account(store, account)
    await store.close()
    legs = (Leg("calls", 0, 1, -2),)
    openings = [Transfer("r1", account, Kind.RESERVE, 1, legs, "s", Opened("x", "new")) for account in accounts]
    statements: list[str] = []
    with closing(connect(tmp_path / "ledger.db", 5.0)) as connection:
        connection.set_trace_callback(statements.append)
        answers = rows.apply_together(connection, [rows.Booking(one, (), lambda: 7, Known()) for one in openings])
        connection.set_trace_callback(None)
        stored = connection.execute("SELECT DISTINCT state, sequence FROM sessions").fetchall()
        places = connection.execute("SELECT place, account, number FROM feed ORDER BY place").fetchall()
    assert [one.outcome for one in answers] == [Outcome.CREATED] * len(accounts)
    assert len(statements) == 5
    assert stored == [("new", 1)]
    assert places == [(7 + number, account, 1) for number, account in enumerate(accounts)]


async def test_of_ticks_that_are_booked_together_one_of_a_damaged_record_fails_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    store = SqliteStore(path)
    await store.open()
    accounts = [f"a{number}" for number in range(6)]
    for account in accounts:
        await add_account(store, account)
        await store.apply(Transfer("r1", account, Kind.RESERVE, 1, (Leg("calls", 0, 1, -2),), "s", Opened("x", "")))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE sessions SET holds = '[' WHERE account = 'a3'")
    wanted = [(Transfer("x1", account, Kind.EXTEND, 1, (), "s", Kept("kept", 0, 1)), ()) for account in accounts]
    answers = await store.apply_all(wanted)
    assert isinstance(answers[3], LedgerCorrupt)
    others = [one.outcome for one in answers if isinstance(one, Applied)]
    assert others == [Outcome.CREATED] * 5
    await store.close()


async def test_a_job_that_fails_takes_only_itself_back(writer: Writer) -> None:
    gate, blocked = await close_gate(writer)

    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO seen VALUES ('half done')")
        raise LookupError("on purpose")

    tasks = await submit_all(writer, insert("x"), fail, insert("y"))
    gate.opened.set()
    await blocked
    first, second, third = await asyncio.gather(*tasks, return_exceptions=True)
    assert (first, third) == (1, 2)
    assert isinstance(second, LookupError)
    assert await writer.submit(seen) == ["x", "y"]


async def test_a_full_queue_refuses_at_once(writer: Writer) -> None:
    gate, blocked = await close_gate(writer)
    tasks = await submit_all(writer, insert("1"), insert("2"), insert("3"))
    with pytest.raises(LedgerUnavailable, match="3 writes are waiting"):
        await writer.submit(insert("4"))
    gate.opened.set()
    await blocked
    assert await asyncio.gather(*tasks) == [1, 2, 3]
    assert await writer.submit(seen) == ["1", "2", "3"]


async def test_a_cancelled_caller_confuses_nobody(writer: Writer) -> None:
    gate, blocked = await close_gate(writer)
    tasks = await submit_all(writer, insert("x"), insert("y"))
    tasks[0].cancel()
    gate.opened.set()
    await blocked
    cancelled, second = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(cancelled, asyncio.CancelledError)
    assert second == 2  # the cancelled one was carried out all the same: an unknown outcome
    assert await writer.submit(seen) == ["x", "y"]


async def test_a_caller_waits_no_longer_than_the_time_out(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "any.db", 0.05)
    writer.start()
    gate = Gate()
    with pytest.raises(LedgerUnavailable, match=r"within 0\.05 s"):
        await writer.submit(gate)
    gate.opened.set()
    await writer.stop()


async def test_closing_carries_out_what_is_queued_and_refuses_the_rest(writer: Writer) -> None:
    gate, blocked = await close_gate(writer)
    tasks = await submit_all(writer, insert("x"))
    stopping = asyncio.create_task(writer.stop())
    await asyncio.sleep(0)
    with pytest.raises(LedgerUnavailable, match="closed"):
        await writer.submit(insert("y"))
    gate.opened.set()
    await asyncio.gather(blocked, stopping)
    assert await asyncio.gather(*tasks) == [1]


WORKLOAD = """
import asyncio, itertools, sys
from pathlib import Path
from typing import Any
from charging.ledger.model import Kind, Leg, Transfer
from charging.ledger.sqlite.store import SqliteStore

async def top_up(store, task):
    for number in itertools.count():
        transfer = Transfer(f"{sys.argv[2]}/{task}/{number}", "a", Kind.TOP_UP, 1, (Leg("credit", 1),))
        assert (await store.apply(transfer)).outcome.applied
        print(transfer.id, flush=True)

async def main():
    store = SqliteStore(Path(sys.argv[1]))
    await store.open()
    await asyncio.gather(*(top_up(store, task) for task in range(20)))

asyncio.run(main())
"""


async def test_a_process_killed_in_mid_commit_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    store = SqliteStore(path)
    await store.open()
    await add_account(store)
    await store.close()
    acknowledged: set[str] = set()
    for round_ in range(4):
        acknowledged |= await asyncio.to_thread(_kill_after, path, round_, lines=150 + 37 * round_)
    store = SqliteStore(path)
    await store.open()
    lines = [line async for line in store.journal("a")]
    assert acknowledged <= {line.id for line in lines}
    assert [line.number for line in lines] == list(range(1, len(lines) + 1))
    assert (await store.balances("a"))["credit"].posted == len(lines)
    known = Transfer(min(acknowledged), "a", Kind.TOP_UP, 1, (Leg("credit", 1),))
    assert (await store.apply(known)).outcome is Outcome.EXISTS
    await store.close()


def _kill_after(path: Path, round_: int, lines: int) -> set[str]:
    """Run the workload, kill it by SIGKILL once it has acknowledged so many lines, and return all it acknowledged."""
    command = [sys.executable, "-c", WORKLOAD, str(path), f"round{round_}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = {process.stdout.readline().strip() for _ in range(lines)}
        process.send_signal(signal.SIGKILL)
        rest = {line.strip() for line in process.stdout if line.endswith("\n")}
    return first | rest
