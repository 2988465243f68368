"""Packs: what an account has beside credit and the months' free minutes. Their balances' names, their rules, and in
which order they pay. Pure.

**Seconds** with an end of their own: add-on packs, promotional minutes, a bundle for a destination.

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

**Pieces**: fax pages and voicemail messages that a plan includes each month, or a pack brings. They are granted, expire
and are given as seconds are:

=========================  ============================================================================
``pages:2026-11``          fax pages of one calendar month
``pages:2026-12-31:x.e``   those of the tariff's pack ``x``, in its edition ``e``, through that day
``vmail:2026-11``          messages of one calendar month
``vmail:2026-12-31:x.e``   those of a pack
=========================  ============================================================================
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
    see :func:`kind_of_pack`.
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


# --- pieces ------------------------------------------------------------------------------------------------------

PAGES = "pages"
MESSAGES = "vmail"
SORTS = (PAGES, MESSAGES)
WORDS = {PAGES: "fax_pages", MESSAGES: "messages"}
"""What each is called outside."""

UNITS = {PAGES: "page", MESSAGES: "message"}

PIECES_MAX = 100_000
"""So many are given in one act at most, and a month or a pack has no more."""


class PieceRules(NamedTuple):
    """What may pay for pieces of a sort, for one destination, and how."""

    plans: Mapping[str, bool]
    """Whether a month's pieces, with the rules of each plan, pay for it."""
    packs: Mapping[str, tuple[int, bool]]
    """Of the packs that pay for it, by their editions, and those of today also by their names: their order, and whether
    they pay for every destination."""

    def paying_order(self, name: str) -> tuple[int, bool, str, str]:
        """The sort key of a balance, as by `Rate.paying_order`: the least pays first. A month comes after each pack
        that ends in it."""
        if not is_pack(name):
            return MONTH_ORDER, True, f"{name.partition(':')[2]}-99", name
        return *self.packs[edition_of(name)], last_day_of(name), name


def sort_of(balance: str) -> str | None:
    """PAGES or MESSAGES; ``None``: it is no balance of pieces."""
    sort = balance.partition(":")[0]
    return sort if sort in SORTS else None


def is_pack(balance: str) -> bool:
    """Whether pieces of this balance are a pack's; else they are a month's."""
    return balance.count(":") == 2


def kind_of_pack(balance: str) -> str | None:
    """What the balances of such packs begin with, of seconds or pieces; ``None``: it is no pack's."""
    if balance.startswith(PACK):
        return PACK
    return f"{sort_of(balance)}:" if sort_of(balance) is not None and is_pack(balance) else None


def shown_pieces(free: Mapping[str, int]) -> dict[str, int]:
    """Pieces of one sort as a CDR shows them: by month (``2026-11``) or pack (``2026-12-31:x``)."""
    return {name.partition(":")[2]: amount for name, amount in free.items()}


def shares(count: int, pools: Mapping[str, int]) -> dict[str, int]:
    """How many of ``count`` pieces each balance pays, in the order of ``pools``; credit pays the rest."""
    found: dict[str, int] = {}
    for name, room in pools.items():
        part = min(count, room)
        if part > 0:
            found[name] = part
            count -= part
    return found
