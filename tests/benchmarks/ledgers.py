"""What the daemons of a benchmark keep their books in: laid down empty, and taken away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.integration.redis_replicated import Cluster, Sentinels
from tests.integration.redis_servers import RedisServer

REPLICAS = 2
"""Of each master: where one server is lost, each write still finds a replica."""


@dataclass(frozen=True)
class Ledger:
    """Where it is."""

    url: str
    """Empty: each daemon has a file of its own."""
    kill: Callable[[], None] | None = None
    """Ends the server that answers (in a cluster: one of three), where another takes over."""
    port: int | None = None
    """A Redis that answers, before that one is ended; ``None``: the ledger is a file."""
    replicas: int = 0
    """So many have to have what is written."""
    raw_key: str = "{a0000000}floor"
    """In a cluster that server has it."""


@contextmanager
def sqlite(_folder: Path) -> Iterator[Ledger]:
    yield Ledger("")


@contextmanager
def redis(folder: Path) -> Iterator[Ledger]:
    with RedisServer(folder) as server:
        yield Ledger(server.url, port=server.port)


@contextmanager
def sentinel(folder: Path) -> Iterator[Ledger]:
    with Sentinels(folder, REPLICAS) as servers:
        master, _ = servers.master_and_replica()
        yield Ledger(_as_advised(servers.url), master.kill, master.port, replicas=1)


@contextmanager
def cluster(folder: Path) -> Iterator[Ledger]:
    with Cluster(folder, REPLICAS) as servers:
        master, _ = servers.master_and_replica("a0000000")
        yield Ledger(
            _as_advised(servers.url), lambda: servers.master_and_replica("a0000000")[0].kill(), master.port, replicas=1
        )


def _as_advised(url: str) -> str:
    """With the shipped patience, and no write answered before a replica has it: docs/high-availability.md."""
    return f"{url.partition('?')[0]}?min_replicas_ack=1"


LEDGERS = {"sqlite": sqlite, "redis": redis, "sentinel": sentinel, "cluster": cluster}
