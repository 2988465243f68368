"""What an edit changes, and for whom; and what past calls would have cost."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from charging.tariff.plans import Pack, Plan
from charging.tariff.tariff import Tariff, TopUps, Vat
from charging.whatif.diff import Change, diff
from charging.whatif.diff_settings import PACK, PLAN, TARIFF
from tests.unit.tariff.tariffs import SMALL, changed, small

NOON_US = 1_793_790_000_000_000
NL = "nl: {price: 0.05, fax_page: 0.05}"


def edit(folder: Path, old: str, new: str) -> tuple[Change, ...]:
    before = small(folder, SMALL)
    return diff(before, small(folder, changed(old, new)), NOON_US)


def test_an_edit_of_comments_and_revision_changes_nothing(tmp_path: Path) -> None:
    assert edit(tmp_path, "revision: small-1", "# soon\nrevision: small-2") == ()


CENTS_5 = "0.05 per minute, increment 60"


def nl(price: str) -> str:
    return f"nl: {{price: {price}, fax_page: 0.05}}"


@pytest.mark.parametrize(
    ("price", "effect", "text"),
    [
        ("0.06", "dearer", "0.06 per minute, increment 60: 1 s = 0.06, 60 s = 0.06, 600 s = 0.60"),
        ("0.04", "cheaper", "0.04 per minute, increment 60: 1 s = 0.04, 60 s = 0.04, 600 s = 0.40"),
        ("0.04, increments: 120", "mixed", "0.04 per minute, increment 120: 1 s = 0.08, 60 s = 0.08, 600 s = 0.40"),
        ("3, per: hour", "other conditions", "3.00 per hour, increment 60: 1 s = 0.05, 60 s = 0.05, 600 s = 0.50"),
    ],
)
def test_a_changed_price_is_told_with_examples_and_the_plans_it_concerns(
    tmp_path: Path, price: str, effect: str, text: str
) -> None:
    before = f"{CENTS_5}: 1 s = 0.05, 60 s = 0.05, 600 s = 0.50"
    assert edit(tmp_path, NL, nl(price)) == (Change("prices.nl", before, text, ("light", "pro"), effect),)


def test_a_step_that_begins_late_is_told_with_calls_that_reach_it(tmp_path: Path) -> None:
    steps = "nl: {{steps: [{{from_s: 0, price: 0.05}}, {{from_s: 900, price: {}}}], fax_page: 0.05}}"
    before = small(tmp_path, changed(NL, steps.format("0.05")))
    after = small(tmp_path, changed(NL, steps.format("5")))
    assert diff(before, after, NOON_US) == (
        Change(
            "prices.nl from 900 s",
            f"{CENTS_5}: 901 s = 0.80, 960 s = 0.80, 1500 s = 1.25",
            "5.00 per minute, increment 60: 901 s = 5.75, 960 s = 5.75, 1500 s = 50.75",
            ("light", "pro"),
            "dearer",
        ),
    )


def test_a_first_increment_of_its_own_is_shown_by_a_call_that_outlasts_it(tmp_path: Path) -> None:
    assert edit(tmp_path, NL, nl("0.05, increments: 60/1")) == (
        Change(
            "prices.nl",
            f"{CENTS_5}: 1 s = 0.05, 60 s = 0.05, 61 s = 0.10, 600 s = 0.50",
            "0.05 per minute, increment 60/1: 1 s = 0.05, 60 s = 0.05, 61 s = 0.050834, 600 s = 0.50",
            ("light", "pro"),
            "cheaper",
        ),
    )


NOON_TO_NIGHT_S = 11 * 3600


@pytest.mark.parametrize("later_s", [0, NOON_TO_NIGHT_S])
@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("0.05, bands: {night: {price: 0.01}}", "0.05, bands: {night: {price: 0.02}}",
         Change("prices.nl.bands.night", "0.01 per minute, increment 60: 1 s = 0.01, 60 s = 0.01, 600 s = 0.10",
                "0.02 per minute, increment 60: 1 s = 0.02, 60 s = 0.02, 600 s = 0.20", ("light", "pro"), "dearer")),
        ("0.05, bands: {night: {price: 0.01}}", "0.06, bands: {night: {price: 0.01}}",
         Change("prices.nl", "0.05 per minute, increment 60: 1 s = 0.05, 60 s = 0.05, 600 s = 0.50",
                "0.06 per minute, increment 60: 1 s = 0.06, 60 s = 0.06, 600 s = 0.60", ("light", "pro"), "dearer")),
        ("0.05, bands: {day: {price: 1}, night: {price: 1}}", "0.05, bands: {night: {price: 1}, day: {price: 1}}",
         Change("prices.nl.bands", "day, night", "night, day", ("light", "pro"), "other conditions")),
    ],
)  # fmt: skip
def test_a_price_is_told_whatever_the_hour(tmp_path: Path, later_s: int, old: str, new: str, expected: Change) -> None:
    text = SMALL.replace("bands:\n", "bands:\n  day: [{days: [mon], hours: 06:00-23:00}]\n", 1)
    before, after = (small(tmp_path, text.replace(NL, nl(price))) for price in (old, new))
    assert diff(before, after, NOON_US + later_s * 1_000_000) == (expected,)


def test_a_band_that_comes_is_told_with_its_hours_and_against_the_price_that_held_before(tmp_path: Path) -> None:
    hours, price = edit(tmp_path, NL, nl("0.05, bands: {night: {price: 0.01}}"))
    assert hours == Change("bands.night", "", "mon tue wed thu fri sat sun 22:00-06:00")
    assert (price.subject, price.old, price.effect) == ("prices.nl.bands.night", "", "cheaper")


def test_a_band_that_is_left_without_a_price_is_told_as_such_and_not_as_gone(tmp_path: Path) -> None:
    banded = small(tmp_path, changed(NL, nl("0.05, bands: {night: {price: 0.01}}")))
    changes = diff(banded, small(tmp_path, SMALL), NOON_US)
    hours = next(one for one in changes if one.subject == "bands.night")
    assert (hours.old, hours.new) == ("mon tue wed thu fri sat sun 22:00-06:00", "no longer used by any price")


def test_a_bands_hours_are_told(tmp_path: Path) -> None:
    banded = changed(NL, nl("0.05, bands: {night: {price: 0.01}}"))
    moved = banded.replace("hours: 22:00-06:00", "hours: 23:30-24:00")
    days = "mon tue wed thu fri sat sun"
    assert diff(small(tmp_path, banded), small(tmp_path, moved), NOON_US) == (
        Change("bands.night", f"{days} 22:00-06:00", f"{days} 23:30-24:00"),
    )


@pytest.mark.parametrize(
    ("fee", "expected"),
    [
        ("connect_fee: 0.06", ("connect_fee", "0.00", "0.06", "dearer")),
        ("minimum: 0.06", ("minimum", "0.00", "0.06", "dearer")),
        ("maximum: 6", ("maximum", "none", "6.00", "cheaper")),
    ],
)
def test_fees_are_told_by_themselves(tmp_path: Path, fee: str, expected: tuple[str, str, str, str]) -> None:
    key, old, new, effect = expected
    assert edit(tmp_path, NL, nl(f"0.05, {fee}")) == (Change(f"prices.nl.{key}", old, new, ("light", "pro"), effect),)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("      help: {price: 0.01}\n", "",
         [Change("prices.help", "0.01 per minute, increment 60: 1 s = 0.01, 60 s = 0.01, 600 s = 0.10", "not_covered",
                 ("light", "pro"))]),
        ("      help: {price: 0.01}\n", "      help: {price: 0.01}\n      unpriced: {price: 0, connect_fee: 0.02}\n",
         [Change("prices.unpriced", "not_covered",
                 "0.00 per minute, increment 60: 1 s = 0.02, 60 s = 0.02, 600 s = 0.02", ("light", "pro")),
          Change("prices.unpriced.connect_fee", "not_covered", "0.02", ("light", "pro"))]),
        ('"+31906", "+3166"]', '"+31906", "+3166", "+31909"]',
         [Change("numbers +31909", "nl", "premium, premium")]),
        ("minutes: 10", "minutes: 20", [Change("plans.pro.free_minutes.minutes", "10", "20", ("pro",))]),
        ("region: NL", "region: BE", [Change("region", "NL", "BE")]),
        ("fax_page: 0.05}", "fax_page: 0.06}", [Change("fax.nl", "0.05", "0.06", ("light", "pro"), "dearer")]),
        ("percent: 21, included", "percent: 9, included",
         [Change("vat.percent", "21", "9", (), "also in statements of the past")]),
        ("percent: 21,", "percent: 21, changes: [{valid_from: 2999-01-01, percent: 9}],",
         [Change("vat.changes", "none", "9 from 2999-01-01")]),
        ("    fax_page: 0.08", "    fax_page: 0.07",
         [Change("fax.help", "0.08", "0.07", ("light", "pro"), "cheaper"),
          Change("fax.nl_mobile", "0.08", "0.07", ("light", "pro"), "cheaper")]),
    ],
)  # fmt: skip
def test_other_changes_are_told(tmp_path: Path, old: str, new: str, expected: list[Change]) -> None:
    assert list(edit(tmp_path, old, new)) == expected


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("{percent: 21, included: yes}", "{percent: 9.5, included: yes}",
         [Change("vat.percent", "21", "9.5", (), "also in statements of the past")]),
        ("{percent: 21, included: yes}", "{percent: 21, included: no}",
         [Change("vat.included", "yes", "no", effect="dearer")]),
        ("region: NL", "region: NL\ntop_up: {minimum: 5, amounts: [20.00, 100.00]}",
         [Change("top_up.minimum", "10.00", "5.00"), Change("top_up.amounts", "any", "20.00, 100.00")]),
        ("region: NL", "region: NL\nholidays: [2026-12-26, 2026-12-25]",
         [Change("holidays", "none", "2026-12-25, 2026-12-26")]),
        ("region: NL", "region: NL\nexpiry: {notices_days: [7]}",
         [Change("expiry.notices_days", "60, 30, 7, 1", "7")]),
        ("region: NL", "region: NL\nrounding: {rule: half_up, decimals: 4}",
         [Change("rounding.rule", "up", "half_up"), Change("rounding.decimals", "6", "4")]),
    ],
)  # fmt: skip
def test_settings_are_told_in_the_keys_and_units_of_the_file(
    tmp_path: Path, old: str, new: str, expected: list[Change]
) -> None:
    found = [one for one in edit(tmp_path, old, new) if not one.subject.startswith("fax.")]
    assert found == expected


PRO = "    free_minutes: {minutes: 10, destinations: [nl], increment: 30}\n    voicemail: {paid: no}\n"


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (PRO.replace("{paid: no}", "{paid: yes, price: 0.15}"),
         [("voicemail.paid", "no", "yes"), ("voicemail.price", "0.00", "0.15")]),
        (PRO + "    credit_a_day: 50.00\n", [("credit_a_day", "no limit", "50.00")]),
        (PRO + "    low_credit: 2.50\n", [("low_credit", "0.00", "2.50")]),
        (PRO + "    low_free_minutes: 3\n", [("low_free_minutes", "0", "3")]),
        (PRO + "    calls_at_once: 4\n", [("calls_at_once", "2", "4")]),
        (PRO + "    max_call_s: 60\n", [("max_call_s", "14400", "60")]),
        (PRO.replace("[nl]", "[nl_mobile, nl]"), [("free_minutes.destinations", "nl", "nl, nl_mobile")]),
        (PRO.replace(", destinations: [nl], increment: 30", ""),
         [("free_minutes.destinations", "nl", "all"), ("free_minutes.increment", "30", "as the rate")]),
    ],
)  # fmt: skip
def test_a_plan_is_told_in_the_keys_and_units_of_the_file(
    tmp_path: Path, new: str, expected: list[tuple[str, str, str]]
) -> None:
    assert list(edit(tmp_path, PRO, new)) == [
        Change(f"plans.pro.{key}", before, after, ("pro",)) for key, before, after in expected
    ]


def test_no_setting_is_forgotten() -> None:
    told = {one.field.split(".")[0] for one in TARIFF}
    elsewhere = {"revision", "digest", "plans", "packs", "destinations", "tables", "warnings", "refused", "waiting"}
    assert told == {one.name for one in fields(Tariff) if one.init} - elsewhere
    inner = {f"{whole}.{one.name}" for whole, kind in (("top_ups", TopUps), ("vat", Vat)) for one in fields(kind)}
    assert {one.field for one in TARIFF if "." in one.field} == inner
    amounts = {"seconds", "fax_pages", "messages"}  # of which a pack has one, by its sort
    assert {one.field for one in PACK} - amounts == {one.name for one in fields(Pack)} - {"name", "amount", "sort"}
    assert {one.field for one in PLAN} == {one.name for one in fields(Plan)} - {"name"}


PACKED = SMALL + "packs:\n  belgium: {minutes: 30, days: 30, destinations: [nl], increment: 1, order: 40}\n"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("minutes: 30", "minutes: 31", Change("packs.belgium.minutes", "30", "31")),
        ("days: 30", "days: 31", Change("packs.belgium.days", "30", "31")),
        (", destinations: [nl], increment: 1", ", increment: 1", Change("packs.belgium.destinations", "nl", "all")),
        (", increment: 1", "", Change("packs.belgium.increment", "1", "as the rate")),
        (", order: 40", "", Change("packs.belgium.order", "40", "50")),
        ("minutes: 30", "title: Belgium, minutes: 30", Change("packs.belgium.title", "belgium", "Belgium")),
    ],
)
def test_what_changes_of_a_pack_is_told(tmp_path: Path, old: str, new: str, told: Change) -> None:
    before = small(tmp_path, PACKED)
    assert diff(before, small(tmp_path, PACKED.replace(old, new)), NOON_US) == (told,)


def test_that_a_pack_is_gone_is_told_with_what_becomes_of_it(tmp_path: Path) -> None:
    before, after = small(tmp_path, PACKED), small(tmp_path, SMALL)
    (gone,) = diff(before, after, NOON_US)
    assert (gone.subject, gone.effect) == ("packs.belgium", "what was given keeps its rules")
    assert diff(after, before, NOON_US) == (Change("packs.belgium", "", "there"),)


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
    deck.write_text("prefix,price,increments\n32,1.0,1\n33,1.0,1\n34,1.0,1\n35,1.0,1\n36,1.0,1\n", encoding="utf-8")
    before = small(tmp_path, text)
    deck.write_text(
        "prefix,price,increments\n33,2.0,1\n34,0.0,1\n35,1.0,60\n36,1.0,1\n37,1.0,1\n38,1.0,1\n", encoding="utf-8"
    )
    found = diff(before, small(tmp_path, text), NOON_US)
    assert [(one.new, one.effect) for one in found] == [
        ("2 prefixes added", ""),
        ("1 prefixes removed", ""),
        ("1 prefixes dearer", "dearer"),
        ("1 prefixes cheaper", "cheaper"),
        ("1 prefixes otherwise changed", ""),
        ("2 prefixes at least twice as dear, or at most half as dear, such as +33 from 1.00 to 2.00", "mixed"),
    ]


def test_a_maximum_that_begins_to_end_calls_is_told(tmp_path: Path) -> None:
    free = small(tmp_path, changed(NL, nl("0.05, maximum: 6")))
    ends = small(tmp_path, changed(NL, nl("0.05, maximum: 6, at_maximum: end")))
    told = Change("prices.nl.at_maximum", "the rest is free", "the call ends", ("light", "pro"), "other conditions")
    assert diff(free, ends, NOON_US) == (told,)


def test_when_the_connect_fee_falls_due_is_told(tmp_path: Path) -> None:
    table = "  standard:\n"
    changes = edit(tmp_path, table, f"{table}    connect_fee_due: with_call\n")
    assert {(one.subject.rpartition(".")[2], one.new) for one in changes} == {
        ("connect_fee_due", "with any call, also inside free minutes")
    }


def test_a_bands_own_connect_fee_is_told(tmp_path: Path) -> None:
    before = small(tmp_path, changed(NL, nl("0.05, connect_fee: 0.05, bands: {night: {price: 0.01}}")))
    after = small(tmp_path, changed(NL, nl("0.05, connect_fee: 0.05, bands: {night: {price: 0.01, connect_fee: 0}}")))
    told = Change("prices.nl.bands.night.connect_fee", "0.05", "0.00", ("light", "pro"), "cheaper")
    assert diff(before, after, NOON_US) == (told,)
