"""What commands show: tables for people, JSON and CSV for programs."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

Row = Mapping[str, Any]

UNLIMITED_COLUMNS = 10_000
"""Of a line where the output is no terminal: nothing is cut."""


class Column(NamedTuple):
    """One column of a table."""

    key: str
    title: str
    right: bool = False


def console() -> Console:
    """Where tables go. What customers typed is never taken for mark-up."""
    width = None if sys.stdout.isatty() else UNLIMITED_COLUMNS
    return Console(markup=False, emoji=False, highlight=False, width=width)


def show_json(document: Any) -> None:
    """One JSON document."""
    json.dump(document, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def cell(value: Any) -> str:
    """A value for a person."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def table(rows: Iterable[Row], columns: Sequence[Column]) -> Table:
    """Rows as a table."""
    made = Table(box=SIMPLE_HEAD if sys.stdout.isatty() else None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column.title, justify="right" if column.right else "left", no_wrap=column.right)
    for row in rows:
        made.add_row(*(cell(row.get(column.key)) for column in columns))
    return made


def show_rows(rows: Iterable[Row], columns: Sequence[Column], *, as_json: bool, none: str) -> None:
    """A listing; ``none`` is said where it is empty."""
    listed = list(rows)
    if as_json:
        show_json(listed)
    elif listed:
        console().print(table(listed, columns))
    else:
        print(none, file=sys.stderr)


def show_one(document: Row, *, as_json: bool) -> None:
    """One thing, a line for each of its values; inner lists are left to JSON."""
    if as_json:
        show_json(document)
        return
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
    harmless = not text.startswith(("=", "+", "-", "@", "\t", "\r")) or text[1:].replace(".", "", 1).isdigit()
    return text if harmless else "'" + text
