"""Who may log in to the console, by command."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tests.integration.command import Command, Place

WORDS = "correct horse battery\n"


@pytest.fixture
def charging(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    place = Place(tmp_path)
    place.write()
    return Command(place, capsys)


def type_in(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_people_are_let_into_the_console_changed_and_let_in_no_more(
    charging: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    type_in(monkeypatch, WORDS)
    added = charging("console", "user", "add", "alice", "--role", "admin", "--json")
    assert {name: added.json[name] for name in ("name", "role")} == {"name": "alice", "role": "admin"}
    assert "argon2" not in added.out
    type_in(monkeypatch, WORDS)
    assert "there is an operator 'alice' already" in charging("console", "user", "add", "alice").problem
    assert charging("console", "user", "set", "alice", "--role", "support", "--json").json["role"] == "support"
    assert [one["name"] for one in charging("console", "user", "list", "--json").json] == ["alice"]
    assert charging("console", "user", "remove", "alice").code == 0
    assert charging("console", "user", "list", "--json").json == []
    assert "there is no operator 'alice'" in charging("console", "user", "remove", "alice").problem


@pytest.mark.parametrize("word", ["", "elevenletter"[:11]])
def test_a_short_password_is_refused(charging: Command, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    type_in(monkeypatch, f"{word}\n")
    assert "expected 12 to 200" in charging("console", "user", "add", "bob").problem


def test_a_name_that_is_none_is_refused(charging: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    type_in(monkeypatch, WORDS)
    assert "small letters" in charging("console", "user", "add", "Bob Jones").problem
    assert charging("console", "user", "set", "alice").code == 2
