"""A rate deck as carriers send it (CSV) → a :class:`Deck`, or every problem at once.

The first line names the columns, in any order and by the names that carriers use (:data:`COLUMNS`). Columns are
separated by semicolon, comma or tab; decimals have a point or a comma; a byte-order mark is skipped. Amounts are
euros, prices per minute. Where there is no column of increments they are 60/60, as in the tariff file.

What a deck says is charged, or told: a column that is not known is a warning, and an error where it may be a known
one misspelt; a row that ends (``valid to``) or is in another currency is an error, for neither can be charged.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import sys
from collections.abc import Callable, Collection, Iterator
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from charging.errors import ConfigError, Problem
from charging.pricing.money import MoneyError, parse_euro
from charging.tariff.deck import Deck, DeckRow
from charging.yaml_text import describe, suggest

MAX_DECK_BYTES = 128 * 1024 * 1024
MAX_ROWS = 2_000_000
MAX_PROBLEMS = 100
"""Of each kind (errors, warnings): no person reads more of one file."""
PROGRESS_EVERY_ROWS = 5_000
PRICE_MAX = 10_000 * 1_000_000

COLUMNS = {
    "prefix": ("prefix", "code", "dial code", "dialcode", "dial prefix", "kengetal"),
    "name": ("name", "destination", "destination name", "description", "bestemming", "omschrijving"),
    "price": ("price", "rate", "price per minute", "rate per minute", "prijs", "tarief", "prijs per minuut"),
    "increments": ("increments", "increment", "billing increment", "billing", "interval", "eenheid"),
    "connect_fee": (
        "connect fee",
        "connect charge",
        "connection fee",
        "connection charge",
        "setup fee",
        "setup charge",
        "call setup fee",
        "starttarief",
    ),
    "valid_from": ("valid from", "effective", "effective date", "effective from", "start date", "ingangsdatum"),
    "valid_to": (
        "valid to",
        "valid until",
        "valid till",
        "valid through",
        "effective to",
        "effective until",
        "effective till",
        "effective end date",
        "end date",
        "expires",
        "expiry",
        "expiry date",
        "expiration date",
        "einddatum",
        "geldig tot",
    ),
    "currency": ("currency", "curr", "ccy", "valuta", "munt"),
}
"""Our name of a column, and the names under which it comes (small letters; ``_`` and spaces are the same)."""

NEEDED = ("prefix", "price")

COLUMNS_MAX = 200
"""Each that is not known is compared with all that are."""

REMARKS = frozenset({"comment", "comments", "note", "notes", "remark", "remarks", "opmerking", "opmerkingen"})
"""Columns for people."""

Progress = Callable[[int, int], None]
"""Told now and then how many bytes of how many are read."""

_NO_COLUMN = sys.maxsize
_REFUSED = object()

_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[ T]00:00(?::00)?)?|([0-9]{1,2})[-.]([0-9]{1,2})[-.]([0-9]{4})")


class DeckFile(NamedTuple):
    """A deck as read."""

    deck: Deck
    digest: bytes
    """SHA-256 of the file's bytes."""
    warnings: tuple[Problem, ...]


def read_deck(path: Path, progress: Progress | None = None) -> DeckFile:
    """Read the deck at ``path``. Raises :class:`ConfigError` with every problem found."""
    return parse_deck(_bytes_of(path), str(path), progress)


class DeckCache:
    """Reads decks, and those that have not changed only once: an edit of the prices beside them is quick."""

    def __init__(self) -> None:
        self._read: dict[Path, DeckFile] = {}

    def keep_only(self, paths: Collection[Path]) -> None:
        """Forget all others: they are not named any more."""
        self._read = {path: read for path, read in self._read.items() if path in paths}

    def __call__(self, path: Path) -> DeckFile:
        """The deck at ``path``. Raises :class:`ConfigError` with every problem found."""
        data = _bytes_of(path)
        known = self._read.get(path)
        if known is not None and known.digest == hashlib.sha256(data).digest():
            return known
        self._read[path] = parse_deck(data, str(path))
        return self._read[path]


def _bytes_of(path: Path) -> bytes:
    if path.exists() and not path.is_file():  # a pipe would be waited for, for ever
        raise ConfigError([Problem(str(path), "", "no ordinary file", "a rate deck that can be read")])
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_DECK_BYTES + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError([Problem(str(path), "", reason, "a rate deck that can be read")]) from error


