"""The shipped rules and dashboard, by Prometheus itself, over the metrics that the code has."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator

import pytest
from prometheus_client import start_http_server

from charging.metrics import AGI_ROUTES, Metrics
from tests.integration.prometheus_server import (
    DASHBOARD,
    RULES,
    Prometheus,
    assert_dashboard_has_data,
    dashboard_queries,
    metric_names,
    prometheus_scraping,
)

CONFIG = RULES.parent


def promtool(*arguments: str) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, cwd=CONFIG)
    assert done.returncode == 0, done.stdout + done.stderr


def names_of(metrics: Metrics) -> set[str]:
    return set(metrics.registry._names_to_collectors)


def rule_texts() -> list[str]:
    """The expression of every alert, one text each."""
    return re.split(r"- alert:", RULES.read_text())[1:]


def alert_names() -> set[str]:
    return set(re.findall(r"- alert: (\w+)", RULES.read_text()))


def busy_metrics() -> Metrics:
    """A daemon after one call."""
    metrics = Metrics("1.2.3")
    metrics.set_ami_state("up")
    metrics.ledger_up.set(1)
    metrics.set_tariff("7", "0123abcd")
    metrics.setups.labels("forward", "free_minutes").inc()
    metrics.ledger_operation_seconds.labels("reserve", "ok").observe(0.002)
    for route in AGI_ROUTES:
        metrics.count_agi(route, "answered", 0.01)
    metrics.charged.labels("forward").inc(125_000)
    metrics.quota_overrun.observe(0.05)
    return metrics


@pytest.fixture(scope="module")
def daemon() -> Iterator[tuple[Metrics, int]]:
    metrics = busy_metrics()
    server, thread = start_http_server(0, "127.0.0.1", metrics.registry)
    yield metrics, server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def prometheus(daemon: tuple[Metrics, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with prometheus_scraping(daemon[1], tmp_path_factory.mktemp("prometheus")) as server:
        yield server


def test_rules_are_sound() -> None:
    promtool("check", "rules", RULES.name)


def test_example_configuration_is_sound() -> None:
    promtool("check", "config", "prometheus.yml")


def test_every_alert_fires_when_it_should_and_only_then() -> None:
    promtool("test", "rules", "charging_rules_test.yml")


def test_every_alert_is_tried_both_ways() -> None:
    tried = (CONFIG / "charging_rules_test.yml").read_text()
    missing = {
        name for name in alert_names() for way in ("fires", "stays quiet") if f"- name: {name} {way}\n" not in tried
    }
    assert missing == set()


def test_every_alert_says_how_grave_it_is_and_what_to_do() -> None:
    for text in rule_texts():
        assert re.search(r"severity: (page|look)", text), text
        assert "summary:" in text, text
        assert "action:" in text, text


def test_rules_and_dashboard_read_only_metrics_that_exist() -> None:
    known = names_of(Metrics())
    expressions = [query.expression for query in dashboard_queries()]
    expressions += re.findall(r"expr: (?:>-\n)?((?:.|\n)*?)(?=\n +(?:for|labels):)", RULES.read_text())
    read = {name for expression in expressions for name in metric_names(expression)}
    assert len(read) > 15
    assert read - known == set()


def test_dashboard_shows_every_metric_that_tells_of_calls_and_money() -> None:
    shown = {name for query in dashboard_queries() for name in metric_names(query.expression)}
    families = {family.name for family in Metrics().registry.collect() if family.name.startswith("charging_")}
    unseen = {family for family in families if not any(name.startswith(family) for name in shown)}
    assert unseen == {"charging_build_info"}


def test_dashboard_is_what_grafana_imports() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert dashboard["templating"]["list"][0]["type"] == "datasource"
    for panel in panels:
        if panel["type"] != "row":
            assert panel["description"], panel["title"]
            assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]


def test_real_prometheus_answers_every_query_of_the_dashboard(prometheus: Prometheus) -> None:
    assert len(assert_dashboard_has_data(prometheus)) > 20


def test_real_prometheus_loads_every_alert(prometheus: Prometheus) -> None:
    assert prometheus.rules() == alert_names()


def test_counted_money_arrives_in_prometheus(prometheus: Prometheus) -> None:
    (sample,) = prometheus.wait_for('charging_charged_micro_euro_total{service="forward"}')
    assert sample["value"][1] == "125000"


def test_alert_for_a_refused_tariff_fires_in_real_prometheus(
    daemon: tuple[Metrics, int], prometheus: Prometheus
) -> None:
    prometheus.wait_for("charging_tariff_bad == 0")
    assert "ChargingTariffBad" not in prometheus.firing()
    daemon[0].tariff_bad.set(1)
    prometheus.wait_for('ALERTS{alertname="ChargingTariffBad", alertstate="firing"}')
