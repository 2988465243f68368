"""The parts of `bench_daemon`: each lays down a daemon of its own, loads it, and looks into its books."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import math
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Self

from tests.benchmarks.day import day
from tests.benchmarks.figures import Table, median_ratio, percentile
from tests.benchmarks.floor import floor
from tests.benchmarks.ledger_load import at_least, at_most
from tests.benchmarks.ledgers import Ledger
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
IDLE_S, IDLE_S_A_CALL = 60, 0.01
"""What all calls that have ended may take to be booked."""


class Side:
    """One daemon on one ledger, and the Asterisk that is played to it."""

    def __init__(
        self,
        store: str,
        folder: Path,
        ledger: Ledger,
        table: Table,
        options: argparse.Namespace,
        switch: str = "asterisk",
    ) -> None:
        self.store, self.table, self.options = store, table, options
        self.folder, self.ledger, self.switch = folder, ledger, switch
        self.asterisk = PlayedAsterisk()
        self.played: list[PlayedCall] = []
        self.waits: list[float] = []
        self.refused = 0
        self.accounts = 0

    async def __aenter__(self) -> Self:
        await self.asterisk.listen()
        self.daemon = ShippedDaemon(self.folder, self.asterisk, self.ledger.url, self.switch)
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
            await self.daemon.idle(IDLE_S + IDLE_S_A_CALL * len(self.played))
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


@asynccontextmanager
async def several(side: Side, daemons: int) -> AsyncIterator[Sequence[Side]]:
    """So many daemons, this one among them, each with an Asterisk of its own. In a Redis they share all accounts; with
    a file each has its own accounts, as an operator divides them."""
    async with AsyncExitStack() as stack:
        others = [
            Side(side.store, side.folder / f"{n}", side.ledger, side.table, side.options, f"asterisk-{n}")
            for n in range(2, daemons + 1)
        ]
        for other in others:
            await stack.enter_async_context(other)
        yield side, *others


def _on(sides: Sequence[Side]) -> str:
    return f" on {len(sides)} daemons" if len(sides) > 1 else ""


async def _books(sides: Sequence[Side], what: str) -> None:
    """End every call and all daemons, and compare each ledger with what its callers did."""
    for side in sides:
        await side.ended(what)
    first, *others = sides
    if first.ledger.url:
        first.played += (call for other in others for call in other.played)
        others = []
    for side in (first, *others):
        await side.compared(what)


class Meter:
    """The CPU of a stretch of time: the daemons', and that of this process, which has to be well below one core for the
    figures to be theirs."""

    def __init__(self, *sides: Side) -> None:
        self._daemons = [side.daemon for side in sides]
        self._begin = time.perf_counter(), time.process_time(), [one.cpu_s() for one in self._daemons]

    def read(self) -> dict[str, float]:
        wall, own, before = self._begin
        spent = [daemon.cpu_s() - cpu_s for daemon, cpu_s in zip(self._daemons, before, strict=True)]
        self.lasted_s, self.cpu_s = time.perf_counter() - wall, sum(spent)
        found = {"core": self.cpu_s / self.lasted_s, "own_core": (time.process_time() - own) / self.lasted_s}
        if len(spent) > 1:
            found |= {f"core_{number}": cpu_s / self.lasted_s for number, cpu_s in enumerate(spent, 1)}
        return found


async def offered(side: Side) -> None:
    """Set-ups that come whether or not the earlier ones are through; each rings until the end."""
    await side.begin(1000)
    await side.offer(20, 1, side.set_up)
    side.waits.clear()
    meter = Meter(side)
    gc.collect()
    gc.disable()  # a rest of this process, of 50 ms, would be told as the daemon's
    async with floor(side.ledger, side.folder) as raw:
        await side.offer(SETUPS_A_SECOND, 5, side.set_up)
    gc.enable()
    _waited([side], f"{SETUPS_A_SECOND} set-ups a second", 10, **raw.read(), **meter.read())
    await side.books("set-ups offered")


def _waited(sides: Sequence[Side], what: str, goal_ms: float, **more: float) -> None:
    waits = [1000 * one for side in sides for one in side.waits]
    beside = {"p50": percentile(waits, 50), "refused": sum(side.refused for side in sides), **more}
    sides[0].add(f"{what}: p99", percentile(waits, 99), "ms", *at_most(goal_ms), **beside)


async def live(side: Side) -> None:
    """Calls that last: ticks and what they cost, then decisions beside them; then the daemons die and come back."""
    async with several(side, side.options.daemons) as sides:
        await _live(sides)


async def _live(sides: Sequence[Side]) -> None:
    first, options = sides[0], sides[0].options
    calls, name = options.calls // len(sides), f"{options.calls:,} live{_on(sides)}"
    for side in sides:
        await side.begin(calls + 200)
    empty_kib = _memory_kib(sides)
    await asyncio.gather(*(side.fill_live(calls) for side in sides))
    refused = sum(side.refused for side in sides)
    lags: list[float] = []
    for side in sides:
        side.refused = 0
        side.asterisk.on_deadline = lambda _call, left_s: lags.append(1000 * (HORIZON_S - left_s))
    gc.collect()
    gc.freeze()  # a search through all these calls rests this process for 0.13 s: told as the daemon's lag
    meter = Meter(*sides)
    await asyncio.sleep(options.hold)
    _ticked(first, name, lags, refused=refused, **meter.read())
    minutes = sum(len(side.asterisk.live()) for side in sides) * meter.lasted_s / 60
    first.add(f"{name}: CPU a call-minute", 1000 * meter.cpu_s / minutes, "ms", *at_most(1))
    kib = (_memory_kib(sides) - empty_kib) / options.calls
    first.add(f"{name}: memory a live call", kib, "KiB", *at_most(10), rss_mib=_memory_kib(sides) / 1024)
    lags.clear()
    for side in sides:
        side.waits.clear()
    meter = Meter(*sides)
    a_second = BESIDE_A_SECOND / len(sides)
    await asyncio.gather(
        *(side.offer(a_second, BESIDE_S, partial(side.conversation, BESIDE_S)) for side in sides),
    )
    _waited(sides, f"{name}: decisions beside", 50, **meter.read())
    await _restarted(sides, name)
    await _books(sides, name)


def _memory_kib(sides: Sequence[Side]) -> int:
    return sum(side.daemon.memory_kib() for side in sides)


def _ticked(side: Side, name: str, lags: list[float], **more: float) -> None:
    """How much later than due a deadline was moved; one that was moved just before is told again."""
    ticks = [lag for lag in lags if lag > -1000 * HORIZON_S / 2]
    beside = {"ticks": len(ticks), "told_again": len(lags) - len(ticks), "p50": percentile(ticks, 50), **more}
    side.add(f"{name}: tick lag p99", percentile(ticks, 99), "ms", *at_most(250), **beside)


async def restart(side: Side) -> None:
    """Calls that last, then nothing but the kill, the outage and the start: `live` without what it measures before."""
    async with several(side, side.options.daemons) as sides:
        options, name = side.options, f"{side.options.calls:,} live{_on(sides)}"
        for one in sides:
            await one.begin(options.calls // len(sides) + 50)
        await asyncio.gather(*(one.fill_live(options.calls // len(sides)) for one in sides))
        await asyncio.sleep(options.hold)
        await _restarted(sides, name)
        await _books(sides, name)


PHASES = {
    "begun_s": ("ami_link_changed", "connecting"),
    "ledger_s": ("lease_gained", ""),
    "link_s": ("ami_link_changed", "up"),
    "revived_s": ("sessions_restored", ""),
}
"""Of a start: what the daemon's log first says once it has read its program and its settings, has the ledger, is logged
in at the switch, and has brought the calls to life."""


def phases(log: str, begun_us: int) -> dict[str, float]:
    """When each phase was over, in seconds after ``begun_us`` (wall clock, µs), by the daemon's log of this start."""
    found: dict[str, float] = {}
    for line in log.splitlines():
        try:
            said = dict(json.loads(line))
        except ValueError:  # what the process says before its log is set up
            continue
        told = said.get("event"), said.get("state", "")
        for phase in (name for name, wanted in PHASES.items() if wanted == told):
            found.setdefault(phase, datetime.fromisoformat(said["timestamp"]).timestamp() - begun_us / 1e6)
    return found


