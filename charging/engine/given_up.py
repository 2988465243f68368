"""Who has called one number often lately, and nobody paid for it.

A forward that is given up while it rings, or a paid voicemail without a message, costs its caller nothing, and leaves
two lines in the journal and a CDR, which stay for years. One caller with a program makes a dozen a second of them, some
gigabytes a day. So what he leaves by calling one number is bounded, and beyond it he finds that number busy before
anything is looked up. All numbers together are not: a call centre shows one number for many calls to many people, and a
stranger who writes another's number must not keep him from all.
"""

from __future__ import annotations

from collections import OrderedDict

from charging.clock import MICROSECONDS, Clock

SAVED_MINUTES = 3
"""Who has not called for so long may give up so many minutes' calls at once."""
SOURCES_MAX = 10_000
"""Pairs of a caller and a number that we know. In a flood of more the one that was seen longest ago is forgotten."""


class GivenUp:
    """Counts the calls that ended without anything charged, by who made them: so many a minute, and what was saved."""

    def __init__(self, clock: Clock, a_minute: int) -> None:
        """``a_minute``: so many are let of each source in the long run; 0: as many as come."""
        self._clock = clock
        self._each_us = 60 * MICROSECONDS // a_minute if a_minute else 0
        self.lately: OrderedDict[str, int] = OrderedDict()
        """Who has given up calls, and when (monotonic) they will be made up for if no more come; the latest stands
        last."""

    def is_beyond(self, source: str) -> bool:
        """Whether this source, which has given up calls lately, has used up what it may."""
        ahead_us = self.lately[source] - self._clock.now().mono_us
        return ahead_us + self._each_us > SAVED_MINUTES * 60 * MICROSECONDS

    def count(self, source: str) -> None:
        """Count one more call of this source."""
        if not self._each_us:
            return
        now_us = self._clock.now().mono_us
        self.lately[source] = max(now_us, self.lately.get(source, 0)) + self._each_us
        self.lately.move_to_end(source)
        if len(self.lately) > SOURCES_MAX:
            self.lately.popitem(last=False)
