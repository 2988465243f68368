"""Finds what does not fit together in a tariff file: names that refer to nothing, numbers given twice.

It reads the plain text values of the document, not the typed model, and skips values of the wrong shape. So its
problems are found together with those of the shape, and one reading of a file reports everything that is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from charging.errors import Problem
from charging.pricing.money import MoneyError, format_euro, parse_euro
from charging.tariff.model import deck_path
from charging.yaml_text import Document, DocumentPath, TextValue, describe, suggest

Table = dict[str, TextValue]

_AMOUNTS = frozenset("price connect_fee minimum maximum fax_page deck_fax_page credit_a_day low_credit amounts".split())
_THOUSANDS = re.compile(r"\+?[1-9][0-9]{0,2},[0-9]{3}")
_DAY = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")


def misfits(document: Document) -> Iterator[Problem]:
    """Every problem of this kind."""
    for check in _CHECKS:
        yield from check(document)


def deck_files(document: Document, base_folder: Path) -> Iterator[Path]:
    """The decks that the file names, each once."""
    seen = set()
    for _, table in _tables(document):
        for text in _texts(table.get("decks")):
            path = deck_path(text, base_folder)
            if path is not None and path not in seen:
                seen.add(path)
                yield path


def _map(value: TextValue) -> Table:
    return value if isinstance(value, dict) else {}


def _texts(value: TextValue) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _tables(document: Document) -> Iterator[tuple[DocumentPath, Table]]:
    for name, table in _map(document.root.get("rates")).items():
        yield ("rates", name), _map(table)


def _rates(document: Document) -> Iterator[tuple[DocumentPath, str, Table]]:
    for path, table in _tables(document):
        for name, rate in _map(table.get("destinations")).items():
            yield (*path, "destinations", name), name, _map(rate)


def _plans(document: Document) -> Iterator[tuple[DocumentPath, Table]]:
    for name, plan in _map(document.root.get("plans")).items():
        yield ("plans", name), _map(plan)


def _unknown(
    document: Document, path: DocumentPath, name: str, what: str, known: Iterable[str], *, at_key: bool
) -> Problem:
    names = list(known)
    expected = f"a {what} of this file: " + (", ".join(names) or "(there is none)")
    return document.problem(path, describe(name), expected, suggest(name, names), at_key=at_key)


def _duplicate_numbers(document: Document) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for name, destination in _map(document.root.get("destinations")).items():
        for key in ("prefixes", "short_codes"):
            values = _map(destination).get(key)
            for index, value in enumerate(values if isinstance(values, list) else []):
                if not isinstance(value, str):
                    continue
                if value in seen:
                    found = f"{value}, which {seen[value]} has already"
                    path: DocumentPath = ("destinations", name, key, index)
                    yield document.problem(path, found, "each number in one destination")
                seen.setdefault(value, name)


def _unknown_destinations(document: Document) -> Iterator[Problem]:
    known = _map(document.root.get("destinations"))
    for path, name, _ in _rates(document):
        if name not in known:
            yield _unknown(document, path, name, "destination", known, at_key=True)
        elif refused := _map(known[name]).get("refuse"):
            found = f"a price for {name}, which is refused ({refused})"
            expected = "no price here, or no refuse there"
            yield document.problem(path, found, expected, at_key=True)
    for path, plan in _plans(document):
        for key in ("free_minutes", "free_fax_pages"):
            free = _map(plan.get(key)).get("destinations")
            yield from _unknown_names(document, (*path, key, "destinations"), free, known)
    for name, pack in _map(document.root.get("packs")).items():
        path = ("packs", name, "destinations")
        yield from _unknown_names(document, path, _map(pack).get("destinations"), known)


def _unknown_names(document: Document, path: DocumentPath, names: TextValue, known: Table) -> Iterator[Problem]:
    for index, item in enumerate(names if isinstance(names, list) else []):
        if isinstance(item, str) and item not in known:
            yield _unknown(document, (*path, index), item, "destination", known, at_key=False)


def _unknown_bands(document: Document) -> Iterator[Problem]:
    known = _map(document.root.get("bands"))
    for path, _, rate in _rates(document):
        for band in _map(rate.get("bands")):
            if band not in known:
                yield _unknown(document, (*path, "bands", band), band, "band", known, at_key=True)


def _unknown_tables(document: Document) -> Iterator[Problem]:
    known = _map(document.root.get("rates"))
    for path, plan in _plans(document):
        name = plan.get("rates")
        if isinstance(name, str) and name not in known:
            yield _unknown(document, (*path, "rates"), name, "rate table", known, at_key=False)


def _vat_changes_out_of_order(document: Document) -> Iterator[Problem]:
    changes = _map(document.root.get("vat")).get("changes")
    before = ""
    for index, change in enumerate(changes if isinstance(changes, list) else []):
        day = _map(change).get("valid_from")
        if not isinstance(day, str) or not _DAY.fullmatch(day):
            continue
        if day <= before:
            path: DocumentPath = ("vat", "changes", index, "valid_from")
            yield document.problem(path, f"{day} after {before}", "a later day than that of the change before it")
        before = max(before, day)


def _limits_finer_than_the_rounding(document: Document) -> Iterator[Problem]:
    """A maximum of 0.125 with two decimals could never be charged: 0.13 would be above it."""
    typed = _map(document.root.get("rounding")).get("decimals")
    if not isinstance(typed, str) or not re.fullmatch("0{0,14}[0-6]", typed):
        return
    decimals = int(typed)
    for path, _, rate in _rates(document):
        for key in ("minimum", "maximum"):
            amount = _amount(rate.get(key))
            if amount % 10 ** (6 - decimals):
                expected = f"at most {decimals} decimals, as rounding.decimals says"
                yield document.problem((*path, key), format_euro(amount), expected)


def _amount(value: TextValue) -> int:
    try:
        return parse_euro(value) if isinstance(value, str) else 0
    except MoneyError:
        return 0


def doubtful_commas(document: Document) -> Iterator[Problem]:
    """Amounts such as ``1,000``: the comma is read as a decimal one, and whoever wrote it may have meant thousands. No
    reason to refuse the file; ``0,125`` is a price like any other."""
    for path, text in _leaves((), document.root):
        key = next(part for part in reversed(path) if isinstance(part, str))
        if key in _AMOUNTS and _THOUSANDS.fullmatch(text):
            expected = f"{text.replace(',', '.')} or {text.replace(',', '')}, whichever is meant"
            hint = "a comma is read as a decimal one; write digits without separators between thousands"
            yield document.problem(path, repr(text), expected, hint)


def _leaves(path: DocumentPath, value: TextValue) -> Iterator[tuple[DocumentPath, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from _leaves((*path, key), one)
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _leaves((*path, index), one)


_CHECKS: tuple[Callable[[Document], Iterator[Problem]], ...] = (
    _duplicate_numbers,
    _unknown_destinations,
    _unknown_bands,
    _unknown_tables,
    _vat_changes_out_of_order,
    _limits_finer_than_the_rounding,
)
