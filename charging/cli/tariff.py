"""``charging tariff …``: what things cost."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from charging.cli import tariff_diff
from charging.cli.client import Client, connected, daemon_answers, whoever_types
from charging.cli.failure import Refusal, say
from charging.cli.options import JSON_OPTION, options
from charging.cli.output import show_json, show_one
from charging.errors import ChargingError
from charging.logs import silence_logs

if TYPE_CHECKING:
    from charging.settings import Settings

tariff = typer.Typer(help="Prices and plans.", no_args_is_help=True, rich_markup_mode=None)

NUMBER = typer.Argument(help="Who is called.", show_default=False)
PLAN = typer.Option(None, "--plan", help="Under this plan.", show_default=False)
ACCOUNT = typer.Option(None, "--account", help="For this account.", show_default=False)
AT = typer.Option(None, "--at", help="A day or time; left out: now.", show_default=False)
FREE_SECONDS = typer.Option(None, "--free-seconds", min=0, help="Left in each month.", show_default=False)
CHECKED_FILE = typer.Argument(None, help="Left out: the one that the settings name.", show_default=False)
OTHER_FILE = typer.Option(None, "--file", help="A tariff that is not in force.", show_default=False)


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(tariff, name="tariff")
    tariff_diff.register(tariff)


@tariff.command("check")
def check(
    ctx: typer.Context,
    file: Path | None = CHECKED_FILE,
    as_json: bool = JSON_OPTION,
) -> None:
    """Check a tariff file and its decks. Every problem is a line."""
    from charging.app_surroundings import accepted_of  # loaded only where they are needed
    from charging.cli.decks import load_with_bars
    from charging.clock import SystemClock

    settings = None if file is not None else options(ctx).settings()
    checked = settings.tariff if settings is not None else file
    assert checked is not None, "named, or in the settings"
    found = load_with_bars(checked)
    if settings is not None:
        accepted = accepted_of(settings)
        try:
            verdict = accepted.judge(found, SystemClock().now().wall_us)
            found = replace(verdict.tariff, warnings=(*verdict.doubts, *verdict.tariff.warnings))
        except OSError as error:
            unread = accepted.unread(error, "whether this would count is not known here")
            found = replace(found, warnings=(unread, *found.warnings))
    for warning in found.warnings:
        say(f"warning: {warning}")
    decks = {deck.file: deck.facts() for table in found.tables.values() for deck in table.decks}
    summary = {
        "file": str(checked),
        "revision": found.revision,
        "digest": found.digest,
        "plans": ", ".join(found.plans),
        "destinations": len(found.destinations),
        "warnings": len(found.warnings),
        **{
            f"deck {Path(file).name}": f"{one.rows} rows, {one.prefixes} prefixes, {one.cheapest} to {one.dearest}"
            for file, one in decks.items()
        },
    }
    show_one(summary, as_json=as_json)


@tariff.command("accept")
def accept(
    ctx: typer.Context,
    digest: str = typer.Argument(help="Of the tariff that waits, as `charging tariff check` tells it."),
    reason: str = typer.Option("", "--reason", help="Why it is meant so; for the log."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Let a doubtful edition of a rate deck count. It waits on disk until then; exit 1 if it does not count now."""
    from charging.app_surroundings import accepted_of  # loaded only where they are needed
    from charging.tariff.in_force import accept as accept_here

    settings = options(ctx).settings()
    if daemon_answers(settings.control.socket):
        with connected(settings) as client:
            problems = client.send("POST", "/tariff/accepted", {"digest": digest, "reason": reason})["problems"]
    else:
        silence_logs()
        problems = accept_here(settings.tariff, accepted_of(settings), digest, reason, whoever_types())
        if not problems:
            _note_accepted(settings, digest, reason)
    if problems:
        raise Refusal(*problems)
    show_one({"accepted": digest, "tariff": str(settings.tariff)}, as_json=as_json)


