"""What is odd in the tariff in force is told: in the log, by a metric, and to whoever asks for the tariff."""

from __future__ import annotations

from pathlib import Path

from structlog.testing import capture_logs

from charging.metrics import Metrics
from charging.tariff.accepted import Accepted
from charging.tariff.in_force import TariffInForce
from charging.web.tariff_models import TariffOut
from tests.fakes.clock import FakeClock
from tests.unit.tariff.tariffs import SMALL, write

WITH_DECK = (
    SMALL.replace("60/1}", "60/1, fax_page: 0.12}")
    .replace("standard:\n    fax", "standard:\n    decks: [deck.csv]\n    fax")
    .replace('  unpriced: {prefixes: ["+3110"]}\n', "")
)


def test_warnings_of_a_deck_reach_log_metric_and_interface(tmp_path: Path) -> None:
    (tmp_path / "deck.csv").write_text("prefix;name;price\n81;Japan;0\n8190;Japan mobile;0.19\n", encoding="utf-8")
    metrics = Metrics()
    with capture_logs() as logs:
        in_force = TariffInForce(write(tmp_path, WITH_DECK), metrics, FakeClock(), Accepted(tmp_path / "kept"))
    [told] = [one for one in logs if one["event"] == "tariff_warning"]
    assert told["log_level"] == "warning"
    assert "1 prefixes that cost nothing, such as +81" in told["problem"]
    assert metrics.registry.get_sample_value("charging_tariff_warnings") == 1
    shown = TariffOut.of(in_force.current(), 0)
    assert shown.warnings == [told["problem"]]
    [deck] = shown.decks
    assert (deck.file, deck.rows, deck.prefixes) == ("deck.csv", 2, 2)
    assert (deck.cheapest, deck.dearest) == ("+81 Japan 0.00", "+8190 Japan mobile 0.19")


def test_a_tariff_in_which_nothing_is_odd_warns_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "deck.csv").write_text("prefix;name;price\n81;Japan;0.09\n", encoding="utf-8")
    metrics = Metrics()
    with capture_logs() as logs:
        in_force = TariffInForce(write(tmp_path, WITH_DECK), metrics, FakeClock(), Accepted(tmp_path / "kept"))
    assert [one for one in logs if one["event"] == "tariff_warning"] == []
    assert metrics.registry.get_sample_value("charging_tariff_warnings") == 0
    assert TariffOut.of(in_force.current(), 0).warnings == []
