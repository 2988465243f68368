"""What a rehearsal costs and where it would go: some seconds at a price of its own, to a number that is nobody's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import phonenumbers
import pytest

from charging.cli.check_call import TALK_S, Scene, decision_of, find_scene
from charging.cli.check_files import Wanted
from charging.cli.client import Client
from charging.ledger.accounts import REHEARSAL
from charging.pricing.funding import Pools, plan
from charging.pricing.rate import Rate, bundle_of
from charging.tariff.file import load_tariff
from charging.tariff.tariff import Tariff
from charging.whatif.quote import find_rate

AT_US = 1_764_331_200_000_000
SHIPPED = Path(__file__).parents[3] / "config" / "tariff.yaml"

TARIFF = """\
revision: test
zone: Europe/Amsterdam
region: NL
vat: {{percent: 21, included: yes}}
rounding: {{rule: half_up, decimals: 6}}
top_up: {{minimum: 10, amounts: []}}
destinations:
  nl_mobile: {{prefixes: ["+316"]}}
  premium: {{prefixes: ["+31900", "+3166"], refuse: premium}}
rates:
  standard:
    destinations:
      nl_mobile: {{price: {price}, increments: {increments}}}
plans:
  pro:
    title: Pro
    rates: standard
    paid_subscription: yes
    voicemail: {{paid: no}}
    {free}
"""


def tariff(folder: Path, *, price: str = "0.06", increments: str = "1/1", free: str = "calls_at_once: 2") -> Tariff:
    file = folder / "tariff.yaml"
    file.write_text(TARIFF.format(price=price, increments=increments, free=free))
    return load_tariff(file)


MONEY = TALK_S * 10_000


@pytest.mark.parametrize(
    "prices",
    [
        {"increments": "1/1"},
        {"increments": "60/60"},
        {"price": "0"},
        {"free": "free_minutes: {minutes: 10}"},
    ],
)
def test_it_lasts_some_seconds_of_its_own_price_whatever_calls_cost(tmp_path: Path, prices: dict[str, str]) -> None:
    found = tariff(tmp_path, **prices)
    assert find_scene(found, None, AT_US) == Scene("pro", "+31600000", TALK_S, MONEY)
    rate = find_rate(found, "pro", "+31600000", AT_US)
    assert isinstance(rate, Rate)
    paid = plan(rate.rehearsed(), AT_US, (), Pools(MONEY, {bundle_of("2025-11"): 600}), 60)
    assert (paid.covered_s, paid.credit, paid.short) == (TALK_S, MONEY, True)


def test_a_target_of_the_operators_is_written_as_the_books_have_it(tmp_path: Path) -> None:
    scene = find_scene(tariff(tmp_path), "0612345678", AT_US)
    assert scene is not None
    assert scene.target == "+31612345678"


def test_a_target_that_the_tariff_does_not_cover_is_none(tmp_path: Path) -> None:
    assert find_scene(tariff(tmp_path), "+4915112345678", AT_US) is None
    assert find_scene(tariff(tmp_path), "+31900123456", AT_US) is None


def test_the_plan_with_the_most_credit_a_day_is_taken(tmp_path: Path) -> None:
    few = tariff(
        tmp_path,
        free="credit_a_day: 0.05\n  other: {title: Other, rates: standard, "
        "paid_subscription: yes, voicemail: {paid: no}}",
    )
    scene = find_scene(few, None, AT_US)
    assert scene is not None
    assert scene.plan == "other"


def test_a_tariff_that_rounds_to_whole_euros_has_a_price_that_it_can_charge(tmp_path: Path) -> None:
    rate = find_rate(tariff(tmp_path), "pro", "+31600000", AT_US)
    assert isinstance(rate, Rate)
    assert replace(rate, decimals=0, vat_added=2100).rehearsed().steps[0].price == 1_000_000


def test_the_shipped_tariff_has_a_scene_and_its_target_is_nobodys() -> None:
    scene = find_scene(load_tariff(SHIPPED), None, AT_US)
    assert scene is not None
    assert not phonenumbers.is_valid_number(phonenumbers.parse(scene.target))


class Kept:
    """A daemon that has kept these decisions."""

    def __init__(self, *decisions: dict[str, Any]) -> None:
        self.decisions = decisions

    def items(self, path: str, _query: Mapping[str, str]) -> Iterable[dict[str, Any]]:
        assert path == "/decisions"
        return self.decisions

    def pause(self, _seconds: float) -> None:
        """No time passes."""


def decision(at: str, *, account: str | None = None, caller: str = "", turn: str = "incoming") -> dict[str, Any]:
    return {"at": at, "account": account, "caller": caller, "turn": turn}


STRANGER = decision("2026-11-28T14:00:05", caller="+3161234xxxx")
OWN = decision("2026-11-28T14:00:01", account=REHEARSAL, caller="+3160xxxx")
UNDECIDED = decision("2026-11-28T14:00:02", caller="+3160xxxx")


def found(*kept: dict[str, Any]) -> tuple[dict[str, Any] | None, int]:
    scene = Scene("pro", "+31600000", TALK_S, 1)
    client = cast(Client, Kept(*kept))
    return decision_of(client, Wanted("+31850000055", "trunk"), scene, "2026-11-28T14:00:00", 1.0)


def test_a_strangers_decision_is_not_taken_for_its_own_however_late_it_is() -> None:
    assert found(OWN, STRANGER) == (OWN, 1)
    assert found(STRANGER) == (None, 1)
    assert found(STRANGER | {"account": "anna"}) == (None, 1)


def test_one_that_was_not_decided_is_known_by_its_caller_and_gives_way_to_one_that_was() -> None:
    assert found(STRANGER, UNDECIDED) == (UNDECIDED, 1)
    assert found(OWN, UNDECIDED) == (OWN, 0)
    assert found(OWN | {"turn": "unanswered"}) == (None, 0)