def parse_deck(data: bytes, file: str, progress: Progress | None = None) -> DeckFile:
    """The deck in ``data``, called ``file`` in problems. Raises :class:`ConfigError`."""
    if len(data) > MAX_DECK_BYTES:
        most = f"at most {MAX_DECK_BYTES} bytes"
        raise ConfigError([Problem(file, "", f"more than {MAX_DECK_BYTES} bytes", most)])
    text = _decode(data, file)
    reader = _Reader(file, text, progress)
    rows = reader.read()
    if reader.errors:
        raise ConfigError(reader.errors)
    return DeckFile(Deck(file, rows), hashlib.sha256(data).digest(), tuple(reader.warnings))


def _decode(data: bytes, file: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        found = f"the byte 0x{data[error.start]:02x}"
        raise ConfigError([Problem(file, "", found, "text in UTF-8", line, hint="save it as CSV UTF-8")]) from error


class _Refused(Exception):
    """A field cannot be read; carries what was expected, and a hint."""

    def __init__(self, expected: str, hint: str = "") -> None:
        self.expected = expected
        self.hint = hint


class _Column:
    """Where a value stands, how it is read, and what has been read: prices, names and dates repeat."""

    def __init__(self, key: str, reader: Callable[[str], object], absent: object) -> None:
        self.key = key
        self.reader = reader
        self.absent = absent
        self.index = _NO_COLUMN
        self.read: dict[str, object] = {}


class _Reader:
    """The state of reading one deck."""

    def __init__(self, file: str, text: str, progress: Progress | None) -> None:
        self.file = file
        self.text = text
        self.progress = progress
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []
        self.columns = {key: _Column(key, reader, absent) for key, reader, absent in _READERS}
        header, _, _ = text.partition("\n")
        self.delimiter = max(";\t,", key=header.count)
        self.width = 0
        """How many columns the header has, up to the last one with a name."""
        self.line = 1

    def read(self) -> list[DeckRow]:
        lines = csv.reader(io.StringIO(self.text, newline=""), delimiter=self.delimiter, strict=True)
        rows: dict[tuple[str, date], tuple[int, DeckRow]] = {}
        try:
            self._header(next(lines, []))
            if self.errors:
                return []
            for fields in self._counted(lines):
                self.line = lines.line_num
                if any(fields) and (row := self._row(fields)) is not None:
                    self._add(rows, row)
        except csv.Error as error:
            self.line = lines.line_num
            self._error("", str(error), "a row of a CSV file")
        if not rows and not self.errors:
            self._error("", "no rows", "at least one price")
        return [row for _, row in rows.values()]

    def _counted(self, lines: Iterator[list[str]]) -> Iterator[list[str]]:
        total = len(self.text)
        for count, fields in enumerate(lines, 1):
            if count > MAX_ROWS:
                self._error("", "more rows", f"at most {MAX_ROWS} rows")
                return
            if self.progress is not None and count % PROGRESS_EVERY_ROWS == 0:
                # Rows are about equally long: an estimate is enough for a bar.
                self.progress(min(total, count * (total // max(1, self.text.count("\n")))), total)
            yield fields
            if len(self.errors) >= MAX_PROBLEMS:
                return
        if self.progress is not None:
            self.progress(total, total)

    def _header(self, names: list[str]) -> None:
        if len(names) > COLUMNS_MAX:
            self._error("", f"{len(names)} columns", f"at most {COLUMNS_MAX}")
            return
        unknown: list[str] = []
        for index, name in enumerate(names):
            plain = re.sub(r"[\s_]+", " ", name.strip().lower())
            key = _KEYS.get(plain)
            if plain:
                self.width = index + 1
            if key is not None and self.columns[key].index != _NO_COLUMN:
                self._error(name, "the column a second time", "each column once")
            elif key is not None:
                self.columns[key].index = index
            elif plain and plain not in REMARKS:
                unknown.append(plain)
        for key in NEEDED:
            if self.columns[key].index == _NO_COLUMN:
                hints = [hint for name in names if (hint := suggest(name, COLUMNS[key]))]
                expected = f"a column {key!r} in the first line"
                self._error("", describe(";".join(names)), expected, hints[0] if hints else "")
        for name in unknown:
            self._unknown(name)

    def _unknown(self, name: str) -> None:
        """A column that may be meant for one that is not there would be charged wrongly without a word."""
        missing = [one for one, key in _KEYS.items() if self.columns[key].index == _NO_COLUMN]
        within = [one for one in missing if one in name.split()]
        found = f"the unknown column {describe(name)}"
        if hint := suggest(name, within) or suggest(name, missing, cutoff=0.8):
            self._error("", found, "its name corrected, or no such column", hint)
        else:
            self._warn("", found, "a known column: " + ", ".join(COLUMNS), suggest(name, missing))

    def _row(self, fields: list[str]) -> DeckRow | None:
        if len(fields) > self.width and any(map(str.strip, fields[self.width :])):
            comma = 'quote what has a comma, such as "0,12", or separate the columns by semicolons'
            hint = comma if self.delimiter == "," else ""
            self._error("", f"{len(fields)} fields", f"at most {self.width}, as in the first line", hint)
            return None
        values: list[Any] = []
        for column in self.columns.values():
            text = fields[column.index] if column.index < len(fields) else ""
            value = column.read.get(text)
            values.append(self._read(column, text) if value is None else value)
        if any(value is _REFUSED for value in values):
            return None
        prefix, name, price, (first_s, next_s), connect_fee, valid_from, *_ = values
        return DeckRow(prefix, name or prefix, price, first_s, next_s, connect_fee, valid_from)

    def _read(self, column: _Column, text: str) -> object:
        stripped = text.strip()
        try:
            value = column.reader(stripped) if stripped or column.key in NEEDED else column.absent
        except _Refused as refused:
            self._error(column.key, describe(stripped or None), refused.expected, refused.hint)
            return _REFUSED
        column.read[text] = value
        return value

    def _add(self, rows: dict[tuple[str, date], tuple[int, DeckRow]], row: DeckRow) -> None:
        key = (row.prefix, row.valid_from)
        present = rows.setdefault(key, (self.line, row))
        if present[1] is row:
            return
        since = "" if row.valid_from == date.min else f" from {row.valid_from}"
        found = f"{row.prefix}{since} a second time (first on line {present[0]})"
        if present[1][2:] == row[2:]:
            self._warn("prefix", found, "each prefix once for a date")
        else:
            self._error("prefix", found + " with another price", "one price for a prefix and date")

    def _error(self, path: str, found: str, expected: str, hint: str = "") -> None:
        if len(self.errors) < MAX_PROBLEMS:
            self.errors.append(Problem(self.file, path, found, expected, self.line, hint=hint))

    def _warn(self, path: str, found: str, expected: str, hint: str = "") -> None:
        if len(self.warnings) < MAX_PROBLEMS:
            self.warnings.append(Problem(self.file, path, found, expected, self.line, hint=hint))


def _prefix(text: str) -> str:
    if text.isascii() and text.isdigit() and text[0] != "0" and len(text) <= 15:
        return "+" + text
    digits = text.replace(" ", "")
    digits = digits.removeprefix("+") if digits.startswith("+") else digits.removeprefix("00")
    if not re.fullmatch(r"[1-9][0-9]{0,14}", digits, re.ASCII):
        hint = "a spreadsheet wrote it as a rounded number" if "E+" in text.upper() else ""
        raise _Refused("a prefix with its country code, such as 31612", hint)
    return "+" + digits


def _price(text: str) -> int:
    try:
        amount = parse_euro(text)
    except MoneyError as error:
        raise _Refused(error.expected) from None
    if amount > PRICE_MAX:
        raise _Refused("at most 10000.00")
    return amount


def _increments(text: str) -> tuple[int, int]:
    parts = text.replace(" ", "").split("/")
    if len(parts) > 2 or not all(re.fullmatch(r"[0-9]{1,4}", part) and 1 <= int(part) <= 3600 for part in parts):
        raise _Refused("increments in seconds such as 60/1, or 60 for both")
    return int(parts[0]), int(parts[-1])


def _date(text: str) -> date:
    match = _DATE.fullmatch(text)
    try:
        if match and match[1]:
            return date(int(match[1]), int(match[2]), int(match[3]))
        if match:
            return date(int(match[6]), int(match[5]), int(match[4]))
    except ValueError:
        pass
    hint = "with slashes nobody knows which is the month" if "/" in text else ""
    raise _Refused("a date such as 2026-12-01 or 1-12-2026", hint)


def _never_ends(text: str) -> str:
    # Whether the day itself still counts differs from carrier to carrier.
    raise _Refused("no day on which a price ends", "give the price that follows with its valid_from, or delete the row")


def _currency(text: str) -> str:
    if text.upper() not in ("EUR", "EURO", "€"):
        raise _Refused("EUR", "prices are in euros: convert them")
    return text


_READERS: tuple[tuple[str, Callable[[str], object], object], ...] = (
    ("prefix", _prefix, None),
    ("name", str, ""),
    ("price", _price, None),
    ("increments", _increments, (60, 60)),
    ("connect_fee", _price, 0),
    ("valid_from", _date, date.min),
    ("valid_to", _never_ends, ""),
    ("currency", _currency, ""),
)
"""In the order of a :class:`DeckRow`, then what only is checked; the last is what an empty field means."""

_KEYS = {name: key for key, known in COLUMNS.items() for name in known}
