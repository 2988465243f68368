"""``charging top-up`` and ``charging subscription``: what customers pay."""

from __future__ import annotations

import typer

from charging.cli.client import connected, path
from charging.cli.failure import say
from charging.cli.options import ACCOUNT, JSON_OPTION, KEY, account_first, new_key, options
from charging.cli.output import show_one
from charging.web import forms

PAYMENT = typer.Option(
    "", "--id", help="Your key for this payment: the same one told again changes nothing.", show_default=False
)

subscription = typer.Typer(help="Paid subscriptions.", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("top-up", context_settings={"ignore_unknown_options": True})(top_up)
    app.add_typer(subscription, name="subscription")


def top_up(
    ctx: typer.Context,
    account: str = ACCOUNT,
    amount: str = typer.Argument(help="Euro, for example 25 or 25.00.", show_default=False),
    key: str = KEY,
    as_json: bool = JSON_OPTION,
) -> None:
    """Add bought credit; running calls can use it at once."""
    account_first(account, amount, forms.AMOUNT, "charging top-up ACCOUNT AMOUNT")
    with connected(options(ctx).settings()) as client:
        answer = client.send("POST", path("accounts", account, "top-ups"), {"amount": amount}, key=key or new_key())
        show_one(answer, as_json=as_json)


@subscription.command("paid")
def paid(
    ctx: typer.Context,
    account: str = ACCOUNT,
    until: str | None = typer.Option(
        None,
        "--until",
        help="The last paid day, for example 2027-01-31; left out: a month more (name the payment by --id).",
        show_default=False,
    ),
    key: str = PAYMENT,
    as_json: bool = JSON_OPTION,
) -> None:
    """Record that the subscription is paid. Name the period, or the payment."""
    if until is None and not key:
        raise typer.BadParameter("name the period by --until, or the payment by --id, so that it is recorded once")
    with connected(options(ctx).settings()) as client:
        where = path("accounts", account, "subscription-payments")
        answer = client.send("POST", where, {"until": until}, key=key or new_key())
        for warning in answer["warnings"]:
            say(f"warning: {warning}")
        show_one(answer, as_json=as_json)


@subscription.command("correct")
def correct(
    ctx: typer.Context,
    account: str = ACCOUNT,
    until: str = typer.Option(..., "--until", help="The last paid day, also an earlier one.", show_default=False),
    key: str = KEY,
    as_json: bool = JSON_OPTION,
) -> None:
    """Put the end of what is paid right; no payment is recorded."""
    with connected(options(ctx).settings()) as client:
        where = path("accounts", account, "subscription-corrections")
        show_one(client.send("POST", where, {"until": until}, key=key or new_key()), as_json=as_json)


@subscription.callback()
def _group() -> None:
    """Paid subscriptions."""
