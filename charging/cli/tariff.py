"""``charging tariff …``: what things cost."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from pathlib import Path

import typer

from charging.cli.client import Client, Params, connected, daemon_answers
from charging.cli.failure import say
from charging.cli.options import JSON_OPTION, options
from charging.cli.output import show_json, show_one

tariff = typer.Typer(help="Prices and plans.", no_args_is_help=True, rich_markup_mode=None)

CHECKED_FILE = typer.Argument(None, help="Left out: the one that the settings name.", show_default=False)
OTHER_FILE = typer.Option(None, "--file", help="A tariff that is not in force.", show_default=False)


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(tariff, name="tariff")


@tariff.command("check")
def check(
    ctx: typer.Context,
    file: Path | None = CHECKED_FILE,
    as_json: bool = JSON_OPTION,
) -> None:
    """Check a tariff file and its decks; every problem on a line."""
    from charging.rating.tariff_file import load_tariff  # loaded only where it is needed

    checked = file or options(ctx).settings().tariff
    found = load_tariff(checked)
    for warning in found.warnings:
        say(f"warning: {warning}")
    summary = {
        "file": str(checked),
        "revision": found.revision,
        "digest": found.digest,
        "plans": ", ".join(found.plans),
        "destinations": len(found.destinations),
        "warnings": len(found.warnings),
    }
    show_one(summary, as_json=as_json)


@tariff.command("quote")
def quote(
    ctx: typer.Context,
    number: str = typer.Argument(help="Who is called.", show_default=False),
    seconds: int = typer.Option(60, "--seconds", "-s", min=0, help="How long the call lasts."),
    plan: str | None = typer.Option(None, "--plan", help="Under this plan.", show_default=False),
    account: str | None = typer.Option(None, "--account", help="For this account now.", show_default=False),
    at: str | None = typer.Option(None, "--at", help="A day or time; left out: now.", show_default=False),
    free_seconds: int | None = typer.Option(None, "--free-seconds", min=0, help="Left of the month's free seconds."),
    file: Path | None = OTHER_FILE,
    as_json: bool = JSON_OPTION,
) -> None:
    """What a call would cost, every step of it."""
    if (plan is None) == (account is None):
        raise typer.BadParameter("name one of --plan and --account")
    if file is not None and account is not None:
        raise typer.BadParameter("--account goes with the tariff in force; name --plan with --file")
    asked: Params = {
        "number": number,
        "seconds": seconds,
        "plan": plan,
        "account": account,
        "at": at,
        "free_seconds": free_seconds,
    }
    with _client(ctx, file, account) as client:
        answer = client.get("/quotes", asked)
    if as_json:
        show_json(answer)
    else:
        for line in answer["explanation"]:
            sys.stdout.write(line + "\n")


def _client(ctx: typer.Context, file: Path | None, account: str | None) -> AbstractContextManager[Client]:
    """Without a daemon a plan's price needs no store."""
    from charging.cli.in_process import on_tariff  # the whole service

    if file is not None:
        return on_tariff(file)
    settings = options(ctx).settings()
    if account is None and not daemon_answers(settings.control.socket):
        return on_tariff(settings.tariff)
    return connected(settings)
