"""The parts of `bench_daemon`: each lays down a daemon of its own, loads it, and looks into its books."""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Self

from tests.benchmarks.day import day
from tests.benchmarks.figures import Table, median_ratio, percentile
from tests.benchmarks.ledger_load import at_least, at_most
from tests.benchmarks.played import PlayedAsterisk, PlayedCall, ask
from tests.benchmarks.shipped_daemon import Numbers, ShippedDaemon, check, cpu_s_of, fill

CONNECTIONS = (1, 16, 64)
SETUPS_A_SECOND = 200
HORIZON_S = 60
SETUPS_AT_ONCE = 16
AGAIN_S = 0.2
TALK_S = 30
BESIDE_A_SECOND, BESIDE_S = 5, 15
PAID_AHEAD_SLACK_S = 2


class Side:
    """One daemon on one ledger, and the Asterisk that is played to it."""

    def __init__(
        self, store: str, folder: Path, url: str, table: Table, options: argparse.Namespace, switch: str = "asterisk"
    ) -> None:
        self.store, self.table, self.options = store, table, options
        self.folder, self.url, self.switch = folder, url, switch
        self.asterisk = PlayedAsterisk()
        self.played: list[PlayedCall] = []
        self.waits: list[float] = []
        self.refused = 0
        self.accounts = 0

    async def __aenter__(self) -> Self:
        await self.asterisk.listen()
        self.daemon = ShippedDaemon(self.folder, self.asterisk, self.url, self.switch)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.daemon.__aexit__(None, None, None)
        await self.asterisk.stop()

    async def begin(self, accounts: int) -> None:
        self.accounts = accounts
        await fill(self.daemon.ledger_url, accounts)
        self.number = Numbers(accounts)
        await self.daemon.start()
        await self.daemon.at_rest()

    def add(self, what: str, value: float, unit: str, *goal: object, **more: float) -> None:
        self.table.add(self.store, what, value, unit, *goal, **more)  # type: ignore[arg-type]

    async def set_up(self) -> PlayedCall:
        """A caller asks; he is dialled, or has gone again."""
        call = self.asterisk.ring(self.number())
        self.played.append(call)
        self.waits.append(await ask(call, self.daemon.agi_port))
        if call.decision == "forward":
            self.asterisk.dial(call)
        else:
            self.refused += 1
            self.asterisk.end(call)
        return call

    async def conversation(self, talk_s: float) -> None:
        call = await self.set_up()
        if call.is_dialled:
            self.asterisk.answer(call)
            await asyncio.sleep(talk_s)
            self.asterisk.end(call)

    async def offer(self, a_second: float, seconds: float, one: Callable[[], Awaitable[object]]) -> None:
        """So many a second, whether the earlier ones are through or not."""
        begin, tasks = time.perf_counter(), []
        for number in range(int(a_second * seconds)):
            await asyncio.sleep(max(0.0, begin + number / a_second - time.perf_counter()))
            tasks.append(asyncio.ensure_future(one()))
        await asyncio.gather(*tasks)

    async def fill_live(self, calls: int) -> None:
        """So many talk; who is refused calls again."""
        turn = asyncio.Semaphore(SETUPS_AT_ONCE)

        async def one() -> None:
            async with turn:
                while not (call := await self.set_up()).is_dialled:  # noqa: ASYNC110 - the caller waits
                    await asyncio.sleep(AGAIN_S)
                self.asterisk.answer(call)

        await asyncio.gather(*(one() for _ in range(calls)))

    def end_all(self) -> None:
        for call in list(self.asterisk.calls.values()):
            self.asterisk.end(call)

    async def books(self, what: str) -> None:
        await self.ended(what)
        await self.compared(what)

    async def ended(self, what: str) -> None:
        """End every call, and the daemon once all is booked."""
        self.end_all()
        try:
            await self.daemon.idle()
            await self.daemon.stop()
        except TimeoutError:
            self.table.fault(self.store, what, ["calls that have ended are not booked in time"])
            await self.daemon.kill()

    async def compared(self, what: str) -> None:
        """What the books say, with what the callers did."""
        checked = await check(self.daemon.ledger_url, self.played, self.accounts)
        self.add(f"{what}: paid calls cut", checked.cut, f"of {checked.calls}", *at_most(0))
        self.add(f"{what}: faults in the books", len(checked.faults), "", *at_most(0))
        self.table.fault(self.store, what, checked.faults)
        if checked.cut:
            self.table.fault(self.store, what, [f"{checked.cut} calls were cut that could pay"])


