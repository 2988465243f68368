"""Until when a subscription is paid (R18)."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from charging.ledger.accounts import Account
from charging.service.refusal import Code
from charging.service.subscriptions import _a_month_later
from tests.unit.service.conftest import Shop, refused


def end_of(account: object) -> datetime:
    assert isinstance(account, Account)
    assert account.paid_until_us is not None
    return datetime.fromtimestamp(account.paid_until_us / 1_000_000, UTC)


async def test_r18_paid_through_a_day_ends_at_its_midnight_in_the_operators_zone(shop: Shop) -> None:
    await shop.anna("pro")
    paid = await shop.service.subscriptions.paid("anna", date(2027, 1, 31))
    assert end_of(paid) == datetime(2027, 1, 31, 23, 0, tzinfo=UTC)
    paid = await shop.service.subscriptions.paid("anna", date(2027, 6, 30))
    assert end_of(paid) == datetime(2027, 6, 30, 22, 0, tzinfo=UTC)


async def test_r18_without_a_day_a_month_follows_today_or_what_is_paid_already(shop: Shop) -> None:
    await shop.anna("pro")
    assert end_of(await shop.service.subscriptions.paid("anna")) == datetime(2026, 12, 20, 23, 0, tzinfo=UTC)
    assert end_of(await shop.service.subscriptions.paid("anna")) == datetime(2027, 1, 20, 23, 0, tzinfo=UTC)
    await shop.service.subscriptions.paid("anna", date(2020, 1, 1))
    assert end_of(await shop.service.subscriptions.paid("anna")) == datetime(2026, 12, 20, 23, 0, tzinfo=UTC)


async def test_r18_a_plan_that_is_no_paid_subscription_can_not_be_paid(shop: Shop) -> None:
    await shop.anna("light")
    refused(await shop.service.subscriptions.paid("anna"), Code.NOT_ALLOWED)
    refused(await shop.service.subscriptions.paid("bert"), Code.NOT_FOUND)


async def test_a_day_that_is_a_slip_of_the_fingers_is_refused(shop: Shop) -> None:
    await shop.anna("pro")
    refused(await shop.service.subscriptions.paid("anna", date(2037, 1, 1)), Code.INVALID)
    assert isinstance(await shop.service.subscriptions.paid("anna", date(2036, 12, 31)), Account)


@pytest.mark.parametrize(
    ("day", "later"),
    [
        (date(2026, 11, 21), date(2026, 12, 21)),
        (date(2026, 12, 31), date(2027, 1, 31)),
        (date(2027, 1, 31), date(2027, 2, 28)),
        (date(2028, 1, 31), date(2028, 2, 29)),
        (date(2027, 1, 29), date(2027, 2, 28)),
        (date(2027, 3, 31), date(2027, 4, 30)),
    ],
)
def test_a_month_later_is_the_same_day_or_the_months_last(day: date, later: date) -> None:
    assert _a_month_later(day) == later


async def test_r19_the_payment_itself_is_remembered(shop: Shop) -> None:
    await shop.anna("pro")
    await shop.clock.advance(3600)
    paid = await shop.service.subscriptions.paid("anna", date(2027, 1, 31))
    assert isinstance(paid, Account)
    assert paid.paid_at_us == shop.clock.now().wall_us
