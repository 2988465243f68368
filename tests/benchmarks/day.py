"""A day's calls in one hour: what must be as at noon when the evening comes.

Callers come ``--rate`` times a second (10: ten times the busy hour of an operator with some 10,000 subscribers),
whatever becomes of the earlier ones. Some are not answered. What could grow is looked at every few seconds: memory,
open files, the ledger and the log on disk, CPU, and how long callers wait for a decision. Only the ledger and the log
may grow, and by the same for each call.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.figures import percentile
from tests.benchmarks.ledger_load import at_most

if TYPE_CHECKING:
    from tests.benchmarks.daemon_rows import Side

SAMPLE_S = 15
TALK_MEAN_S, TALK_MOST_S = 45, 300
UNANSWERED, RINGS_S = 0.2, 8
WARM = 0.2
"""The part of the time after which the first calls have ended and everything has been loaded."""
SEED = 24
SAMPLES = Path(".cache/bench-day.json")


@dataclass(frozen=True)
class Sample:
    """One look at the daemon; what is counted is that of the time since the look before."""

    at_s: float
    memory_mib: float
    open_files: int
    ledger_mib: float
    log_mib: float
    live: int
    calls: int
    core: float
    waited_p50_ms: float
    waited_p99_ms: float


async def day(side: Side) -> None:
    """Ten times a busy hour."""
    rate, seconds = side.options.rate, side.options.minutes * 60
    await side.begin(int(rate * TALK_MOST_S))
    rng = random.Random(SEED)
    samples: list[Sample] = []
    watching = asyncio.create_task(_watched(side, samples, int(seconds / SAMPLE_S)))
    await side.offer(rate, seconds, lambda: _caller(side, rng))
    await watching
    _keep(samples, rate, side.store)
    name = f"a day, {rate:g} calls/s for {side.options.minutes:g} min"
    side.add(f"{name}: calls", len(side.played), "", refused=side.refused)
    for what, value in FLAT.items():
        first, last = thirds(samples, value)
        side.add(f"{name}: {what}", last / first, "last / first third", *at_most(1.15), first=first, last=last)
    await side.books(name)


def _keep(samples: Sequence[Sample], rate: float, store: str) -> None:
    SAMPLES.parent.mkdir(exist_ok=True)
    SAMPLES.write_text(json.dumps({"rate": rate, "store": store, "samples": [asdict(one) for one in samples]}))


async def _caller(side: Side, rng: random.Random) -> None:
    talks_s = min(rng.expovariate(1 / TALK_MEAN_S), TALK_MOST_S)
    answered = rng.random() >= UNANSWERED
    call = await side.set_up()
    if call.is_dialled:
        if answered:
            side.asterisk.answer(call)
        await asyncio.sleep(talks_s if answered else RINGS_S)
        side.asterisk.end(call)


async def _watched(side: Side, samples: list[Sample], times: int) -> None:
    begin = before = time.perf_counter()
    cpu_s, waited, calls = side.daemon.cpu_s(), 0, 0
    for _ in range(times):
        await asyncio.sleep(SAMPLE_S)
        now, cpu = time.perf_counter(), side.daemon.cpu_s()
        waits = [1000 * one for one in side.waits[waited:]]
        samples.append(
            Sample(
                round(now - begin, 1),
                side.daemon.memory_kib() / 1024,
                _open_files(side.daemon.pid),
                _mib(side.daemon.folder.glob("ledger.db*")),
                _mib([side.daemon.log]),
                len(side.asterisk.live()),
                len(side.played) - calls,
                (cpu - cpu_s) / (now - before),
                percentile(waits, 50),
                percentile(waits, 99),
            )
        )
        before, cpu_s, waited, calls = now, cpu, len(side.waits), len(side.played)


def _open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _mib(files: Iterable[Path]) -> float:
    return sum(one.stat().st_size for one in files) / 2**20


def thirds(samples: Sequence[Sample], value: Callable[[Sequence[Sample]], float]) -> tuple[float, float]:
    """A figure of the first and of the last third of the time, once all was warm."""
    warm = samples[int(len(samples) * WARM) :]
    third = max(1, len(warm) // 3)
    return value(warm[:third]), value(warm[-third:])


def _a_call(size: Callable[[Sample], float]) -> Callable[[Sequence[Sample]], float]:
    """KiB of growth for each call."""
    return lambda some: 1024 * (size(some[-1]) - size(some[0])) / max(1, sum(one.calls for one in some[1:]))


FLAT: dict[str, Callable[[Sequence[Sample]], float]] = {
    "memory, MiB": lambda some: statistics.median(one.memory_mib for one in some),
    "open files": lambda some: statistics.median(one.open_files for one in some),
    "ledger, KiB a call": _a_call(lambda one: one.ledger_mib),
    "log, KiB a call": _a_call(lambda one: one.log_mib),
    "CPU a call, ms": lambda some: 1000 * SAMPLE_S * sum(one.core for one in some) / sum(one.calls for one in some),
    "wait for a decision, p50 ms": lambda some: statistics.median(one.waited_p50_ms for one in some),
}
"""What must not grow, by name."""
