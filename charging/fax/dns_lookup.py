"""Asks the DNS about a mail's sender. Talks.

Only names of customers' own domains are asked for (`charging.cli.fax_mail`), so strangers cannot have us ask for what
they like. That there is no such name is an answer; that nobody answers is none, and the mail is to be tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import dns.exception
import dns.name
import dns.resolver

from charging.clock import Instant, SystemClock
from charging.errors import ChargingError

SECONDS_MAX = 20.0
"""For all that is asked about one mail (RFC 7208, 4.6.4)."""
PTR_SECONDS_MAX = 2.0
"""Who sends a mail chooses the server that is asked for his address's name; he must not use up the time of others."""
Kind = Literal["TXT", "A", "AAAA", "MX", "PTR"]
Lookup = Callable[[str, Kind], Sequence[str]]
"""The records of a kind that a name has; none where there is no such name or record. Of a TXT the strings are joined,
each byte as one character (Latin-1); of an MX the host, the most preferred first. Raises Unanswered."""


class Unanswered(ChargingError):
    """The DNS does not answer now."""


def answers_nothing(name: str, kind: Kind) -> list[str]:
    """A `Lookup` that raises Unanswered: what is known with it is known without the DNS."""
    raise Unanswered(f"the DNS is not asked about {name} ({kind})")


class Dns:
    """A `Lookup` by the machine's name servers, or by ``server`` (its address and port)."""

    def __init__(self, server: tuple[str, int] | None = None, seconds: float = SECONDS_MAX) -> None:
        self._server = server
        self._seconds = seconds
        self._clock = SystemClock()
        self._until: Instant | None = None
        self._resolver: dns.resolver.Resolver | None = None
        self._pointers: dict[str, list[str] | Unanswered] = {}
        self.waited_s = 0.0
        """So long name servers were waited for, but those of addresses (PTR): whoever brings a mail chooses these, and
        what they take must not be laid to the From's domain."""

    def __call__(self, name: str, kind: Kind) -> list[str]:
        if kind == "PTR":
            return self._pointer(name)
        begun = self._clock.now()
        try:
            return self._asked(name, kind)
        finally:
            self.waited_s += begun.seconds_until(self._clock.now())

    def _pointer(self, name: str) -> list[str]:
        """Asked for once, however often an SPF record has it be asked for."""
        if name not in self._pointers:
            try:
                self._pointers[name] = self._asked(name, "PTR")
            except Unanswered as error:
                self._pointers[name] = error
        found = self._pointers[name]
        if isinstance(found, Unanswered):
            raise found
        return found

    def _asked(self, name: str, kind: Kind) -> list[str]:
        absolute = _absolute(name)
        if absolute is None:
            return []
        now = self._clock.now()
        self._until = self._until or now.plus(self._seconds)
        try:
            self._resolver = self._resolver or _resolver(self._server)
            left = max(now.seconds_until(self._until), 0.01)
            lifetime = min(left, PTR_SECONDS_MAX) if kind == "PTR" else left
            answer = self._resolver.resolve(absolute, kind, lifetime=lifetime, search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer, dns.resolver.YXDOMAIN):
            return []
        except (dns.exception.DNSException, OSError) as error:
            raise Unanswered(f"the DNS does not answer about {name}: {error}") from error
        if kind == "TXT":
            return [b"".join(one.strings).decode("latin-1") for one in answer]
        if kind == "MX":
            return [str(one.exchange) for one in sorted(answer, key=lambda one: int(one.preference))]
        return [str(one.target) if kind == "PTR" else str(one.address) for one in answer]


def _absolute(name: str) -> dns.name.Name | None:
    """``None``: no name that the DNS could have."""
    labels = [one.encode("latin-1", "replace") for one in name.removesuffix(".").split(".") if name != "."]
    if not all(labels):
        return None
    try:
        return dns.name.Name([*labels, b""])
    except dns.exception.DNSException:
        return None


def _resolver(server: tuple[str, int] | None) -> dns.resolver.Resolver:
    if server is None:
        return dns.resolver.Resolver()
    resolver = dns.resolver.Resolver(configure=False)
    address, resolver.port = server
    resolver.nameservers = [address]
    return resolver
