"""Which rate of value added tax counts on which day."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from charging.tariff.tariff import Vat, format_percent, vat_within

VAT = Vat(2100, ((date(2027, 1, 1), 900), (date(2028, 7, 1), 2200)))


@pytest.mark.parametrize(
    ("day", "rate"),
    [("2026-12-31", 2100), ("2027-01-01", 900), ("2028-06-30", 900), ("2028-07-01", 2200), ("2099-01-01", 2200)],
)
def test_a_rate_counts_from_its_first_day_to_the_day_before_the_next(day: str, rate: int) -> None:
    assert VAT.on(date.fromisoformat(day)) == rate
    assert VAT.added(date.fromisoformat(day)) == 0
    assert replace(VAT, included=False).added(date.fromisoformat(day)) == rate


@pytest.mark.parametrize(
    ("first", "last", "rates"),
    [
        ("2026-12-01", "2026-12-31", (2100,)),
        ("2026-12-01", "2027-01-01", (2100, 900)),
        ("2027-01-01", "2027-01-31", (900,)),
        ("2026-01-01", "2028-12-31", (2100, 900, 2200)),
    ],
)
def test_a_month_has_the_rates_of_its_days(first: str, last: str, rates: tuple[int, ...]) -> None:
    assert VAT.during(date.fromisoformat(first), date.fromisoformat(last)) == rates


def test_an_edit_of_a_rate_that_counted_differs_before_today_and_a_later_one_does_not() -> None:
    today = date(2027, 3, 1)
    assert Vat(2100).differs_before(Vat(900), today)
    assert VAT.differs_before(Vat(2100), today)
    assert not VAT.differs_before(Vat(2100, VAT.changes[:1]), today)
    assert not Vat(2100).differs_before(Vat(2100, ((today, 900),)), today)
    assert Vat(2100).differs_before(Vat(2100, ((date(2027, 2, 28), 900),)), today)


def test_vat_within_an_amount_is_rounded_half_up_to_cents_and_never_negative() -> None:
    amounts = {1_210_000: 210_000, 28_810: 10_000, 28_809: 0, 0: 0, -1_210_000: 0}
    assert {gross: vat_within(gross, 2100) for gross in amounts} == amounts


def test_percentages_are_written_without_needless_decimals() -> None:
    assert [format_percent(one) for one in (2100, 950, 5, 0, 10_000)] == ["21%", "9.5%", "0.05%", "0%", "100%"]
    assert str(VAT) == "21%, 9% from 2027-01-01, 22% from 2028-07-01, included"
