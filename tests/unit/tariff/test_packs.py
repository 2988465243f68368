"""Packs of minutes in a tariff file."""

from __future__ import annotations

from pathlib import Path

import pytest

from charging.errors import ConfigError
from charging.pricing.packs import MINUTES_MAX, PackRules
from charging.pricing.rate import Rate
from charging.service.money import minutes_refusal
from charging.tariff.file import load_tariff
from charging.tariff.plans import Pack
from tests.unit.tariff.tariffs import SMALL, small, write

PACKED = (
    SMALL
    + """packs:
  addon:
    title: 60 minutes
    minutes: 60
    days: 30
  fixed: {minutes: 30, days: 1, destinations: [nl], increment: 1, order: 40}
"""
)


def test_a_pack_is_read_with_its_defaults(tmp_path: Path) -> None:
    packs = small(tmp_path, PACKED).packs
    assert packs["addon"] == Pack("addon", "60 minutes", 3600, 30, None, None, 50)
    assert packs["fixed"] == Pack("fixed", "fixed", 1800, 1, frozenset({"nl"}), 1, 40)


def test_a_pack_has_as_many_minutes_as_one_act_may_give(tmp_path: Path) -> None:
    packs = small(tmp_path, PACKED.replace("minutes: 60", f"minutes: {MINUTES_MAX}")).packs
    assert minutes_refusal(packs["addon"].seconds // 60) is None


def test_a_rate_carries_the_packs_that_pay_for_its_destination_in_every_plan(tmp_path: Path) -> None:
    tariff = small(tmp_path, PACKED)
    general = {"addon": PackRules(50, True, None)}
    for plan in ("light", "pro"):
        fixed, mobile = (tariff.rate_for(plan, number, 0) for number in ("+31201234567", "+31612345678"))
        assert isinstance(fixed, Rate)
        assert isinstance(mobile, Rate)
        assert mobile.packs == general
        assert fixed.packs == general | {"fixed": PackRules(40, False, 1)}


@pytest.mark.parametrize(
    ("old", "new", "path", "expected"),
    [
        ("[nl], increment: 1", "[nowhere], increment: 1", "packs.fixed.destinations[0]", "a destination of this file"),
        ("minutes: 60", "minutes: 0", "packs.addon.minutes", "minutes"),
        ("minutes: 60", f"minutes: {MINUTES_MAX + 1}", "packs.addon.minutes", "to 100000"),
        ("days: 1,", "days: 0,", "packs.fixed.days", "days"),
        ("order: 40", "order: 100", "packs.fixed.order", "order"),
        ("addon:", "Add-on:", "packs.Add-on", "small letters"),
    ],
)
def test_what_a_pack_cannot_say(tmp_path: Path, old: str, new: str, path: str, expected: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_tariff(write(tmp_path, PACKED.replace(old, new)))
    (problem,) = refused.value.problems
    assert problem.path == path
    assert expected in problem.expected
