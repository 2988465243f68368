"""Files: read where one may be a pipe, and replaced in one step.

A file that an operator has named may be a pipe: ``charging check <(decrypt charging.yaml)``. To open a pipe (fifo(7))
waits for someone who writes into it, for ever if nobody does. A command that only hangs tells nobody what is wrong, so
here it has an end.
"""

from __future__ import annotations

import errno
import os
import pwd
import select
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

PIPE_S = 30
"""For more to come out of a pipe: whoever fills it may ask for a passphrase first."""
PIECE_BYTES = 65_536


def read_bytes(path: Path, most: int) -> bytes:
    """What the file holds, ``most`` bytes at most. Raises OSError; for a pipe that nobody has written to for PIPE_S one
    that says so."""
    place = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # on a file that changes nothing (open(2))
    with os.fdopen(place, "rb") as stream:
        if stat.S_ISFIFO(os.fstat(place).st_mode):
            return _out_of_pipe(path, place, most)
        os.set_blocking(place, True)
        return stream.read(most)


def _out_of_pipe(path: Path, place: int, most: int) -> bytes:
    read = bytearray()
    waiting = select.poll()
    waiting.register(place, select.POLLIN)
    while len(read) < most:
        if not waiting.poll(PIPE_S * 1000):
            raise TimeoutError(errno.ETIMEDOUT, f"a pipe that nobody has written to for {PIPE_S} s", str(path))
        try:
            piece = os.read(place, min(PIECE_BYTES, most - len(read)))
        except BlockingIOError:
            continue
        if not piece:
            break
        read += piece
    return bytes(read)


def closed_on_the_way(path: Path) -> str:
    """Which folder on the way to a path, or the path itself, this user may not enter, in words; empty: none, as far as
    can be seen."""
    for one in (*reversed(path.parents), path):
        if os.path.isdir(one) and not os.access(one, os.X_OK):
            return f"{user()} may not enter {one}"
    return ""


def user() -> str:
    """The name of who runs this; his number, where he has none."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"user {os.geteuid()}"


def free_bytes(folder: Path | str) -> int | None:
    """The bytes that its file system has free for this user; ``None`` if it tells no size, as some of a network or a
    program do (FUSE, 9p): then it is not known to be full. Raises OSError."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize if disk.f_blocks else None


def replace_file(path: Path, data: bytes, *, mode: int, owner_of: Path | None = None) -> None:
    """Put ``data`` in the place of a file, which need not be there: whole or not at all, also if the machine loses its
    power. ``path`` must be no link: the link would be replaced. Root writes it for whoever owns ``owner_of``. Raises
    OSError."""
    descriptor, made = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        if owner_of is not None and os.geteuid() == 0:
            owner = owner_of.stat()
            os.chown(made, owner.st_uid, owner.st_gid)
        os.replace(made, path)
        flush(path.parent)
    finally:
        with suppress(OSError):
            os.unlink(made)


def flush(path: Path) -> None:
    """Flush a file, or what a folder says of its files, to the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
