"""A real Prometheus on a port of its own, and the queries of the shipped dashboard."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from charging.lab.ports import free_port

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "config" / "grafana" / "charging.json"
RULES = ROOT / "config" / "prometheus" / "charging_rules.yml"
RATE_INTERVAL = "1m"
"""Stands for Grafana's ``$__rate_interval``."""
DEADLINE_S = 30.0
POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Query:
    """One target of one panel."""

    panel: str
    expression: str


def dashboard_queries() -> list[Query]:
    """Every query of the shipped dashboard, with Grafana's own variables filled in."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [
        Query(panel["title"], target["expr"].replace("$__rate_interval", RATE_INTERVAL))
        for panel in panels
        for target in panel.get("targets", [])
    ]


def metric_names(expression: str) -> set[str]:
    """The daemon's own metrics that an expression reads."""
    return set(re.findall(r"\bcharging_[a-z_]+", expression))


class Prometheus:
    """A running server; every method waits for what it asks, and fails after DEADLINE_S."""

    def __init__(self, url: str, log: Path) -> None:
        self._client = httpx.Client(base_url=url, timeout=10)
        self._log = log

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples that the expression has now: ``metric`` and ``value`` (time, text)."""
        answer = self._client.get("/api/v1/query", params={"query": expression}).json()
        assert answer["status"] == "success", f"{expression}: {answer.get('error')}"
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def query_range(self, expression: str, begin: float, end: float) -> list[dict[str, Any]]:
        """What the expression had between two moments, a value a second: ``metric`` and ``values`` (time, text)."""
        asked = {"query": expression, "start": f"{begin:.3f}", "end": f"{end:.3f}", "step": "1"}
        answer = self._client.get("/api/v1/query_range", params=asked).json()
        assert answer["status"] == "success", f"{expression}: {answer.get('error')}"
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def wait_for(self, expression: str) -> list[dict[str, Any]]:
        """The same, once there is at least one sample."""
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            if samples := self.query(expression):
                return samples
            time.sleep(POLL_S)
        raise AssertionError(f"no data within {DEADLINE_S:.0f} s: {expression}\n{self._log.read_text()[-2000:]}")

    def firing(self) -> set[str]:
        """The names of the alerts that fire now."""
        return {one["metric"]["alertname"] for one in self.query('ALERTS{alertstate="firing"}')}

    def rules(self) -> set[str]:
        """The names of the rules it has loaded and found sound."""
        groups = self._client.get("/api/v1/rules").json()["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        assert all(rule["health"] in {"ok", "unknown"} for rule in rules), rules
        return {rule["name"] for rule in rules}

    def wait_ready(self) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            try:
                if self._client.get("/-/ready").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(POLL_S)
        raise AssertionError(f"Prometheus is not ready:\n{self._log.read_text()[-2000:]}")

    def close(self) -> None:
        self._client.close()


def assert_dashboard_has_data(prometheus: Prometheus) -> Mapping[Query, list[dict[str, Any]]]:
    """Run every query of the dashboard; each must have data. Returns what each gave."""
    return {query: prometheus.wait_for(query.expression) for query in dashboard_queries()}


def _configuration(target_port: int, scrape_interval: str) -> str:
    return json.dumps(  # JSON is YAML
        {
            "global": {"scrape_interval": scrape_interval, "evaluation_interval": scrape_interval},
            "rule_files": [str(RULES)],
            "scrape_configs": [{"job_name": "charging", "static_configs": [{"targets": [f"127.0.0.1:{target_port}"]}]}],
        }
    )


@contextmanager
def prometheus_scraping(target_port: int, folder: Path, scrape_interval: str = "200ms") -> Iterator[Prometheus]:
    """A Prometheus that scrapes ``127.0.0.1:target_port/metrics`` with the shipped rules, until the block ends."""
    program = shutil.which("prometheus")
    assert program, "Debian's package prometheus is not installed (.ci/setup tools prometheus)"
    configuration, log, port = folder / "prometheus.json", folder / "prometheus.log", free_port()
    configuration.write_text(_configuration(target_port, scrape_interval))
    command = [
        program,
        f"--config.file={configuration}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    server = Prometheus(f"http://127.0.0.1:{port}", log)
    try:
        server.wait_ready()
        yield server
    finally:
        server.close()
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
