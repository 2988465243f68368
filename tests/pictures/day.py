"""What `make bench-day` has measured, as plots."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from tests.benchmarks.day import SAMPLE_S, SAMPLES
from tests.pictures.plot import Panel, Series, picture

PANELS: Mapping[str, Mapping[str, Callable[[dict[str, Any]], float]]] = {
    "Calls that talk, at a time": {"calls": lambda one: one["live"]},
    "Calls begun in a second": {"calls": lambda one: one["calls"] / SAMPLE_S},
    "Memory, MiB": {"the daemon's": lambda one: one["memory_mib"]},
    "Open files": {"the daemon's": lambda one: one["open_files"]},
    "On disk, MiB": {"ledger": lambda one: one["ledger_mib"], "log": lambda one: one["log_mib"]},
    "CPU, share of a core": {"the daemon's": lambda one: one["core"]},
    "Wait for a decision, ms: half of the callers": {"median": lambda one: one["waited_p50_ms"]},
    "Wait for a decision, ms: 99 of 100": {"99th percentile": lambda one: one["waited_p99_ms"]},
}
"""By title: the lines, by name."""
WIDE, HIGH, EACH_ROW = 12, 8, 2


def drawn() -> str:
    """The picture. Raises FileNotFoundError if nothing has been measured yet."""
    found = json.loads(SAMPLES.read_text(encoding="utf-8"))
    samples = found["samples"]
    panels = [
        Panel(
            title,
            index % EACH_ROW * WIDE,
            index // EACH_ROW * HIGH,
            WIDE,
            HIGH,
            [Series(name, [(one["at_s"], float(value(one))) for one in samples]) for name, value in lines.items()],
        )
        for index, (title, lines) in enumerate(PANELS.items())
    ]
    caption = f"{found['rate']:g} calls a second, to the shipped daemon on {found['store']}; drawn by make bench-day"
    return picture(panels, caption)
