"""What the ledger costs: `python -m tests.benchmarks.bench_ledger [--seconds S] [--accounts N]… [--only sqlite|redis]`.

SQLite (durable: WAL, synchronous = FULL) against raw SQLite that commits one transaction at a time, in the same
run and on the same disk; Redis against a bare EVALSHA of the same commands by the same client. Each with 1 and with
200 tasks, in stores of 1,000 and 1,000,000 accounts. Each task plays calls on random accounts: reserve, extend, settle,
each a transfer. Rounds alternate, and medians are told, for a machine that other work shares.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path

from tests.benchmarks import ledger_redis, ledger_sqlite


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="length of each of the rounds")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured")
    parser.add_argument("--accounts", type=int, nargs="+", default=[1_000, 1_000_000], help="sizes of the stores")
    parser.add_argument("--only", choices=["sqlite", "redis"], help="one of the stores")
    options = parser.parse_args()
    benches = {"sqlite": ledger_sqlite.bench, "redis": ledger_redis.bench}
    for name, bench in benches.items():
        if options.only in (None, name):
            with tempfile.TemporaryDirectory(prefix="bench-ledger-") as folder:
                asyncio.run(bench(Path(folder), options.accounts, options.seconds, options.rounds))


if __name__ == "__main__":
    main()
