"""``charging account …``: who pays."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

import typer

from charging.cli.client import Client, connected, path
from charging.cli.failure import Refusal, say
from charging.cli.imports import import_accounts
from charging.cli.options import ACCOUNT, JSON_OPTION, KEY, account_first, new_key, options
from charging.cli.output import Column, console, show_json, show_one, show_rows, table
from charging.ledger.accounts import Language
from charging.safe_text import visible_json
from charging.service.page_tokens import Use
from charging.web import forms

account = typer.Typer(help="Accounts: who pays.", no_args_is_help=True, rich_markup_mode=None)

REASON = typer.Option(..., "--reason", help="Why, in a line; it is kept.", show_default=False)
PLAN = typer.Option(None, "--plan", help="A plan of the tariff.", show_default=False)
LANGUAGE = typer.Option(None, "--language", help="Of prompts and mails.", show_default=False)
EMAIL = typer.Option(None, "--email", help="Where notices go; '' for none.", show_default=False)

OUTPUT = typer.Option(None, "--output", "-o", help="A new file, for you alone to read.", metavar="FILE")

COLUMNS = (
    Column("id", "account"),
    Column("plan", "plan"),
    Column("language", "language"),
    Column("email", "e-mail"),
    Column("status", "status"),
    Column("status_reason", "reason"),
    Column("paid_until", "paid until"),
)
JOURNAL_COLUMNS = (
    Column("number", "line", right=True),
    Column("at", "at"),
    Column("kind", "kind"),
    Column("id", "id"),
    Column("legs", "changes"),
    Column("reason", "reason"),
)
CALL_COLUMNS = (
    Column("session", "session"),
    Column("target", "target"),
    Column("elapsed_s", "seconds", right=True),
    Column("cost", "cost", right=True),
    Column("covered_until", "covered until"),
)


def register(app: typer.Typer) -> None:
    """Add the group."""
    account.command("import")(import_accounts)
    app.add_typer(account, name="account")


def given(**values: Any) -> dict[str, Any]:
    """Return the options that were given."""
    return {name: value for name, value in values.items() if value is not None}


@account.command("add")
def add(
    ctx: typer.Context,
    account: str = ACCOUNT,
    plan: str = typer.Option(..., "--plan", help="A plan of the tariff.", show_default=False),
    language: Language | None = LANGUAGE,
    email: str = typer.Option("", "--email", help="Where notices go.", show_default=False),
    as_json: bool = JSON_OPTION,
) -> None:
    """Make an account."""
    with connected(options(ctx).settings()) as client:
        body = {"id": account, "plan": plan, "email": email, **given(language=language)}
        _show_set(client.send("POST", "/accounts", body), as_json)


def _show_set(answer: dict[str, Any], as_json: bool) -> None:
    for warning in answer.get("warnings", ()):  # a daemon of the version before tells none
        say(f"warning: {warning}")
    show_one(answer, as_json=as_json)


@account.command("show")
def show(ctx: typer.Context, account: str = ACCOUNT, as_json: bool = JSON_OPTION) -> None:
    """An account, its balance and its numbers. The balance counts running calls."""
    with connected(options(ctx).settings()) as client:
        shown = client.get(path("accounts", account))
        shown["balance"] = client.get(path("accounts", account, "balance"))
        shown["numbers"] = client.get(path("accounts", account, "numbers"))["items"]
    if as_json:
        show_json(shown)
    else:
        _show_account(shown)


def _show_account(shown: dict[str, Any]) -> None:
    credit, free = shown["balance"]["credit"], shown["balance"]["free_seconds"]
    promotional = (f"€ {one['now']} through {one['last_day']}" for one in shown["balance"]["promotional"])
    packs = (f"{one['now']} s of {one['pack']} through {one['last_day']}" for one in shown["balance"]["packs"])
    pieces = (
        f"{one['left']} {one['kind'].replace('_', ' ')} of {one['pack'] or one['title']} through {one['last_day']}"
        for one in shown["balance"]["pieces"]
    )
    flat = {
        **shown,
        "pieces": ", ".join(pieces) or "none",
        "promotional": ", ".join(promotional) or "none",
        "packs": ", ".join(packs) or "none",
        "credit": f"€ {credit['now']} (posted {credit['posted']}, reserved {credit['reserved']}, "
        f"available {credit['available']})",
        "free_seconds": f"{free['now']} in {free['month']} (reserved {free['reserved']}, left {free['left']})",
    }
    show_one(flat, as_json=False)
    for number in shown["numbers"]:
        console().print(f"number {number['number']} → {number['forward_to'] or 'not forwarded'}")
    if shown["balance"]["calls"]:
        console().print(table(shown["balance"]["calls"], CALL_COLUMNS))


@account.command("list")
def list_accounts(ctx: typer.Context, as_json: bool = JSON_OPTION) -> None:
    """Every account."""
    with connected(options(ctx).settings()) as client:
        show_rows(client.items("/accounts"), COLUMNS, as_json=as_json, none="there is no account yet")


@account.command("set")
def change(
    ctx: typer.Context,
    account: str = ACCOUNT,
    plan: str | None = PLAN,
    language: Language | None = LANGUAGE,
    email: str | None = EMAIL,
    as_json: bool = JSON_OPTION,
) -> None:
    """Change plan, language or mail address."""
    changes = given(plan=plan, language=language, email=email)
    if not changes:
        raise typer.BadParameter("name something to change: --plan, --language or --email")
    with connected(options(ctx).settings()) as client:
        _show_set(client.send("PATCH", path("accounts", account), changes), as_json)


@account.command("suspend")
def suspend(ctx: typer.Context, account: str = ACCOUNT, reason: str = REASON, as_json: bool = JSON_OPTION) -> None:
    """Forward no new calls, until `activate`. Running ones go on while they can pay, `charging hangup` ends one."""
    _set_status(ctx, account, "suspended", reason, as_json)


@account.command("activate")
def activate(
    ctx: typer.Context,
    account: str = ACCOUNT,
    reason: str = typer.Option("", "--reason", help="Why, in a line.", show_default=False),
    as_json: bool = JSON_OPTION,
) -> None:
    """Lift a suspension."""
    _set_status(ctx, account, "active", reason, as_json)


@account.command("close")
def close(ctx: typer.Context, account: str = ACCOUNT, reason: str = REASON, as_json: bool = JSON_OPTION) -> None:
    """Close for good. No refund, and the history stays; running calls as with `suspend`."""
    _set_status(ctx, account, "closed", reason, as_json)


def _set_status(ctx: typer.Context, account: str, status: str, reason: str, as_json: bool) -> None:
    with connected(options(ctx).settings()) as client:
        body = {"status": status, "reason": reason}
        show_one(client.send("PUT", path("accounts", account, "status"), body), as_json=as_json)
        if status != "active" and client.daemon:  # without one nobody lets a call go on, or could end it
            _tell_running(client, account)


def _tell_running(client: Client, account: str) -> None:
    """Print which calls a suspension does not end. A failure here does not make the suspension fail."""
    with suppress(Refusal):
        if calls := client.get("/calls", {"account": account})["items"]:
            said = f"calls of this account that go on while they can pay: {len(calls)}"
            shown = f"`charging calls --account {account}` shows them"
            say(f"warning: {said}; {shown}, `charging hangup SESSION` ends one")


@account.command("export-data")
def export_data(
    ctx: typer.Context,
    account: str = ACCOUNT,
    output: Path | None = OUTPUT,
) -> None:
    """Write all that is known of the account's customer. As JSON lines, for the customer who asks what that is."""
    with connected(options(ctx).settings()) as client, _private(output) as file:
        for piece in client.lines(path("ledger", "people", account)):
            if "error" in piece:
                raise Refusal(f"not all could be read: {piece['error']}; repeat it")
            if "done" not in piece:
                file.write(visible_json(json.dumps(piece, ensure_ascii=False)) + "\n")
    say("not in it: archive files, backups, logs, recorded voicemails and stored faxes; see docs/privacy.md")


