"""Reading a tariff at a terminal: a bar for each rate deck, because a carrier's list of 200,000 rows takes seconds."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from charging.tariff.deck_file import DeckFile, read_deck
from charging.tariff.file import load_tariff
from charging.tariff.tariff import Tariff


def load_with_bars(path: Path, console: Console | None = None) -> Tariff:
    """The tariff at ``path``; bars on the standard error where that is a terminal. Raises ConfigError."""
    console = console or Console(stderr=True)
    columns = (TextColumn("reading {task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:

        def read(deck: Path) -> DeckFile:
            task = progress.add_task(deck.name)
            return read_deck(deck, lambda done, total: progress.update(task, completed=done, total=total))

        return load_tariff(path, deck_reader=read)
