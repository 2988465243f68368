"""What the check and the daemon say of a Redis' replicas: users, disks and policies are each server's own, and a
fail-over must not be what tells of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from charging.ledger.redis.client import RedisClient
from charging.ledger.redis.url import parse
from tests.integration.redis_replicated import Cluster, Sentinels
from tests.integration.redis_servers import RedisServer, wait_until

USER = ("acl", "setuser", "ledger", "on", ">right", "~charging:*", "+@all", "-@dangerous", "+info", "+config|get")
PROBE = "charging:probe"


class Pair:
    """One master and its replica, without anything that watches them."""

    def __init__(self, folder: Path) -> None:
        self._master = RedisServer(folder)
        self._replica = RedisServer(folder, f"replicaof 127.0.0.1 {self._master.port}")

    def __enter__(self) -> Pair:
        self._master.start()
        self._replica.start()
        wait_until(lambda: "state=online" in self._master.cli("info", "replication"), "the replica is not in sync")
        return self

    def __exit__(self, *_: object) -> None:
        self._replica.stop()
        self._master.stop()

    @property
    def url(self) -> str:
        return f"{self._master.url}?timeout_s=0.5"

    def master_and_replica(self, _account: str = "") -> tuple[RedisServer, RedisServer]:
        return self._master, self._replica


MADE: dict[str, Callable[[Path], Pair | Sentinels | Cluster]] = {
    "single": Pair,
    "sentinel": Sentinels,
    "cluster": lambda folder: Cluster(folder, 1),
}


@pytest.fixture(params=MADE)
def servers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair | Sentinels | Cluster]:
    with MADE[request.param](tmp_path) as made:
        yield made


def _has_its_file(server: RedisServer) -> bool:
    said = server.cli("info", "persistence")
    return "aof_rewrite_in_progress:0" in said and "aof_rewrite_scheduled:0" in said


async def told(url: str) -> list[str]:
    client = RedisClient(parse(url.replace("://", "://ledger:right@", 1)))
    try:
        return await client.warnings(PROBE)
    finally:
        await client.close()


async def test_a_replica_that_could_not_be_the_ledger_is_told_of_before_the_fail_over(
    servers: Pair | Sentinels | Cluster,
) -> None:
    _, replica = servers.master_and_replica("anna")
    every = {one.port: one for account in range(30) for one in servers.master_and_replica(str(account))}
    for one in every.values():
        one.cli(*USER)
        await asyncio.to_thread(wait_until, partial(_has_its_file, one), "a new replica writes its file")
    for _ in range(2):
        assert await told(servers.url) == []
    assert replica.cli("exists", PROBE).strip() != "1", "nothing is written there"
    replica.cli("config", "set", "appendonly", "no")
    replica.cli("config", "set", "maxmemory-policy", "allkeys-lru")
    name = f"Redis replica 127.0.0.1:{replica.port}"
    found = await told(servers.url)
    assert [one.startswith(f"{name}: {what}") for one, what in zip(found, ("appendonly", "maxmemory"), strict=True)]
    replica.cli("acl", "setuser", "ledger", "resetkeys", "~other:*")
    (found_rights,) = await told(servers.url)
    assert found_rights.startswith(f"{name}: AFTER A FAIL-OVER NOTHING IS BOOKED")
    assert "at every server" in found_rights
    replica.cli("acl", "deluser", "ledger")
    (found_user,) = await told(servers.url)
    assert found_user.startswith(f"{name}: AFTER A FAIL-OVER NOTHING IS BOOKED")
    assert "password" in found_user


async def test_a_replica_that_cannot_be_reached_from_here_is_told_of_where_it_may_take_over(tmp_path: Path) -> None:
    """Of a single Redis its place is another network's perhaps, and nothing would go there."""
    for made, count in ((Pair, 0), (Sentinels, 1)):
        with made(tmp_path / made.__name__) as servers:
            master, replica = servers.master_and_replica()
            for one in (master, replica):
                one.cli(*USER)
            replica.freeze()
            found = await told(servers.url)
            replica.thaw()
        assert len(found) == count
        assert all("AFTER A FAIL-OVER" in one for one in found)