async def _restarted(sides: Sequence[Side], name: str) -> None:
    first, options = sides[0], sides[0].options
    before = sum(len(side.asterisk.live()) for side in sides)
    await asyncio.gather(*(side.daemon.kill() for side in sides))
    logged = first.daemon.log.stat().st_size
    await asyncio.sleep(options.away)
    begin, begun_us = time.perf_counter(), time.time_ns() // 1000
    moved: dict[PlayedCall, float] = {}
    unpaid = set(_unpaid(sides))

    def hear(call: PlayedCall, _left_s: float) -> None:
        if call in unpaid:
            moved.setdefault(call, time.perf_counter() - begin)

    for side in sides:
        side.asterisk.on_deadline = hear
    starting = asyncio.gather(*(side.daemon.start() for side in sides))
    paid_s = up_s = paid_cpu_s = math.inf
    while math.inf in (paid_s, up_s) and time.perf_counter() < begin + 2 * HORIZON_S:
        await asyncio.sleep(0.05)
        now_s = time.perf_counter() - begin
        if starting.done():
            up_s = min(up_s, now_s)
        if not (behind := len(_unpaid(sides))):
            paid_s = min(paid_s, now_s)
            paid_cpu_s = min(paid_cpu_s, sum(side.daemon.cpu_s() for side in sides))
    await starting
    cut = before - sum(len(side.asterisk.live()) for side in sides)
    with first.daemon.log.open(encoding="utf-8") as log:
        log.seek(logged)
        beside = phases(log.read(), begun_us)
    beside |= {"up_s": up_s, "cpu_s": sum(side.daemon.cpu_s() for side in sides), "paid_cpu_s": paid_cpu_s}
    beside |= {"away_s": options.away}
    beside |= {"cut": cut, "behind": behind, "were_behind": len(unpaid)}
    if moved:  # one call after the other is paid ahead
        beside |= {"first_s": min(moved.values()), "half_s": percentile(list(moved.values()), 50)}
        beside |= {"last_s": max(moved.values())}
    first.add(f"{name}: restart until all are paid ahead", paid_s, "s", *at_most(3), **beside)


