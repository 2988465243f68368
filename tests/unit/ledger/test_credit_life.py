"""R18, R19: until when credit can be used."""

from __future__ import annotations

from datetime import date

import pytest

from charging.ledger.accounts import Account
from charging.ledger.credit_life import CreditEvents, CreditLife, credit_life, days_until, paid_until, year_after
from charging.ledger.model import CREDIT, Kind, Leg
from charging.service.caretaker import credit_expiry
from charging.tariff.plans import Plan
from tests.unit.notify.factories import at

ZONE = "Europe/Amsterdam"


def life(paid_until_us: int | None = None, **events: int) -> CreditLife | None:
    return credit_life(paid_until_us, CreditEvents(**events), ZONE)


def test_r19_nothing_ever_happened_so_no_year_has_begun() -> None:
    assert life() is None


@pytest.mark.parametrize("event", ["payment_us", "purchase_us", "use_us"])
def test_r19_credit_lives_a_year_after_each_of_the_three_events(event: str) -> None:
    assert life(**{event: at("2026-11-21T15:00")}) == CreditLife(date(2027, 11, 21), None)


@pytest.mark.parametrize("last", ["payment_us", "purchase_us", "use_us"])
def test_r19_the_last_of_the_events_counts(last: str) -> None:
    events = dict.fromkeys(("payment_us", "purchase_us", "use_us"), at("2025-01-01T10:00"))
    found = life(**{**events, last: at("2026-03-01T10:00")})
    assert found is not None
    assert found.last_day == date(2027, 3, 1)


def test_r18_a_paid_subscription_keeps_credit_through_its_last_paid_day() -> None:
    found = life(at("2028-01-01T00:00"), purchase_us=at("2026-05-01T10:00"))
    assert found == CreditLife(date(2027, 12, 31), date(2027, 12, 31))


def test_r19_after_the_subscription_the_year_of_the_last_event_counts() -> None:
    found = life(at("2027-01-01T00:00"), purchase_us=at("2026-05-01T10:00"))
    assert found == CreditLife(date(2027, 5, 1), date(2026, 12, 31))


def test_r19_a_subscription_alone_is_enough() -> None:
    assert life(at("2027-01-01T00:00")) == CreditLife(date(2026, 12, 31), date(2026, 12, 31))


def test_r19_the_day_is_the_operators_whatever_utc_says() -> None:
    """23:30 UTC on New Year's Eve is the next year in Amsterdam."""
    found = life(use_us=at("2026-12-31T23:30", "UTC"))
    assert found is not None
    assert found.last_day == date(2028, 1, 1)


@pytest.mark.parametrize(
    ("day", "later"),
    [
        (date(2028, 2, 28), date(2029, 2, 28)),
        (date(2028, 2, 29), date(2029, 3, 1)),
        (date(2027, 2, 28), date(2028, 2, 28)),
        (date(2027, 3, 1), date(2028, 3, 1)),
    ],
)
def test_r19_leap_years_take_no_day_from_the_customer(day: date, later: date) -> None:
    assert year_after(day) == later


def test_days_until_counts_calendar_days() -> None:
    assert days_until(date(2027, 3, 29), date(2027, 3, 27)) == 2, "the day of 23 hours is a day"
    assert days_until(date(2027, 3, 29), date(2027, 3, 29)) == 0
    assert days_until(date(2027, 3, 29), date(2027, 3, 30)) == -1


def test_r18_only_a_paid_plan_has_a_subscription() -> None:
    anna, free = Account("anna", "pro", paid_until_us=5), Plan("free", "table", is_paid=False)
    assert paid_until(anna, Plan("pro", "table", is_paid=True), 9) == 5
    assert paid_until(anna, free, 9) is None
    assert paid_until(Account("bert", "free"), free, 9) is None
    assert paid_until(anna, None, 9) == 5, "the operator's slip takes nothing from the customer"


@pytest.mark.parametrize(("now_us", "found"), [(4, 5), (5, None)])
def test_r18_a_paid_period_counts_to_its_end_whatever_the_plan_is_now(now_us: int, found: int | None) -> None:
    assert paid_until(Account("anna", "free", paid_until_us=5), Plan("free", "table"), now_us) == found


def test_r19_an_expiry_takes_what_is_available_under_the_day_it_falls_on() -> None:
    first, second = (credit_expiry("anna", date(2027, 11, 21), 700, 9, attempt) for attempt in (1, 2))
    assert (first.id, second.id) == ("expire/credit/2027-11-22", "expire/credit/2027-11-22/2")
    assert (first.kind, first.legs) == (Kind.EXPIRE, (Leg(CREDIT, -700),))
    assert first.legs[0].floor == 0, "the ledger takes nothing that is reserved"
