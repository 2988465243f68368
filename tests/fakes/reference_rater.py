"""A rater so plain that it can be checked by eye: it walks every second of a call, with fractions.

It shares only the data types with the engine's rater, none of its arithmetic. It is what the fast one must equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from fractions import Fraction
from functools import cache
from math import ceil, floor
from zoneinfo import ZoneInfo

from charging.pricing.calendar import Window
from charging.pricing.rate import Rate, Rounding, Segment, Step


@dataclass(frozen=True)
class Second:
    """One second of a call: who pays, and its price."""

    source: str
    price: Fraction
    starts_increment: bool
    fee: int
    """The connect fee, if this second is the one that brings it."""


zone = cache(ZoneInfo)


def local_clock(rate: Rate, wall_us: int) -> datetime:
    return datetime.fromtimestamp(wall_us // 1_000_000, zone(rate.zone))


def is_open(window: Window, rate: Rate, local: datetime) -> bool:
    def kind(day: date) -> int:
        return 7 if day in rate.holidays else day.weekday()

    today, minute = local.date(), local.hour * 60 + local.minute
    yesterday = today - timedelta(days=1)
    if window.to_minute > window.from_minute:
        return kind(today) in window.days and window.from_minute <= minute < window.to_minute
    if minute >= window.from_minute and kind(today) in window.days:
        return True
    return minute < window.to_minute and kind(yesterday) in window.days


def step_at(rate: Rate, start_us: int, second: int) -> tuple[Step, int]:
    """And the connect fee."""
    local = local_clock(rate, start_us + second * 1_000_000)
    steps, fee = rate.steps, rate.connect_fee
    for band in rate.bands:
        if any(is_open(window, rate, local) for window in band.windows):
            steps = band.steps
            fee = fee if band.connect_fee is None else band.connect_fee
            break
    return [step for step in steps if step.from_s <= second][-1], fee


def month_at(rate: Rate, start_us: int, second: int) -> str:
    return local_clock(rate, start_us + second * 1_000_000).strftime("bundle:%Y-%m")


def rounded(exact: Fraction, rounding: Rounding) -> int:
    whole = floor(exact)
    rest = exact - whole
    half = Fraction(1, 2)
    up = {
        Rounding.UP: rest > 0,
        Rounding.DOWN: False,
        Rounding.HALF_UP: rest >= half,
        Rounding.HALF_DOWN: rest > half,
        Rounding.HALF_EVEN: rest > half or (rest == half and whole % 2 == 1),
    }[rounding]
    return whole + up


def paid(seconds: list[Second]) -> list[Fraction]:
    return [second.price for second in seconds if second.source == "credit"]


def cost(rate: Rate, seconds: list[Second]) -> int:
    prices = paid(seconds)
    return total(rate, fee_of(rate, seconds) + sum(prices, Fraction()), bool(prices))


def fee_of(rate: Rate, seconds: list[Second]) -> int:
    brings = (second.fee for second in seconds if second.source == "credit" or rate.fee_with_call)
    return next(brings, 0)


def total(rate: Rate, exact: Fraction, any_paid: bool) -> int:
    """``exact``: with the connect fee."""
    if any_paid:
        exact = max(exact, Fraction(rate.min_charge))
    if rate.max_cost is not None:
        exact = min(exact, Fraction(rate.max_cost))
    exact *= 1 + Fraction(rate.vat_added, 10_000)
    quantum = 10 ** (6 - rate.decimals)
    return within_maximum(rate, rounded(exact / quantum, rate.rounding) * quantum)


def within_maximum(rate: Rate, amount: int) -> int:
    if rate.max_cost is None:
        return amount
    quantum = 10 ** (6 - rate.decimals)
    most = Fraction(rate.max_cost) * (1 + Fraction(rate.vat_added, 10_000))
    rounded_down: int = floor(most / quantum) * quantum
    return min(amount, rounded_down)


def is_over_the_maximum(rate: Rate, exact: Fraction) -> bool:
    """Whether a call that ends at its maximum would cost more, before anything is rounded."""
    if not rate.ends_at_max or rate.max_cost is None:
        return False
    gross = exact * (1 + Fraction(rate.vat_added, 10_000))
    return within_maximum(rate, ceil(gross)) < gross


def next_increment(rate: Rate, start_us: int, at_s: int, free: dict[str, int]) -> list[Second]:
    """The increment that starts at ``at_s``; takes its free seconds out of ``free``."""
    step, fee = step_at(rate, start_us, at_s)
    price = Fraction(step.price, step.unit_s)
    source = month_at(rate, start_us, at_s)
    left = free.get(source, 0) if rate.free_minutes else 0
    own = step.first_increment_s if at_s == 0 and step.first_increment_s else step.increment_s
    length = (rate.free_increment_s or own) if left else own
    made = []
    for index in range(length):
        pays = source if index < left else "credit"
        made.append(Second(pays, price, index == 0, fee))
    if left:
        free[source] = max(0, left - length)
    return made


def plan(rate: Rate, start_us: int, free: dict[str, int], credit: int, target_s: int) -> tuple[list[Second], bool]:
    """Every second that can be paid, and whether money ended before the target."""
    free = dict(free)
    seconds: list[Second] = []
    exact, any_paid, fee = Fraction(), False, 0
    while len(seconds) < min(target_s, rate.max_call_s):
        increment = next_increment(rate, start_us, len(seconds), free)
        exact += sum(paid(increment), Fraction())
        if not (seconds if rate.fee_with_call else any_paid):
            fee = fee_of(rate, increment)
        any_paid = any_paid or bool(paid(increment))
        if total(rate, fee + exact, any_paid) > credit or is_over_the_maximum(rate, fee + exact):
            return seconds, True
        seconds += increment
    return seconds, False


def segments(seconds: list[Second]) -> tuple[Segment, ...]:
    made: list[Segment] = []
    for at, second in enumerate(seconds):
        if made and made[-1].source == second.source:
            made[-1] = Segment(made[-1].start_s, at + 1, second.source)
        else:
            made.append(Segment(at, at + 1, second.source))
    return tuple(made)


def increment_end(seconds: list[Second], used_s: int) -> int:
    """The first increment's end that is not before ``used_s``."""
    end = used_s
    while end < len(seconds) and not seconds[end].starts_increment:
        end += 1
    return min(end, len(seconds))
