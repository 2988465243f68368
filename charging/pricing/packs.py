"""Bundles of seconds with an end of their own (add-on packs, promotional minutes, a bundle for a destination) beside
the months' free minutes: their names, and in which order they pay. Pure.

A pack's seconds that end on one day are one source, ``pack:2026-12-31:belgium.k3v9qa``: a second counts as its until
that day ends in the operator's zone. So a call that outlives the end goes on with the next bundle, or with credit, from
the first increment that starts after it, as at a month's end.

Behind the pack's name stands its *edition*: the digest of the rules under which it was given (`PackTerms`), which are
kept (`charging.ledger.given_packs`). An edit of the tariff changes nothing of what was given. What has no edition was
given by an older version, and follows the tariff's pack of its name. So it is with a month's bundle: the balance that
counts how far a plan has raised it carries the edition of the plan's rules (``plan:2026-11:pro.k3v9qa``).

Order: by the tariff's ``order`` (the months' free minutes have MONTH_ORDER), then those for certain destinations
before those for all, then the soonest end.
"""

from __future__ import annotations

import json
from base64 import b32encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property, lru_cache
from hashlib import sha256
from typing import NamedTuple
from zoneinfo import ZoneInfo

PACK = "pack:"
MONTHLY = "plan"
MONTH_ORDER = 50

MINUTES_MAX = 100_000
"""So many are given in one act at most, and a pack has no more: more than a month has."""

EDITION_DIGITS = 6
"""With the longest name and kind a balance's name has 66 characters, of the 72 that it may."""

PACKS_MAX = 6
"""So many of an account can pay a call at once, the first in their order: a tick has room for no more (`LEGS_MAX`). In
its life a call may use more, one after another."""


class PackRules(NamedTuple):
    """How a pack pays for a destination; that it does is said by its being there."""

    order: int
    """Lower pays earlier."""
    is_general: bool
    """Whether it pays for every destination."""
    increment_s: int | None
    """Of seconds that it pays; ``None``: that of the step in force."""


@dataclass(frozen=True)
class PackTerms:
    """The rules of a pack as it is given, or of a plan's bundle as a month's is granted: what they are, and for which
    numbers it pays."""

    name: str
    title: str = ""
    sort: str = ""
    """Of its pieces; empty: it has seconds; of a plan's bundle as :func:`monthly` has it."""
    order: int = MONTH_ORDER
    increment_s: int | None = None
    destinations: frozenset[str] | None = None
    """The names of those that it pays for; ``None``: all."""
    numbers: Mapping[str, bool] = field(default_factory=dict, hash=False)
    """Their prefixes and short codes of then, and longer ones of other destinations (``False``): so it pays for what it
    paid for, whatever these are called since. What has come to a destination of its own it pays for too."""

    @cached_property
    def edition(self) -> str:
        """Name and digest, the id of the document that keeps it. Two editions share it only where their rules are the
        same: what customers call it is no rule."""
        rules = self.text().replace(json.dumps(self.title), '""', 1)
        return f"{self.name}.{b32encode(sha256(rules.encode()).digest())[:EDITION_DIGITS].decode().lower()}"

    @property
    def rules(self) -> PackRules:
        """What a rate keeps of it."""
        return PackRules(self.order, self.destinations is None, self.increment_s)

    def pays(self, number: str, destination: str | None) -> bool:
        """Whether it pays for a normalised number, which is in the ``destination`` of this name today."""
        if self.destinations is None or destination in self.destinations:
            return True
        if not number.startswith("+"):
            return self.numbers.get(number, False)
        return next(
            (self.numbers[number[:end]] for end in range(len(number), 1, -1) if number[:end] in self.numbers), False
        )

    def text(self) -> str:
        """JSON, always the same for the same."""
        names = None if self.destinations is None else sorted(self.destinations)
        members = {"title": self.title, "sort": self.sort, "order": self.order, "increment_s": self.increment_s}
        return json.dumps(members | {"destinations": names, "numbers": dict(sorted(self.numbers.items()))})

    @classmethod
    def read(cls, edition: str, text: str) -> PackTerms:
        """What :meth:`text` has written. Raises ValueError."""
        try:
            found = json.loads(text)
            names = found["destinations"]
            return cls(
                edition.partition(".")[0],
                found["title"],
                found["sort"],
                found["order"],
                found["increment_s"],
                None if names is None else frozenset(names),
                found["numbers"],
            )
        except (LookupError, TypeError) as error:
            raise ValueError(f"no rules of a pack: {error}") from error


def pack_of(name: str, last_day: str, kind: str = PACK) -> str:
    """The source, and the balance, of a pack that can be used through ``last_day``, ``YYYY-MM-DD``. ``name``: with its
    edition, where it has one. ``kind``: what its
    balances begin with, PACK for seconds (pieces: `charging.pricing.pieces`)."""
    return f"{kind}{last_day}:{name}"


def monthly(sort: str = "") -> str:
    """What begins the balances that count how far plans have raised a month's bundle; ``sort``: of its pieces."""
    return f"{MONTHLY}-{sort}" if sort else MONTHLY


def edition_of(source: str) -> str:
    """The pack's name with its edition, where it has one: ``belgium.k3v9qa``."""
    return source.rpartition(":")[2]


def name_of(source: str) -> str:
    """The pack's name in the tariff."""
    return edition_of(source).partition(".")[0]


def shown_pack(source: str) -> str:
    """As people see it: ``2026-12-31:belgium``."""
    return f"{last_day_of(source)}:{name_of(source)}"


def last_day_of(source: str) -> str:
    """``YYYY-MM-DD``."""
    return source.partition(":")[2][:10]


@lru_cache(maxsize=1024)
def ends_us(zone: ZoneInfo, source: str) -> int:
    """The first instant (wall clock, µs) at which a pack pays no more."""
    following = date.fromisoformat(last_day_of(source)) + timedelta(days=1)
    return round(datetime(following.year, following.month, following.day, tzinfo=zone).timestamp()) * 1_000_000
