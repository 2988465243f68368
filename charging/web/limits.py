"""What one customer or one stranger of many may take of the web's doors: changes, places. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from charging.limits import Limits

EDITS_PER_MINUTE, EDITS_SAVED_MINUTES = 6, 60
"""By a customer, of his account, of each kind: each leaves a note that is kept for good. An hour's worth may come at
once: a company has hundreds of numbers, and forwards all of them when it closes in the evening."""


def edits() -> Limits:
    """By account, or by account and what is asked: how often its customer may change something."""
    return Limits(EDITS_PER_MINUTE, saved_minutes=EDITS_SAVED_MINUTES)


class Places:
    """How many may be at something at a time, in all and of each key: so whoever is slow keeps out none but his own."""

    def __init__(self, most: int, each: int, reserve: int = 0) -> None:
        """``reserve``: so many are left to an empty key."""
        self._most = most
        self._reserve = reserve
        self._each = each
        self._taken: Counter[str] = Counter()

    def has_room(self, key: str) -> bool:
        """Whether one more of the key may be. An empty key is the operator's own, who may have all."""
        if not key:
            return self._taken.total() < self._most
        return self._taken.total() < self._most - self._reserve and self._taken[key] < self._each

    @contextmanager
    def taken(self, key: str) -> Iterator[None]:
        """Be one of them. Ask `has_room` first."""
        self._taken[key] += 1
        try:
            yield
        finally:
            self._taken -= Counter((key,))
