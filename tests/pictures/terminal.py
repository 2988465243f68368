"""What ``make demo`` shows, as a picture of a terminal."""

from __future__ import annotations

import io
import re

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from charging.demo import show_demo
from charging.demo.screen import Screen
from charging.ledger.accounts import Language

CHAPTERS = ("The call", "What this showed")
COLUMNS = 100


def demo() -> str:
    """Run the demo; the chapters of its call and of what it showed, as SVG."""
    screen = Screen(record=True)
    assert show_demo(Language.EN, None, screen), "the demo showed something that is not so"
    return svg(chapters(screen.lines_shown()), "make demo")


def chapters(lines: list[str]) -> list[str]:
    """Those of CHAPTERS."""
    kept: list[str] = []
    within = False
    for line in lines:
        if line.startswith("== "):
            within = line.removeprefix("== ") in CHAPTERS
        if within:
            kept.append(line)
    return kept


def svg(lines: list[str], title: str) -> str:
    """Lines with ANSI colours as a window; with the reader's own font, for a picture loads nothing from elsewhere."""
    console = Console(file=io.StringIO(), record=True, width=COLUMNS, force_terminal=True, color_system="truecolor")
    for line in lines:
        console.print(Text.from_ansi(line), soft_wrap=True)
    made = console.export_svg(title=title, theme=MONOKAI, unique_id="demo")
    made = re.sub(r"@font-face \{.*?\}\n", "", made, flags=re.DOTALL)
    return made.replace("Fira Code", "DejaVu Sans Mono, Menlo, Consolas").replace(
        "<!-- Generated with Rich https://www.textualize.io -->\n", ""
    )
