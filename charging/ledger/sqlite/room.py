"""Room that a ledger keeps for itself on a disk that others may fill: recordings, faxes, logs.

A neighbour takes the last block of a disk within seconds. So room that is only free, or that is given up when it is
needed, is the neighbour's. What is kept here lies in the ledger's own files:

- free pages inside the file, :data:`KEPT_MIN_BYTES` at least, which SQLite takes before it lets the file grow;
- the blocks of the write-ahead log (:data:`LOG_BYTES`). Where it cannot grow, the writer carries it over into the file
  and begins it again (:func:`makes_room`).

So money is booked for thousands of calls more after the disk is full. A connection that only reads is held meanwhile:
the others, when they close, then leave the log where it is; and when the daemon ends while the disk is full, the log
stays, and the next daemon has it. On a file system that writes each block to a new place (btrfs, ZFS) none of this
holds.

Free pages are made by pieces, for a piece that is freed at once would be used for the next: they wait in a table, until
that is dropped as a whole.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from charging.files import free_bytes
from charging.ledger.sqlite.file import DRIVER_ERRORS, beside, translate, version_of

PAGE_BYTES = 4096
"""SQLite's own default, by which every ledger was made."""

KEPT_BYTES, KEPT_MIN_BYTES = 32 * 2**20, 16 * 2**20
"""Of free pages: so many are made once there are fewer than that."""

PIECE_BYTES = 2**20
"""So many of them are made in one commit: whoever waits for it waits some milliseconds."""

LOG_BYTES = 4_000 * (PAGE_BYTES + 24) + 32
"""Of the log, in frames as SQLite writes them: as many as the first 32 KiB of its index can hold."""

SPARE_BYTES = 64 * 2**20
"""What must be free on the disk. Where it is not, nothing is made: others need it more."""

_NOT_WRITTEN = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE)
"""What SQLite says of a disk that is full, and of a quota that is used up (EDQUOT). It says the second of a disk that
is damaged, too: then what is tried again fails again."""


class Room:
    """The room of one ledger file."""

    def __init__(self, path: Path, *, is_kept: bool) -> None:
        self._path = path.resolve()  # what SQLite keeps beside it lies beside the file, and not beside a link to it
        self._is_kept = is_kept
        self._held: sqlite3.Connection | None = None

    def hold(self) -> None:
        """Keep what is beside the file from being removed, once it is a ledger. Raises LedgerError."""
        if not self._is_kept:
            return
        try:
            if self._held is None:
                self._held = sqlite3.connect(
                    f"file:{quote(str(self._path))}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
                )
            version_of(self._held, self._path)
        except DRIVER_ERRORS as error:
            self.let_go()
            raise translate(error, self._path) from error

    def let_go(self) -> None:
        """Allow it again. If this connection is the last, the log stays where it is, for it only reads."""
        held, self._held = self._held, None
        if held is not None:
            held.close()

    def is_tight(self) -> bool:
        """Whether the disk has little for others; ``False`` if it cannot be asked."""
        try:
            free = free_bytes(self._path.parent)
        except OSError:
            return False
        return free is not None and free < SPARE_BYTES

    def would_be_lost(self) -> bool:
        """Whether what the log gave back now would be another's."""
        return self._is_kept and self.is_tight()

    def make(self, connection: sqlite3.Connection) -> int | None:
        """Make a piece of what is missing, if the disk has it to give. Returns the bytes that the ledger can still grow
        by; ``None``: no room is kept, or the disk does not tell. Raises sqlite3.Error, OSError. Runs in the writer's
        thread, outside of any transaction."""
        if not self._is_kept:
            return None
        if self.is_tight():
            give(connection)
        else:
            with suppress(OSError, *DRIVER_ERRORS):  # a commit that cannot write says so
                self._lengthen_log()
                _make_piece(connection)
        (pages,) = connection.execute("PRAGMA freelist_count").fetchone()
        free = free_bytes(self._path.parent)
        return None if free is None else int(pages) * PAGE_BYTES + free

    def _lengthen_log(self) -> None:
        """Take the blocks that the log will need. SQLite believes nothing in it that it has not written."""
        log, _ = beside(self._path)
        if log.stat().st_size < LOG_BYTES:
            descriptor = os.open(log, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                os.posix_fallocate(descriptor, 0, LOG_BYTES)
            finally:
                os.close(descriptor)


def makes_room(connection: sqlite3.Connection | None, error: Exception) -> bool:
    """Whether the error was a full disk, and now there is room in the ledger's own files: what failed may succeed."""
    if connection is None or getattr(error, "sqlite_errorcode", 0) not in _NOT_WRITTEN:
        return False
    with suppress(*DRIVER_ERRORS):
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if _has_log_begun_again(connection):
            give(connection)
            return True
    return False


def give(connection: sqlite3.Connection) -> None:
    """Free the pieces that wait to be. Raises sqlite3.Error."""
    if _pieces(connection) is None:
        return
    connection.execute("PRAGMA secure_delete = OFF")  # nothing is in them
    try:
        connection.execute("DROP TABLE room")
    finally:
        connection.execute("PRAGMA secure_delete = ON")


def _make_piece(connection: sqlite3.Connection) -> None:
    """Raises sqlite3.Error."""
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    pieces = _pieces(connection)
    if pieces is None:
        if free * PAGE_BYTES >= KEPT_MIN_BYTES:
            return
        connection.execute("CREATE TABLE room (piece BLOB) STRICT")
    elif pieces * PIECE_BYTES >= KEPT_BYTES:
        give(connection)
        return
    connection.execute("INSERT INTO room VALUES (zeroblob(?))", (PIECE_BYTES,))
    # Into the file at once: there its blocks are.
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()


def _pieces(connection: sqlite3.Connection) -> int | None:
    """How many wait to be freed; ``None``: there is no table of them."""
    if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'room'").fetchone() is None:
        return None
    (last,) = connection.execute("SELECT max(rowid) FROM room").fetchone()
    return last or 0


def _has_log_begun_again(connection: sqlite3.Connection) -> bool:
    """Carry the whole log over, so that the next commit overwrites it. Raises sqlite3.Error."""
    busy, _, _ = connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
    return not busy
