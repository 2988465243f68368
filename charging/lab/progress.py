"""How an installation shows that it moves: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

PLAIN_STEPS = 10
"""Without a terminal a line is printed for each tenth."""


@dataclass(frozen=True, slots=True)
class InstallProgress:
    """A step of an installation."""

    text: str
    done: float
    """0.0 to 1.0, a guess."""


@contextlib.contextmanager
def show_progress() -> Iterator[Callable[[InstallProgress], None]]:
    """Where progress goes: standard error."""
    console = Console(stderr=True)
    if console.is_terminal:
        with _bar(console) as say:
            yield say
    else:
        yield _PlainLines()


@contextlib.contextmanager
def _bar(console: Console) -> Iterator[Callable[[InstallProgress], None]]:
    columns = (
        TextColumn("Installing a private Asterisk"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=1.0)

        def say(progress: InstallProgress) -> None:
            bar.update(task, completed=progress.done, description=progress.text)

        yield say


class _PlainLines:
    def __init__(self) -> None:
        self._last = -1

    def __call__(self, progress: InstallProgress) -> None:
        step = int(progress.done * PLAIN_STEPS)
        if step > self._last:
            self._last = step
            print(f"private Asterisk: {progress.done:4.0%} {progress.text}", file=sys.stderr, flush=True)