async def decisions(side: Side) -> None:
    """A decision over FastAGI against a no-op of plain asyncio, in turns."""
    options = side.options
    noop = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.benchmarks.noop_agi", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert noop.stdout is not None
        noop_port = int(await noop.stdout.readline())
        await side.begin(4000)
        for connections in CONNECTIONS:
            rounds = []
            for _ in range(options.rounds):
                mine = await _closed_loop(side, side.daemon.agi_port, side.daemon.pid, connections)
                side.end_all()
                await side.daemon.idle()
                rounds.append((mine, await _closed_loop(side, noop_port, noop.pid, connections)))
                side.asterisk.calls.clear()
            mine_rates, noop_rates = zip(*((mine[0], noop[0]) for mine, noop in rounds), strict=True)
            mine_cpus, noop_cpus = zip(*((mine[1], noop[1]) for mine, noop in rounds), strict=True)
            goal = at_least(0.6)
            beside = {"a_second": _middle(mine_rates), "noop_a_second": _middle(noop_rates)}
            side.add(
                f"decision against no-op, {connections} connections",
                median_ratio(mine_rates, noop_rates),
                "by rate",
                *goal,
                **beside,
            )
            beside = {"ms": _middle(mine_cpus) * 1000, "noop_ms": _middle(noop_cpus) * 1000}
            side.add(
                f"decision against no-op, {connections} connections",
                median_ratio(noop_cpus, mine_cpus),
                "by CPU",
                *goal,
                **beside,
            )
    finally:
        noop.kill()
        await noop.wait()
    await side.books("decisions")


async def _closed_loop(side: Side, port: int, pid: int, connections: int) -> tuple[float, float]:
    """Forwards a second, and CPU seconds for each; who is refused asks again."""
    cpu, begin, count = cpu_s_of(pid), time.perf_counter(), 0

    async def ask_on() -> None:
        nonlocal count
        while time.perf_counter() < begin + side.options.seconds:
            call = side.asterisk.ring(side.number())
            if port == side.daemon.agi_port:
                side.played.append(call)
            await ask(call, port)
            count += call.decision == "forward"

    await asyncio.gather(*(ask_on() for _ in range(connections)))
    return count / (time.perf_counter() - begin), (cpu_s_of(pid) - cpu) / max(count, 1)


class Meter:
    """The CPU of a stretch of time: the daemon's, and that of this process, which has to be well below one core for the
    figures to be the daemon's."""

    def __init__(self, side: Side) -> None:
        self._daemon = side.daemon
        self._begin = time.perf_counter(), time.process_time(), side.daemon.cpu_s()

    def read(self) -> dict[str, float]:
        wall, own, cpu = self._begin
        self.lasted_s, self.cpu_s = time.perf_counter() - wall, self._daemon.cpu_s() - cpu
        return {"core": self.cpu_s / self.lasted_s, "own_core": (time.process_time() - own) / self.lasted_s}


async def offered(side: Side) -> None:
    """Set-ups that come whether or not the earlier ones are through; each rings until the end."""
    await side.begin(1000)
    await side.offer(20, 1, side.set_up)
    side.waits.clear()
    meter = Meter(side)
    await side.offer(SETUPS_A_SECOND, 5, side.set_up)
    _waited(side, f"{SETUPS_A_SECOND} set-ups a second", 10, **meter.read())
    await side.books("set-ups offered")


def _waited(side: Side, what: str, goal_ms: float, **more: float) -> None:
    waits = [1000 * one for one in side.waits]
    beside = {"p50": percentile(waits, 50), "refused": side.refused, **more}
    side.add(f"{what}: p99", percentile(waits, 99), "ms", *at_most(goal_ms), **beside)


async def live(side: Side) -> None:
    """Calls that last: ticks and what they cost, then decisions beside them; then the daemon dies and comes back."""
    calls, name = side.options.calls, f"{side.options.calls:,} live"
    await side.begin(calls + 200)
    empty_kib = side.daemon.memory_kib()
    await side.fill_live(calls)
    refused, side.refused = side.refused, 0
    lags: list[float] = []
    side.asterisk.on_deadline = lambda _call, left_s: lags.append(1000 * (HORIZON_S - left_s))
    meter = Meter(side)
    await asyncio.sleep(side.options.hold)
    _ticked(side, name, lags, refused=refused, **meter.read())
    minutes = len(side.asterisk.live()) * meter.lasted_s / 60
    side.add(f"{name}: CPU a call-minute", 1000 * meter.cpu_s / minutes, "ms", *at_most(1))
    mib = side.daemon.memory_kib() / 1024
    kib = (side.daemon.memory_kib() - empty_kib) / calls
    side.add(f"{name}: memory a live call", kib, "KiB", *at_most(10), rss_mib=mib)
    lags.clear()
    side.waits.clear()
    meter = Meter(side)
    await side.offer(BESIDE_A_SECOND, BESIDE_S, lambda: side.conversation(BESIDE_S))
    _waited(side, f"{name}: decisions beside", 50, **meter.read())
    await _restarted(side, name)
    await side.books(name)


