"""What the benchmarks print and keep of what they measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.benchmarks.figures import Table, median_ratio, percentile
from tests.benchmarks.ledger_load import at_least, at_most


@pytest.mark.parametrize(("percent", "value"), [(0, 1), (50, 51), (99, 100), (100, 100)])
def test_a_percentile_is_one_of_the_values(percent: int, value: int) -> None:
    assert percentile(range(100, 0, -1), percent) == value


def test_of_nothing_a_percentile_is_nothing() -> None:
    assert percentile([], 99) == 0


def test_a_ratio_is_the_median_of_neighbours_in_time() -> None:
    assert median_ratio([1, 10, 30], [2, 10, 10]) == 1


def test_a_figure_is_judged_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = Table()
    table.add("sqlite", "lag", 250, "ms", *at_most(250), ticks=7)
    table.add("sqlite", "ratio", 0.5, "", *at_least(0.6))
    assert [row["verdict"] for row in table.rows] == ["reached", "MISSED"]
    assert "at most 250: reached" in capsys.readouterr().out
    table.write(tmp_path / "new" / "figures.json")
    kept = json.loads((tmp_path / "new" / "figures.json").read_text())
    assert kept["rows"][0]["ticks"] == 7
    assert table.failed() == 0, "slow is no fault"


def test_lost_money_is_a_failure_however_fast(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table()
    table.fault("redis", "mixed", [f"call {number}" for number in range(11)])
    assert table.failed() == 1
    assert "and 1 more" in capsys.readouterr().out
