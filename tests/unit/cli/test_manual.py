"""The manual page and the completion have every command, and nothing that troff or bash would take amiss."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import typer

from charging.cli import build, main
from charging.cli.manual import bash_completion, man_page


def commands(command: Any, path: str = "charging") -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
        return
    for name, one in inner.items():
        yield from commands(one, f"{path} {name}")


def listed(command: Any) -> Iterator[tuple[str, str]]:
    """Every command as the list of its group shows it on a terminal of 80 columns."""
    inner = getattr(command, "commands", {})
    width = 80 - len("  ") - max((len(name) for name in inner), default=0) - len("  ")
    for name, one in inner.items():
        yield name, one.get_short_help_str(limit=width)
        yield from listed(one)


def completed(*words: str) -> set[str]:
    ask = 'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _charging; printf "%s\\n" "${COMPREPLY[@]}"'
    script = f"{bash_completion()}\n{ask}"
    shown = subprocess.run(
        ["bash", "-c", script, "bash", "charging", *words], capture_output=True, text=True, check=True
    )
    assert shown.stderr == ""
    return set(shown.stdout.split())


def test_every_command_is_listed_with_a_whole_sentence() -> None:
    assert [name for name, text in listed(typer.main.get_command(build())) if text.endswith("...")] == []


def test_the_manual_has_every_command_and_option() -> None:
    plain = man_page().replace("\\-", "-")
    for path, command in commands(typer.main.get_command(build())):
        assert f"\n.SS {path}" in plain
        assert all(name in plain for one in command.params for name in one.opts if name.startswith("-"))


def test_no_line_of_the_manual_is_a_request_by_accident() -> None:
    requests = {line.split(" ")[0] for line in man_page().splitlines() if line[:1] in (".", "'")}
    assert requests == {".TH", ".SH", ".SS", ".TP", ".PP", ".B", ".RB", ".RI", ".I"}


def test_tab_completes_commands_options_and_the_values_of_those_with_few() -> None:
    assert completed("in") == {"init"}
    assert completed("account", "a") == {"add", "activate"}
    assert completed("--config", "x", "account", "add", "--") >= {"--plan", "--language", "--json"}
    assert completed("account", "add", "anna", "--language", "") == {"nl", "en"}
    assert completed("ledger", "verify", "x") == set()


def test_a_command_that_was_run_is_completed_as_one_that_was_not() -> None:
    """Two machines lay down the same file, and `init --diff` tells of no change where there was none."""
    assert main(["init", "--help"]) == 0
    script = bash_completion.__wrapped__()
    assert {line for line in script.splitlines() if "--help" in line and "--help -h" not in line} == set()
