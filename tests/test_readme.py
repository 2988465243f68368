"""README.md tells the truth: what can be derived is derived, what is named exists, what is shown was run.

The parts between ``<!-- made: NAME -->`` and ``<!-- /made -->`` are made from the program; after a change of it:
``python -m tests.test_readme`` writes them anew.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from prometheus_client.metrics_core import Metric
from pydantic_core import PydanticUndefined
from typer.exceptions import TyperException

from charging.cli import build, main
from charging.config import Settings
from charging.metrics import Metrics
from charging.observer import ERRORS, WARNINGS
from charging.session.core import TABLE
from charging.session.model import State
from charging.session.step import stay
from charging.yaml_model import Section

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
RULES = 23
OWN_FOLDERS = ("charging", "agi", "config", "prompts", "tests", ".ci")


def readme() -> str:
    return README.read_text(encoding="utf-8")


def section(title: str) -> str:
    """What stands under a heading of the second level."""
    _, _, rest = readme().partition(f"\n## {title}\n")
    assert rest, f"README.md has no section {title}"
    return rest.partition("\n## ")[0]


# --- What is made from the program -----------------------------------------------------------------------------------


def table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(titles), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def made_states() -> str:
    """The session's transition table; states with the same row share a column."""
    columns: list[tuple[list[State], Mapping[type, Any]]] = []
    for state, row in TABLE.items():
        if columns and columns[-1][1] == row:
            columns[-1][0].append(state)
        else:
            columns.append(([state], row))
    events = list(dict.fromkeys(event for _, row in columns for event in row))

    def cell(row: Mapping[type, Any], event: type) -> str:
        if event not in row:
            return " "
        return "–" if row[event] is stay else f"`{row[event].__name__}`"

    titles = ["event", *(", ".join(str(state.value) for state in states) for states, _ in columns)]
    return table(titles, ([event.__name__, *(cell(row, event) for _, row in columns)] for event in events))


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def made_metrics() -> str:
    def row(metric: Metric, labels: Iterable[str]) -> list[str]:
        name = metric.name + ("_total" if metric.type == "counter" else "")
        return [f"`{name}`", metric.type, ", ".join(labels), _one_line(metric.documentation)]

    registry = Metrics("0").registry
    collectors = [one for one in registry._collector_to_names if hasattr(one, "_labelnames")]
    rows = [row(metric, one._labelnames) for one in collectors for metric in one.collect()]
    return table(("metric", "kind", "labels", "what it tells"), rows)


def _keys(model: type[Section], name: str) -> Iterator[tuple[str, str]]:
    """(section, its keys with their defaults) of a section and those within it."""
    own: list[str] = []
    inner: list[tuple[str, str]] = []
    for key, field in model.model_fields.items():
        kind = next((one for one in _types(field.annotation) if issubclass(one, Section)), None)
        if kind is not None:
            inner += _keys(kind, f"{name}.{key}" if name else key)
            continue
        default = field.default
        shown = f"`{key}`" if default in (None, PydanticUndefined) else f"`{key}` {default}"
        own.append(shown + (" (needed)" if field.is_required() else ""))
    if own:
        yield name or "(top)", ", ".join(own)
    yield from inner


def _types(annotation: Any) -> list[type]:
    if isinstance(annotation, type):
        return [annotation]
    return [one for part in getattr(annotation, "__args__", ()) for one in _types(part)]


def made_settings() -> str:
    return table(("section", "keys and their defaults"), ([f"`{name}`", keys] for name, keys in _keys(Settings, "")))


