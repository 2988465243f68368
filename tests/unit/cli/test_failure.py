"""From what went wrong to one line and an exit code."""

from __future__ import annotations

import os

import pytest

from charging.cli import main
from charging.cli.failure import failing
from charging.errors import ChargingError, ConfigError, LedgerUnavailable, Problem

PROBLEMS = [Problem("a.yaml", "x.y", "1", "2", 3), Problem("a.yaml", "z", "4", "5", 6)]


@pytest.mark.parametrize(
    ("error", "code", "lines"),
    [
        (ChargingError("no"), 1, ["charging: no"]),
        (LedgerUnavailable("two\nlines"), 1, ["charging: two lines"]),
        (ChargingError("\x1b[2Jno\u202e"), 1, [r"charging: \x1b[2Jno\u202e"]),
        (
            ConfigError(PROBLEMS),
            1,
            ["charging: a.yaml:3: x.y: found 1, expected 2", "charging: a.yaml:6: z: found 4, expected 5"],
        ),
        (KeyboardInterrupt(), 130, []),
    ],
)
def test_an_error_is_lines_and_a_code(
    error: BaseException, code: int, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    def run() -> int:
        raise error

    assert failing(run) == code
    assert capsys.readouterr().err.splitlines() == lines


@pytest.mark.parametrize(
    "before", ["account show", "tariff quote", "tariff check", "--config", "account show --config", "nonsense", ""]
)
@pytest.mark.parametrize(
    ("given", "shown"), [(b"caf\xe9", r"caf\xe9"), (b"\xff", r"\xff"), (b"\xed\xa0\x80", r"\xed\xa0\x80")]
)
def test_an_argument_that_is_no_text_is_one_line_whatever_the_command(
    before: str, given: bytes, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*before.split(), os.fsdecode(given)]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"charging: Invalid value: found '{shown}', expected text in UTF-8; see `charging --help`"
    ]


def test_an_argument_in_any_script_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["no-command-café-Ω-😀"]) == 2
    assert "No such command" in capsys.readouterr().err


def test_a_code_is_passed_on() -> None:
    assert failing(lambda: 0) == 0
    assert failing(lambda: 1) == 1
