"""Rate decks: a deck is exact prices, or every problem at its line."""

from __future__ import annotations

import contextlib
import csv
import io
import re
from datetime import date

from charging.errors import ConfigError
from charging.pricing.money import format_euro
from charging.tariff.deck import DeckRow
from charging.tariff.deck_columns import NAME_MAX, PRICE_MAX
from charging.tariff.deck_file import MAX_PROBLEMS, DeckFile, parse_deck

FILE = "deck.csv"


def read(data: bytes) -> None:
    with contextlib.suppress(ConfigError):
        parse_deck(data, FILE)


def check(data: bytes) -> None:
    try:
        found = parse_deck(data, FILE)
    except ConfigError as error:
        lines = len(re.split(b"\r\n|\r|\n", data)) + 1
        assert 0 < len(error.problems) <= MAX_PROBLEMS
        for problem in error.problems:
            assert problem.found and problem.expected
            assert problem.line is not None and 1 <= problem.line <= lines, problem
            str(problem).encode()
        return
    assert len(found.warnings) <= MAX_PROBLEMS
    rows = _rows(found)
    assert rows, "a deck without a price"
    for row in rows:
        assert re.fullmatch(r"\+[1-9][0-9]{0,14}", row.prefix, re.ASCII), row
        assert row.name.isprintable() and 0 < len(row.name) <= NAME_MAX, row
        assert all(
            type(one) is int and 0 <= one <= PRICE_MAX
            for one in (row.price, row.connect_fee, row.min_charge, row.fax_page or 0)
        ), row
        assert 1 <= row.first_s <= 3600 and 1 <= row.next_s <= 3600, row
    for row in rows[:50]:
        matched = found.deck.match(row.prefix, date.max)
        assert matched == found.deck.rows(row.prefix)[0]
    assert _rows(parse_deck(_written(rows), FILE)) == rows, "what was read, written again, is read otherwise"


def _rows(found: DeckFile) -> list[DeckRow]:
    return sorted(row for prefix in found.deck.prefixes() for row in found.deck.rows(prefix))


def _written(rows: list[DeckRow]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=";", quoting=csv.QUOTE_ALL)
    writer.writerow(
        ["prefix", "name", "price", "increments", "connect fee", "valid from", "minimum charge", "fax page"]
    )
    for row in rows:
        since = "" if row.valid_from == date.min else f"{row.valid_from:%Y-%m-%d}".rjust(10, "0")
        prices = format_euro(row.price), f"{row.first_s}/{row.next_s}", format_euro(row.connect_fee)
        page = "" if row.fax_page is None else format_euro(row.fax_page)
        writer.writerow([row.prefix, row.name, *prices, since, format_euro(row.min_charge), page])
    return text.getvalue().encode()
