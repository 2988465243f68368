"""The tree as a whole: nothing left to do, nothing of one machine, the set-up as the README promises."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
TOP = ("charging", "agi", "prompts", "config", "docs", "tests", ".ci")
LOCK = ROOT / "requirements.lock"
BYTES = {".git", ".coverage", ".wav", ".gz", ".tiff", ".pdf", ".ttf", ".sqlite", ".db", ".pyc", ".png"}

# Written in pieces, so that this file is no offence itself.
UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")
ONE_MACHINE = re.compile(r"(?<![\w.}])/(work|root|farm)/|/tmp/" + r"bash|/opt/(wheels|pypi)|(?<![\w.])/home/[a-z]+/")
UNMERGED = re.compile(r"^(<{7}|>{7}) ", re.MULTILINE)
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


def test_nothing_is_left_unmerged() -> None:
    assert lines_with(UNMERGED) == []


def test_no_path_of_one_machine() -> None:
    assert lines_with(ONE_MACHINE) == []


def test_no_registry_is_named() -> None:
    assert lines_with(REGISTRY) == []


def test_patterns_find_what_they_look_for() -> None:
    for pattern, text in (
        (UNFINISHED, "# TO" + "DO: later"),
        (UNMERGED, "<" * 7 + " HEAD"),
        (ONE_MACHINE, "open('/wo" + "rk/x')"),
        (ONE_MACHINE, "cd /ro" + "ot/x"),
        (REGISTRY, "--index-" + "url x"),
    ):
        assert pattern.search(text), text


def pins(lock: Path) -> dict[str, str]:
    """Every entry of a lock by its package's name."""
    entries = lock.read_text().replace("\\\n", " ").splitlines()
    return {re.split(r"[\[=]", entry)[0]: entry for entry in entries}


@pytest.mark.parametrize(("name", "least"), [("", 30), ("-dev", 60), ("-build", 3), ("-supply", 20), ("-docs", 20)])
def test_lock_pins_every_requirement_with_a_hash(name: str, least: int) -> None:
    entries = pins(ROOT / f"requirements{name}.lock").values()
    assert len(entries) > least
    for entry in entries:
        assert re.match(r"[a-z0-9._-]+(\[[a-z,-]+\])?==\S+ ", entry), entry
        assert "--hash=sha256:" in entry, entry


def test_the_locks_agree_and_what_runs_is_locked_apart_from_what_tests() -> None:
    runtime, dev = pins(LOCK), pins(ROOT / "requirements-dev.lock")
    assert runtime.items() <= dev.items()
    assert not {"pytest", "hypothesis", "ruff", "mypy", "uv", "hatchling"} & runtime.keys()


OLDEST_PYTHON = {"python_version": "3.11", "python_full_version": "3.11.0"}
"""For which the locks are made."""


def test_the_lock_of_what_runs_is_all_that_the_package_requires_and_no_more() -> None:
    """By the metadata of what is installed, extras followed: nothing that runs comes with the test tools only.

    What only an older Python needs (async-timeout before 3.11.3) is in the lock, but has no metadata on a newer one.
    """
    needed: set[str] = set()
    queue = [
        Requirement(one) for one in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    ]
    while queue:
        wanted = queue.pop()
        needed.add(canonicalize_name(wanted.name))
        for text in metadata.requires(wanted.name) or ():
            one = Requirement(text)
            holds = any(
                not one.marker or one.marker.evaluate(OLDEST_PYTHON | {"extra": extra})
                for extra in {"", *wanted.extras}
            )
            if not holds or (canonicalize_name(one.name) in needed and not one.extras):
                continue
            if any(not one.marker or one.marker.evaluate({"extra": extra}) for extra in {"", *wanted.extras}):
                queue.append(one)
            else:
                needed.add(canonicalize_name(one.name))
    assert needed == {canonicalize_name(name) for name in pins(LOCK)}


def test_extras_are_kept_in_the_locks() -> None:
    """Without them pip would look for the extra's own candidate, and find one that was published later."""
    assert pins(LOCK)["redis"].startswith("redis[hiredis]==")
    assert pins(ROOT / "requirements-dev.lock")["coverage"].startswith("coverage[toml]==")


def test_lock_has_every_dependency_of_the_project_file() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = {"-dev": project["project"]["optional-dependencies"]["dev"]}
    groups |= {f"-{name}": wanted for name, wanted in project["dependency-groups"].items()}
    for name, wanted in groups.items():
        names = {canonicalize_name(Requirement(one).name) for one in wanted}
        assert names - pins(ROOT / f"requirements{name}.lock").keys() == set()


def test_scripts_can_be_run() -> None:
    assert all(os.access(ROOT / ".ci" / name, os.X_OK) for name in ("run", "setup"))
