"""What the ledger costs: `python -m tests.benchmarks.bench_ledger [--seconds S] [--accounts N]… [--only sqlite|redis]`.

SQLite (durable: WAL, synchronous = FULL) against raw SQLite that commits one transaction at a time, in the same
run and on the same disk, by 1 and by 200 tasks, in stores of 1,000 and 1,000,000 accounts. Each task plays calls on
random accounts: reserve, extend, settle, each a transfer. The raw side runs the statements of one reservation in each
of its transactions. Redis is set against a bare EVALSHA of the same number of reads and writes, sent by the same
client in the same way, to the same server (appendonly, appendfsync everysec). Rounds alternate, and medians are told,
for a machine that other work shares.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import itertools
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from charging.ledger import redis_url
from charging.ledger.accounts import Account
from charging.ledger.codec import dump_account, dump_legs
from charging.ledger.model import Closed, Kept, Kind, Leg, Opened, Outcome, Transfer
from charging.ledger.port import Store
from charging.ledger.redis_client import RedisClient, Script
from charging.ledger.redis_records import Keys
from charging.ledger.redis_store import RedisStore
from charging.ledger.sqlite import SqliteStore
from charging.ledger.sqlite_file import connect, queries
from tests.integration.redis_servers import RedisServer

ROUNDS = 3
CREDIT = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured round."""

    rate: float
    """Transfers a second."""
    p50_ms: float
    p99_ms: float


def account_id(number: int) -> str:
    return f"account-{number:07d}"


def top_up(account: str) -> Transfer:
    return Transfer("top-up", account, Kind.TOP_UP, 1, (Leg("credit", CREDIT),))


def fill(path: Path, accounts: int) -> None:
    """Put accounts with one top-up each into an empty ledger, past the store."""
    connection = connect(path, 5)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN")
    ids = [account_id(number) for number in range(accounts)]
    connection.executemany(
        "INSERT INTO accounts VALUES (?, 1, ?)", ((id_, dump_account(Account(id_, "voice_free"))) for id_ in ids)
    )
    connection.executemany("INSERT INTO balances VALUES (?, 'credit', ?, 0)", ((id_, CREDIT) for id_ in ids))
    lines = ((id_, 1, "top-up", "top_up", 1, dump_legs(top_up(id_).legs), None, "", top_up(id_).digest) for id_ in ids)
    connection.executemany("INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", lines)
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def call(session: str, account: str) -> Iterator[Transfer]:
    """The transfers of one call."""
    legs = (Leg("credit", 0, 120), Leg("calls", 0, 1, -1000))
    state = '{"rate":{"price":60},"answered_us":1700000000000000,"quota_s":120}'
    yield Transfer(f"{session}/0", account, Kind.RESERVE, 1, legs, session, Opened("switch", state))
    yield Transfer(f"{session}/1", account, Kind.EXTEND, 2, (Leg("credit", -60, 0),), session, Kept(state))
    legs = (Leg("credit", -30, -120), Leg("calls", 0, -1))
    yield Transfer(f"{session}/2", account, Kind.SETTLE, 3, legs, session, Closed(state, 3))


_sessions = itertools.count()


async def play(store: Store, accounts: int, tasks: int, seconds: float) -> Figure:
    """Calls on random accounts by so many tasks for so long."""
    latencies: list[float] = []
    end = time.perf_counter() + seconds
    chosen = random.Random(1)

    async def task() -> None:
        while time.perf_counter() < end:
            session = f"bench-{next(_sessions)}"
            for transfer in call(session, account_id(chosen.randrange(accounts))):
                before = time.perf_counter()
                applied = await store.apply(transfer)
                latencies.append(time.perf_counter() - before)
                assert applied.outcome is Outcome.CREATED, applied

    begin = time.perf_counter()
    await asyncio.gather(*(task() for _ in range(tasks)))
    return figure(latencies, time.perf_counter() - begin)


