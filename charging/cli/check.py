"""``charging check``: is everything there that the daemon needs; with ``--live`` also in the running Asterisk."""

from __future__ import annotations

import sys

import typer

from charging.cli.findings import Finding, Grade
from charging.cli.options import JSON_OPTION, options
from charging.cli.output import show_json


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("check")(check)


def check(
    ctx: typer.Context,
    live: bool = typer.Option(False, "--live", help="Also log into Asterisk and look at what it has."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Look for what is wrong: settings, tariff, prompts, mails, ledger. A finding a line; exit 1 for a problem."""
    from charging.cli.check_files import findings  # all of the engine, for this command alone

    found: list[Finding] = []
    for finding in findings(options(ctx).config, live):
        found.append(finding)
        if not as_json:
            sys.stdout.write(f"{finding}\n")
    if as_json:
        show_json([finding.to_json() for finding in found])
    if any(finding.grade is Grade.PROBLEM for finding in found):
        raise typer.Exit(1)
