"""``charging tariff diff``: what an edit changes, before it is made."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from charging.cli.client import connected
from charging.cli.failure import say
from charging.cli.options import JSON_OPTION, options
from charging.cli.output import Column, show_json, show_rows

if TYPE_CHECKING:
    from charging.tariff.tariff import Tariff
    from charging.whatif.past import Past

FILES = typer.Argument(help="OLD NEW; NEW alone is compared with the one in the settings.", show_default=False)
COLUMNS = (
    Column("plan", "plan"),
    Column("calls", "calls", right=True),
    Column("seconds", "seconds", right=True, spare=1),
    Column("messages", "messages", right=True),
    Column("pages", "pages", right=True),
    Column("paid", "paid €", right=True),
    Column("would_pay", "would pay €", right=True),
    Column("difference", "difference €", right=True),
    Column("free_s", "free s", right=True, spare=2),
    Column("refused", "refused", right=True),
    Column("cut", "cut", right=True),
)


def register(tariff: typer.Typer) -> None:
    """Add the command to its group."""
    tariff.command("diff")(diff)


def diff(
    ctx: typer.Context,
    files: list[Path] = FILES,
    cdrs: bool = typer.Option(False, "--cdrs", help="Price past calls, messages and faxes under NEW instead."),
    since: str | None = typer.Option(None, "--since", help="With --cdrs: a day; left out: last month.", metavar="DAY"),
    until: str | None = typer.Option(None, "--until", help="With --cdrs: the day after the last.", metavar="DAY"),
    as_json: bool = JSON_OPTION,
) -> None:
    """What an edit changes for whom. With --cdrs: what past calls would have cost under it."""
    from charging.app_surroundings import tariff_that_counts  # loaded only where they are needed
    from charging.clock import SystemClock
    from charging.tariff.file import load_tariff

    if len(files) > (1 if cdrs else 2):
        raise typer.BadParameter("name NEW alone with --cdrs" if cdrs else "name OLD and NEW")
    if (since or until) and not cdrs:
        raise typer.BadParameter("--since and --until go with --cdrs")
    new = load_tariff(files[-1])
    if cdrs:
        _show_rerated(ctx, new, since, until, as_json)
    else:
        old = load_tariff(files[0]) if len(files) == 2 else tariff_that_counts(options(ctx).settings(), SystemClock())
        _show_changes(old, new, as_json)


def _show_changes(old: Tariff, new: Tariff, as_json: bool) -> None:
    from charging.clock import SystemClock
    from charging.whatif.diff import diff as changes_between

    changes = changes_between(old, new, SystemClock().now().wall_us)
    if as_json:
        show_json([change.to_json() for change in changes])
        return
    for change in changes:
        sys.stdout.write(f"{change}\n")
    if not changes:
        sys.stdout.write("nothing changes for anyone\n")


def _show_rerated(ctx: typer.Context, new: Tariff, since: str | None, until: str | None, as_json: bool) -> None:
    from charging.clock import SystemClock
    from charging.whatif.past import PastMessage
    from charging.whatif.rerate import rerate

    if since is None and until is None:
        since, until = last_month(new.day_of(SystemClock().now().wall_us))
    with connected(options(ctx).settings()) as client:
        past, left_out = _past(client.items("/cdrs", {"since": since, "until": until}))
        has_messages = any(isinstance(one, PastMessage) for one in past)
        numbers = client.items("/numbers") if has_messages else ()
        paid_voicemail = {one["number"]: one["paid_voicemail"] for one in numbers}
    totals = [total.to_json() for total in rerate(new, past, paid_voicemail)]
    if as_json:
        show_json({"plans": totals, "left_out": left_out})
        return
    show_rows(totals, COLUMNS, as_json=False, none="nothing that could be paid for was used then")
    if left_out:
        say(f"{left_out} CDRs are left out, since they cannot be read")


def _past(cdrs: Iterable[Mapping[str, Any]]) -> tuple[list[Past], int]:
    """What could be paid for, and how many CDRs cannot be read."""
    from charging.whatif.past import past_of

    past, left_out = [], 0
    for cdr in cdrs:
        try:
            one = past_of(cdr)
        except ValueError:
            left_out += 1
            continue
        if one is not None:
            past.append(one)
    return past, left_out


def last_month(today: date) -> tuple[str, str]:
    """The first day of the calendar month before today's, and that of today's."""
    first = today.replace(day=1)
    return (first - timedelta(days=1)).replace(day=1).isoformat(), first.isoformat()
