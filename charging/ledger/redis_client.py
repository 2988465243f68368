"""redis-py's asyncio client with the settings that were measured not to lose, double or starve anything.

No retries (its default of ten applied operations twice), short time-outs, RESP2, health checks, and a first-come,
first-served limit in front of the connections (its own blocking pool lets waiters starve). A script is sent by its
digest; where the server does not know it (restarted, flushed, another node), it is sent whole, once.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisClusterException, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from charging.errors import LedgerCorrupt, LedgerError, LedgerUnavailable
from charging.ledger.redis_url import RedisUrl

CONNECTIONS_MAX = 32
CONNECT_TIMEOUT_S = 1.0
HEALTH_CHECK_INTERVAL_S = 10

_PASSING = (
    "READONLY",
    "LOADING",
    "NOREPLICAS",
    "MISCONF",
    "OOM",
    "CLUSTERDOWN",
    "MASTERDOWN",
    "TRYAGAIN",
    "BUSY",
    "MOVED",
    "ASK",
    "UNBLOCKED",
)
"""First words of errors that a later attempt may not meet."""


class Script:
    """A Lua script of ``charging/ledger/lua``."""

    def __init__(self, name: str) -> None:
        self.text = files("charging.ledger").joinpath(f"lua/{name}.lua").read_text(encoding="utf-8")
        self.digest = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


def translate(error: Exception) -> LedgerError:
    """What the driver's error means for the ledger, to be raised from it."""
    if isinstance(error, ResponseError) and not str(error).startswith(_PASSING):
        return LedgerCorrupt(f"the Redis ledger refused: {error}")
    return LedgerUnavailable(f"the Redis ledger did not answer: {error or type(error).__name__}")


class RedisClient:
    """One Redis, one set of sentinels, or one cluster."""

    def __init__(self, url: RedisUrl) -> None:
        self._url = url
        self._turn = asyncio.Semaphore(CONNECTIONS_MAX)
        self._sentinel: Sentinel | None = None
        self._redis: Redis | RedisCluster = self._make()

    def _make(self) -> Redis | RedisCluster:
        url, settings = self._url, self._settings()
        if url.mode == "cluster":
            nodes = [ClusterNode(host, port) for host, port in url.hosts]
            return RedisCluster(startup_nodes=nodes, **settings)
        settings["db"] = url.database
        if url.mode == "sentinel":
            self._sentinel = Sentinel(list(url.hosts), sentinel_kwargs=self._common(), **settings)  # type: ignore[no-untyped-call]
            master: Redis = self._sentinel.master_for(url.master)
            return master
        host, port = url.hosts[0]
        return Redis(host=host, port=port, **settings)

    def _common(self) -> dict[str, Any]:
        return {
            "socket_timeout": self._url.timeout_s,
            "socket_connect_timeout": min(CONNECT_TIMEOUT_S, self._url.timeout_s),
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
        }

    def _settings(self) -> dict[str, Any]:
        settings = self._common() | {
            "health_check_interval": HEALTH_CHECK_INTERVAL_S,
            "max_connections": CONNECTIONS_MAX * 2,
            "username": self._url.user or None,
            "password": self._url.password or None,
        }
        if self._url.tls:
            settings |= {"ssl": True, "ssl_ca_certs": self._url.ca_file or None}
        return settings

    async def close(self) -> None:
        await self._redis.aclose()
        for sentinel in self._sentinel.sentinels if self._sentinel else ():
            await sentinel.aclose()

    async def command(self, *words: str | int | bytes) -> Any:
        """The answer to one command."""
        async with self._asking():
            return await self._redis.execute_command(*words)

    async def script(self, script: Script, keys: Sequence[str], arguments: Sequence[str | int]) -> Any:
        """What the script answered; its keys are of one slot."""
        async with self._asking():
            return await self._evaluate(self._redis, script, keys, arguments)

    async def script_acknowledged(self, script: Script, keys: Sequence[str], arguments: Sequence[str | int]) -> Any:
        """As ``script``, once ``min_replicas_ack`` replicas have what it wrote: WAIT on the same connection."""
        async with self._asking():
            connection = await self._connection_for(keys[0])
            async with connection as single:
                answer = await self._evaluate(single, script, keys, arguments)
                wanted = self._url.min_replicas_ack
                reached = await single.wait(wanted, round(self._url.timeout_s * 500))
        if reached < wanted:
            raise LedgerUnavailable(f"only {reached} of {wanted} replicas have the transfer so far; ask again")
        return answer

    async def warnings(self) -> list[str]:
        """What in the servers' settings can lose money."""
        async with self._asking():
            if isinstance(self._redis, RedisCluster):
                answers = await self._redis.execute_command("INFO", target_nodes=RedisCluster.PRIMARIES)
            else:
                answers = {self._url.hosts[0]: await self._redis.info()}
        return [text for node, info in answers.items() for text in _node_warnings(str(node), info)]

    async def _connection_for(self, key: str) -> Redis:
        """A client that keeps to one connection, to the node of the key."""
        if isinstance(self._redis, Redis):
            return self._redis.client()
        node = await self._node_of(key)
        return Redis(host=node.host, port=int(node.port), single_connection_client=True, **self._settings())

    async def _node_of(self, key: str) -> ClusterNode:
        assert isinstance(self._redis, RedisCluster)
        await self._redis.initialize()
        node = self._redis.get_node_from_key(key)
        if node is None:
            raise LedgerUnavailable("no node of the Redis cluster covers the account's slot")
        return node

    async def _evaluate(
        self, redis: Redis | RedisCluster, script: Script, keys: Sequence[str], arguments: Sequence[str | int]
    ) -> Any:
        try:
            return await redis.execute_command("EVALSHA", script.digest, len(keys), *keys, *arguments)
        except NoScriptError:
            return await redis.execute_command("EVAL", script.text, len(keys), *keys, *arguments)

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[None]:
        """A place in the queue for the connections; the driver's errors become the ledger's."""
        async with self._turn:
            try:
                yield
            except (RedisError, RedisClusterException, RedisConnectionError, RedisTimeoutError, OSError) as error:
                raise translate(error) from error


def _node_warnings(node: str, info: Mapping[str, Any]) -> list[str]:
    found = []
    if not info.get("aof_enabled"):
        found.append(f"Redis {node}: appendonly is no: a crash loses transfers; set appendonly yes")
    if (policy := info.get("maxmemory_policy", "noeviction")) != "noeviction":
        found.append(f"Redis {node}: maxmemory-policy is {policy}: it may evict money; set noeviction")
    if not info.get("connected_slaves"):
        found.append(f"Redis {node}: it has no replica: with its disk, the ledger is gone")
    return found
