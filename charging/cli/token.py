"""``charging token …``: who may ask the HTTP API."""

from __future__ import annotations

import typer

from charging.cli.client import connected, path
from charging.cli.options import JSON_OPTION, options
from charging.cli.output import Column, show_one, show_rows
from charging.service.tokens import Scope

token = typer.Typer(help="Bearer tokens of the HTTP API.", no_args_is_help=True, rich_markup_mode=None)

COLUMNS = (
    Column("id", "id"),
    Column("name", "name"),
    Column("scopes", "scopes"),
    Column("created", "created"),
    Column("account", "account"),
    Column("expires", "expires"),
    Column("amount_max", "at most"),
    Column("last_used", "last used"),
)
SCOPES = typer.Option(
    ..., "--scope", help="What it may do; may be given several times.", case_sensitive=False, show_default=False
)


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(token, name="token")


@token.command("add")
def add(
    ctx: typer.Context,
    name: str = typer.Argument(help="Whose it is, in a few words.", show_default=False),
    scopes: list[Scope] = SCOPES,
    account: str = typer.Option("", "--account", help="The only account that it may ask about.", show_default=False),
    expires: str | None = typer.Option(
        None, "--expires", help="A day (its first moment) or a time.", show_default=False
    ),
    amount_max: str | None = typer.Option(
        None, "--amount-max", help="Euro: the largest top-up or correction at a time.", show_default=False
    ),
    as_json: bool = JSON_OPTION,
) -> None:
    """Make a token. It is shown now and never again: only its hash is stored."""
    with connected(options(ctx).settings()) as client:
        bounds = {"account": account, "expires": expires, "amount_max": amount_max}
        body = {"name": name, "scopes": list(dict.fromkeys(scopes)), **bounds}
        show_one(client.send("POST", "/tokens", body), as_json=as_json)


@token.command("list")
def list_tokens(ctx: typer.Context, as_json: bool = JSON_OPTION) -> None:
    """Every token, without its secret."""
    with connected(options(ctx).settings()) as client:
        rows = client.get("/tokens")["items"]
    shown = rows if as_json else [{**row, "scopes": " ".join(row["scopes"])} for row in rows]
    show_rows(shown, COLUMNS, as_json=as_json, none="there is no token yet")


@token.command("revoke")
def revoke(
    ctx: typer.Context,
    id: str = typer.Argument(help="As `charging token list` shows it.", show_default=False),
    as_json: bool = JSON_OPTION,
) -> None:
    """Forget a token: who has it cannot ask from now on."""
    with connected(options(ctx).settings()) as client:
        show_one(client.send("DELETE", path("tokens", id)), as_json=as_json)
