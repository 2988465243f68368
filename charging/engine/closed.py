"""Sessions that closed a short while ago, as they were just before: a fail-over of the ledger may lose their end. Pure.

Their black-box records are deleted by then, so nothing else knows any more how long they lasted.
"""

from __future__ import annotations

from collections import OrderedDict

from charging.call.storage import Record
from charging.clock import MICROSECONDS
from charging.engine.ports import Look

KEPT_S = 180
"""A fail-over takes seconds, and is looked for every half a minute."""


class ClosedRecords:
    """Sessions that closed lately, in the order in which they closed."""

    def __init__(self) -> None:
        self._records: OrderedDict[str, tuple[Record, int]] = OrderedDict()
        self._unanswered: dict[str, int] = {}

    def add(self, record: Record, now_us: int) -> None:
        """Add a session that has just closed; ``record`` still has the transfer that closed it. Readings here are
        monotonic."""
        self._records[record.id] = record, now_us
        while next(iter(self._records.values()))[1] < now_us - KEPT_S * MICROSECONDS:
            self._records.popitem(last=False)

    def get(self, session: str) -> Record | None:
        """Return the record of a session that closed lately, or ``None``."""
        return self._records[session][0] if session in self._records else None

    def add_unanswered(self, session: str, now_us: int) -> None:
        """Add a session whose forward was not answered. Its caller's channel may live on, under the session's name."""
        self._unanswered[session] = now_us

    def unanswered(self, look: Look) -> set[str]:
        """Return the added sessions that the look shows, and forget the others unless they closed after it began."""
        kept = {one: us for one, us in self._unanswered.items() if one in look.legs or us >= look.asked_mono_us}
        self._unanswered = kept
        return kept.keys() & look.legs.keys()
