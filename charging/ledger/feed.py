"""The feed: everything that is told, of all accounts, in one order. What every store promises:

1. **A place each.** Every journal line but a tick's (EXTEND) and an opening's gets a *place*, a number
   (`Kind.has_place`). So do documents about what is no booking: decisions, notices and what became of these as they are
   put, changes once they are done (`takes_place`).
   An account's lines get theirs in the order of the journal, and a line has the place because it stands in the journal:
   nothing has one that was refused or never came to be, and nothing that came to be goes without.
2. **Settled.** A place is larger than all that were given before it. So who has read up to a place never finds
   anything new below it, and goes on from there, whoever was killed meanwhile. A place is at least the time (µs) at
   which it was given: a store that has lost its last moments, by a fail-over or by a copy put in its place, gives none
   again that it had given.
3. **When.** SQLite and memory give the place in the step that books. Redis books in the slot of the account, which
   cannot know of the others: it marks the account in that step (in a cluster: before it, for the mark is in another
   slot), and documents likewise; who reads the feed gives the places (`charging.ledger.redis.feed`). Ticks cost
   nothing in either.
4. **Read with suspicion.** What was archived since, or forgotten, has a place and nothing more.

The feed begins with the program that brought it: what was booked before has no place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from charging.ledger.documents import Document
from charging.ledger.model import JournalLine

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

    async def last_place(self) -> int:
        """The largest place that was given, once what was booked before has its own; 0: none was."""

    async def clear_feed(self) -> None:
        """What is in the store by now is not told: nothing has a place. For an import."""

    async def restore_feed(self, entries: Sequence[FeedEntry]) -> None:
        """Put entries of an export at their places."""

    async def forget_feed(self, before: int) -> None:
        """Take out the entries with places below ``before``, whose lines were archived."""
