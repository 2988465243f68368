"""Options that may stand anywhere, cells of tables, and lines of CSV."""

from __future__ import annotations

import pytest
from rich.console import Console

from charging.cli.accounts import changes_of
from charging.cli.client import _refusal, path
from charging.cli.failure import Refusal
from charging.cli.fax import COLUMNS as FAX_COLUMNS
from charging.cli.options import config_first
from charging.cli.output import Column, cell, fitting, show_csv, show_json, show_one, show_rows


@pytest.mark.parametrize(
    ("given", "moved"),
    [
        (["run", "--config", "x"], ["--config", "x", "run"]),
        (["run", "--config=x"], ["--config=x", "run"]),
        (["-c", "x", "run"], ["-c", "x", "run"]),
        (["account", "list", "-c", "x", "--json"], ["-c", "x", "account", "list", "--json"]),
        (["run", "--config"], ["--config", "run"]),
        (["correct", "--", "--config"], ["correct", "--", "--config"]),
        ([], []),
    ],
)
def test_the_settings_may_be_named_anywhere(given: list[str], moved: list[str]) -> None:
    assert config_first(given) == moved


def test_a_path_keeps_every_character_of_its_parts_to_itself() -> None:
    assert path("accounts", "a/b?c#d", "balance") == "/accounts/a%2Fb%3Fc%23d/balance"
    assert path("numbers", "+31201234567") == "/numbers/%2B31201234567"
    assert path("calls", "..") == "/calls/%2E%2E"
    with pytest.raises(Refusal):
        path("calls", "")


def test_an_act_of_unknown_outcome_is_told_with_its_key_and_a_refusal_with_its_own_advice() -> None:
    lost = {"code": "ledger_unavailable", "detail": "the disk is full", "advice": "ask again, same key"}
    assert str(_refusal(lost, "repeat it")) == "the disk is full; the outcome is unknown: repeat it"
    assert str(_refusal(lost)) == "the disk is full; ask again, same key"
    busy = {"code": "unavailable", "detail": "all lines are busy", "advice": "nothing was sent"}
    assert str(_refusal(busy, "repeat it")) == "all lines are busy; nothing was sent"


def test_values_are_said_in_words() -> None:
    assert [cell(value) for value in (None, True, False, 0, "x")] == ["-", "yes", "no", "0", "x"]


def test_an_instant_is_told_to_the_second() -> None:
    assert cell("2026-11-22T03:33:08.846+00:00") == "2026-11-22 03:33:08Z"
    assert cell("2026-11-22") == "2026-11-22"


def test_a_line_too_short_for_all_columns_leaves_out_those_that_can_be_spared() -> None:
    columns = [Column("a", "A"), Column("b", "B", spare=1), Column("c", "C", spare=2), Column("d", "D")]
    rows = [{"a": "x" * 7, "b": "x" * 7, "c": "x" * 7, "d": "x" * 7}]

    def shown(width: int) -> str:
        return "".join(column.key for column in fitting(rows, columns, width))

    assert [shown(width) for width in (40, 39, 30, 29, 1)] == ["abcd", "abd", "abd", "ad", "ad"]
    assert [column.key for column in fitting([], columns, 16)] == ["a", "b", "c", "d"]


@pytest.mark.parametrize(("width", "told"), [(80, True), (200, False)])
def test_columns_that_a_narrow_terminal_has_no_room_for_are_told_of(
    width: int, told: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("charging.cli.output.console", lambda: Console(width=width))
    row = {"session": "fax-1700000000.123", "state": "transmitting", "target": "+31201112222", "number": "+31851234567"}
    fax = {**row, "pages": 12, "pages_sent": 3, "cost": "1.20", "set_up": "2026-11-22 03:33:08Z", "document": "x" * 30}
    show_rows([fax], FAX_COLUMNS, as_json=False, none="none")
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= width for line in lines)
    for needed in ("fax-1700000000.123", "transmitting", "+31201112222", "12", "1.20"):
        assert any(needed in line for line in lines), "whole, in one line"
    beneath = " ".join(line.strip() for line in lines).partition("Left out for lack of room: ")[2]
    assert bool(beneath) is told
    assert not told or ("document" in beneath and beneath.endswith("(a wider terminal or --json has all)"))


def test_what_customers_typed_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    show_one({"reason": "[red]x[/red] :smile:"}, as_json=False)
    assert "[red]x[/red] :smile:" in capsys.readouterr().out


def test_nothing_is_cut_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows([{"a": "x" * 500}], [Column("a", "A")], as_json=False, none="none")
    assert "x" * 500 in capsys.readouterr().out


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("@x", "'@x"),
        ("-x", "'-x"),
        ("+31201234567", "+31201234567"),
        ("-5.00", "-5.00"),
        ("-", "'-"),
        ("x;=1+1", "x;'=1+1"),
        (None, ""),
        ({"bundle:2026-11": 60}, '"{""bundle:2026-11"":60}"'),
        ("a,b", '"a,b"'),
    ],
)
def test_csv_holds_no_formulas_and_keeps_numbers(value: object, cell: str, capsys: pytest.CaptureFixture[str]) -> None:
    show_csv([{"a": value, "b": 1}], ["a", "b"])
    assert capsys.readouterr().out == f"a,b\n{cell},1\n"


def test_tables_and_json_show_what_a_terminal_would_obey(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b[2Jx\x9b1m\u202e"
    show_rows([{"caller": evil}], [Column("caller", "CALLER")], as_json=False, none="none")
    show_one({"caller": evil}, as_json=False)
    show_json({"caller": evil})
    out = capsys.readouterr().out
    assert not set("\x1b\x9b\u202e") & set(out)
    assert out.count(r"\x1b[2Jx\x9b1m\u202e") == 2
    assert r"\u001b[2Jx\u009b1m\u202e" in out


def test_a_journal_lines_changes_are_said_leg_by_leg() -> None:
    legs = [
        {"balance": "credit", "posted": "-0.05", "reserved": "0.10"},
        {"balance": "calls", "posted": "0", "reserved": "-1"},
        {"balance": "bundle:2026-11", "posted": "0", "reserved": "0"},
    ]
    assert changes_of({"legs": legs}) == "credit -0.05, credit +0.10 reserved, calls -1 reserved"
