"""A tariff file: an exact result or an exact error, all of them at once."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import pytest

from charging.errors import ConfigError, Problem
from charging.pricing.calendar import Window
from charging.pricing.funding import Pools
from charging.pricing.money import AMOUNT_MAX, format_euro, parse_euro
from charging.pricing.rate import Rate, Step, cost_of_seconds
from charging.tariff.file import load_tariff
from charging.tariff.tariff import Price
from tests.unit.pricing.strategies import affordable_seconds
from tests.unit.tariff.tariffs import SHIPPED, SMALL, changed, small, write

EVERY_DAY = frozenset(range(7))
NL = "nl: {price: 0.05, fax_page: 0.05}"


def problems(folder: Path, text: str) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as refused:
        load_tariff(write(folder, text))
    return refused.value.problems


def price(folder: Path, rate: str) -> Price:
    return small(folder, changed(NL, f"nl: {rate}")).tables["standard"].prices["nl"]


# (old text, new text, line, path, found, expected (a part), hint (a part))
TRAPS = [
    ('["+31"]', "[0044]", 10, "destinations.nl.prefixes[0]", "'0044'", "such as +316", ""),
    ('["+31"]', "[+31_6]", 10, "destinations.nl.prefixes[0]", "'+31_6'", "such as +316", ""),
    ("region: NL", "region: no", 3, "region", "'no'", "two capital letters", ""),
    ("region: NL", "region: XX", 3, "region", "'XX'", "two capital letters", ""),
    ("22:00-06:00", "22:00", 8, "bands.night[0].hours", "'22:00'", "hours such as", ""),
    ("22:00-06:00", "24:00-06:00", 8, "bands.night[0].hours", "'24:00-06:00'", "hours such as", ""),
    ("22:00-06:00", "08:00-24:01", 8, "bands.night[0].hours", "'08:00-24:01'", "hours such as", ""),
    ("22:00-06:00", "08:00-08:00", 8, "bands.night[0].hours", "'08:00-08:00'", "the whole day", ""),
    ("price: 0.12", "price: 1_000", 22, "rates.standard.destinations.nl_mobile.price", "'1_000'", "euros", "thousands"),
    ("price: 0.12", 'price: "€0.12"', 22, "rates.standard.destinations.nl_mobile.price", "'€0.12'", "euros", "alone"),
    ("price: 0.12", "price: -0.12", 22, "rates.standard.destinations.nl_mobile.price", "'-0.12'", "euros", ""),
    ("price: 0.12", "price: 10000.01", 22, "rates.standard.destinations.nl_mobile.price", "'10000.01'", "at most", ""),
    ("price: 0.12", "price: [0.12]", 22, "rates.standard.destinations.nl_mobile.price", "a list", "euros", ""),
    (
        "price: 0.12",
        "price:",
        22,
        "rates.standard.destinations.nl_mobile",
        "neither price nor steps",
        "either price or steps",
        "",
    ),
    ("60/1", "60/0", 22, "rates.standard.destinations.nl_mobile.increments", "'60/0'", "60/1", ""),
    ("60/1", "60/1/1", 22, "rates.standard.destinations.nl_mobile.increments", "'60/1/1'", "60/1", ""),
    ("60/1", "3601", 22, "rates.standard.destinations.nl_mobile.increments", "'3601'", "3600", ""),
    ("percent: 21,", "percent: 100.01,", 4, "vat.percent", "'100.01'", "0 to 100", ""),
    ("zone: Europe/Amsterdam", "zone: Europe/Amsterdm", 2, "zone", "'Europe/Amsterdm'", "a time zone", ""),
    ("zone: Europe/Amsterdam", "zone: ../../etc/passwd", 2, "zone", "'../../etc/passwd'", "a time zone", ""),
    (
        "increments: 60/1",
        "incremnts: 60/1",
        22,
        "rates.standard.destinations.nl_mobile.incremnts",
        "the unknown key",
        "",
        "did you mean 'increments'?",
    ),
    ("revision: small-1", "revision: small-1\nregion: BE", 4, "region", "the key a second time", "each key once", ""),
    ("minutes: 10", "minutes: 0x10", 32, "plans.pro.free_minutes.minutes", "'0x10'", "whole number", ""),
    (
        "destinations: [nl]",
        "destinations: [nl_mobil]",
        32,
        "plans.pro.free_minutes.destinations[0]",
        "'nl_mobil'",
        "nl, nl_mobile",
        "did you mean 'nl_mobile'?",
    ),
    (
        '["+316"]',
        '["+31"]',
        11,
        "destinations.nl_mobile.prefixes[0]",
        "+31, which nl has already",
        "one destination",
        "",
    ),
    ('prefixes: ["+3110"]', "title: x", 16, "destinations.unpriced", "no numbers", "prefixes or short_codes", ""),
    (
        "help: {price",
        "premium: {price",
        23,
        "rates.standard.destinations.premium",
        "a price for premium, which is refused",
        "",
        "",
    ),
    (
        "vat: {percent: 21, included: yes}",
        "vat: {percent: 21}\nrounding: {rule: hlaf_up}",
        5,
        "rounding.rule",
        "'hlaf_up'",
        "half_up",
        "",
    ),
    (
        "vat: {percent: 21, included: yes}",
        "vat: {percent: 21}\nholidays: [2026-02-30]",
        5,
        "holidays[0]",
        "'2026-02-30'",
        "a date",
        "",
    ),
    ("small-1", r'"\UFFFFFFFF"', 1, "", "a number out of range", "valid YAML", ""),
    ("small-1", r'"\uD800"', 1, "revision", "the unprintable character U+D800", "printable text", ""),
    ("small-1", r'"a\Lb"', 1, "revision", r"'a\u2028b'", "one line of text", ""),
    ("small-1", r'"a\u202Eb"', 1, "revision", r"'a\u202eb'", "one line of text", ""),
    ('["+3110"]', r'["\0"]', 16, "destinations.unpriced.prefixes[0]", "the unp", "", ""),
    ("vat: {percent: 21, included: yes}", "vat: &tax {percent: 21}", 4, "vat", "the anchor &tax", "written out", ""),
    ("vat: {percent: 21, included: yes}", "\tvat: {percent: 21}", 4, "", "a tab", "valid YAML", "spaces"),
    (
        "vat: {percent: 21, included: yes}",
        "vat: {percent: 21}\ntop_up: {minimum: 10, amounts: [5]}",
        5,
        "top_up",
        "5.00",
        "at least the minimum, 10.00",
        "",
    ),
    *(
        (
            "vat: {percent: 21, included: yes}",
            f"vat: {{percent: 21}}\ntop_up: {{{sold}}}",
            5,
            "top_up",
            found,
            "cent",
            "",
        )
        for sold, found in (("minimum: 10, amounts: [20.00, 12.345]", "12.345"), ("minimum: 10.005", "10.005"))
    ),
    (
        "paid_subscription: yes\n    voicemail: {paid: no}\n  pro",
        "paid_subscription: y\n    voicemail: {paid: no}\n  pro",
        27,
        "plans.light.paid_subscription",
        "'y'",
        "yes or no",
        "",
    ),
    (
        "voicemail: {paid: no}\n  pro",
        "voicemail: {paid: yes}\n  pro",
        28,
        "plans.light.voicemail",
        "no price",
        "the price of a message",
        "",
    ),
]


@pytest.mark.parametrize(("old", "new", "line", "path", "found", "expected", "hint"), TRAPS)
def test_a_trap_of_yaml_is_an_exact_error(
    tmp_path: Path, old: str, new: str, line: int, path: str, found: str, expected: str, hint: str
) -> None:
    [problem] = problems(tmp_path, changed(old, new))
    assert (problem.line, problem.path) == (line, path)
    assert problem.found.startswith(found)
    assert expected in problem.expected
    assert hint in problem.hint
    assert problem.file == str(tmp_path / "tariff.yaml")
    assert problem.column


RIGHT = [
    ("{price: 0.1}", Price((Step(0, 100_000, 60, 60),))),
    ('{price: "0,1"}', Price((Step(0, 100_000, 60, 60),))),
    ("{price: 0.0125, per: second, increments: 1/1}", Price((Step(0, 12_500, 1, 1),))),
    ("{price: 3, per: hour, increments: 30/6}", Price((Step(0, 3_000_000, 3600, 6, 30),))),
    (
        "{steps: [{from_s: 0, price: 0}, {from_s: 120, price: 0.1}], increments: 60/1}",
        Price((Step(0, 0, 60, 1, 60), Step(120, 100_000, 60, 1))),
    ),
    (
        "{steps: [{from_s: 0, price: 0.2, per: 30, increment: 10}, {from_s: 30, price: 0.1}], increments: 60/1}",
        Price((Step(0, 200_000, 30, 10), Step(30, 100_000, 60, 1))),
    ),
    (
        "{price: 0.1, connect_fee: 0.05, maximum: 0.15, at_maximum: end}",
        Price((Step(0, 100_000, 60, 60),), (), 50_000, 0, 150_000, ends_at_max=True),
    ),
    (
        "{price: 0.1, connect_fee: 0.05, minimum: 0.20, maximum: 2}",
        Price((Step(0, 100_000, 60, 60),), (), 50_000, 200_000, 2_000_000),
    ),
]


@pytest.mark.parametrize(("rate", "expected"), RIGHT)
def test_a_rate_is_what_the_file_says(tmp_path: Path, rate: str, expected: Price) -> None:
    assert price(tmp_path, rate) == expected


def test_a_band_may_have_a_connect_fee_of_its_own(tmp_path: Path) -> None:
    bands = price(tmp_path, "{price: 0.1, connect_fee: 0.05, bands: {night: {price: 0.05, connect_fee: 0}}}").bands
    assert [band.connect_fee for band in bands] == [0]


def test_a_table_says_when_connect_fees_fall_due(tmp_path: Path) -> None:
    head = "  standard:\n"
    tariff = small(tmp_path, changed(head, head + "    connect_fee_due: with_call\n"))
    rate = tariff.rate_for("pro", "+31201234567", 0)
    assert isinstance(rate, Rate)
    assert rate.fee_with_call


def test_a_band_takes_what_it_does_not_say_from_its_rate(tmp_path: Path) -> None:
    [band] = price(tmp_path, "{price: 0.1, increments: 30/6, bands: {night: {price: 0.05}}}").bands
    assert band.windows == (Window(EVERY_DAY, 1320, 360),)
    assert band.steps == (Step(0, 50_000, 60, 6, 30),)


@pytest.mark.parametrize(
    ("rate", "found"),
    [
        ("{per: minute}", "neither price nor steps"),
        ("{price: 1, steps: [{from_s: 0, price: 1}]}", "both price and steps"),
        ("{steps: [{from_s: 1, price: 1}]}", "from_s: 1"),
        ("{steps: [{from_s: 0, price: 1}, {from_s: 60, price: 2}, {from_s: 60, price: 1}]}", "from_s: 60 after 60"),
        ("{price: 1, minimum: 2, maximum: 1.99}", "1.99"),
        ("{price: 1, bands: {nihgt: {price: 1}}}", "'nihgt'"),
        ("{price: 1, bands: {night: {}}}", "neither price nor steps"),
    ],
)
def test_a_rate_that_contradicts_itself_is_refused(tmp_path: Path, rate: str, found: str) -> None:
    [problem] = problems(tmp_path, changed(NL, f"nl: {rate}"))
    assert (problem.found, problem.line) == (found, 21)


@pytest.mark.parametrize(("included", "call", "message", "page"), [("yes", 100, 150, 50), ("no", 121, 182, 61)])
def test_prices_without_vat_are_charged_with_it(
    tmp_path: Path, included: str, call: int, message: int, page: int
) -> None:
    text = changed("included: yes}", f"included: {included}}}\nrounding: {{rule: up, decimals: 3}}")
    text = text.replace(NL, "nl: {price: 0.1, fax_page: 0.05}")
    text = text.replace("{paid: no}\n  pro", "{paid: yes, price: 0.15}\n  pro")
    tariff = small(tmp_path, text)
    rate = tariff.rate_for("light", "+31201234567", 0)
    assert isinstance(rate, Rate)
    assert cost_of_seconds(rate, 0, 60) == call * 1_000
    assert tariff.message_price(tariff.plans["light"], 0) == message * 1_000
    assert tariff.fax_page_for("light", "+31201234567", 0) == page * 1_000


NEW_YEAR_US = 1_798_758_000_000_000  # 2027-01-01 in Amsterdam


def test_vat_on_top_of_prices_is_that_of_the_day_on_which_a_call_begins(tmp_path: Path) -> None:
    vat = "changes: [{valid_from: 2027-01-01, percent: 9}], included: no}\nrounding: {rule: up, decimals: 3}"
    text = changed("included: yes}", vat).replace(NL, "nl: {price: 0.1, fax_page: 0.05}")
    tariff = small(tmp_path, text.replace("{paid: no}\n  pro", "{paid: yes, price: 0.15}\n  pro"))
    told = {}
    for at_us in (NEW_YEAR_US - 1, NEW_YEAR_US):
        rate = tariff.rate_for("light", "+31201234567", at_us)
        page = tariff.fax_page_for("light", "+31201234567", at_us)
        assert isinstance(rate, Rate)
        told[at_us] = cost_of_seconds(rate, at_us, 60), tariff.message_price(tariff.plans["light"], at_us), page
    assert told == {NEW_YEAR_US - 1: (121_000, 182_000, 61_000), NEW_YEAR_US: (109_000, 164_000, 55_000)}


@pytest.mark.parametrize("second", ["2027-01-01", "2026-12-31"])
def test_changes_of_vat_are_ascending_and_told_with_every_other_problem(tmp_path: Path, second: str) -> None:
    changes = f"[{{valid_from: 2027-01-01, percent: 9}}, {{valid_from: {second}, percent: 21}}, {{valid_from: soon}}]"
    text = changed("included: yes", f"changes: {changes}").replace("Europe/Amsterdam", "Mars")
    found = {problem.path: problem.found for problem in problems(tmp_path, text)}
    assert found == {
        "zone": "'Mars'",
        "vat.changes[1].valid_from": f"{second} after 2027-01-01",
        "vat.changes[2].valid_from": "'soon'",
        "vat.changes[2].percent": "nothing",
    }


@pytest.mark.parametrize("decimals", ["2", "02", '"2"'])
def test_a_limit_finer_than_the_rounding_is_refused_and_one_as_fine_is_not(tmp_path: Path, decimals: str) -> None:
    head = "vat: {percent: 21, included: yes}"
    text = changed(head, head + "\nrounding: {rule: up, decimals: DECIMALS}")
    text = text.replace("DECIMALS", decimals).replace(NL, "nl: {price: 1, maximum: 0.125}")
    [problem] = problems(tmp_path, text)
    assert problem.path == "rates.standard.destinations.nl.maximum"
    assert small(tmp_path, text.replace("0.125", "0.12")).tables["standard"].prices["nl"].max_cost == 120_000


def test_a_maximum_without_vat_is_held_with_it(tmp_path: Path) -> None:
    text = changed("included: yes}", "included: no}\nrounding: {rule: up, decimals: 2}")
    rate = small(tmp_path, text.replace(NL, "nl: {price: 1, maximum: 0.10}")).rate_for("light", "+31201234567", 0)
    assert isinstance(rate, Rate)
    assert cost_of_seconds(rate, 0, 60) == 120_000  # 0.121, which would round to 0.13


def test_every_problem_is_told_at_once_whatever_its_kind(tmp_path: Path) -> None:
    text = changed("zone: Europe/Amsterdam", "zone: Mars").replace("[nl]", "[nx]").replace("60/1", "0")
    text = text.replace("standard:\n    fax", "standard:\n    decks: [missing.csv]\n    fax")
    found = {problem.path or problem.file for problem in problems(tmp_path, text)}
    assert found == {
        "zone",
        "plans.pro.free_minutes.destinations[0]",
        "rates.standard.destinations.nl_mobile.increments",
        str(tmp_path / "missing.csv"),
    }


def test_a_file_that_is_missing_or_too_large_is_one_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_tariff(tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigError, match="Is a directory"):
        load_tariff(tmp_path)
    [problem] = problems(tmp_path, SMALL + "# more\n" * 7_500_000)
    assert "bytes" in problem.found


def test_a_deck_that_is_no_path_is_one_problem(tmp_path: Path) -> None:
    [problem] = problems(tmp_path, changed("    fax_page: 0.08", "    decks: [~nobody/deck.csv]"))
    assert (problem.line, problem.path) == (19, "rates.standard.decks[0]")
    assert problem.expected == "the path of a rate deck"


def test_a_deck_that_is_no_ordinary_file_is_one_problem(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    [problem] = problems(tmp_path, changed("    fax_page: 0.08", "    decks: [pipe.csv]"))
    assert (problem.file, problem.found) == (str(tmp_path / "pipe.csv"), "no ordinary file")


def test_deep_nesting_is_one_problem(tmp_path: Path) -> None:
    [problem] = problems(tmp_path, "revision: " + "[" * 5000 + "]" * 5000)
    assert problem.found == "deeper nesting"


@pytest.mark.parametrize("text", ["", "# nothing\n", "just words\n", "- a\n- list\n"])
def test_what_is_no_map_is_one_problem(tmp_path: Path, text: str) -> None:
    [problem] = problems(tmp_path, text)
    assert problem.expected == "a map of keys"


def test_what_is_odd_but_no_reason_to_refuse_is_a_warning(tmp_path: Path) -> None:
    text = SMALL + "    calls_at_once: 1\n"
    text = text.replace("plans:\n", "  unused: {}\nplans:\n")
    assert {(one.path, one.found) for one in small(tmp_path, text).warnings} == {
        ("destinations.unpriced", "no price in any table"),
        ("rates.unused", "a table of no plan"),
        ("rates.standard.fax_page", "0.08 a page also where a call's first minute costs more: nl_mobile (0.12)"),
    }


@pytest.mark.parametrize(
    ("mobile", "cost"),
    [
        ("{price: 0.08}", ""),
        ("{price: 0.080001}", "0.080001"),
        ("{price: 0.06, connect_fee: 0.03}", "0.09"),
        ("{price: 0.12, fax_page: 0.01}", ""),
        ("{price: 0.01, bands: {night: {price: 0.50}}}", "0.50"),
        ("{steps: [{from_s: 0, price: 0.01}, {from_s: 60, price: 2.00}]}", ""),
        ("{price: 0.10, increments: 10/10, minimum: 0.20}", "0.20"),
    ],
)
def test_fax_page_of_a_table_that_costs_less_than_a_minute_of_a_call_is_a_warning(
    tmp_path: Path, mobile: str, cost: str
) -> None:
    """It holds the line as long; five minutes of a mobile abroad cost a page's 0.08 that were 1.30 as a call."""
    text = changed("{price: 0.12, increments: 60/1}", mobile)
    told = [one.found for one in small(tmp_path, text).warnings if one.path == "rates.standard.fax_page"]
    expected = f"0.08 a page also where a call's first minute costs more: nl_mobile ({cost})"
    assert told == ([expected] if cost else [])


