"""Carries a ledger's write-ahead log over into its file, on a thread and a connection of its own.

Left to itself SQLite does so within the commit that makes the log long: then all that waits for the writer, ticks and
callers, waits for the whole log, some tenths of a second on a busy disk. A ``PASSIVE`` checkpoint beside the writer
holds nobody up. What is committed meanwhile stays in the log, and the log is begun again only where nothing does: so a
second look follows, which is short. If none succeeds, the commit does it after all (`connect`).
"""

from __future__ import annotations

import threading
from contextlib import closing, suppress
from pathlib import Path

from charging.ledger.sqlite.file import DRIVER_ERRORS, connect

ROWS = 16_000
"""Rows written between two. A tick writes five, and two pages: some 7,000 pages, each of which may be written often."""

LOOKS = 4


class Checkpoints:
    """Of one ledger file, beside its writer."""

    def __init__(self, path: Path, busy_s: float) -> None:
        self._path = path
        self._busy_s = busy_s
        self._rows = 0
        self._due = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="ledger-checkpoint", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Return when none is under way, and none will be."""
        self._stopping = True
        self._due.set()
        if self._thread.ident is not None:
            self._thread.join()

    def written(self, rows: int) -> None:
        """So many rows more have been committed; for the writer's thread."""
        self._rows += rows
        if self._rows >= ROWS:
            self._rows = 0
            self._due.set()

    def _run(self) -> None:
        while self._due.wait() and not self._stopping:
            self._due.clear()
            with suppress(*DRIVER_ERRORS):  # the writer meets it too, and says so
                self._carry_over()

    def _carry_over(self) -> None:
        with closing(connect(self._path, self._busy_s)) as connection:
            for _ in range(LOOKS):
                busy, pages, carried = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                if busy or pages == carried or self._stopping:
                    return
