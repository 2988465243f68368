"""What a rehearsal's call costs and where it would go: the shortest that credit pays, to a number that is nobody's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import phonenumbers

from charging.cli.check_call import TALK_S, Scene, decision_of, find_scene
from charging.cli.check_files import Wanted
from charging.cli.client import Client
from charging.ledger.accounts import REHEARSAL
from charging.tariff.file import load_tariff
from charging.tariff.tariff import Tariff

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
  premium: {{prefixes: ["+31900"], refuse: premium}}
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


def test_by_the_second_it_lasts_as_long_as_it_must(tmp_path: Path) -> None:
    assert find_scene(tariff(tmp_path), None, AT_US) == Scene("pro", "+31600000", TALK_S, TALK_S * 1_000)


def test_by_the_minute_it_lasts_a_minute(tmp_path: Path) -> None:
    assert find_scene(tariff(tmp_path, increments="60/60"), None, AT_US) == Scene("pro", "+31600000", 60, 60_000)


def test_a_target_of_the_operators_is_priced_as_it_is(tmp_path: Path) -> None:
    scene = find_scene(tariff(tmp_path), "0612345678", AT_US)
    assert scene is not None
    assert scene.target == "+31612345678"


def test_calls_that_cost_nothing_or_free_minutes_first_cannot_show_the_end_of_money(tmp_path: Path) -> None:
    assert find_scene(tariff(tmp_path, price="0"), None, AT_US) is None
    assert find_scene(tariff(tmp_path, free="free_minutes: {minutes: 10}"), None, AT_US) is None


def test_the_shipped_tariff_has_a_scene_and_its_target_is_nobodys() -> None:
    scene = find_scene(load_tariff(SHIPPED), None, AT_US)
    assert scene is not None
    assert not phonenumbers.is_valid_number(phonenumbers.parse(scene.target))
    assert scene.seconds == 60, "its plans without free minutes charge by the minute"


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
