"""Plants one mistake after another, each in a copy of the project, and runs the test that is known to find it. Only if
that one passes, or none is known, the quick tests of its room that come through its line are run: one must fail.
``make mutants``. Or takes back one mend of the core after another
(``mended.yaml``), and tells stories of the simulated city: one of them must break a rule. ``--mended``."""

from __future__ import annotations

import argparse
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.mutants.planted import LIST, ROOT, Mend, Mistake, mends, mistakes
from tests.mutants.witness import CHOSEN, NOTES, Witness, read

PYTEST = ("-m", "pytest", "-q", "-x", "-p", "tests.mutants.witness", "-p", "no:randomly", "-m", "not asterisk")
USUAL = "not (redis or cluster or sentinel)"
"""Their servers take their time."""
ON_REDIS = "redis and not cluster and not sentinel"
"""What finds a mistake in the store of Redis: the contract of every store. Which of its tests come through a line of a
script nobody notes, so all are run."""
LONGEST_S = 3600
"""A mistake that lets a test hang is found as well, but not so soon."""
FAILED, BROKEN, NOT_THERE = 1, 2, 4
"""Exit codes of pytest: a test failed, a file of tests could not be read, or there is no such test."""
FOUND = re.compile(r"^(?:FAILED|ERROR) (.*)$", re.MULTILINE)


