"""A client of redis-py that has to be given up is closed for good, whoever still holds it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.exceptions import RedisClusterException

from charging.errors import LedgerUnavailable
from charging.ledger.redis.client import RedisClient
from charging.ledger.redis.url import parse


class Fake:
    """As redis-py's: one that is closed connects again for whoever asks it something."""

    def __init__(self) -> None:
        self.open = False
        self.slow, self.asked = asyncio.Event(), asyncio.Event()

    async def execute_command(self, *words: str) -> Any:
        self.open = True
        if words == ("FAIL",):
            raise RedisClusterException("no node is left")
        self.asked.set()
        await self.slow.wait()
        self.open = True
        return "OK"

    async def aclose(self) -> None:
        self.open = False


@pytest.mark.timeout(10)
async def test_client_that_was_given_up_is_closed_again_when_its_last_user_has_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client, made = RedisClient(parse("redis+cluster://127.0.0.1:7000")), [Fake(), Fake()]
    given_up, fresh = made
    waiting = iter(made)

    async def make() -> Fake:
        return next(waiting)

    monkeypatch.setattr(client, "_make", make)
    slow = [asyncio.ensure_future(client.command("GET", one)) for one in "ab"]
    await given_up.asked.wait()
    with pytest.raises(LedgerUnavailable):
        await client.command("FAIL")
    assert not given_up.open
    given_up.slow.set()
    assert await asyncio.gather(*slow) == ["OK", "OK"]
    assert not given_up.open, "it connected again for those who held it"
    fresh.slow.set()
    assert await client.command("GET", "c") == "OK"
    assert fresh.open, "the one that is in use stays open"
    await client.close()
    assert not fresh.open


class Connection:
    """One of redis-py's, that is open."""

    is_connected = True

    async def disconnect(self) -> None:
        self.is_connected = False


def node_with(connection: Connection, port: int) -> ClusterNode:
    node = ClusterNode("127.0.0.1", port)
    node._connections.append(connection)  # type: ignore[arg-type]
    return node


@pytest.mark.parametrize("wants_to_ask_again", [False, True])
async def test_cluster_that_is_closed_has_no_connection_left_whatever_it_has_just_met(
    monkeypatch: pytest.MonkeyPatch, wants_to_ask_again: bool
) -> None:
    """Nor to a node that has left it meanwhile. redis-py itself closes none once an error has made it want to ask for
    its nodes again, and knows of a node no more that it has taken out."""
    client = RedisClient(parse("redis+cluster://127.0.0.1:7000"))
    redis = await client._connected()
    assert isinstance(redis, RedisCluster)
    stays, leaves = Connection(), Connection()
    known = redis.nodes_manager.nodes_cache
    known |= {one.name: one for one in (node_with(stays, 7001), node_with(leaves, 7002))}

    async def fails(*_words: str) -> None:
        redis._initialize = wants_to_ask_again
        raise ConnectionError("the node is gone")

    monkeypatch.setattr(redis, "execute_command", fails)
    with pytest.raises(LedgerUnavailable):
        await client.command("GET", "a")
    known.pop("127.0.0.1:7002")
    assert stays.is_connected
    await client.close()
    assert not stays.is_connected
    assert not leaves.is_connected
