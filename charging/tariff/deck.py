"""A rate deck in memory: finds the longest prefix of a number among the dated rows in force.

A deck may have 200,000 rows and more, and passes from the process that reads it to the one that decides calls. So it
does not have an object for each row, but a few arrays for all rows: passing them costs the same for any number of rows.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence, Set
from datetime import date
from itertools import accumulate
from pickle import PickleBuffer
from typing import Any, NamedTuple

from charging.pricing.money import format_euro
from charging.pricing.rate import Step

PER_MINUTE_S = 60

PAGE_HELD_S = 300
"""How long a fax may hold the line for each of its pages, at most: the machine that receives it chooses the pace."""

DIGITS_MAX = 15
"""Of a prefix, and of a number (ITU-T E.164)."""
_BITS = 4
_WRITTEN = str.maketrans("0123456789", "123456789a")
_READ = str.maketrans("123456789a", "0123456789")


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
    min_charge: int = 0
    """The least that a call costs."""
    fax_page: int | None = None
    """Of a sent page; ``None``: the row does not say."""

    def __str__(self) -> str:
        return f"{self.prefix} {self.name} {format_euro(self.price)}"

    def steps(self) -> tuple[Step, ...]:
        """The row's price as a rate's steps."""
        first_s = 0 if self.first_s == self.next_s else self.first_s
        return (Step(0, self.price, PER_MINUTE_S, self.next_s, first_s),)

    def call_of(self, seconds: int) -> int:
        """What a call of so many seconds costs, in sixtieths of a micro-euro: fee, minimum and increments count."""
        more = max(0, seconds - self.first_s)
        charged_s = self.first_s + -(-more // self.next_s) * self.next_s
        return max(self.min_charge * PER_MINUTE_S, self.connect_fee * PER_MINUTE_S + self.price * charged_s)

    def page(self, default: int | None, held_s: int = PAGE_HELD_S) -> int | None:
        """The price of a fax page, micro-euro: the row's own, else ``default`` if a call of ``held_s`` costs no more
        than that. ``None``: no faxes are sent there."""
        if self.fax_page is not None:
            return self.fax_page
        return None if default is None or self.call_of(held_s) > default * PER_MINUTE_S else default


class DeckFacts(NamedTuple):
    """What a deck holds, for people to compare with what its sender says."""

    rows: int
    prefixes: int
    cheapest: DeckRow
    dearest: DeckRow


class DeckChanges(NamedTuple):
    """How many prefixes differ from those of another edition, by the newest row of each."""

    before: int
    """How many the other edition has."""
    added: int
    removed: int
    dearer: int
    cheaper: int
    otherwise_changed: int
    """In their increments, fees, names or dates."""
    postponed: int
    """In force in the other edition today, and in this one only later."""
    doubled: int
    """By what the first minute, or a fax page, costs: at least twice as dear (or another factor), or no longer free."""
    halved: int
    """At most half as dear (or another factor), and not free."""
    freed: int
    """Free, and were not."""
    such_as: str
    """One prefix that is gone or postponed, or has doubled, halved or become free, with its prices; empty where there
    is none."""

    def __str__(self) -> str:
        counts = (
            (self.removed, "prefixes are gone"),
            (self.postponed, "prefixes count only later"),
            (self.freed, "have become free"),
            (self.doubled, "much dearer"),
            (self.halved, "much cheaper"),
        )
        return ", ".join(f"{number} {what}" for number, what in counts if number) + f", such as {self.such_as}"


class Deck:
    """All rows of one file. Rows with the same prefix differ in their dates."""

    __slots__ = ("_cheapest", "_columns", "_dearest", "file")

    def __init__(self, file: str, rows: Iterable[DeckRow]) -> None:
        self.file = file
        self._columns = _columns(rows)
        prices = self._columns.prices
        places = range(len(prices))
        self._cheapest = min(places, key=prices.__getitem__, default=0)
        self._dearest = max(places, key=prices.__getitem__, default=0)

    def __reduce__(self) -> tuple[Any, ...]:
        columns = tuple((one.format, PickleBuffer(one)) for one in self._columns)
        return _restored, (self.file, columns, self._cheapest, self._dearest)

    def __len__(self) -> int:
        return len(self._columns.keys)

    def prefixes(self) -> Set[str]:
        """All prefixes, in force or not."""
        return {self._prefix(place) for place in range(len(self))}

    def rows(self, prefix: str) -> tuple[DeckRow, ...]:
        """The rows of a prefix, newest first. Raises KeyError."""
        place = bisect_left(self._columns.keys, _key(prefix[1:]))
        if place == len(self) or self._prefix(place) != prefix:
            raise KeyError(prefix)
        return tuple(map(self._row, self._rows_at(place)))

    def facts(self) -> DeckFacts:
        """What it holds; of a deck that has rows."""
        rows = len(self._columns.prices)
        return DeckFacts(rows, len(self), self._row(self._cheapest), self._row(self._dearest))

    def match(self, number: str, today: date) -> DeckRow | None:
        """The row of the longest prefix of ``number`` (with ``+``) that is in force ``today``."""
        columns, day = self._columns, today.toordinal()
        wanted = _key(number[1 : 1 + DIGITS_MAX])
        # What begins as the number does stands before it, and after it comes nothing that does. So the last that is
        # not beyond the number is its longest prefix, or has begun with that one.
        place = bisect_right(columns.keys, wanted) - 1
        while place >= 0:
            unit = _BITS * (DIGITS_MAX - columns.lengths[place])
            if wanted >> unit == columns.keys[place] >> unit:
                for row in self._rows_at(place):
                    if columns.since[row] <= day:
                        return self._row(row)
            place = columns.shorter[place]
        return None

    def _prefix(self, place: int) -> str:
        digits = f"{self._columns.keys[place]:0{DIGITS_MAX}x}"[: self._columns.lengths[place]]
        return "+" + digits.translate(_READ)

    def _rows_at(self, place: int) -> range:
        return range(self._columns.first[place], self._columns.first[place + 1])

    def _row(self, row: int) -> DeckRow:
        columns = self._columns
        name = columns.names[row]
        return DeckRow(
            self._prefix(bisect_right(columns.first, row) - 1),
            bytes(columns.text[columns.text_ends[name] : columns.text_ends[name + 1]]).decode(),
            columns.prices[row],
            columns.first_s[row],
            columns.next_s[row],
            columns.connect_fees[row],
            date.fromordinal(columns.since[row]),
            columns.min_charges[row],
            None if columns.fax_pages[row] < 0 else columns.fax_pages[row],
        )


def rows_of(decks: Sequence[Deck]) -> dict[str, tuple[DeckRow, ...]]:
    """The rows of each prefix of a table's decks, of which the first counts."""
    return {prefix: deck.rows(prefix) for deck in reversed(decks) for prefix in deck.prefixes()}


