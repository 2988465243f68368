"""Sessions that closed a short while ago, as they were just before: a fail-over of the ledger may lose their end. Pure.

Their black-box records are deleted by then, so nothing else knows any more how long they lasted.
"""

from __future__ import annotations

from collections import OrderedDict

from charging.call.storage import Record
from charging.clock import MICROSECONDS

KEPT_S = 180
"""A fail-over takes seconds, and is looked for every half a minute."""


class ClosedRecords:
    """By session, in the order in which they closed."""

    def __init__(self) -> None:
        self._records: OrderedDict[str, tuple[Record, int]] = OrderedDict()

    def add(self, record: Record, now_us: int) -> None:
        """It has just closed; ``record`` still has the transfer that closes it. Monotonic, as every reading here."""
        self._records[record.id] = record, now_us
        while next(iter(self._records.values()))[1] < now_us - KEPT_S * MICROSECONDS:
            self._records.popitem(last=False)

    def get(self, session: str) -> Record | None:
        """The record of a session that closed lately."""
        return self._records[session][0] if session in self._records else None
