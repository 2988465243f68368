"""Audits the books of one account: reads its journal line by line and returns what does not add up. Pure.

The stores check every write. This audit checks the stores, from the journal alone and by separate code: it shares only
the data types of the model with them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from charging.ledger.balances import is_value
from charging.ledger.model import (
    AMOUNT_MAX,
    Balance,
    CdrRow,
    JournalLine,
    Kind,
    OpenSession,
    Snapshot,
    contents_digest,
)


class Fault(StrEnum):
    """Everything the audit can find."""

    UNREADABLE = "unreadable"
    """A record is not what the ledger writes."""
    STORE_DAMAGED = "store_damaged"
    """The store's own check of itself failed."""
    NUMBERING = "numbering"
    """The journal's lines are not numbered one after another."""
    REPEATED_ID = "repeated_id"
    """Two lines of one account have the same id."""
    DIGEST = "digest"
    """A line's contents are not those that its digest was made of: someone edited it."""
    MISPLACED_OPENING = "misplaced_opening"
    """An opening line that is not the account's first."""
    POSTED_DIFFERS = "posted_differs"
    """A balance's posted amount is not the sum of the journal."""
    RESERVED_DIFFERS = "reserved_differs"
    """A balance's reserved amount is not the sum of the journal."""
    HOLDS_DIFFER = "holds_differ"
    """What an open session holds is not what its lines reserved."""
    LOST_RESERVATION = "lost_reservation"
    """Value is reserved for a session that is not open."""
    NEGATIVE = "negative"
    """Credit or a bundle has less than nothing available, or a session holds less than nothing."""
    BEYOND_LIMIT = "beyond_limit"
    """An amount is beyond AMOUNT_MAX."""
    ORPHANED_SESSION = "orphaned_session"
    """An open session without a journal line or without an account."""
    ORPHANED_CDR = "orphaned_cdr"
    """A CDR without a journal line or without an account."""
    CDR_OF_OPEN_SESSION = "cdr_of_open_session"
    """A session has its CDR and is still open."""
    OVERDUE = "overdue"
    """A session is open though what it had reserved ended long ago."""
    MISSING_CDR = "missing_cdr"
    """A session was closed, and has left no CDR."""
    CDR_DIFFERS = "cdr_differs"
    """A CDR does not say what the journal has taken for its session."""
    FEED_DIFFERS = "feed_differs"
    """A line has no place in the feed, or more than one."""
    LOST_RULES = "lost_rules"
    """What was given has rules that are not kept: it pays as the tariff has it now, or no more."""
    ORPHANED_NUMBER = "orphaned_number"
    """A number whose account does not exist."""


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """One thing that does not fit."""

    fault: Fault
    account: str
    """Empty where it is the whole store's."""
    subject: str
    """Which balance, line, session or number."""
    detail: str

    def __str__(self) -> str:
        where = f"account {self.account}: " if self.account else ""
        return f"{where}{self.fault} of {self.subject}: {self.detail}"


