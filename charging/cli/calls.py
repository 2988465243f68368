"""``charging calls``, ``hangup`` and ``cdr``: calls that run, and calls that are over."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from itertools import count
from typing import Any

import typer
from rich.live import Live

from charging.cli.client import Client, connected, path
from charging.cli.decided import show_decisions
from charging.cli.options import JSON_OPTION, options
from charging.cli.output import Column, console, show_csv, show_json, show_one, show_rows, table

cdr = typer.Typer(help="Calls that are over.", no_args_is_help=True, rich_markup_mode=None)

CALLS_ROWS = 100
"""Of a page of running calls: the process that decides them answers."""

COLUMNS = (
    Column("session", "session"),
    Column("account", "account"),
    Column("number", "number", spare=3),
    Column("target", "target", spare=4),
    Column("state", "state"),
    Column("elapsed_s", "seconds", right=True),
    Column("cost", "cost €", right=True),
    Column("free_seconds", "free s", right=True, spare=2),
    Column("covered_until", "covered until", spare=1),
    Column("watched", "watched", spare=5),
)
CDR_COLUMNS = (
    Column("ended", "ended"),
    Column("account", "account"),
    Column("number", "number", spare=2),
    Column("caller", "caller", spare=1),
    Column("target", "target"),
    Column("charged_s", "seconds", right=True),
    Column("cost", "cost €", right=True),
    Column("dial_status", "status", spare=3),
    Column("session", "session", spare=4),
)
CSV_COLUMNS = (
    "session account number caller withheld target plan destination switch reason dial_status hangup_reason set_up "
    "answered ended used_ms billed_s charged_s overrun_s proof free_seconds cost warnings tariff_revision "
    "tariff_digest cut service messages pages document_pages page_price unpaid_s free_messages free_pages packs "
    "promotional status dialled document document_digest tariff"
).split()


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("calls")(calls)
    app.command("hangup")(hangup)
    app.add_typer(cdr, name="cdr")


def calls(
    ctx: typer.Context,
    account: str | None = typer.Option(None, "--account", help="Only this account's.", show_default=False),
    watch: bool = typer.Option(False, "--watch", "-w", help="Go on showing them, until Ctrl-C."),
    interval: float = typer.Option(1.0, "--interval", min=0.1, max=3600, help="Seconds between looks, with --watch."),
    looks: int = typer.Option(0, "--count", min=0, help="End after so many looks, with --watch; 0: never."),
    decided: bool = typer.Option(
        False, "--decided", help="Instead: why calls were forwarded or not, refused ones too."
    ),
    number: str | None = typer.Option(
        None, "--number", help="Only calls to this number, with --decided.", show_default=False
    ),
    at: str | None = typer.Option(
        None, "--at", help="About this time, such as 14:03, with --decided.", show_default=False
    ),
    since: str | None = typer.Option(None, "--since", help="A day or time, with --decided.", show_default=False),
    until: str | None = typer.Option(
        None, "--until", help="A day or time: before it, with --decided.", show_default=False
    ),
    as_json: bool = JSON_OPTION,
) -> None:
    """Calls that run now. How long, what they have cost so far, how far they are paid."""
    filters = {"number": number, "at": at, "since": since, "until": until}
    if decided and watch:
        raise typer.BadParameter("choose one of --decided and --watch")
    if not decided and (given := [f"--{name}" for name, value in filters.items() if value is not None]):
        raise typer.BadParameter(f"{', '.join(given)}: only with --decided")
    with connected(options(ctx).settings()) as client:
        if decided:
            show_decisions(client.items("/decisions", {"account": account, **filters}), as_json=as_json)
            return

        def look() -> list[dict[str, Any]]:
            return list(client.items("/calls", {"account": account}, page_rows=CALLS_ROWS))

        if not watch:
            show_rows(look(), COLUMNS, as_json=as_json, none="no call is running")
        elif as_json or not sys.stdout.isatty():
            _print_again(client, look, interval, looks, as_json)
        else:
            _show_live(client, look, interval, looks)


def _print_again(
    client: Client, look: Callable[[], list[dict[str, Any]]], interval: float, looks: int, as_json: bool
) -> None:
    """Print one look after the other: a JSON line each for a pipe, or a table each."""
    for done in count(1):
        rows = look()
        if as_json:
            sys.stdout.write(json.dumps(rows, ensure_ascii=False) + "\n")
        else:
            console().print(table(rows, COLUMNS) if rows else "no call is running")
        sys.stdout.flush()
        if done == looks:
            return
        client.pause(interval)


def _show_live(client: Client, look: Callable[[], list[dict[str, Any]]], interval: float, looks: int) -> None:
    with Live(console=console(), auto_refresh=False) as live:
        for done in count(1):
            rows = look()
            shown = table(rows, COLUMNS)
            shown.caption = f"{len(rows)} calls" if client.daemon else "no daemon runs: as last stored"
            live.update(shown, refresh=True)
            if done == looks:
                return
            client.pause(interval)


def hangup(
    ctx: typer.Context,
    session: str = typer.Argument(help="As `charging calls` shows it.", show_default=False),
    reason: str = typer.Option("operator", "--reason", help="Why, in a line; it stands in the CDR."),
    as_json: bool = JSON_OPTION,
) -> None:
    """End a call."""
    with connected(options(ctx).settings()) as client:
        show_one(client.send("DELETE", path("calls", session), params={"reason": reason}), as_json=as_json)


@cdr.command("list")
def list_cdrs(
    ctx: typer.Context,
    account: str | None = typer.Option(None, "--account", help="Only this account's.", show_default=False),
    number: str | None = typer.Option(None, "--number", help="Only this subscriber's number.", show_default=False),
    caller: str | None = typer.Option(None, "--caller", help="Only from this caller.", show_default=False),
    service: str | None = typer.Option(None, "--service", help="forward, voicemail or fax.", show_default=False),
    since: str | None = typer.Option(None, "--since", help="A day or time: ended then or later.", show_default=False),
    until: str | None = typer.Option(None, "--until", help="A day or time: ended before it.", show_default=False),
    limit: int | None = typer.Option(None, "--limit", min=1, help="At most so many.", show_default=False),
    as_csv: bool = typer.Option(False, "--csv", help="As comma-separated values, every field."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Calls that are over, oldest first."""
    if as_csv and as_json:
        raise typer.BadParameter("choose one of --csv and --json")
    with connected(options(ctx).settings()) as client:
        sought = {"account": account, "number": number, "caller": caller, "service": service}
        rows = client.items("/cdrs", {**sought, "since": since, "until": until}, limit)
        if as_csv:
            show_csv(rows, CSV_COLUMNS)
        elif as_json:
            show_json(list(rows))
        else:
            show_rows(rows, CDR_COLUMNS, as_json=False, none="no call is over yet")


@cdr.callback()
def _group() -> None:
    """Calls that are over."""
