"""Real calls on the real Asterisk, each cut when its money ends, while the same daemon carries 5,000 others.

The others are played (`tests.asterisk.joined`): to the daemon they are calls of the same switch. It runs with its
shipped settings; only the price of a mobile's second is the test's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import time
from pathlib import Path

import pytest

from charging.lab import Lab, mobile
from charging.ledger.accounts import Account, Number
from charging.ledger.model import CREDIT, Kind, Leg, Transfer
from charging.ledger.open import open_store
from tests.asterisk.conftest import FIGURES
from tests.asterisk.engine import MEASURES_APART_S, SECOND
from tests.asterisk.joined import JoinedAsterisk
from tests.asterisk.parties import operator_sets, records_gone
from tests.asterisk.test_cut import LATE_MS_MAX, Record
from tests.benchmarks.daemon_rows import HORIZON_S, Side
from tests.benchmarks.figures import Table, percentile
from tests.benchmarks.ledgers import Ledger
from tests.benchmarks.shipped_daemon import check, every_cdr

pytestmark = [pytest.mark.asterisk, pytest.mark.long, pytest.mark.timeout(900)]

OTHERS = 5_000
PAID_S = range(20, 92, 2)
"""Each real caller's subscriber has money for so long: none for two the same, some for less than the horizon."""
APART_S = 0.2
"""Between the beginnings of two real calls."""
PRICE = """\
      nl_mobile:
        price: 0.06
        increments: 1/1
"""


class Beside(Side):
    """The daemon of a benchmark, whose Asterisk is joined to a real one."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        super().__init__("sqlite", folder, Ledger(""), Table(), argparse.Namespace())
        self.asterisk = JoinedAsterisk(lab.switch.charging_ami)
        self._prompts = lab.prompts_dir

    async def lay_down(self) -> None:
        """Its tariff, the lab's prompts, and who is called in earnest."""
        tariff, count = re.subn(r"      nl_mobile:\n(        .*\n)+", PRICE, self.daemon.tariff.read_text())
        assert count == 1
        self.daemon.tariff.write_text(tariff)
        settings = self.daemon.settings.read_text()
        shipped = "#prompts_dir_on_switch: /usr/share/asterisk/sounds/charging"
        assert settings.count(shipped) == 1
        self.daemon.settings.write_text(settings.replace(shipped, f"prompts_dir_on_switch: {self._prompts}"))
        store = open_store(self.daemon.ledger_url)
        await store.open()
        try:
            for paid_s in PAID_S:
                who, at_us = _account(paid_s), time.time_ns() // 1000
                await store.directory.put_account(Account(who, "voice_light"))
                await store.directory.put_number(Number(_number(paid_s), who, mobile.answers()))
                await store.apply(Transfer("top-up/0", who, Kind.TOP_UP, at_us, (Leg(CREDIT, paid_s * SECOND),)))
        finally:
            await store.close()


def _account(paid_s: int) -> str:
    return f"real-{paid_s}"


def _number(paid_s: int) -> str:
    return f"+318599999{paid_s}"


async def test_r23_real_calls_are_cut_on_time_while_the_daemon_carries_five_thousand_others(
    lab: Lab, tmp_path: Path, record_property: Record
) -> None:
    async with (
        Beside(lab, tmp_path / "daemon") as side,
        operator_sets(lab, "CHARGING_AGI", f"127.0.0.1:{side.daemon.agi_port}"),
    ):
        await side.lay_down()
        await side.begin(OTHERS)
        await side.fill_live(OTHERS)
        lags: list[float] = []
        side.asterisk.on_deadline = lambda _call, left_s: lags.append(1000 * (HORIZON_S - left_s))
        calls = {}
        for paid_s in PAID_S:
            calls[_account(paid_s)] = await lab.place_call(_number(paid_s))
            await asyncio.sleep(APART_S)
        await asyncio.gather(*(call.wait_end(PAID_S[-1] + 60) for call in calls.values()))
        assert len(side.asterisk.live()) == OTHERS, "none of the others was cut"
        await records_gone(lab)
        await side.ended("beside real calls")
        assert side.table.faults == []
        assert (await check(side.daemon.ledger_url, side.played, OTHERS, calls)).faults == []
        store = open_store(side.daemon.ledger_url)
        await store.open()
        try:
            cdrs = {row.account: json.loads(row.document) for row in await every_cdr(store) if row.account in calls}
            left = [await store.balances(who) for who in calls]
        finally:
            await store.close()
    late_ms = sorted(cdrs[_account(paid_s)]["used_ms"] - 1000 * paid_s for paid_s in PAID_S)
    ticks = [lag for lag in lags if lag > -1000 * HORIZON_S / 2]
    record_property(
        FIGURES,
        f"{len(late_ms)} real calls beside {OTHERS:,}: cut late by {late_ms} ms; {len(ticks)} ticks of the others, "
        f"p50 {percentile(ticks, 50):.0f}, p99 {percentile(ticks, 99):.0f} ms after they were due",
    )
    assert late_ms[0] >= -1, "cut before the paid second"
    assert percentile(late_ms, 95) <= LATE_MS_MAX
    for paid_s in PAID_S:
        cdr = cdrs[_account(paid_s)]
        assert (cdr["billed_s"], cdr["proof"]) == (paid_s, "black_box")
        assert abs(cdr["used_ms"] / 1000 - calls[_account(paid_s)].duration_s) < MEASURES_APART_S
    assert {(one[CREDIT].posted, one[CREDIT].reserved) for one in left} == {(0, 0)}
