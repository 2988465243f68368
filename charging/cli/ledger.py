"""``charging ledger …``: does the money add up."""

from __future__ import annotations

import sys

import typer

from charging.cli.client import connected
from charging.cli.failure import Refusal
from charging.cli.options import JSON_OPTION, options
from charging.cli.output import show_json

ledger = typer.Typer(help="The books.", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(ledger, name="ledger")


@ledger.command("verify")
def verify(ctx: typer.Context, as_json: bool = JSON_OPTION) -> None:
    """Recompute every balance from the journal; every finding on a line, exit 1 where there is one."""
    found: list[str] = []
    with connected(options(ctx).settings()) as client:
        for line in client.lines("/ledger/findings"):
            if "error" in line:
                raise Refusal(f"the audit could not be finished: {line['error']}")
            if "finding" in line:
                found.append(line["finding"])
                if not as_json:
                    sys.stdout.write(line["finding"] + "\n")
    if as_json:
        show_json({"findings": found})
    elif not found:
        sys.stdout.write("the books are exact: every balance is the sum of its journal\n")
    if found:
        raise typer.Exit(1)


@ledger.callback()
def _group() -> None:
    """The books."""
