"""Audits the feed: every booked line must have exactly one place in it. The audit reads all journals first, then the
feed. Pure.

Lines booked before the feed began have no place, and nothing records when it began. So a line may lack a place only if
no earlier line of its account has one; and an account may have no places at all only if all its lines are older than
the feed.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field

from charging.clock import MICROSECONDS
from charging.ledger.books.audit import Discrepancy, Fault
from charging.ledger.feed import FeedEntry
from charging.ledger.model import JournalLine

CLOCKS_APART_S = 24 * 3600
"""A line's time is that of the daemon that asked for it, and its place may have the store's."""


@dataclass(slots=True)
class _Account:
    numbers: array[int] = field(default_factory=lambda: array("q"))
    """Of the lines that need a place, in their order."""
    last_us: int = 0
    told: int = 0
    """How many of them the feed has come to."""
    missed: set[int] = field(default_factory=set)


class FeedAudit:
    """The audit of one store's feed: :meth:`begin` and :meth:`line` for each account, then :meth:`entry` for each place
    up to the last that there is then, then :meth:`missing`."""

    def __init__(self) -> None:
        self._accounts: dict[str, _Account] = {}
        self._first_us: int | None = None

    def begin(self, account: str) -> None:
        """Its lines follow, from the first on."""
        self._accounts[account] = _Account()

    def line(self, line: JournalLine) -> None:
        """Take its next line."""
        if line.kind.has_place:
            one = self._accounts[line.account]
            one.numbers.append(line.number)
            one.last_us = line.at_us

    def entry(self, entry: FeedEntry) -> Iterable[Discrepancy]:
        """Take the next place. One that was archived or lost has nothing to compare; a line that came later than its
        journal was read is not looked at."""
        if self._first_us is None:
            self._first_us = entry.place
        line = entry.found
        one = self._accounts.get(entry.account)
        if one is None or not isinstance(line, JournalLine):
            return
        if not line.kind.has_place:
            yield _finding(entry.account, entry.number, f"its kind takes none, and it has place {entry.place}")
        elif one.told and entry.number in one.missed:
            one.missed.discard(entry.number)  # a fail-over had lost it
        elif one.told and entry.number <= one.numbers[one.told - 1]:
            yield _finding(entry.account, entry.number, f"place {entry.place} is its second")
        else:
            self._advance(one, entry.number)

    def _advance(self, one: _Account, number: int) -> None:
        begun = one.told > 0
        while one.told < len(one.numbers) and one.numbers[one.told] <= number:
            if begun and one.numbers[one.told] < number:
                one.missed.add(one.numbers[one.told])
            one.told += 1

    def missing(self) -> Iterable[tuple[str, int]]:
        """Accounts and numbers of the lines without a place, at the end; what was archived meanwhile is among them."""
        begun_us = None if self._first_us is None else self._first_us + CLOCKS_APART_S * MICROSECONDS
        for account, one in self._accounts.items():
            if one.told or (begun_us is not None and one.last_us > begun_us):
                yield from ((account, number) for number in sorted({*one.missed, *one.numbers[one.told :]}))


def no_place(account: str, number: int) -> Discrepancy:
    """Of a line that is still there."""
    return _finding(account, number, "it has no place: whoever reads the feed never sees it")


def _finding(account: str, number: int, detail: str) -> Discrepancy:
    return Discrepancy(Fault.FEED_DIFFERS, account, f"line {number}", detail)