def _unpaid(sides: Sequence[Side]) -> list[PlayedCall]:
    """Live calls whose deadline at the switch is nearer than the horizon."""
    least = asyncio.get_running_loop().time() + HORIZON_S - PAID_AHEAD_SLACK_S
    live = (call for side in sides for call in side.asterisk.live())
    return [call for call in live if call.deadlines[call.callee_uid] < least]


async def mixed(side: Side) -> None:
    """Calls a second, of half a minute each."""
    async with several(side, side.options.daemons) as sides:
        await _mixed(sides)


async def pair(side: Side) -> None:
    """The same load, half of it on each of two daemons."""
    async with several(side, 2) as sides:
        await _mixed(sides)


async def fail_over(side: Side) -> None:
    """The same load, in the middle of which the Redis that answers is killed: a replica takes over."""
    if side.ledger.kill is None:
        return  # nothing takes over
    async with several(side, side.options.daemons) as sides:
        await _mixed(sides, " and a fail-over", side.ledger.kill)


async def _mixed(sides: Sequence[Side], what: str = "", strike: Callable[[], None] = lambda: None) -> None:
    """``strike`` is done halfway."""
    rate = sides[0].options.rate
    name = f"mixed, {rate:g} calls/s of {TALK_S} s{what}{_on(sides)}"
    for side in sides:
        await side.begin(int(rate * TALK_S * 2))
    before_kib, meter = _memory_kib(sides), Meter(*sides)
    a_second = rate / len(sides)
    asyncio.get_running_loop().call_later(TALK_S, strike)
    offers = [side.offer(a_second, 2 * TALK_S, partial(side.conversation, TALK_S)) for side in sides]
    async with floor(sides[0].ledger, sides[0].folder) as raw:
        await asyncio.gather(*offers)
    grew_mib = (_memory_kib(sides) - before_kib) / 1024
    _waited(sides, name, 50, grew_mib=grew_mib, **raw.read(), **meter.read())
    await _books(sides, name)


def _middle(values: tuple[float, ...]) -> float:
    return sorted(values)[len(values) // 2]


PARTS: dict[str, Callable[[Side], Awaitable[None]]] = {
    "decisions": decisions,
    "offered": offered,
    "live": live,
    "restart": restart,
    "mixed": mixed,
    "pair": pair,
    "fail-over": fail_over,
    "day": day,
}