@contextmanager
def _private(file: Path | None) -> Iterator[TextIO]:
    if file is None:
        yield sys.stdout
        return
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise Refusal(f"{file}: {error.strerror}; name another file") from None
    with open(descriptor, "w", encoding="utf-8") as opened:
        yield opened


@account.command("erase")
def erase(ctx: typer.Context, account: str = ACCOUNT, as_json: bool = JSON_OPTION) -> None:
    """Erase what the books do not need of a closed account. Mail address, numbers, callers, notices; for good."""
    with connected(options(ctx).settings()) as client:
        erased = client.send("POST", path("ledger", "people", account, "erasures"), {})
    show_one(erased, as_json=as_json)
    say("it stays in: the journal, archive files, backups, logs, recorded voicemails; see docs/privacy.md")


@account.command("journal")
def journal(
    ctx: typer.Context,
    account: str = ACCOUNT,
    limit: int = typer.Option(50, "--limit", min=1, help="Lines, newest first."),
    as_json: bool = JSON_OPTION,
) -> None:
    """The account's journal, newest first."""
    with connected(options(ctx).settings()) as client:
        rows = list(client.items(path("accounts", account, "journal"), limit=limit))
    shown = rows if as_json else [{**row, "legs": changes_of(row)} for row in rows]
    show_rows(shown, JOURNAL_COLUMNS, as_json=as_json, none="the journal is empty")


