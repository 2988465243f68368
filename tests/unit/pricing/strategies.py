"""Random tariffs and calls for Hypothesis: rich in edges (months, summer time, holidays, steps)."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from charging.pricing.calendar import Window
from charging.pricing.funding import Pools, plan
from charging.pricing.money import MICRO
from charging.pricing.rate import Band, Rate, Rounding, Step

ZONES = ["Europe/Amsterdam", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Asia/Kathmandu"]

# Local readings shortly before something changes: month, year, summer time (both ways), a holiday, an hour.
NEAR_EDGES = [
    "2026-11-30T23:55",
    "2026-12-31T23:58",
    "2026-03-29T01:50",
    "2026-10-25T02:50",
    "2026-04-05T01:50",
    "2026-09-05T23:50",
    "2026-12-24T23:55",
    "2026-11-02T17:58",
]

prices = st.one_of(st.just(0), st.integers(1, MICRO), st.sampled_from([50_000, 120_000, 12_345]))
increments = st.sampled_from([1, 1, 6, 7, 30, 60])
units = st.sampled_from([1, 60, 60, 7])


@st.composite
def step_rows(draw: st.DrawFn) -> tuple[Step, ...]:
    starts = [0, *sorted(draw(st.sets(st.integers(1, 400), max_size=3)))]
    first = draw(st.sampled_from([0, 0, 1, 30, 60]))
    return tuple(Step(start, draw(prices), draw(units), draw(increments), 0 if start else first) for start in starts)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    days = frozenset(draw(st.sets(st.integers(0, 7), min_size=1)))
    minutes = st.one_of(st.integers(0, 1439), st.sampled_from([0, 120, 121, 150, 179, 180, 1080, 1439]))
    return Window(days, draw(minutes), draw(minutes) + 1)


@st.composite
def bands(draw: st.DrawFn) -> Band:
    fee = draw(st.sampled_from([None, None, 0, 70_000, 12_345]))
    return Band("band", tuple(draw(st.lists(windows(), min_size=1, max_size=2))), draw(step_rows()), fee)


@st.composite
def rates(draw: st.DrawFn) -> Rate:
    decimals = draw(st.sampled_from([6, 6, 4, 2, 0]))
    least = draw(st.sampled_from([0, 0, 0, 70_000, 1_234_567]))
    most = draw(st.sampled_from([None, None, None, 150_000, 500_000, 1_000_000, 1_234_567]))
    return Rate(
        plan="plan",
        destination="somewhere",
        steps=draw(step_rows()),
        connect_fee=draw(st.sampled_from([0, 0, 50_000, 99_999])),
        bands=tuple(draw(st.lists(bands(), max_size=2))),
        holidays=draw(st.sampled_from([frozenset[date](), frozenset({date(2026, 12, 25), date(2026, 11, 30)})])),
        zone=draw(st.sampled_from(ZONES)),
        min_charge=least,
        max_cost=None if most is None else max(least, most),
        ends_at_max=most is not None and draw(st.booleans()),
        rounding=draw(st.sampled_from(list(Rounding))),
        decimals=decimals,
        fee_with_call=draw(st.booleans()),
        vat_added=draw(st.sampled_from([0, 0, 2100, 900])),
        free_minutes=draw(st.sampled_from([True, True, False])),
        free_increment_s=draw(st.sampled_from([None, None, 1, 60, 7])),
        max_call_s=draw(st.sampled_from([1, 59, 600, 900])),
    )


@st.composite
def starts(draw: st.DrawFn, rate: Rate) -> int:
    """A wall clock in microseconds, mostly near an edge of the rate's zone."""
    local = datetime.fromisoformat(draw(st.sampled_from(NEAR_EDGES))).replace(tzinfo=ZoneInfo(rate.zone))
    offset_us = draw(st.one_of(st.just(0), st.integers(-600 * MICRO, 3600 * MICRO)))
    return int(local.timestamp()) * MICRO + offset_us


MONTHS = [f"bundle:{month}" for month in "2026-03 2026-04 2026-09 2026-10 2026-11 2026-12 2027-01".split()]
pools = st.fixed_dictionaries({month: st.one_of(st.just(0), st.integers(0, 500)) for month in MONTHS})
money = st.one_of(st.integers(0, 3 * MICRO), st.integers(0, 100 * MICRO))


def affordable_seconds(rate: Rate, start_us: int, pools: Pools) -> int:
    """How long a new call can last on these pools: 0…``max_call_s``."""
    return plan(rate, start_us, (), pools, rate.max_call_s).covered_s
