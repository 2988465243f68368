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
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Protocol, cast

CORPUS = Path(__file__).parent / "corpus"
TARGETS = ("agi", "ami", "yaml", "deck", "fax_mail", "sender", "api", "page", "black_box")

GROWTH_MAX = 2.3
"""How much longer an input of twice the size may take."""
FIRST_BYTES = 16 * 1024
NOTHING_S = 0.005
"""An input of ``2 * FIRST_BYTES`` that is read in less shows no growth: what is measured would be the clock."""
PIECE_MAX = 24
ROUNDS, ROUNDS_MAX = 5, 60
"""An input that seems to take too long is measured so often, and so often where it is not clear."""
CLEAR = 3.0
"""So much longer is not by chance after ``ROUNDS``: work that grows by the square takes four times as long."""


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

    The processor time of this thread counts, without garbage collection. A busy machine makes it longer by chance, so
    it takes two doublings in a row, measured in turn and again and again; the shortest of each counts, and one round
    that shows no such growth ends it.
    """
    inputs = [grown(data, first_bytes * factor) for factor in (1, 2, 4)]
    shortest_s = [float("inf")] * len(inputs)
    for measured in range(1, ROUNDS_MAX + 1):
        for at, each in enumerate(inputs):
            shortest_s[at] = min(shortest_s[at], _once_s(read, each))
            if at > 0 and shortest_s[at] <= max(NOTHING_S, GROWTH_MAX * shortest_s[at - 1]):
                return
        if measured >= ROUNDS and all(after > CLEAR * before for before, after in pairwise(shortest_s)):
            break
    told = [(len(each), round(seconds, 4)) for each, seconds in zip(inputs, shortest_s, strict=True)]
    raise AssertionError(f"more than {GROWTH_MAX} times the time for twice the input: {told}: {inputs[1][:200]!r}…")


def _once_s(read: Callable[[bytes], object], data: bytes) -> float:
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        began_ns = time.thread_time_ns()
        read(data)
        return (time.thread_time_ns() - began_ns) / 1e9
    finally:
        if was_enabled:
            gc.enable()
