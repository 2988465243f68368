"""Rate limits: how often a minute a key may do something; the first times may come at once.

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
BEYOND_MINUTES = 6
"""Where times are counted that were not asked for, a flood closes no key for longer."""


class Limits:
    """One limit for many keys. Time is an argument."""

    def __init__(self, per_minute: int, keys_max: int = KEYS_MAX, saved_minutes: int = 1, *, minutes: int = 1) -> None:
        """``per_minute``: or in so many ``minutes``. ``saved_minutes``: so many minutes' worth may come at once, of who
        has not asked for as long."""
        self._interval_us = minutes * MINUTE_US // per_minute
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
            self.count(key, now_us)
        return wait_s

    def count(self, key: str, now_us: int) -> None:
        """Count one time more, whether the key may ask or not: up to `BEYOND_MINUTES` minutes' worth too many."""
        spread_us = max(self.spread_us.get(key, now_us), now_us) + self._interval_us
        self.spread_us[key] = min(spread_us, now_us + self._saved_us + BEYOND_MINUTES * MINUTE_US)
        self.spread_us.move_to_end(key)
        if len(self.spread_us) > self._keys_max:
            self.spread_us.popitem(last=False)

    def forgive(self, key: str) -> None:
        """Take back what the key has asked last."""
        if key in self.spread_us:
            self.spread_us[key] -= self._interval_us


HOUR = 60
"""Minutes."""
GIVEN_UP_SAVED = 3
"""So many minutes' worth of calls a caller may give up at once who has not called for as long."""
VAIN_USUAL_A_MINUTE = 20
"""Calls that a caller may give up, where the operator sets no bound for callers."""
VAIN_LEAST_A_MINUTE = 3
"""However few the operator allows: fewer would be held back for longer than callers wait."""
VAIN_NEAR_MINUTES, VAIN_FAR_MINUTES = 18, 72
"""So many minutes' worth of forwards may cost nothing at once before they are held back; and before they are dialled no
more. They are held back for twice as long from twice as many on."""
VAIN_TARGETS = 2
"""An account may leave so many times as many uncharged as one of its targets."""
VAIN_WAIT_MORE_S, VAIN_WAIT_MAX_S = 2, 22
"""A forward is held back for so much longer than it takes to have one forgotten. No forward is held back for longer
than the second."""
VAIN_NOTED_PART, VAIN_NOTED_MINUTES = 5, 12
"""What is more than such a part a minute, and than so many minutes' worth at once, is told: before it is bounded."""
VAIN_TOLD_EVERY_S = 3600
FORGIVEN_MAX = 3
"""Each minute that a call lasts has one forward forgotten, up to this: where people talk, others are missed."""


class InVain:
    """Forwards that are dialled and cost nothing, by account and target; and by account, to all its targets.

    Asterisk acknowledges answers of which it tells nobody: one that comes as the ringing ends, one whose description of
    the audio it cannot use, one behind a BYE. The carrier bills them all the same. Nothing here can charge such an
    answer, so what forwards leave uncharged is bounded, whoever calls and however they end. Far below the bound each is
    held back for longer than it takes to have one forgotten: whoever has one line never reaches it.
    """

    def __init__(self, given_up_a_minute: int, clock: Clock, tell: Callable[[str], None]) -> None:
        """A target may have half of ``given_up_a_minute`` a minute. ``tell`` is called with an account that has far
        more of them than people make, once in `VAIN_TOLD_EVERY_S` at most."""
        a_minute = max(VAIN_LEAST_A_MINUTE, (given_up_a_minute or VAIN_USUAL_A_MINUTE) // 2)
        noted = max(1, a_minute // VAIN_NOTED_PART)
        self.held_back_s = -(-60 // a_minute) + VAIN_WAIT_MORE_S
        self._clock = clock
        self._tell = tell
        self._of_target = Limits(a_minute, saved_minutes=VAIN_FAR_MINUTES)
        self._of_account = Limits(VAIN_TARGETS * a_minute, saved_minutes=VAIN_FAR_MINUTES)
        self._noted = Limits(noted, saved_minutes=max(1, VAIN_NOTED_MINUTES * a_minute // noted))
        self._told = LogLimit(clock, lines=1, seconds=VAIN_TOLD_EVERY_S)
        self.accounts: Container[str] = self._of_account.spread_us
        """Those that have left any uncharged."""

    def wait_s(self, account: str, target: str) -> int | None:
        """How long a forward is held back before it is dialled, in seconds; ``None``: it is not to be dialled now."""
        now_us = self._clock.now().mono_us
        asked = ((self._of_account, account), (self._of_target, f"{account} {target}"))
        if any(one.wait_s(key, now_us) for one, key in asked):
            return None
        forgotten_in_s = max(one.left(key, now_us)[1] for one, key in asked)
        return min(VAIN_WAIT_MAX_S, self.held_back_s * (forgotten_in_s // (60 * VAIN_NEAR_MINUTES)))

    def ended(self, account: str, target: str) -> None:
        """Count a forward that was dialled and cost nothing. Many may have been let through while there was room for
        one, for each is counted as it ends."""
        now_us = self._clock.now().mono_us
        self._of_target.count(f"{account} {target}", now_us)
        self._of_account.count(account, now_us)
        if self._noted.take(account, now_us) and self._told.more(account) is not None:
            self._tell(account)

    def forgive(self, account: str, target: str, minutes: int) -> None:
        """Forget some for a call that lasted so many whole minutes, `FORGIVEN_MAX` at most."""
        for _ in range(min(minutes, FORGIVEN_MAX)):
            self._of_target.forgive(f"{account} {target}")
            self._of_account.forgive(account)
