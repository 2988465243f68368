"""``charging ledger export|import|archive|restore``: what needs the ledger for itself. The store is opened in this
process, once it is certain that no daemon runs; all but a restore wait until no session is open."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO
from zoneinfo import ZoneInfo

import typer
from rich.console import Console
from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task, TimeElapsedColumn
from rich.text import Text

from charging.app_surroundings import tariff_that_counts
from charging.cli.client import daemon_answers, whoever_types
from charging.cli.failure import Refusal
from charging.cli.in_process import store_of
from charging.clock import MICROSECONDS, Clock, SystemClock
from charging.errors import LedgerCorrupt, LedgerError
from charging.ledger.books.archive import archive
from charging.ledger.books.audit import Fault
from charging.ledger.books.exclusive import assert_idle
from charging.ledger.books.move import export_lines, import_lines
from charging.ledger.books.portable import Counts
from charging.ledger.books.verify import verify
from charging.ledger.durable import new_file
from charging.ledger.port import Store
from charging.ledger.sqlite.restore import copied, locked, put_in_place
from charging.ledger.sqlite.store import SqliteStore
from charging.service.actor import acting
from charging.service.changes import Act, Changes
from charging.service.ledger_contents import LedgerContents
from charging.settings import Settings

LINE_MAX = 16 * 1024 * 1024
"""Characters of an export's line, of which a real one has some hundreds: another file is no reason to fill memory."""


def export(settings: Settings, file: Path) -> Counts:
    """Write the whole ledger to a new file."""
    counts = Counts()

    async def work(store: Store) -> None:
        with new_file(file) as part, part.open("w", encoding="utf-8") as stream:
            async with aclosing(export_lines(store, counts, _owner())) as lines:
                async for line in lines:
                    stream.write(line + "\n")

    try:
        _on_idle_store(settings, work, counts)
    except FileExistsError:
        raise Refusal(f"{file} is there already: name another file") from None
    except OSError as error:
        raise Refusal(f"{file}: {error.strerror or error}; name a file that can be written") from None
    return counts


def import_file(settings: Settings, file: Path) -> Counts:
    """Fill the empty ledger that the settings name from an export."""
    counts = Counts()

    async def work(store: Store) -> None:
        with file.open(encoding="utf-8", errors="replace") as stream:
            await import_lines(store, _lines_of(stream), counts, _owner())

    try:
        _on_idle_store(settings, work, counts, begins=True)
    except OSError as error:
        raise Refusal(f"{file}: {error.strerror or error}; name a file that `charging ledger export` wrote") from None
    except LedgerCorrupt as error:
        raise Refusal(f"{file}: {error}") from None
    return counts


def archive_months(settings: Settings, before: str, folder: Path) -> Counts:
    """Take what is older than the month ``before`` out of the ledger, into files of the folder."""
    tariff = tariff_that_counts(settings, SystemClock())
    before_us = first_moment(before, ZoneInfo(tariff.zone))
    now_us = SystemClock().now().wall_us
    counts = Counts()

    async def work(store: Store) -> None:
        await archive(store, before_us, now_us, folder, tariff.month_of, counts, _owner())

    try:
        _on_idle_store(settings, work, counts)
    except (OSError, ValueError) as error:
        raise Refusal(f"{folder}: {error}") from None
    return counts


