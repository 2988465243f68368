"""The SQLite ledger against raw SQLite: the same statements of the same calls on the same tables, one after another,
each transfer with a commit of its own; no thread, no queue, no decision, no JSON."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
import time
from functools import partial
from pathlib import Path

from charging.ledger.accounts import Account
from charging.ledger.codec import dump_account, dump_legs
from charging.ledger.model import Closed, Outcome, Transfer
from charging.ledger.sqlite.file import connect, queries
from charging.ledger.sqlite.rows import storing
from charging.ledger.sqlite.store import SqliteStore
from tests.benchmarks.ledger_load import (
    CREDIT,
    STATE,
    TASKS,
    Figure,
    Rounds,
    account_id,
    at_least,
    at_most,
    call,
    figure,
    next_session,
    play,
    top_up,
)

RAW = "raw SQLite, one commit each"


def fill(path: Path, accounts: int) -> None:
    """Put accounts with one top-up each into an empty ledger, past the store."""
    connection = connect(path, 5)
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN")
    ids = [account_id(number) for number in range(accounts)]
    record, transfer = dump_account(Account("pattern", "voice_free")), top_up("pattern")
    connection.executemany(
        "INSERT INTO accounts VALUES (?, 1, ?)", ((id_, record.replace("pattern", id_)) for id_ in ids)
    )
    connection.executemany("INSERT INTO balances VALUES (?, 'credit', ?, 0)", ((id_, CREDIT) for id_ in ids))
    line = 1, transfer.id, transfer.kind, transfer.at_us, dump_legs(transfer.legs), None, "", transfer.digest
    connection.executemany("INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", ((id_, *line) for id_ in ids))
    connection.execute("COMMIT")
    connection.close()


async def make(path: Path, accounts: int) -> None:
    store = SqliteStore(path)
    await store.open()
    await store.close()
    await asyncio.to_thread(fill, path, accounts)


async def play_ledger(store: SqliteStore, accounts: int, tasks: int, seconds: float) -> Figure:
    async def apply(transfer: Transfer) -> None:
        applied = await store.apply(transfer)
        assert applied.outcome is Outcome.CREATED, applied

    return await play(apply, accounts, tasks, seconds)


def raw(path: Path, accounts: int, seconds: float) -> Figure:
    connection = connect(path, 5)
    latencies: list[float] = []
    cpu, begin = time.process_time(), time.perf_counter()
    while time.perf_counter() < begin + seconds:
        for transfer in call(next_session(), account_id(random.randrange(accounts))):
            before = time.perf_counter()
            connection.execute("BEGIN IMMEDIATE")
            _raw_statements(connection, transfer)
            connection.execute("COMMIT")
            latencies.append(time.perf_counter() - before)
    connection.close()
    return figure(latencies, time.perf_counter() - begin, time.process_time() - cpu)


def _raw_statements(connection: sqlite3.Connection, transfer: Transfer) -> None:
    account, session = transfer.account, transfer.session
    (lines, *_) = connection.execute(queries()["look"], (account, transfer.id, session)).fetchone()
    legs = '[["credit",0,120],["calls",0,1]]'
    line = (account, lines + 1, transfer.id, "reserve", 1, legs, session, "", "0123456789abcdef0123456789abcdef")
    connection.execute(queries()["append_journal"], line)
    balances = [(account, leg.balance, CREDIT, 0) for leg in transfer.legs]
    connection.execute(storing(len(balances)), [value for row in balances for value in row])
    if isinstance(transfer.change, Closed):
        connection.execute(queries()["delete_session"], (account, session))
        connection.execute(queries()["store_cdr"], (account, session, 3, STATE))
    else:
        record = (account, session, "switch", STATE, '{"credit":120,"calls":1}', 0, 1, 1)
        connection.execute(queries()["store_session"], record)


async def bench(folder: Path, sizes: list[int], seconds: float, rounds: int) -> None:
    """All SQLite figures."""
    stores: dict[int, SqliteStore] = {}
    contenders = {}
    for size in sizes:
        path, raw_path = folder / f"ledger-{size}.db", folder / f"raw-{size}.db"
        await make(path, size)
        shutil.copy(path, raw_path)
        stores[size] = SqliteStore(path, timeout_s=30)
        await stores[size].open()
        contenders[f"{RAW}, {size:,} accounts"] = partial(asyncio.to_thread, raw, raw_path, size, seconds)
        for tasks in TASKS:
            name = f"SQLite ledger, {size:,} accounts, {tasks} tasks"
            contenders[name] = partial(play_ledger, stores[size], size, tasks, seconds)
    measured = Rounds(contenders)
    await measured.run(rounds)
    for store in stores.values():
        await store.close()
    measured.show()
    few, many = sizes[0], sizes[-1]
    ledger = "SQLite ledger, {:,} accounts, 200 tasks".format
    measured.judge("200 tasks against raw", ledger(few), f"{RAW}, {few:,} accounts", *at_least(2))
    measured.judge(f"cost at {many:,} against {few:,} accounts", ledger(few), ledger(many), *at_most(1.5))
    raw_names = f"{RAW}, {few:,} accounts", f"{RAW}, {many:,} accounts"
    measured.judge("the same of raw SQLite", *raw_names, *at_most(1.5))
