"""R20: the subscriber is told well in advance that credit is about to expire."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from charging.ledger.accounts import Status
from charging.ledger.credit_life import CreditEvents
from charging.notify.model import Expiry, Notice, NoticeKind, SubscriptionEnding
from charging.notify.policy import Standing, due
from charging.tariff.plans import Plan
from tests.fakes.rig import EURO
from tests.unit.notify.factories import ANNA, at, noon, standing, the_tariff

BOUGHT = date(2026, 3, 10)
LAST = date(2027, 3, 10)
DAYS = (60, 30, 7)


def case(**more: Any) -> Standing:
    return standing(20 * EURO, events=CreditEvents(purchase_us=noon(BOUGHT)), **more)


def told(one: Standing, day: date, days: tuple[int, ...] = DAYS) -> Notice | None:
    notices = due(one, the_tariff(days), noon(day))
    assert len(notices) <= 1
    return notices[0] if notices else None


@pytest.mark.parametrize("days", DAYS)
def test_r20_each_date_is_told_from_its_day_on(days: int) -> None:
    day = LAST - timedelta(days)
    notice = told(case(), day)
    assert notice is not None
    assert (notice.kind, notice.id) == (NoticeKind.CREDIT_EXPIRY, f"expiry/2027-03-10/{days}")
    assert notice.facts == Expiry(20 * EURO, "2027-03-10", days)
    before = told(case(), day - timedelta(1))
    assert before is None or before.id != notice.id


def test_r20_nothing_is_told_earlier_than_the_first_date() -> None:
    assert told(case(), LAST - timedelta(61)) is None


@pytest.mark.parametrize("days", DAYS)
def test_r20_each_date_is_told_once(days: int) -> None:
    sent = {"expiry": f"expiry/2027-03-10/{days}"}
    assert told(case(sent=sent), LAST - timedelta(days)) is None
    assert told(case(sent=sent), LAST - timedelta(days - 1)) is None


def test_r20_dates_that_were_missed_are_told_by_one_notice_only() -> None:
    notice = told(case(), LAST - timedelta(5))
    assert notice is not None
    assert notice.id == "expiry/2027-03-10/7"
    assert notice.facts == Expiry(20 * EURO, "2027-03-10", 5)


def test_r20_the_last_day_is_still_told_and_the_day_after_is_not() -> None:
    assert told(case(), LAST) is not None
    assert told(case(), LAST + timedelta(1)) is None


def test_r20_an_event_moves_the_day_and_arms_the_dates_again() -> None:
    sent = {"expiry": "expiry/2027-03-10/7"}
    moved = standing(20 * EURO, events=CreditEvents(use_us=noon(date(2027, 3, 9))), sent=sent)
    assert told(moved, date(2027, 3, 9)) is None
    notice = told(moved, date(2028, 3, 2))
    assert notice is not None
    assert notice.id == "expiry/2028-03-09/7"


def test_r20_without_available_credit_nothing_expires() -> None:
    events = CreditEvents(purchase_us=noon(BOUGHT))
    assert told(standing(0, last_cure=None, events=events, forward_cost=None), LAST) is None
    held = standing(5 * EURO, reserved=5 * EURO, events=events)
    assert told(held, LAST) is None


def test_r20_a_yearly_payer_is_told_before_the_subscription_ends() -> None:
    paid = replace(ANNA, paid_until_us=at("2027-06-01T00:00"))
    case = standing(20 * EURO, account=paid, events=CreditEvents(payment_us=noon(date(2026, 5, 28))))
    notice = told(case, date(2027, 5, 1))
    assert notice is not None
    assert (notice.kind, notice.id) == (NoticeKind.SUBSCRIPTION_ENDING, "expiry/2027-05-31/30")
    assert notice.facts == SubscriptionEnding(20 * EURO, "2027-05-31", "2027-05-31", 30)


def test_r20_a_monthly_payer_is_not_told_as_each_payment_begins_a_year() -> None:
    paid = replace(ANNA, paid_until_us=at("2027-04-01T00:00"))
    monthly = standing(20 * EURO, account=paid, events=CreditEvents(payment_us=noon(date(2027, 3, 1))))
    for day in (date(2027, 3, 2), date(2027, 3, 25), date(2027, 3, 31)):
        assert told(monthly, day) is None


def test_r20_after_the_subscription_it_is_the_credit_that_is_spoken_of() -> None:
    paid = replace(ANNA, paid_until_us=at("2027-01-01T00:00"))
    notice = told(case(account=paid), LAST - timedelta(30))
    assert notice is not None
    assert notice.kind is NoticeKind.CREDIT_EXPIRY


def test_r20_a_change_of_kind_is_no_second_notice_of_the_same_date() -> None:
    paid = replace(ANNA, paid_until_us=at("2027-03-05T00:00"))
    first = told(case(account=paid), date(2027, 3, 4))
    assert first is not None
    assert first.kind is NoticeKind.SUBSCRIPTION_ENDING
    assert told(case(account=paid, sent={first.topic: first.id}), date(2027, 3, 6)) is None


def test_r18_r20_a_move_to_voice_free_leaves_the_day_that_was_told() -> None:
    """Told 30 days ahead; then the plan changes, and neither the day nor what is told again does."""
    paid = replace(ANNA, paid_until_us=at("2027-06-01T00:00"))
    events = CreditEvents(payment_us=noon(date(2026, 5, 28)))
    before = standing(20 * EURO, account=paid, events=events)
    first = told(before, date(2027, 5, 1))
    assert first is not None
    free = Plan("free", "table")
    moved = standing(
        20 * EURO, account=replace(paid, plan="free"), plan=free, events=events, sent={first.topic: first.id}
    )
    assert told(moved, date(2027, 5, 10)) is None
    last = told(moved, date(2027, 5, 24))
    assert last is not None
    assert (last.kind, last.id) == (NoticeKind.SUBSCRIPTION_ENDING, "expiry/2027-05-31/7")
    assert last.facts == SubscriptionEnding(20 * EURO, "2027-05-31", "2027-05-31", 7)


def test_r20_a_suspended_account_is_told_and_a_closed_one_is_not() -> None:
    assert told(case(account=replace(ANNA, status=Status.SUSPENDED)), LAST) is not None
    assert told(case(account=replace(ANNA, status=Status.CLOSED)), LAST) is None


def test_r20_an_operator_who_names_no_days_tells_nothing() -> None:
    assert told(case(), LAST, days=()) is None
