"""What the ledger's benchmarks share: the load, one measured round of it, and rounds that take turns.

A round is judged against the round beside it, and a ratio is the median of such pairs: on a machine that other work
shares, all rates swing, but two neighbours swing together. CPU time swings less, so it stands beside each rate.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import astuple, dataclass

from charging.ledger.model import Closed, Kept, Kind, Leg, Opened, Transfer

CREDIT = 1_000_000_000
STATE = '{"rate":{"price":60},"answered_us":1700000000000000,"quota_s":120}'
TASKS = (1, 200)

Apply = Callable[[Transfer], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured round."""

    rate: float
    """Transfers a second."""
    p50_ms: float
    p99_ms: float
    cpu_us: float
    """CPU time of this process for each transfer: the load's own part and the store's."""
    server_us: float = 0.0
    """CPU time of the server for each transfer."""


def account_id(number: int) -> str:
    return f"account-{number:07d}"


def top_up(account: str) -> Transfer:
    return Transfer("top-up", account, Kind.TOP_UP, 1, (Leg("credit", CREDIT),))


def call(session: str, account: str) -> Iterator[Transfer]:
    """The transfers of one call."""
    legs = (Leg("credit", 0, 120), Leg("calls", 0, 1, -1000))
    yield Transfer(f"{session}/0", account, Kind.RESERVE, 1, legs, session, Opened("switch", STATE))
    yield Transfer(f"{session}/1", account, Kind.EXTEND, 2, (Leg("credit", -60, 0),), session, Kept(STATE, follows=1))
    legs = (Leg("credit", -30, -120), Leg("calls", 0, -1))
    yield Transfer(f"{session}/2", account, Kind.SETTLE, 3, legs, session, Closed(STATE, 3, follows=2))


_sessions = itertools.count()


def next_session() -> str:
    """A name that no call of this run has had."""
    return f"bench-{next(_sessions)}"


async def play(
    apply: Apply, accounts: int, tasks: int, seconds: float, server_s: Callable[[], float] = lambda: 0.0
) -> Figure:
    """Calls on random accounts by so many tasks, each one at least, for so long.

    ``server_s`` tells the server's CPU time so far.
    """
    latencies: list[float] = []
    chosen = random.Random(1)
    server = server_s()
    cpu, begin = time.process_time(), time.perf_counter()

    async def task() -> None:
        while True:
            for transfer in call(next_session(), account_id(chosen.randrange(accounts))):
                before = time.perf_counter()
                await apply(transfer)
                latencies.append(time.perf_counter() - before)
            if time.perf_counter() >= begin + seconds:
                return

    await asyncio.gather(*(task() for _ in range(tasks)))
    elapsed, cpu = time.perf_counter() - begin, time.process_time() - cpu
    return figure(latencies, elapsed, cpu, server_s() - server)


def figure(latencies: list[float], elapsed_s: float, cpu_s: float, server_s: float = 0.0) -> Figure:
    percentiles, count = statistics.quantiles(latencies, n=100), len(latencies)
    times_ms = percentiles[49] * 1000, percentiles[98] * 1000
    return Figure(count / elapsed_s, *times_ms, cpu_s / count * 1e6, server_s / count * 1e6)


class Rounds:
    """Contenders by name, measured in turns: forward in one round, backward in the next."""

    def __init__(self, contenders: Mapping[str, Callable[[], Awaitable[Figure]]]) -> None:
        self._contenders = contenders
        self._figures: dict[str, list[Figure]] = {name: [] for name in contenders}

    async def run(self, rounds: int) -> None:
        await asyncio.to_thread(os.sync)  # what filling the stores left to be written would delay the first flushes
        for number in range(rounds):
            for name in list(self._contenders)[:: 1 if number % 2 == 0 else -1]:
                self._figures[name].append(await self._contenders[name]())

    def show(self) -> None:
        """The medians of each."""
        for name, figures in self._figures.items():
            one = Figure(*(statistics.median(column) for column in zip(*map(astuple, figures), strict=True)))
            server = f" + {one.server_us:4.0f}" if one.server_us else ""
            times = f"p50 {one.p50_ms:7.2f} ms   p99 {one.p99_ms:7.2f} ms   CPU {one.cpu_us:4.0f}{server} µs"
            print(f"{name:57} {one.rate:7,.0f}/s   {times}", flush=True)

    def judge(self, what: str, one: str, other: str, reached: Callable[[float], bool], wanted: str) -> None:
        """Tell how often the rate of ``other`` goes into that of ``one``, and whether that is what was wanted; and how
        often the CPU time of ``one``, the server's with it, goes into that of ``other``."""
        pairs = list(zip(self._figures[one], self._figures[other], strict=True))
        ratios = sorted(mine.rate / its.rate for mine, its in pairs)
        median = statistics.median(ratios)
        cpu = statistics.median((its.cpu_us + its.server_us) / (mine.cpu_us + mine.server_us) for mine, its in pairs)
        span = f"({ratios[0]:.2f} … {ratios[-1]:.2f})"
        verdict = "reached" if reached(median) else "MISSED"
        print(f"{what:57} {median:7.2f} {span:15} {wanted}: {verdict}; by CPU time {cpu:.2f}", flush=True)


def at_least(aim: float) -> tuple[Callable[[float], bool], str]:
    return lambda value: value >= aim, f"at least {aim}"


def at_most(aim: float) -> tuple[Callable[[float], bool], str]:
    return lambda value: value <= aim, f"at most {aim}"
