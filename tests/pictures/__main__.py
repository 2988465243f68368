"""The pictures: the demo and the dashboard, each of a run on the real Asterisk; the console, and the customers' page:
``python -m tests.pictures [console]`` (some five minutes; of the browser's pages alone, a minute). ``day`` draws what
`make bench-day` has measured, and nothing else."""

from __future__ import annotations

import asyncio
import sys

from tests.pages import DOCS
from tests.pictures import console, customer, dashboard, day, terminal


def main() -> None:
    folder = DOCS / "pictures"
    folder.mkdir(exist_ok=True)
    if sys.argv[1:] == ["day"]:
        (folder / "day.svg").write_text(day.drawn(), encoding="utf-8")
        return
    asyncio.run(console.pictures(folder))
    asyncio.run(customer.pictures(folder))
    if sys.argv[1:] != ["console"]:
        (folder / "demo.svg").write_text(terminal.demo(), encoding="utf-8")
        (folder / "dashboard.svg").write_text(asyncio.run(dashboard.of_a_run()), encoding="utf-8")
    sys.stdout.write(f"written: {', '.join(sorted(one.name for one in folder.iterdir()))}\n")


if __name__ == "__main__":
    main()
