"""``charging check``: is everything there that the daemon needs; with ``--live`` also in the running Asterisk."""

from __future__ import annotations

import re
import sys

import typer

from charging.cli.check_results import CheckResult, Grade
from charging.cli.options import JSON_OPTION, options
from charging.cli.output import show_json


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("check")(check)


def check(
    ctx: typer.Context,
    live: bool = typer.Option(False, "--live", help="Also log into Asterisk and look at what it has."),
    call: str | None = typer.Option(
        None,
        "--call",
        metavar="NUMBER",
        help="Also rehearse a call to this number, which no customer has, as your carrier writes it: no trunk, no "
        "charge, about a minute. Looks as --live does first.",
        show_default=False,
    ),
    context: str = typer.Option(
        "charging-incoming", "--context", help="Where your carrier's calls arrive in your dialplan, with --call."
    ),
    target: str | None = typer.Option(
        None,
        "--target",
        help="Price the call as one to this number, with --call; it is not dialled.",
        show_default=False,
    ),
    as_json: bool = JSON_OPTION,
) -> None:
    """Look for what is wrong before calls meet it. Settings, tariff, prompts, mails, ledger: a finding a line. Exit 1
    if there is a problem."""
    from charging.cli.check_files import Wanted, findings  # all of the engine, for this command alone

    if call is not None and not re.fullmatch(r"[+]?[0-9]{3,15}", call):
        raise typer.BadParameter(f"--call: found {call!r}, expected a telephone number, such as +31850000001")
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,79}", context):
        raise typer.BadParameter(f"--context: found {context!r}, expected the name of a dialplan context")
    wanted = None if call is None else Wanted(call, context, target)
    found: list[CheckResult] = []
    for finding in findings(options(ctx).config, live, wanted):
        found.append(finding)
        if not as_json:
            sys.stdout.write(f"{finding}\n")
    if as_json:
        show_json([finding.to_json() for finding in found])
    if any(finding.grade is Grade.PROBLEM for finding in found):
        raise typer.Exit(1)
