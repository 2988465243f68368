"""Bundles of seconds with an end of their own (add-on packs, promotional minutes, a bundle for a destination) beside
the months' free minutes: their names, and in which order they pay. Pure.

All seconds of a pack that end on the same day are one source, ``pack:2026-12-31:belgium.k3v9qa``. They can be used
until that day ends in the operator's zone. A call that is running then goes on with the next bundle, or with credit,
from the first increment that starts after it, as at a month's end.

The pack's name is followed by its *edition*: the digest of the rules under which it was given (`PackTerms`), which are
stored (`charging.ledger.given_packs`). An edit of the tariff does not change packs that were given before. A pack
without an edition was given by an older version, and follows the tariff's pack of its name. The same holds for a
month's bundle: the balance that counts how far a plan has raised it carries the edition of the plan's rules
(``plan:2026-11:pro.k3v9qa``).

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
    """How a pack pays for a destination. A pack that does not pay for it has no such rules."""

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
        """The pack's name and the digest of its rules: the id of the document that stores them. Two packs of a name
        share an edition only if their rules are equal; the title is no rule."""
        rules = self.text().replace(json.dumps(self.title), '""', 1)
        return f"{self.name}.{b32encode(sha256(rules.encode()).digest())[:EDITION_DIGITS].decode().lower()}"

    @property
    def rules(self) -> PackRules:
        """The part of these rules that a rate stores."""
        return PackRules(self.order, self.destinations is None, self.increment_s)

    def pays(self, number: str, destination: str | None) -> bool:
        """Whether the pack pays for a normalised number, which belongs to ``destination`` in today's tariff."""
        if self.destinations is None or destination in self.destinations:
            return True
        if not number.startswith("+"):
            return self.numbers.get(number, False)
        return next(
            (self.numbers[number[:end]] for end in range(len(number), 1, -1) if number[:end] in self.numbers), False
        )

    def text(self) -> str:
        """JSON text; equal rules make equal text."""
        names = None if self.destinations is None else sorted(self.destinations)
        members = {"title": self.title, "sort": self.sort, "order": self.order, "increment_s": self.increment_s}
        return json.dumps(members | {"destinations": names, "numbers": dict(sorted(self.numbers.items()))})

    @classmethod
    def read(cls, edition: str, text: str) -> PackTerms:
        """The rules that :meth:`text` wrote. Raises ValueError if ``text`` is none of its making."""
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
    """The balance (and the source in a funding) of a pack that can be used through ``last_day``, ``YYYY-MM-DD``.

    ``name`` includes the edition, if there is one. ``kind`` is the prefix of the balance: PACK for seconds; for pieces
    see `charging.pricing.pieces`.
    """
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
    """A pack's source as people see it, without kind and edition: ``2026-12-31:belgium``."""
    return f"{last_day_of(source)}:{name_of(source)}"


def last_day_of(source: str) -> str:
    """``YYYY-MM-DD``."""
    return source.partition(":")[2][:10]


@lru_cache(maxsize=1024)
def ends_us(zone: ZoneInfo, source: str) -> int:
    """The first instant (wall clock, µs) at which a pack pays no more."""
    following = date.fromisoformat(last_day_of(source)) + timedelta(days=1)
    return round(datetime(following.year, following.month, following.day, tzinfo=zone).timestamp()) * 1_000_000
