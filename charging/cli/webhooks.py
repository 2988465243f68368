"""``charging webhook …``: programs of yours that are told what happens."""

from __future__ import annotations

import asyncio
import sys

import typer

from charging.cli.client import Document, connected, path
from charging.cli.failure import Refusal
from charging.cli.options import JSON_OPTION, options
from charging.cli.output import Column, show_one, show_rows
from charging.clock import SystemClock
from charging.errors import ChargingError
from charging.settings import Settings, webhook_secret
from charging.unguessable import token
from charging.web.signed_post import Failure, Hook, Receiver, sample

webhook = typer.Typer(help="Programs of yours that are told what happens.", no_args_is_help=True, rich_markup_mode=None)

COLUMNS = (
    Column("name", "name"),
    Column("told", "told up to"),
    Column("behind", "behind since"),
    Column("off", "off"),
    Column("in_settings", "in settings"),
    Column("waiting", "waiting", right=True),
    Column("dead", "dead", right=True),
    Column("why", "last failure"),
    Column("next", "next try"),
)
LETTER_COLUMNS = (
    Column("event", "event"),
    Column("at", "at"),
    Column("account", "account"),
    Column("type", "type"),
    Column("rest", "and all that followed"),
    Column("tries", "tries", right=True),
    Column("next", "next try"),
    Column("why", "why"),
)
NAME = typer.Argument(help="Its name in the settings.", show_default=False)


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(webhook, name="webhook")


@webhook.command("list")
def list_webhooks(ctx: typer.Context, as_json: bool = JSON_OPTION) -> None:
    """How far each has been sent, and since when it is behind. Also how many events it has not taken; those that wait
    while it is away are not counted. If the last try has failed: why, and when the next is. `charging webhook test`
    tries now."""
    with connected(options(ctx).settings()) as client:
        rows = client.get("/webhooks")["items"]
    show_rows(rows, COLUMNS, as_json=as_json, none="the settings have no webhooks")
    for row in rows:
        if row["behind"] and not (row["why"] or row["off"]) and row["in_settings"] and not as_json:
            sys.stdout.write(f"{row['name']} is behind; why: charging webhook test {row['name']}\n")


@webhook.command("letters")
def list_letters(ctx: typer.Context, name: str = NAME, as_json: bool = JSON_OPTION) -> None:
    """Events that it has not taken, in their order. Without a next try: dead, until you say `resend`."""
    with connected(options(ctx).settings()) as client:
        rows = list(client.items(path("webhooks", name, "letters")))
    show_rows(
        rows,
        LETTER_COLUMNS,
        as_json=as_json,
        none="it has refused nothing; what it was not told yet: charging webhook list",
    )


@webhook.command("resend")
def resend(ctx: typer.Context, name: str = NAME, as_json: bool = JSON_OPTION) -> None:
    """Try again now what it has not taken. Dead letters too; and send again to one that has answered 410."""
    show_one(
        {"webhook": name, "letters": _page_by_page(ctx, "POST", path("webhooks", name, "resends"))}, as_json=as_json
    )


@webhook.command("forget")
def forget(ctx: typer.Context, name: str = NAME, as_json: bool = JSON_OPTION) -> None:
    """Drop what is kept of one that has left the settings. What it has not taken, and how far it was sent."""
    show_one({"webhook": name, "letters": _page_by_page(ctx, "DELETE", path("webhooks", name))}, as_json=as_json)


def _page_by_page(ctx: typer.Context, method: str, place: str) -> int:
    """Order something for all letters, some at a time; how many."""
    count, cursor = 0, None
    with connected(options(ctx).settings()) as client:
        while True:
            page = client.send(method, place, params={"cursor": cursor})
            count, cursor = count + int(page["count"]), page["next"]
            if cursor is None:
                return count


@webhook.command("drop")
def drop(
    ctx: typer.Context,
    name: str = NAME,
    event: str | None = typer.Argument(None, help="Of the letter.", show_default=False),
    account: str | None = typer.Option(None, "--account", help="All letters of an account.", show_default=False),
    as_json: bool = JSON_OPTION,
) -> None:
    """Give a letter up for good, or all of an account. The later ones of its account then go on."""
    if (event is None) == (account is None):
        raise typer.BadParameter("name the EVENT of a letter, or an account by --account")
    with connected(options(ctx).settings()) as client:
        if event is not None:
            show_one(client.send("DELETE", path("webhooks", name, "letters", event)), as_json=as_json)
            return
        given_up = [
            one["event"] for one in client.items(path("webhooks", name, "letters")) if one["account"] == account
        ]
        for one in given_up:
            client.send("DELETE", path("webhooks", name, "letters", one), params={"rest": "true"})
    show_one({"webhook": name, "account": account, "letters": len(given_up)}, as_json=as_json)


@webhook.command("test")
def try_it(ctx: typer.Context, name: str = NAME, as_json: bool = JSON_OPTION) -> None:
    """Post a signed webhook.test from here. It says what became of it."""
    settings = options(ctx).settings()
    hook = _hook(settings, name)
    failure = asyncio.run(_posted(hook, sandbox=settings.sandbox))
    if failure is not None:
        raise Refusal(f"{hook.settings.url}: {failure.why}")
    told: Document = {"webhook": name, "url": hook.settings.url, "result": "taken"}
    show_one(told, as_json=as_json)


def _hook(settings: Settings, name: str) -> Hook:
    for one in settings.webhooks:
        if one.name == name:
            secret = webhook_secret(one)
            assert secret is not None, "the settings see to it that one is named"
            try:
                return Hook.of(one, secret.get_secret_value())
            except ValueError as error:
                raise ChargingError(f"webhook {name}: found another secret, expected {error}") from error
    raise Refusal(f"the settings have no webhook {name[:40]!r}")


async def _posted(hook: Hook, *, sandbox: bool) -> Failure | None:
    clock = SystemClock()
    receiver = Receiver(hook, clock)
    try:
        return await receiver.post(f"evt_test_{token(8)}", sample(clock.now().wall_us, sandbox=sandbox))
    finally:
        await receiver.close()
