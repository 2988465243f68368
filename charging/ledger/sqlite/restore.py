"""Restores a SQLite ledger from a copy: completely or not at all. The ledger that was there is kept.

A ledger is its file and the ``-wal`` beside it, which SQLite would carry over into whatever file it finds there: a copy
beside an old ``-wal`` is a damaged ledger. So the old one is first made whole in its file, and nothing is left beside
it when the copy takes its name.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from charging.errors import LedgerCorrupt, LedgerUnavailable
from charging.files import flush
from charging.ledger.sqlite.file import FileLock, assert_ledger, beside, connect

BUSY_S = 2
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
"""Never through a link that the folder's owner has put there for root."""


@contextmanager
def locked(ledger: Path) -> Iterator[None]:
    """No daemon and no command opens the ledger meanwhile. Raises LedgerUnavailable where one has it open."""
    lock = FileLock(ledger)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def copied(file: Path, ledger: Path) -> Iterator[Path]:
    """A copy of the file to look at and to put in place, on the ledger's own disk, in a folder that goes with all in
    it. Raises OSError, and LedgerCorrupt where the file is only a part of a ledger."""
    if (wal := beside(file)[0]).exists() and wal.stat().st_size:
        raise LedgerCorrupt(f"{wal} is beside it, so the file alone is not the whole ledger")
    folder = Path(tempfile.mkdtemp(".restoring", ledger.name + ".", ledger.parent))
    try:
        copy = folder / ledger.name
        shutil.copyfile(file, copy)
        copy.chmod(0o600)
        if copy.stat().st_size == 0:
            raise LedgerCorrupt(f"{file} is empty")
        yield copy
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def put_in_place(copy: Path, ledger: Path, kept: Path) -> bool:
    """Make the copy the ledger, which must be :func:`locked`; a ledger that was there gets the name ``kept``. Returns
    whether there was one. A crash at any moment leaves one or the other. Raises OSError, and LedgerUnavailable if
    another process reads the old ledger."""
    was_there = ledger.exists()
    _give_to_owner(copy, ledger)
    flush(copy)
    if was_there:
        _keep(ledger, kept)
    flush(ledger.parent)
    for left in beside(ledger):
        left.unlink(missing_ok=True)
    copy.rename(ledger)
    flush(ledger.parent)
    return was_there


def _keep(ledger: Path, kept: Path) -> None:
    """Give the ledger another name too. Its ``-wal`` is carried over into it; that of a damaged one is kept as well."""
    wal, kept_wal = beside(ledger)[0], beside(kept)[0]
    if wal.exists():  # at once: of a damaged ledger SQLite throws it away
        with wal.open("rb") as source, open(os.open(kept_wal, _NEW, 0o600), "wb") as copy:
            shutil.copyfileobj(source, copy)
    with suppress(sqlite3.Error, LedgerCorrupt):
        assert_ledger(ledger)
        with closing(connect(ledger, BUSY_S)) as connection:
            (busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        kept_wal.unlink(missing_ok=True)
        if busy:
            raise LedgerUnavailable("another process reads the ledger that is there: end that process")
    if kept_wal.exists():
        flush(kept_wal)
    os.link(ledger, kept)


def _give_to_owner(copy: Path, ledger: Path) -> None:
    """What root puts in place, the daemon's user must be able to open; the lock that root made, too."""
    if os.geteuid() == 0:
        owner = (ledger if ledger.exists() else ledger.parent).stat()
        for path in (copy, FileLock(ledger).path):
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)  # the folder is that user's