class AccountAudit:
    """The audit of one account: feed its journal from the first line, then :meth:`close`."""

    def __init__(self, account: str) -> None:
        self._account = account
        self._found: list[Discrepancy] = []
        self._last: JournalLine | None = None
        self._opened_us = -AMOUNT_MAX
        """Where older lines have been archived: the time of the opening line that stands for them."""
        self._ids: set[str] = set()
        self._sums: dict[str, Balance] = {}
        self._holds: dict[str, dict[str, int]] = {}
        """By session that has lines: by balance, what they reserved and did not give back."""

    def line(self, line: JournalLine) -> None:
        """Take the next line."""
        self._check_place(line)
        if line.id in self._ids:
            self._find(Fault.REPEATED_ID, f"line {line.number}", line.id)
        digest = contents_digest(line.account, line.kind, line.legs, line.session, line.reason)
        if digest != line.digest or line.account != self._account:
            self._find(Fault.DIGEST, f"line {line.number}", f"stored {line.digest}, contents give {digest}")
        self._ids.add(line.id)
        self._last = line
        for leg in line.legs:
            before = self._sums.get(leg.balance, Balance())
            self._sums[leg.balance] = Balance(before.posted + leg.posted, before.reserved + leg.reserved)
        if line.session is not None:
            self._hold(line, self._holds.setdefault(line.session, {}))

    def close(self, stored: Snapshot, cdrs: Iterable[CdrRow]) -> list[Discrepancy]:
        """Compare with what the store keeps beside the journal; every finding, in order. ``stored`` is of the moment
        of the last line, ``cdrs`` of that moment or before."""
        last_number = self._last.number if self._last is not None else 0
        if last_number != stored.last_number:
            self._find(Fault.NUMBERING, f"line {last_number}", f"it is the last, the store counts {stored.last_number}")
        balances = stored.balances
        for name in sorted(self._sums.keys() | balances.keys()):
            self._check_balance(name, self._sums.get(name, Balance()), balances.get(name, Balance()))
        open_sessions = {session.id: session for session in stored.sessions}
        for session in sorted(self._holds.keys() | open_sessions.keys()):
            self._check_session(session, open_sessions.get(session))
        for cdr in cdrs:
            if cdr.session in open_sessions:
                self._find(Fault.CDR_OF_OPEN_SESSION, f"session {cdr.session}", "it is open")
            elif cdr.session not in self._holds and cdr.ended_us > self._opened_us:
                self._find(Fault.ORPHANED_CDR, f"session {cdr.session}", "the journal has no line of it")
        return self._found

    def _check_place(self, line: JournalLine) -> None:
        is_opening = line.kind is Kind.OPENING
        if is_opening and self._last is None:
            self._opened_us = line.at_us
            return
        if is_opening:
            self._find(Fault.MISPLACED_OPENING, f"line {line.number}", line.id)
        expected = self._last.number + 1 if self._last is not None else 1
        if line.number != expected:
            self._find(Fault.NUMBERING, f"line {line.number}", f"expected number {expected}")

    def _hold(self, line: JournalLine, holds: dict[str, int]) -> None:
        for leg in line.legs:
            holds[leg.balance] = holds.get(leg.balance, 0) + leg.reserved
            if holds[leg.balance] < 0:
                self._find(
                    Fault.NEGATIVE, f"line {line.number}", f"its session holds {holds[leg.balance]} of {leg.balance}"
                )

    def _check_balance(self, name: str, summed: Balance, stored: Balance) -> None:
        if summed.posted != stored.posted:
            self._find(Fault.POSTED_DIFFERS, name, f"stored {stored.posted}, the journal gives {summed.posted}")
        if summed.reserved != stored.reserved:
            self._find(Fault.RESERVED_DIFFERS, name, f"stored {stored.reserved}, the journal gives {summed.reserved}")
        if max(abs(stored.posted), abs(stored.reserved)) > AMOUNT_MAX:
            self._find(Fault.BEYOND_LIMIT, name, f"posted {stored.posted}, reserved {stored.reserved}")
        if stored.available < 0 and is_value(name):
            self._find(Fault.NEGATIVE, name, f"available is {stored.available}")

    def _check_session(self, session: str, stored: OpenSession | None) -> None:
        held = {name: amount for name, amount in self._holds.get(session, {}).items() if amount}
        if stored is None:
            if held:
                self._find(Fault.LOST_RESERVATION, f"session {session}", f"it is not open and {held} is reserved")
        elif session not in self._holds:
            self._find(Fault.ORPHANED_SESSION, f"session {session}", "the journal has no line of it")
        elif dict(stored.holds) != held:
            self._find(
                Fault.HOLDS_DIFFER, f"session {session}", f"stored {dict(stored.holds)}, the journal gives {held}"
            )

    def _find(self, fault: Fault, subject: str, detail: str) -> None:
        self._found.append(Discrepancy(fault, self._account, subject, detail))
