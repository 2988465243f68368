"""What commands show: tables for people, JSON and CSV for programs."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from charging.safe_text import spreadsheet_cell, visible, visible_json

if TYPE_CHECKING:  # read where it is used: a daemon that starts shows no tables, and running calls wait for it
    from rich.console import Console, JustifyMethod
    from rich.table import Table

COLUMN_GAP = 3
"""Blanks beside a cell in a terminal's table."""

Row = Mapping[str, Any]

UNLIMITED_COLUMNS = 10_000
"""Of a line where the output is no terminal: nothing is cut."""


_INSTANT = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)\.\d{3}\+00:00")
"""As every instant comes; a person can do without the milliseconds, and a narrow terminal must."""


class Column(NamedTuple):
    """One column of a table."""

    key: str
    title: str
    right: bool = False
    spare: int = 0
    """Above 0: left out where a terminal is too narrow for all, the highest first. JSON and pipes have every column."""


def console() -> Console:
    """Where tables go. What customers typed is never taken for mark-up."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else UNLIMITED_COLUMNS
    return Console(markup=False, emoji=False, highlight=False, width=width)


def show_json(document: Any) -> None:
    """One JSON document."""
    sys.stdout.write(visible_json(json.dumps(document, indent=2, ensure_ascii=False)) + "\n")


def cell(value: Any) -> str:
    """A value for a person. What a terminal would obey is escaped: callers' names come from outside."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _INSTANT.sub(r"\1 \2Z", visible(str(value)))


def table(rows: Iterable[Row], columns: Sequence[Column]) -> Table:
    """Rows as a table, as wide as the output has room for."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    rows = list(rows)
    columns = fitting(rows, columns, console().width)
    made = Table(box=SIMPLE_HEAD if sys.stdout.isatty() else None, pad_edge=False, header_style="bold")
    for column in columns:
        justify: JustifyMethod = "right" if column.right else "left"
        # What does not fit goes on in the next line: half a session's id is of no use to `hangup`.
        made.add_column(column.title, justify=justify, no_wrap=column.right, overflow="fold")
    for row in rows:
        made.add_row(*(cell(row.get(column.key)) for column in columns))
    return made


def fitting(rows: Sequence[Row], columns: Sequence[Column], width: int) -> Sequence[Column]:
    """Those of the columns for which a line has room, and all that are not spare."""

    def needed(column: Column) -> int:
        return COLUMN_GAP + max(len(column.title), *(len(cell(row.get(column.key))) for row in rows), 0)

    shown = list(columns)
    while sum(map(needed, shown)) > width and (least := max(shown, key=lambda column: column.spare)).spare:
        shown.remove(least)
    return shown


def show_rows(rows: Iterable[Row], columns: Sequence[Column], *, as_json: bool, none: str) -> None:
    """A listing; ``none`` is said where it is empty."""
    listed = list(rows)
    if as_json:
        show_json(listed)
    elif listed:
        console().print(table(listed, columns))
        shown = fitting(listed, columns, console().width)
        if left := ", ".join(column.title for column in columns if column not in shown):
            console().print(f"Left out for lack of room: {left}", "(a wider terminal or --json has all)", style="dim")
    else:
        print(none, file=sys.stderr)


def show_one(document: Row, *, as_json: bool) -> None:
    """One thing, a line for each of its values; inner lists are left to JSON."""
    if as_json:
        show_json(document)
        return
    from rich.table import Table

    grid = Table(box=None, show_header=False, pad_edge=False)
    grid.add_column(style="bold")
    grid.add_column()
    for name, value in document.items():
        if not isinstance(value, list | dict):
            grid.add_row(name.replace("_", " "), cell(value))
    console().print(grid)


def show_csv(rows: Iterable[Row], columns: Sequence[str]) -> None:
    """Comma-separated values with a header line; values that a spreadsheet would take for a formula are quoted by an
    apostrophe, except numbers."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_csv_cell(row.get(column)) for column in columns])


def _csv_cell(value: Any) -> str:
    if value is None:
        return ""
    text = json.dumps(value, separators=(",", ":")) if isinstance(value, dict | list) else str(value)
    return spreadsheet_cell(text)
