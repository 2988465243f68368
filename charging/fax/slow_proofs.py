"""How many mails of one domain are proven at a time, where its name servers are slow.

Whoever reads a mail holds one of the mail server's few places while the DNS is asked, and the domain's owner decides
how long that takes. So mails of a domain that was slow lately are proven one at a time, and with a pause where it is
slow again. The others come again later. Of a domain whose answers come at once any number is proven.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from charging.clock import Clock

SLOW_S = 3
"""Longer than the DNS takes for a whole proof whose answers it has to fetch."""
SLOW_FOR_S = 300
PAUSE_S = 60
"""Of a domain that was slow again."""
PROOF_MAX_S = 60
"""Whoever began a proof and has not told its end by then, never does. The DNS is asked for 20 s at most."""
DOMAINS_MAX = 1_000


@dataclass(slots=True)
class _Slow:
    """Both on the monotonic clock."""

    until_us: int
    """It counts as slow so long."""
    free_us: int
    """From then on another mail of it may be proven."""


class SlowProofs:
    """The domains that were slow, by name in small letters."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._slow: OrderedDict[str, _Slow] = OrderedDict()

    def may_begin(self, domain: str) -> bool:
        """Whether a mail of the domain may be proven now. If so, tell its end by `ended`."""
        now = self._clock.now()
        known = self._slow.get(domain)
        if known is None or known.until_us <= now.mono_us:
            return True
        if known.free_us > now.mono_us:
            return False
        known.free_us = now.plus(PROOF_MAX_S).mono_us
        return True

    def ended(self, domain: str, took_s: float) -> None:
        """A proof is over, whatever came of it."""
        now, known = self._clock.now(), self._slow.get(domain)
        if took_s >= SLOW_S:
            self._slow[domain] = _Slow(now.plus(SLOW_FOR_S).mono_us, now.plus(PAUSE_S).mono_us)
            self._slow.move_to_end(domain)
            if len(self._slow) > DOMAINS_MAX:
                self._slow.popitem(last=False)
        elif known is not None:
            known.free_us = now.mono_us
