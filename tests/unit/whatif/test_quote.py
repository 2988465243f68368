"""Quotes and limits: the worked examples of ``config/tariff-examples.md``, and every step explained."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charging.pricing.funding import Pools, plan
from charging.pricing.money import AMOUNT_MAX, MICRO, format_euro, parse_euro
from charging.pricing.rate import Rate, Segment, Step, bundle_use
from charging.tariff.file import load_tariff
from charging.tariff.tariff import Tariff, format_percent
from charging.whatif.quote import Limit, Quote, Unpriced, exact_euro, limit, quote, quote_funding
from tests.fakes import reference_rater as reference
from tests.unit.pricing.strategies import money, pools, rates, starts
from tests.unit.tariff.tariffs import COSTS, LIMITS, SHIPPED, changed, small

AMSTERDAM = ZoneInfo("Europe/Amsterdam")


@pytest.fixture(scope="module")
def tariff() -> Tariff:
    return load_tariff(SHIPPED)


def instant(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=AMSTERDAM).timestamp()) * MICRO


def test_a_quote_inside_free_minutes_names_the_connect_fee_that_is_due_all_the_same() -> None:
    one = Rate("plan", "somewhere", (Step(0, 60_000, 60, 60),), connect_fee=50_000, min_charge=90_000)
    free = (Segment(0, 60, "bundle:2026-11"),)
    assert quote_funding(one, "+31", instant("2026-11-04T12:00:00"), 60, free).to_json()["connect_fee"] == "0.00"
    told = quote_funding(replace(one, fee_with_call=True), "+31", instant("2026-11-04T12:00:00"), 60, free)
    assert (told.to_json()["connect_fee"], told.to_json()["with_vat"], told.total) == ("0.05", "0.05", 50_000)
    assert "connect fee: 0.05" in list(told.explain())


def both_months(left: int) -> dict[str, int]:
    return {f"bundle:2026-{month}": left for month in (11, 12)}


@pytest.mark.parametrize("row", COSTS, ids=lambda row: " ".join(row[:4]))
def test_a_worked_example_of_a_cost_holds(tariff: Tariff, row: list[str]) -> None:
    plan_name, number, begins, seconds, left, used, cost, _ = row
    start_us = instant(begins)
    found = quote(tariff, plan_name, number, start_us, int(seconds), free_seconds=int(left))
    assert isinstance(found, Quote)
    assert found.total == parse_euro(cost)
    assert sum(bundle_use(found.funding).values()) == int(used)
    walked, _ = reference.plan(found.rate, start_us, both_months(int(left)), AMOUNT_MAX, int(seconds))
    assert reference.cost(found.rate, walked) == found.total


@pytest.mark.parametrize("row", LIMITS, ids=lambda row: " ".join(row[:4]))
def test_a_worked_example_of_a_limit_holds(tariff: Tariff, row: list[str]) -> None:
    plan_name, number, begins, amount, left, lasts, cost, _ = row
    start_us, credit = instant(begins), parse_euro(amount)
    found = limit(tariff, plan_name, number, start_us, credit, free_seconds=int(left))
    assert isinstance(found, Limit)
    assert (found.seconds, found.total) == (int(lasts), parse_euro(cost))
    walked, short = reference.plan(found.rate, start_us, both_months(int(left)), credit, AMOUNT_MAX)
    assert len(walked) == found.seconds
    assert short == (found.next_total is not None)
    assert found.next_total is None or found.next_total > credit


def test_the_examples_are_many() -> None:
    assert (len(COSTS), len(LIMITS)) == (21, 9)


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        ("hello", "not_a_number"),
        ("+31 00 252 7123456", "not_a_number"),
        ("0900-1234", "premium"),
        ("112", "blocked"),
        ("+8112345678", "not_covered"),
    ],
)
def test_what_has_no_price_says_why(tariff: Tariff, number: str, reason: str) -> None:
    for found in (quote(tariff, "voice_pro", number, 0, 60), limit(tariff, "voice_pro", number, 0, MICRO)):
        assert found == Unpriced(number, reason)
        assert found.to_json() == {"number": number, "reason": reason}


def test_an_unknown_plan_has_no_price(tariff: Tariff) -> None:
    assert quote(tariff, "voice_max", "0612345678", 0, 60) == Unpriced("0612345678", "unknown_plan")


def test_every_step_is_explained(tariff: Tariff) -> None:
    found = quote(tariff, "voice_pro", "+3221234567", instant("2026-11-04 12:00:00"), 75, free_seconds=60)
    assert isinstance(found, Quote)
    assert list(found.explain()) == [
        "+3221234567 is eu_fixed (prefix +32) in plan voice_pro",
        "a call of 75 s that begins 2026-11-04T12:00:00+01:00",
        "free seconds of 2026-11: 60",
        "0–60 s: 1 × 60 s, 60 s free (bundle:2026-11)",
        "60–75 s: 15 × 1 s, 15 s at 0.09 a minute = 0.0225",
        "connect fee: 0.05",
        "together: 0.0725",
        "rounded (half_up, 4 decimals): 0.0725",
    ]


def test_a_maximum_and_the_plans_longest_call_are_explained(tariff: Tariff) -> None:
    found = quote(tariff, "voice_light", "+12125551234", instant("2026-11-04 12:00:00"), 20_000)
    assert isinstance(found, Quote)
    words = "\n".join(found.explain())
    assert "the call ends after 14400 s" in words
    assert "together: 19.45\nat most the maximum: 12.00\n" in words


def test_a_rounding_that_would_exceed_the_maximum_is_explained(tmp_path: Path) -> None:
    text = changed("included: yes}", "included: no}\nrounding: {rule: up, decimals: 2}")
    text = text.replace("nl: {price: 0.05, fax", "nl: {price: 0.05, maximum: 0.10, fax")
    words = []
    for seconds in (60, 180):
        found = quote(small(tmp_path, text), "light", "0201234567", instant("2026-11-04 12:00:00"), seconds)
        assert isinstance(found, Quote)
        words.append(list(found.explain())[-2:])
    assert words == [
        ["with 21% VAT: 0.0605", "rounded (up, 2 decimals): 0.07"],
        ["with 21% VAT: 0.121", "rounded (down, within the maximum, 2 decimals): 0.12"],
    ]


def test_a_quote_of_free_minutes_alone_says_that_credit_pays_nothing(tariff: Tariff) -> None:
    found = quote(tariff, "voice_pro", "0201234567", instant("2026-11-04 12:00:00"), 60)
    assert isinstance(found, Quote)
    assert list(found.explain())[-1] == "credit pays nothing: 0.00"


def test_json_has_money_as_decimal_text(tariff: Tariff) -> None:
    found = quote(tariff, "voice_light", "+3221234567", instant("2026-11-04 12:00:00"), 61)
    assert isinstance(found, Quote)
    plain = json.loads(json.dumps(found.to_json()))
    assert (plain["total"], plain["connect_fee"], plain["charged_s"]) == ("0.1415", "0.05", 61)
    assert [line["amount"] for line in plain["lines"]] == ["0.09", "0.0015"]
    assert plain["tariff"] == {"revision": tariff.revision, "digest": tariff.digest}
    found_limit = limit(tariff, "voice_light", "+3221234567", instant("2026-11-04 12:00:00"), 150_000)
    assert isinstance(found_limit, Limit)
    assert json.loads(json.dumps(found_limit.to_json()))["total"] == "0.149"


@given(rates(), st.data(), pools, money)
def test_the_steps_of_any_quote_add_up_to_its_total(
    rate: Rate, data: st.DataObject, free: dict[str, int], credit: int
) -> None:
    start_us = data.draw(starts(rate))
    funding = plan(rate, start_us, (), Pools(credit, free), rate.max_call_s).funding
    found = quote_funding(rate, "+31", start_us, rate.max_call_s, funding)
    quantum = 10 ** (6 - rate.decimals)
    rounded = reference.rounded(found.gross / quantum, rate.rounding) * quantum
    assert reference.within_maximum(rate, rounded) == found.total
    assert sum(line.free_s + line.credit_s for line in found.lines) == (funding[-1].end_s if funding else 0)
    assert list(found.explain())[-1].endswith(": " + format_euro(found.total))


@pytest.mark.parametrize(
    ("micro", "text"),
    [
        (Fraction(50_000), "0.05"),
        (Fraction(0), "0.00"),
        (Fraction(1, 2), "0.0000005"),
        (Fraction(250_000, 3), "0.083333333333…"),
        (Fraction(12_345_678), "12.345678"),
    ],
)
def test_exact_amounts_are_written_with_all_their_decimals(micro: Fraction, text: str) -> None:
    assert exact_euro(micro) == text


@pytest.mark.parametrize(("hundredths", "text"), [(2100, "21%"), (950, "9.5%"), (1, "0.01%")])
def test_percentages(hundredths: int, text: str) -> None:
    assert format_percent(hundredths) == text
