"""Rate limits: how many requests a minute a key may make; the first ones may come at once. Pure; time is an argument.

For each key one number is kept: the time at which its requests, spread evenly, would end (GCRA). A key whose time has
passed has its whole allowance again and can be dropped; memory is bounded by dropping the key that asked longest ago.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from charging.clock import MICROSECONDS

MINUTE_US = 60 * MICROSECONDS
KEYS_MAX = 10_000
NUMBER_EDITS_PER_MINUTE, NUMBER_EDITS_SAVED_MINUTES = 6, 60
"""By a customer, of the numbers of his account: each leaves a note that is kept for good. An hour's worth may come at
once: a company has hundreds of numbers, and forwards all of them when it closes in the evening."""


class Limits:
    """One limit for many keys."""

    def __init__(self, per_minute: int, keys_max: int = KEYS_MAX, saved_minutes: int = 1) -> None:
        """``saved_minutes``: so many minutes' worth may come at once, of who has not asked for as long."""
        self._interval_us = MINUTE_US // per_minute
        self._saved_us = saved_minutes * MINUTE_US
        self._keys_max = keys_max
        self._spread_us: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._spread_us)

    def wait_s(self, key: str, now_us: int) -> int:
        """Whole seconds until the key may ask again; 0: it may now. ``now_us`` is monotonic."""
        ahead_us = self._spread_us.get(key, now_us) + self._interval_us - now_us - self._saved_us
        return max(0, -(-ahead_us // MICROSECONDS))

    def left(self, key: str, now_us: int) -> tuple[int, int]:
        """How often the key may ask at once, and the whole seconds until it may ask as often as at first."""
        ahead_us = max(0, self._spread_us.get(key, now_us) - now_us)
        return max(0, self._saved_us - ahead_us) // self._interval_us, -(-ahead_us // MICROSECONDS)

    def take(self, key: str, now_us: int) -> int:
        """Seconds to wait, as `wait_s`. If the key may ask now (0), this time is counted."""
        if (wait_s := self.wait_s(key, now_us)) == 0:
            self._spread_us[key] = max(self._spread_us.get(key, now_us), now_us) + self._interval_us
            self._spread_us.move_to_end(key)
            if len(self._spread_us) > self._keys_max:
                self._spread_us.popitem(last=False)
        return wait_s

    def forgive(self, key: str) -> None:
        """Take back what the key has asked last."""
        if key in self._spread_us:
            self._spread_us[key] -= self._interval_us


def number_edits() -> Limits:
    """By account: how often its customer may change its numbers."""
    return Limits(NUMBER_EDITS_PER_MINUTE, saved_minutes=NUMBER_EDITS_SAVED_MINUTES)


class Places:
    """How many may be at something at a time, in all and of each key: so whoever is slow keeps out none but his own."""

    def __init__(self, most: int, each: int, reserve: int = 0) -> None:
        """``reserve``: so many are left to an empty key."""
        self._most = most
        self._reserve = reserve
        self._each = each
        self._taken: Counter[str] = Counter()

    def has_room(self, key: str) -> bool:
        """Whether one more of the key may be. An empty key is the operator's own, who may have all."""
        if not key:
            return self._taken.total() < self._most
        return self._taken.total() < self._most - self._reserve and self._taken[key] < self._each

    @contextmanager
    def taken(self, key: str) -> Iterator[None]:
        """Be one of them. Ask `has_room` first."""
        self._taken[key] += 1
        try:
            yield
        finally:
            self._taken -= Counter((key,))