def raw(path: Path, accounts: int, seconds: float) -> Figure:
    """The statements that reserving runs, on the same tables, one after another, each time with a commit of its own:
    no thread, no queue, no decision, no JSON."""
    connection = connect(path, 5)
    latencies: list[float] = []
    begin = time.perf_counter()
    while time.perf_counter() < begin + seconds:
        session, account = f"raw-{next(_sessions)}", account_id(random.randrange(accounts))
        before = time.perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        _raw_statements(connection, session, account)
        connection.execute("COMMIT")
        latencies.append(time.perf_counter() - before)
    connection.close()
    return figure(latencies, time.perf_counter() - begin)


def _raw_statements(connection: sqlite3.Connection, session: str, account: str) -> None:
    names = {"account": account, "id": session, "session": session}
    (lines, *_) = connection.execute(queries()["look"], names).fetchone()
    connection.execute(queries()["four_balances"], (account, "credit", "calls", "credit", "calls")).fetchall()
    line = (account, lines + 1, session, "reserve", 1, '[["credit",0,120],["calls",0,1]]', session, "", "0" * 32)
    connection.execute(queries()["append_journal"], line)
    balances = [(account, "credit", CREDIT, 0), (account, "calls", 0, 0)]
    connection.executemany(queries()["store_balance"], balances)
    connection.execute(queries()["store_session"], (account, session, "switch", "{}" * 30, "{}", 0, 1))


def figure(latencies: list[float], elapsed_s: float) -> Figure:
    percentiles = statistics.quantiles(latencies, n=100)
    return Figure(len(latencies) / elapsed_s, percentiles[49] * 1000, percentiles[98] * 1000)


def median(figures: list[Figure]) -> Figure:
    return Figure(*(statistics.median(getattr(one, name) for one in figures) for name in ("rate", "p50_ms", "p99_ms")))


def show(name: str, one: Figure) -> None:
    print(f"{name:46} {one.rate:9,.0f}/s   p50 {one.p50_ms:7.2f} ms   p99 {one.p99_ms:7.2f} ms", flush=True)


def judge(what: str, value: float, reached: Callable[[float], bool], wanted: str) -> None:
    print(f"{what:46} {value:9.2f}     {wanted}: {'reached' if reached(value) else 'MISSED'}", flush=True)


async def bench_sqlite(folder: Path, sizes: list[int], seconds: float) -> None:
    """All SQLite figures, told as they come."""
    stores: dict[int, SqliteStore] = {}
    for size in sizes:
        path = folder / f"ledger-{size}.db"
        await _make(path, size)
        stores[size] = SqliteStore(path, timeout_s=30)
        await stores[size].open()
    raw_path = folder / "raw.db"
    await _make(raw_path, sizes[0])
    rounds: dict[str, list[Figure]] = {}
    for _ in range(ROUNDS):
        one = await asyncio.to_thread(raw, raw_path, sizes[0], seconds)
        rounds.setdefault("raw SQLite, one commit each", []).append(one)
        for size, tasks in itertools.product(sizes, (1, 200)):
            name = f"SQLite ledger, {size:,} accounts, {tasks} tasks"
            rounds.setdefault(name, []).append(await play(stores[size], size, tasks, seconds))
    for store in stores.values():
        await store.close()
    medians = {name: median(figures) for name, figures in rounds.items()}
    for name, one in medians.items():
        show(name, one)
    raw_rate = medians["raw SQLite, one commit each"].rate
    many = {size: medians[f"SQLite ledger, {size:,} accounts, 200 tasks"].rate for size in sizes}
    judge("200 tasks against raw", many[sizes[0]] / raw_rate, lambda value: value >= 2, "at least 2")
    growth = many[sizes[0]] / many[sizes[-1]]
    judge(f"cost at {sizes[-1]:,} against {sizes[0]:,} accounts", growth, lambda value: value <= 1.5, "at most 1.5")


BARE = """
redis.call("HMGET", KEYS[1], "#lines", "p:credit", "r:credit", "p:calls", "r:calls")
redis.call("HMGET", KEYS[2], ARGV[1])
redis.call("HGET", KEYS[4], ARGV[1])
redis.call("RPUSH", KEYS[3], ARGV[2])
redis.call("HSET", KEYS[2], ARGV[1], ARGV[3])
redis.call("HSET", KEYS[1], "#lines", "0", "p:credit", "1000000000", "r:credit", "0", "p:calls", "0", "r:calls", "0")
redis.call("HSET", KEYS[4], "session", ARGV[4])
redis.call("SADD", KEYS[5], "session")
return {"created", "", "switch", "1000000000", "0", "0", "0"}
"""


