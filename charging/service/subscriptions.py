"""Records until when a subscription is paid (R18). Its effect on old credit is in `charging.ledger.credit_life`.

A payment is recorded with a key, or at least by its period. The same payment repeated changes nothing: neither the paid
period nor the day from which R19's year counts. No payment moves the end of the paid period to an earlier day; to undo
a mistake there is a correction, which is no payment. The latest payments and corrections are stored in the account, in
the same write as their effect, so a crash cannot separate the two.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from charging.clock import MICROSECONDS, Clock
from charging.ledger.accounts import PAYMENTS_REMEMBERED, Account, Payment
from charging.ledger.port import Store
from charging.service import text
from charging.service.accounts import Accounts
from charging.service.proven_time import dated
from charging.service.refusal import Code, Refused
from charging.tariff.tariff import Tariff

AHEAD_YEARS_MAX = 10
"""A date further ahead is a slip of the fingers."""

CORRECTED_TO = "corrected to"
"""Stands before the day of a correction, where payments are remembered."""


class Subscriptions:
    """Records payments of subscriptions."""

    def __init__(self, store: Store, accounts: Accounts, tariff: Callable[[], Tariff], clock: Clock) -> None:
        self._store = store
        self._accounts = accounts
        self._tariff = tariff
        self._clock = clock

    async def paid(self, account: str, key: str, until: date | None = None) -> Account | Refused:
        """Record that the subscription was paid now: through the day ``until`` (in the operator's zone), or else for
        one month more. The same ``key`` again, or a period that is paid already, changes nothing.

        Raises LedgerUnavailable: ask again with the same key.
        """
        now_us = await dated(self._store, self._clock)
        if (wrong := text.idempotency_key(key) or _slip(until, self._tariff().day_of(now_us))) is not None:
            return wrong
        payment = Payment(key, "" if until is None else until.isoformat())
        return await self._accounts.edit(account, lambda one: self._with(one, payment, until, now_us))

    def paid_already(self, account: Account, until: date | None) -> str:
        """Why a payment of the period that ends with ``until`` has changed nothing, of the account that answered it;
        else nothing. The very day that is paid may be told again."""
        if until is None or account.paid_until_us is None:
            return ""
        zone = ZoneInfo(self._tariff().zone)
        if account.paid_until_us <= _midnight_us(until + timedelta(days=1), zone):
            return ""
        told = f"account {account.id!r} is already paid until {_last_day(account.paid_until_us, zone)}"
        return f"{told}; nothing was changed; `charging subscription correct` puts a wrong one right"

    async def correct(self, account: str, key: str, until: date) -> Account | Refused:
        """Set the end of the paid period to the day ``until``, which may be earlier than the one recorded. This is no
        payment: the day from which R19's year counts stays. The same ``key`` again changes nothing.

        Raises LedgerUnavailable: ask again with the same key.
        """
        today = self._tariff().day_of(await dated(self._store, self._clock))
        if (wrong := text.idempotency_key(key) or _slip(until, today)) is not None:
            return wrong
        correction = Payment(key, f"{CORRECTED_TO} {until}")
        return await self._accounts.edit(account, lambda one: self._corrected(one, correction, until))

    def _corrected(self, account: Account, correction: Payment, until: date) -> Account | Refused:
        if (known := _known(account, correction)) is not None:
            return known
        if account.paid_until_us is None:
            message = f"no payment of account {account.id!r} is recorded"
            return Refused(Code.NOT_ALLOWED, message, "record one: `charging subscription paid`")
        end_us = _midnight_us(until + timedelta(days=1), ZoneInfo(self._tariff().zone))
        return replace(account, payments=_remembered(account, correction), paid_until_us=end_us, paid_day=0)

    def _with(self, account: Account, payment: Payment, until: date | None, now_us: int) -> Account | Refused:
        if (known := _known(account, payment)) is not None:
            return known
        plan = self._tariff().plan(account.plan)
        if plan is None or not plan.is_paid:
            message = f"plan {account.plan!r} of account {account.id!r} is no paid subscription"
            return Refused(Code.NOT_ALLOWED, message, "move the account to a paid plan first: `charging account set`")
        paid_until_us, paid_day = self._paid_until_us(account, until, self._tariff().day_of(now_us))
        account = replace(account, payments=_remembered(account, payment))
        if account.paid_at_us is not None and (account.paid_until_us or 0) >= paid_until_us:
            return account  # the payment of this period or an earlier one, told under another key
        return replace(account, paid_at_us=now_us, paid_until_us=paid_until_us, paid_day=paid_day)

    def _paid_until_us(self, account: Account, until: date | None, today: date) -> tuple[int, int]:
        """The end, and the day of the month on which paid months begin (`Account.paid_day`)."""
        zone = ZoneInfo(self._tariff().zone)
        if until is not None:
            return _midnight_us(until + timedelta(days=1), zone), 0
        begin, day = today, today.day
        if account.paid_until_us is not None and (end := _day_of(account.paid_until_us, zone)) >= today:
            begin, day = end, account.paid_day or end.day
        return _midnight_us(_a_month_later(begin, day), zone), day


def _slip(until: date | None, today: date) -> Refused | None:
    if until is None or abs(until.year - today.year) <= AHEAD_YEARS_MAX:
        return None
    return Refused(Code.INVALID, f"found {until}, expected a day within {AHEAD_YEARS_MAX} years of today", at="#/until")


def _known(account: Account, payment: Payment) -> Account | Refused | None:
    """The answer to what was told before under this key; ``None``: it was not."""
    for known in account.payments:
        if known.key == payment.key:
            return account if known == payment else _another(payment.key)
    return None


def _remembered(account: Account, payment: Payment) -> tuple[Payment, ...]:
    return (*account.payments, payment)[-PAYMENTS_REMEMBERED:]


def _another(key: str) -> Refused:
    message = f"key {key!r} was used before, for a payment of another period; nothing was changed"
    return Refused(Code.KEY_REUSED, message, "use a new key for a new payment")


def _a_month_later(begin: date, day: int) -> date:
    """That day of the next month, or that month's last."""
    year, month = divmod(begin.year * 12 + begin.month, 12)
    return date(year, month + 1, min(day, monthrange(year, month + 1)[1]))


def _day_of(wall_us: int, zone: ZoneInfo) -> date:
    return datetime.fromtimestamp(wall_us // MICROSECONDS, tz=UTC).astimezone(zone).date()


def _last_day(end_us: int, zone: ZoneInfo) -> date:
    return _day_of(end_us, zone) - timedelta(days=1)


def _midnight_us(day: date, zone: ZoneInfo) -> int:
    return round(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * MICROSECONDS
