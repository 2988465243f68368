"""``charging account import``: accounts and numbers from a CSV file."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from charging.cli.client import Client, Document, Params, connected
from charging.cli.failure import Refusal
from charging.cli.options import JSON_OPTION, options
from charging.cli.output import show_json
from charging.errors import ConfigError, Problem

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

FILE = typer.Argument(help="CSV: account, plan[, language, email, number, forward_to, …].", show_default=False)


def import_accounts(
    ctx: typer.Context,
    file: Path = FILE,
    dry_run: bool = typer.Option(False, "--dry-run", help="Check everything and write nothing."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Make accounts and numbers from a CSV file. Nothing is written if any line is wrong."""
    settings = options(ctx).settings()
    try:
        data = file.read_bytes()
    except OSError as error:
        raise Refusal(f"{file}: {error.strerror or error}; name a CSV file that can be read") from None
    params: Params = {"file": str(file)[-500:]}
    with connected(settings) as client, _bar() as bar:
        done = _Import(client, params, bar, bar.add_task("checking", total=None))
        imported = done.tried(data)
        if not dry_run:
            done.carry_out(data)
    _show({**imported, "written": not dry_run}, done.warnings, as_json)


@dataclass(slots=True)
class _Import:
    """All of the file is checked by this process, then written in parts: a daemon decides calls meanwhile."""

    client: Client
    params: Params
    bar: Progress
    task: TaskID
    warnings: list[Document] = field(default_factory=list)

    def tried(self, data: bytes) -> Document:
        """What is made of the file. Raises ConfigError with every problem in it."""
        problems: list[Problem] = []
        end: Document = {}
        for line in self.client.lines(
            "/imports/accounts", "POST", params={**self.params, "dry_run": "true"}, content=data
        ):
            if "progress" in line:
                step = line["progress"]
                self.bar.update(self.task, description=step["phase"], completed=step["done"], total=step["of"])
            elif "problem" in line:
                problems.append(Problem(**line["problem"]))
            elif "warning" in line:
                self.warnings.append(line["warning"])
            else:
                end = line
        if problems:
            raise ConfigError(problems)
        return _imported(end)

    def carry_out(self, data: bytes) -> None:
        """Write it. Raises ConfigError where someone else has made an account or a number meanwhile."""
        from charging.service.import_file import parts  # what reads files: only where there is something to write

        every = list(parts(data))
        self.bar.update(self.task, description="writing", completed=0, total=sum(rows for rows, _ in every))
        for rows, part in every:
            lines = list(self.client.lines("/imports/accounts", "POST", params=self.params, content=part))
            if problems := [Problem(**{**one["problem"], "line": None}) for one in lines if "problem" in one]:
                raise ConfigError(problems)
            _imported(lines[-1] if lines else {})
            self.bar.advance(self.task, rows)


def _imported(end: Document) -> Document:
    if "imported" not in end:
        raise Refusal(f"the import was broken off: {end.get('error', 'no answer')}; repeat it")
    found: Document = end["imported"]
    return found


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