def test_shipped_tariff_has_no_warnings() -> None:
    assert load_tariff(SHIPPED).warnings == ()


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("voicemail: {paid: yes, price: 0.10}", True),
        ("voicemail: {paid: yes, price: 0.10}\n    credit_a_day: 5.00", False),
        ("voicemail: {paid: no, price: 0.10}", False),
    ],
)
def test_paid_voicemail_that_no_day_bounds_is_a_warning(tmp_path: Path, lines: str, told: bool) -> None:
    before, _, after = SMALL.partition("    voicemail:")
    text = f"{before}    {lines}\n{after.partition(chr(10))[2]}"
    paths = [one.path for one in small(tmp_path, text).warnings]
    assert ("plans.light" in paths) == told


@pytest.mark.parametrize(
    ("written", "meant"),
    [("1,000", "1.000 or 1000"), ('"12,500"', "12.500 or 12500"), ("1,00", ""), ("0,125", ""), ("1.000", "")],
)
def test_an_amount_whose_comma_may_part_thousands_is_a_warning(tmp_path: Path, written: str, meant: str) -> None:
    text = SMALL + f"    credit_a_day: {written}\n"
    told = {(one.path, one.line, one.expected) for one in small(tmp_path, text).warnings if "comma" in one.hint}
    line = len(text.splitlines())
    assert told == ({("plans.pro.credit_a_day", line, f"{meant}, whichever is meant")} if meant else set())


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("nl: {price: 0.05", 'nl: {price: "1,125"', "rates.standard.destinations.nl.price"),
        ("vat:", 'top_up: {amounts: ["12,500"]}\nvat:', "top_up.amounts[0]"),
    ],
)
def test_a_comma_that_may_part_thousands_is_found_wherever_amounts_stand(
    tmp_path: Path, old: str, new: str, path: str
) -> None:
    assert path in {one.path for one in small(tmp_path, changed(old, new)).warnings}