def _note_accepted(settings: Settings, digest: str, reason: str) -> None:
    """For `charging changes`. A ledger that fails takes nothing back of what is done."""
    from charging.cli.in_process import note_accepted  # the whole service

    try:
        note_accepted(settings, digest, reason)
    except ChargingError as error:
        say(f"warning: it counts, and `charging changes` does not say so: {error}")


@tariff.command("quote")
def quote(
    ctx: typer.Context,
    number: str = NUMBER,
    seconds: int = typer.Option(60, "--seconds", "-s", min=0, help="How long the call lasts."),
    pages: int | None = typer.Option(None, "--pages", min=1, help="A fax of so many pages, in the place of a call."),
    plan: str | None = PLAN,
    account: str | None = ACCOUNT,
    at: str | None = AT,
    free_seconds: int | None = FREE_SECONDS,
    file: Path | None = OTHER_FILE,
    as_json: bool = JSON_OPTION,
) -> None:
    """What a call would cost, every step of it. Or a fax, by --pages."""
    asked = _asked(number, plan, account, at, free_seconds)
    with _client(ctx, file, account) as client:
        if pages is None:
            answer = client.get("/quotes", {**asked, "seconds": seconds})
        else:
            del asked["free_seconds"]  # free minutes never pay for a fax (R9)
            answer = client.get("/fax-quotes", {**asked, "pages": pages})
    if as_json:
        show_json(answer)
        return
    if pages is not None:
        paid = answer["pages"] - answer["free_pages"]
        price = f"{paid} × {answer['page_price']} = {answer['total']}"
        free = ", ".join(f"{count} of {name}" for name, count in answer["free"].items())
        price += f", and {answer['free_pages']} free ({free})" if free else ""
        sys.stdout.write(f"a fax to {answer['number']} under {answer['plan']}: {price}, for pages that are delivered\n")
        return
    for line in answer["explanation"]:
        sys.stdout.write(line + "\n")


@tariff.command("limit")
def limit(
    ctx: typer.Context,
    number: str = NUMBER,
    credit: str | None = typer.Argument(None, help="Euro; left out: what the account has.", show_default=False),
    plan: str | None = PLAN,
    account: str | None = ACCOUNT,
    at: str | None = AT,
    free_seconds: int | None = FREE_SECONDS,
    file: Path | None = OTHER_FILE,
    as_json: bool = JSON_OPTION,
) -> None:
    """How long a call could last on this money."""
    asked = _asked(number, plan, account, at, free_seconds)
    with _client(ctx, file, account) as client:
        answer = client.get("/limits", {**asked, "credit": credit})
    if as_json:
        show_json(answer)
        return
    end = f"the plan's longest call is {answer['max_call_s']} s"
    if answer["next_total"] is not None:
        day = ", and the plan's credit a day is used up" if answer["ends"] == "day_limit" else ""
        end = f"one more increment would make it {answer['next_total']}{day}"
    elif answer["ends"] == "max_cost":
        end = "one more increment would be above the maximum, which ends the call"
    elif not answer["seconds"]:
        end = f"such a call would not be forwarded ({answer['ends']})"
    for line in answer["assumes"]:
        sys.stdout.write(line + "\n")
    sys.stdout.write(f"{answer['seconds']} s, for {answer['total']} of credit; {end}\n")


def _asked(
    number: str, plan: str | None, account: str | None, at: str | None, free_seconds: int | None
) -> dict[str, str | int | None]:
    if (plan is None) == (account is None):
        raise typer.BadParameter("name one of --plan and --account")
    return {"number": number, "plan": plan, "account": account, "at": at, "free_seconds": free_seconds}


def _client(ctx: typer.Context, file: Path | None, account: str | None) -> AbstractContextManager[Client]:
    """Without a daemon a plan's price needs no store."""
    from charging.cli.in_process import on_tariff  # the whole service

    if file is not None and account is not None:
        raise typer.BadParameter("--account goes with the tariff in force; name --plan with --file")
    if file is not None:
        return on_tariff(file)
    settings = options(ctx).settings()
    if account is None and not daemon_answers(settings.control.socket):
        return on_tariff(settings)
    return connected(settings)
