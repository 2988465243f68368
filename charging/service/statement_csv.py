"""A statement as CSV, for spreadsheets and bookkeeping. Pure.

The amounts of all rows but ``vat_in_usage`` add up to the last balance; of these there is one for each rate of VAT that
counts in the month, with the rate as its reason.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from charging.pricing.money import format_euro
from charging.pricing.packs import MESSAGES, PAGES
from charging.safe_text import spreadsheet_cell
from charging.service.statements import Line, Statement, local_time, month_bounds_us
from charging.tariff.tariff import format_percent

COLUMNS = (
    *("at", "kind", "number", "caller", "target", "destination", "seconds", "pages", "free_seconds"),
    *("amount", "balance", "reason", "id", "part", "promotional", "free_pages", "free_messages"),
)


def statement_csv(statement: Statement) -> str:
    """The whole file."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_rows(statement))
    return out.getvalue()


def _rows(statement: Statement) -> Iterator[list[str]]:
    from_us, until_us = month_bounds_us(statement.month, statement.zone)
    yield _sum_row(statement, from_us, "opening_balance", statement.opening, statement.opening)
    for line in statement.lines:
        yield _row(statement, line)
    yield _sum_row(statement, until_us, "closing_balance", 0, statement.closing)
    for part in statement.vat:
        yield _sum_row(statement, until_us, "vat_in_usage", part.vat, None, format_percent(part.rate))


def _row(statement: Statement, line: Line) -> list[str]:
    cdr = line.cdr
    told = [str(cdr.get(key, "")) for key in ("number", "caller", "target", "destination")]
    told[1] = "withheld" if cdr.get("withheld") else told[1]
    seconds = "" if line.seconds is None else str(line.seconds)
    return [
        _at(statement, line.at_us),
        line.kind,
        *(spreadsheet_cell(text) for text in (*told, seconds, str(cdr.get("pages", "")))),
        str(line.free_seconds),
        format_euro(line.credit),
        format_euro(line.balance),
        spreadsheet_cell(line.reason),
        spreadsheet_cell(line.id),
        line.part.value,
        format_euro(line.promotional),
        *(str(line.pieces.get(sort, 0)) for sort in (PAGES, MESSAGES)),
    ]


def _sum_row(
    statement: Statement, at_us: int, kind: str, amount: int, balance: int | None, reason: str = ""
) -> list[str]:
    empty = [""] * 7
    shown = "" if balance is None else format_euro(balance)
    return [_at(statement, at_us), kind, *empty, format_euro(amount), shown, reason, "", "", "", "", ""]


def _at(statement: Statement, wall_us: int) -> str:
    return local_time(wall_us, statement.zone).isoformat()
