"""A call ends when its money ends: never before the paid second, at most 0.2 s after it; the daemon alive or dead."""

from __future__ import annotations

import signal
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from charging.lab import Call, CallState, Lab, mobile
from tests.asterisk.conftest import FIGURES
from tests.asterisk.engine import Engine, engine, number_of
from tests.asterisk.waiting import eventually

pytestmark = pytest.mark.asterisk

CALLS = 10
"""At once, each of a subscriber of its own."""
LATE_MS_MAX = 200


async def _calls(live: Engine, first: int = 0) -> list[Call]:
    return [await live.lab.place_call(number_of(index)) for index in range(first, first + CALLS)]


Record = Callable[[str, object], None]


def _judge(cdrs: list[dict[str, Any]], paid_s: int, what: str, record: Record) -> None:
    """The switch's own measure of each call, against what was paid. It is the difference of two stamps that are cut to
    milliseconds, so it may show one less than has passed."""
    late_ms = sorted(cdr["used_ms"] - paid_s * 1000 for cdr in cdrs)
    p95 = late_ms[round(0.95 * len(late_ms)) - 1]
    median = statistics.median(late_ms)
    record(FIGURES, f"{len(late_ms)} cuts, {what}: late by median {median} ms, p95 {p95} ms, {late_ms}")
    assert late_ms[0] >= -1, "cut before the paid second"
    assert p95 <= LATE_MS_MAX
    assert all(cdr["billed_s"] == paid_s for cdr in cdrs)


async def test_r23_call_is_cut_within_a_fifth_of_a_second_after_its_money_ended(
    lab: Lab, tmp_path: Path, record_property: Record
) -> None:
    paid_s = 9
    async with engine(lab, tmp_path, credit="0.009", others=2 * CALLS - 1) as live:
        for first in (0, CALLS):
            for call in await _calls(live, first):
                await call.wait_end(40)
        _judge(await live.cdrs(2 * CALLS), paid_s, "daemon alive", record_property)
        assert await live.posted() == 0
        await live.nothing_reserved()


@pytest.mark.parametrize(
    ("credit", "paid_s"),
    [("0.004", 4), ("0.009", 9)],
    ids=["by the quota at set-up", "by a deadline that was extended"],
)
async def test_r23_call_is_cut_by_the_switch_itself_when_the_daemon_is_killed(
    lab: Lab, tmp_path: Path, record_property: Record, credit: str, paid_s: int
) -> None:
    async with engine(lab, tmp_path, credit=credit, others=CALLS - 1) as live:
        calls = await _calls(live)
        await live.heard("call_answered", times=CALLS)
        if paid_s > 7:
            await live.until(lambda: _all_cover(live, paid_s), "every call to hold all its money")
        await live.daemon.kill()
        for call in calls:
            await call.wait_end(40)
        await live.daemon.start()
        _judge(await live.cdrs(CALLS), paid_s, f"daemon killed, {paid_s} s paid", record_property)
        assert await live.posted() == 0
        await live.nothing_reserved()


async def test_r23_call_answered_while_the_daemon_was_stopped_is_cut_where_its_money_ends(
    lab: Lab, tmp_path: Path
) -> None:
    """It hears of the answer four seconds late, and asks the switch when it was."""
    async with engine(lab, tmp_path, credit="0.015", forward_to=mobile.answers(1.5)) as live:
        call = await live.call()
        await call.wait_state(CallState.RINGING)
        live.daemon.send(signal.SIGSTOP)
        await call.wait_state(CallState.ANSWERED)
        await eventually(partial(_has_lasted, call, 4), "four seconds of talk")
        live.daemon.send(signal.SIGCONT)
        await live.heard("answer_moved")
        await call.wait_end(40)
        cdr = await live.cdr()
        assert -1 <= cdr["used_ms"] - 15_000 <= LATE_MS_MAX
        assert (cdr["billed_s"], cdr["proof"]) == (15, "black_box")
        assert await live.posted() == 0


async def _has_lasted(call: Call, seconds: int) -> bool:
    answered_us = call.mobile.answered_us
    return answered_us is not None and time.time_ns() // 1000 - answered_us >= seconds * 1_000_000


async def _all_cover(live: Engine, seconds: int) -> bool:
    lines = live.daemon.events("deadline_moved")
    return len({line["session"] for line in lines if line["covered_s"] == seconds}) == CALLS
