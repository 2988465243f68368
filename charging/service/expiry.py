"""How long credit can be used (R18, R19), and the transfers that let it expire. Pure.

Credit can be used through its *last day*, in the operator's zone, and expires when the next day begins. The last day is
the later of

- the day through which the subscription is paid. A plan that is no paid subscription, such as Voice Free, has none; a
  customer who moves to it from a paid plan keeps the paid period to its end;
- the day one year after the last *event*: a subscription payment, a purchase of credit, or a call, voicemail or fax
  paid with it.

So neither the hour of an event nor a change of summer time matters, and credit never expires before a full year is
over. The year after 29 February ends on 1 March, in the customer's favour.

Purchase and use are read from the journal (`charging.ledger.credit_events`), the payment from the account.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from charging.ledger.accounts import Account
from charging.ledger.model import CREDIT, Kind, Leg, Transfer
from charging.pricing.calendar import local_reading
from charging.service.actor import DAEMON
from charging.tariff.plans import Plan


@dataclass(frozen=True, slots=True)
class CreditEvents:
    """When the events of R19 last happened, wall clock in µs; ``None``: never."""

    payment_us: int | None = None
    """Of the subscription."""
    purchase_us: int | None = None
    use_us: int | None = None
    """The end of the last call, voicemail or fax that took credit; of a running one, now."""

    @property
    def last_us(self) -> int | None:
        """The last of them."""
        return max((one for one in (self.payment_us, self.purchase_us, self.use_us) if one is not None), default=None)


@dataclass(frozen=True, slots=True)
class CreditLife:
    """Until when an account's credit can be used."""

    last_day: date
    paid_through: date | None
    """The last day for which the subscription is paid, also where it has passed; ``None``: never paid."""


def credit_life(paid_until_us: int | None, events: CreditEvents, zone: str) -> CreditLife | None:
    """Until when credit can be used; ``None`` if no event ever happened, so that no year has begun.

    ``paid_until_us`` is the first instant that is not paid any more (:func:`paid_until`).
    """
    local = ZoneInfo(zone)
    paid = None if paid_until_us is None else local_reading(local, paid_until_us - 1).date()
    year = None if events.last_us is None else year_after(local_reading(local, events.last_us).date())
    last_day = max((day for day in (paid, year) if day is not None), default=None)
    return None if last_day is None else CreditLife(last_day, paid)


def paid_until(account: Account, plan: Plan | None, at_us: int) -> int | None:
    """The first instant (wall clock, µs) that the account's subscription is not paid for; ``None`` if it has none.

    A paid period counts to its end, whatever the plan is by now: it was not refunded, and notices have named its end as
    the end of the credit. If the tariff does not have the account's plan, that is the operator's mistake, and the
    customer loses nothing by it.
    """
    end_us = account.paid_until_us
    runs = end_us is not None and at_us < end_us
    return end_us if runs or plan is None or plan.is_paid else None


def year_after(day: date) -> date:
    """The same day of the next year; 1 March after 29 February."""
    try:
        return day.replace(year=day.year + 1)
    except ValueError:
        return date(day.year + 1, 3, 1)


def days_until(last_day: date, today: date) -> int:
    """Whole days from ``today`` to ``last_day``; negative when it has passed."""
    return (last_day - today) // timedelta(days=1)


def credit_expiry(account: str, last_day: date, amount: int, at_us: int, attempt: int) -> Transfer:
    """The transfer that ends ``amount`` of credit, all that was available. ``attempt`` counts up where an earlier one
    of the same day took another amount, so that no two different transfers ever share an id."""
    key = (last_day + timedelta(days=1)).isoformat()
    return expire(account, CREDIT, f"credit/{key}", amount, at_us, attempt, "a_year_without_use")


def expire(account: str, balance: str, key: str, amount: int, at_us: int, attempt: int, reason: str) -> Transfer:
    """A transfer that takes ``amount`` off a balance: never what is reserved, for its leg's floor is zero."""
    id = f"expire/{key}" if attempt == 1 else f"expire/{key}/{attempt}"
    return Transfer(id, account, Kind.EXPIRE, at_us, (Leg(balance, -amount),), reason=reason, actor=DAEMON)
