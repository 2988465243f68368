"""Forwards that are dialled and cost nothing, by account.

Asterisk acknowledges answers of which it tells nobody: one that comes as the ringing ends, one whose description of the
audio it cannot use, one behind a BYE. The carrier bills them all the same. Nothing here can charge such an answer, so
what an account's forwards leave uncharged is bounded, whoever calls and however they end.
"""

from __future__ import annotations

from collections.abc import Callable

from charging.clock import Clock
from charging.limits import Limits
from charging.log_limit import LogLimit

SAVED_MINUTES = 18
"""So many minutes' worth may come at once: as many calls as three callers may give up at once. Less would let one
caller stop an account's forwards soon; who lets them ring holds the few calls of a plan by less."""
GIVEN_BACK = 3
"""So many are forgotten with each call that is charged: where people are reached, others are missed."""
NOTED_A_MINUTE, NOTED_SAVED_MINUTES = 2, 60
"""What is more than that is told, long before it is bounded."""
TOLD_EVERY_S = 3600


class InVain:
    """What the forwards of each account have left uncharged lately."""

    def __init__(self, given_up_a_minute: int, clock: Clock, tell: Callable[[str], None]) -> None:
        """An account may have half of ``given_up_a_minute`` a minute. ``tell`` is called with an account that has far
        more of them than people make, once in `TOLD_EVERY_S` at most."""
        self._clock = clock
        self._tell = tell
        self._bound = Limits(max(1, given_up_a_minute // 2), saved_minutes=SAVED_MINUTES)
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
