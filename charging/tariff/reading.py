"""Reads a tariff and its decks in a process of its own, for the one that decides calls.

A deck of 200,000 rows takes seconds to read, and a thread that reads it would keep the interpreter from deciding calls.
So a child process reads it, and passes the result through shared memory: the decks' arrays are used in place, and the
part that is copied does not grow with their rows. The child gets the decks that were read before in the same way, and
reads only those that have changed. If the child dies or hangs, that is reported as a problem, and the tariff in force
stays.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import pickle
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import field
from pathlib import Path
from typing import Any

from charging.clock import SystemClock
from charging.errors import ConfigError, Problem
from charging.priority import give_way
from charging.records import dataclass
from charging.tariff.accepted import Accepted
from charging.tariff.deck_file import DeckCache
from charging.tariff.file import files_of, load_tariff
from charging.tariff.tariff import Tariff
from charging.tasks import deaf_to_hangup

_MAIN = "import sys; from charging.tariff.reading import main; main(*map(int, sys.argv[1:]))"
PROGRAM = (sys.executable, "-P", "-c", _MAIN)
"""Not as ``__main__``: what it hands over is of this module's own classes. ``-P``: no module of the folder in which the
daemon was started is taken for one of Python's or ours."""
READ_MAX_S = 300
"""The largest deck there may be takes two minutes."""
ALIGNED = 8


@dataclass(frozen=True, slots=True)
class Reading:
    """What one reading of the files gave."""

    files: tuple[Path, ...]
    tariff: Tariff | None
    problems: tuple[Problem, ...]
    decks: DeckCache = field(default_factory=DeckCache)
    """What was read, for the next reading."""
    finished: bool = True
    """``False``: the files were not read to their end, or not judged, which says nothing about them."""
    waiting: str = ""
    """The digest of a good tariff that counts once someone accepts it; its doubts are the problems."""


def read_files(
    path: Path,
    files: tuple[Path, ...],
    decks: DeckCache,
    accepted: Accepted | None = None,
    wall_us: int = 0,
) -> Reading:
    """Read them here and now. ``files``: what they were the last time; ``accepted``: what judges them,
    at ``wall_us`` by the clock."""
    before = decks.copy()
    try:
        files = files_of(path)
        decks.keep_only(files)
        tariff = load_tariff(path, deck_reader=decks)
        if accepted is None:
            return Reading(files, tariff, (), decks)
        try:
            verdict = accepted.judge(tariff, wall_us, before)
        except OSError as error:
            hint = "the tariff in force stays, and this is tried again"
            return Reading(files, None, (accepted.unread(error, hint),), decks, finished=False)
        if verdict.doubts:
            return Reading(files, None, verdict.doubts, decks, waiting=tariff.digest)
        return Reading(files, verdict.tariff, (), decks)
    except ConfigError as error:
        return Reading(files, None, error.problems, decks)
    except Exception as error:  # noqa: BLE001  whatever is wrong with an edit, calls go on with the tariff in force
        found = f"{type(error).__name__}: {error}"
        return Reading(files, None, (_unreadable(path, found),), decks)


def _unreadable(path: Path, found: str, hint: str = "") -> Problem:
    return Problem(str(path), "", found, "a tariff that can be read", hint=hint)


async def read_in_child(
    path: Path,
    files: tuple[Path, ...],
    decks: DeckCache,
    accepted: Accepted | None = None,
    *,
    program: Sequence[str] = PROGRAM,
    deadline_s: float = READ_MAX_S,
) -> Reading:
    """Read the files in a child process, for at most ``deadline_s`` seconds."""
    with _Memory() as given, _Memory() as made:
        descriptors = (given.descriptor, made.descriptor)
        pipe = asyncio.subprocess.PIPE
        try:
            request = await asyncio.to_thread(given.write, (path, files, decks, accepted))
            with deaf_to_hangup():
                process = await asyncio.create_subprocess_exec(
                    *program, *map(str, descriptors), stdin=pipe, stdout=pipe, stderr=pipe, pass_fds=descriptors
                )
            answer, said = await _asked(process, request, deadline_s)
        except TimeoutError:
            return _broken_off(path, files, decks, f"a reader that has not finished after {deadline_s:g} s")
        except OSError as error:
            return _broken_off(path, files, decks, f"a reader that cannot be started ({error.strerror or error})")
        if process.returncode:
            last = said.decode(errors="replace").strip().rpartition("\n")[2][:200]
            why = f"signal {-process.returncode}" if process.returncode < 0 else f"code {process.returncode}"
            return _broken_off(path, files, decks, f"a reader that ended with {why} {last}".rstrip())
        reading: Reading = made.read(answer)
        return reading


async def _asked(process: asyncio.subprocess.Process, request: bytes, deadline_s: float) -> tuple[bytes, bytes]:
    """The child's answer. Raises TimeoutError. In every case the child has ended when this returns."""
    try:
        async with asyncio.timeout(deadline_s):
            return await process.communicate(request)
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _broken_off(path: Path, files: tuple[Path, ...], decks: DeckCache, found: str) -> Reading:
    hint = "the tariff in force stays, and this is tried again; has the machine memory enough?"
    return Reading(files, None, (_unreadable(path, found, hint),), decks, finished=False)


class _Memory:
    """Memory shared by two processes: one writes an object into it, and the other reads it in place."""

    def __init__(self, descriptor: int | None = None) -> None:
        self.descriptor = os.memfd_create("charging-tariff") if descriptor is None else descriptor

    def __enter__(self) -> _Memory:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)

    def write(self, value: object) -> bytes:
        """What ``read`` needs to find it."""
        large: list[pickle.PickleBuffer] = []
        rest = pickle.dumps(value, protocol=5, buffer_callback=large.append)
        sizes = []
        with open(self.descriptor, "wb", closefd=False) as memory:
            for one in large:
                sizes.append(memory.write(one.raw()))
                memory.write(bytes(-sizes[-1] % ALIGNED))
        return pickle.dumps((rest, sizes))

    def read(self, written: bytes) -> Any:
        """The object. Its arrays stay in this memory, which lives as long as they do."""
        rest, sizes = pickle.loads(written)  # noqa: S301  our own other process wrote it
        if not sizes:
            return pickle.loads(rest)  # noqa: S301
        memory = memoryview(mmap.mmap(self.descriptor, 0, prot=mmap.PROT_READ))
        large, start = [], 0
        for size in sizes:
            large.append(memory[start : start + size])
            start += size + -size % ALIGNED
        return pickle.loads(rest, buffers=large)  # noqa: S301


def main(given: int, made: int) -> None:
    """The child; its arguments are the two memories' descriptors."""
    give_way()
    with _Memory(given) as memory:
        path, files, decks, accepted = memory.read(sys.stdin.buffer.read())
    reading = read_files(path, files, decks, accepted, SystemClock().now().wall_us)
    with _Memory(made) as memory:
        sys.stdout.buffer.write(memory.write(reading))
