"""What every fuzz target shares: its parts, and time against size.

A target is a module of this folder: ``check(data)`` raises AssertionError where what the program makes of the bytes
breaks a promise, and lets every exception through that is not declared; ``read(data)`` is the program's own reading
alone, whose time is measured.
"""

from __future__ import annotations

import gc
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Protocol, cast

CORPUS = Path(__file__).parent / "corpus"
TARGETS = ("agi", "ami", "yaml", "deck", "fax_mail", "api", "black_box")

GROWTH_MAX = 2.3
"""How much longer an input of twice the size may take."""
FIRST_BYTES = 16 * 1024
NOTHING_S = 0.005
"""An input of ``2 * FIRST_BYTES`` that is read in less shows no growth: what is measured would be the clock."""
PIECE_MAX = 24
TIMES = 3
"""An input that seems to take too long is measured so often; the shortest counts."""


class Target(Protocol):
    def check(self, data: bytes) -> None: ...
    def read(self, data: bytes) -> None: ...


def load(name: str) -> Target:
    """The target of that name."""
    module: ModuleType = __import__(f"tests.fuzz.target_{name}", fromlist=["check"])
    return cast(Target, module)


def entries(name: str) -> list[Path]:
    """What is kept for a target, in the order of the names."""
    return sorted(path for path in (CORPUS / name).iterdir() if path.is_file())


def grown(data: bytes, size: int) -> bytes:
    """``data`` with one piece of it (which one follows from ``data``) so often that there are ``size`` bytes."""
    mark = zlib.crc32(data)
    start = mark % max(1, len(data))
    piece = data[start : start + 1 + (mark >> 16) % PIECE_MAX] or b"\0"
    return data[:start] + piece * max(1, (size - len(data)) // len(piece)) + data[start + len(piece) :]


def check_growth(read: Callable[[bytes], object], data: bytes, first_bytes: int = FIRST_BYTES) -> None:
    """Raises AssertionError where reading takes more than ``GROWTH_MAX`` times as long each time the input is doubled.

    The processor time of this thread counts, without garbage collection. One doubling can be bad luck, so two
    in a row must show it, each the shortest of some.
    """
    once, twice, four = (grown(data, first_bytes * factor) for factor in (1, 2, 4))
    if not _too_much(once, twice, read, 1) or not _too_much(once, twice, read, TIMES):
        return
    if _too_much(twice, four, read, TIMES):
        sizes_s = [(len(each), round(_shortest_s(read, each, 1), 3)) for each in (once, twice, four)]
        raise AssertionError(f"more than {GROWTH_MAX} times the time for twice the input: {sizes_s}: {twice[:200]!r}…")


def _too_much(shorter: bytes, longer: bytes, read: Callable[[bytes], object], times: int) -> bool:
    longer_s = _shortest_s(read, longer, times)
    return longer_s > NOTHING_S and longer_s > GROWTH_MAX * _shortest_s(read, shorter, times)


def _shortest_s(read: Callable[[bytes], object], data: bytes, times: int) -> float:
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return min(_once_s(read, data) for _ in range(times))
    finally:
        if was_enabled:
            gc.enable()


def _once_s(read: Callable[[bytes], object], data: bytes) -> float:
    began_ns = time.thread_time_ns()
    read(data)
    return (time.thread_time_ns() - began_ns) / 1e9
