"""Rate limits: how often a minute a key may do something; the first times may come at once. Time is an argument.

For each key one number is kept: the time at which its requests, spread evenly, would end (GCRA). A key whose time has
passed has its whole allowance again and can be dropped; memory is bounded by dropping the key that asked longest ago.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Container

from charging.clock import MICROSECONDS, Clock
from charging.log_limit import LogLimit

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


VAIN_SAVED_MINUTES = 18
"""So many minutes' worth may come at once: as many calls as three callers may give up at once. Less would let one
caller stop an account's forwards soon; who lets them ring holds the few calls of a plan by less."""
GIVEN_BACK = 3
"""So many are forgotten with each call that is charged: where people are reached, others are missed."""
NOTED_A_MINUTE, NOTED_SAVED_MINUTES = 2, 60
"""What is more than that is told, long before it is bounded."""
TOLD_EVERY_S = 3600


class InVain:
    """Forwards that are dialled and cost nothing, by account.

    Asterisk acknowledges answers of which it tells nobody: one that comes as the ringing ends, one whose description of
    the audio it cannot use, one behind a BYE. The carrier bills them all the same. Nothing here can charge such an
    answer, so what an account's forwards leave uncharged is bounded, whoever calls and however they end.
    """

    def __init__(self, given_up_a_minute: int, clock: Clock, tell: Callable[[str], None]) -> None:
        """An account may have half of ``given_up_a_minute`` a minute. ``tell`` is called with an account that has far
        more of them than people make, once in `TOLD_EVERY_S` at most."""
        self._clock = clock
        self._tell = tell
        self._bound = Limits(max(1, given_up_a_minute // 2), saved_minutes=VAIN_SAVED_MINUTES)
        self.counted: Container[str] = self._bound.spread_us
        """The accounts of which any is counted."""
        self._noted = Limits(NOTED_A_MINUTE, saved_minutes=NOTED_SAVED_MINUTES)
        self._told = LogLimit(clock, lines=1, seconds=TOLD_EVERY_S)

    def is_beyond(self, account: str) -> bool:
        """Whether no more forwards of the account are to be dialled now."""
        return self._bound.wait_s(account, self._clock.now().mono_us) > 0

    def ended(self, account: str, *, charged: bool) -> None:
        """Count a forward that was dialled and is over."""
        now_us = self._clock.now().mono_us
        if charged:
            for _ in range(GIVEN_BACK):
                self._bound.forgive(account)
                self._noted.forgive(account)
            return
        self._bound.take(account, now_us)
        if self._noted.take(account, now_us) and self._told.more(account) is not None:
            self._tell(account)
