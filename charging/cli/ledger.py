"""``charging ledger …``: does the money add up, and what contradicts it; copies, stores, files for what is old."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from charging.cli.client import connected
from charging.cli.failure import Refusal
from charging.cli.options import JSON_OPTION, options
from charging.cli.output import cell, show_json, show_one
from charging.safe_text import visible

if TYPE_CHECKING:
    from charging.ledger.books.portable import Counts

ledger = typer.Typer(help="The books.", no_args_is_help=True, rich_markup_mode=None)

BACKUP = typer.Argument(help="A file that is not there yet; with --keep a folder.", show_default=False)
KEEP = typer.Option(
    0,
    "--keep",
    min=0,
    metavar="N",
    show_default=False,
    help="Name the file in the folder by the time, and remove all but the newest N.",
)
DRY_RUN = typer.Option(False, "--dry-run", help="Try it on a copy, audit that, and change nothing.")
BACKUP_FILE = typer.Option(
    None,
    "--backup",
    help="A new file for the copy; of SQLite it need not be named.",
    metavar="FILE",
    show_default=False,
)
NO_BOOKS = (
    "IT HAS NO ACCOUNT: if it had any, another ledger is open, or it was emptied; look at ledger.url and its disk\n"
)
NEW_FILE = typer.Argument(help="A file that is not there yet.", show_default=False)

COPY = typer.Argument(help="What `backup` wrote; it stays.", show_default=False)
EXPORT = typer.Argument(help="What `export` wrote.", show_default=False)
FOLDER = typer.Argument(help="Where the files of the months are, or will be.", show_default=False)
BEFORE = typer.Option(..., "--before", help="The month that stays, with all after it.", metavar="YYYY-MM")

ALL = typer.Option(False, "--all", help="Those that are done, too.")
DONE = typer.Option("", "--done", help="Note beside this one that it is done.", metavar="ID", show_default=False)
DONE_REASON = typer.Option("", "--reason", help="What was done about it, in a line; it is kept.", show_default=False)
REDACT_BEFORE = typer.Option(..., "--before", help="A day such as 2026-11-21, or a time.", metavar="DATE")


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(ledger, name="ledger")


@ledger.command("verify")
def verify(ctx: typer.Context, as_json: bool = JSON_OPTION) -> None:
    """Recompute every balance from the journal. Everything found, and every open finding, is a line. Exit 1 if there is
    one."""
    found: list[str] = []
    with connected(options(ctx).settings()) as client:
        has_accounts = bool(client.get("/accounts", {"limit": 1})["items"])
        for line in client.lines("/ledger/findings"):
            if "error" in line:
                raise Refusal(f"the audit could not be finished: {line['error']}")
            if "finding" in line:
                found.append(line["finding"])
                if not as_json:
                    sys.stdout.write(visible(line["finding"]) + "\n")
    if as_json:
        show_json({"findings": found})
    elif not found:
        sys.stdout.write("the books are exact: every balance is the sum of its journal\n" if has_accounts else NO_BOOKS)
    if found:
        raise typer.Exit(1)


@ledger.command("findings")
def findings(
    ctx: typer.Context, every: bool = ALL, done: str = DONE, reason: str = DONE_REASON, as_json: bool = JSON_OPTION
) -> None:
    """What contradicts a booking, the newest first. Each says what it means and what to do. With `--done ID --reason
    …`: it is done; the finding stays, with the reason beside it."""
    if bool(done) != bool(reason):
        raise typer.BadParameter("give both or neither", param_hint="'--done' and '--reason'")
    with connected(options(ctx).settings()) as client:
        if done:
            body = {"id": done, "reason": reason}
            found = [client.send("POST", "/ledger/contradictions/acknowledgements", body)]
        else:
            items = client.get("/ledger/contradictions")["items"]
            found = [one for one in items if every or one["done"] is None]
    if as_json:
        show_json(found[0] if done else found)
        return
    for one in found:
        _show_finding(one)
    if not found:
        sys.stderr.write("nothing contradicts a booking\n")


def _show_finding(one: dict[str, Any]) -> None:
    figures = ", ".join(f"{name} {cell(value)}" for name, value in one["figures"].items() if value not in ("", None))
    state = f"done {cell(one['done'])}: {visible(one['reason'])}" if one["done"] else one["advice"]
    for line in (
        f"{visible(one['id'])}  found {cell(one['found'])}, account {visible(one['account']) or 'unknown'}",
        f"  {one['meaning']}",
        f"  {figures}",
        f"  {state}",
    ):
        sys.stdout.write(line + "\n")


@ledger.command("backup")
def backup(ctx: typer.Context, file: Path = BACKUP, keep: int = KEEP, as_json: bool = JSON_OPTION) -> None:
    """Copy the ledger, also while the daemon runs. Of SQLite the copy is a ledger itself, of a Redis its dump.rdb."""
    from charging.cli.ledger_backup import backup, backup_into

    settings = options(ctx).settings()
    made, removed = backup_into(settings, file, keep) if keep else (backup(settings, file), [])
    if as_json:
        show_json({"backup": str(made.absolute()), "removed": [str(one.absolute()) for one in removed]})
        return
    command = f"charging --config {shlex.quote(str(options(ctx).config))} ledger restore {shlex.quote(str(made))}"
    how = command if made.suffix != ".rdb" and settings.ledger.sqlite_file else "see docs/operate.md"
    pruned = f", and {len(removed)} older ones removed" if removed else ""
    sys.stdout.write(f"copied to {made}{pruned}; to restore it, stop the daemon, then: {how}\n")


@ledger.command("upgrade")
def upgrade(
    ctx: typer.Context, dry_run: bool = DRY_RUN, backup: Path | None = BACKUP_FILE, as_json: bool = JSON_OPTION
) -> None:
    """Bring an older program's ledger to this one's schema. A copy is made first. No daemon may run but for a
    --dry-run. (A daemon that starts does the same to a SQLite ledger by itself.)"""
    from charging.cli.ledger_upgrade import upgrade_ledger

    done = upgrade_ledger(options(ctx).settings(), backup, dry_run=dry_run)
    if as_json:
        show_json(None if done is None else {**asdict(done), "backup": str(done.backup) if done.backup else None})
    elif done is None:
        sys.stdout.write("the ledger has this program's schema: nothing to do\n")
    else:
        what = "would go" if dry_run else "went"
        kept = f"; as it was it is in {done.backup}" if done.backup else "; nothing was changed"
        step = f"from schema {done.stored} to {done.newest} in {done.seconds:.1f} s"
        sys.stdout.write(f"the ledger {what} {step}{kept}\n")


@ledger.command("restore")
def restore(ctx: typer.Context, file: Path = COPY, as_json: bool = JSON_OPTION) -> None:
    """Put what `backup` wrote in the SQLite ledger's place. Its books must be exact, and no daemon may run. The ledger
    that was there is kept beside it."""
    from charging.cli import ledger_idle

    place, kept = ledger_idle.restore(options(ctx).settings(), file)
    if as_json:
        show_json({"restored": str(place), "kept": str(kept) if kept else None})
    else:
        before = f"; the ledger that was there is now {kept}" if kept else ""
        sys.stdout.write(f"{file} is the ledger {place} now{before}\n")


@ledger.command("confirm-time")
def confirm_time(ctx: typer.Context, as_json: bool = JSON_OPTION) -> None:
    """Say that this machine's clock is right. Where it jumped, or the ledger was not in use for days, credit and free
    minutes do not expire before."""
    with connected(options(ctx).settings()) as client:
        show_one(client.send("POST", "/ledger/time-confirmations", {}), as_json=as_json)


@ledger.command("redact")
def redact(ctx: typer.Context, before: str = REDACT_BEFORE, as_json: bool = JSON_OPTION) -> None:
    """Hide the last digits of numbers in CDRs. Callers' and targets', of calls that ended earlier; may be repeated."""
    total, end = 0, {}
    with connected(options(ctx).settings()) as client:
        for end in client.lines("/ledger/redactions", "POST", params={"before": before}):
            total += end.get("hidden", 0)
    if "done" not in end:
        raise Refusal(f"it was broken off after {total} CDRs: {end.get('error', 'no answer')}; repeat it")
    if as_json:
        show_json({"hidden": total})
    else:
        sys.stdout.write(f"the numbers of others are hidden in {total} CDRs\n")


@ledger.command("export")
def export(ctx: typer.Context, file: Path = NEW_FILE, as_json: bool = JSON_OPTION) -> None:
    """Write the whole ledger as JSON lines. Any store takes them by `import`. No daemon may run, no call be open."""
    from charging.cli import ledger_idle  # the stores, which the other commands ask over HTTP

    _tell("exported", ledger_idle.export(options(ctx).settings(), file), as_json)


@ledger.command("import")
def import_file(ctx: typer.Context, file: Path = EXPORT, as_json: bool = JSON_OPTION) -> None:
    """Fill an empty ledger from an export. It is the one that the settings name. No daemon may run."""
    from charging.cli import ledger_idle

    _tell("imported", ledger_idle.import_file(options(ctx).settings(), file), as_json)


@ledger.command("archive")
def archive(ctx: typer.Context, folder: Path = FOLDER, before: str = BEFORE, as_json: bool = JSON_OPTION) -> None:
    """Move journal and CDRs of earlier months to files. One for each month; no daemon may run. An archived top-up,
    correction or fax that is repeated under its id is known for 400 days from its day; then it is carried out again."""
    from charging.cli import ledger_idle

    _tell("archived", ledger_idle.archive_months(options(ctx).settings(), before, folder), as_json)


def _tell(what: str, counts: Counts, as_json: bool) -> None:
    from charging.cli.ledger_idle import words

    if as_json:
        show_json(asdict(counts))
    else:
        sys.stdout.write(f"{what} {words(counts)}\n")


@ledger.callback()
def _group() -> None:
    """The books."""
