"""A rate deck in memory: prefix → dated rows, longest match among those in force."""

from __future__ import annotations

from collections.abc import Iterable, Set
from datetime import date
from typing import NamedTuple

from charging.pricing.rate import Step

PER_MINUTE_S = 60


class DeckRow(NamedTuple):
    """One line of a carrier's price list; amounts in micro-euro."""

    prefix: str
    """With ``+``."""
    name: str
    price: int
    """Per minute."""
    first_s: int
    """The first increment."""
    next_s: int
    """Every further one."""
    connect_fee: int
    valid_from: date
    """The local day from which on the row counts; :data:`date.min` for always."""

    def steps(self) -> tuple[Step, ...]:
        """The row's price as a rate's steps."""
        first_s = 0 if self.first_s == self.next_s else self.first_s
        return (Step(0, self.price, PER_MINUTE_S, self.next_s, first_s),)


class Deck:
    """All rows of one file. Rows with the same prefix differ in their dates."""

    def __init__(self, file: str, rows: Iterable[DeckRow]) -> None:
        self.file = file
        self._rows: dict[str, DeckRow | tuple[DeckRow, ...]] = {}
        """Almost every prefix has one row: only the others get a tuple, newest first."""
        for row in rows:
            present = self._rows.get(row.prefix)
            self._rows[row.prefix] = row if present is None else _newest_first(present, row)
        self._lengths = tuple(sorted({len(prefix) for prefix in self._rows}, reverse=True))

    def __len__(self) -> int:
        return len(self._rows)

    def prefixes(self) -> Set[str]:
        """All prefixes, in force or not."""
        return self._rows.keys()

    def rows(self, prefix: str) -> tuple[DeckRow, ...]:
        """The rows of a prefix, newest first."""
        found = self._rows[prefix]
        return (found,) if isinstance(found, DeckRow) else found

    def match(self, number: str, today: date) -> DeckRow | None:
        """The row of the longest prefix of ``number`` (with ``+``) that is in force ``today``."""
        rows = self._rows
        for length in self._lengths:
            prefix = number[:length]
            if prefix not in rows:
                continue
            found = rows[prefix]
            if isinstance(found, DeckRow):
                if found.valid_from <= today:
                    return found
            elif row := _in_force(found, today):
                return row
        return None


def _newest_first(present: DeckRow | tuple[DeckRow, ...], row: DeckRow) -> tuple[DeckRow, ...]:
    rows = (present,) if isinstance(present, DeckRow) else present
    return tuple(sorted((*rows, row), key=lambda one: one.valid_from, reverse=True))


def _in_force(rows: tuple[DeckRow, ...], today: date) -> DeckRow | None:
    return next((row for row in rows if row.valid_from <= today), None)