def copied(folder: Path) -> Path:
    """The project without what git does not know."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    return folder


class Ran(NamedTuple):
    """How tests ended."""

    found: str
    """The first test that failed; ``""``: all passed."""
    seconds: float


def run(folder: Path, tests: Iterable[str], which: str = "", **environment: str) -> Ran:
    """Run tests until one fails. ``which``: those that pytest's ``-k`` chooses; empty: all. Raises RuntimeError where
    pytest could not run."""
    command = [sys.executable, *PYTEST, *(("-k", which) if which else ()), *tests]
    shown = {**os.environ, "PYTHONPATH": str(folder), **environment}
    begun = time.monotonic()
    try:
        ran = subprocess.run(command, cwd=folder, env=shown, capture_output=True, text=True, timeout=LONGEST_S)
    except subprocess.TimeoutExpired:
        return Ran("tests that never end", time.monotonic() - begun)
    if ran.returncode not in (0, FAILED, BROKEN, NOT_THERE):
        raise RuntimeError(f"pytest ended with {ran.returncode}: {ran.stdout[-2000:]}{ran.stderr[-2000:]}")
    named = FOUND.search(ran.stdout)
    found = "" if ran.returncode == 0 else named[1] if named else ran.stdout[-500:] + ran.stderr[-500:]
    return Ran(found, time.monotonic() - begun)


@contextmanager
def planted(mistake: Mistake, folders: queue.Queue[Path]) -> Iterator[Path]:
    """A copy of the project that has it."""
    folder = folders.get()
    file = folder / mistake.file
    right = file.read_text(encoding="utf-8")
    try:
        file.write_text(mistake.planted_in(right), encoding="utf-8")
        yield folder
    finally:
        file.write_text(right, encoding="utf-8")
        folders.put(folder)


def told(mistake: Mistake, ran: Ran) -> None:
    """Print how it ended."""
    print(f"{'found' if ran.found else 'SURVIVED':8} {ran.seconds:5.1f} s  {mistake.file}: {mistake.so}", flush=True)


def survives_who_found_it(mistake: Mistake, folders: queue.Queue[Path]) -> bool:
    """Whether the test passes that is known to find it, or none is known."""
    if mistake.by:
        with planted(mistake, folders) as folder:
            ran = run(folder, [mistake.by])
        if ran.found:
            told(mistake, ran)
            return False
        print(f"{'passes':8} {ran.seconds:5.1f} s  {mistake.by}, though {mistake.so}", flush=True)
    return True


def survives(mistake: Mistake, witnesses: Sequence[Witness], folders: queue.Queue[Path]) -> bool:
    """Whether the tests of its room pass although the mistake is there."""
    chosen = [one.test for one in witnesses if one.saw(mistake.file, mistake.lines_in(mistake.right))]
    with planted(mistake, folders) as folder:
        if mistake.is_of_redis:
            ran = run(folder, mistake.tests, ON_REDIS)
        elif chosen:
            (folder / "chosen").write_text("\n".join(chosen), encoding="utf-8")
            files = sorted({one.partition("::")[0] for one in chosen})
            ran = run(folder, files, USUAL, **{CHOSEN: str(folder / "chosen")})
        else:  # read when the program starts
            ran = run(folder, mistake.tests, USUAL)
    told(mistake, ran)
    print(f"{'':17} {f'by: {ran.found}' if ran.found else f'{len(chosen)} tests came by'}", flush=True)
    return not ran.found


def witnesses_of(mistakes: Iterable[Mistake], right: Path) -> list[Witness]:
    """The quick tests of their rooms, by what they enter. Raises RuntimeError if one fails without any mistake."""
    rooms = sorted({room for one in mistakes if not one.is_of_redis for room in one.tests})
    if not rooms:
        return []
    if (ran := run(right, rooms, USUAL, **{NOTES: str(right / "notes")})).found:
        raise RuntimeError(f"{ran.found} fails without any mistake: mend that first")
    witnesses = read(right / "notes")
    print(f"{len(witnesses)} tests pass without a mistake, in {ran.seconds:.0f} s", flush=True)
    return witnesses


def is_told(mend: Mend, folder: Path) -> bool:
    """Whether the simulation finds a fault again. Raises RuntimeError where it could not run."""
    right = {one.file: (folder / one.file).read_text(encoding="utf-8") for one in mend.edits}
    for one in mend.edits:
        text = (folder / one.file).read_text(encoding="utf-8")
        (folder / one.file).write_text(one.planted_in(text), encoding="utf-8")
    if mend.story:
        (folder / "story").write_text(mend.story, encoding="utf-8")
        wanted = ["--replay", "story"]
    else:
        first, stories = mend.seeds
        wanted = ["--quick", "--from", str(first), "--stories", str(stories)]
    command = [sys.executable, "-m", "tests.simulation", *wanted]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    for file, text in right.items():
        (folder / file).write_text(text, encoding="utf-8")
    told = ran.stdout.strip().rpartition("\n")[2]
    if ran.returncode and not told:
        raise RuntimeError(f"{mend.edits[0].so}: {ran.stderr[-2000:]}")
    print(
        f"{'found' if ran.returncode else 'SURVIVED':8} {mend.fault:>3}  {mend.edits[0].so}\n{'':13} {told}", flush=True
    )
    return bool(ran.returncode)


def take_back() -> int:
    """Every mend in turn; 1 where one is not missed."""
    with tempfile.TemporaryDirectory(prefix="mended-") as scratch:
        folder = copied(Path(scratch))
        found = [is_told(one, folder) for one in mends()]
    print(f"{sum(found)} of {len(found)} mends that were taken back were noticed by the simulation")
    return int(not all(found))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="those whose file or description has this text")
    parser.add_argument("--listed", default=LIST, type=Path, metavar="FILE", help="those of another list")
    parser.add_argument("--at-once", type=int, default=2, metavar="N", help="so many copies of the project (2)")
    parser.add_argument("--mended", action="store_true", help="take mends back, for the simulation to find")
    options = parser.parse_args()
    if options.mended:
        return take_back()
    chosen = [one for one in mistakes(options.listed) if options.only in f"{one.file}: {one.so}"]
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch, ThreadPoolExecutor(options.at_once) as workers:
        folders: queue.Queue[Path] = queue.Queue()
        for number in range(options.at_once):
            folders.put(copied(Path(scratch) / str(number)))
        right = Path(scratch) / "0"
        if (known := sorted({one.by for one in chosen if one.by})) and (ran := run(right, known)).found:
            raise RuntimeError(f"{ran.found} fails without any mistake, or is not there: mend that first")
        print(f"{len(known)} tests that find mistakes pass without one, in {ran.seconds:.0f} s", flush=True)
        missed = list(workers.map(lambda one: survives_who_found_it(one, folders), chosen))
        left = [one for one, is_missed in zip(chosen, missed, strict=True) if is_missed]
        witnesses = witnesses_of(left, right)
        survived = list(workers.map(lambda one: survives(one, witnesses, folders), left))
    print(f"{len(chosen) - sum(survived)} of {len(chosen)} planted mistakes found")
    return int(any(survived))


if __name__ == "__main__":
    sys.exit(main())
