"""``charging ledger backup``: a copy of the ledger, written by the command itself, where its own user may write: a
daemon that is shut in by its unit sees other folders than the person who asks."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path

from charging.cli.failure import Refusal
from charging.cli.in_process import store_of
from charging.clock import MICROSECONDS, SystemClock
from charging.errors import LedgerUnavailable
from charging.settings import Settings

_NAME = re.compile(r"ledger-[0-9]{8}T[0-9]{6}Z\.(db|rdb)")


def backup(settings: Settings, file: Path) -> Path:
    """Copy the ledger to a new file; a daemon may be at work. Raises Refusal, LedgerUnavailable."""

    path = file.absolute()

    async def work() -> None:
        store = store_of(settings, reads_only=True)
        try:
            await store.backup(path)
        finally:
            await store.close()

    asyncio.run(work())
    return file


def backup_into(settings: Settings, folder: Path, keep: int) -> tuple[Path, list[Path]]:
    """The same to a file of the folder, named by the time; of such files the newest ``keep`` stay: the new one, and
    those that were removed. Where the copy fails nothing is removed."""
    if not folder.is_dir():
        raise Refusal(f"{folder}: no such folder; make it, for the user that runs this alone (mode 0700)")
    moment = datetime.fromtimestamp(SystemClock().now().wall_us / MICROSECONDS, UTC)
    suffix = "rdb" if settings.ledger.sqlite_file is None else "db"
    made = backup(settings, folder / f"ledger-{moment:%Y%m%dT%H%M%SZ}.{suffix}")
    older = sorted((one for one in folder.iterdir() if _NAME.fullmatch(one.name)), key=lambda one: one.name)[:-keep]
    try:
        for one in older:
            one.unlink()
    except OSError as error:
        raise LedgerUnavailable(f"{made} is written, but {error.filename} is not removed: {error.strerror}") from error
    return made, older
