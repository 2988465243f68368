"""Limits what strangers make us log, or keep, so that nobody fills a disk by knocking often."""

from __future__ import annotations

from collections import deque

from charging.clock import MICROSECONDS, Clock

LINES, LINES_S = 30, 60
"""Of what strangers can bring about in any number, behind the door: so many lines of each kind in so many seconds."""
KINDS_MAX = 2_000
"""So many kinds are known at a time; of more, the one that came least lately is forgotten."""


class LogLimit:
    """Bounds what strangers make us log: so many lines of each kind in so many seconds."""

    def __init__(self, clock: Clock, lines: int = LINES, seconds: int = LINES_S) -> None:
        self._clock = clock
        self._lines = lines
        self._seconds = seconds
        self._logged_mono_us: dict[str, deque[int]] = {}
        self._passed_over: dict[str, int] = {}

    def more(self, kind: str) -> int | None:
        """Whether to log one more of this kind now: how many were passed over since the last line. ``None``: pass over
        this one, too."""
        now_us = self._clock.now().mono_us
        logged = self._logged_mono_us.pop(kind, None) or deque[int](maxlen=self._lines)
        self._logged_mono_us[kind] = logged
        if len(self._logged_mono_us) > KINDS_MAX:
            forgotten = next(iter(self._logged_mono_us))
            del self._logged_mono_us[forgotten]
            self._passed_over.pop(forgotten, None)
        if len(logged) == self._lines and now_us - logged[0] < self._seconds * MICROSECONDS:
            self._passed_over[kind] = self._passed_over.get(kind, 0) + 1
            return None
        logged.append(now_us)
        return self._passed_over.pop(kind, 0)
