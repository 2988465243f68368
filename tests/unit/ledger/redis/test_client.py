"""A client of redis-py that has to be given up is closed for good, whoever still holds it. And no caller waits for what
is read of thousands meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.exceptions import RedisClusterException

from charging.errors import LedgerUnavailable
from charging.ledger.port import Store
from charging.ledger.redis.client import TOGETHER_MAX, RedisClient
from charging.ledger.redis.pipeline import Command
from charging.ledger.redis.store import RedisStore
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


@pytest.mark.timeout(60)
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


MANY = 10 * TOGETHER_MAX
READINGS: dict[str, Callable[[Store], Awaitable[object]]] = {
    "the sessions of a switch": lambda store: store.sessions("asterisk"),
    "the balances of many": lambda store: store.balances_of([f"a{number}" for number in range(MANY)]),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("reading", READINGS)
async def test_who_asks_while_thousands_of_records_are_read_waits_for_one_request_of_them_at_most(
    monkeypatch: pytest.MonkeyPatch, reading: str
) -> None:
    """A daemon on a shared ledger reads all that is open there now and then: its callers waited for that."""
    store, sent = RedisStore(parse("redis://127.0.0.1:6379/0")), list[Command]()
    answers: dict[object, Any] = {
        "SMEMBERS": [f"s{number} a{number}".encode() for number in range(MANY)],
        "HMGET": [None],
        "HGETALL": {},
    }

    async def send(commands: list[Command]) -> list[Any]:
        sent.extend(commands)
        await asyncio.sleep(0)
        return [answers[words[0]] for words in commands]

    monkeypatch.setattr(store._client._pipelines, "_send", send)
    read = asyncio.ensure_future(READINGS[reading](store))
    while len(sent) < 2:  # noqa: ASYNC110 - the reading has no Event for us
        await asyncio.sleep(0)
    await store.balances("caller")
    assert sent.index(("HGETALL", "charging:{caller}:books")) <= 1 + 2 * TOGETHER_MAX  # that on the way, and one more
    await read
    assert len(sent) > MANY
