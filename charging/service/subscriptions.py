"""Until when a subscription is paid (R18). What follows from it for old credit is decided where credit expires."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from charging.clock import MICROSECONDS, Clock
from charging.ledger.accounts import Account
from charging.rating.tariff import Tariff
from charging.service.accounts import Accounts
from charging.service.refusal import Code, Refused

AHEAD_YEARS_MAX = 10
"""A date further ahead is a slip of the fingers."""


class Subscriptions:
    """Records payments of subscriptions."""

    def __init__(self, accounts: Accounts, tariff: Callable[[], Tariff], clock: Clock) -> None:
        self._accounts = accounts
        self._tariff = tariff
        self._clock = clock

    async def paid(self, account: str, until: date | None = None) -> Account | Refused:
        """The subscription was paid now, through the day ``until`` (in the operator's zone); without one, for a month
        more than it was."""
        stored = await self._accounts.get(account)
        if isinstance(stored, Refused):
            return stored
        plan = self._tariff().plan(stored.plan)
        if plan is None or not plan.is_paid:
            message = f"plan {stored.plan!r} of account {account!r} is no paid subscription"
            return Refused(Code.NOT_ALLOWED, message, "move the account to a paid plan first: `charging account set`")
        today = self._tariff().day_of(self._clock.now().wall_us)
        if until is not None and abs(until.year - today.year) > AHEAD_YEARS_MAX:
            return Refused(Code.INVALID, f"found {until}, expected a day within {AHEAD_YEARS_MAX} years of today")
        return await self._accounts.edit(account, lambda one: self._paid(one, until, today))

    def _paid(self, account: Account, until: date | None, today: date) -> Account:
        zone = ZoneInfo(self._tariff().zone)
        account = replace(account, paid_at_us=self._clock.now().wall_us)
        if until is not None:
            return replace(account, paid_until_us=_midnight_us(until + timedelta(days=1), zone))
        begin = today
        if account.paid_until_us is not None:
            paid = datetime.fromtimestamp(account.paid_until_us // MICROSECONDS, tz=UTC).astimezone(zone).date()
            begin = max(today, paid)
        return replace(account, paid_until_us=_midnight_us(_a_month_later(begin), zone))


def _a_month_later(day: date) -> date:
    """The same day of the next month, or that month's last."""
    year, month = divmod(day.year * 12 + day.month, 12)
    for last in (day.day, 30, 29, 28):
        if last <= day.day:
            try:
                return date(year, month + 1, last)
            except ValueError:
                continue
    raise AssertionError("every month has 28 days")


def _midnight_us(day: date, zone: ZoneInfo) -> int:
    return round(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * MICROSECONDS