def changes(
    before: Sequence[Deck],
    after: Sequence[Deck],
    *,
    factor: int = 2,
    today: date = date.max,
    page: int | None = None,
) -> DeckChanges:
    """Compare two editions of a table's decks. ``factor``: a price that is so many times as high, or as low, has
    jumped. ``today``: the day on which ``after`` is to be in force. ``page``: the table's own price of a fax page, for
    rows that have none (`RateTable.deck_fax_page`). It reads every row, so do not call it in the loop that decides
    calls."""
    old, new = rows_of(before), rows_of(after)
    gone = old.keys() - new.keys()
    both = [(old[prefix], new[prefix]) for prefix in old.keys() & new.keys()]
    prices = [(rows[0][0].price, rows[1][0].price) for rows in both]
    postponed = [rows[1] for rows in both if _counts(rows[0], today) and not _counts(rows[1], today)]
    priced = [(now.prefix, was.call_of(PER_MINUTE_S), now.call_of(PER_MINUTE_S)) for (was, *_), (now, *_) in both]
    for was, now in ((rows[0][0], rows[1][0]) for rows in both):
        before_page, page_now = was.page(page), now.page(page)
        if before_page is not None and page_now is not None:
            priced.append((f"{now.prefix}, a fax page", before_page * PER_MINUTE_S, page_now * PER_MINUTE_S))
    freed = [one for one in priced if one[1] and not one[2]]
    doubled = [one for one in priced if one[2] > one[1] and one[2] >= factor * one[1]]
    halved = [one for one in priced if 0 < one[2] < one[1] and factor * one[2] <= one[1]]
    jumps = [
        f"{what} from {format_euro(was // PER_MINUTE_S)} to {format_euro(now // PER_MINUTE_S)}"
        for what, was, now in (*freed, *doubled, *halved)
    ]
    later = [f"{rows[-1].prefix} from {rows[-1].valid_from} on" for rows in postponed]
    dearer, cheaper = sum(now > was for was, now in prices), sum(now < was for was, now in prices)
    return DeckChanges(
        before=len(old),
        added=len(new.keys() - old.keys()),
        removed=len(gone),
        dearer=dearer,
        cheaper=cheaper,
        otherwise_changed=sum(one[0] != one[1] for one in both) - dearer - cheaper,
        postponed=len(postponed),
        doubled=_prefixes(doubled),
        halved=_prefixes(halved),
        freed=_prefixes(freed),
        such_as=min(jumps) if jumps else min(later) if later else f"{min(gone)} is gone" if gone else "",
    )


