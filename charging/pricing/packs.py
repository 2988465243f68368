"""Bundles of seconds with an end of their own (add-on packs, promotional minutes, a bundle for a destination) beside
the months' free minutes: their names, and in which order they pay. Pure.

A pack's seconds that end on one day are one source, ``pack:2026-12-31:belgium``: a second counts as its until that
day ends in the operator's zone. So a call that outlives the end goes on with the next bundle, or with credit, from the
first increment that starts after it, as at a month's end.

Order: by the tariff's ``order`` (the months' free minutes have MONTH_ORDER), then those for certain destinations
before those for all, then the soonest end.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

PACK = "pack:"
MONTH_ORDER = 50

MINUTES_MAX = 100_000
"""So many are given in one act at most, and a pack has no more: more than a month has."""

PACKS_MAX = 6
"""So many of an account can pay a call at once, the first in their order: a tick has room for no more (`LEGS_MAX`). In
its life a call may use more, one after another."""


class PackRules(NamedTuple):
    """How a pack pays for a destination; that it does is said by its being there."""

    order: int
    """Lower pays earlier."""
    is_general: bool
    """Whether it pays for every destination."""
    increment_s: int | None
    """Of seconds that it pays; ``None``: that of the step in force."""


def pack_of(name: str, last_day: str, kind: str = PACK) -> str:
    """The source, and the balance, of a pack that can be used through ``last_day``, ``YYYY-MM-DD``. ``kind``: what its
    balances begin with, PACK for seconds (pieces: `charging.pricing.pieces`)."""
    return f"{kind}{last_day}:{name}"


def name_of(source: str) -> str:
    """The pack's name in the tariff."""
    return source.rpartition(":")[2]


def last_day_of(source: str) -> str:
    """``YYYY-MM-DD``."""
    return source.partition(":")[2][:10]


@lru_cache(maxsize=1024)
def ends_us(zone: ZoneInfo, source: str) -> int:
    """The first instant (wall clock, µs) at which a pack pays no more."""
    following = date.fromisoformat(last_day_of(source)) + timedelta(days=1)
    return round(datetime(following.year, following.month, following.day, tzinfo=zone).timestamp()) * 1_000_000
