"""Number → destination → rate."""

from __future__ import annotations

from pathlib import Path

import pytest

from charging.call.fax import send_s
from charging.pricing.money import MICRO
from charging.pricing.rate import Rate, cost_of_seconds
from charging.tariff.deck import PAGE_HELD_S
from charging.tariff.file import load_tariff
from charging.tariff.tariff import Refusal, Tariff
from tests.unit.tariff.tariffs import SHIPPED, changed, small

NOON_US = 1_793_790_000 * MICRO  # 4 November 2026, in the Dutch morning


@pytest.fixture
def tariff(tmp_path: Path) -> Tariff:
    return small(tmp_path)


@pytest.mark.parametrize(
    ("typed", "number"),
    [
        ("0612345678", "+31612345678"),
        ("06 - 12 34 56 78", "+31612345678"),
        ("+31 6 12345678", "+31612345678"),
        ("0031612345678", "+31612345678"),
        ("+31(0)612345678", "+31612345678"),
        ("1233", "1233"),
        ("1234", None),
        ("", None),
        ("hello", None),
        ("+31", None),
        ("+999123456", None),
        ("0612345678;ext=5", None),
        ("9" * 41, None),
        ("06\n12345678\r\nAction: Logoff", None),
        ("31201234567.0", None),  # a spreadsheet's or a program's number
        ("+31612345678w1", None),  # what a telephone dials behind the number is no digit of it
        ("+31612345678 p 1", None),
        ("+31612345678*1", None),
        ("+31612345678#21", None),
        ("1-800-FLOWERS", None),
        ("31201234567,0", None),
        ("3.1201234567E10", None),
        ("3,12E+10", None),
        ("0x31201234567", None),
        ("+31201234567\x00", None),
        ("020.123.45.60", "+31201234560"),
    ],
)
def test_numbers_are_normalised_or_refused(tariff: Tariff, typed: str, number: str | None) -> None:
    assert tariff.normalise(typed) == number


@pytest.mark.parametrize(
    ("number", "destination"),
    [
        ("+31201234567", "nl"),
        ("+31612345678", "nl_mobile"),
        ("1233", "help"),
        ("+31900123456", Refusal.PREMIUM),
        ("+31858881234", Refusal.LOOP),
        ("+31858871234", "nl"),
        ("112", Refusal.BLOCKED),
        ("+3212345678", Refusal.NOT_COVERED),
        ("144", Refusal.NOT_COVERED),
        ("+31101234567", Refusal.NOT_COVERED),
    ],
)
def test_longest_match_decides(tariff: Tariff, number: str, destination: str) -> None:
    found = tariff.rate_for("light", number, NOON_US)
    assert (found.destination if isinstance(found, Rate) else found) == destination


def test_a_plan_that_the_tariff_has_not_is_refused(tariff: Tariff) -> None:
    assert tariff.rate_for("gone", "+31201234567", NOON_US) is Refusal.UNKNOWN_PLAN
    assert tariff.plan("gone") is None


def test_r8_free_minutes_pay_only_for_the_destinations_of_the_plan(tariff: Tariff) -> None:
    fixed, mobile = (tariff.rate_for("pro", n, NOON_US) for n in ("+31201234567", "+31612345678"))
    assert isinstance(fixed, Rate)
    assert isinstance(mobile, Rate)
    assert (fixed.free_minutes, fixed.free_increment_s) == (True, 30)
    assert not mobile.free_minutes


def test_a_rate_carries_the_tariffs_revision_and_digest(tariff: Tariff) -> None:
    rate = tariff.rate_for("light", "+31201234567", NOON_US)
    assert isinstance(rate, Rate)
    assert (rate.tariff_revision, rate.tariff_digest) == ("small-1", tariff.digest)
    assert len(tariff.digest) == 16


def test_r3_a_fax_page_costs_what_its_destination_or_table_says(tariff: Tariff) -> None:
    assert tariff.fax_page_for("light", "+31201234567", NOON_US) == 50_000
    assert tariff.fax_page_for("light", "+31612345678", NOON_US) == 80_000
    assert tariff.fax_page_for("light", "+31900123456", NOON_US) is Refusal.PREMIUM


DECK = """prefix;name;price;connect_fee;minimum_charge;fax_page
+31;Netherlands;0.02;0;0;
+49;Germany;0.10;0;0;
+491;Germany, mobile;0.10;0.01;0;
+881;Satellite;6.00;0;0;
+882;Satellite, other;0.10;0;0.51;
+88298;Satellite, third;0.10;0;0.50;
+88299;Satellite, faxes;4.00;0;0;9.50
+44;United Kingdom;0.01;0;0;0.00
"""
FAX_PAGES = """\
    fax_page: 0.08
    deck_fax_page: 0.50
    decks: [deck.csv]
"""


