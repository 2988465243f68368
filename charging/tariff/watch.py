"""Watches the tariff file and its decks, and reads them after an edit.

Files are saved in many ways: an editor writes a new file and renames it over the old one, or writes in place (so that a
reader may see half of it), or a deployment changes a symbolic link. So the watcher assumes nothing: each second it
calls ``stat`` on all file names (which follows links). If anything differs from the last reading, it reads the files as
soon as they have not changed for a second. The result counts only if nothing changed during the reading.

Reading happens in another process (`charging.tariff.reading`): calls do not wait for it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn, Protocol

from charging.clock import MICROSECONDS, Clock
from charging.errors import Problem
from charging.tariff.deck_file import DeckCache
from charging.tariff.file import files_of
from charging.tariff.reading import Reading, read_in_child
from charging.tariff.tariff import Tariff

POLL_S = 1
"""Between two looks; so an edit is in force three to four seconds after it was saved, a new large deck later."""

AGAIN_S = 60
"""After a reading that was broken off."""

Look = tuple[tuple[int, ...] | None, ...]
"""What ``stat`` says of each file; ``None``: not there."""


class Looked(NamedTuple):
    """The state of the files when a tariff was read: any change since then is an edit."""

    files: tuple[Path, ...]
    look: Look


def look_at(path: Path, *others: Path) -> Looked:
    """A look at the tariff file and the decks that it names, to be taken before they are read; ``others`` are looked at
    with them."""
    files = (*files_of(path), *others)
    return Looked(files, _look(files))


class Reader(Protocol):
    """Reads the tariff at a path, for which it may take its time."""

    async def __call__(self, path: Path, files: tuple[Path, ...], decks: DeckCache) -> Reading:
        """``files`` and ``decks`` are those of the last reading."""


class TariffWatcher:
    """Calls ``on_good`` with each tariff that replaces the one in force, ``on_bad`` with the problems of an edit.

    A bad edit is reported once. When it is undone, ``on_good`` is called with a tariff equal to the one in force, so
    that an alarm can be cleared. A save that changes no byte causes no call.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        in_force: Tariff,
        on_good: Callable[[Tariff], None],
        on_bad: Callable[[Sequence[Problem], str], None],
        decks: DeckCache | None = None,
        looked: Looked | None = None,
        read: Reader = read_in_child,
        others: tuple[Path, ...] = (),
    ) -> None:
        """``in_force``: what was read from ``path`` at the start; ``decks``: with which cache; ``looked``: after which
        look, without which all is read once more. ``on_bad`` is told the problems, and the digest of what waits to be
        accepted. A change of ``others`` is a reason to read too."""
        self._path = path
        self._clock = clock
        self._digest = in_force.digest
        self._on_good = on_good
        self._on_bad = on_bad
        self._bad = bool(in_force.refused)
        self._decks = decks or DeckCache()
        self._read_files = read
        self._again_mono_us = 0
        """Not before then, after a reading that was broken off."""
        self._others = others
        self._files: tuple[Path, ...] = (path, *others) if looked is None else looked.files
        self._read: Look | None = None if looked is None else looked.look
        """The look at what was read last."""
        self._seen: Look = ()
        self._reading = asyncio.Lock()

    async def run(self) -> NoReturn:
        """Watch for ever."""
        while True:
            await self.poll()
            await self._clock.sleep_until(self._clock.now().mono_us + POLL_S * MICROSECONDS)

    async def poll(self) -> None:
        """Look at the files once, and read them if they have changed and then not changed for a second."""
        async with self._reading:
            await self._poll()

    async def read_now(self) -> Sequence[Problem]:
        """Read the files now, changed or not, call ``on_good`` or ``on_bad`` as usual, and return the problems."""
        async with self._reading:
            reading = await self._read_files(self._path, self._files, self._decks)
            self._decks = reading.decks
            if reading.finished:
                self._files = (*reading.files, *self._others)
            self._tell(reading)
            return reading.problems

    async def _poll(self) -> None:
        look = _look(self._files)
        rested = look == self._seen
        self._seen = look
        if look == self._read or not rested or self._clock.now().mono_us < self._again_mono_us:
            return
        reading = await self._read_files(self._path, self._files, self._decks)
        self._decks = reading.decks
        if not reading.finished:
            self._again_mono_us = self._clock.now().plus(AGAIN_S).mono_us
            self._tell(reading)
            return
        if (files := (*reading.files, *self._others)) != self._files:
            # Other decks are named now: what was read counts once they have been seen at rest too.
            self._files = files
            self._seen = _look(self._files)
            return
        if _look(self._files) == look:
            self._read = look
            self._tell(reading)

    def _tell(self, reading: Reading) -> None:
        if reading.tariff is None:
            self._bad = True
            self._on_bad(reading.problems, reading.waiting)
        elif self._bad or reading.tariff.digest != self._digest:
            self._bad = False
            self._digest = reading.tariff.digest
            self._on_good(reading.tariff)


def _look(files: Sequence[Path]) -> Look:
    return tuple(map(_stat, files))


def _stat(file: Path) -> tuple[int, ...] | None:
    try:
        found = os.stat(file)
    except (OSError, ValueError):
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
