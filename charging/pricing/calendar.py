"""The operator's calendar: months, week days, holidays and time bands by the clock on the wall.

Everything here is defined by one sentence: *look at the local clock at that instant*. Summer time therefore
needs no rule of its own: an hour that does not exist is in no band, and an hour that comes twice is in its
band twice. Edges are found without walking: between two changes of the zone's offset local time is linear.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from charging.records import NEWER, SORTED

MICROSECONDS = 1_000_000
MINUTES_A_DAY = 1440
HOLIDAY = 7
"""Stands beside the week days 0 (Monday) to 6 (Sunday); a holiday is no week day."""


@dataclass(frozen=True, slots=True)
class Window:
    """Hours of some days. Hours past midnight (``22:00-06:00``) belong to the day on which they begin."""

    days: Annotated[frozenset[int], SORTED]
    from_minute: int
    """0…1439, of the local day."""
    to_minute: int
    """1…1440; not more than ``from_minute`` means the next day. The minute itself is outside."""
    newer: Annotated[tuple[Any, ...], NEWER] = field(default=(), hash=False)

    def holds(self, day: int, day_before: int, minute: int) -> bool:
        """Whether the window is open at ``minute`` of a day of kind ``day``."""
        if self.from_minute < self.to_minute:
            return self.from_minute <= minute < self.to_minute and day in self.days
        evening = minute >= self.from_minute and day in self.days
        return evening or (minute < self.to_minute and day_before in self.days)


def local_reading(zone: ZoneInfo, wall_us: int) -> datetime:
    """What the local clock shows, without its zone."""
    return _local_second(zone, wall_us // MICROSECONDS).replace(microsecond=wall_us % MICROSECONDS)


@lru_cache(maxsize=256)
def _local_second(zone: ZoneInfo, second: int) -> datetime:
    """One decision asks some ten times about the same moment."""
    return datetime.fromtimestamp(second, zone).replace(tzinfo=None, fold=0)


def kind_of_day(day: date, holidays: frozenset[date]) -> int:
    """0…6 for Monday…Sunday, or :data:`HOLIDAY`."""
    return HOLIDAY if day in holidays else day.weekday()


def open_window(windows: tuple[Window, ...], holidays: frozenset[date], local: datetime) -> int | None:
    """The position of the first window that is open at a local reading."""
    today = local.date()
    day = kind_of_day(today, holidays)
    before = kind_of_day(today - timedelta(days=1), holidays)
    minute = local.hour * 60 + local.minute
    for position, window in enumerate(windows):
        if window.holds(day, before, minute):
            return position
    return None


def next_window_edge_us(zone: ZoneInfo, wall_us: int, local: datetime, minutes: tuple[int, ...]) -> int:
    """The first instant after ``wall_us``, when the clock shows ``local``, at which a window may open or close.

    ``minutes`` are the edges of all windows within a day, ascending, without midnight (which is always one).
    """
    midnight = datetime(local.year, local.month, local.day)  # noqa: DTZ001
    minute = local.hour * 60 + local.minute
    edge = next((m for m in minutes if m > minute), MINUTES_A_DAY)
    return _instant_of(zone, wall_us, local, midnight + timedelta(minutes=edge))


def month_name(zone: ZoneInfo, wall_us: int) -> str:
    """The calendar month, as ``2026-11``."""
    return day_name(zone, wall_us)[:7]


def day_name(zone: ZoneInfo, wall_us: int) -> str:
    """The calendar day, as ``2026-11-21``."""
    return _day_at(zone, wall_us // MICROSECONDS)


@lru_cache(maxsize=256)
def _day_at(zone: ZoneInfo, second: int) -> str:
    return _local_second(zone, second).date().isoformat()


def month_and_edge_us(zone: ZoneInfo, wall_us: int) -> tuple[str, int]:
    """The calendar month, and the first instant after ``wall_us`` at which it may end."""
    local = local_reading(zone, wall_us)
    years, month = divmod(local.month, 12)
    following = datetime(local.year + years, month + 1, 1)  # noqa: DTZ001
    return f"{local.year:04d}-{local.month:02d}", _instant_of(zone, wall_us, local, following)


def _instant_of(zone: ZoneInfo, wall_us: int, local: datetime, target: datetime) -> int:
    """When the local clock gets from ``local`` to ``target``, or, if sooner, the zone's offset changes."""
    instant = wall_us + _micros(target - local)
    if _offset_us(zone, wall_us) == _offset_us(zone, instant):
        return instant
    change = _offset_change_us(zone, wall_us // MICROSECONDS, instant // MICROSECONDS + 1)
    return change if wall_us < change < instant else instant


@lru_cache(maxsize=256)
def _offset_change_us(zone: ZoneInfo, low_s: int, high_s: int) -> int:
    """The first second in ``(low_s, high_s]`` with another offset than ``low_s`` has, by halving."""
    offset = _offset_us(zone, low_s * MICROSECONDS)
    while high_s - low_s > 1:
        middle = (low_s + high_s) // 2
        if _offset_us(zone, middle * MICROSECONDS) == offset:
            low_s = middle
        else:
            high_s = middle
    return high_s * MICROSECONDS


def _offset_us(zone: ZoneInfo, wall_us: int) -> int:
    offset = datetime.fromtimestamp(wall_us // MICROSECONDS, zone).utcoffset()
    assert offset is not None
    return _micros(offset)


def _micros(delta: timedelta) -> int:
    return delta // timedelta(microseconds=1)
