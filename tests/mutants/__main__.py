"""Plants one mistake after another, each in a copy of the project, and runs the quick tests of its room: one of them
must fail. ``make mutants``."""

from __future__ import annotations

import argparse
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutants.planted import ROOT, Mistake, mistakes

PYTEST = ("-m", "pytest", "-q", "-x", "-p", "no:randomly", "-m", "not long and not asterisk")
LEFT_OUT = "redis or cluster or sentinel"
"""Their scripts are not in the list, and their servers take their time."""
LONGEST_S = 900
"""A mistake that lets a test hang is found as well, but not so soon."""
FAILED, BROKEN = 1, 2
"""Exit codes of pytest: a test failed, or a file of tests could not be read."""


def copied(folder: Path) -> Path:
    """The project without what git does not know."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    return folder


def passes(folder: Path, tests: Iterable[str]) -> bool:
    """Whether no test finds anything. Raises RuntimeError where pytest could not run."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, *PYTEST, "-k", f"not ({LEFT_OUT})", *tests]
    try:
        ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LONGEST_S)
    except subprocess.TimeoutExpired:
        return False
    if ran.returncode not in (0, FAILED, BROKEN):
        raise RuntimeError(f"pytest ended with {ran.returncode}: {ran.stdout[-2000:]}{ran.stderr[-2000:]}")
    return ran.returncode == 0


def survives(mistake: Mistake, folders: queue.Queue[Path]) -> bool:
    """Whether the tests pass although the mistake is there."""
    folder = folders.get()
    try:
        file = folder / mistake.file
        right = file.read_text(encoding="utf-8")
        file.write_text(mistake.planted_in(right), encoding="utf-8")
        begun = time.monotonic()
        survived = passes(folder, mistake.tests)
        file.write_text(right, encoding="utf-8")
    finally:
        folders.put(folder)
    print(
        f"{'SURVIVED' if survived else 'found':8} {time.monotonic() - begun:5.0f} s  {mistake.file}: {mistake.so}",
        flush=True,
    )
    return survived


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="those whose file or description has this text")
    parser.add_argument("--at-once", type=int, default=2, metavar="N", help="so many copies of the project (2)")
    options = parser.parse_args()
    chosen = [one for one in mistakes() if options.only in f"{one.file}: {one.so}"]
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch, ThreadPoolExecutor(options.at_once) as workers:
        folders: queue.Queue[Path] = queue.Queue()
        for number in range(options.at_once):
            folders.put(copied(Path(scratch) / str(number)))
        right = Path(scratch) / "0"
        rooms = sorted({one.tests for one in chosen})
        for tests in rooms:
            if not passes(right, tests):
                print(f"{' '.join(tests)} fail without any mistake: mend that first")
                return 2
        survived = list(workers.map(lambda one: survives(one, folders), chosen))
    print(f"{len(chosen) - sum(survived)} of {len(chosen)} planted mistakes found")
    return int(any(survived))


if __name__ == "__main__":
    sys.exit(main())
