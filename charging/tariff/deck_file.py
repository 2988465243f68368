"""Reads a rate deck as carriers send it (CSV) into a :class:`Deck`, or reports every problem at once.

The first line names the columns, in any order and by the names that carriers use (:data:`COLUMNS`). Columns are
separated by semicolon, comma, tab or upright line; decimals have a point or a comma; a byte-order mark is skipped.
Amounts are euros, prices per minute. Without a column of increments they are 60/60, as in the tariff file.

Nothing in a deck is ignored silently. An unknown column is a warning, or an error if it may be a misspelt known one. A
row that ends (``valid to``) or is in another currency is an error, because it cannot be charged as it is meant.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from charging.errors import ConfigError, Problem
from charging.tariff.csv_text import csv_text
from charging.tariff.deck import Deck, DeckRow
from charging.tariff.deck_columns import (
    COLUMNS,
    FLAGS,
    KEYS,
    MONEY,
    NAMES,
    NEEDED,
    OFFERS,
    READERS,
    WORDS,
    Refused,
    is_for_people,
    is_month_or_day_first,
    offered,
    plain_name,
)
from charging.tariff.deck_words import (
    changes_prices,
    may_be_charged,
    names_a_price,
    says_removed,
    speaks_of_prices,
    speaks_of_removal,
)
from charging.yaml_text import describe, suggest

MAX_DECK_BYTES = 128 * 1024 * 1024
MAX_ROWS = 2_000_000
MAX_PROBLEMS = 100
"""Of each kind (errors, warnings): no person reads more of one file."""
PROGRESS_EVERY_ROWS = 5_000
COLUMNS_MAX = 200
"""Each that is not known is compared with all that are."""

Progress = Callable[[int, int], None]
"""Told now and then how many bytes of how many are read."""

_NO_COLUMN = sys.maxsize
_REFUSED = object()

PREAMBLE_MAX = 20
"""Lines before the names of the columns."""
HEADER_MAX = 20_000
"""Characters of a line in which the names are looked for."""

_FOOTER = re.compile(
    r"#[ \t]*sha-?256[ \t:=]+(?P<digest>[0-9a-f]{64})"
    r"|(?:#[ \t]*)?(?:rows|row count|records|total|total rows|eof|trailer)[ \t:=;,|]+(?P<rows>[0-9]{1,9})",
    re.IGNORECASE,
)
"""The last line, where it tells how many rows there are, or the digest of all before it."""
SEPARATORS = ";\t,|"
PLAIN_PRICES = "prices in euros a minute, and their fees, increments and dates in columns"
CONVERT = (
    "prices are in euros a minute, and the tariff says whether with VAT: convert them, and name the column 'price'"
)
PLAIN_HINT = "say it in columns, or convert the prices (the tariff says whether they include VAT); then delete the line"
_NUMBER = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+)?")
_THOUSANDS = re.compile("[1-9][0-9]{0,2}[.,][0-9]{3}")
FOOTERS_MAX = 4
"""For each of them the whole file is looked at once more."""


class DeckFile(NamedTuple):
    """A deck as read."""

    deck: Deck
    digest: bytes
    """SHA-256 of the file's bytes."""
    warnings: tuple[Problem, ...]


def read_deck(path: Path, progress: Progress | None = None) -> DeckFile:
    """Read the deck at ``path``. If a file beside it (``deck.csv.sha256``, as ``sha256sum`` writes it) has its digest,
    check the deck against it. Raises :class:`ConfigError` with every problem found."""
    data = _bytes_of(path)
    _check_digest(path, data)
    return parse_deck(data, str(path), progress)


def _check_digest(path: Path, data: bytes) -> None:
    beside = path.with_name(path.name + ".sha256")
    try:
        told = beside.read_text(encoding="ascii", errors="replace").split()[:1] if beside.is_file() else []
    except OSError:
        told = []
    if told and told[0].lower() != hashlib.sha256(data).hexdigest():
        expected = f"the file whose digest {beside.name} tells"
        hint = "it may have broken off; fetch both again"
        raise ConfigError([Problem(str(path), "", "another content", expected, hint=hint)])