def test_the_digest_changes_with_any_byte_of_the_file_or_its_decks(tmp_path: Path) -> None:
    (tmp_path / "deck.csv").write_text("prefix,price\n32,0.10\n", encoding="utf-8")
    text = SMALL.replace("standard:\n    fax", "standard:\n    decks: [deck.csv]\n    fax")
    first = small(tmp_path, text).digest
    assert small(tmp_path, text).digest == first
    assert small(tmp_path, text + "#\n").digest != first
    (tmp_path / "deck.csv").write_text("prefix,price\n32,0.11\n", encoding="utf-8")
    assert small(tmp_path, text).digest != first


@pytest.mark.parametrize(
    ("rate", "free", "when"),
    [
        ("{price: 0.12, increments: 60/1}", "nl", ""),
        ("{price: 0.12, increments: 60/1}", "nl_mobile", "the free minutes of pro end"),
        ("{price: 0.12, increments: 60/60}", "nl_mobile", ""),
        ("{price: 0.12, increments: 60/1, bands: {night: {price: 0.1}}}", "nl", "a band begins"),
        ("{price: 0.12, increments: 1/1, bands: {night: {price: 0.1, increments: 60/1}}}", "nl", "a band begins"),
        ("{price: 0.12, increments: 1/1, bands: {night: {price: 0.1}}}", "nl", ""),
    ],
)
def test_a_first_increment_that_may_be_read_in_two_ways_is_a_warning(
    tmp_path: Path, rate: str, free: str, when: str
) -> None:
    text = changed("{price: 0.12, increments: 60/1}", rate).replace("destinations: [nl]", f"destinations: [{free}]")
    told = {one.path: one.found for one in small(tmp_path, text).warnings if "first increment" in one.expected}
    path = "rates.standard.destinations.nl_mobile"
    assert told == ({path: f"60/1, and calls in which {when}"} if when else {})


