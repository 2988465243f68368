"""The feed: the bookings and other events of all accounts, in one order. What every store promises:

1. **One place each.** Every journal line gets a *place*, a number, except ticks (EXTEND) and opening lines
   (`Kind.has_place`). Documents about events that are no bookings get one too: decisions, notices and their results as
   they are put, changes once they are done (`takes_place`).
   An account's lines get their places in the order of the journal. Every such line in the journal gets a place, and a
   transfer that was refused or never applied gets none.
2. **Settled.** A place is larger than all that were given before it. So a reader that has read up to a place never
   finds anything new below it, and goes on from there, whichever processes were killed meanwhile. A place is at least
   the time (µs) at which it was given. So a store that has lost its last moments, by a fail-over or a restored copy,
   does not give the same place twice.
3. **When.** SQLite and memory give the place in the step that books. Redis books in the slot of the account, where
   other accounts cannot be seen: it marks the account in that step (in a cluster: before it, because the mark is in
   another slot), and documents likewise; the readers of the feed give the places (`charging.ledger.redis.feed`).
   Ticks cost nothing in any store.
4. **Entries can be empty.** A line or document that was archived or deleted since leaves its place and nothing more.

The feed begins with the program version that introduced it: older bookings have no place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from charging.ledger.documents import Document
from charging.ledger.model import AMOUNT_MAX, JournalLine
from charging.records import dataclass

_AT_ONCE = ("decisions", "notices", "notice-results")
_ONCE_DONE = "changes"


def takes_place(document: Document, *, is_new: bool) -> bool:
    """Whether a document that is written takes a place, if it has none yet."""
    if document.collection == _ONCE_DONE:
        return document.due_us is None
    return is_new and document.collection in _AT_ONCE


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """What stands at one place: a line of a journal, or a document."""

    place: int
    account: str = ""
    number: int = 0
    """Of the line in the account's journal."""
    document: str = ""
    """``COLLECTION/ID``, if it is one."""
    found: JournalLine | Document | None = None
    """``None``: it was archived or forgotten."""


class Feed(Protocol):
    """What a store offers (rules 1 to 4)."""

    async def read_feed(self, after: int, limit: int) -> Sequence[FeedEntry]:
        """The first ``limit`` (1 to 1,000) entries with places beyond ``after``, in order; fewer: there are no more."""

    async def last_place(self, up_to: int = AMOUNT_MAX) -> int:
        """The largest place given, after everything booked until now has got its place; 0 if none was given. None
        above ``up_to`` counts."""

    async def clear_feed(self) -> None:
        """Remove all places: what is in the store by now does not appear in the feed. For an import."""

    async def restore_feed(self, entries: Sequence[FeedEntry]) -> None:
        """Put entries of an export at their places."""

    async def forget_feed(self, before: int) -> None:
        """Take out the entries with places below ``before``, whose lines were archived."""