async def play_bare(client: RedisClient, accounts: int, tasks: int, seconds: float) -> Figure:
    """As ``play``, but each transfer is one script without any decision."""
    script = Script("apply")
    script.text, script.digest = BARE, hashlib.sha1(BARE.encode()).hexdigest()
    keys = Keys("bare")
    latencies: list[float] = []
    end = time.perf_counter() + seconds
    line = '["bench-1/1","reserve",1,[["credit",0,120],["calls",0,1]],"bench-1","","0123456789abcdef0123456789abcdef"]'

    async def task() -> None:
        while time.perf_counter() < end:
            account = account_id(random.randrange(accounts))
            for transfer in call(f"bare-{next(_sessions)}", account):  # the caller's own work is on both sides
                before = time.perf_counter()
                await client.script(script, keys.books(account), [transfer.id, line, "0" * 32, "{}" * 30])
                latencies.append(time.perf_counter() - before)

    begin = time.perf_counter()
    await asyncio.gather(*(task() for _ in range(tasks)))
    return figure(latencies, time.perf_counter() - begin)


async def fill_redis(store: RedisStore, accounts: int) -> None:
    """Put accounts with one top-up each into an empty Redis, by a few tasks."""
    numbers = iter(range(accounts))

    async def task() -> None:
        for number in numbers:
            account = account_id(number)
            await store.put_account(Account(account, "voice_free"))
            await store.apply(top_up(account))

    await asyncio.gather(*(task() for _ in range(200)))


async def bench_redis(folder: Path, sizes: list[int], seconds: float) -> None:
    """All Redis figures, each size on a server of its own."""
    rates: dict[int, float] = {}
    for size in sizes:
        with RedisServer(folder) as server:
            server.cli("config", "set", "appendfsync", "everysec")
            store, client = (
                RedisStore(redis_url.parse(server.url + "?timeout_s=30")),
                RedisClient(redis_url.parse(server.url)),
            )
            await store.open()
            await fill_redis(store, size)
            rounds: dict[str, list[Figure]] = {}
            for _, tasks in itertools.product(range(ROUNDS), (1, 200)):
                bare, ledger = (
                    f"bare EVALSHA, {size:,} accounts, {tasks} tasks",
                    f"Redis ledger, {size:,} accounts, {tasks} tasks",
                )
                rounds.setdefault(bare, []).append(await play_bare(client, size, tasks, seconds))
                rounds.setdefault(ledger, []).append(await play(store, size, tasks, seconds))
            await store.close()
            await client.close()
        medians = {name: median(figures) for name, figures in rounds.items()}
        for name, one in medians.items():
            show(name, one)
        for tasks in (1, 200):
            pair = [
                medians[f"{what}, {size:,} accounts, {tasks} tasks"].rate for what in ("Redis ledger", "bare EVALSHA")
            ]
            judge(f"{tasks} tasks against bare", pair[0] / pair[1], lambda value: value >= 0.8, "at least 0.8")
        rates[size] = medians[f"Redis ledger, {size:,} accounts, 200 tasks"].rate
    growth = rates[sizes[0]] / rates[sizes[-1]]
    judge(f"cost at {sizes[-1]:,} against {sizes[0]:,} accounts", growth, lambda value: value <= 1.5, "at most 1.5")


async def _make(path: Path, accounts: int) -> None:
    store = SqliteStore(path)
    await store.open()
    await store.close()
    await asyncio.to_thread(fill, path, accounts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each of the rounds")
    parser.add_argument("--accounts", type=int, nargs="+", default=[1_000, 1_000_000], help="sizes of the stores")
    parser.add_argument("--only", choices=["sqlite", "redis"], help="one of the stores")
    options = parser.parse_args()
    benches = {"sqlite": bench_sqlite, "redis": bench_redis}
    for name, bench in benches.items():
        if options.only in (None, name):
            with tempfile.TemporaryDirectory(prefix="bench-ledger-") as folder:
                asyncio.run(bench(Path(folder), options.accounts, options.seconds))


if __name__ == "__main__":
    main()
