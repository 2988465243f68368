"""A pytest plugin: which lines of the program each test enters, and how long it takes; or, given tests, only those run,
the quick ones first. `tests.mutants` loads it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import coverage
import pytest

from tests.mutants.planted import ROOMS, ROOT

NOTES = "MUTANTS_NOTES"
"""Environment: the file in which a run notes what its tests enter."""
CHOSEN = "MUTANTS_CHOSEN"
"""Environment: a file with the ids of the tests to run, in their order."""


class Witness(NamedTuple):
    """One test."""

    test: str
    """pytest's id of it."""
    seconds: float
    entered: dict[str, list[int]]
    """Lines, by the file's name from the project's root."""

    def saw(self, file: str, lines: range) -> bool:
        """Whether it came through one of these lines."""
        return any(line in lines for line in self.entered.get(file, ()))


def read(notes: Path) -> list[Witness]:
    """What a run has noted, the quickest first."""
    noted = (Witness(*json.loads(line)) for line in notes.read_text(encoding="utf-8").splitlines())
    return sorted(noted, key=lambda one: one.seconds)


class Notes:
    """Notes what each test enters."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seconds: dict[str, float] = {}
        self._watch = coverage.Coverage(data_file=None, include=[f"{ROOT / room}/*" for room in ROOMS])
        self._watch.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._watch.switch_context(item.nodeid)
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid] = self._seconds.get(report.nodeid, 0.0) + report.duration

    def pytest_sessionfinish(self) -> None:
        self._watch.stop()
        data = self._watch.get_data()
        entered: dict[str, dict[str, list[int]]] = {}
        for path in data.measured_files():
            name = str(Path(path).relative_to(ROOT))
            for line, tests in data.contexts_by_lineno(path).items():
                for test in filter(None, tests):
                    entered.setdefault(test, {}).setdefault(name, []).append(line)
        with self._file.open("w", encoding="utf-8") as notes:
            for test, lines in entered.items():
                print(json.dumps([test, self._seconds.get(test, 0.0), lines]), file=notes)


class Choice:
    """Runs some tests only."""

    def __init__(self, file: Path) -> None:
        self._rank = {test: rank for rank, test in enumerate(file.read_text(encoding="utf-8").splitlines())}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted((one for one in items if one.nodeid in self._rank), key=lambda one: self._rank[one.nodeid])


def pytest_configure(config: pytest.Config) -> None:
    """By the environment, one or the other."""
    plugins: dict[str, Any] = {NOTES: Notes, CHOSEN: Choice}
    for name, plugin in plugins.items():
        if name in os.environ:
            config.pluginmanager.register(plugin(Path(os.environ[name])))
