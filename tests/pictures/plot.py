"""Panels of a dashboard as SVG. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

COLOURS = ("#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#96d98d")
INK, FAINT, PANEL, PAGE = "#d8d9da", "#6e7079", "#181b1f", "#111217"
UNIT_W, UNIT_H, GAP = 40, 26, 6
PAD_LEFT, PAD_TOP, ROW_H = 46, 28, 15


@dataclass(frozen=True, slots=True)
class Series:
    """One line: its name, and (seconds, value) in order."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Panel:
    """Where a panel stands, in units of Grafana's grid, and what it shows: lines, or one ``reading``."""

    title: str
    x: int
    y: int
    w: int
    h: int
    series: Sequence[Series] = ()
    reading: str = ""


def picture(panels: Sequence[Panel], caption: str) -> str:
    """All panels on one page."""
    width = max(one.x + one.w for one in panels) * UNIT_W + GAP
    bottom = max(one.y + one.h for one in panels) * UNIT_H + GAP
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {bottom + 24}" font-family="sans-serif">',
            f'<rect width="100%" height="100%" fill="{PAGE}"/>',
            *(_panel(one) for one in panels),
            _text(GAP + 4, bottom + 15, caption, FAINT, 11),
            "</svg>\n",
        )
    )


def _text(x: float, y: float, text: str, colour: str = INK, size: int = 12, anchor: str = "start") -> str:
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" fill="{colour}" font-size="{size}" text-anchor="{anchor}">{escape(text)}</text>'
    )


def _panel(panel: Panel) -> str:
    x, y = panel.x * UNIT_W + GAP, panel.y * UNIT_H + GAP
    width, height = panel.w * UNIT_W - GAP, panel.h * UNIT_H - GAP
    parts = [
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="3" fill="{PANEL}"/>',
        _text(x + 8, y + 18, panel.title),
    ]
    if panel.reading:
        parts.append(_text(x + width / 2, y + height / 2 + 20, panel.reading, COLOURS[0], 28, "middle"))
    elif panel.series:
        parts += _lines(panel.series, x, y, width, height)
    return "\n".join(parts)


def _lines(series: Sequence[Series], x: float, y: float, width: float, height: float) -> list[str]:
    """Axes, the lines, and their names below."""
    rows = -(-len(series) // 2)
    left, top = x + PAD_LEFT, y + PAD_TOP
    right, bottom = x + width - 10, y + height - 22 - rows * ROW_H
    first = min(point[0] for one in series for point in one.points)
    last = max(point[0] for one in series for point in one.points)
    most = max(max(point[1] for one in series for point in one.points), 1e-9) * 1.1

    def place(at: float, value: float) -> str:
        across = left + (at - first) / max(last - first, 1e-9) * (right - left)
        return f"{across:.1f},{bottom - value / most * (bottom - top):.1f}"

    parts = []
    for part in (0, 0.5, 1):
        level = bottom - part * (bottom - top)
        parts.append(f'<path d="M{left} {level:.1f}H{right}" stroke="{FAINT}" stroke-opacity=".35"/>')
        parts.append(_text(left - 6, level + 4, f"{part * most:.3g}", FAINT, 10, "end"))
    parts.append(_text(left, bottom + 14, "0 s", FAINT, 10))
    parts.append(_text(right, bottom + 14, f"{last - first:.0f} s", FAINT, 10, "end"))
    for index, one in enumerate(series):
        colour = COLOURS[index % len(COLOURS)]
        points = " ".join(place(*point) for point in one.points)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        across, down = left + (index % 2) * (right - left) / 2, bottom + 30 + index // 2 * ROW_H
        parts.append(f'<rect x="{across:.0f}" y="{down - 8:.0f}" width="10" height="3" fill="{colour}"/>')
        parts.append(_text(across + 14, down - 3, one.name, INK, 10))
    return parts
