"""Text from outside, made safe for a terminal and a spreadsheet."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charging.safe_text import spreadsheet_cell, visible, visible_json

SEPARATORS = ",;\t|"
"""What spreadsheets split a line at, by the country of who opens it."""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", r"\x1b[2J"),
        ("a\nb\t", r"a\x0ab\x09"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202ex", r"\u202ex"),
        ("\U000e0041", r"\U000e0041"),
        ("\ud800", r"\ud800"),
        ("Zoë € 漢字", "Zoë € 漢字"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text())
def test_json_escapes_lose_nothing(text: str) -> None:
    written = visible_json(json.dumps({"x": text}, ensure_ascii=False))
    assert json.loads(written) == {"x": text}
    assert written == visible(written)


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("x;=1+1", "x;'=1+1"),
        ('x; "=1+1"', 'x; "\'=1+1"'),
        ("x|@SUM(1)", "x|'@SUM(1)"),
        ("x\t+1", "x\t'+1"),
        ("x\r\n-1", "x\r\n'-1"),
        (" =1", " '=1"),
        ("＝1", "'＝1"),
        ("\t=1", "'\t'=1"),
        ("-", "'-"),
        ("+31612345678", "+31612345678"),
        ("-5.00", "-5.00"),
        ("a=b; c-d", "a=b; c-d"),
        ("", ""),
    ],
)
def test_a_cell_is_no_formula(text: str, cell: str) -> None:
    assert spreadsheet_cell(text) == cell


@given(st.text(st.sampled_from('=+-@x1;\t|\r\n "＝'), max_size=12))
def test_no_part_of_a_cell_is_a_formula_however_it_is_split(text: str) -> None:
    cell = spreadsheet_cell(text)
    if re.fullmatch(r"[+-]?[0-9]+", text):
        assert cell == text
        return
    for part in re.split(r"[;|\t\r\n]", cell):
        assert not part.strip(' "').startswith(("=", "+", "-", "@", "＝"))
