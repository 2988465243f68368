"""When an account's credit was last bought and last used, read from its journal (R15, R19). Pure.

This module stands in the ledger because an opening line must carry these times for the archived lines that it replaces.
So credit expires on the same day, and the same notices are due, before and after archiving.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from charging.ledger.balances import money_in
from charging.ledger.model import CREDIT, JournalLine, Kind

_GIVES = frozenset({Kind.TOP_UP, Kind.CORRECT})
_USES = frozenset({Kind.RESERVE, Kind.EXTEND, Kind.SETTLE, Kind.CHARGE})

_ARCHIVED = "archived"
_SAID = re.compile(rf"{_ARCHIVED}(?:; credit used (\S+))?(?:; credit bought (\S+) by (.+))?", re.DOTALL)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class CreditEvent(StrEnum):
    """What a line of the journal means to the life of credit."""

    PURCHASE = "purchase"
    USE = "use"


def credit_event(line: JournalLine) -> CreditEvent | None:
    """Which event of R19 a journal line is, if any. An opening line is none by itself, but may carry both.

    Decided where R19 is silent:

    - Credit that a person gives by a correction is a purchase; otherwise it would lapse again the next night.
    - A gift of promotional credit, which has an end of its own, is no purchase. What promotional credit pays is a use;
      otherwise bought credit would lapse because a gift was spent before it.
    - A call paid by free minutes alone takes no credit, so its lines are no events.
    """
    if line.kind in _GIVES:
        return CreditEvent.PURCHASE if sum(leg.posted for leg in line.legs if leg.balance == CREDIT) > 0 else None
    return CreditEvent.USE if line.kind in _USES and money_in(line.legs) < 0 else None


@dataclass(frozen=True, slots=True)
class CreditHistory:
    """What the lines of a journal, from its first, say of the account's credit."""

    cure: str | None = None
    """The id of the last transfer that brought credit from outside (a top-up, a correction)."""
    purchase_us: int | None = None
    """When that was, wall clock in µs."""
    use_us: int | None = None
    """When a call, voicemail or fax last took credit."""

    def after(self, line: JournalLine) -> CreditHistory:
        """The history with one more line."""
        if line.kind is Kind.OPENING:
            return self._after_opening(line)
        match credit_event(line):
            case CreditEvent.PURCHASE:
                return replace(self, cure=line.id, purchase_us=line.at_us)
            case CreditEvent.USE:
                return replace(self, use_us=line.at_us)
        return self

    def _after_opening(self, line: JournalLine) -> CreditHistory:
        """The history after an opening line, which stands for all lines up to its own, also for those read before."""
        said = _SAID.fullmatch(line.reason)
        used, bought, cure = said.groups() if said is not None else (None, None, None)
        if used is not None or bought is not None:
            return CreditHistory(cure, _microseconds(bought), _microseconds(used))
        if self != CreditHistory() or all(leg.balance != CREDIT or leg.posted <= 0 for leg in line.legs):
            return self
        return CreditHistory(line.id, line.at_us)  # credit from nowhere: it is the customer's for a year from here

    def opening_reason(self) -> str:
        """The reason of an opening line that stands for all the lines of this history."""
        used = "" if self.use_us is None else f"; credit used {_moment(self.use_us)}"
        bought = "" if self.purchase_us is None else f"; credit bought {_moment(self.purchase_us)} by {self.cure}"
        return f"{_ARCHIVED}{used}{bought}"


def _moment(wall_us: int) -> str:
    return (_EPOCH + timedelta(microseconds=wall_us)).isoformat(timespec="microseconds")


def _microseconds(moment: str | None) -> int | None:
    return None if moment is None else (datetime.fromisoformat(moment) - _EPOCH) // timedelta(microseconds=1)