def _commands(command: Any, path: str) -> Iterator[tuple[str, str]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        arguments = [one for one in command.params if one.param_type_name == "argument"]
        words = [path, *(one.name.upper() if one.required else f"[{one.name.upper()}]" for one in arguments)]
        yield " ".join(words), _one_line((command.help or "").partition("\n\n")[0])
        return
    for name, one in inner.items():
        yield from _commands(one, f"{path} {name}")


def made_commands() -> str:
    rows = _commands(whole_command(), "charging")
    return table(("command", "what it does"), ([f"`{name}`", text] for name, text in rows))


def made_alerts() -> str:
    groups = yaml.safe_load((ROOT / "config/prometheus/charging_rules.yml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    spoken = re.compile(r"\{\{ \$labels\.(\w+) \}\}")
    return table(
        ("alert", "severity", "it says"),
        (
            [f"`{one['alert']}`", one["labels"]["severity"], spoken.sub(r"*\1*", one["annotations"]["summary"])]
            for one in rules
        ),
    )


MADE: dict[str, Callable[[], str]] = {
    "states": made_states,
    "settings": made_settings,
    "commands": made_commands,
    "metrics": made_metrics,
    "alerts": made_alerts,
}
_PART = re.compile(r"<!-- made: (\w+) -->\n(.*?)\n?<!-- /made -->", re.DOTALL)


def renewed(text: str) -> str:
    """The README with every made part as the program is now."""
    return _PART.sub(lambda part: f"<!-- made: {part[1]} -->\n{MADE[part[1]]()}\n<!-- /made -->", text)


def test_parts_made_from_the_program_are_current() -> None:
    there = {name: text for name, text in _PART.findall(readme())}
    assert there.keys() == MADE.keys()
    for name, make in MADE.items():
        assert there[name] == make(), f"{name} is old: run python -m tests.test_readme"


def test_an_old_part_would_be_noticed_and_is_renewed() -> None:
    old = readme().replace("`charging_ami_up`", "`charging_ami_down`")
    assert old != readme()
    assert renewed(old) == renewed(readme())
    assert "`charging_ami_down`" not in renewed(old)


# --- What is named exists --------------------------------------------------------------------------------------------


def names_of_tests() -> set[str]:
    """The names of every test function in the tree."""
    defined = re.compile(r"^ *(?:async )?def (test_\w+)\(", re.MULTILINE)
    files = (ROOT / "tests").rglob("*.py")
    return {name for file in files for name in defined.findall(file.read_text(encoding="utf-8"))}


def test_every_test_that_is_named_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", readme()))
    assert len(named) > 60
    assert named - names_of_tests() == set()


def test_every_row_of_the_failure_table_names_the_test_that_breaks_it() -> None:
    rows = [line for line in section("When something fails").splitlines() if line.startswith("| ")][2:]
    assert len(rows) >= 7
    assert [row.split("|")[1] for row in rows if "`test_" not in row] == []


def test_every_rule_has_its_row_with_a_test_or_says_that_it_is_not_built() -> None:
    rows = dict(re.findall(r"^\| (R[0-9]+) \|(.*)$", section("The promises, and where each is kept"), re.MULTILINE))
    assert list(rows) == [f"R{number}" for number in range(1, RULES + 1)]
    assert [rule for rule, row in rows.items() if "`test_" not in row and "not built" not in row] == []


def test_every_path_that_is_named_exists() -> None:
    text = re.sub(r"```.*?```", "", readme(), flags=re.DOTALL)
    named = {path for path in re.findall(r"`([\w.]+/[\w./-]+)`", text) if path.split("/")[0] in OWN_FOLDERS}
    named |= {path for path in re.findall(r"\]\(([^)#:]+)\)", text)}
    assert len(named) > 20
    assert {path for path in named if not (ROOT / path).exists()} == set()


def test_every_dependency_has_its_reason_and_no_other() -> None:
    file = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project, groups = file["project"], file["dependency-groups"]
    lists = project["dependencies"], project["optional-dependencies"]["dev"], *groups.values()
    wanted = {re.split(r"[<>=\[ ]", one)[0] for listed in lists for one in listed}
    text = section("Dependencies, and why each")
    rows = re.findall(r"^\| ([^|]+) \| +(\S.*?) +\|$", text, re.MULTILINE)[1:]
    assert {name for cell, _ in rows for name in re.findall(r"`([\w-]+)`", cell)} == wanted


def test_every_event_that_is_no_routine_is_explained() -> None:
    call = re.compile(r"log\.(?:warning|error|exception)\(\s*\"(\w+)\"")
    files = [file for part in ("charging", "agi") for file in (ROOT / part).rglob("*.py")]
    events = {name for file in files for name in call.findall(file.read_text(encoding="utf-8"))}
    explained = set(re.findall(r"`(\w+)`", section("Logs")))
    assert len(events) > 10
    assert (events | WARNINGS | ERRORS) - explained == set()


# --- What is shown was run -------------------------------------------------------------------------------------------


def commands_in(text: str) -> list[list[str]]:
    """The words of every ``charging`` command, in fenced blocks and between backticks; not of the made table."""
    blocks = re.findall(r"^```(?:console|sh)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = [line.removeprefix("$ ").strip() for block in blocks for line in block.splitlines()]
    prose = re.sub(r"```.*?```", "", _PART.sub("", text), flags=re.DOTALL)
    lines += re.findall(r"`([^`\n]+)`", prose)
    return [shlex.split(line)[1:] for line in lines if re.match(r"(\S*/)?charging ", line)]


@cache
def whole_command() -> Any:
    return typer.main.get_command(build())


def misfit(words: list[str]) -> str:
    """What is wrong with a command as written; empty: nothing."""
    if "--config" in words:
        at = words.index("--config")
        words = words[:at] + words[at + 2 :]
    command = whole_command()
    while (inner := getattr(command, "commands", None)) is not None:
        if not words or words[0] not in inner:
            return f"no such command: {words}"
        command, words = inner[words[0]], words[1:]
    try:
        command.make_context("charging", list(words))
    except TyperException as error:
        return f"{type(error).__name__}: {error}"
    return ""


def test_every_command_that_is_shown_is_one() -> None:
    commands = commands_in(readme())
    assert len(commands) > 15
    assert [(words, misfit(words)) for words in commands if misfit(words)] == []


def test_a_wrong_command_would_be_noticed() -> None:
    for wrong in ("acount list", "top-up alice", "check --alive", "account"):
        assert misfit(wrong.split())


def sessions() -> list[list[tuple[str, str]]]:
    """The blocks that show commands of ours with what they print: (command, output)."""
    blocks = re.findall(r"^```console\n(\$ (?:charging|export) .*?)^```", readme(), re.DOTALL | re.MULTILINE)
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


if __name__ == "__main__":
    README.write_text(renewed(readme()), encoding="utf-8")
    sys.stdout.write("README.md: the parts made from the program are written anew\n")
