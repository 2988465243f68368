"""Rate limits: how often a minute a key may do something; the first times may come at once. Pure; time is an argument.

For each key one number is kept: the time at which its requests, spread evenly, would end (GCRA). A key whose time has
passed has its whole allowance again and can be dropped; memory is bounded by dropping the key that asked longest ago.
"""

from __future__ import annotations

from collections import OrderedDict

from charging.clock import MICROSECONDS

MINUTE_US = 60 * MICROSECONDS
KEYS_MAX = 10_000


class Limits:
    """One limit for many keys."""

    def __init__(self, per_minute: int, keys_max: int = KEYS_MAX, saved_minutes: int = 1) -> None:
        """``saved_minutes``: so many minutes' worth may come at once, of who has not asked for as long."""
        self._interval_us = MINUTE_US // per_minute
        self._saved_us = saved_minutes * MINUTE_US
        self._keys_max = keys_max
        self.spread_us: OrderedDict[str, int] = OrderedDict()
        """By key, when its requests, spread evenly, would end; who asked last stands last."""

    def __len__(self) -> int:
        return len(self.spread_us)

    def wait_s(self, key: str, now_us: int) -> int:
        """Whole seconds until the key may ask again; 0: it may now. ``now_us`` is monotonic."""
        ahead_us = self.spread_us.get(key, now_us) + self._interval_us - now_us - self._saved_us
        return max(0, -(-ahead_us // MICROSECONDS))

    def left(self, key: str, now_us: int) -> tuple[int, int]:
        """How often the key may ask at once, and the whole seconds until it may ask as often as at first."""
        ahead_us = max(0, self.spread_us.get(key, now_us) - now_us)
        return max(0, self._saved_us - ahead_us) // self._interval_us, -(-ahead_us // MICROSECONDS)

    def take(self, key: str, now_us: int) -> int:
        """Seconds to wait, as `wait_s`. If the key may ask now (0), this time is counted."""
        if (wait_s := self.wait_s(key, now_us)) == 0:
            self.spread_us[key] = max(self.spread_us.get(key, now_us), now_us) + self._interval_us
            self.spread_us.move_to_end(key)
            if len(self.spread_us) > self._keys_max:
                self.spread_us.popitem(last=False)
        return wait_s

    def forgive(self, key: str) -> None:
        """Take back what the key has asked last."""
        if key in self.spread_us:
            self.spread_us[key] -= self._interval_us
