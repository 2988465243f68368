"""Where processes are killed at a chosen write: an empty ledger for each, real processes, real deaths."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from tests.fakes.killing_relay import KillingRelay
from tests.fakes.killing_store import WRITES, KillingStore, Reaper, When
from tests.integration.redis_servers import RedisServer, wait_until

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.integration.doomed_life", "tests.integration.doomed_acts"])
LIFE_TIMEOUT_S = 120

Life = Callable[[str, int, When, Path, Path], None]
"""What a process does: the ledger's URL, the number of the write to die at (0: none) and when, a file for what lives on
outside of the process, and one for the names of the writes, where it lives to tell them."""


class Ground:
    """An empty ledger for each life."""

    def __init__(self, kind: str, folder: Path, server: RedisServer | None) -> None:
        self.kind = kind
        self._folder = folder
        self._server = server
        self._lives = 0

    def new(self) -> tuple[str, Path]:
        """The URL of an empty ledger, and a folder for what is saved of the world."""
        self._lives += 1
        folder = self._folder / str(self._lives)
        folder.mkdir()
        if self._server is None:
            return f"sqlite://{folder}/ledger.db", folder
        self._server.cli("flushall")
        self._server.cli("script", "flush")  # else the first life would differ from the others
        scheme = "redis+cluster" if self.kind == "cluster" else "redis"
        return f"{scheme}://127.0.0.1:{self._server.port}?timeout_s=30", folder

    def live(self, life: Life, url: str, folder: Path, at: int, when: When) -> int:
        """One life in a process of its own; its exit code."""
        process = PROCESSES.Process(target=life, args=(url, at, when, folder / "world", folder / "told"))
        process.start()
        process.join(LIFE_TIMEOUT_S)
        assert process.exitcode is not None, "the life does not end"
        if self._server is not None:
            self._server.cli("config", "set", "cluster-announce-port", "0")  # it was the relay's, which is gone
        return process.exitcode

    def undisturbed(self, life: Life, url: str, folder: Path) -> list[str]:
        """The writes of a life in which nobody dies."""
        assert self.live(life, url, folder, 0, "before") == 0
        writes: list[str] = json.loads((folder / "told").read_text())
        return writes


@contextmanager
def ground_of(kind: str, folder: Path) -> Iterator[Ground]:
    """``sqlite``, ``redis`` or ``cluster``."""
    if kind == "sqlite":
        yield Ground("sqlite", folder, None)
        return
    settings = ["cluster-enabled yes", "cluster-node-timeout 60000"] if kind == "cluster" else []
    with RedisServer(folder, *settings) as server:
        if settings:
            server.cli("cluster", "addslotsrange", "0", "16383")
            wait_until(lambda: "cluster_state:ok" in server.cli("cluster", "info"), "no cluster state ok")
        yield Ground(kind, folder, server)


@asynccontextmanager
async def watched(url: str, reaper: Reaper, writes: frozenset[str] = WRITES) -> AsyncIterator[KillingStore]:
    """The store of a URL, not open yet, of whose writes the reaper chooses one to die at. ``writes``: what counts as
    one with a SQLite file."""
    if not url.startswith("redis"):
        yield KillingStore(url, reaper, writes)
        return
    host, _, rest = url.rpartition(":")
    port, _, options = rest.partition("?")
    async with KillingRelay(int(port), reaper) as relay:
        yield KillingStore(f"{host}:{relay.port}?{options}", None)
