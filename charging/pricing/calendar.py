"""Time bands: windows of the week days and holidays, by the local clock.

Everything here is defined by one sentence: *look at the local clock at that instant* (`charging.clock`). Summer time
therefore needs no rule of its own: an hour that does not exist is in no band, and an hour that comes twice is in its
band twice.
"""

from __future__ import annotations

from dataclasses import field
from datetime import date, datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from charging.clock import instant_of
from charging.records import NEWER, SORTED, dataclass

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
    return instant_of(zone, wall_us, local, midnight + timedelta(minutes=edge))
