"""A ledger's SQLite file: made, locked, opened and brought to the newest schema; and what its errors mean."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from contextlib import closing
from functools import cache
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from charging.errors import LedgerCorrupt, LedgerError, LedgerMissing, LedgerUnavailable

CACHE_KIB = 8_192
"""Of pages that the writer keeps. The ticks of 8,000 calls in any order took no more CPU with this than with eight
times as much, for the kernel has the pages."""

READER_CACHE_KIB = 1_024
"""The same of each connection that only reads. With every commit of the writer it has to read again what it keeps, so
more would serve a single long reading alone, and stay as memory that nobody uses."""

CHECKPOINT_PAGES = 16_000
"""When a commit carries the write-ahead log over into the file by itself (pages of 4 KiB each), because its writer has
not rested for so long (`writer.REST_S`)."""

LAST = "\U0010ffff"
"""Behind every id: SQLite compares texts byte by byte."""

APPLICATION_ID = 0x43484752
"""``CHGR`` in the file's header tells a ledger from any other SQLite file."""

JOURNAL = "-journal"
"""Of what SQLite puts beside a file, the longest end of a name."""

SQLITE_PATH_BYTES_MAX = 512
"""With that end (``MAX_PATHNAME`` of SQLite's os_unix.c)."""

_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CONSTRAINT)
_ADVICE = {
    sqlite3.SQLITE_FULL: "the disk is full; make room",
    sqlite3.SQLITE_READONLY: "the file or its folder is read-only; mend its permissions",
    sqlite3.SQLITE_BUSY: "another process has locked it; end that process",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; look at its path and permissions",
    sqlite3.SQLITE_IOERR: "reading or writing failed; look at the disk, and at its user's quota",
    sqlite3.SQLITE_NOTADB: "it is no ledger; name another file in ledger.url, or `charging ledger restore` a copy",
    sqlite3.SQLITE_CORRUPT: "it is damaged; look at the disk, and `charging ledger restore` a copy",
}
_PLACE_ADVICE = {
    errno.ENOENT: "make the folder and give it to the daemon's user",
    errno.EEXIST: "name another file",
    errno.EROFS: "mount it for writing (dmesg logs disk errors), or name it by ReadWritePaths= in the unit",
    errno.ENOSPC: "make room there, for bytes and for files (df, df -i)",
    errno.EDQUOT: "make room there, or raise the user's quota",
    errno.EMFILE: "raise the limit of open files (LimitNOFILE in the unit, or `ulimit -n`)",
}


DRIVER_ERRORS = (sqlite3.Error, sqlite3.Warning, MemoryError)
"""What sqlite3 raises, of whatever family; everything else is a fault of ours and is raised as it is."""


