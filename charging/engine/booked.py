"""What is known of the black box's records: which are booked, which to order deleted, and which are gone. Pure.

The switch does not tell whether it deleted a record, so nothing is taken on trust: a record counts as deleted when a
look at the black box no longer shows it, and is ordered deleted until then.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from itertools import islice

from charging.engine.findings import Booked

DELETE_AT_ONCE_MAX = 500
"""Records of one order: a busy switch's calls of ten seconds."""


EXPLAINED_MAX = 10_000
"""Calls over which nobody decided, remembered so that none is kept twice."""

NO_SESSION = "nosession-"
"""How the black box's key of a call begins that never got a session."""

UNREAD_MAX = 20_000
"""Sessions that closed without their record, remembered with what they were booked as; the CDR tells it of older
ones."""


class BookedRecords:
    """The keys of booked records, in the order in which they were booked."""

    def __init__(self) -> None:
        self._keys: dict[str, None] = {}
        self._ordered: set[str] = set()
        """Since the last look."""
        self._unread: OrderedDict[str, Booked] = OrderedDict()
        self._explained: OrderedDict[str, None] = OrderedDict()
        self.shown: frozenset[str] = frozenset()
        """Keys that the last look at the black box showed."""

    def add_unread(self, key: str, booked: Booked) -> None:
        """Note a session that was booked without its record: the record is compared when it comes."""
        self._unread[key] = booked
        while len(self._unread) > UNREAD_MAX:
            self._unread.popitem(last=False)

    def unread(self, key: str) -> Booked | None:
        """What a session was booked as that was booked without its record; ``None`` if it is not known here."""
        return self._unread.get(key)

    def add(self, key: str) -> None:
        """Note that this record is booked."""
        self._keys[key] = None
        self._unread.pop(key, None)

    def explain(self, key: str) -> None:
        """Note that the reason why nothing was decided is kept, for the call of this record."""
        self._explained[key] = None
        while len(self._explained) > EXPLAINED_MAX:
            self._explained.popitem(last=False)

    def is_explained(self, key: str) -> bool:
        """Whether that reason is kept already."""
        return key in self._explained

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def seen(self, boxes: Collection[str]) -> int:
        """Take a look at the black box, by its keys: booked keys that are not among them are gone. Returns how many are
        left that were ordered deleted; it should be 0."""
        self.shown = frozenset(boxes)
        self._keys = {key: None for key in self._keys if key in boxes}
        left = len(self._ordered & self._keys.keys())
        self._ordered.clear()
        return left

    def to_delete(self) -> list[str]:
        """Return the next keys to order deleted, the oldest first, without those that were ordered since the last
        look."""
        keys = list(islice((key for key in self._keys if key not in self._ordered), DELETE_AT_ONCE_MAX))
        self._ordered.update(keys)
        return keys
