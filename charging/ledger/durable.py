"""Writes files durably: afterwards a file is complete and on the disk, or it does not exist."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from charging.files import flush


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A context with the path of an empty temporary file, readable by its owner only. At the end of the context the
    file is flushed to the disk and renamed to ``path``. A process that is killed leaves a file whose name ends in
    ``.part``. Raises OSError; FileExistsError if ``path`` exists."""
    if path.exists():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    descriptor, name = tempfile.mkstemp(".part", path.name + ".", path.parent)
    os.close(descriptor)
    part = Path(name)
    try:
        yield part
        flush(part)
        part.rename(path)
        flush(path.parent)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def append_lines(path: Path, lines: Sequence[str]) -> None:
    """Add lines to a file, all or none, and flush the file and its folder to the disk. The file is readable by its
    owner only. An incomplete last line, left by a crash, is removed first. No symbolic link is followed, since the
    folder may belong to a user other than the caller. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        end = _end_of_last_line(descriptor)
        os.ftruncate(descriptor, end)
        try:
            _write(descriptor, end, "".join(lines).encode())
            os.fsync(descriptor)
        except BaseException:
            os.ftruncate(descriptor, end)
            raise
    finally:
        os.close(descriptor)
    flush(path.parent)


def _write(descriptor: int, place: int, text: bytes) -> None:
    """All of it; of a disk that is nearly full, the system takes a part before it refuses the rest."""
    os.lseek(descriptor, place, os.SEEK_SET)
    rest = memoryview(text)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


_BLOCK = 65_536


def _end_of_last_line(descriptor: int) -> int:
    """How long the file is without what follows its last line break."""
    end = os.lseek(descriptor, 0, os.SEEK_END)
    while end:
        start = max(0, end - _BLOCK)
        if place := os.pread(descriptor, end - start, start).rfind(b"\n") + 1:
            return start + place
        end = start
    return 0
