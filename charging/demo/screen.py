"""Where the demo speaks: a terminal with colours and a live line, or plain lines for whoever reads a pipe."""

from __future__ import annotations

import contextlib
import sys
import textwrap
from collections.abc import Callable, Iterator

from rich.console import Console, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

WIDTH_MAX = 100
"""Longer lines are hard to read, also where the window is wide."""
PLAIN_WIDTH = 100
INDENT = 2


class Screen:
    """Chapters, sentences, tables, and one live line below them."""

    def __init__(self, *, record: bool = False) -> None:
        """``record``: keep what is shown, for :meth:`lines_shown`."""
        # The file is named, for commands run by the demo have the standard output turned to their own for a moment.
        out = sys.stdout
        measured = Console(file=out)
        width = min(measured.width, WIDTH_MAX) if out.isatty() else PLAIN_WIDTH
        self._console = Console(file=out, width=width, markup=False, emoji=False, highlight=False, record=record)
        self.is_live = self._console.is_terminal

    def lines_shown(self) -> list[str]:
        """Everything that was shown, with its colours as a terminal gets them (ANSI)."""
        return self._console.export_text(clear=False, styles=True).splitlines()

    def chapter(self, title: str) -> None:
        self._console.print()
        if self.is_live:
            self._console.print(Rule(Text(title, style="bold"), align="left", style="dim"))
        else:
            self._console.print(f"== {title}")

    def say(self, text: str, style: str = "") -> None:
        """A paragraph, indented, broken at words; a line that fits keeps its spaces."""
        width = self._console.width - INDENT
        for line in [text] if len(text) <= width else textwrap.wrap(text, width, break_on_hyphens=False):
            self._console.print(Text(" " * INDENT + line, style=style), soft_wrap=True)

    def check(self, holds: bool, text: str) -> None:
        """Something that was promised, and whether it is so."""
        mark, style = ("✓ ", "green") if holds else ("✗ NOT SO: ", "bold red")
        row = Table.grid()
        row.add_row(Text(mark, style=style), Text(text, style=style))
        self._console.print(_indented(row))

    def blank(self) -> None:
        self._console.print()

    def command(self, line: str, output: str) -> None:
        """A command of the product, and what it said."""
        self._console.print(_indented(Text(f"$ {line}", style="cyan")))
        for one in output.splitlines():
            self._console.print(_indented(Text(one, style="dim"), 4))

    def table(self, table: Table) -> None:
        self._console.print(_indented(table))

    @contextlib.contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Something that takes seconds."""
        if self.is_live:
            with self._console.status(Text(text)):
                yield
        else:
            self.say(f"{text} …")
            yield

    @contextlib.contextmanager
    def live_line(self) -> Iterator[Callable[[Text], None]]:
        """A line below everything that is said meanwhile; nowhere without a terminal."""
        if not self.is_live:
            yield lambda _text: None
            return
        with Live(
            console=self._console, transient=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        ) as live:
            yield lambda text: live.update(Padding(text, (1, 0, 0, 2)), refresh=True)


def _indented(what: RenderableType, columns: int = INDENT) -> Padding:
    return Padding(what, (0, 0, 0, columns), expand=False)


def bare_table(*columns: tuple[str, str]) -> Table:
    """A table without lines; each column a title and where it is aligned."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for title, side in columns:
        table.add_column(title, justify="right" if side == "right" else "left", no_wrap=side == "right")
    return table
