"""How much the ledger can still grow where others may fill its disk.

A full disk stops no charging at once, for the ledger keeps room for itself. While that is used up someone must make
room. What is left at the end is for the calls that run: new ones are turned away.
"""

from __future__ import annotations

from collections.abc import Callable

from charging.engine.ports import Observer
from charging.engine.told import LedgerHasRoom, LedgerOutOfRoom, LedgerRoomLow

LOW_BYTES, ENOUGH_BYTES = 64 * 2**20, 128 * 2**20
"""With less than that left someone is told, and again once there is so much."""

USED_UP_BYTES = 8 * 2**20
"""With less than this left no new call is taken: 20,000 ends of calls, or an hour of 200 calls, still fit."""


class LedgerRoom:
    """Reports how much room the ledger has."""

    def __init__(self, observe: Observer, show: Callable[[float], None] = lambda _left: None) -> None:
        """``show`` is given the result of each look."""
        self.is_used_up = False
        """Whether what is left is for running calls."""
        self._is_low = False
        self._observe = observe
        self._show = show

    def saw(self, left: int | None) -> None:
        """Take the result of a look, in bytes; ``None``: its disk is not the ledger's matter."""
        if left is None:
            return
        self._show(left)
        free_mb = left // 1_000_000
        was_low, was_used_up = self._is_low, self.is_used_up
        self._is_low = left < (ENOUGH_BYTES if was_low else LOW_BYTES)
        self.is_used_up = left < (2 * USED_UP_BYTES if was_used_up else USED_UP_BYTES)
        if self.is_used_up and not was_used_up:
            self._observe(LedgerOutOfRoom(free_mb))
        elif self._is_low and not was_low:
            self._observe(LedgerRoomLow(free_mb))
        elif was_low and not self._is_low:
            self._observe(LedgerHasRoom(free_mb))