def restore(settings: Settings, file: Path) -> tuple[Path, Path | None]:
    """Put a copy in the ledger's place, if its books are exact: the ledger, and as what the former one is kept."""
    ledger = settings.ledger.sqlite_file
    if ledger is None:
        raise Refusal("only a SQLite ledger is restored from a file; a Redis is restored by Redis' own means")
    refuse_beside_a_daemon(settings)
    clock = SystemClock()
    stamp = datetime.fromtimestamp(clock.now().wall_us / MICROSECONDS, UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    kept = ledger.with_name(f"{ledger.name}.before-restore-{stamp}")
    if ledger.exists() and file.exists() and file.samefile(ledger):
        raise Refusal(f"{file} is the ledger itself; name what `charging ledger backup` wrote")
    with locked(ledger):
        try:
            with copied(file, ledger) as copy:
                asyncio.run(assert_exact(copy, file, clock))
                asyncio.run(note_restore(copy, clock))
                return ledger, kept if put_in_place(copy, ledger, kept) else None
        except OSError as error:
            raise Refusal(f"{error.filename or file}: {error.strerror or error}; nothing was changed") from None
        except LedgerError as error:
            raise Refusal(f"{file}: {error}; nothing was changed") from None


async def assert_exact(copy: Path, file: Path, clock: Clock) -> None:
    """Raise LedgerError if the file is no ledger, Refusal if its books are not exact."""
    store = SqliteStore(copy, upgrades=True)
    await store.open()
    try:
        # That a call's end is overdue says when the copy was made: the daemon books it when it starts.
        audit = verify(store, LedgerContents(clock.now()))
        found = [str(one) async for one in audit if one.fault is not Fault.OVERDUE]
    finally:
        await store.close()
    if found:
        raise Refusal(*found, f"the books of {file} are not exact: nothing was changed")


async def note_restore(copy: Path, clock: Clock) -> None:
    """So that programs that follow the events learn which of them are undone. Raises LedgerError."""
    store = SqliteStore(copy)
    await store.open()
    try:
        with acting(whoever_types()):
            last = await store.feed.last_place()
            await Changes(store, clock).noted(Act.LEDGER_RESTORED, after={"after": str(last)})
    finally:
        await store.close()


def refuse_beside_a_daemon(settings: Settings) -> None:
    """Raise Refusal if a daemon runs."""
    if daemon_answers(settings.control.socket):
        raise Refusal("a daemon runs: stop it first (its calls run on, to the end of what they have reserved)")


def first_moment(month: str, zone: ZoneInfo) -> int:
    """The beginning of ``YYYY-MM`` in the zone: wall clock, in µs. Raises BadParameter."""
    if re.fullmatch(r"2[01]\d\d-(0[1-9]|1[0-2])", month):
        return int(datetime(int(month[:4]), int(month[5:]), 1, tzinfo=zone).timestamp()) * MICROSECONDS
    raise typer.BadParameter(f"found {month!r}, expected a month such as 2026-11", param_hint="--before")


def _owner() -> str:
    """Tells this process from every other that shares the ledger."""
    return f"{socket.gethostname()}-{os.getpid()}"


def _on_idle_store(
    settings: Settings, work: Callable[[Store], Awaitable[None]], counts: Counts, *, begins: bool = False
) -> None:
    """Open the ledger, work on it while a terminal shows how far it is, and close it. Raises Refusal where a daemon
    runs, LedgerUnavailable where one elsewhere holds a lease, or sessions are open."""
    refuse_beside_a_daemon(settings)
    store = store_of(settings, begins=begins)

    async def run() -> None:
        await store.open()
        try:
            await assert_idle(store)
            await work(store)
        finally:
            await store.close()

    with _progress(counts):
        asyncio.run(run())


class _Counted(ProgressColumn):
    """How far it is. Rich asks for it again some times a second."""

    def __init__(self, counts: Counts) -> None:
        super().__init__()
        self._counts = counts

    def render(self, _task: Task) -> Text:
        return Text(words(self._counts))


def _progress(counts: Counts) -> Progress:
    """On the terminal's standard error; elsewhere nothing is shown."""
    console = Console(file=sys.stderr)
    columns = (SpinnerColumn(), _Counted(counts), TimeElapsedColumn())
    progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    progress.add_task("", total=None)
    return progress


def words(counts: Counts) -> str:
    """For a person."""
    return ", ".join(f"{number:,} {name}" for name, number in asdict(counts).items())


def _lines_of(stream: TextIO) -> Iterator[str]:
    while line := stream.readline(LINE_MAX):
        yield line.rstrip("\n")
