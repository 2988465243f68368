"""What the whole daemon costs: `python -m tests.benchmarks.bench_daemon [--only STORE] [--parts …]`.

The shipped daemon is a process with its shipped settings. This process plays Asterisk to it: manager, dialplan and
black box over real sockets (`tests.benchmarks.played`). After each part the books are compared with what the callers
did; a wrong one fails the whole. CPU is that of the process that decides calls; ratios are medians of neighbours in
time.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.benchmarks.daemon_rows import PARTS, Side
from tests.benchmarks.figures import Table
from tests.benchmarks.ledgers import LEDGERS

FIGURES = Path(".cache/bench-daemon.json")
UNLESS_NAMED = ("day", "fail-over", "restart")


async def measure(options: argparse.Namespace, table: Table) -> None:
    for store in options.only or ("sqlite", "redis"):
        for name in options.parts:
            with ExitStack() as stack:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-daemon-")))
                ledger = stack.enter_context(LEDGERS[store](folder))
                async with Side(store, folder / name, ledger, table, options) as side:
                    await PARTS[name](side)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=LEDGERS, help="these ledgers; else SQLite and one Redis")
    parser.add_argument(
        "--parts",
        nargs="+",
        choices=PARTS,
        default=[one for one in PARTS if one not in UNLESS_NAMED],
        help="what is measured: all but the day, the fail-over and the restart alone, unless named",
    )
    parser.add_argument("--calls", type=int, default=500, help="live calls")
    parser.add_argument("--daemons", type=int, default=1, help="so many share live and mixed load")
    parser.add_argument("--hold", type=float, default=65, help="for so many seconds live calls are held")
    parser.add_argument("--seconds", type=float, default=2, help="length of a round of decisions")
    parser.add_argument("--rounds", type=int, default=2, help="how often decisions are measured")
    parser.add_argument("--rate", type=float, default=50, help="calls a second of the mixed load")
    parser.add_argument("--minutes", type=float, default=60, help="in which a day's calls come")
    parser.add_argument("--away", type=float, default=50, help="seconds between the kill and the restart")
    parser.add_argument("--json", type=Path, default=FIGURES, help="where the figures are written as JSON")
    options = parser.parse_args()
    table = Table()
    asyncio.run(measure(options, table))
    table.write(options.json)
    return table.failed()


if __name__ == "__main__":
    sys.exit(main())
