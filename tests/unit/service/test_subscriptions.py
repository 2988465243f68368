"""Until when a subscription is paid (R18)."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from charging.ledger.accounts import PAYMENTS_REMEMBERED, Account
from charging.service.refusal import Code
from charging.service.subscriptions import _a_month_later
from tests.unit.service.conftest import Shop, refused


def end_of(account: object) -> datetime:
    assert isinstance(account, Account)
    assert account.paid_until_us is not None
    return datetime.fromtimestamp(account.paid_until_us / 1_000_000, UTC)


async def test_r18_paid_through_a_day_ends_at_its_midnight_in_the_operators_zone(shop: Shop) -> None:
    await shop.anna("pro")
    paid = await shop.service.subscriptions.paid("anna", "k1", date(2027, 1, 31))
    assert end_of(paid) == datetime(2027, 1, 31, 23, 0, tzinfo=UTC)
    paid = await shop.service.subscriptions.paid("anna", "k2", date(2027, 6, 30))
    assert end_of(paid) == datetime(2027, 6, 30, 22, 0, tzinfo=UTC)


async def test_r18_without_a_day_a_month_follows_today_or_what_is_paid_already(shop: Shop) -> None:
    await shop.anna("pro")
    assert end_of(await shop.service.subscriptions.paid("anna", "k1")) == datetime(2026, 12, 20, 23, 0, tzinfo=UTC)
    assert end_of(await shop.service.subscriptions.paid("anna", "k2")) == datetime(2027, 1, 20, 23, 0, tzinfo=UTC)
    await shop.service.subscriptions.correct("anna", "k3", date(2020, 1, 1))
    assert end_of(await shop.service.subscriptions.paid("anna", "k4")) == datetime(2026, 12, 20, 23, 0, tzinfo=UTC)


async def test_r18_months_one_after_the_other_keep_their_day_behind_a_shorter_month(shop: Shop) -> None:
    await shop.anna("pro")
    pay = shop.service.subscriptions.paid
    await pay("anna", "k", date(2027, 1, 30))
    ends = [end_of(await pay("anna", f"k{number}")).astimezone(ZoneInfo("Europe/Amsterdam")) for number in range(4)]
    assert [(one.month, one.day) for one in ends] == [(2, 28), (3, 31), (4, 30), (5, 31)]
    await shop.service.subscriptions.correct("anna", "back", date(2027, 2, 27))
    corrected = end_of(await pay("anna", "k9")).astimezone(ZoneInfo("Europe/Amsterdam"))
    assert (corrected.month, corrected.day) == (3, 28), "the day that was named counts"


async def test_r18_a_plan_that_is_no_paid_subscription_can_not_be_paid(shop: Shop) -> None:
    await shop.anna("light")
    refused(await shop.service.subscriptions.paid("anna", "k1"), Code.NOT_ALLOWED)
    refused(await shop.service.subscriptions.paid("bert", "k1"), Code.NOT_FOUND)
    refused(await shop.service.subscriptions.paid("anna", "a key"), Code.INVALID)


# --- told again -----------------------------------------------------------------------------------------------


async def test_r18_r19_the_same_payment_told_again_changes_nothing(shop: Shop) -> None:
    await shop.anna("pro")
    first = await shop.service.subscriptions.paid("anna", "invoice-7")
    await shop.clock.advance(3 * 86_400)
    assert await shop.service.subscriptions.paid("anna", "invoice-7") == first
    second = await shop.service.subscriptions.paid("anna", "invoice-8")
    assert end_of(second) == datetime(2027, 1, 20, 23, 0, tzinfo=UTC)
    assert await shop.service.subscriptions.paid("anna", "invoice-7") == second, "also after another one"


async def test_r18_r19_naming_the_period_again_changes_nothing(shop: Shop) -> None:
    """Someone who does not know whether it was done does it again, without a key of his own."""
    await shop.anna("pro")
    first = await shop.service.subscriptions.paid("anna", "k1", date(2027, 1, 31))
    assert isinstance(first, Account)
    await shop.clock.advance(3 * 86_400)
    again = await shop.service.subscriptions.paid("anna", "k2", date(2027, 1, 31))
    assert isinstance(again, Account)
    assert (again.paid_until_us, again.paid_at_us) == (first.paid_until_us, first.paid_at_us)


@pytest.mark.parametrize("until", [date(2026, 12, 31), date(2027, 1, 31), date(2020, 1, 1)])
async def test_r18_r19_a_period_that_is_paid_already_changes_nothing(shop: Shop, until: date) -> None:
    """An old invoice told late takes nothing from what was paid since."""
    await shop.anna("pro")
    first = await shop.service.subscriptions.paid("anna", "k1", date(2027, 1, 31))
    assert isinstance(first, Account)
    await shop.clock.advance(3 * 86_400)
    late = await shop.service.subscriptions.paid("anna", "k2", until)
    assert isinstance(late, Account)
    assert (late.paid_until_us, late.paid_at_us) == (first.paid_until_us, first.paid_at_us)
    more = await shop.service.subscriptions.paid("anna", "k3", date(2027, 2, 1))
    assert isinstance(more, Account)
    assert end_of(more) == datetime(2027, 2, 1, 23, 0, tzinfo=UTC)
    assert more.paid_at_us == shop.clock.now().wall_us


async def test_r18_r19_a_slip_is_corrected_and_is_no_payment(shop: Shop) -> None:
    await shop.anna("pro")
    correct = shop.service.subscriptions.correct
    refused(await correct("anna", "c0", date(2027, 1, 31)), Code.NOT_ALLOWED)
    slip = await shop.service.subscriptions.paid("anna", "k1", date(2036, 1, 31))
    assert isinstance(slip, Account)
    await shop.clock.advance(3 * 86_400)
    mended = await correct("anna", "c1", date(2027, 1, 31))
    assert isinstance(mended, Account)
    assert end_of(mended) == datetime(2027, 1, 31, 23, 0, tzinfo=UTC)
    assert mended.paid_at_us == slip.paid_at_us
    paid = await shop.service.subscriptions.paid("anna", "k2", date(2027, 2, 28))
    assert await correct("anna", "c1", date(2027, 1, 31)) == paid, "told again, it takes nothing back"
    refused(await correct("anna", "c1", date(2027, 3, 31)), Code.KEY_REUSED)
    refused(await correct("anna", "k1", date(2036, 1, 31)), Code.KEY_REUSED)
    refused(await correct("anna", "c2", date(2037, 1, 1)), Code.INVALID)


async def test_r18_a_key_of_another_payment_is_refused(shop: Shop) -> None:
    await shop.anna("pro")
    await shop.service.subscriptions.paid("anna", "k1", date(2027, 1, 31))
    before = await shop.store.directory.account("anna")
    refused(await shop.service.subscriptions.paid("anna", "k1", date(2027, 2, 28)), Code.KEY_REUSED)
    refused(await shop.service.subscriptions.paid("anna", "k1"), Code.KEY_REUSED)
    assert await shop.store.directory.account("anna") == before


async def test_r18_many_that_tell_of_one_payment_at_the_same_time_record_it_once(shop: Shop) -> None:
    await shop.anna("pro")
    told = await asyncio.gather(*(shop.service.subscriptions.paid("anna", "invoice-7") for _ in range(20)))
    assert {end_of(one) for one in told} == {datetime(2026, 12, 20, 23, 0, tzinfo=UTC)}
    stored = await shop.store.directory.account("anna")
    assert stored is not None
    assert [one.key for one in stored.payments] == ["invoice-7"]


async def test_r18_the_last_payments_are_remembered(shop: Shop) -> None:
    await shop.anna("pro")
    for number in range(PAYMENTS_REMEMBERED + 1):
        await shop.service.subscriptions.paid("anna", f"k{number}")
    stored = await shop.store.directory.account("anna")
    assert stored is not None
    assert [one.key for one in stored.payments] == [f"k{number}" for number in range(1, PAYMENTS_REMEMBERED + 1)]
    assert await shop.service.subscriptions.paid("anna", "k1") == stored


async def test_r18_a_payment_told_again_after_the_plan_was_left_is_no_fault(shop: Shop) -> None:
    await shop.anna("pro")
    await shop.service.subscriptions.paid("anna", "k1")
    left = await shop.service.accounts.change("anna", {"plan": "light"})
    assert await shop.service.subscriptions.paid("anna", "k1") == left


async def test_a_day_that_is_a_slip_of_the_fingers_is_refused(shop: Shop) -> None:
    await shop.anna("pro")
    refused(await shop.service.subscriptions.paid("anna", "k1", date(2037, 1, 1)), Code.INVALID)
    assert isinstance(await shop.service.subscriptions.paid("anna", "k1", date(2036, 12, 31)), Account)


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
    assert _a_month_later(day, day.day) == later


async def test_r19_the_payment_itself_is_remembered(shop: Shop) -> None:
    await shop.anna("pro")
    await shop.clock.advance(3600)
    paid = await shop.service.subscriptions.paid("anna", "k1", date(2027, 1, 31))
    assert isinstance(paid, Account)
    assert paid.paid_at_us == shop.clock.now().wall_us
