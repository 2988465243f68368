"""Both pictures, each of a run on the real Asterisk: ``python -m tests.pictures`` (some five minutes)."""

from __future__ import annotations

import asyncio
import sys

from tests.pages import DOCS
from tests.pictures import dashboard, terminal


def main() -> None:
    folder = DOCS / "pictures"
    folder.mkdir(exist_ok=True)
    (folder / "demo.svg").write_text(terminal.demo(), encoding="utf-8")
    (folder / "dashboard.svg").write_text(asyncio.run(dashboard.of_a_run()), encoding="utf-8")
    sys.stdout.write(f"written: {folder}/demo.svg and dashboard.svg\n")


if __name__ == "__main__":
    main()
