"""The YAML reader: text stays text, and what cannot be read is named with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from charging.errors import ConfigError, Problem
from charging.yaml_text import (
    MAX_DEPTH,
    MAX_NODES,
    MAX_PROBLEMS,
    describe,
    parse_document,
    path_text,
    read_document,
    suggest,
)


def problems_of(text: str | bytes) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        parse_document(text, "f.yaml")
    return caught.value.problems


def only_problem(text: str | bytes) -> Problem:
    (problem,) = problems_of(text)
    return problem


@pytest.mark.parametrize(
    "scalar",
    ["0044", "18:00", "NO", "no", "1_000", "0.1", "0.0125", "+31", "1e3", "2026-01-01", "null", "~", "0x1F"],
)
def test_scalar_stays_the_text_typed(scalar: str) -> None:
    assert parse_document(f"key: {scalar}", "f.yaml").root == {"key": scalar}
    assert parse_document(f"{scalar}: value", "f.yaml").root == {scalar: "value"}


def test_absent_value_is_none_and_quoted_empty_text_is_text() -> None:
    assert parse_document("a:\nb: ''\n", "f.yaml").root == {"a": None, "b": ""}


def test_lists_and_maps_nest_and_carry_marks() -> None:
    document = parse_document("plans:\n  pro:\n    steps: [60, 1]\n", "f.yaml")
    assert document.root == {"plans": {"pro": {"steps": ["60", "1"]}}}
    found = document.problem(("plans", "pro", "steps", 1), "'1'", "60")
    assert (found.path, found.line, found.column) == ("plans.pro.steps[1]", 3, 17)
    at_key = document.problem(("plans", "pro"), "x", "y", at_key=True)
    assert (at_key.line, at_key.column) == (2, 3)


def test_problem_at_a_missing_key_points_at_its_nearest_parent() -> None:
    document = parse_document("a: 1\nplans:\n  pro:\n    x: 1\n", "f.yaml")
    assert document.problem(("plans", "pro", "price", "unit"), "nothing", "a price").line == 3
    assert document.problem(("other",), "nothing", "a key").line == 1


def test_byte_order_mark_and_windows_line_ends_are_accepted() -> None:
    assert parse_document(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n", "f.yaml").root == {"a": "1", "b": "2"}


def test_duplicate_key_names_both_lines() -> None:
    problem = only_problem("a:\n  b: 1\n  b: 2\n")
    assert (problem.path, problem.line, problem.column) == ("a.b", 3, 3)
    assert "first on line 2" in problem.found


@pytest.mark.parametrize(
    ("text", "found", "line"),
    [
        ("a: &x 1\n", "the anchor &x", 1),
        ("a: 1\nb: *x\n", "the alias *x", 2),
        ("a: !!python/name:os.system\n", "the tag tag:yaml.org,2002:python/name:os.system", 1),
        ("a: !!int 3\n", "the tag tag:yaml.org,2002:int", 1),
        ("a: 1\n---\nb: 2\n", "a second document", 2),
        ("? [1, 2]\n: x\n", "a key that is not text", 1),
        ("a: 1\n<<: {b: 1}\n", "the merge key <<", 2),
        ("a:\n\t- b\n", "a tab", 2),
        ("a: \x07\n", "the unprintable character U+0007", 1),
        ('a: 1\nb: "\\uD800"\n', "the unprintable character U+D800", 2),
        ('a: 1\nb: "\\uD83D\\uDE00"\n', "the unprintable character U+D83D", 2),
        ('a: 1\n"\\uDFFF": 2\n', "the unprintable character U+DFFF", 2),
        ('a: 1\nb: "x\\e[2J"\n', "the unprintable character U+001B", 2),
        ('a: 1\nb: "\\0"\n', "the unprintable character U+0000", 2),
        ('a: 1\nb: "\\U00110000"\n', "a number out of range", 2),
        ('a: 1\nb: "\\UFFFFFFFF"\n', "a number out of range", 2),
        ("%YAML 1." + "9" * 5000 + "\n---\na: 1\n", "a number out of range", 1),
        (b"a: 1\nb: \xff\n", "the byte 0xff", 2),
        ("", "an empty file", 1),
        ("# nothing but comments\n", "an empty file", 1),
        ("- a\n- b\n", "a list", 1),
        ("text\n", "'text'", 1),
        ("'': 1\n", "an empty key", 1),
    ],
)
def test_what_is_not_a_plain_map_is_refused_with_its_line(text: str | bytes, found: str, line: int) -> None:
    problem = only_problem(text)
    assert (problem.found, problem.line) == (found, line)


def test_broken_syntax_gives_line_and_column() -> None:
    problem = only_problem("a: [1, 2\nb: 3\n")
    assert str(problem) == "f.yaml:2:2: found ':', expected ',' or ']' (while parsing a flow sequence)"
    assert str(only_problem("a: b: c\n")).startswith("f.yaml:1:5: found mapping values are not allowed here")


@pytest.mark.parametrize(
    ("text", "column"),
    [('a: "12 \\UFFFFFFFF"', 10), ('a: "12 \\uD800"', 4), ("%YAML " + "9" * 5000 + ".1", 7)],
)
def test_a_character_or_number_that_there_is_not_is_refused_with_its_column(text: str, column: int) -> None:
    assert only_problem(text).column == column


@pytest.mark.parametrize("typed", [r"\uD7FF", r"\uE000", r"\U0010FFFF", r"\n\t", r"\xE9"])
def test_an_escape_for_a_character_that_there_is_is_read(typed: str) -> None:
    assert parse_document(f'a: "{typed}"', "f.yaml").root == {"a": typed.encode().decode("unicode_escape")}


def test_all_problems_are_reported_together() -> None:
    found = [problem.found for problem in problems_of("a: &x 1\nb: *x\na: 2\n")]
    assert found == ["the anchor &x", "the alias *x", "the key a second time (first on line 1)"]


def test_problems_stop_at_a_number_a_person_can_read() -> None:
    assert len(problems_of("a: 1\n" * (MAX_PROBLEMS + 50))) == MAX_PROBLEMS


def nested(levels: int) -> str:
    return "a: " + "[" * levels + "]" * levels


def test_nesting_at_the_limit_is_read() -> None:
    assert "a" in parse_document(nested(MAX_DEPTH), "f.yaml").root


def test_nesting_over_the_limit_is_refused() -> None:
    assert only_problem(nested(MAX_DEPTH + 1)).found == "deeper nesting"
    assert only_problem(nested(100_000)).found == "deeper nesting"


def test_file_over_the_size_limit_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    with path.open("wb") as stream:
        stream.truncate(50 * 1024 * 1024)
    with pytest.raises(ConfigError, match="more than 1048576 bytes"):
        read_document(path)


def test_size_limit_is_exact() -> None:
    text = "a: 123456"
    assert parse_document(text, "f", max_bytes=len(text)).root
    with pytest.raises(ConfigError):
        parse_document(text, "f", max_bytes=len(text) - 1)


def test_more_values_than_the_limit_are_refused() -> None:
    text = "a: [" + "1," * MAX_NODES + "]"
    assert only_problem(text).found == "more values"


def test_file_that_is_missing_is_a_problem_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_document(tmp_path / "none.yaml")
    assert str(caught.value).startswith(f"{tmp_path}/none.yaml: found No such file")


def test_path_text_writes_indices_in_brackets() -> None:
    assert path_text(("a", "b", 0, "c")) == "a.b[0].c"


def test_describe_shortens_long_text() -> None:
    assert describe("x" * 100) == repr("x" * 59 + "…")
    assert describe("12:00") == "'12:00'"


def test_suggest_finds_a_misspelt_word_and_nothing_else() -> None:
    assert suggest("tik_s", ["tick_s", "horizon_s"]) == "did you mean 'tick_s'?"
    assert suggest("colour", ["tick_s", "horizon_s"]) == ""