@pytest.mark.parametrize(
    ("rate", "path", "found"),
    [
        ("{price: 0.1, connect_fee: 0.05, maximum: 0.149999, at_maximum: end}", ".maximum", "0.149999"),
        ("{price: 0.1, increments: 90/1, maximum: 0.14, at_maximum: end}", ".maximum", "0.14"),
        ("{price: 0.1, maximum: 0.1, at_maximum: end, bands: {night: {price: 0.2}}}", ".maximum", "0.10"),
        ("{price: 0.1, at_maximum: end}", "", "at_maximum without maximum"),
    ],
)
def test_a_maximum_at_which_no_call_would_begin_is_refused(tmp_path: Path, rate: str, path: str, found: str) -> None:
    [problem] = problems(tmp_path, changed(NL, f"nl: {rate}"))
    assert (problem.path, problem.found) == (f"rates.standard.destinations.nl{path}", found)


@pytest.mark.parametrize(
    ("decimals", "vat", "price", "least"),
    [
        (2, "{percent: 21, included: yes}", "0.101", "0.11"),
        (4, "{percent: 21, included: yes}", "0.10001", "0.1001"),
        (6, "{percent: 21, included: yes}", "0.10001", "0.10001"),
        (2, "{percent: 21, included: no}", "0.10", "0.11"),  # 0.121 with VAT, and of 0.10 only 0.12 would count
        (2, "{percent: 0, changes: [{valid_from: 2030-01-01, percent: 21}], included: no}", "0.10", "0.11"),
        (0, "{percent: 21, included: yes}", "0.10", "1.00"),
    ],
)
def test_what_rounding_leaves_of_a_maximum_lets_a_call_begin_or_is_refused(
    tmp_path: Path, decimals: int, vat: str, price: str, least: str
) -> None:
    """Both ways round: what the check asks for is what a call needs to begin, at any day's VAT."""

    def text(maximum: int) -> str:
        rate = f"{{price: {price}, maximum: {format_euro(maximum)}, at_maximum: end}}"
        rounding = f"rounding: {{rule: half_up, decimals: {decimals}}}\n"
        return rounding + changed(NL, f"nl: {rate}").replace("{percent: 21, included: yes}", vat)

    enough = parse_euro(least)
    [problem] = problems(tmp_path, text(enough - 10 ** (6 - decimals)))
    assert problem.expected == f"a maximum of at least {format_euro(enough)}, what a call costs to begin"
    tariff = small(tmp_path, text(enough))
    for day in ("2026-11-28", "2030-06-01"):
        at_us = int(datetime.fromisoformat(f"{day}T12:00:00+00:00").timestamp()) * 1_000_000
        rate = tariff.rate_for("light", "+31201234567", at_us)
        assert isinstance(rate, Rate)
        assert affordable_seconds(rate, at_us, Pools(AMOUNT_MAX)) >= 60
