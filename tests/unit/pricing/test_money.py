"""Amounts: exact in, exact out, rounding by name."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charging.pricing.money import AMOUNT_MAX, MoneyError, format_euro, parse_euro
from charging.pricing.rate import Rounding, ceil_div, largest_rounding_to, round_div
from tests.fakes import reference_rater as reference


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("12.50", 12_500_000),
        ("12,50", 12_500_000),
        (" 0 ", 0),
        ("0.000001", 1),
        ("007.5", 7_500_000),
        ("0.1", 100_000),
        ("9007199254.740991", AMOUNT_MAX),
    ],
)
def test_an_amount_is_read_exactly(text: str, amount: int) -> None:
    assert parse_euro(text) == amount


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-1",
        "+1",
        "1.",
        ".5",
        "1e3",
        "1_000",
        "1.000,50",
        "1 000",
        "€5",
        "0.0000001",
        "NaN",
        "٣",
        "0x10",
        "1\n2",
        "1 EUR",
        "9007199254.740992",
    ],
)
def test_what_is_no_amount_is_refused_with_what_was_found(text: str) -> None:
    with pytest.raises(MoneyError) as refused:
        parse_euro(text)
    assert refused.value.found == repr(text)
    assert refused.value.expected


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "0.00"), (12_500_000, "12.50"), (1, "0.000001"), (-50_000, "-0.05"), (123_450, "0.12345")],
)
def test_an_amount_is_written_with_two_to_six_decimals(amount: int, text: str) -> None:
    assert format_euro(amount) == text


@given(st.integers(0, AMOUNT_MAX))
def test_what_is_written_is_read_back(amount: int) -> None:
    assert parse_euro(format_euro(amount)) == amount


@given(st.integers(0, 10**9), st.integers(1, 1000), st.sampled_from(list(Rounding)))
def test_rounding_equals_that_of_fractions(n: int, d: int, rounding: Rounding) -> None:
    assert round_div(n, d, rounding) == reference.rounded(Fraction(n, d), rounding)


@given(st.integers(0, 10**6), st.integers(1, 1000), st.sampled_from(list(Rounding)))
def test_the_largest_that_rounds_to_a_limit_is_found(limit: int, d: int, rounding: Rounding) -> None:
    n = largest_rounding_to(limit, d, rounding)
    assert round_div(n, d, rounding) <= limit < round_div(n + 1, d, rounding)


def test_ceil_div_at_its_edge() -> None:
    assert [ceil_div(n, 60) for n in (0, 1, 60, 61)] == [0, 1, 1, 2]
