"""YAML: the settings and the tariff. A file is text values and no more, or every problem at its place."""

from __future__ import annotations

import tempfile
from pathlib import Path

from charging.errors import ConfigError, Problem
from charging.settings import Settings, completed
from charging.tariff.deck import Deck
from charging.tariff.deck_file import DeckFile
from charging.tariff.file import load_tariff
from charging.tariff.tariff import Tariff
from charging.yaml_model import validate
from charging.yaml_text import MAX_DEPTH, MAX_NODES, MAX_PROBLEMS, Document, TextValue, parse_document

FILE = "f.yaml"
FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-yaml-"))
SIMPLE_KEY_MAX = 1000
"""Of YAML's own: a longer key needs a question mark."""


def read(data: bytes) -> None:
    try:
        document = parse_document(data, FILE)
        completed(document, validate(document, Settings), {})
    except ConfigError:
        pass
    _tariff(data)


def check(data: bytes) -> None:
    try:
        document = parse_document(data, FILE)
    except ConfigError as error:
        _check_problems(data, error.problems, FILE, most=MAX_PROBLEMS)
        assert _tariff(data) is None
        return
    assert _nodes(document.root, 0) <= MAX_NODES
    again = parse_document(_written(document.root), FILE)
    assert again.root == document.root, "what was read, written again, is read otherwise"
    _check_settings(data, document)
    tariff = _tariff(data)
    if tariff is not None:
        for table in tariff.tables.values():
            assert table.fax_page is None or (type(table.fax_page) is int and table.fax_page >= 0)
        for plan in tariff.plans.values():
            assert plan.rates in tariff.tables
            assert type(plan.voicemail_price) is int and plan.voicemail_price >= 0
            assert type(plan.free_seconds) is int and plan.free_seconds >= 0


def _check_settings(data: bytes, document: Document) -> None:
    try:
        settings = validate(document, Settings)
    except ConfigError as error:
        _check_problems(data, error.problems, FILE)
        return
    _, problems = completed(document, settings, {})
    if problems:
        _check_problems(data, problems, FILE)


def _check_problems(
    data: bytes, problems: tuple[Problem, ...] | list[Problem], file: str, most: int = MAX_NODES
) -> None:
    lines = len(data.decode("utf-8", "replace").splitlines()) + 1
    assert 0 < len(problems) <= most
    for problem in problems:
        assert problem.file == file
        assert problem.found and problem.expected
        assert problem.line is None or 1 <= problem.line <= lines, problem
        str(problem).encode()


def _tariff(data: bytes) -> Tariff | None:
    """``None``: refused. No deck is read: the file's writer chooses the path."""
    path = FOLDER / "tariff.yaml"
    path.write_bytes(data)
    try:
        return load_tariff(path, deck_reader=lambda deck: DeckFile(Deck(str(deck), ()), b"", ()))
    except ConfigError as error:
        _check_problems(data, error.problems, str(path))
        return None


def _nodes(value: TextValue, depth: int) -> int:
    assert depth <= MAX_DEPTH + 1
    if isinstance(value, dict):
        assert all(type(key) is str and key for key in value)
        return 1 + sum(1 + _nodes(one, depth + 1) for one in value.values())
    if isinstance(value, list):
        return 1 + sum(_nodes(one, depth + 1) for one in value)
    assert value is None or type(value) is str
    return 1


def _written(value: TextValue, indent: str = "") -> str:
    """The value in YAML's block style, every text in quotes."""
    if isinstance(value, dict) and value:
        return "".join(f"\n{indent}{_key(key)}: {_written(one, indent + ' ')}" for key, one in value.items())
    if isinstance(value, list) and value:
        return "".join(f"\n{indent}- {_written(one, indent + ' ')}" for one in value)
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, dict):
        return "{}"
    return "" if value is None else "[]"


def _key(text: str) -> str:
    return _quoted(text) if len(_quoted(text)) < SIMPLE_KEY_MAX else f"? {_quoted(text)}\n"


def _quoted(text: str) -> str:
    plain = (one if " " <= one <= "~" and one not in '"\\' else f"\\U{ord(one):08X}" for one in text)
    return f'"{"".join(plain)}"'
