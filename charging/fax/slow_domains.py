"""How many mails of one domain are waited over at a time, where its name servers are slow.

Whoever reads a mail holds one of the mail server's few places while the DNS is asked who sent it, and while a reply is
handed to a mail server, which may ask the DNS about its recipient. The domain's owner decides how long that takes. So
mails of a domain that was slow lately are waited over one at a time, and with a pause where it is slow again. The
others come again later. Of a domain whose answers come at once there may be any number.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from charging.clock import Clock

SLOW_S = 3
"""Longer than the DNS takes for a whole proof whose answers it has to fetch, and a mail server for a reply."""
SLOW_FOR_S = 300
PAUSE_S = 60
"""Of a domain that was slow again."""
WAIT_MAX_S = 60
"""Whoever began to wait and has not told its end by then, never does. The DNS is asked for 20 s at most."""
DOMAINS_MAX = 1_000


@dataclass(slots=True)
class Waited:
    """How long a domain's name servers were waited for."""

    seconds: float = 0.0

    @property
    def is_slow(self) -> bool:
        """Whether that was long."""
        return self.seconds >= SLOW_S


@dataclass(slots=True)
class _Slow:
    """Both on the monotonic clock."""

    until_us: int
    """It counts as slow so long."""
    free_us: int
    """From then on it may be waited for again."""


class SlowDomains:
    """The domains that were slow, by name in small letters."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._slow: OrderedDict[str, _Slow] = OrderedDict()

    def may_begin(self, domain: str) -> bool:
        """Whether the domain may be waited for now. If so, tell the end of it by `ended`."""
        now = self._clock.now()
        known = self._slow.get(domain)
        if known is None or known.until_us <= now.mono_us:
            return True
        if known.free_us > now.mono_us:
            return False
        known.free_us = now.plus(WAIT_MAX_S).mono_us
        return True

    def ended(self, domain: str, took_s: float) -> None:
        """The waiting is over, whatever came of it."""
        now, known = self._clock.now(), self._slow.get(domain)
        if took_s >= SLOW_S:
            self._slow[domain] = _Slow(now.plus(SLOW_FOR_S).mono_us, now.plus(PAUSE_S).mono_us)
            self._slow.move_to_end(domain)
            if len(self._slow) > DOMAINS_MAX:
                self._slow.popitem(last=False)
        elif known is not None:
            known.free_us = now.mono_us
