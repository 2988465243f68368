"""``charging changes``: who did what."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import typer

from charging.cli.client import connected
from charging.cli.options import JSON_OPTION, options
from charging.cli.output import Column, show_rows

COLUMNS = (
    Column("at", "at"),
    Column("actor", "actor"),
    Column("act", "act"),
    Column("account", "account"),
    Column("number", "number"),
    Column("what", "what"),
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("changes")(changes)


def changes(
    ctx: typer.Context,
    account: str | None = typer.Option(None, "--account", help="Only of this account.", show_default=False),
    actor: str | None = typer.Option(
        None, "--actor", help="Only by them: cli:alice, token:ID, or all of a kind, such as token.", show_default=False
    ),
    day: str | None = typer.Option(None, "--day", help="Only of this day, YYYY-MM-DD.", show_default=False),
    since: str | None = typer.Option(None, "--since", help="A day or time: from then on.", show_default=False),
    until: str | None = typer.Option(None, "--until", help="A day or time: before it.", show_default=False),
    as_json: bool = JSON_OPTION,
) -> None:
    """Who changed what, oldest first. Accounts, numbers, money, tokens, accepted tariffs."""
    if day is not None:
        if since is not None or until is not None:
            raise typer.BadParameter("choose one of --day and --since or --until")
        since, until = day, _following(day)
    with connected(options(ctx).settings()) as client:
        found = client.items("/changes", {"account": account, "actor": actor, "since": since, "until": until})
        rows = list(found) if as_json else [{**one, "what": _what(one)} for one in found]
    show_rows(rows, COLUMNS, as_json=as_json, none="no change that fits is noted")


def _following(day: str) -> str:
    try:
        return (date.fromisoformat(day) + timedelta(days=1)).isoformat()
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"found the day {day[:40]!r}, expected one such as 2026-11-21") from None


def _what(one: Mapping[str, Any]) -> str:
    before, after = one["before"], one["after"]
    names = [*after, *(name for name in before if name not in after)]
    return ", ".join(
        f"{name} {_shown(before, name)} -> {_shown(after, name)}" if name in before else f"{name} {_shown(after, name)}"
        for name in names
    )


def _shown(facts: Mapping[str, Any], name: str) -> str:
    value = facts.get(name)
    if isinstance(value, list):
        return " ".join(map(str, value))
    return {None: "-", "": "-", True: "yes", False: "no"}.get(value, str(value))
