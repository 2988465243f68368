"""``charging fax``: sending documents, and what became of them."""

from __future__ import annotations

from pathlib import Path

import typer

from charging.cli.client import Params, connected, path
from charging.cli.failure import Refusal
from charging.cli.fax_mail import submit_mail
from charging.cli.options import ACCOUNT, JSON_OPTION, KEY, new_key, options
from charging.cli.output import Column, show_one, show_rows

fax = typer.Typer(help="Faxes that subscribers send.", no_args_is_help=True, rich_markup_mode=None)

address = typer.Typer(
    help="An account's own, secret fax address. Whoever mails to it faxes at the account's cost.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

FILE = typer.Argument(help="A PDF or TIFF.", show_default=False)

COLUMNS = (
    Column("set_up", "set up", spare=2),
    Column("state", "state"),
    Column("number", "from", spare=3),
    Column("target", "to"),
    Column("pages_sent", "sent", right=True, spare=1),
    Column("pages", "pages", right=True),
    Column("cost", "cost €", right=True),
    Column("status", "status", spare=4),
    Column("document", "document", spare=5),
    Column("session", "session"),
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    # Further recipients come as arguments that nobody expects: a usage error would have the mail bounced.
    fax.command("submit-mail", context_settings={"allow_extra_args": True})(submit_mail)
    fax.add_typer(address, name="address")
    app.add_typer(fax, name="fax")


@fax.command("send", context_settings={"ignore_unknown_options": True})
def send(
    ctx: typer.Context,
    account: str = ACCOUNT,
    target: str = typer.Argument(help="The fax number.", show_default=False),
    file: Path = FILE,
    number: str = typer.Option("", "--from", help="The sender's number; left out: the account's first."),
    key: str = KEY,
    as_json: bool = JSON_OPTION,
) -> None:
    """Send a document as a fax. It is paid for and dialled at once, or refused with what is missing."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise Refusal(f"{file}: {error.strerror or error}; name a PDF or TIFF that can be read") from None
    params: Params = {"target": target, "number": number, "name": file.name}
    with connected(options(ctx).settings()) as client:
        where = path("accounts", account, "faxes")
        answer = client.send("POST", where, params=params, content=data, key=key or new_key())
        show_one(answer, as_json=as_json)


@fax.command("list")
def list_faxes(ctx: typer.Context, account: str = ACCOUNT, as_json: bool = JSON_OPTION) -> None:
    """An account's faxes."""
    with connected(options(ctx).settings()) as client:
        rows = list(client.items(path("accounts", account, "faxes")))
        show_rows(rows, COLUMNS, as_json=as_json, none="no fax was sent yet")


@fax.command("cancel")
def cancel(
    ctx: typer.Context,
    account: str = ACCOUNT,
    session: str = typer.Argument(help="As listed.", show_default=False),
    as_json: bool = JSON_OPTION,
) -> None:
    """End a fax that is on its way. The page that is being sent is sent to its end, and charged."""
    with connected(options(ctx).settings()) as client:
        show_one(client.send("POST", path("accounts", account, "faxes", session, "cancellation")), as_json=as_json)


@address.command("new")
def new_address(ctx: typer.Context, account: str = ACCOUNT, as_json: bool = JSON_OPTION) -> None:
    """Make the address, or another in its place. It is shown now and never again: only its hash is stored."""
    with connected(options(ctx).settings()) as client:
        show_one(client.send("POST", path("accounts", account, "fax-address")), as_json=as_json)


@address.command("show")
def show_address(ctx: typer.Context, account: str = ACCOUNT, as_json: bool = JSON_OPTION) -> None:
    """Since when the account has one."""
    with connected(options(ctx).settings()) as client:
        show_one(client.get(path("accounts", account, "fax-address")), as_json=as_json)


@address.command("withdraw")
def withdraw_address(ctx: typer.Context, account: str = ACCOUNT, as_json: bool = JSON_OPTION) -> None:
    """Take it back: mails to it are dropped from now on."""
    with connected(options(ctx).settings()) as client:
        show_one(client.send("DELETE", path("accounts", account, "fax-address")), as_json=as_json)


@fax.callback()
def _group() -> None:
    """Faxes that subscribers send."""
