"""Notices that somebody saved the tariff or one of its decks, and reads it: a good edit, or a bad one.

People save in many ways: an editor writes another file and renames it over the old one, or writes in place (and
is seen half-way), or a deployment turns a symbolic link. So nothing is assumed of the way: each second all files are
looked at through their names (``stat`` follows links), and when anything differs from what was read last, the files
are read as soon as they have rested for a second. What was read counts only if nothing changed meanwhile.

Reading happens in a thread: a deck of 200,000 rows takes seconds, and calls do not wait for it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from charging.clock import MICROSECONDS, Clock
from charging.errors import ConfigError, Problem
from charging.tariff.deck_file import DeckCache
from charging.tariff.file import files_of, load_tariff
from charging.tariff.tariff import Tariff

POLL_S = 1
"""Between two looks; so an edit is in force two to three seconds after it was saved."""

Look = tuple[tuple[int, ...] | None, ...]
"""What ``stat`` says of each file; ``None``: not there."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """What one reading of the files gave."""

    files: tuple[Path, ...]
    tariff: Tariff | None
    problems: tuple[Problem, ...]


class TariffWatcher:
    """Calls ``on_good`` with each tariff that replaces the one in force, ``on_bad`` with the problems of an edit.

    A bad edit is told once; when it is taken back, ``on_good`` is called with a tariff equal to the one in force,
    so that an alarm can be cleared. A save that changes no byte calls nobody.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        in_force: Tariff,
        on_good: Callable[[Tariff], None],
        on_bad: Callable[[Sequence[Problem]], None],
        decks: DeckCache | None = None,
    ) -> None:
        """``in_force``: what was read from ``path`` at the start; ``decks``: with which cache."""
        self._path = path
        self._clock = clock
        self._digest = in_force.digest
        self._on_good = on_good
        self._on_bad = on_bad
        self._bad = False
        self._decks = decks or DeckCache()
        self._files: tuple[Path, ...] = (path,)
        self._read: Look | None = None
        """The look at what was read last; ``None`` before the first reading here, which finds edits made since
        ``in_force`` was read."""
        self._seen: Look = ()

    async def run(self) -> NoReturn:
        """Watch for ever."""
        while True:
            await self.poll()
            await self._clock.sleep_until(self._clock.now().mono_us + POLL_S * MICROSECONDS)

    async def poll(self) -> None:
        """Look once, and read what has changed and come to rest."""
        look = _look(self._files)
        rested = look == self._seen
        self._seen = look
        if look == self._read or not rested:
            return
        reading = await asyncio.to_thread(self._read_files)
        if reading.files != self._files:
            # Other decks are named now: what was read counts once they have been seen at rest too.
            self._files = reading.files
            self._seen = _look(self._files)
            return
        if _look(self._files) == look:
            self._read = look
            self._tell(reading)

    def _tell(self, reading: _Reading) -> None:
        if reading.tariff is None:
            self._bad = True
            self._on_bad(reading.problems)
        elif self._bad or reading.tariff.digest != self._digest:
            self._bad = False
            self._digest = reading.tariff.digest
            self._on_good(reading.tariff)

    def _read_files(self) -> _Reading:
        files = self._files
        try:
            files = files_of(self._path)
            return _Reading(files, load_tariff(self._path, deck_reader=self._decks), ())
        except ConfigError as error:
            return _Reading(files, None, error.problems)
        except Exception as error:  # noqa: BLE001  whatever is wrong with an edit, calls go on with the tariff in force
            found = f"{type(error).__name__}: {error}"
            return _Reading(files, None, (Problem(str(self._path), "", found, "a tariff that can be read"),))


def _look(files: Sequence[Path]) -> Look:
    return tuple(map(_stat, files))


def _stat(file: Path) -> tuple[int, ...] | None:
    try:
        found = os.stat(file)
    except (OSError, ValueError):
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
