"""``charging payment …``: what customers buy on their page."""

from __future__ import annotations

import typer

from charging.cli.client import connected
from charging.cli.options import JSON_OPTION, options
from charging.cli.output import Column, show_rows
from charging.service.payments import State

payment = typer.Typer(help="What customers buy on their page.", no_args_is_help=True, rich_markup_mode=None)

COLUMNS = (
    Column("made", "begun"),
    Column("account", "account"),
    Column("amount", "amount", right=True),
    Column("state", "state"),
    Column("provider", "provider"),
    Column("reference", "reference"),
    Column("taken_back", "taken back"),
    Column("why", "why"),
)
STATE = typer.Option(
    None,
    "--state",
    help="open, credited, failed, or stuck: paid, and not credited.",
    case_sensitive=False,
    show_default=False,
)


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(payment, name="payment")


@payment.command("list")
def list_payments(
    ctx: typer.Context,
    account: str = typer.Option("", "--account", help="Of this account alone.", show_default=False),
    state: State | None = STATE,
    as_json: bool = JSON_OPTION,
) -> None:
    """Every payment, oldest first."""
    asked: dict[str, str | int | None] = {"account": account or None, "state": state}
    with connected(options(ctx).settings()) as client:
        rows = list(client.items("/payments", asked))
    show_rows(sorted(rows, key=lambda row: row["made"]), COLUMNS, as_json=as_json, none="nothing was bought yet")
