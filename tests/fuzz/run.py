"""Coverage-guided fuzzing: ``python -m tests.fuzz.run [--seconds 60] [--at-once 2] [TARGET…]``; without one, all.

Each target runs in a process of its own, from what is kept in ``tests/fuzz/corpus``; what it finds beyond that stays in
``.cache/fuzz/TARGET`` and is begun with the next time. An input that breaks a promise is written to
``.cache/fuzz/TARGET-crash-…``: mend the fault, and keep the input in the corpus under a name that says what it is.
"""

from __future__ import annotations

import argparse
import logging
import re
import subprocess
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import structlog

from tests.fuzz.target import CORPUS, TARGETS, check_growth, load

ROOT = Path(__file__).parents[2]
FOUND = ROOT / ".cache" / "fuzz"
INPUT_SECONDS_MAX = 300
"""One input that takes longer is a finding, on a busy machine too."""
INPUT_BYTES_MAX = 4096
MEASURED_EVERY = 256
"""Of so many inputs one is also grown and measured: which one follows from the input, so that a finding repeats."""
INSTRUMENTED = ["agi", "charging", "email.feedparser", "yaml.parser"]
"""Whose branches guide. (The rest of the two libraries would take most of the time.)"""
PROGRESS = re.compile(r"#\d+\s|stat::|INFO: ")
TOLD = re.compile(r"#(\d+)\s+(?:DONE|pulse|NEW|REDUCE|INITED|RELOAD)\s+cov: (\d+) ft: (\d+) corp: (\d+)/")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--at-once", type=int, default=2, help="so many targets")
    parser.add_argument("--here", action="store_true", help="in this process: what the others are started with")
    chosen = parser.parse_args()
    if unknown := set(chosen.targets) - set(TARGETS):
        parser.error(f"found {min(unknown)}, expected one of {', '.join(TARGETS)}")
    if find_spec("atheris") is None:
        parser.exit(1, "there is no atheris here: it has wheels for Linux on x86_64 and Python 3.11 to 3.13 alone\n")
    if chosen.here:
        fuzz(chosen.targets[0], chosen.seconds)
    names = chosen.targets or TARGETS
    with ThreadPoolExecutor(chosen.at_once) as pool:
        results = list(pool.map(lambda name: _apart(name, chosen.seconds), names))
    return 0 if all(results) else 1


def fuzz(name: str, seconds: int) -> None:
    """Fuzz one target in this process, which it ends."""
    import atheris  # not loaded by a test that only replays

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with atheris.instrument_imports(include=INSTRUMENTED):
        target = load(name)

    def one(data: bytes) -> None:
        target.check(data)
        if zlib.crc32(data) % MEASURED_EVERY == 0:
            check_growth(target.read, data)

    folder = FOUND / name
    folder.mkdir(parents=True, exist_ok=True)
    limits = (f"-max_total_time={seconds}", f"-timeout={INPUT_SECONDS_MAX}", f"-max_len={INPUT_BYTES_MAX}")
    options = (*limits, f"-artifact_prefix={folder.parent}/{name}-", "-print_final_stats=1", "-rss_limit_mb=2048")
    atheris.Setup([sys.argv[0], *options, str(folder), str(CORPUS / name)], one)
    atheris.Fuzz()


def _apart(name: str, seconds: int) -> bool:
    """Whether the target, in a process of its own, found nothing; says what it did."""
    command = [sys.executable, "-m", "tests.fuzz.run", "--here", "--seconds", str(seconds), name]
    began = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False)
    told = TOLD.findall(done.stderr)
    runs, coverage, features, kept = told[-1] if told else ("0", "0", "0", "0")
    took_s = time.monotonic() - began
    print(
        f"{name:10} {runs:>9} inputs in {took_s:.0f} s, {coverage} branches, {features} features, {kept} kept",
        flush=True,
    )
    if done.returncode != 0:
        print(done.stdout[-4_000:], *(line for line in done.stderr.splitlines() if not PROGRESS.match(line)), sep="\n")
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
