"""The CSV file of an import: its first line names the columns, each further line is a number, or an account without
one. An account with several numbers has several lines. Pure.

Columns, in any order: ``account`` and ``plan``, and as wanted ``language``, ``email``, ``number``, ``forward_to``,
``paid_voicemail`` (yes, no, or empty: as the plan says) and ``mailbox``; separated by comma, semicolon or tab.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from charging.errors import Problem
from charging.ledger.accounts import Language
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
SEPARATORS = ",;\t"
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
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        found = f"the byte 0x{data[error.start]:02x}"
        return [], [Problem(file, "", found, "text in UTF-8", line, hint="save it as CSV UTF-8")]
    lines = text.split("\n")
    if long := [number for number, line in enumerate(lines, 1) if len(line) > LINE_MAX]:
        found = f"{len(lines[long[0] - 1])} characters"
        return [], [Problem(file, "", found, f"a line of at most {LINE_MAX}", long[0])]
    separator = max(SEPARATORS, key=lines[0].count)
    names = [name.strip().lower() for name in lines[0].rstrip("\r").split(separator)]
    problems = _header_problems(names, file)
    if problems:
        return [], problems
    reader = _Reader(file, separator, names, language, [])
    rows = [reader.row(number, line.rstrip("\r")) for number, line in enumerate(lines[1:], 2) if line.strip()]
    if not rows:
        reader.problems.append(Problem(file, "", "no account", "a line for each account or number", 2))
    return [row for row in rows if row is not None], reader.problems


def parts(data: bytes) -> Iterator[tuple[int, bytes]]:
    """A file that can be read (:func:`read_rows` found no problem), in parts of its first line and ``PART_ROWS``
    others; and how many rows each has."""
    head, *lines = data.decode("utf-8-sig").split("\n")
    rows = [line for line in lines if line.strip()]
    for start in range(0, len(rows), PART_ROWS):
        part = rows[start : start + PART_ROWS]
        yield len(part), "\n".join((head, *part)).encode()


def _header_problems(names: Sequence[str], file: str) -> list[Problem]:
    if len(names) > COLUMNS_MAX:
        return [Problem(file, "", f"{len(names)} columns", "a column for each of " + ", ".join(COLUMNS), 1)]
    problems = []
    for name in names:
        if name not in COLUMNS:
            expected = "a column's name: " + ", ".join(COLUMNS)
            problems.append(Problem(file, "", describe(name), expected, 1, hint=suggest(name, COLUMNS)))
        elif names.count(name) > 1:
            problems.append(Problem(file, name, "the column twice", "each column once", 1))
    problems += [Problem(file, name, "nothing", f"a column {name}", 1) for name in NEEDED if name not in names]
    return problems


@dataclass(slots=True)
class _Reader:
    file: str
    separator: str
    names: Sequence[str]
    language: Language
    problems: list[Problem]

    def row(self, number: int, line: str) -> ImportRow | None:
        """The row of a line; ``None``, with its problems noted, where it is none."""
        try:
            (fields,) = csv.reader([line], delimiter=self.separator, strict=True)
        except (csv.Error, ValueError) as error:
            self.problems.append(Problem(self.file, "", f"{error}", "quotes that end in their own line", number))
            return None
        if len(fields) != len(self.names):
            self.problems.append(
                Problem(self.file, "", f"{len(fields)} columns", f"{len(self.names)}, as in line 1", number)
            )
            return None
        columns = dict(zip(self.names, _beginnings(line, self.separator), strict=True))
        given = dict.fromkeys(COLUMNS, "") | dict(zip(self.names, map(str.strip, fields), strict=True))
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
