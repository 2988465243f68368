"""``python -m tests.simulation``: days in the life of a simulated city, by seeds, until a time is up; or one story.

    python -m tests.simulation --minutes 3            fresh seeds, by the day
    python -m tests.simulation --from 1 --stories 200 these seeds
    python -m tests.simulation --replay FILE          a story as it was printed
    python -m tests.simulation --log LOG --hours 1000000   until so many call-hours are in the log, which may be begun
    python -m tests.simulation --read LOG...          what is in logs; with --publish for the page

A seed that fails is shortened, and printed as a story that can be replayed. Exit code 1.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

import structlog

from tests.simulation.drawing import drawn
from tests.simulation.script import Story
from tests.simulation.soaked import MS_AN_HOUR, note, noted, publish, summary
from tests.simulation.story import Outcome, read, run, run_on_file, shortened

SHORTENING_S = 180
"""A story is made no shorter after that time."""


def main() -> int:
    """The exit code."""
    asked = _asked()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    told = run_on_file if asked.ledger == "sqlite" else run
    if asked.replay is not None:
        return _replay(read(asked.replay.read_text().splitlines()), told)
    if asked.read:
        return _read(asked.read, asked.publish)
    return _tell(asked, told)


def _tell(asked: argparse.Namespace, told: Callable[[Story], Outcome]) -> int:
    """Stories until there are enough, or one breaks a rule."""
    counts: Counter[str] = Counter()
    before = noted([asked.log]) if asked.log is not None and asked.log.exists() else []
    first = max((one["seed"] + 1 for one in before), default=asked.first)
    enough_ms = asked.hours * MS_AN_HOUR - sum(one["talked_ms"] for one in before)
    began, used = time.monotonic(), time.process_time()
    talked_ms = stories = 0
    violated: tuple[Story, str] | None = None
    for seed in count(first):
        is_late = asked.minutes and time.monotonic() - began > asked.minutes * 60
        if stories == asked.stories or is_late or (asked.hours and talked_ms >= enough_ms):
            break
        if asked.quick and drawn(seed).setting.is_slow:
            continue
        begun = time.process_time()
        outcome = told(drawn(seed))
        if asked.log is not None:
            cpu_s = time.process_time() - begun
            note(asked.log, seed, outcome.talked_ms, cpu_s, outcome.counts, outcome.violation)
        counts.update(outcome.counts)
        talked_ms += outcome.talked_ms
        stories += 1
        if outcome.violation:
            violated = drawn(seed), outcome.violation
            break
    hours, cpu_s = talked_ms / MS_AN_HOUR, time.process_time() - used
    for what, times in sorted(counts.items()):
        print(f"{times:>10,}  {what}")
    print(f"{hours:>10,.0f}  call-hours in {stories:,} stories, {hours / cpu_s:,.0f} for each second of CPU")
    if violated is None:
        print("no violation")
        return 0
    if asked.quick:
        print(f"seed {violated[0].seed}: {violated[1]}")
    else:
        _show(*violated, told, "" if asked.ledger == "memory" else f" --ledger {asked.ledger}")
    return 1


def _read(logs: Sequence[Path], commit: str) -> int:
    stories = noted(logs)
    print(summary(stories))
    if commit:
        publish(stories, commit, time.strftime("%Y-%m-%d", time.gmtime()))
        print("now `python -m tests.pages` writes the page")
    return int(any(one["violation"] for one in stories))


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    today = int(time.strftime("%Y%m%d", time.gmtime())) * 10_000
    parser.add_argument("--from", dest="first", type=int, default=today, help="the first seed; by default today's")
    parser.add_argument("--stories", type=int, default=-1, help="so many of them")
    parser.add_argument("--minutes", type=float, default=0, help="until so many minutes have passed")
    parser.add_argument("--quick", action="store_true", help="none whose calls last hours; none is shortened")
    parser.add_argument("--ledger", choices=("memory", "sqlite"), default="memory", help="where the books are kept")
    parser.add_argument("--log", type=Path, help="a file that gets a line for each story, and is gone on with")
    parser.add_argument("--hours", type=float, default=0, help="until so many call-hours are told, with the log's")
    parser.add_argument("--read", type=Path, nargs="+", default=(), help="logs to sum up")
    parser.add_argument("--publish", default="", metavar="COMMIT", help="keep what was read, told at this commit")
    parser.add_argument("--replay", type=Path, help="a file with a story")
    return parser.parse_args()


def _replay(story: Story, told: Callable[[Story], Outcome]) -> int:
    outcome = told(story)
    print(outcome.violation or "no violation")
    return int(bool(outcome.violation))


def _show(story: Story, violation: str, told: Callable[[Story], Outcome], options: str) -> None:
    again = f"python -m tests.simulation{options} --from {story.seed} --stories 1"
    print(f"seed {story.seed}: {violation}\nTold again by {again}; shortening ...", flush=True)
    until = time.monotonic() + SHORTENING_S
    short = shortened(story, lambda one: time.monotonic() < until and bool(told(one).violation))
    print(f"{told(short).violation}\n\n{short}\n\nSave the lines from `seed` on in FILE, and replay them with")
    print(f"    python -m tests.simulation{options} --replay FILE")


if __name__ == "__main__":
    sys.exit(main())
