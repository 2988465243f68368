"""A disk that may lose what was not flushed to it, under SQLite itself.

SQLite reaches its files through a table of functions, its *VFS*. The table of the machine is copied here, and four of
its functions are put aside: to open, to write, to truncate and to flush. What is written goes to a real file, as
before: so the program sees it at once, as through the kernel's cache. Beside it this module keeps what a disk would
have: the file as it was when it was last flushed, and what was written since. When the power is cut, of the latter
some sectors have reached the disk and some have not, in any order; a file that was made and never flushed may not be
there, and one that was removed may be there again. (https://sqlite.org/atomiccommit.html, https://sqlite.org/vfs.html)

The files of `-shm` are memory, and gone. Only files in the folders of such disks are looked at.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_void_p, cast
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

SECTOR = 512
"""Bytes that a disk writes whole or not at all."""
OK, IO_ERROR = 0, 10
VERSION_MAX = 3
NAME = b"city"

_OPEN = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p)  # SQLite keeps the name that it is given
_DELETE = CFUNCTYPE(c_int, c_void_p, c_char_p, c_int)
_CLOSE = CFUNCTYPE(c_int, c_void_p)
_WRITE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_TRUNCATE = CFUNCTYPE(c_int, c_void_p, c_int64)
_SYNC = CFUNCTYPE(c_int, c_void_p, c_int)


class _Vfs(Structure):
    """``sqlite3_vfs`` of version 3."""

    _fields_ = (
        ("version", c_int),
        ("os_file_size", c_int),
        ("path_max", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        ("app_data", c_void_p),
        ("open", c_void_p),
        ("delete", c_void_p),
        *((name, c_void_p) for name in ("access", "full_path", "dl_open", "dl_error", "dl_sym", "dl_close")),
        *((name, c_void_p) for name in ("randomness", "sleep", "current_time", "last_error", "current_time64")),
        *((name, c_void_p) for name in ("set_system_call", "get_system_call", "next_system_call")),
    )


class _Methods(Structure):
    """``sqlite3_io_methods`` of version 3."""

    _fields_ = (
        ("version", c_int),
        *((name, c_void_p) for name in ("close", "read", "write", "truncate", "sync", "file_size", "lock", "unlock")),
        *((name, c_void_p) for name in ("check_reserved_lock", "file_control", "sector_size", "characteristics")),
        *((name, c_void_p) for name in ("shm_map", "shm_lock", "shm_barrier", "shm_unmap", "fetch", "unfetch")),
    )


class _File(Structure):
    """``sqlite3_file``: what every open file begins with."""

    _fields_ = (("methods", POINTER(_Methods)),)


@dataclass(slots=True, eq=False)
class _Contents:
    """What a disk has of one file."""

    flushed: bytearray = field(default_factory=bytearray)
    since: list[tuple[int, bytes | None]] = field(default_factory=list)
    """What was written since, and where; ``None``: the file was cut there."""

    def flush(self) -> None:
        for change in self.since:
            self._apply(self.flushed, *change)
        self.since.clear()

    def after_power_cut(self, chance: random.Random) -> bytes:
        """Nothing, all, or some of what was not flushed has arrived."""
        share = chance.choice((0.0, 1.0, 0.5, 0.1, 0.9))
        found = bytearray(self.flushed)
        for offset, data in self.since:
            if data is None:
                if chance.random() < share:
                    self._apply(found, offset, None)
                continue
            for begin in range(0, len(data), SECTOR):
                if chance.random() < share:
                    self._apply(found, offset + begin, data[begin : begin + SECTOR])
        return bytes(found)

    @staticmethod
    def _apply(contents: bytearray, offset: int, data: bytes | None) -> None:
        if data is None:
            del contents[offset:]
            return
        if len(contents) < offset:
            contents.extend(bytes(offset - len(contents)))
        contents[offset : offset + len(data)] = data


class Disk:
    """The disk of one folder."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        """Files that are there already are on the disk. Raises RuntimeError where SQLite cannot be looked at."""
        self.folder = folder
        self._chance = chance
        self.cuts_in: int | None = None
        """So many writes and flushes from now the power is cut."""
        self.is_off = False
        self.went_off: Callable[[], None] = lambda: None
        """Called in the moment of the cut."""
        self.writes = self.flushes = self.unflushed = 0
        """How many there were; and how many writes were not flushed when the power was cut."""
        self._now: dict[str, _Contents] = {}
        """By path."""
        self._flushed: dict[str, _Contents] = {}
        """The folder as the disk has it."""
        _vfs().watch(self)
        self.look_again()

    def look_again(self) -> None:
        """What is in the folder now was flushed, by a program that did not go through SQLite."""
        self._now = {
            str(path): _Contents(bytearray(path.read_bytes()))
            for path in self.folder.iterdir()
            if path.is_file() and not path.name.endswith(("-shm", ".lock"))
        }
        self._flushed = dict(self._now)

    def forget(self) -> None:
        """Nobody uses it any more."""
        _vfs().forget(self)

    def has(self, path: str) -> bool:
        return path.startswith(f"{self.folder}/")

    def cut_power(self) -> None:
        """Now, unless it was before."""
        if not self.is_off:
            self.is_off = True
            self.unflushed = sum(len(one.since) for one in self._now.values())
            self.went_off()

    def after_power_cut(self, folder: Path) -> None:
        """Write what the disk has into another folder."""
        for path in sorted({*self._now, *self._flushed}):
            found = self._chance.choice((self._now.get(path), self._flushed.get(path)))
            if found is not None:
                (folder / Path(path).name).write_bytes(found.after_power_cut(self._chance))

    # -- what SQLite does

    def opened(self, path: str) -> None:
        if path not in self._now and Path(path).exists():
            self._now[path] = _Contents()

    def deleted(self, path: str, *, flushes: bool) -> None:
        self._now.pop(path, None)
        if flushes:
            self._flushed = dict(self._now)

    def goes_on(self) -> bool:
        """Whether there is power for one operation more."""
        if self.cuts_in is not None and not self.is_off:
            self.cuts_in -= 1
            if self.cuts_in <= 0:
                self.cut_power()
        return not self.is_off

    def written(self, path: str, offset: int, data: bytes | None) -> None:
        self.writes += 1
        self._now[path].since.append((offset, data))

    def flush(self, path: str) -> None:
        """The file, and that it is there; of a new journal SQLite flushes the folder too."""
        self.flushes += 1
        self._now[path].flush()
        if self._flushed.get(path) is not self._now[path] and path.endswith(("-journal", "-wal")):
            self._flushed = dict(self._now)
        self._flushed[path] = self._now[path]


class _WatchedVfs:
    """The machine's own, with what is put in the place of four functions."""

    def __init__(self) -> None:
        self._disks: list[Disk] = []
        self._files: dict[int, tuple[Disk, str, Any, Any, Any]] = {}
        """By address: whose, its path, and SQLite's own way to write, truncate and close it."""
        library = ctypes.CDLL(getattr(_sqlite3, "__file__", None))
        library.sqlite3_vfs_find.restype = POINTER(_Vfs)
        library.sqlite3_vfs_find.argtypes = (c_char_p,)
        library.sqlite3_vfs_register.argtypes = (POINTER(_Vfs), c_int)
        own: _Vfs = library.sqlite3_vfs_find(None).contents
        self._open_own = cast(own.open, _OPEN)
        self._delete_own = cast(own.delete, _DELETE)
        self._own = own
        self._table = _Vfs.from_buffer_copy(own)
        self._kept = [_OPEN(self._open), _DELETE(self._delete), _WRITE(self._write), _TRUNCATE(self._truncate)]
        self._kept += [_SYNC(self._sync), _CLOSE(self._close)]
        opening, deleting, *self._put = (cast(one, c_void_p).value for one in self._kept)
        self._table.name, self._table.open, self._table.delete = NAME, opening, deleting
        self._methods: dict[int, _Methods] = {}
        """SQLite's tables with ours in them, by the address of its own."""
        library.sqlite3_vfs_register(ctypes.byref(self._table), 1)

    def watch(self, disk: Disk) -> None:
        self._disks.append(disk)
        trial = disk.folder / "trial"
        before = len(self._files)
        with closing(sqlite3.connect(trial)):
            seen = len(self._files) > before
        trial.unlink(missing_ok=True)
        if not seen:
            self._disks.remove(disk)
            raise RuntimeError("the SQLite of this Python cannot be looked at: its library is not found by its module")

    def forget(self, disk: Disk) -> None:
        self._disks.remove(disk)

    def _of(self, path: str) -> Disk | None:
        return next((one for one in self._disks if one.has(path)), None)

    def _open(self, _vfs: int, name: int | None, file: int, flags: int, out: int) -> int:
        found = int(self._open_own(ctypes.addressof(self._own), name, file, flags, out))
        path = "" if name is None else ctypes.string_at(name).decode()
        if found == OK and (disk := self._of(path)) is not None:
            disk.opened(path)
            opened = cast(file, POINTER(_File)).contents
            own = opened.methods.contents
            own_ways = cast(own.write, _WRITE), cast(own.truncate, _TRUNCATE), cast(own.close, _CLOSE)
            self._files[file] = disk, path, *own_ways
            opened.methods = ctypes.pointer(self._put_in(own))
        return found

    def _put_in(self, own: _Methods) -> _Methods:
        address = ctypes.addressof(own)
        if address not in self._methods:
            table = _Methods.from_buffer_copy(own)
            table.write, table.truncate, table.sync, table.close = self._put
            self._methods[address] = table
        return self._methods[address]

    def _delete(self, _vfs: int, name: bytes, flushes: int) -> int:
        path = name.decode()
        disk = self._of(path)
        if disk is not None and not disk.goes_on():
            return IO_ERROR
        found = int(self._delete_own(ctypes.addressof(self._own), name, 0 if disk else flushes))
        if disk is not None and found == OK:
            disk.deleted(path, flushes=bool(flushes))
        return found

    def _write(self, file: int, data: int, size: int, offset: int) -> int:
        disk, path, own, _, _ = self._files[file]
        if not disk.goes_on():
            return IO_ERROR
        disk.written(path, offset, ctypes.string_at(data, size))
        return int(own(file, data, size, offset))

    def _truncate(self, file: int, size: int) -> int:
        disk, path, _, own, _ = self._files[file]
        if not disk.goes_on():
            return IO_ERROR
        disk.written(path, size, None)
        return int(own(file, size))

    def _sync(self, file: int, _flags: int) -> int:
        disk, path, *_ = self._files[file]
        if not disk.goes_on():
            return IO_ERROR
        disk.flush(path)
        return OK

    def _close(self, file: int) -> int:
        *_, own = self._files.pop(file)
        return int(own(file))


@cache
def _vfs() -> _WatchedVfs:
    return _WatchedVfs()
