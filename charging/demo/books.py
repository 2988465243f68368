"""The journal as a table with running balances, and what it adds up to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from charging.demo.screen import bare_table
from charging.ledger.balances import is_free_seconds
from charging.pricing.money import format_euro, parse_euro

WORDS = {
    "grant": "the month's free minutes",
    "correct": "used since it began",
    "top_up": "top-up",
    "reserve": "the call arrives",
    "extend": "tick",
    "settle": "the call is over",
    "release": "the call is over, uncharged",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the journal, and the balances after it. Micro-euro and seconds."""

    number: int
    at: str
    kind: str
    of_call: bool
    free: int
    free_after: int
    credit: int
    credit_after: int
    reserved_after: int


def micro(text: str) -> int:
    """Micro-euro of a signed amount."""
    return -parse_euro(text[1:]) if text.startswith("-") else parse_euro(text)


def running(journal: Iterable[dict[str, Any]]) -> list[Line]:
    """The journal's lines, oldest first, summed up."""
    lines: list[Line] = []
    free_after = credit_after = reserved_after = 0
    for row in journal:
        free = sum(int(leg["posted"]) for leg in row["legs"] if is_free_seconds(leg["balance"]))
        credit = sum(micro(leg["posted"]) for leg in row["legs"] if leg["balance"] == "credit")
        free_after, credit_after = free_after + free, credit_after + credit
        reserved_after += sum(micro(leg["reserved"]) for leg in row["legs"] if leg["balance"] == "credit")
        of_call = row["session"] is not None
        lines.append(
            Line(row["number"], row["at"], row["kind"], of_call, free, free_after, credit, credit_after, reserved_after)
        )
    return lines


def journal_table(lines: Sequence[Line]) -> Table:
    """For a person; only what changed is written, balances always."""
    left, right = "left", "right"
    table = bare_table(
        ("", right), ("UTC", left), ("", left), ("free s", right), ("left", right), ("€", right), ("credit", right),
        ("reserved", right),
    )  # fmt: skip
    for line in lines:
        table.add_row(
            str(line.number),
            line.at[11:19],
            WORDS.get(line.kind, line.kind),
            _signed(str(line.free)) if line.free else "",
            str(line.free_after),
            _signed(format_euro(line.credit)) if line.credit else "",
            format_euro(line.credit_after),
            format_euro(line.reserved_after),
        )
    return table


def _signed(amount: str) -> str:
    return amount if amount.startswith("-") else f"+{amount}"
