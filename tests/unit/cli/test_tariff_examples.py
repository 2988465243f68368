"""The worked examples of ``config/tariff-examples.md``, as people try them: by the command."""

from __future__ import annotations

import json
from typing import Any

import pytest

from charging.cli import main
from charging.pricing.money import parse_euro
from tests.unit.tariff.tariffs import COSTS, LIMITS, SHIPPED


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main(["tariff", *arguments, "--file", str(SHIPPED), "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("row", LIMITS, ids=lambda row: " ".join(row[:4]))
def test_the_command_tells_the_limit_of_a_worked_example(capsys: pytest.CaptureFixture[str], row: list[str]) -> None:
    plan, number, begins, amount, left, lasts, cost, _ = row
    call = ("--plan", plan, "--at", begins, "--free-seconds", left)
    found = asked(capsys, "limit", number, amount, *call)
    assert (found["seconds"], parse_euro(found["total"])) == (int(lasts), parse_euro(cost))


@pytest.mark.parametrize("row", COSTS, ids=lambda row: " ".join(row[:4]))
def test_the_command_tells_the_cost_of_a_worked_example(capsys: pytest.CaptureFixture[str], row: list[str]) -> None:
    plan, number, begins, seconds, left, used, cost, _ = row
    call = ("--plan", plan, "--at", begins, "--free-seconds", left)
    found = asked(capsys, "quote", number, "--seconds", seconds, *call)
    assert (found["free_s"], parse_euro(found["total"])) == (int(used), parse_euro(cost))
