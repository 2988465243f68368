"""What a rehearsal's call costs and where it would go: the shortest that credit pays, to a number that is nobody's."""

from __future__ import annotations

from pathlib import Path

import phonenumbers

from charging.cli.check_call import TALK_S, Scene, find_scene
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
