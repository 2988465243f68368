"""How many mails of one domain are waited over at a time, where its name servers are slow.

Whoever reads a mail holds one of the mail server's few places while the DNS is asked who sent it, and while a reply is
handed to a mail server, which may ask the DNS about its recipient. The domain's owner decides how long that takes. So
mails of a domain that was slow lately are waited over one at a time, and with a pause where it is slow again. The
others come again later. Of a domain whose answers come at once there may be any number.

Waits that are just not slow add up, for each network that brings mails of a domain: one that has had many pauses, for
so long that its mails have a part of one place. Many more of them come again later than of a slow domain: an honest
batch is that large.

Whoever writes a customer's address in a mail has his domain be asked for, so each network that brings such mails has
turns and pauses of its own, and puts off so many mails.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from charging.clock import MICROSECONDS, Clock

SLOW_S = 3
"""Longer than the DNS takes for a whole proof whose answers it has to fetch, and a mail server for a reply."""
SLOW_FOR_S = 300
PAUSE_S = 60
"""Of a domain that was slow again."""
ADDED_UP_S = 30
"""A network that was waited for so long in all over mails of a domain pauses: a hundred proofs of 0.3 s may come at
once."""
PART = 0.33
"""Of a place, for as long as it likes: so much of the time that has passed is taken off what adds up."""
WAIT_MAX_S = 60
"""Whoever began to wait and has not told its end by then, never does. The DNS is asked for 20 s at most."""
AT_ONCE = 2
"""Over mails of a slow domain, from so many networks: one's own, and that of a stranger who forges it."""
PUT_OFF_MAX = 20
"""Mails of a slow domain that one network has waiting."""
PAUSED_MAX = 200
"""The same of one that pauses for what has added up."""
DOMAINS_MAX, NETWORKS_MAX = 1_000, 100
"""Remembered; and of each domain."""
ADDED_MAX = 10_000
"""Remembered of waits that add up."""


@dataclass(slots=True)
class Waited:
    """How long a domain's name servers were waited for."""

    seconds: float = 0.0

    @property
    def is_slow(self) -> bool:
        """Whether that was long."""
        return self.seconds >= SLOW_S


@dataclass(slots=True)
class _Network:
    """Machines that brought mails of a domain: a stranger who writes it must not take its owner's turns."""

    free_us: int = 0
    """Monotonic: from then on the domain may be waited for again over a mail from here."""
    is_waiting: bool = False
    mails: set[str] = field(default_factory=set)
    """Those that were put off, and have not had their turn since."""


@dataclass(slots=True)
class _Slow:
    until_us: int
    """It counts as slow so long, on the monotonic clock."""
    networks: OrderedDict[str, _Network] = field(default_factory=OrderedDict)


@dataclass(slots=True)
class _Added:
    """What has added up."""

    seconds: float
    at_us: int
    """Monotonic: when it was so much."""
    free_us: int = 0
    """Monotonic: it pauses until then."""
    mails: set[str] = field(default_factory=set)
    """Those that were put off for it, and have not had their turn since."""


class SlowDomains:
    """The domains that were slow, by name in small letters."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._slow: OrderedDict[str, _Slow] = OrderedDict()
        self._added: OrderedDict[tuple[str, str], _Added] = OrderedDict()
        """By domain and network."""

    def may_begin(self, domain: str, network: str = "", mail: str = "") -> bool:
        """Whether the domain may be waited for now, over a ``mail`` that came from ``network``. If so, tell the end of
        it by `ended`."""
        now = self._clock.now()
        known, added = self._slow.get(domain), self._added.get((domain, network))
        if added is not None and added.free_us > now.mono_us:
            return False
        if added is not None:
            added.mails.discard(mail)
        if known is None or known.until_us <= now.mono_us:
            return True
        waiting = sum(one.is_waiting and one.free_us > now.mono_us for one in known.networks.values())
        here = _of(known, network)
        if here.free_us > now.mono_us or waiting >= AT_ONCE:
            return False
        here.free_us, here.is_waiting = now.plus(WAIT_MAX_S).mono_us, True
        here.mails.discard(mail)
        return True

    def may_come_again(self, domain: str, network: str, mail: str) -> bool:
        """Whether a mail may be put off. While the domain is slow only so many from one network are, for each costs a
        place again and again, for a day."""
        known, added = self._slow.get(domain), self._added.get((domain, network))
        if added is not None and added.seconds >= ADDED_UP_S and not _puts_off(added.mails, mail, PAUSED_MAX):
            return False
        if known is None or known.until_us <= self._clock.now().mono_us:
            return True
        return _puts_off(_of(known, network).mails, mail, PUT_OFF_MAX)

    def ended(self, domain: str, took_s: float, network: str = "") -> None:
        """The waiting is over, whatever came of it."""
        now, known = self._clock.now(), self._slow.get(domain)
        self._add(domain, network, took_s)
        if took_s >= SLOW_S:
            known = self._slow.setdefault(domain, known or _Slow(0))
            if known.until_us <= now.mono_us:
                known.networks.clear()
            known.until_us = now.plus(SLOW_FOR_S).mono_us
            here = _of(known, network)
            here.free_us, here.is_waiting = now.plus(PAUSE_S).mono_us, False
            self._slow.move_to_end(domain)
            if len(self._slow) > DOMAINS_MAX:
                self._slow.popitem(last=False)
        elif known is not None:
            here = _of(known, network)
            here.free_us, here.is_waiting = now.mono_us, False

    def _add(self, domain: str, network: str, took_s: float) -> None:
        now = self._clock.now()
        had = self._added.pop((domain, network), _Added(0.0, now.mono_us))
        passed_s = (now.mono_us - had.at_us) / MICROSECONDS
        left_s = max(0.0, had.seconds - PART * passed_s)
        seconds, mails = left_s + took_s, had.mails if left_s else set[str]()
        pause_s = min(PAUSE_S, took_s / PART) if seconds >= ADDED_UP_S else 0
        self._added[domain, network] = _Added(seconds, now.mono_us, now.plus(pause_s).mono_us, mails)
        if len(self._added) > ADDED_MAX:
            self._added.popitem(last=False)


def _puts_off(mails: set[str], mail: str, most: int) -> bool:
    """Note one more, if there are not so many already."""
    if mail not in mails and len(mails) >= most:
        return False
    mails.add(mail)
    return True


def _of(slow: _Slow, network: str) -> _Network:
    """The network, remembered as the last that was heard of."""
    found = slow.networks.setdefault(network, _Network())
    slow.networks.move_to_end(network)
    if len(slow.networks) > NETWORKS_MAX:
        slow.networks.popitem(last=False)
    return found
