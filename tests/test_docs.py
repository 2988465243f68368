"""README.md and docs/ tell the truth: what can be derived is derived, what is named exists, what is shown was run.

The parts made from the program are rewritten by ``python -m tests.pages``.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import get_args

import pytest
from typer.exceptions import TyperException

from charging.cli import main
from charging.engine import told as kinds
from tests.pages import DOCS, MADE, PAGES, PART, README, ROOT, RULES, name_of, renewed, section, text_of, whole_command

OWN_FOLDERS = ("charging", "agi", "config", "docs", "prompts", "tests", ".ci")
SHIPPED_PAGES = sorted((ROOT / "config").rglob("*.md"))
"""What ships beside the files that it explains."""

_BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
"""A fenced block, also one within a list."""

every_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


# --- The README is a page --------------------------------------------------------------------------------------------

README_LINES_MAX = 200


def test_the_readme_is_read_in_five_minutes() -> None:
    assert len(text_of(README).splitlines()) <= README_LINES_MAX


def test_the_readme_leads_to_every_page() -> None:
    linked = set(re.findall(r"\]\((docs/[^)#]+\.md)", text_of(README)))
    assert {name_of(page) for page in PAGES if page != README} == linked


# --- What is made from the program -----------------------------------------------------------------------------------


def test_parts_made_from_the_program_are_current() -> None:
    there = [(name, text, page) for page in PAGES for name, text in PART.findall(text_of(page))]
    assert sorted(name for name, _, _ in there) == sorted(MADE)
    for name, text, page in there:
        assert text == MADE[name](), f"{name} in {name_of(page)} is old: run python -m tests.pages"


def test_an_old_part_would_be_noticed_and_is_renewed() -> None:
    page = text_of(DOCS / "monitor.md")
    old = page.replace("`charging_ami_up`", "`charging_ami_down`")
    assert old != page
    assert renewed(old) == renewed(page)
    assert "`charging_ami_down`" not in renewed(old)


# --- What is named exists --------------------------------------------------------------------------------------------

_DEFINED = re.compile(r"^ *(?:async )?def (test_\w+)\(", re.MULTILINE)
_IN_FILE = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


@cache
def names_of_tests() -> set[str]:
    """The names of every test function in the tree."""
    files = (ROOT / "tests").rglob("*.py")
    return {name for file in files for name in _DEFINED.findall(file.read_text(encoding="utf-8"))}


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def missing_tests(text: str) -> Iterator[str]:
    """The tests that ``text`` names and that are not there."""
    modules = {file.stem for file in (ROOT / "tests").rglob("test_*.py")}
    yield from set(re.findall(r"`(test_\w+)(?:\.py)?`", text)) - names_of_tests() - modules
    for path, test in _IN_FILE.findall(text):
        if not (ROOT / path).is_file() or (test and test not in functions(ROOT / path)):
            yield f"{path}::{test}"


@every_page
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    assert list(missing_tests(text_of(page))) == []


def test_a_test_that_is_gone_is_missed() -> None:
    assert list(missing_tests("`test_gone` `tests/test_docs.py::test_gone` `tests/gone.py`")) == [
        "test_gone",
        "tests/test_docs.py::test_gone",
        "tests/gone.py::",
    ]


def test_every_row_of_the_failure_table_names_the_test_that_breaks_it() -> None:
    rows = [line for line in text_of(DOCS / "failure.md").splitlines() if line.startswith("| ")][2:]
    assert len(rows) >= 7
    assert [row.split("|")[1] for row in rows if "`test_" not in row] == []


def test_every_rule_has_its_row_with_a_test_or_says_that_it_is_not_built() -> None:
    rows = dict(re.findall(r"^\| (R[0-9]+) \|(.*)$", text_of(DOCS / "promises.md"), re.MULTILINE))
    assert list(rows) == [f"R{number}" for number in range(1, RULES + 1)]
    assert [rule for rule, row in rows.items() if "`test_" not in row and "not built" not in row] == []


@pytest.mark.parametrize("page", ["threat-model.md", "attacks.md"])
def test_every_line_of_the_threat_model_names_a_test_that_attacks(page: str) -> None:
    lines = [line for line in text_of(DOCS / page).splitlines() if line.startswith("|")]
    rows = [line for line in lines if not line.endswith(("| test |", "| a test that attacks |", "|---|"))]
    assert len(rows) > 20
    assert [row for row in rows if not any(test for _, test in _IN_FILE.findall(row.split("|")[-2]))] == []


def missing_paths(text: str, folder: Path) -> set[str]:
    """The paths that ``text``, a page in ``folder``, names or leads to and that are not there."""
    prose = _BLOCK.sub("", text)
    named = {path for path in re.findall(r"`([\w.]+/[\w./-]+)`", prose) if path.split("/")[0] in OWN_FOLDERS}
    linked = set(re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", re.sub(r"`[^`\n]*`(?!\])", "", prose)))
    return {path for path in named if not (ROOT / path).exists()} | {
        path for path in linked if not (folder / path).exists()
    }


@pytest.mark.parametrize("page", [*PAGES, *SHIPPED_PAGES], ids=name_of)
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    assert missing_paths(text_of(page), page.parent) == set()


def test_a_path_that_is_gone_is_missed() -> None:
    assert missing_paths("`docs/gone.md` [gone](gone.md#part) [here](../README.md)", DOCS) == {
        "docs/gone.md",
        "gone.md",
    }


def test_every_dependency_has_its_reason_and_no_other() -> None:
    file = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project, groups = file["project"], file["dependency-groups"]
    lists = project["dependencies"], project["optional-dependencies"]["dev"], *groups.values()
    wanted = {re.split(r"[<>=\[ ]", one)[0] for listed in lists for one in listed}
    text = section(DOCS / "decisions.md", "Dependencies, and why each")
    rows = re.findall(r"^\| ([^|]+) \| +(\S.*?) +\|$", text, re.MULTILINE)[1:]
    assert {name for cell, _ in rows for name in re.findall(r"`([\w-]+)`", cell)} == wanted


def test_every_event_that_is_no_routine_is_explained() -> None:
    call = re.compile(r"log\.(?:warning|error|exception)\(\s*\"(\w+)\"")
    files = [file for part in ("charging", "agi") for file in (ROOT / part).rglob("*.py")]
    events = {name for file in files for name in call.findall(file.read_text(encoding="utf-8"))}
    explained = set(re.findall(r"`(\w+)`", section(DOCS / "monitor.md", "Logs")))
    assert len(events) > 10
    events |= {kinds.name_of(kind) for kind in get_args(kinds.Warnings | kinds.Errors)}
    assert events - explained == set()


# --- What is shown was run -------------------------------------------------------------------------------------------


def words_of(line: str) -> list[str]:
    """The words of a ``charging`` command behind its name; none where the line is something else."""
    line = line.strip().removeprefix("$ ")
    return shlex.split(line, comments=True)[1:] if re.match(r"(\S*/)?charging ", line) else []


def commands_shown(text: str) -> list[list[str]]:
    """The commands in fenced blocks: as they are typed."""
    blocks = [body for kind, body in _BLOCK.findall(text) if kind in ("console", "sh")]
    return [words for block in blocks for line in block.splitlines() if (words := words_of(line))]


def commands_named(text: str) -> list[list[str]]:
    """The commands between backticks, where arguments may be left out; not those of the made table."""
    prose = _BLOCK.sub("", PART.sub("", text))
    return [words for line in re.findall(r"`([^`\n]+)`", prose) if (words := words_of(line))]


def misfit(words: list[str], *, only_named: bool = False) -> str:
    """What is wrong with a command as written; empty: nothing. One that is ``only_named`` needs no arguments."""
    if "--config" in words:
        at = words.index("--config")
        words = words[:at] + words[at + 2 :]
    command = whole_command()
    while (inner := getattr(command, "commands", None)) is not None:
        if not words and only_named:
            return ""
        if not words or words[0] not in inner:
            return f"no such command: {words}"
        command, words = inner[words[0]], words[1:]
    try:
        command.make_context("charging", list(words))
    except TyperException as error:
        left_out = type(error).__name__ == "MissingParameter"  # typer does not export it
        return "" if only_named and left_out else f"{type(error).__name__}: {error}"
    return ""


@pytest.mark.parametrize("page", [*PAGES, *SHIPPED_PAGES], ids=name_of)
def test_every_command_on_a_page_is_one(page: Path) -> None:
    text = text_of(page)
    wrong = [(words, misfit(words)) for words in commands_shown(text) if misfit(words)]
    wrong += [(words, misfit(words, only_named=True)) for words in commands_named(text)]
    assert [(words, why) for words, why in wrong if why] == []


def test_commands_are_shown_and_named() -> None:
    assert sum(len(commands_shown(text_of(page))) for page in PAGES) > 12
    assert sum(len(commands_named(text_of(page))) for page in PAGES) > 40


def test_a_wrong_command_would_be_noticed() -> None:
    for wrong in ("acount list", "top-up alice", "check --alive", "account"):
        assert misfit(wrong.split())
    for wrong in ("acount list", "check --alive", "account ad"):
        assert misfit(wrong.split(), only_named=True)
    assert commands_shown("1. Do:\n\n   ```sh\n   charging check  # now\n   ```\n") == [["check"]]


def sessions() -> list[list[tuple[str, str]]]:
    """The blocks that show commands of ours with what they print: (command, output)."""
    text = "\n".join(map(text_of, PAGES))
    blocks = re.findall(r"^```console\n(\$ (?:charging|export) .*?)^```", text, re.DOTALL | re.MULTILINE)
    return [re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE) for block in blocks]


def told(text: str) -> list[str]:
    """An output without what differs from run to run: moments, and blanks that only pad."""
    text = re.sub(r"\d{4}-\d\d-\d\d[T ][\d:.]+(\+00:00|Z)", "MOMENT", text)
    text = re.sub(r"\b(in|bundle:)( ?)\d{4}-\d\d\b", r"\1\2MONTH", text)
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("session", sessions(), ids=lambda session: session[0][0][:40])
def test_what_a_command_shows_is_what_it_prints(
    session: list[tuple[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "config").symlink_to(ROOT / "config")
    monkeypatch.chdir(tmp_path)
    for command, shown in session:
        words = shlex.split(command)
        if words[0] == "export":
            monkeypatch.setenv(*words[1].split("=", 1))
            continue
        capfd.readouterr()
        main(words[1:])
        said = capfd.readouterr()
        assert told(said.out.replace(os.fspath(tmp_path), "…") + said.err) == told(shown), command


def test_sessions_are_shown() -> None:
    assert sum(map(len, sessions())) > 8


# --- Every line of a shell is run by a test, or says why not --------------------------------------------------------

SHELLS = ("console", "sh")
PAGES_RUN = {
    "docs/integrate.md": "tests/integration/test_docs_requests.py",
    "docs/sandbox.md": "tests/integration/test_sandbox.py",
}
"""Pages whose lines a test reads and runs one after the other."""

WAYS_IN = "tests/asterisk/test_ways_in.py::"
UNITS = "tests/integration/test_systemd_units.py::"
RESTORE = "tests/integration/test_cli_restore.py::test_a_copy_becomes_the_ledger_and_what_was_there_is_kept_whole"
RUN_BY = {
    "make demo": "tests/asterisk/test_demo.py::test_demo_shows_a_whole_call_and_ends_by_itself",
    "apt install ./charging_0.1.0_amd64.deb": WAYS_IN
    + "test_the_debian_package_installs_starts_charges_upgrades_and_goes",
    "python3 -m venv venv": WAYS_IN + "test_the_wheel_installs_and_charges_for_an_ordinary_user",
    "venv/bin/pip install --no-deps --require-hashes -r requirements.lock": WAYS_IN
    + "test_the_wheel_installs_and_charges_for_an_ordinary_user",
    "venv/bin/pip install --no-deps charging-0.1.0-py3-none-any.whl": WAYS_IN
    + "test_the_wheel_installs_and_charges_for_an_ordinary_user",
    "venv/bin/charging init shop": WAYS_IN + "test_the_wheel_installs_and_charges_for_an_ordinary_user",
    "charging calls --decided --number +31201234567 --at 14:03": "tests/integration/test_cli_daemon.py::"
    "test_why_a_call_was_not_forwarded_is_told_in_words_by_one_command",
    "systemctl stop charging": UNITS + "test_the_unit_is_active_once_everything_is_listened_on_and_not_before",
    "systemctl start charging": UNITS + "test_the_unit_is_active_once_everything_is_listened_on_and_not_before",
    "charging ledger restore /var/backups/charging/ledger-20261128T031500Z.db": RESTORE,
    "charging ledger verify": RESTORE,
}
RUN_BY |= dict.fromkeys(
    (
        "charging console user add alice --role admin",
        "charging console user list",
        "charging console user set alice --role support",
        "charging console user remove alice",
    ),
    "tests/integration/test_cli_console.py::test_people_are_let_into_the_console_changed_and_let_in_no_more",
)
RUN_BY["charging payment list --state stuck"] = (
    "tests/integration/test_cli_words.py::test_payments_that_are_stuck_are_listed"
)
RUN_BY["charging account page-link alice"] = (
    "tests/integration/test_api_daemon.py::test_the_daemon_serves_who_has_a_token_also_after_a_restart"
)
RUN_BY |= dict.fromkeys(
    (
        'charging account grant-credit alice 5.00 --until 2026-12-31 --reason "welcome"',
        'charging account grant-credit alice -5.00 --until 2026-12-31 --reason "given by mistake"',
    ),
    "tests/integration/test_cli_store.py::test_promotional_credit_is_given_shown_and_taken_back",
)
RUN_BY |= dict.fromkeys(
    (
        'charging account grant-pack alice addon_60 --reason "bought in the shop, order 17"',
        'charging account grant-pack alice addon_60 --minutes -60 --until 2026-12-31 --reason "given by mistake"',
    ),
    "tests/integration/test_cli_store.py::test_a_pack_is_given_shown_and_taken_back",
)
"""By a test that types the same with its own paths and ports."""

NOT_RUN = {
    "make test": "it is what runs this test",
    "systemctl enable --now charging-backup.timer": "for good, on a host: a test starts the timer and waits for a copy",
    "set -a; . /etc/charging/environment; charging check": "root's own environment, on a host",
    "PATH=/opt/asterisk-23/sbin:$PATH make test": "needs an Asterisk that you have built",
    "PATH=/opt/asterisk-23/sbin:$PATH .venv/bin/python -m pytest -q tests/asterisk/test_cut.py": "likewise",
}
"""With the reason."""

_TYPED = re.compile(
    r"\s*(\$ |(sudo|systemctl|journalctl|apt|apt-get|dpkg|make|curl|pip|python3?|set|export|charging|\S+/charging) "
    r"|\w+=\S+ \w+)"
)


def shell_lines(text: str) -> list[str]:
    """What is typed in fenced blocks, without prompts and comments."""
    blocks = [(kind, body.splitlines()) for kind, body in _BLOCK.findall(text) if kind in SHELLS]
    lines = [line.strip() for kind, block in blocks for line in block if kind == "sh" or line.startswith("$ ")]
    return [re.sub(r"\s{2,}# .*", "", line.removeprefix("$ ")) for line in lines if line and not line.startswith("#")]


def run_here() -> set[str]:
    return {command for session in sessions() for command, _ in session}


def test_every_line_of_a_shell_is_run_by_a_test_or_says_why_not() -> None:
    there = {line: name_of(page) for page in [*PAGES, *SHIPPED_PAGES] for line in shell_lines(text_of(page))}
    held = run_here() | set(RUN_BY) | set(NOT_RUN)
    assert [(page, line) for line, page in there.items() if line not in held and page not in PAGES_RUN] == []
    assert (set(RUN_BY) | set(NOT_RUN)) - set(there) == set(), "no page says that any more"
    assert set(RUN_BY) & set(NOT_RUN) == set()


def test_the_tests_that_run_lines_exist() -> None:
    for test in [*RUN_BY.values(), *PAGES_RUN.values()]:
        path, _, name = test.partition("::")
        assert not name or name in functions(ROOT / path), test
        assert (ROOT / path).is_file(), test


@pytest.mark.parametrize("page", [*PAGES, *SHIPPED_PAGES], ids=name_of)
def test_a_block_of_another_kind_is_no_shell(page: Path) -> None:
    """Else its lines would be held by nobody."""
    bodies = [body for kind, body in _BLOCK.findall(text_of(page)) if kind not in SHELLS]
    assert [line for body in bodies for line in body.splitlines() if _TYPED.match(line)] == []


def test_a_line_that_nobody_runs_would_be_noticed() -> None:
    (line,) = shell_lines("```sh\n# as root\ncharging ledger burn  # never\n```\n")
    assert line == "charging ledger burn"
    assert line not in run_here() | set(RUN_BY) | set(NOT_RUN)
    assert shell_lines("```console\n$ charging check\nok\n```\n") == ["charging check"]
    assert _TYPED.match("systemctl stop charging")
