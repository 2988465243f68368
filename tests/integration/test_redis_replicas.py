"""What the check and the daemon say of a Redis' replicas: users, disks and policies are each server's own, and a
fail-over must not be what tells of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from charging.errors import LedgerError
from charging.ledger.accounts import Account
from charging.ledger.model import CREDIT, Kind, Leg, Transfer
from charging.ledger.redis.client import RedisClient
from charging.ledger.redis.url import parse
from tests.fakes.ami import eventually
from tests.integration.redis_load import Opener
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


async def test_a_redis_that_writes_on_where_it_is_cut_off_from_its_replicas_is_told(tmp_path: Path) -> None:
    """The daemon that reaches it alone kept its lease, and hung up each call that the other one decided."""
    with Pair(tmp_path) as servers:
        both = servers.master_and_replica()
        for one in both:
            one.cli(*USER)
            await asyncio.to_thread(wait_until, partial(_has_its_file, one), "a new replica writes its file")
        assert await told(servers.url) == [], "who waits for no replica has chosen to go on without"
        found = await told(f"{servers.url}&min_replicas_ack=1")
        assert len(found) == 2
        assert all("min-replicas-to-write is 0" in one for one in found)
        for one in both:
            one.cli("config", "set", "min-replicas-to-write", "1")
        assert await told(f"{servers.url}&min_replicas_ack=1") == []


async def test_a_replica_that_cannot_be_reached_from_here_is_told_of_where_it_may_take_over(tmp_path: Path) -> None:
    """Of a single Redis its place is another network's perhaps, and nothing would go there."""
    for made, told_of in ((Pair, 0), (Sentinels, 1)):
        with made(tmp_path / made.__name__) as servers:
            master, replica = servers.master_and_replica()
            for one in (master, replica):
                one.cli(*USER)
            replica.freeze()
            found = await told(servers.url)
            replica.thaw()
        assert len(found) == told_of
        assert all("AFTER A FAIL-OVER" in one for one in found)


@pytest.mark.parametrize("how", ["planned", "frozen"])
async def test_a_top_up_that_was_confirmed_by_a_replica_is_there_after_a_fail_over_while_the_master_lives(
    tmp_path: Path, opened: Opener, how: str
) -> None:
    """Of two replicas one becomes the master, and the other still confirms what the former one writes."""
    accounts, confirmed = [f"a{number}" for number in range(10)], list[tuple[str, str]]()
    with Sentinels(tmp_path, replicas=2) as servers:
        store = await opened(f"{servers.url}&min_replicas_ack=1")
        for account in accounts:
            await store.directory.put_account(Account(account, "light"))

        async def pay(account: str) -> None:
            for number in count():
                id = f"{account}-{number}"
                with suppress(LedgerError):
                    await store.apply(Transfer(id, account, Kind.TOP_UP, 1, (Leg(CREDIT, 1_000_000),)))
                    confirmed.append((account, id))

        payers = [asyncio.create_task(pay(account)) for account in accounts]
        master = servers.master_and_replica()[0]
        await eventually(lambda: len(confirmed) > 500, "they pay")
        if how == "planned":
            servers.fail_over()
        else:
            master.freeze()
            await asyncio.to_thread(wait_until, lambda: servers.leader_port() != master.port, "nobody takes over")
            master.thaw()
        await asyncio.to_thread(wait_until, lambda: "role:slave" in master.cli("info", "replication"), "it leads on")
        before = len(confirmed)
        await eventually(lambda: len(confirmed) > before + 500, "they pay at the new master")
        for one in payers:
            one.cancel()
        await asyncio.gather(*payers, return_exceptions=True)
        there = {(account, line.id) for account in accounts async for line in store.journal(account)}
    assert [one for one in confirmed if one not in there] == []
