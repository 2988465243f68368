"""``charging number …``: what callers dial, and where it goes."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import typer

from charging.cli.accounts import given
from charging.cli.client import connected, path
from charging.cli.failure import say
from charging.cli.options import JSON_OPTION, account_first, options
from charging.cli.output import Column, show_one, show_rows
from charging.web import forms

number = typer.Typer(help="Numbers: what callers dial, and where it goes.", no_args_is_help=True, rich_markup_mode=None)

NUMBER = typer.Argument(help="E.164 (+31…) or as dialled at home.", show_default=False)
FORWARD_TO = typer.Option(None, "--forward-to", help="Where calls go; '' for nowhere.", show_default=False)
MAILBOX = typer.Option(None, "--mailbox", help="Its voicemail box; '' for its digits.", show_default=False)


class PaidVoicemail(StrEnum):
    """R13's property of the number."""

    YES = "yes"
    NO = "no"
    PLAN = "plan"

    @property
    def value_sent(self) -> bool | None:
        return None if self is PaidVoicemail.PLAN else self is PaidVoicemail.YES


PAID_VOICEMAIL = typer.Option(
    None, "--paid-voicemail", help="Whether its voicemail is paid; plan: as the plan says.", show_default=False
)
COLUMNS = (
    Column("number", "number"),
    Column("account", "account"),
    Column("forward_to", "forwards to"),
    Column("paid_voicemail", "paid voicemail"),
    Column("mailbox", "mailbox"),
)


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(number, name="number")


def _show(answer: dict[str, Any], as_json: bool) -> None:
    for warning in answer["warnings"]:
        say(f"warning: {warning}")
    show_one(answer if as_json else _told(answer), as_json=as_json)


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """A number for a person, in the words of the options."""
    return {**row, "paid_voicemail": "as the plan"} if row["paid_voicemail"] is None else row


def _changes(forward_to: str | None, paid_voicemail: PaidVoicemail | None, mailbox: str | None) -> dict[str, Any]:
    changes = given(forward_to=forward_to, mailbox=mailbox)
    if paid_voicemail is not None:
        changes["paid_voicemail"] = paid_voicemail.value_sent
    return changes


@number.command("add")
def add(
    ctx: typer.Context,
    account: str = typer.Argument(help="Whose it is.", show_default=False),
    number: str = NUMBER,
    forward_to: str | None = FORWARD_TO,
    paid_voicemail: PaidVoicemail | None = PAID_VOICEMAIL,
    mailbox: str | None = MAILBOX,
    as_json: bool = JSON_OPTION,
) -> None:
    """Give a number to an account."""
    account_first(account, number, forms.NUMBER, "charging number add ACCOUNT NUMBER")
    body = {"account": account, "number": number, **_changes(forward_to, paid_voicemail, mailbox)}
    with connected(options(ctx).settings()) as client:
        _show(client.send("POST", "/numbers", body), as_json)


@number.command("list")
def list_numbers(
    ctx: typer.Context,
    account: str | None = typer.Option(None, "--account", help="Only this account's.", show_default=False),
    as_json: bool = JSON_OPTION,
) -> None:
    """Every number."""
    with connected(options(ctx).settings()) as client:
        rows = client.items("/numbers", {"account": account})
        shown = rows if as_json else map(_told, rows)
        show_rows(shown, COLUMNS, as_json=as_json, none="there is no number yet")


@number.command("set")
def change(
    ctx: typer.Context,
    number: str = NUMBER,
    forward_to: str | None = FORWARD_TO,
    paid_voicemail: PaidVoicemail | None = PAID_VOICEMAIL,
    mailbox: str | None = MAILBOX,
    as_json: bool = JSON_OPTION,
) -> None:
    """Change where a number forwards to, or its voicemail."""
    changes = _changes(forward_to, paid_voicemail, mailbox)
    if not changes:
        raise typer.BadParameter("name something to change: --forward-to, --paid-voicemail or --mailbox")
    with connected(options(ctx).settings()) as client:
        _show(client.send("PATCH", path("numbers", number), changes), as_json)


@number.command("remove")
def remove(ctx: typer.Context, number: str = NUMBER, as_json: bool = JSON_OPTION) -> None:
    """Take a number out of service. The history of its calls stays."""
    with connected(options(ctx).settings()) as client:
        _show(client.send("DELETE", path("numbers", number)), as_json)
