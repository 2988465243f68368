"""The CSV file of an import: its first line names the columns, each further line is a number, or an account without
one. An account with several numbers has several lines. Pure.

Columns, in any order: ``account`` and ``plan``, and as wanted ``language``, ``email``, ``number``, ``forward_to``,
``paid_voicemail`` (yes, no, or empty: as the plan says) and ``mailbox``; separated by comma, semicolon, tab or upright
line. As of rate decks, names may be in quotes and have spaces for ``_``, lines may end with separators, and lines that
a spreadsheet left blank, that begin with ``#``, or that name the columns once more are no rows.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from charging.errors import ConfigError, Problem
from charging.ledger.accounts import Language
from charging.tariff.csv_text import csv_text
from charging.yaml_text import describe, suggest

BYTES_MAX = 64 * 1024 * 1024
COLUMNS_MAX = 50
LINE_MAX = 2_000
"""Characters; no account has as many."""
PART_ROWS = 50
PART_BYTES_MAX = (PART_ROWS + 1) * LINE_MAX * 4
"""Of the parts in which a file reaches a daemon."""
NEEDED = ("account", "plan")
COLUMNS = (*NEEDED, "language", "email", "number", "forward_to", "paid_voicemail", "mailbox")
SEPARATORS = ",;\t|"
_SEP = re.compile(r"\s*sep=.", re.IGNORECASE)
_AS_TEXT = re.compile(r'="([^"]*)"')
"""As spreadsheets keep the zeros of a number."""
VOICEMAIL = {"": None, "yes": True, "no": False}


@dataclass(frozen=True, slots=True)
class ImportRow:
    """One line."""

    line: int
    columns: Mapping[str, int]
    """Where in the line each field begins, from 1."""
    account: str
    plan: str
    language: Language
    email: str
    number: str
    forward_to: str
    paid_voicemail: bool | None
    mailbox: str

    def problem(self, file: str, column: str, found: str, expected: str) -> Problem:
        """Something wrong with a field of this line."""
        return Problem(file, column, found, expected, self.line, self.columns.get(column))


def read_rows(data: bytes, file: str, language: Language) -> tuple[list[ImportRow], list[Problem]]:
    """The rows that can be read, and every problem with the others. ``language`` is that of rows that name none."""
    try:
        text = csv_text(data, file)
    except ConfigError as error:
        return [], list(error.problems)
    lines = text.split("\n")
    if long := [number for number, line in enumerate(lines, 1) if len(line) > LINE_MAX]:
        found = f"{len(lines[long[0] - 1])} characters"
        return [], [Problem(file, "", found, f"a line of at most {LINE_MAX}", long[0])]
    first = _first(lines)
    separator = max(SEPARATORS, key=lines[first].count)
    names = _names(lines[first].rstrip("\r"), separator)
    problems = _header_problems(names, file, first + 1)
    if problems:
        return [], problems
    reader = _Reader(file, separator, names, first + 1, language, [])
    below = enumerate(lines[first + 1 :], first + 2)
    rows = [reader.row(number, line.rstrip("\r")) for number, line in below if not _is_beside(line, lines[first])]
    if not rows:
        reader.problems.append(Problem(file, "", "no account", "a line for each account or number", first + 2))
    return [row for row in rows if row is not None], reader.problems


def parts(data: bytes) -> Iterator[tuple[int, bytes]]:
    """A file that can be read (:func:`read_rows` found no problem), in parts of the line that names the columns and
    ``PART_ROWS`` others; and how many rows each has."""
    lines = csv_text(data, "").split("\n")
    head, *below = lines[_first(lines) :]
    rows = [line for line in below if not _is_beside(line, head)]
    for start in range(0, len(rows), PART_ROWS):
        part = rows[start : start + PART_ROWS]
        yield len(part), "\n".join((head, *part)).encode()


def _is_blank(line: str) -> bool:
    """Whether a row has nothing but separators and quotes."""
    return not line.strip(SEPARATORS + ' "\r')


def _is_beside(line: str, head: str) -> bool:
    """Whether a line is no row: it is blank, a remark, or the columns' names once more."""
    return _is_blank(line) or line.startswith("#") or line.rstrip("\r") == head.rstrip("\r")