def translate(error: Exception, path: Path) -> LedgerError:
    """What the driver's error means for the ledger, to be raised from it."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    advice, said = _ADVICE.get(code), str(error) or type(error).__name__
    message = f"ledger {path}: {advice} ({said})" if advice else f"ledger {path}: {said}"
    return LedgerCorrupt(message) if code in _CORRUPT else LedgerUnavailable(message)


@cache
def queries() -> dict[str, str]:
    """The statements of ``sql/queries.sql`` by name."""
    text = files("charging.ledger.sqlite").joinpath("sql/queries.sql").read_text(encoding="utf-8")
    named: dict[str, str] = {}
    for part in text.split("-- name: ")[1:]:
        name, _, statement = part.partition("\n")
        named[name.strip()] = statement.strip()
    return named


def place_advice(error: OSError) -> str:
    """What to do where a file cannot be made."""
    return _PLACE_ADVICE.get(error.errno or 0, "let the daemon's user write there")


def schema_versions() -> dict[int, str]:
    """The scripts that lead from one schema to the next, by the version they lead to."""
    folder = files("charging.ledger.sqlite").joinpath("sql")
    scripts = [entry for entry in folder.iterdir() if entry.name[:3].isdigit()]
    return {int(entry.name[:3]): entry.read_text(encoding="utf-8") for entry in scripts}


class FileLock:
    """Held by the one process that may write: a lock on a file beside the ledger, which the kernel lets go of
    whenever the process ends. (A lock on the ledger itself would be entangled with SQLite's own.)"""

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(path.name + ".lock")
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Raises LedgerUnavailable where another process, or another store of this process, holds it."""
        try:
            descriptor = _opened(self.path, os.O_NOFOLLOW)
        except OSError as error:
            raise LedgerUnavailable(f"ledger lock {self.path}: {error.strerror}; {place_advice(error)}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(descriptor, 20).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise LedgerUnavailable(
                f"a daemon has this ledger open (process {holder or 'unknown'}): "
                "ask it over its control socket, or stop it first"
            ) from error
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def too_long(path: Path) -> str:
    """Why no ledger can have this path, with the names of what SQLite keeps beside it; empty: one can."""
    longest = path.with_name(path.name + JOURNAL)
    try:
        os.lstat(longest)
    except FileNotFoundError:
        pass
    except OSError as error:
        return f"{path}: it cannot be made: {error.strerror}; choose a shorter name"
    if len(os.fsencode(longest)) > SQLITE_PATH_BYTES_MAX:
        most = SQLITE_PATH_BYTES_MAX - len(JOURNAL)
        return f"{path}: it cannot be made: SQLite takes a path of {most} bytes at most; choose a shorter one"
    return ""


def beside(path: Path) -> tuple[Path, Path]:
    """What SQLite keeps beside a file that is in use: its write-ahead log, and the index of that."""
    return path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")


def give_to_owner_of_folder(descriptor: int, path: Path) -> None:
    """What root makes, by a command before the daemon's first start, say, the daemon's user must be able to open."""
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _opened(path: Path, flags: int = 0) -> int:
    """A descriptor of the file, made where there is none. Only what was made here changes its owner: the folder is the
    daemon's user's, who could have put a link there for root to give a file of the system away, or to write into it."""
    flags |= os.O_RDWR | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return os.open(path, flags)
    try:
        give_to_owner_of_folder(descriptor, path)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def create(path: Path) -> None:
    """Make the file where there is none, for its owner only (SQLite gives its -wal and -shm the same mode). Raises
    LedgerUnavailable."""
    try:
        os.close(_opened(path))
    except OSError as error:
        advice = "name a file in ledger.url" if isinstance(error, IsADirectoryError) else place_advice(error)
        raise LedgerUnavailable(f"ledger {path}: {error.strerror}; {advice}") from error


def assert_there(path: Path) -> None:
    """Raises LedgerMissing where there is no file."""
    try:
        path.stat()
    except OSError as error:
        made = "a daemon that starts makes one, or the first account"
        raise LedgerMissing(f"there is no ledger {path}: {error.strerror}; look at ledger.url ({made})") from None


def looking_at(path: Path) -> sqlite3.Connection:
    """A connection that changes nothing; raises sqlite3.Error. The last that closes would remove a log that a daemon
    has left, and the log's room, on a full disk, would be another's before the next daemon had it."""
    if not beside(path)[0].exists():
        return sqlite3.connect(path)
    return sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)


def assert_ledger(path: Path) -> None:
    """Raises LedgerCorrupt for another program's file, in which nothing is changed."""
    with closing(looking_at(path)) as connection:
        version_of(connection, path)


def assert_current(path: Path) -> None:
    """Raises LedgerUnavailable where there is no file or one of another schema, LedgerCorrupt for another program's."""
    newest = max(schema_versions())
    assert_there(path)
    with closing(looking_at(path)) as connection:
        if (version := version_of(connection, path)) != newest:
            raise LedgerUnavailable(
                f"ledger {path} has schema {version}, this program reads {newest}: start its daemon"
            )


def connect(path: Path, busy_s: float, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection in autocommit mode, that waits ``busy_s`` for another's lock; raises sqlite3.Error."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=busy_s)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")  # what is erased is overwritten, not only out of sight
    connection.execute(f"PRAGMA cache_size = -{READER_CACHE_KIB if read_only else CACHE_KIB}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    if read_only:
        connection.execute("PRAGMA query_only = ON")
    return connection


def empty_log(connection: sqlite3.Connection) -> bool:
    """Carry the whole write-ahead log over into the file and cut it to nothing; ``False``: readers were in the way, for
    which nobody waits. Raises sqlite3.Error."""
    (waits_ms,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        connection.execute(f"PRAGMA busy_timeout = {waits_ms}")
    return not busy


def assert_not_older(path: Path) -> None:
    """Raises LedgerUnavailable for a ledger of an older program, which is brought to this one's schema by an upgrade,
    and not in passing."""
    newest = max(schema_versions())
    with closing(looking_at(path)) as connection:
        version = version_of(connection, path)
    if 0 < version < newest:
        raise LedgerUnavailable(
            f"ledger {path} has schema {version}, this program works on {newest}: `charging ledger upgrade` brings it "
            "there, with a copy first (as the daemon does when it starts); --dry-run only tries it"
        )


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring an empty or older file to the newest schema, each step in a transaction of its own.

    Raises LedgerCorrupt for a file that is not a ledger, LedgerUnavailable for one of a newer program.
    """
    scripts = schema_versions()
    version = version_of(connection, path)
    if version > max(scripts):
        raise LedgerUnavailable(
            f"ledger {path} has schema {version}, this program knows up to {max(scripts)}: use the newer program"
        )
    for step in range(version + 1, max(scripts) + 1):
        set_version = f"INSERT INTO meta VALUES ('schema', '{step}') ON CONFLICT DO UPDATE SET value = '{step}'"  # noqa: S608  an integer of ours
        connection.executescript(f"BEGIN IMMEDIATE; {_HEAD} {scripts[step]} {set_version}; COMMIT;")


_HEAD = f"""
PRAGMA application_id = {APPLICATION_ID};
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
"""


def version_of(connection: sqlite3.Connection, path: Path) -> int:
    """The version of the ledger's schema; 0: the file is empty. Raises LedgerCorrupt where it is no ledger."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if not tables:
        return 0
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    if application_id != APPLICATION_ID or "meta" not in tables:
        raise LedgerCorrupt(f"{path} is a SQLite file, but not a ledger; name another file in ledger.url")
    (version,) = connection.execute(queries()["ping"]).fetchone()
    return int(version)
