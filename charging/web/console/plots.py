"""The geometry of plots: what a template draws as SVG. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from charging.clock import MICROSECONDS

WIDTH, HEIGHT = 720, 220
LEFT, RIGHT, TOP, BOTTOM = 68, 12, 16, 30
_STEPS = (1, 2, 5)
_HOURS = 24
_LABELS = 6


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark beside an axis."""

    at: int
    label: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One column, and what stands in it."""

    x: int
    y: int
    width: int
    height: int
    told: str


@dataclass(frozen=True, slots=True)
class Plot:
    """Either a line or bars, within WIDTH and HEIGHT."""

    line: str = ""
    """An SVG path."""
    area: str = ""
    bars: tuple[Bar, ...] = ()
    xs: tuple[Tick, ...] = ()
    ys: tuple[Tick, ...] = ()
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM


def over_time(points: Sequence[tuple[int, int]], zone: str) -> Plot:
    """What has changed in steps: each point's time (wall clock, µs) and the value from it on, both in order."""
    if not points:
        return Plot()
    begin, end = points[0][0], max(points[-1][0], points[0][0] + 1)
    step, top = _scale(max(max(value for _, value in points), 1))

    def x(at: int) -> int:
        return LEFT + (at - begin) * (WIDTH - LEFT - RIGHT) // (end - begin)

    def y(value: int) -> int:
        return _y(value, top)

    path = [f"M{x(points[0][0])} {y(points[0][1])}"]
    for at, value in points[1:]:
        path += [f"H{x(at)}", f"V{y(value)}"]
    line = "".join(path)
    area = f"{line}V{y(0)}H{x(points[0][0])}Z"
    spread = [begin + (end - begin) * part // (_LABELS - 1) for part in range(_LABELS)]
    form = "%H:%M" if end - begin < 2 * 24 * 3600 * MICROSECONDS else "%d %b"
    xs = tuple(Tick(x(at), datetime.fromtimestamp(at // MICROSECONDS, ZoneInfo(zone)).strftime(form)) for at in spread)
    return Plot(line=line, area=area, xs=xs, ys=_ticks(step, top, _micro))


def by_hour(values: Sequence[int], unit: str, *, money: bool = False) -> Plot:
    """A day's hours, from midnight on."""
    step, top = _scale(max([*values, 1]))
    label = _micro if money else str
    slot = (WIDTH - LEFT - RIGHT) // _HOURS
    bars = tuple(
        Bar(
            LEFT + hour * slot + 3,
            _y(value, top),
            slot - 6,
            HEIGHT - BOTTOM - _y(value, top),
            f"{hour:02d}:00: {label(value)} {unit}",
        )
        for hour, value in enumerate(values)
        if value
    )
    xs = tuple(Tick(LEFT + hour * slot, f"{hour:02d}:00") for hour in range(0, _HOURS, 4))
    return Plot(bars=bars, xs=xs, ys=_ticks(step, top, label))


def _y(value: int, top: int) -> int:
    return HEIGHT - BOTTOM - value * (HEIGHT - BOTTOM - TOP) // top


def _scale(most: int) -> tuple[int, int]:
    """A round step, and the multiple of it that holds ``most``: three to six steps."""
    size = 1
    while True:
        for factor in _STEPS:
            step = factor * size
            if most <= step * 5:
                return step, -(-most // step) * step
        size *= 10


def _ticks(step: int, top: int, label: object) -> tuple[Tick, ...]:
    assert callable(label)
    return tuple(Tick(_y(value, top), label(value)) for value in range(0, top + 1, step))


def _micro(value: int) -> str:
    """Micro-euro, short."""
    cents = value // 10_000
    return f"€ {cents // 100}" if cents % 100 == 0 else f"€ {cents // 100}.{cents % 100:02d}"