def changes_of(line: dict[str, Any]) -> str:
    """A journal line's legs for a person: what was posted, and what was set aside or given back."""
    parts = []
    for leg in line["legs"]:
        for amount, word in ((leg["posted"], ""), (leg["reserved"], " reserved")):
            if amount.strip("-0."):
                parts.append(f"{leg['balance']} {amount if amount.startswith('-') else '+' + amount}{word}")
    return ", ".join(parts)


@account.command("correct", context_settings={"ignore_unknown_options": True})
def correct(
    ctx: typer.Context,
    account: str = ACCOUNT,
    amount: str = typer.Argument(help="Euro; a leading minus takes.", show_default=False),
    reason: str = REASON,
    key: str = KEY,
    as_json: bool = JSON_OPTION,
) -> None:
    """Put credit right by another journal line. Never below zero."""
    account_first(account, amount, forms.AMOUNT, "charging account correct ACCOUNT AMOUNT")
    with connected(options(ctx).settings()) as client:
        body = {"amount": amount, "reason": reason}
        answer = client.send("POST", path("accounts", account, "corrections"), body, key=key or new_key())
        show_one(answer, as_json=as_json)


@account.command("grant-minutes", context_settings={"ignore_unknown_options": True})
def grant_minutes(
    ctx: typer.Context,
    account: str = ACCOUNT,
    minutes: str = typer.Argument(help="Whole minutes; a leading minus takes them back.", show_default=False),
    reason: str = REASON,
    month: str | None = typer.Option(None, "--month", help="Only if this is the present month.", show_default=False),
    key: str = KEY,
    as_json: bool = JSON_OPTION,
) -> None:
    """Give free minutes of this month, or take some back. It is another journal line."""
    account_first(account, minutes, forms.WHOLE, "charging account grant-minutes ACCOUNT MINUTES")
    if not re.fullmatch(forms.WHOLE, minutes):
        raise typer.BadParameter(f"found {minutes[:40]!r} minutes, expected a whole number such as 30, or -30")
    with connected(options(ctx).settings()) as client:
        body = {"minutes": int(minutes), "reason": reason, "month": month}
        answer = client.send("POST", path("accounts", account, "minute-grants"), body, key=key or new_key())
        show_one(answer, as_json=as_json)


@account.command("grant-credit", context_settings={"ignore_unknown_options": True})
def grant_credit(
    ctx: typer.Context,
    account: str = ACCOUNT,
    amount: str = typer.Argument(help="Euro; a leading minus takes back.", show_default=False),
    last_day: str = typer.Option(
        ..., "--until", help="The last day on which it can be spent, for example 2026-12-31.", show_default=False
    ),
    reason: str = REASON,
    key: str = KEY,
    as_json: bool = JSON_OPTION,
) -> None:
    """Give promotional credit with an end, or take it back. It pays before bought credit."""
    account_first(account, amount, forms.AMOUNT, "charging account grant-credit ACCOUNT AMOUNT")
    with connected(options(ctx).settings()) as client:
        body = {"amount": amount, "last_day": last_day, "reason": reason}
        answer = client.send("POST", path("accounts", account, "credit-grants"), body, key=key or new_key())
        show_one(answer, as_json=as_json)


@account.command("grant-pack")
def grant_pack(
    ctx: typer.Context,
    account: str = ACCOUNT,
    pack: str = typer.Argument(help="The pack's name in the tariff.", show_default=False),
    reason: str = REASON,
    last_day: str | None = typer.Option(
        None, "--until", help="The last day on which it pays; left out: as the tariff says.", show_default=False
    ),
    minutes: int | None = typer.Option(
        None, "--minutes", help="Left out: as the tariff says; negative: taken back.", show_default=False
    ),
    pieces: int | None = typer.Option(
        None, "--pieces", help="The same of a pack of fax pages or messages.", show_default=False
    ),
    key: str = KEY,
    as_json: bool = JSON_OPTION,
) -> None:
    """Give a pack with an end, or take some of it back. Minutes, fax pages or messages."""
    with connected(options(ctx).settings()) as client:
        body = {"pack": pack, "reason": reason, "last_day": last_day, "minutes": minutes, "pieces": pieces}
        answer = client.send("POST", path("accounts", account, "pack-grants"), body, key=key or new_key())
        show_one(answer, as_json=as_json)


@account.command("page-link")
def page_link(
    ctx: typer.Context,
    id: str = ACCOUNT,
    widget: bool = typer.Option(False, "--widget", help="A token of the balance widget instead."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Make a link that signs the customer in on his page. Once, within a few minutes; give it to nobody else."""
    with connected(options(ctx).settings()) as client:
        body = {"use": Use.WIDGET if widget else Use.PAGE}
        show_one(client.send("POST", path("accounts", id, "page-tokens"), body), as_json=as_json)
