"""The tariff in force: loaded at the start, and replaced in one step by a good edit. A bad or doubtful edit changes
nothing.

The last tariff in force is kept on disk (`charging.tariff.accepted`), so that a start with bad or doubtful files uses
it.
"""

from __future__ import annotations

import asyncio
import atexit
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import structlog

from charging.clock import Clock
from charging.errors import ConfigError, Problem
from charging.metrics import Metrics
from charging.tariff.accepted import Accepted, NotKept
from charging.tariff.deck_file import DeckCache
from charging.tariff.reading import Reading, read_files, read_in_child
from charging.tariff.tariff import Tariff
from charging.tariff.watch import Looked, TariffWatcher, look_at

log = structlog.get_logger("charging.tariff")


def what_counts(path: Path, accepted: Accepted, clock: Clock) -> Tariff:
    """The tariff in force: the one at ``path``, or the one before it if that is bad or doubtful; then `Tariff.refused`
    has the reason. Raises ConfigError if the file is wrong and no older tariff is kept."""
    return _at_start(path, accepted, clock, DeckCache())[0]


def _at_start(path: Path, accepted: Accepted, clock: Clock, decks: DeckCache) -> tuple[Tariff, bool]:
    """What counts; and whether that was judged. Where what counted last cannot be read now, calls go on with the files
    as they are: it says so as of one that is refused, and is not kept."""
    reading = read_files(path, (path,), decks, accepted, clock.now().wall_us)
    if reading.tariff is not None:
        return reading.tariff, True
    problems = reading.problems
    try:
        before = accepted.load()
    except OSError as error:
        problems = (accepted.unread(error, "what stands on disk counts meanwhile, compared with nothing"),)
        before = None
    except ConfigError as error:
        raise ConfigError([*reading.problems, *error.problems]) from None
    if before is None and not reading.finished:
        before = (found := read_files(path, (path,), decks)).tariff
        problems = problems if before is not None else found.problems
    if before is None:
        raise ConfigError(problems)
    return replace(before, refused=problems, waiting=reading.waiting), reading.finished


def accept(path: Path, accepted: Accepted, digest: str, reason: str, by: str) -> list[str]:
    """Put the tariff at ``path`` in force, if it still has the ``digest`` that an operator looked at. Returns the
    problems that prevent it; none if it is in force."""
    reading = read_files(path, (path,), DeckCache())
    return _keep_asked(path, accepted, reading, digest, reason, by)


def _keep_asked(path: Path, accepted: Accepted, reading: Reading, digest: str, reason: str, by: str) -> list[str]:
    tariff = reading.tariff
    if tariff is None:
        return [f"{problem}; only a file without errors can be accepted" for problem in reading.problems]
    if tariff.digest != digest:
        return [
            f"found the digest {tariff.digest} on disk, expected {digest}: look at `charging tariff check` once more"
        ]
    try:
        accepted.keep(path, tariff, reason, by)
    except NotKept:
        return ["the files have changed just now: look at `charging tariff check` once more"]
    except OSError as error:
        return [f"{accepted.folder}: {error.strerror or error}; the daemon must be able to write there"]
    log.warning("tariff_accepted", digest=digest, revision=tariff.revision, reason=reason, by=by)
    return []


