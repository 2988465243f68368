"""How late the loop that decides calls is, and whether it takes new ones.

All that a call needs is done in turns of one loop. Where it falls behind, running calls go first: new ones are turned
away at once, before anything is looked up or reserved, until it has caught up. No running call is ever cut for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import NoReturn

from charging.clock import MICROSECONDS, Clock
from charging.engine.ports import Observer
from charging.engine.told import CallersTurnedAway, OverloadBegun, OverloadEnded
from charging.errors import SwitchError

SAMPLE_S = 0.1
"""Between two looks at how late it is."""

SAMPLE_MAX_US = MICROSECONDS // 2
"""One look counts for no more: one long stop (a frozen process, a machine that slept) is over when it is seen."""

WEIGHT = 5
"""Each look counts for so large a part of the level: it follows within a second."""

REFUSES_US = 200_000
"""A decision takes some fifteen turns, and the dialplan waits for three seconds (CHARGING_GUARD_S): from here on those
who call would wait for nothing, and cost those who talk."""

TAKES_US = 100_000
"""It has caught up."""


COUNT_S = 10
"""Between two looks at how many the switch turned away."""


class CrowdWatch:
    """Reports how many callers the switch turned away by itself because there were too many. Asterisk only counts them,
    so a flood costs one look and one line every ten seconds, however large it is."""

    def __init__(
        self,
        counts: Callable[[], Awaitable[Mapping[str, int]]],
        clock: Clock,
        observe: Observer,
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        """``counts`` returns the numbers since the switch's start, by reason; raises SwitchError. Of the daemons that
        share a switch, only the one that ``leads`` reports."""
        self._counts = counts
        self._clock = clock
        self._observe = observe
        self._leads = leads
        self._before: Mapping[str, int] | None = None

    async def run(self) -> NoReturn:
        """Look, for ever."""
        while True:
            with suppress(SwitchError):
                self.saw(await self._counts())
            await self._clock.sleep_until(self._clock.now().plus(COUNT_S).mono_us)

    def saw(self, counts: Mapping[str, int]) -> None:
        """Take the switch's counts. The first look's were counted before this daemon started. If a count has fallen,
        Asterisk was restarted, and it counts from 0."""
        before, self._before = self._before, counts
        if before is None or not self._leads():
            return
        new = {why: count - (was if count >= (was := before.get(why, 0)) else 0) for why, count in counts.items()}
        if turned := {why: count for why, count in new.items() if count}:
            self._observe(CallersTurnedAway(turned))


class LoadWatch:
    """Measures how late the loop is, and reports when that is too much."""

    def __init__(
        self, clock: Clock, observe: Observer, measure: Callable[[float], None] = lambda _late_s: None
    ) -> None:
        """``measure`` is given the lateness of every look, in seconds."""
        self.is_overloaded = False
        self._clock = clock
        self._observe = observe
        self._measure = measure
        self._level_us = 0

    async def run(self) -> NoReturn:
        """Measure, for ever."""
        while True:
            due_us = self._clock.now().plus(SAMPLE_S).mono_us
            await self._clock.sleep_until(due_us)
            self.saw(max(0, self._clock.now().mono_us - due_us))

    def saw(self, late_us: int) -> None:
        """Take one measurement: the loop was this many seconds late."""
        self._measure(late_us / MICROSECONDS)
        self._level_us += (min(late_us, SAMPLE_MAX_US) - self._level_us) // WEIGHT
        was = self.is_overloaded
        self.is_overloaded = self._level_us >= (TAKES_US if was else REFUSES_US)
        if self.is_overloaded is not was:
            late_ms = self._level_us // 1000
            self._observe(OverloadBegun(late_ms) if self.is_overloaded else OverloadEnded(late_ms))