def _first(lines: Sequence[str]) -> int:
    """Where the columns are named: at the first line that is not blank, nor the ``sep=;`` of a spreadsheet."""
    return next((place for place, line in enumerate(lines) if not _is_blank(line) and not _SEP.match(line)), 0)


def _names(line: str, separator: str) -> list[str]:
    """The columns' names, up to the last one that has one."""
    try:
        (fields,) = csv.reader([line], delimiter=separator, strict=True)
    except (csv.Error, ValueError):
        fields = line.split(separator)
    names = [re.sub(r"[\s_]+", "_", name.strip().lower()) for name in fields]
    while names and not names[-1]:
        names.pop()
    return names


def _header_problems(names: Sequence[str], file: str, line: int) -> list[Problem]:
    if len(names) > COLUMNS_MAX:
        return [Problem(file, "", f"{len(names)} columns", "a column for each of " + ", ".join(COLUMNS), line)]
    problems = []
    for name in names:
        if name not in COLUMNS:
            expected = "a column's name: " + ", ".join(COLUMNS)
            problems.append(Problem(file, "", describe(name), expected, line, hint=suggest(name, COLUMNS)))
        elif names.count(name) > 1:
            problems.append(Problem(file, name, "the column twice", "each column once", line))
    problems += [Problem(file, name, "nothing", f"a column {name}", line) for name in NEEDED if name not in names]
    return problems


@dataclass(slots=True)
class _Reader:
    file: str
    separator: str
    names: Sequence[str]
    names_line: int
    language: Language
    problems: list[Problem]

    def row(self, number: int, line: str) -> ImportRow | None:
        """The row of a line; ``None``, with its problems noted, where it is none."""
        try:
            (fields,) = csv.reader([line], delimiter=self.separator, strict=True)
        except (csv.Error, ValueError) as error:
            self.problems.append(Problem(self.file, "", f"{error}", "quotes that end in their own line", number))
            return None
        fields, beyond = (
            [_AS_TEXT.sub(r"\1", field.strip()) for field in fields[: len(self.names)]],
            fields[len(self.names) :],
        )
        if len(fields) < len(self.names) or any(map(str.strip, beyond)):
            found = f"{len(fields) + len(beyond)} columns"
            expected = f"{len(self.names)}, as in line {self.names_line}"
            self.problems.append(Problem(self.file, "", found, expected, number))
            return None
        columns = dict(zip(self.names, _beginnings(line, self.separator), strict=False))
        given = dict.fromkeys(COLUMNS, "") | dict(zip(self.names, fields, strict=True))
        return self._typed(number, columns, given)

    def _typed(self, number: int, columns: Mapping[str, int], given: Mapping[str, str]) -> ImportRow | None:
        language, paid = given["language"].lower() or self.language.value, given["paid_voicemail"].lower()
        wrong = []
        if language not in tuple(Language):
            wrong.append(("language", ", ".join(Language)))
        if paid not in VOICEMAIL:
            wrong.append(("paid_voicemail", "yes, no, or nothing (as the plan says)"))
        if not given["number"]:
            without = (name for name in ("forward_to", "paid_voicemail", "mailbox") if given[name])
            wrong += [(name, "nothing, since the line has no number") for name in without]
        for name, expected in wrong:
            self.problems.append(Problem(self.file, name, repr(given[name][:80]), expected, number, columns.get(name)))
        if wrong:
            return None
        return ImportRow(
            line=number,
            columns=columns,
            account=given["account"],
            plan=given["plan"],
            language=Language(language),
            email=given["email"],
            number=given["number"],
            forward_to=given["forward_to"],
            paid_voicemail=VOICEMAIL[paid],
            mailbox=given["mailbox"],
        )


def _beginnings(line: str, separator: str) -> list[int]:
    """The column of each field's first character, from 1."""
    found = [1]
    is_quoted = False
    for place, character in enumerate(line, 1):
        if character == '"':
            is_quoted = not is_quoted
        elif character == separator and not is_quoted:
            found.append(place + 1)
    return found
