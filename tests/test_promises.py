"""Every promise of the service, R1 to R23, has a test with its number in its name, on the real Asterisk too."""

from __future__ import annotations

import re
from pathlib import Path

from tests.pages import DOCS, RULES, text_of

TESTS = Path(__file__).parent
EVERY_RULE = set(range(1, RULES + 1))
_DEFINED = re.compile(r"^ *(?:async )?def (test_\w+)\(", re.MULTILINE)
_NUMBERS = re.compile(r"test((?:_r[0-9]+)+)_")
_ASTERISK = "†"


def rules_of(name: str) -> set[int]:
    """The rules whose numbers a test's name begins with."""
    found = _NUMBERS.match(name)
    return {int(one) for one in re.findall(r"[0-9]+", found[1])} if found is not None else set()


def names_in(folder: Path) -> set[str]:
    return {name for file in folder.rglob("*.py") for name in _DEFINED.findall(file.read_text(encoding="utf-8"))}


def held_in(folder: Path) -> set[int]:
    """The rules that tests below a folder hold."""
    return {rule for name in names_in(folder) for rule in rules_of(name)}


def test_every_rule_has_a_test_and_no_test_a_rule_that_there_is_not() -> None:
    assert held_in(TESTS) == EVERY_RULE


def test_every_rule_is_held_on_the_real_asterisk() -> None:
    assert held_in(TESTS / "asterisk") == EVERY_RULE


def test_a_rule_number_stands_where_it_is_looked_for() -> None:
    """A number further behind in a name would count for nothing."""
    misplaced = {name for name in names_in(TESTS) if re.search(r"_r[0-9]+(_|$)", _NUMBERS.sub("test_", name, count=1))}
    assert misplaced == set()


def test_the_numbers_are_read_from_names() -> None:
    assert rules_of("test_r3_r14_a_fax") == {3, 14}
    assert rules_of("test_rating") == set()


def test_the_pages_row_of_a_rule_names_tests_of_it_and_says_which_are_on_the_real_asterisk() -> None:
    real = names_in(TESTS / "asterisk")
    rows = re.findall(r"^\| R([0-9]+) \|(.*)$", text_of(DOCS / "promises.md"), re.MULTILINE)
    for rule, row in rows:
        named = re.findall(rf"`(test_\w+)`( {_ASTERISK})?", row)
        assert any(int(rule) in rules_of(name) for name, _ in named), f"R{rule}"
        assert [name for name, mark in named if bool(mark) != (name in real)] == [], f"R{rule}"