class TariffInForce:
    """The daemon's tariff in force. A call reads `current` at its set-up and keeps that tariff to its end."""

    def __init__(self, path: Path, metrics: Metrics, clock: Clock, accepted: Accepted) -> None:
        """Raises ConfigError if the file is wrong at the start and no older tariff is kept."""
        self._path = path
        self._metrics = metrics
        self._clock = clock
        self._accepted = accepted
        self._spare: Accepted | None = None
        self._decks = DeckCache()
        looked = look_at(path)
        self._tariff, judged = _at_start(path, accepted, clock, self._decks)
        self._looked = looked if judged else None
        self._watcher: TariffWatcher | None = None
        self._tell_warnings()
        if self._tariff.refused:
            self._bad(self._tariff.refused, self._tariff.waiting)
        else:
            self._keep(self._tariff)

    def current(self) -> Tariff:
        """The tariff for a call that begins now."""
        return self._tariff

    @property
    def kept_in(self) -> Path:
        """The folder in which what is in force is kept: another than that of the settings if that cannot be written."""
        return self._compared.folder

    @property
    def _compared(self) -> Accepted:
        """What was kept last."""
        return self._spare or self._accepted

    async def watch(self) -> NoReturn:
        """Notice edits, for ever."""
        self._watcher = TariffWatcher(
            self._path, self._clock, self._tariff, self._good, self._bad, self._decks, self._looked, self._read
        )
        await self._watcher.run()

    async def read_now(self) -> Sequence[Problem]:
        """Read tariff and decks now, while :meth:`watch` runs, and return their problems. A good edit is in force when
        this returns; a bad or doubtful one changes nothing."""
        assert self._watcher is not None, "watched"
        return await self._watcher.read_now()

    async def accept(self, digest: str, reason: str, by: str) -> list[str]:
        """Put the waiting edition on disk in force, if it has this digest. Returns the problems that prevent it."""
        reading = await read_in_child(self._path, (self._path,), self._decks.copy())
        problems = await asyncio.to_thread(_keep_asked, self._path, self._compared, reading, digest, reason, by)
        return problems or [str(problem) for problem in await self.read_now()]

    async def _read(self, path: Path, files: tuple[Path, ...], decks: DeckCache) -> Reading:
        reading = await read_in_child(path, files, decks, self._compared)
        if reading.tariff is not None:
            await asyncio.to_thread(self._keep, reading.tariff)
        return reading

    def _keep(self, tariff: Tariff) -> None:
        """So that the next edition can be compared with it, and other processes have it. Files that have changed again
        are read again."""
        with suppress(NotKept):
            try:
                self._accepted.keep(self._path, tariff)
            except OSError as error:
                log.error("tariff_not_kept", folder=str(self._accepted.folder), error=str(error))
                self._spare = self._spare or self._beside()
            if self._spare is not None:
                with suppress(OSError):
                    self._spare.keep(self._path, tariff)

    def _beside(self) -> Accepted | None:
        """For the life of this process; ``None``: there is no room for it either."""
        try:
            folder = tempfile.mkdtemp(prefix="charging-tariff-")
        except OSError:
            return None
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return replace(self._accepted, folder=Path(folder))

    def _good(self, tariff: Tariff) -> None:
        self._tariff = tariff
        self._metrics.tariff_reload.labels("good").inc()
        log.info("tariff_replaced", revision=tariff.revision, digest=tariff.digest)
        self._tell_warnings()

    def _tell_warnings(self) -> None:
        """What is odd in the files that count now, and no reason to refuse them."""
        self._metrics.set_tariff(self._tariff.revision, self._tariff.digest, len(self._tariff.warnings))
        for problem in self._tariff.warnings:
            log.warning("tariff_warning", problem=str(problem))

    def _bad(self, problems: Sequence[Problem], waiting: str = "") -> None:
        """Log and count a bad or doubtful edit. The tariff in force stays."""
        self._tariff = replace(self._tariff, refused=tuple(problems), waiting=waiting)
        self._metrics.refuse_tariff(waits=bool(waiting))
        for problem in problems:
            if waiting:
                log.error("tariff_edition_waits", problem=str(problem), in_force=self._tariff.revision)
            else:
                log.error("tariff_edit_refused", problem=str(problem), in_force=self._tariff.revision)


class TariffHere:
    """The tariff in a process other than the daemon. Only the daemon keeps the tariff in force and reports problems."""

    def __init__(self, path: Path, clock: Clock, accepted: Accepted) -> None:
        self._path = path
        self._clock = clock
        self._accepted = accepted
        self._decks = DeckCache()
        self._tariff: Tariff | None = None
        self._looked: Looked | None = None

    def current(self) -> Tariff:
        """Raises ConfigError where there has been no good one since this process began."""
        if self._tariff is None:
            looked = look_at(self._path, self._accepted.record)
            self._tariff, judged = _at_start(self._path, self._accepted, self._clock, self._decks)
            self._looked = looked if judged else None
        return self._tariff

    async def watch(self) -> NoReturn:
        """Notice edits, and what is accepted, until there is none that counts. Raises ConfigError."""
        tariff = self.current()
        watcher = TariffWatcher(
            self._path,
            self._clock,
            tariff,
            self._good,
            self._bad,
            self._decks,
            self._looked,
            self._read,
            others=(self._accepted.record,),
        )
        await watcher.run()

    async def _read(self, path: Path, files: tuple[Path, ...], decks: DeckCache) -> Reading:
        return await read_in_child(path, files, decks, self._accepted)

    def _good(self, tariff: Tariff) -> None:
        self._tariff = tariff

    def _bad(self, problems: Sequence[Problem], waiting: str) -> None:
        self._tariff = replace(self.current(), refused=tuple(problems), waiting=waiting)