class DeckCache:
    """Reads decks, and reads a deck again only if it has changed, so that an edit of the tariff file alone is quick."""

    def __init__(self, *, below: Path | None = None, besides: Collection[Path] = ()) -> None:
        """``below``: whoever names the decks may read none outside this folder (resolved), but ``besides``; ``None``:
        any."""
        self._read: dict[Path, DeckFile] = {}
        self._below = below
        self._besides = frozenset(besides)

    def keep_only(self, paths: Collection[Path]) -> None:
        """Drop the decks at all other paths: the tariff does not name them any more."""
        self._read = {path: read for path, read in self._read.items() if path in paths}

    def __call__(self, path: Path) -> DeckFile:
        """The deck at ``path``. Raises :class:`ConfigError` with every problem found."""
        self._check_place(path)
        data = _bytes_of(path)
        known = self._read.get(path)
        _check_digest(path, data)
        if known is not None and known.digest == hashlib.sha256(data).digest():
            return known
        made = parse_deck(data, str(path))
        self._read[path] = made
        return made

    def copy(self) -> DeckCache:
        """What has been read until now."""
        other = DeckCache(below=self._below, besides=self._besides)
        other._read = dict(self._read)
        return other

    def known(self, path: Path, digest: bytes) -> DeckFile | None:
        """The edition of a deck with this digest, if it is the one that was read."""
        read = self._read.get(path)
        return read if read is not None and read.digest == digest else None

    def _check_place(self, path: Path) -> None:
        if self._below is None or path in self._besides or path.resolve().is_relative_to(self._below):
            return
        expected = f"one below {self._below}, or one that the tariff in force names"
        raise ConfigError([Problem(str(path), "", "a deck elsewhere", expected)])


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
    text = csv_text(data, file)
    reader = _Reader(file, text, progress)
    rows = reader.read()
    if reader.errors:
        raise ConfigError(reader.errors)
    return DeckFile(Deck(file, rows), hashlib.sha256(data).digest(), tuple(reader.warnings))


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
        self.progress = progress
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []
        self.columns = {key: _Column(key, reader, absent) for key, reader, absent in READERS}
        self.present: list[tuple[str, _Column]] = []
        """Those that the file has."""
        self.money: list[int] = []
        """Where those of them stand that hold amounts."""
        self.absent: dict[str, Any] = {key: absent for key, _, absent in READERS}
        self.unknown: dict[int, str] = {}
        """Where columns stand that are not known, or have no name."""
        self.flags: dict[int, str] = {}
        """Where columns stand that may say that a row is no offer."""
        self.remarks: dict[int, str] = {}
        """Where columns stand that people alone read."""
        self.delimiter = ";"
        self.width = 0
        """How many columns the header has, up to the last one with a name."""
        self.line = 1
        self.text = text
        self.names: list[str] = []
        """The first line's fields."""
        self.titles: list[tuple[int, str]] = []
        """Lines of words between the rows, with their numbers."""
        self.split_prices: list[int] = []
        """Lines in which a price may be broken in two by its decimal comma."""
        self.points = False
        """Whether a price of the file has a decimal point."""
        self.commas = False
        """Likewise a comma."""
        self.doubtful: dict[str, tuple[int, str]] = {}
        """By their sign, the first price whose decimals may be thousands, with its line."""

    def read(self) -> list[DeckRow]:
        ends_whole = self.text.endswith(("\n", "\r"))
        body = self._footers()
        skipped = self._preamble(body)
        lines = csv.reader(io.StringIO(body, newline=""), delimiter=self.delimiter, strict=True)
        rows: dict[tuple[str, date], tuple[int, DeckRow]] = {}
        made = 0
        fields: list[str] = []
        try:
            for _ in range(skipped):
                next(lines, None)
            self.line = skipped + 1
            self._header(next(lines, []))
            if self.errors:
                return []
            for fields in self._counted(lines):
                self.line = lines.line_num
                if any(map(str.strip, fields)) and not self._is_beside(fields):
                    for row in self._rows(fields):
                        self._add(rows, row)
                        made += 1
                if made > MAX_ROWS:  # a short line may have thousands of prefixes
                    self._error("", "more prefixes", f"at most {MAX_ROWS} rows with one prefix each")
                    break
        except csv.Error as error:
            self.line = lines.line_num
            self._error("", str(error), "a row of a CSV file")
        if not rows and not self.errors:
            self._error("", "no rows", "at least one price")
        if not ends_whole and not self.errors:
            self._broken_off(fields)
        self._broken_prices()
        self._mixed_decimals()
        self._look_at_all(rows)
        return [row for _, row in rows.values()]

    def _footers(self) -> str:
        """The text without what is told at its end: ``# rows: 1234`` or ``TOTAL;1234``, ``# sha256: …``; checked."""
        body = self.text
        for _ in range(FOOTERS_MAX):
            end = len(body.rstrip("\n"))
            start = body.rfind("\n", 0, end) + 1
            found = _FOOTER.fullmatch(body[start:end].lstrip(" \t").rstrip(";,\t \r"))
            if found is None:
                break
            before = body[:start]
            self.line = before.count("\n") + 1
            if found["digest"]:
                if hashlib.sha256(before.encode()).hexdigest() != found["digest"].lower():
                    hint = "the file may have broken off: fetch it again"
                    self._error("", "another content", "the digest that the last line tells", hint)
            else:
                rows = sum(bool(line.strip()) and line[0] != "#" for line in before.splitlines()) - 1
                if rows != int(found["rows"]):
                    hint = "the file may have broken off: fetch it again"
                    self._error("", f"{rows} rows", f"{found['rows']}, as the last line tells", hint)
            body = before
        return body

    def _preamble(self, body: str) -> int:
        """How many lines stand before the names of the columns: a title, or the ``sep=;`` of spreadsheets."""
        candidates = body.split("\n", PREAMBLE_MAX + 1)[: PREAMBLE_MAX + 1]
        for index, line in enumerate(candidates):
            delimiter = max(SEPARATORS, key=line.count)
            names = {plain_name(name.strip('"\r')) for name in line[:HEADER_MAX].split(delimiter)}
            if all(names & set(COLUMNS[key]) for key in NEEDED):
                self.delimiter = delimiter
                self._title(candidates[:index])
                return index
        self.delimiter = max(SEPARATORS, key=candidates[0].count)
        return 0

    def _title(self, lines: list[str]) -> None:
        title = " ".join(" ".join(lines).split())
        if changes_prices(title):
            self._error("", f"{describe(title[:60])} before the columns", PLAIN_PRICES, PLAIN_HINT)
        elif title.strip(";,\t ") and not re.fullmatch(r"sep=.", title.strip(";,\t ")):
            self._warn("", f"{describe(title[:60])} before the columns", "nothing there that says how prices are meant")

    def _is_beside(self, fields: list[str]) -> bool:
        """Whether a line is no row, but a remark, a title of the rows below it, or the columns' names once more."""
        if fields[-1] and fields == self.names:
            return True
        said = [text for field in fields if (text := field.strip())]
        text = said[0]
        if len(said) > 1 or (not text.startswith("#") and any(map(str.isdigit, text))):
            return False
        if _FOOTER.fullmatch(text):
            self._error("", f"{describe(text[:60])} before further rows", "such a line at the end alone")
        elif changes_prices(text) or (not text.startswith("#") and may_be_charged(text)):
            self._error("", f"{describe(text[:60])} between the rows", PLAIN_PRICES, PLAIN_HINT)
        elif speaks_of_removal(text):
            hint = "delete the rows that it is about, and the line"
            self._error("", f"{describe(text[:60])} between the rows", "no row that the carrier does not carry", hint)
        elif not text.startswith("#"):
            self.titles.append((self.line, text))
        return True

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
        self.names = names
        for index, name in enumerate(names):
            plain = plain_name(name)
            key = KEYS.get(plain)
            if plain:
                self.width = index + 1
            if key is not None and self.columns[key].index != _NO_COLUMN:
                self._error(name, "the column a second time", "each column once")
            elif key is not None:
                self.columns[key].index = index
            elif plain in FLAGS or plain in OFFERS:
                self.flags[index] = plain
            elif is_for_people(plain):
                self.remarks[index] = plain
            else:
                self.unknown[index] = plain
        is_deck = any(map(self._has, NEEDED))  # else it is another file, maybe a secret's, and is not repeated
        found = describe(";".join(names)) if is_deck else "a line without any"
        for key in NEEDED:
            if not self._has(key):
                hints = [hint for name in names if (hint := _meant(plain_name(name), COLUMNS[key]))]
                expected = f"a column {key!r} in the first line"
                self._error("", found, expected, hints[0] if hints else "")
        if not is_deck:
            return
        if self._has("first_increment") and not (self._has("next_increment") or self._has("increments")):
            self._error(
                "", "a column of first increments alone", "one of further increments too, such as 'next increment'"
            )
        if self._has("next_increment") and not (self._has("first_increment") or self._has("increments")):
            self._error("", "a column of further increments alone", "one of first increments too: 'first increment'")
        self.unknown = {index: name for index, name in self.unknown.items() if index < self.width}
        for name in filter(None, self.unknown.values()):
            self._unknown(name)
        self.present = [(key, column) for key, column in self.columns.items() if self._has(key)]
        self.money = [column.index for key, column in self.present if key in MONEY]

    def _has(self, key: str) -> bool:
        return self.columns[key].index != _NO_COLUMN

    def _unknown(self, name: str) -> None:
        """Report an unknown column. If it may be a misspelt known one, that is an error: calls would be charged
        wrongly."""
        missing = [one for one, key in KEYS.items() if not self._has(key)]
        within = [one for one in missing if one in name.split()]
        found = f"the unknown column {describe(name)}"
        if hint := _meant(name, within) or _meant(name, missing, cutoff=0.8):
            self._error("", found, "its name corrected, or no such column", hint)
        else:
            self._warn("", found, "a known column: " + ", ".join(COLUMNS), suggest(name, missing))

    def _rows(self, fields: list[str]) -> Iterator[DeckRow]:
        """The row, once for each of its prefixes."""
        if len(fields) > self.width and any(map(str.strip, fields[self.width :])):
            comma = 'quote what has a comma, such as "0,12", or separate the columns by semicolons'
            hint = comma if self.delimiter == "," else ""
            self._error("", f"{len(fields)} fields", f"at most {self.width}, as in the first line", hint)
            return
        if self.unknown or self.flags or self.remarks:
            self._pass_over(fields)
        values = dict(self.absent)
        for key, column in self.present:
            text = fields[column.index] if column.index < len(fields) else ""
            value = column.read.get(text)
            values[key] = self._read(column, text) if value is None else value
        if _REFUSED in values.values():
            return
        increments_s = self._increments(values)
        if values["first_price"] not in (None, values["price"]):
            hint = "give such a destination its own steps in the tariff"
            self._error("first_price", "another price than that of further increments", "one price a minute", hint)
        if increments_s is None or not self._belongs(values):
            return
        self._look_at_price(fields)
        for prefix in values["prefix"]:
            yield DeckRow(
                prefix,
                values["name"] or prefix,
                values["price"],
                *increments_s,
                values["connect_fee"],
                values["valid_from"],
                values["min_charge"],
                values["fax_page"],
            )

    def _increments(self, values: dict[str, Any]) -> tuple[int, int] | None:
        """First and further increment, from one column or from two."""
        both, first_s, next_s = values["increments"], values["first_increment"], values["next_increment"]
        if first_s is None and next_s is None:
            return both or (60, 60)
        next_s = next_s or (both[1] if both else None) or first_s
        first_s = first_s or (both[0] if both else None) or next_s
        if not next_s:
            self._error("next_increment", "nothing", "seconds of each further increment")
            return None
        if both and both[0] != both[1] and both != (first_s, next_s):
            self._error("increments", f"{both[0]}/{both[1]} beside {first_s} and {next_s}", "the same in all columns")
            return None
        return first_s, next_s

    def _belongs(self, values: dict[str, Any]) -> bool:
        """Whether the prefixes are whole: some lists give them without the country code of another column."""
        if not values["country_code"]:
            return True
        strange = next((one for one in values["prefix"] if not one.startswith(values["country_code"])), None)
        if strange is not None:
            expected = f"a prefix that begins with the row's country code, {values['country_code']}"
            self._error("prefix", strange, expected, "put the two together in one column")
        return strange is None

    def _pass_over(self, fields: list[str]) -> None:
        for index, name in self.flags.items():
            text = fields[index].strip() if index < len(fields) else ""
            try:
                offered(name, text)
            except Refused as refused:
                self._error(name, describe(text), refused.expected, refused.hint)
        for index, name in list((self.unknown | self.remarks).items()):
            text = fields[index].strip() if index < len(fields) else ""
            if not text:
                continue
            if says_removed(text) and not name.startswith("#"):
                self._error(name, describe(text), "no row that the carrier does not carry", "delete the row")
            elif index in self.unknown and may_be_charged(text, name):
                hint = "name it as one that is known, or begin its name with # where people alone read it"
                column = "a column that is not known" if name else "a column without a name"
                self._error(name, f"{describe(text)} in {column}", "no money and no time there", hint)
                del self.unknown[index]  # once is enough
            elif (name in WORDS and speaks_of_prices(text)) or (name in NAMES and names_a_price(text)):
                hint = "say it in columns, or begin this one's name with # where people alone read it"
                self._error(name, describe(text), PLAIN_PRICES, hint)
                del self.remarks[index]

    def _look_at_price(self, fields: list[str]) -> None:
        """``81,Japan,0,60``: nobody can tell whether the price is 0, or 0.60. ``32,0,05,EUR`` under prefix, name, price
        and currency: likewise. And what ``1,234`` is beside ``0.05``."""
        for index in self.money:
            if index >= len(fields):
                continue
            text = fields[index].strip()
            if "." in text:
                self.points = True
            self.commas = self.commas or "," in text
            if _THOUSANDS.fullmatch(text):
                self.doubtful.setdefault("," if "," in text else ".", (self.line, text))
            elif self.delimiter == "," and text.isdigit() and self._is_beside_digits(fields, index):
                self.split_prices.append(self.line)

    def _is_beside_digits(self, fields: list[str], index: int) -> bool:
        before = index - 1 if index - 1 != self.columns["prefix"].index else -1
        return any(0 <= at < len(fields) and fields[at].strip().isdigit() for at in (before, index + 1))

    def _broken_prices(self) -> None:
        if self.split_prices and not self.points:
            self.line = self.split_prices[0]
            found = f"a whole number before another one, in {len(self.split_prices)} rows"
            hint = 'write 0.60 or "0,60" where one price is meant, 0.00 where the price is 0'
            self._error("price", found, "prices that cannot be two halves of one", hint)

    def _mixed_decimals(self) -> None:
        """``1,234`` beside ``0.05`` is a thousand to some; ``1.234`` beside ``0,05`` likewise."""
        for sign, others in ((",", self.points), (".", self.commas)):
            if others and sign in self.doubtful:
                self.line, text = self.doubtful[sign]
                found = f"{describe(text)} where other prices have their decimals behind the other sign"
                self._error("price", found, "one sign for decimals in the whole file, and none between thousands")

    def _broken_off(self, fields: list[str]) -> None:
        """Report a last line without a line break: its last field may be cut off."""
        last = next((key for key, column in self.columns.items() if column.index == len(fields) - 1), "")
        whole = last in ("name", "increments") and (last == "name" or "/" in fields[-1])
        if len(fields) < self.width or (last and not whole):
            found = f"a last row that ends with {describe(fields[-1] if fields else None)} and without a line break"
            hint = "it may have broken off: fetch it again, or end its last line where it is whole"
            self._error("", found, "a whole file", hint)

    def _look_at_all(self, rows: dict[tuple[str, date], tuple[int, DeckRow]]) -> None:
        free = [(line, row) for line, row in rows.values() if not row.price and not row.connect_fee]
        if free:
            self.line = free[0][0]
            found = f"{len(free)} prefixes that cost nothing, such as {free[0][1].prefix}"
            self._warn("price", found, "calls there to be free")
        if numbers := {name for name in map(str.strip, self.columns["name"].read) if _NUMBER.fullmatch(name)}:
            numbers -= {one for _, row in rows.values() for one in (row.prefix, row.prefix[1:], f"00{row.prefix[1:]}")}
            for self.line, row in ((line, row) for line, row in rows.values() if row.name in numbers):
                hint = "it may be the prefix, and the other one a carrier's own; or a price"
                self._error("name", describe(row.name), "a name of words", hint)
                break
        if self.titles:
            self.line, title = self.titles[0]
            found = f"{len(self.titles)} lines of words between the rows, such as {describe(title[:60])}"
            self._warn("", found, "nothing there that says how prices are meant")
        dates = self.columns["valid_from"].read
        if doubtful := next((text for text in dates if is_month_or_day_first(text.strip())), None):
            self.line = 1
            found = f"{describe(doubtful.strip())}, read as {dates[doubtful]}"
            self._warn("valid_from", found, "the day first", "write the year first, such as 2026-12-31, to be sure")

    def _read(self, column: _Column, text: str) -> object:
        stripped = text.strip()
        try:
            value = column.reader(stripped) if stripped or column.key in NEEDED else column.absent
        except Refused as refused:
            self._error(column.key, describe(stripped or None), refused.expected, refused.hint)
            return _REFUSED
        if value is not None:
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


def _meant(name: str, known: Sequence[str], cutoff: float = 0.6) -> str:
    """Which of the known columns may be meant by a name, and what to do before it is called so; empty: none."""
    hint = suggest(name, known, cutoff=cutoff)
    return CONVERT if hint and changes_prices(name) else hint
