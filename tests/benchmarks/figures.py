"""Figures of a run: printed as they come, kept as JSON."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


def percentile(values: Sequence[float], percent: int) -> float:
    """Of any number of values; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] if ordered else 0.0


@dataclass
class Table:
    """What was measured so far."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """Wrong books, lost money: what no speed makes up for."""

    def add(
        self,
        store: str,
        what: str,
        value: float,
        unit: str,
        goal: Callable[[float], bool] | None = None,
        wanted: str = "",
        **more: float,
    ) -> None:
        verdict = "" if goal is None else "reached" if goal(value) else "MISSED"
        row = {
            "store": store,
            "measure": what,
            "value": value,
            "unit": unit,
            "wanted": wanted,
            "verdict": verdict,
            **more,
        }
        self.rows.append(row | {"load": os.getloadavg()[0]})
        beside = "  ".join(f"{name} {_short(one)}" for name, one in more.items())
        judged = f"{wanted}: {verdict}" if verdict else ""
        print(f"{store:6} {what:46} {_short(value):>9} {unit:9} {judged:24} {beside}", flush=True)

    def fault(self, store: str, what: str, found: Sequence[str]) -> None:
        self.faults += [f"{store}, {what}: {one}" for one in found]
        for one in found[:10]:
            print(f"{store:6} {what}: {one}", flush=True)
        if len(found) > 10:
            print(f"{store:6} {what}: and {len(found) - 10} more", flush=True)

    def write(self, path: Path) -> None:
        about = {"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "cores": os.cpu_count()}
        about |= {"python": platform.python_version(), "machine": platform.machine()}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**about, "rows": self.rows, "faults": self.faults}, indent=1) + "\n")

    def failed(self) -> int:
        """The exit code: 1 where money was lost, however fast."""
        if self.faults:
            print(f"{len(self.faults)} FAULTS, the first: {self.faults[0]}", flush=True)
        return int(bool(self.faults))


def median_ratio(mine: Sequence[float], others: Sequence[float]) -> float:
    return statistics.median(one / other for one, other in zip(mine, others, strict=True))


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
