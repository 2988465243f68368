"""What an edit changes, and for whom; and what past calls would have cost."""

from __future__ import annotations

from pathlib import Path

import pytest

from charging.rating.diff import Change, diff
from tests.unit.rating.tariffs import SMALL, changed, small

NOON_US = 1_793_790_000_000_000
NL = "nl: {price: 0.05, fax_page: 0.05}"


def edit(folder: Path, old: str, new: str) -> tuple[Change, ...]:
    before = small(folder, SMALL)
    return diff(before, small(folder, changed(old, new)), NOON_US)


def test_an_edit_of_comments_and_revision_changes_nothing(tmp_path: Path) -> None:
    assert edit(tmp_path, "revision: small-1", "# soon\nrevision: small-2") == ()


@pytest.mark.parametrize(
    ("price", "effect", "text"),
    [
        ("0.06", "dearer", "60 s = 0.06, 600 s = 0.60"),
        ("0.04", "cheaper", "60 s = 0.04, 600 s = 0.40"),
        ("0.01, connect_fee: 0.06", "mixed", "60 s = 0.07, 600 s = 0.16"),
        ("0.05, increments: 60/1", "other conditions", "60 s = 0.05, 600 s = 0.50"),
    ],
)
def test_a_changed_price_is_told_with_examples_and_the_plans_it_concerns(
    tmp_path: Path, price: str, effect: str, text: str
) -> None:
    found = edit(tmp_path, NL, f"nl: {{price: {price}, fax_page: 0.05}}")
    assert found == (Change("prices.nl", "60 s = 0.05, 600 s = 0.50", text, ("light", "pro"), effect),)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("      help: {price: 0.01}\n", "",
         [Change("prices.help", "60 s = 0.01, 600 s = 0.10", "not_covered", ("light", "pro"))]),
        ('premium: {prefixes: ["+31900"]', 'premium: {prefixes: ["+31900", "+31906"]',
         [Change("numbers +31906", "nl", "premium, premium")]),
        ("minutes: 10", "minutes: 20", [Change("plans.pro.free_seconds", "600", "1200", ("pro",))]),
        ("region: NL", "region: BE", [Change("region", "NL", "BE")]),
        ("fax_page: 0.05}", "fax_page: 0.06}", [Change("fax.nl", "0.05", "0.06", ("light", "pro"), "dearer")]),
        ("    fax_page: 0.08", "    fax_page: 0.07",
         [Change("fax.help", "0.08", "0.07", ("light", "pro"), "cheaper"),
          Change("fax.nl_mobile", "0.08", "0.07", ("light", "pro"), "cheaper")]),
    ],
)  # fmt: skip
def test_other_changes_are_told(tmp_path: Path, old: str, new: str, expected: list[Change]) -> None:
    assert list(edit(tmp_path, old, new)) == expected


def test_a_plan_that_comes_or_goes_is_told(tmp_path: Path) -> None:
    before = small(tmp_path, SMALL)
    after = small(tmp_path, SMALL.replace("  light:\n", "  lite:\n"))
    assert diff(before, after, NOON_US) == (
        Change("plans.light", "there", "", ("light",)),
        Change("plans.lite", "", "there", ("lite",)),
    )
    assert str(diff(before, after, NOON_US)[0]) == "plans.light: there → (nothing) [light]"


def test_changed_decks_are_counted(tmp_path: Path) -> None:
    text = SMALL.replace("standard:\n    fax", "standard:\n    decks: [deck.csv]\n    fax")
    deck = tmp_path / "deck.csv"
    deck.write_text("prefix,price,increments\n32,1,1\n33,1,1\n34,1,1\n35,1,1\n36,1,1\n", encoding="utf-8")
    before = small(tmp_path, text)
    deck.write_text("prefix,price,increments\n33,2,1\n34,0,1\n35,1,60\n36,1,1\n37,1,1\n38,1,1\n", encoding="utf-8")
    found = diff(before, small(tmp_path, text), NOON_US)
    assert [(one.new, one.effect) for one in found] == [
        ("2 prefixes added", ""),
        ("1 prefixes removed", ""),
        ("1 prefixes dearer", "dearer"),
        ("1 prefixes cheaper", "cheaper"),
        ("1 prefixes otherwise changed", ""),
    ]
