"""The tariff in force: loaded at the start, replaced in one step by a good edit, kept when an edit is bad."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import structlog

from charging.clock import Clock
from charging.errors import Problem
from charging.metrics import Metrics
from charging.tariff.deck_file import DeckCache
from charging.tariff.file import load_tariff
from charging.tariff.tariff import Tariff
from charging.tariff.watch import TariffWatcher, look_at

log = structlog.get_logger("charging.tariff")


class TariffInForce:
    """Calls ask `current` at their set-up, and keep what they got."""

    def __init__(self, path: Path, metrics: Metrics) -> None:
        """Raises ConfigError where the file is wrong at the start: there is nothing older to go on with."""
        self._path = path
        self._metrics = metrics
        self._decks = DeckCache()
        self._looked = look_at(path)
        self._tariff = load_tariff(path, deck_reader=self._decks)
        self._watcher: TariffWatcher | None = None
        self._tell_warnings()

    def current(self) -> Tariff:
        """The tariff for a call that begins now."""
        return self._tariff

    async def watch(self, clock: Clock) -> NoReturn:
        """Notice edits, for ever."""
        self._watcher = TariffWatcher(self._path, clock, self._tariff, self._good, self._bad, self._decks, self._looked)
        await self._watcher.run()

    async def read_now(self) -> Sequence[Problem]:
        """Read tariff and decks at once, while they are watched; what is wrong with them. A good edit is in force when
        this returns, after a bad one what was."""
        assert self._watcher is not None, "watched"
        return await self._watcher.read_now()

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

    def _bad(self, problems: Sequence[Problem]) -> None:
        """Loud, and without any consequence."""
        self._metrics.tariff_bad.set(1)
        self._metrics.tariff_reload.labels("bad").inc()
        for problem in problems:
            log.error("tariff_edit_refused", problem=str(problem), in_force=self._tariff.revision)
