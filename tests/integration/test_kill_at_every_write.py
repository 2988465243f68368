"""`kill -9` at every single write of a call's life: a fresh daemon finds everything, and the books are exact.

A walk: one undisturbed life counts the writes; then for each of them one process dies just before it, and another when
it is durable and not answered yet. The processes and their deaths are real, and so are the SQLite file and the Redis;
the switch and the clock are not, so that a life of minutes takes a fraction of a second.
"""

from __future__ import annotations

import json
import multiprocessing
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from charging.ledger.model import CREDIT
from tests.fakes.killing_store import When
from tests.integration.doomed_life import FREE_S, TALK_S, TOP_UP, Books, doomed, recover
from tests.integration.redis_servers import RedisServer, wait_until

SECOND = 1_000
"""Micro-euro."""
BILLED_S = 191
"""Of 190.4 s, less the tolerance."""

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.integration.doomed_life"])
LIFE_TIMEOUT_S = 30


class Ground:
    """Where lives are lived: an empty ledger for each."""

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
        return f"{scheme}://127.0.0.1:{self._server.port}", folder

    def live(self, url: str, folder: Path, at: int, when: When) -> int:
        """One life in a process of its own; its exit code."""
        process = PROCESSES.Process(target=doomed, args=(url, at, when, folder / "world", folder / "told"))
        process.start()
        process.join(LIFE_TIMEOUT_S)
        assert process.exitcode is not None, "the life does not end"
        if self._server is not None:
            self._server.cli("config", "set", "cluster-announce-port", "0")  # it was the relay's, which is gone
        return process.exitcode


@pytest.fixture(params=["sqlite", "redis", "cluster"])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    if request.param == "sqlite":
        yield Ground("sqlite", tmp_path, None)
        return
    settings = ["cluster-enabled yes"] if request.param == "cluster" else []
    with RedisServer(tmp_path, *settings) as server:
        if settings:
            server.cli("cluster", "addslotsrange", "0", "16383")
            wait_until(lambda: "cluster_state:ok" in server.cli("cluster", "info"), "no cluster state ok")
        yield Ground(request.param, tmp_path, server)


def undisturbed(ground: Ground) -> list[str]:
    """The writes of a life in which nobody dies."""
    url, folder = ground.new()
    assert ground.live(url, folder, 0, "before") == 0
    writes: list[str] = json.loads((folder / "told").read_text())
    return writes


def wrong(books: Books) -> list[str]:
    """Everything that is not as it should be."""
    charged = [cdr for cdr in books.cdrs if cdr["billed_s"]]
    credit = books.balances[CREDIT]
    checks = {
        "the parties were not cut": not books.cut,
        "the switch's record": books.talked_ms == [round(TALK_S * 1000)],
        "its deletion": books.not_deleted == [],
        "the credit": credit.posted == TOP_UP - (BILLED_S - FREE_S) * SECOND,
        "the free seconds": [one.posted for key, one in books.balances.items() if key.startswith("bundle:")] == [0],
        "nothing reserved": all(one.reserved == 0 for one in books.balances.values()),
        "no open session": not books.open_sessions,
        "one CDR for each opening": len(books.cdrs) == books.openings,
        "one charged call": [(cdr["billed_s"], cdr["proof"]) for cdr in charged] == [(BILLED_S, "black_box")],
        "an honest ledger": not books.findings,
    }
    return [what for what, holds in checks.items() if not holds]


def test_a_life_writes_at_every_step_that_the_walk_is_to_visit(ground: Ground) -> None:
    writes = undisturbed(ground)
    if ground.kind != "sqlite":
        commands = [name.partition(" ")[0] for name in writes]
        assert commands.count("EVALSHA") >= 8, writes
        assert ("SREM" in commands) == (ground.kind == "cluster"), "indexes lie in slots of their own there"
    else:
        steps = ["acquire_lease", "apply reserve", "keep_session", "apply extend", "keep_session", "apply settle"]
        places = iter(writes)
        assert all(step in places for step in steps), writes
        assert writes.count("apply extend") >= 3


@pytest.mark.parametrize("when", ["before", "after"])
async def test_kill_at_any_write_loses_and_doubles_nothing(ground: Ground, when: When) -> None:
    failures = []
    for number, name in enumerate(undisturbed(ground), start=1):
        url, folder = ground.new()
        assert ground.live(url, folder, number, when) == -signal.SIGKILL, name
        books = await recover(url, folder / "world")
        if found := wrong(books):
            failures.append(f"killed {when} write {number}, {name}: not {', '.join(found)}: {books}")
    assert not failures, "\n".join(failures)