def _prefixes(jumps: Sequence[tuple[str, int, int]]) -> int:
    """How many prefixes these are of; of one both a minute and a fax page may have jumped."""
    return len({what.partition(",")[0] for what, _, _ in jumps})


def _counts(rows: Sequence[DeckRow], today: date) -> bool:
    return any(row.valid_from <= today for row in rows)


Buffer = Any
"""An array, or a view of one or of what another process has written: a sequence of integers."""


class _Columns(NamedTuple):
    """One for each thing that is to be known."""

    keys: Buffer
    """By prefix, ascending: `_key` of its digits."""
    lengths: Buffer
    """By prefix: how many digits."""
    shorter: Buffer
    """By prefix: the place of the longest other one with which it begins; -1: there is none."""
    first: Buffer
    """By prefix, and one more: its first row."""
    prices: Buffer
    """By row, as all that follow."""
    first_s: Buffer
    next_s: Buffer
    connect_fees: Buffer
    min_charges: Buffer
    fax_pages: Buffer
    """-1: the row does not say."""
    since: Buffer
    """The day's number."""
    names: Buffer
    """The name's number."""
    text_ends: Buffer
    """By name, and one more: where it begins in the text."""
    text: Buffer
    """All names, UTF-8."""


def _columns(rows: Iterable[DeckRow]) -> _Columns:
    """The rows as arrays, in the order of their prefixes and the newest of each first."""
    ordered = sorted(rows, key=lambda row: (_key(row.prefix[1:]), -row.valid_from.toordinal()))
    names = {name: place for place, name in enumerate(dict.fromkeys(row.name for row in ordered))}
    text = [name.encode() for name in names]
    keys, lengths, shorter, first = _tree(ordered)
    arrays = _Columns(
        keys=keys,
        lengths=lengths,
        shorter=shorter,
        first=first,
        prices=array("q", (row.price for row in ordered)),
        first_s=array("H", (row.first_s for row in ordered)),
        next_s=array("H", (row.next_s for row in ordered)),
        connect_fees=array("q", (row.connect_fee for row in ordered)),
        min_charges=array("q", (row.min_charge for row in ordered)),
        fax_pages=array("q", (-1 if row.fax_page is None else row.fax_page for row in ordered)),
        since=array("I", (row.valid_from.toordinal() for row in ordered)),
        names=array("I", (names[row.name] for row in ordered)),
        text_ends=array("I", accumulate(map(len, text), initial=0)),
        text=array("B", b"".join(text)),
    )
    return _Columns(*(memoryview(one) for one in arrays))


def _tree(ordered: Sequence[DeckRow]) -> tuple[array[int], array[int], array[int], array[int]]:
    """``keys``, ``lengths``, ``shorter`` and ``first``."""
    keys, lengths, shorter, first = array("Q"), array("B"), array("i"), array("I")
    begun: list[tuple[str, int]] = []
    """The prefixes with which the present one begins."""
    for row, (prefix, *_) in enumerate(ordered):
        if row and ordered[row - 1].prefix == prefix:
            continue
        while begun and not prefix.startswith(begun[-1][0]):
            begun.pop()
        shorter.append(begun[-1][1] if begun else -1)
        begun.append((prefix, len(keys)))
        keys.append(_key(prefix[1:]))
        lengths.append(len(prefix) - 1)
        first.append(row)
    first.append(len(ordered))
    return keys, lengths, shorter, first


def _restored(file: str, columns: Sequence[tuple[Any, Any]], cheapest: int, dearest: int) -> Deck:
    deck = Deck.__new__(Deck)
    deck.file, deck._cheapest, deck._dearest = file, cheapest, dearest
    deck._columns = _Columns(*(memoryview(written).cast("B").cast(code) for code, written in columns))
    return deck


def _key(digits: str) -> int:
    """Digits as a number that is ordered as they are: four bits for each, from the left, and zeros after the last."""
    return int(digits.translate(_WRITTEN).ljust(DIGITS_MAX, "0"), 16)