def _ticked(side: Side, name: str, lags: list[float], **more: float) -> None:
    """How much later than due a deadline was moved; one that was moved just before is told again."""
    ticks = [lag for lag in lags if lag > -1000 * HORIZON_S / 2]
    beside = {"ticks": len(ticks), "told_again": len(lags) - len(ticks), "p50": percentile(ticks, 50), **more}
    side.add(f"{name}: tick lag p99", percentile(ticks, 99), "ms", *at_most(250), **beside)


async def _restarted(side: Side, name: str) -> None:
    before = len(side.asterisk.live())
    await side.daemon.kill()
    await asyncio.sleep(side.options.away)
    begin = time.perf_counter()
    moved: dict[str, float] = {}
    unpaid = {call.uid for call in _unpaid(side)}

    def hear(call: PlayedCall, _left_s: float) -> None:
        if call.uid in unpaid:
            moved.setdefault(call.uid, time.perf_counter() - begin)

    side.asterisk.on_deadline = hear
    starting = asyncio.create_task(side.daemon.start())
    paid_s = up_s = math.inf
    while math.inf in (paid_s, up_s) and time.perf_counter() < begin + 2 * HORIZON_S:
        await asyncio.sleep(0.05)
        now_s = time.perf_counter() - begin
        if starting.done():
            up_s = min(up_s, now_s)
        if not (behind := len(_unpaid(side))):
            paid_s = min(paid_s, now_s)
    await starting
    cut = before - len(side.asterisk.live())
    beside = {"up_s": up_s, "cpu_s": side.daemon.cpu_s(), "away_s": side.options.away}
    beside |= {"cut": cut, "behind": behind, "were_behind": len(unpaid)}
    if moved:  # one call after the other is paid ahead
        beside |= {"first_s": min(moved.values()), "half_s": percentile(list(moved.values()), 50)}
        beside |= {"last_s": max(moved.values())}
    side.add(f"{name}: restart until all are paid ahead", paid_s, "s", *at_most(3), **beside)


def _unpaid(side: Side) -> list[PlayedCall]:
    """Live calls whose deadline at the switch is nearer than the horizon."""
    now = asyncio.get_running_loop().time()
    least = now + HORIZON_S - PAID_AHEAD_SLACK_S
    return [call for call in side.asterisk.live() if call.deadlines[call.callee_uid] < least]


async def mixed(side: Side) -> None:
    """Calls a second, of half a minute each."""
    rate = side.options.rate
    await side.begin(int(rate * TALK_S * 2))
    before_kib, meter = side.daemon.memory_kib(), Meter(side)
    await side.offer(rate, 2 * TALK_S, lambda: side.conversation(TALK_S))
    grew_mib = (side.daemon.memory_kib() - before_kib) / 1024
    _waited(side, f"mixed, {rate:g} calls/s of {TALK_S} s", 50, grew_mib=grew_mib, **meter.read())
    await side.books("mixed")


def _middle(values: tuple[float, ...]) -> float:
    return sorted(values)[len(values) // 2]


async def pair(side: Side) -> None:
    """The same load as ``mixed``, half of it on each of two daemons that share the ledger and all accounts."""
    if side.store == "sqlite":
        return  # a file has one daemon
    rate = side.options.rate
    second = Side(side.store, side.folder / "second", side.url, side.table, side.options, "second")
    async with second:
        both = side, second
        for one in both:
            await one.begin(int(rate * TALK_S * 2))
        meters = [Meter(one) for one in both]
        await asyncio.gather(*(one.offer(rate / 2, 2 * TALK_S, partial(one.conversation, TALK_S)) for one in both))
        cores = {f"core_{number}": meter.read()["core"] for number, meter in enumerate(meters, 1)}
        side.waits += second.waits
        _waited(side, f"two daemons, {rate:g} calls/s of {TALK_S} s", 50, **cores)
        for one in both:
            await one.ended("two daemons")
        side.played += second.played
        await side.compared("two daemons")


PARTS: dict[str, Callable[[Side], Awaitable[None]]] = {
    "decisions": decisions,
    "offered": offered,
    "live": live,
    "mixed": mixed,
    "pair": pair,
    "day": day,
}
