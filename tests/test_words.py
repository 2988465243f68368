"""The words of docs/glossary.md: those that it says are not used are not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pages import DOCS, PAGES, ROOT, section, text_of

READ = (*(ROOT / "charging", ROOT / "agi", ROOT / "config"), *PAGES)
KINDS = {".py", ".md", ".yaml", ".json", ".conf", ".lua", ".sql", ".txt"}
GLOSSARY = DOCS / "glossary.md"


def words_not_used() -> list[str]:
    rows = re.findall(r"^\| ([a-z ]+) \|", section(GLOSSARY, "Words that are not used"), re.MULTILINE)
    return [row for row in rows if row != "not used"]


def uses(text: str, word: str) -> Iterator[int]:
    """Lines, from 1, that use a word: whole, as prose. Names in ``snake_case`` may have it."""
    pattern = re.compile(rf"\b{word}\b".replace(" ", r"\s+"), re.IGNORECASE)
    return (text.count("\n", 0, found.start()) + 1 for found in pattern.finditer(text))


def files() -> Iterator[Path]:
    for place in READ:
        yield from sorted(one for one in place.rglob("*") if one.suffix in KINDS) if place.is_dir() else [place]


@pytest.mark.parametrize("word", words_not_used())
def test_a_word_that_is_not_used_is_not(word: str) -> None:
    pages = ((file, text_of(file)) for file in files() if file != GLOSSARY)
    assert [f"{file.relative_to(ROOT)}:{line}" for file, text in pages for line in uses(text, word)] == []


def test_the_glossary_lists_some() -> None:
    assert {"anew", "told of"} <= set(words_not_used())


@pytest.mark.parametrize(
    ("text", "lines"), [("made\nAnew, it", [2]), ("is told\nof it", [1]), ("settled_anew", []), ("retold offers", [])]
)
def test_a_word_is_found_in_prose_and_not_in_a_name(text: str, lines: list[int]) -> None:
    assert [line for word in ("anew", "told of") for line in uses(text, word)] == lines
