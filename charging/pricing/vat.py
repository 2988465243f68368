"""Value added tax: which rate counts on which day. Pure.

Each day keeps its rate: a statement of last year shows last year's rate, whatever the rate is today.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from charging.pricing.money import CENT
from charging.pricing.rate import Rounding, round_div


@dataclass(frozen=True, slots=True)
class Vat:
    """Rates in hundredths of a percent; days are the operator's."""

    rate: int = 0
    """Until the first change."""
    changes: tuple[tuple[date, int], ...] = ()
    """The first day of each other rate, ascending."""
    included: bool = True
    """Whether prices include it."""

    def on(self, day: date) -> int:
        """The rate that counts on a day."""
        return next((rate for first_day, rate in reversed(self.changes) if first_day <= day), self.rate)

    def during(self, first: date, last: date) -> tuple[int, ...]:
        """Every rate that counts on some day from ``first`` to ``last``, each once, in the order of the days."""
        later = (rate for first_day, rate in self.changes if first < first_day <= last)
        return tuple(dict.fromkeys((self.on(first), *later)))

    def added(self, day: date) -> int:
        """The rate that is put on top of prices on a day; 0 where they include it."""
        return 0 if self.included else self.on(day)

    def differs_before(self, other: Vat, day: date) -> bool:
        """Whether an earlier day has another rate there."""
        turns = (date.min, *(first_day for one in (self, other) for first_day, _ in one.changes))
        return any(self.on(turn) != other.on(turn) for turn in turns if turn < day)

    def __str__(self) -> str:
        changes = (f"{format_percent(rate)} from {first_day}" for first_day, rate in self.changes)
        where = "included" if self.included else "on top"
        return ", ".join((format_percent(self.rate), *changes, where))


NO_VAT = Vat()


def vat_within(gross: int, rate: int) -> int:
    """The VAT in an amount that includes it, rounded half up to whole cents; micro-euro. Of nothing, or less, it is
    0."""
    return round_div(max(0, gross) * rate, (10_000 + rate) * CENT, Rounding.HALF_UP) * CENT


def format_percent(hundredths: int) -> str:
    """``2100`` → ``21%``, ``950`` → ``9.5%``."""
    whole, rest = divmod(hundredths, 100)
    return f"{whole}.{rest:02d}".rstrip("0").rstrip(".") + "%"
