"""Compares an account's sessions and CDRs with its journal. Pure.

The ledger does not read session records and CDRs. The caller, whose program writes them, reads them here through
`Contents`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from charging.clock import MICROSECONDS
from charging.ledger.balances import is_value
from charging.ledger.books.audit import Discrepancy, Fault
from charging.ledger.model import CdrRow, JournalLine, Kind, OpenSession

CDRS_STAY_S = 35 * 24 * 3600
"""So long the archive leaves every CDR where it is (IDS_REMEMBERED_S)."""


OVERDUE_S = 600
"""So long after its end a session may be open: its record is waited for, and a ledger that was away comes back."""


class Contents(Protocol):
    """Reads the session records and CDRs that the ledger stores without reading them."""

    @property
    def now_us(self) -> int:
        """By the wall clock."""

    def overdue_s(self, session: OpenSession) -> int:
        """For how many seconds the session is open beyond the moment at which it should have been over; 0: it is not.
        Raises ValueError where it cannot be brought back to life from its record."""

    def charged(self, cdr: CdrRow) -> Mapping[str, int]:
        """What it says was taken, by balance, in micro-euro, seconds or pieces; no zeros. Raises ValueError where it is
        no CDR."""


@dataclass(slots=True)
class _Call:
    begun_us: int
    is_closed: bool = False
    taken: dict[str, int] = field(default_factory=dict)


class CallsAudit:
    """The calls of one account: feed its journal from the first line, then :meth:`close`."""

    def __init__(self, account: str, contents: Contents) -> None:
        self._account = account
        self._contents = contents
        self._calls: dict[str, _Call] = {}

    def line(self, line: JournalLine) -> None:
        """Take the next line."""
        if line.session is None:
            return
        call = self._calls.setdefault(line.session, _Call(line.at_us))
        call.is_closed = line.kind in (Kind.SETTLE, Kind.RELEASE, Kind.CHARGE)
        for leg in line.legs:
            if leg.posted and is_value(leg.balance):
                call.taken[leg.balance] = call.taken.get(leg.balance, 0) - leg.posted

    def close(self, sessions: Iterable[OpenSession], cdrs: Iterable[CdrRow]) -> list[Discrepancy]:
        """Every finding. ``sessions`` are those open after the last line, ``cdrs`` those of any moment: a call that has
        ended since its first reading is not missed in the next."""
        found = [finding for session in sessions for finding in self._check_state(session)]
        # The archive takes CDRs by their end, the oldest first: a call that began after another's end that is still
        # here, or too lately for any archive, has its CDR here too.
        kept_since_us = self._contents.now_us - CDRS_STAY_S * MICROSECONDS
        with_cdr: set[str] = set()
        for cdr in cdrs:
            kept_since_us = min(kept_since_us, cdr.ended_us)
            with_cdr.add(cdr.session)
            found += self._check_cdr(cdr)
        found += [
            Discrepancy(Fault.MISSING_CDR, self._account, f"session {session}", "it was closed and has left no CDR")
            for session, call in self._calls.items()
            if call.is_closed and session not in with_cdr and call.begun_us >= kept_since_us
        ]
        return found

    def _check_state(self, session: OpenSession) -> Iterable[Discrepancy]:
        try:
            overdue_s = self._contents.overdue_s(session)
        except ValueError as error:
            yield Discrepancy(Fault.UNREADABLE, self._account, f"session {session.id}", str(error))
            return
        if overdue_s > OVERDUE_S:
            detail = (
                f"what it had reserved ended {overdue_s} s ago, and nobody has booked its end; see that the daemon of "
                f"switch {session.switch!r} runs and has its link, or restart it: it books what it finds"
            )
            yield Discrepancy(Fault.OVERDUE, self._account, f"session {session.id}", detail)

    def _check_cdr(self, cdr: CdrRow) -> Iterable[Discrepancy]:
        try:
            charged = self._contents.charged(cdr)
        except ValueError as error:
            yield Discrepancy(Fault.UNREADABLE, self._account, f"CDR of session {cdr.session}", str(error))
            return
        call = self._calls.get(cdr.session)
        if call is None or not call.is_closed:
            return
        taken = {name: amount for name, amount in call.taken.items() if amount}
        if charged != taken:
            detail = f"it says {dict(charged)}, the journal took {taken}"
            yield Discrepancy(Fault.CDR_DIFFERS, self._account, f"CDR of session {cdr.session}", detail)
