"""What the pages of docs/ name is there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def missing(text: str) -> Iterator[str]:
    """The tests that ``text`` names and that are not there."""
    for path, test in NAMED.findall(text):
        if not (ROOT / path).is_file() or (test and test not in functions(ROOT / path)):
            yield f"{path}::{test}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    assert list(missing(page.read_text(encoding="utf-8"))) == []


def test_every_line_of_the_threat_model_names_a_test_that_attacks() -> None:
    text = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("|")][2:]
    assert len(rows) > 20
    assert [row for row in rows if not any(test for _, test in NAMED.findall(row.split("|")[5]))] == []


def test_a_test_that_is_gone_is_missed() -> None:
    assert list(missing("`tests/test_docs.py::test_gone` `tests/gone.py`")) == [
        "tests/test_docs.py::test_gone",
        "tests/gone.py::",
    ]
