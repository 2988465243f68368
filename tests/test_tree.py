"""The tree as a whole: nothing left to do, nothing of one machine, the set-up as the README promises."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOP = ("charging", "agi", "prompts", "config", "docs", "tests", ".ci")
LOCK = ROOT / "requirements.lock"
BYTES = {".git", ".coverage", ".wav", ".gz", ".tiff", ".pdf", ".sqlite", ".db", ".pyc"}

# Written in pieces, so that this file is no offence itself.
UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")
ONE_MACHINE = re.compile(r"(?<![\w.}])/(work|root|farm)/|/tmp/" + r"bash|/opt/(wheels|pypi)|(?<![\w.])/home/[a-z]+/")
REGISTRY = re.compile(
    r"pypi\." + r"org|pythonhosted\." + r"org|(deb|ftp)\.debian\." + r"org|registry\.npmjs|--(?:extra-)?index-" + r"url"
)


def texts() -> Iterator[tuple[str, str]]:
    """Every text file of the tree: its path and its content. (In a git worktree .git is a file.)"""
    files = [path for path in ROOT.iterdir() if path.is_file()]
    files += [path for folder in TOP for path in (ROOT / folder).rglob("*") if path.is_file()]
    for path in sorted(files):
        if not BYTES & {path.suffix, path.name} and "__pycache__" not in path.parts:
            yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8", errors="replace")


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()[:100]}"
        for name, text in texts()
        if pattern.search(text)
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def test_nothing_is_left_to_do() -> None:
    assert lines_with(UNFINISHED) == []


def test_no_path_of_one_machine() -> None:
    assert lines_with(ONE_MACHINE) == []


def test_no_registry_is_named() -> None:
    assert lines_with(REGISTRY) == []


def test_patterns_find_what_they_look_for() -> None:
    for pattern, text in (
        (UNFINISHED, "# TO" + "DO: later"),
        (ONE_MACHINE, "open('/wo" + "rk/x')"),
        (ONE_MACHINE, "cd /ro" + "ot/x"),
        (REGISTRY, "--index-" + "url x"),
    ):
        assert pattern.search(text), text


def test_lock_pins_every_requirement_with_a_hash() -> None:
    entries = LOCK.read_text().split("\n\n")[-1].replace("\\\n", " ").splitlines()
    assert len(entries) > 40
    for entry in entries:
        assert re.match(r"[a-z0-9._-]+(\[[a-z,]+\])?==\S+ ", entry), entry
        assert "--hash=sha256:" in entry, entry


def test_lock_has_every_dependency_of_the_project_file() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {re.split(r"[<>=\[ ]", one)[0].lower().replace("_", "-") for one in wanted}
    locked = {line.partition("==")[0].partition("[")[0] for line in LOCK.read_text().splitlines() if "==" in line}
    assert names - locked == set()


def test_scripts_can_be_run() -> None:
    assert all(os.access(ROOT / ".ci" / name, os.X_OK) for name in ("run", "setup"))
