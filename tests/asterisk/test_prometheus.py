"""A real Prometheus beside the daemon, after real calls: the dashboard has data, the alerts are quiet."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from charging.lab import Lab
from charging.pricing.money import parse_euro
from tests.asterisk.engine import Engine, engine
from tests.integration.prometheus_server import (
    Prometheus,
    Query,
    assert_dashboard_has_data,
    prometheus_scraping,
)

pytestmark = pytest.mark.asterisk

CREDIT_S = 8
NOT_OURS = "+31850000077"
"""A number that no account has."""
MAY_FIRE_ON_A_BUSY_MACHINE = "ChargingDecisionsSlow|ChargingLedgerSlow|ChargingLoopLate|ChargingQuotaOverrun"
"""They say that the machine is slow; whether they say it rightly is tried in tests/integration."""

OF_ITS_TARIFF = "ChargingTariffWarnings"
"""It sells messages without ``credit_a_day``."""


async def test_dashboard_has_data_and_alerts_are_quiet_after_real_calls(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path, credit="0.008", plan="voice_pro", free_seconds=2) as live:
        folder = tmp_path / "prometheus"
        await asyncio.to_thread(folder.mkdir)
        with prometheus_scraping(live.daemon.http_port, folder) as prometheus:
            await asyncio.to_thread(prometheus.wait_for, "charging_ami_up == 1")
            await _live_call_is_seen(live, prometheus)
            await _rejected_call(lab, live)
            # A rate needs two scrapes that have seen the call.
            await asyncio.to_thread(prometheus.wait_for, 'rate(charging_setups_total{decision="reject"}[1m])')
            shown = await asyncio.to_thread(assert_dashboard_has_data, prometheus)
            _dashboard_shows_what_happened(shown)
            await _counted(live, prometheus)
            assert "ChargingUnexpectedEvents" in await asyncio.to_thread(prometheus.rules), "loaded and sound"
            quiet = f'absent(ALERTS{{alertname!~"{MAY_FIRE_ON_A_BUSY_MACHINE}|{OF_ITS_TARIFF}"}})'
            await asyncio.to_thread(prometheus.wait_for, quiet)


async def _live_call_is_seen(live: Engine, prometheus: Prometheus) -> None:
    """A call that is warned and cut; Prometheus sees it while it runs."""
    call = await live.call()
    await asyncio.to_thread(prometheus.wait_for, "charging_calls_live == 1")
    await call.wait_end(30)
    cdr = await live.cdr()
    assert (cdr["billed_s"], cdr["warnings"]) == (CREDIT_S + 2, 1)
    await asyncio.to_thread(prometheus.wait_for, "charging_calls_live == 0")


async def _rejected_call(lab: Lab, live: Engine) -> None:
    call = await lab.place_call(NOT_OURS)
    await live.heard("call_decided", times=2)
    await call.hang_up()
    await call.wait_end()


def _dashboard_shows_what_happened(shown: Mapping[Query, list[dict[str, Any]]]) -> None:
    """Not only some sample each: the panels' rates have seen these very calls."""
    words: dict[str, set[str]] = {}
    for query, samples in shown.items():
        words.setdefault(query.panel, set()).update(word for one in samples for word in one["metric"].values())
    assert {"forward", "reject"} <= words["Decisions"]
    assert {"free_minutes", "unknown_number"} <= words["Reasons"]
    assert {"apply_reserve", "apply_extend", "apply_settle", "created"} <= words["Ledger operations"]


async def _counted(live: Engine, prometheus: Prometheus) -> None:
    """The counters hold exactly what the books say."""
    cost = parse_euro((await live.cdr())["cost"])
    for expression in (
        f'charging_charged_micro_euro_total{{service="forward"}} == {cost}',
        "charging_free_seconds_used_total == 2",
        'charging_cuts_total{reason="money"} == 1',
        'charging_prompts_total{prompt="credit_low",result="played"} == 1',
        'charging_setups_total{decision="forward",reason="free_minutes"} == 1',
        'sum(charging_setups_total{decision!="forward"}) == 1',
        'sum(charging_ticks_total{result="granted"}) > 0',
        'charging_sessions_open{state="ended"} == 0',
    ):
        await asyncio.to_thread(prometheus.wait_for, expression)
