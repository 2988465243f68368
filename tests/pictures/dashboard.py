"""What operators see: panels of the shipped dashboard, asked of a real Prometheus while calls ran on the real Asterisk.

Grafana itself is not to be had in every place where this is made, so the panels are drawn here; the queries are the
dashboard's own. The rates are taken over a shorter time than Grafana would, for the run is short.
"""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
import time
from pathlib import Path
from typing import Any

from charging.demo.commands import charging
from charging.lab import Lab, mobile
from tests.asterisk.engine import Engine, engine, number_of
from tests.integration.prometheus_server import DASHBOARD, Prometheus, prometheus_scraping
from tests.pictures.plot import Panel, Series, picture

RATE_INTERVAL = "15s"
SETTLE_S = 15
SUBSCRIBERS = 8
CALLS = 40
EVERY_S = 3.0
LONGEST_S = 24
WIDTH = 24
"""Of Grafana's grid."""
STRANGER = "+31850000077"
"""A number that no account has."""
SHOWN = (
    "Calls running",
    "Daemon",
    "AMI link",
    "Ledger",
    "Decisions",
    "Open sessions",
    "Ticks",
    "Cuts",
    "Prompts",
    "Credit charged",
    "Free minutes used",
)
CAPTION = (
    f"{CALLS} calls on a real Asterisk: the queries of config/grafana/charging.json, answered by a real Prometheus; "
    "drawn by make pictures, not by Grafana"
)


async def of_a_run() -> str:
    """Some two minutes of calls, as SVG."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with (
            Lab() as lab,
            engine(lab, folder, credit="0.060", plan="voice_pro", free_seconds=20, others=SUBSCRIBERS - 1) as live,
        ):
            with prometheus_scraping(live.daemon.http_port, folder, "1s") as prometheus:
                await asyncio.to_thread(prometheus.wait_for, "charging_ami_up == 1")
                await asyncio.sleep(SETTLE_S)
                begun = time.time()
                await _calls(lab, live)
                return await asyncio.to_thread(_drawn, prometheus, begun, time.time())


async def _calls(lab: Lab, live: Engine) -> None:
    """One after the other begins; some are told to be busy, one number is nobody's. The credit of some ends."""
    busy = number_of(SUBSCRIBERS - 1)
    await charging(live.daemon.settings, "number", "set", busy, "--forward-to", mobile.busy())
    for index in range(CALLS):
        number = STRANGER if index % 13 == 6 else number_of(index % SUBSCRIBERS)
        await lab.place_call(number, hang_up_after_s=5 + index * 7 % LONGEST_S)
        await asyncio.sleep(EVERY_S)
    await asyncio.sleep(SETTLE_S)


def _drawn(prometheus: Prometheus, begun: float, ended: float) -> str:
    found = {panel["title"]: panel for panel in reversed(json.loads(DASHBOARD.read_text())["panels"])}
    panels = [_panel(found[title], prometheus, begun, ended) for title in SHOWN]
    return picture(_without_rows(panels), CAPTION)


def _panel(panel: dict[str, Any], prometheus: Prometheus, begun: float, ended: float) -> Panel:
    place = panel["gridPos"]
    series = []
    for target in panel["targets"]:
        expression = target["expr"].replace("$__rate_interval", RATE_INTERVAL)
        for one in prometheus.query_range(expression, begun, ended):
            points = [(float(at), float(value)) for at, value in one["values"]]
            series.append(Series(_name(target.get("legendFormat", ""), one["metric"]), points))
    reading = ""
    if panel["type"] == "stat":
        most = max(value for one in series for _, value in one.points)
        reading = "up" if panel["title"] != "Calls running" else f"{most:.0f}"
        assert most >= 1, panel["title"]
    return Panel(panel["title"], place["x"], place["y"], place["w"], place["h"], series, reading)


def _name(pattern: str, labels: dict[str, str]) -> str:
    return re.sub(r"\{\{ *(\w+) *\}\}", lambda label: labels.get(label[1], ""), pattern) or " ".join(labels.values())


def _without_rows(panels: list[Panel]) -> list[Panel]:
    """In the dashboard's order, closed up: without the rows' titles, and without holes for what is not shown."""
    closed: list[Panel] = []
    top = 0
    for y in sorted({one.y for one in panels}):
        line = sorted((one for one in panels if one.y == y), key=lambda one: one.x)
        wide = WIDTH // len(line)
        closed += [Panel(one.title, n * wide, top, wide, one.h, one.series, one.reading) for n, one in enumerate(line)]
        top += max(one.h for one in line)
    return closed
