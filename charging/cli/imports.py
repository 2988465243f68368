"""``charging account import``: accounts and numbers from a CSV file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from charging.cli.client import connected
from charging.cli.failure import Refusal
from charging.cli.options import JSON_OPTION, options
from charging.cli.output import show_json
from charging.errors import ConfigError, Problem

if TYPE_CHECKING:
    from rich.progress import Progress

FILE = typer.Argument(help="CSV: account, plan[, language, email, number, forward_to, …].", show_default=False)


def import_accounts(
    ctx: typer.Context,
    file: Path = FILE,
    dry_run: bool = typer.Option(False, "--dry-run", help="Check everything and write nothing."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Make accounts and numbers from a CSV file; nothing is written where any line is wrong."""
    settings = options(ctx).settings()
    try:
        data = file.read_bytes()
    except OSError as error:
        raise Refusal(f"{file}: {error.strerror or error}; name a CSV file that can be read") from None
    params: dict[str, str | int | None] = {
        "file": str(file)[-500:],
        "language": settings.charging.default_language,
        "dry_run": "true" if dry_run else "false",
    }
    problems: list[Problem] = []
    warnings: list[dict[str, Any]] = []
    end: dict[str, Any] = {}
    with connected(settings) as client, _bar() as bar:
        task = bar.add_task("checking", total=None)
        for line in client.lines("/imports/accounts", "POST", params=params, content=data):
            if "progress" in line:
                step = line["progress"]
                bar.update(task, description=step["phase"], completed=step["done"], total=step["of"])
            elif "problem" in line:
                problems.append(Problem(**line["problem"]))
            elif "warning" in line:
                warnings.append(line["warning"])
            else:
                end = line
    if problems:
        raise ConfigError(problems)
    if "imported" not in end:
        raise Refusal(f"the import was broken off: {end.get('error', 'no answer')}; repeat it")
    _show(end["imported"], warnings, as_json)


def _bar() -> Progress:
    """On the terminal's standard error; elsewhere nothing is shown."""
    from rich.console import Console  # what draws bars: only for this command
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(file=sys.stderr)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _show(imported: dict[str, Any], warnings: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        show_json({**imported, "warnings": warnings})
        return
    for one in warnings:
        sys.stderr.write(f"{one['file']}:{one['line']}: warning: {one['number']}: {one['warning']}\n")
    word = "imported" if imported["written"] else "would import"
    sys.stdout.write(
        f"{word} {imported['accounts']} accounts and {imported['numbers']} numbers; "
        f"{imported['known_accounts']} accounts and {imported['known_numbers']} numbers were there already\n"
    )
