"""The life of an account's credit: when it was last bought and used, read from the journal, and until when it can be
used (R15, R18, R19). Pure.

Credit can be used through its *last day*, in the operator's zone, and expires when the next day begins. The last day is
the later of

- the day through which the subscription is paid. A plan that is no paid subscription, such as Voice Free, has none; a
  customer who moves to it from a paid plan keeps the paid period to its end;
- the day one year after the last *event*: a subscription payment, a purchase of credit, or a call, voicemail or fax
  paid with it.

So neither the hour of an event nor a change of summer time matters, and credit never expires before a full year is
over. The year after 29 February ends on 1 March, in the customer's favour.

The payment stands in the account. Purchase and use are read from the journal, here in the ledger, because an opening
line must carry their times for the archived lines that it replaces. So credit expires on the same day, and the same
notices are due, before and after archiving.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Protocol
from zoneinfo import ZoneInfo

from charging.clock import local_reading
from charging.ledger.accounts import Account
from charging.ledger.balances import money_in
from charging.ledger.model import CREDIT, JournalLine, Kind
from charging.records import dataclass

_GIVES = frozenset({Kind.TOP_UP, Kind.CORRECT})
_USES = frozenset({Kind.RESERVE, Kind.EXTEND, Kind.SETTLE, Kind.CHARGE})

_ARCHIVED = "archived"
_SAID = re.compile(rf"{_ARCHIVED}(?:; credit used (\S+))?(?:; credit bought (\S+) by (.+))?", re.DOTALL)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def latest(*times_us: int | None) -> int | None:
    """The latest of these moments (wall clock, µs); ``None``: there is none."""
    return max((one for one in times_us if one is not None), default=None)


class CreditEvent(StrEnum):
    """What a line of the journal means to the life of credit."""

    PURCHASE = "purchase"
    USE = "use"


def credit_event(line: JournalLine) -> CreditEvent | None:
    """Which event of R19 a journal line is, if any. An opening line is none by itself, but may carry both.

    Decided where R19 is silent:

    - Credit that a person gives by a correction is a purchase; otherwise it would lapse again the next night.
    - A gift of promotional credit, which has an end of its own, is no purchase. What promotional credit pays is a use;
      otherwise bought credit would lapse because a gift was spent before it.
    - A call paid by free minutes alone takes no credit, so its lines are no events.
    """
    if line.kind in _GIVES:
        return CreditEvent.PURCHASE if sum(leg.posted for leg in line.legs if leg.balance == CREDIT) > 0 else None
    return CreditEvent.USE if line.kind in _USES and money_in(line.legs) < 0 else None


@dataclass(frozen=True, slots=True)
class CreditHistory:
    """What the lines of a journal, from its first, say of the account's credit.

    A time is the latest that any line has: a machine that starts with a wrong clock dates new lines years before older
    ones, and takes no day of credit by that.
    """

    cure: str | None = None
    """The id of the last transfer that brought credit from outside (a top-up, a correction)."""
    purchase_us: int | None = None
    """When credit was last bought or given, wall clock in µs."""
    use_us: int | None = None
    """When a call, voicemail or fax last took credit."""

    def after(self, line: JournalLine) -> CreditHistory:
        """The history with one more line."""
        if line.kind is Kind.OPENING:
            return self._after_opening(line)
        match credit_event(line):
            case CreditEvent.PURCHASE:
                return replace(self, cure=line.id, purchase_us=latest(self.purchase_us, line.at_us))
            case CreditEvent.USE:
                return replace(self, use_us=latest(self.use_us, line.at_us))
        return self

    def _after_opening(self, line: JournalLine) -> CreditHistory:
        """The history after an opening line, which stands for all lines up to its own, also for those read before."""
        said = _SAID.fullmatch(line.reason)
        used, bought, cure = said.groups() if said is not None else (None, None, None)
        if used is not None or bought is not None:
            return CreditHistory(cure, _microseconds(bought), _microseconds(used))
        if self != CreditHistory() or all(leg.balance != CREDIT or leg.posted <= 0 for leg in line.legs):
            return self
        return CreditHistory(line.id, line.at_us)  # credit from nowhere: it is the customer's for a year from here

    def opening_reason(self) -> str:
        """The reason of an opening line that stands for all the lines of this history."""
        used = "" if self.use_us is None else f"; credit used {_moment(self.use_us)}"
        bought = "" if self.purchase_us is None else f"; credit bought {_moment(self.purchase_us)} by {self.cure}"
        return f"{_ARCHIVED}{used}{bought}"


def _moment(wall_us: int) -> str:
    return (_EPOCH + timedelta(microseconds=wall_us)).isoformat(timespec="microseconds")


def _microseconds(moment: str | None) -> int | None:
    return None if moment is None else (datetime.fromisoformat(moment) - _EPOCH) // timedelta(microseconds=1)


# --- until when it can be used ------------------------------------------------------------------------------------


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
        return latest(self.payment_us, self.purchase_us, self.use_us)


class Sold(Protocol):
    """What is known here of a plan (`charging.tariff.plans.Plan`)."""

    @property
    def is_paid(self) -> bool:
        """Whether it is a paid subscription."""


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


def paid_until(account: Account, plan: Sold | None, at_us: int) -> int | None:
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
