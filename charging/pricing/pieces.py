"""Free pieces: fax pages and voicemail messages that a plan includes each month, or a pack brings. The names of their
balances, and the order in which they pay. Pure.

They are balances like the free seconds of a month and of packs, and are granted, expire and are given as those are:

=========================  ============================================================================
``pages:2026-11``          fax pages of one calendar month
``pages:2026-12-31:x.e``   those of the tariff's pack ``x``, in its edition ``e``, through that day
``vmail:2026-11``          messages of one calendar month
``vmail:2026-12-31:x.e``   those of a pack
=========================  ============================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from charging.pricing.packs import MONTH_ORDER, PACK, edition_of, last_day_of

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


def shown(free: Mapping[str, int]) -> dict[str, int]:
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
