"""Files that are whole and on the disk, or are not there."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """The path of an empty file, for its owner only, which gets the name ``path`` once it is filled and on the disk; a
    process that is killed leaves one whose name ends in ``.part``. Raises OSError, also where ``path`` is there."""
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
    """Add whole lines to a file, for its owner only, and flush it and its folder to the disk; or add nothing. The half
    line that a crash has left at its end is taken away first. No link is followed: the folder may be another's than
    whose command it is. Raises OSError."""
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


def flush(path: Path) -> None:
    """A file, or what a folder says of its files, to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
