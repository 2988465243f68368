"""``charging console …``: who may log in to the console."""

from __future__ import annotations

import sys

import typer

from charging.cli.client import connected, path
from charging.cli.failure import Refusal
from charging.cli.options import JSON_OPTION, options
from charging.cli.output import Column, show_one, show_rows
from charging.service.operators import Role
from charging.service.refusal import Refused

console = typer.Typer(help="The operator's console in a browser.", no_args_is_help=True, rich_markup_mode=None)
user = typer.Typer(help="Who may log in to it.", no_args_is_help=True, rich_markup_mode=None)
console.add_typer(user, name="user")

COLUMNS = (Column("name", "name"), Column("role", "role"), Column("created", "created"), Column("changed", "changed"))
NAME = typer.Argument(help="Small letters, digits, dots, dashes.", show_default=False)
ROLE_HELP = (
    "view: look at everything; support: top up, hang up, suspend too; admin: correct credit, edit the tariff too."
)

FIRST_ROLE = typer.Option(Role.VIEW, "--role", help=ROLE_HELP, case_sensitive=False)
OTHER_ROLE = typer.Option(None, "--role", help=ROLE_HELP, case_sensitive=False, show_default=False)


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(console, name="console")


@user.command("add")
def add(
    ctx: typer.Context,
    name: str = NAME,
    role: Role = FIRST_ROLE,
    as_json: bool = JSON_OPTION,
) -> None:
    """Let someone in. The password is asked for, or read as a line of the standard input; only its hash is stored."""
    body = {"name": name, "role": role, "password_hash": _password_hash()}
    with connected(options(ctx).settings()) as client:
        show_one(client.send("POST", "/operators", body), as_json=as_json)


@user.command("list")
def list_users(ctx: typer.Context, as_json: bool = JSON_OPTION) -> None:
    """Everyone who may log in."""
    with connected(options(ctx).settings()) as client:
        show_rows(client.get("/operators")["items"], COLUMNS, as_json=as_json, none="nobody may log in yet")


@user.command("set")
def set_user(
    ctx: typer.Context,
    name: str = NAME,
    role: Role | None = OTHER_ROLE,
    password: bool = typer.Option(False, "--password", help="Ask for another password."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Give another role or password. Where the person is logged in, that ends."""
    if role is None and not password:
        raise typer.BadParameter("name --role or --password")
    body: dict[str, object] = {} if role is None else {"role": role}
    if password:
        body["password_hash"] = _password_hash()
    with connected(options(ctx).settings()) as client:
        show_one(client.send("PATCH", path("operators", name), body), as_json=as_json)


@user.command("remove")
def remove(ctx: typer.Context, name: str = NAME, as_json: bool = JSON_OPTION) -> None:
    """Let someone in no more, at once."""
    with connected(options(ctx).settings()) as client:
        show_one(client.send("DELETE", path("operators", name)), as_json=as_json)


def _password_hash() -> str:
    from charging.service.passwords import hashed

    if sys.stdin.isatty():
        typed: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        typed = sys.stdin.readline().rstrip("\r\n")
    made = hashed(typed)
    if isinstance(made, Refused):
        raise Refusal(f"{made.message}; {made.advice}")
    return made