@pytest.mark.parametrize(
    ("number", "page"),
    [
        ("+4930123456", 500_000),  # 0.50 for five minutes
        ("+4915123456789", Refusal.NOT_COVERED),  # 0.51
        ("+881612345678", Refusal.NOT_COVERED),
        ("+882161234567", Refusal.NOT_COVERED),  # 0.51 at least
        ("+882981234567", 500_000),
        ("+882991234567", 9_500_000),
        ("+442012345678", 0),
        ("+31201234567", 50_000),
        ("+31612345678", 80_000),
    ],
)
def test_r3_a_decks_number_is_faxed_at_its_rows_price_or_where_five_minutes_cost_no_more(
    tmp_path: Path, number: str, page: int | Refusal
) -> None:
    (tmp_path / "deck.csv").write_text(DECK)
    tariff = small(tmp_path, changed("    fax_page: 0.08\n", FAX_PAGES))
    assert tariff.fax_page_for("light", number, NOON_US) == page
    assert isinstance(tariff.rate_for("light", number, NOON_US), Rate), "calls go there all the same"


@pytest.mark.parametrize("minute", ["0.05", "0.06"])
def test_r3_a_destinations_page_holds_for_a_longer_prefix_of_a_deck_only_where_a_minute_costs_no_more(
    tmp_path: Path, minute: str
) -> None:
    (tmp_path / "deck.csv").write_text(f"prefix;price\n+3120;{minute}\n")
    tariff = small(tmp_path, changed("    fax_page: 0.08\n", "    fax_page: 0.08\n    decks: [deck.csv]\n"))
    page = tariff.fax_page_for("light", "+31201234567", NOON_US)
    assert page == (50_000 if minute == "0.05" else Refusal.NOT_COVERED)


@pytest.mark.parametrize("pages", [1, 2, 100])
def test_a_fax_holds_the_line_for_no_longer_than_its_pages_are_compared_with(pages: int) -> None:
    assert send_s(pages) <= pages * PAGE_HELD_S


def test_r3_without_a_price_for_it_no_fax_goes_to_what_a_deck_prices(tmp_path: Path) -> None:
    (tmp_path / "deck.csv").write_text("prefix;price\n+49;0.01\n")
    tariff = small(tmp_path, changed("    fax_page: 0.08\n", "    fax_page: 0.08\n    decks: [deck.csv]\n"))
    assert tariff.fax_page_for("light", "+4930123456", NOON_US) is Refusal.NOT_COVERED


def test_r2_top_ups_below_the_minimum_or_of_other_amounts_are_refused() -> None:
    tariff = load_tariff(SHIPPED)
    assert tariff.top_up_refusal(10 * MICRO) is None
    assert tariff.top_up_refusal(10 * MICRO - 1) == "at least 10.00"
    assert tariff.top_up_refusal(11 * MICRO) == "one of 10.00, 25.00, 50.00, 100.00"


@pytest.mark.parametrize(("wall_us", "month"), [(1_796_079_599_999_999, "2026-11"), (1_796_079_600_000_000, "2026-12")])
def test_r11_months_are_those_of_the_operators_zone(tariff: Tariff, wall_us: int, month: str) -> None:
    assert tariff.month_of(wall_us) == month


def test_the_shipped_tariff_is_right_and_has_the_three_plans_of_the_rules() -> None:
    tariff = load_tariff(SHIPPED)
    assert tariff.warnings == ()
    assert list(tariff.plans) == ["voice_free", "voice_light", "voice_pro"]
    free, light, pro = tariff.plans.values()
    assert (free.is_paid, light.is_paid, pro.is_paid) == (False, True, True)
    assert (free.voicemail_paid, light.voicemail_paid, pro.voicemail_paid) == (True, False, False)
    assert (free.free_seconds, light.free_seconds, pro.free_seconds) == (0, 0, 15_000)


def test_a_shipped_price_is_what_the_file_says() -> None:
    rate = load_tariff(SHIPPED).rate_for("voice_light", "+31612345678", NOON_US)
    assert isinstance(rate, Rate)
    assert cost_of_seconds(rate, NOON_US, 60) == 120_000
    assert cost_of_seconds(rate, NOON_US, 61) == 240_000
