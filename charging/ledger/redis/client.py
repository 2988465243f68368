"""redis-py's asyncio client with the settings that were measured not to lose, double or starve anything.

No retries (its default of ten applied operations twice), short time-outs, RESP2, health checks, and a first-come,
first-served limit in front of the connections (its own blocking pool lets waiters starve). Requests of the same moment
share a pipeline, but in a cluster, where each goes to the node of its account. What has to be on replicas before it is
answered travels in pipelines of its own, in a cluster of its node, with one WAIT for all that travel together. A script
is sent by its digest; where the server does not know it (restarted, flushed, another node), it is sent whole, once.
"""

from __future__ import annotations

import asyncio
import hashlib
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import hiredis
import structlog
from redis.asyncio import Connection, ConnectionPool, Redis, SSLConnection
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    MovedError,
    NoScriptError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from charging.errors import LedgerCorrupt, LedgerError, LedgerUnavailable
from charging.ledger.redis.cures import cure_of
from charging.ledger.redis.dump import dump
from charging.ledger.redis.pipeline import Command, Pipelines, Word, is_cancelled
from charging.ledger.redis.servers import LOST, node_warnings, open_doors, replica_warnings, replicas_of
from charging.ledger.redis.url import RedisUrl
from charging.ledger.redis.watch import Master, SentinelWatch

CONNECTIONS_MAX = 32
HEALTH_CHECK_INTERVAL_S = 10

_CORRUPT = ("WRONGTYPE", "user_script")
"""How the answers begin that mean: what is stored is not what a script of ours expects. Every other refusal (a replica,
loading, out of memory, too few replicas, a slot on the move) may have passed at a later attempt."""

_EXPECTED = (RedisError, RedisClusterException, OSError)
"""What the driver says that it raises."""

_MASTER_LOST = (RedisConnectionError, RedisTimeoutError, ReadOnlyError, OSError)

TOGETHER_MAX = 100
"""Commands of one request, for which the server is busy for less than a millisecond."""

T = TypeVar("T")

log = structlog.get_logger(__name__)


class _Batching(AbstractConnection):
    """Asks in batches, and packs commands by hiredis, in C. redis-py does that only in its blocking client; its asyncio
    client packs in Python and sets a timer for each answer, and these two are most of what a command costs it."""

    socket_timeout: float
    _parser: Any  # of the asyncio client, whatever redis-py says of its base class

    async def disconnect(
        self,
        nowait: bool = False,
        error: Exception | None = None,
        failure_count: int | None = None,
        health_check_failed: bool = False,
    ) -> None:
        """Without waiting for the other side's good-bye. By TLS a server that is silent gives none; who waited with
        others for that of the same connection would find himself cancelled by their deadline."""
        await super().disconnect(True, error, failure_count, health_check_failed)

    def pack_command(self, *words: Any) -> list[bytes]:
        first = words[0].split(" ") if isinstance(words[0], str) else words[:1]
        return [hiredis.pack_command((*first, *words[1:]))]

    async def ask(self, commands: Sequence[Command], more_s: float = 0) -> list[Any]:
        """The answers to commands that travel together; a command that Redis refuses has the error for its answer.
        One deadline holds for all of them, ``more_s`` later than that of the connection."""
        # Whatever the stub of hiredis says, of a command of more than one word too.
        await self.send_packed_command([hiredis.pack_command(command) for command in commands])  # type: ignore[arg-type]
        try:
            async with asyncio.timeout(self.socket_timeout + more_s):
                return [await self._parser.read_response() for _ in commands]
        except BaseException:
            await self.disconnect(nowait=True)  # what comes after all belongs to nobody
            raise


class BatchingConnection(_Batching, Connection):
    """A connection of the kind that redis-py makes."""


class BatchingSSLConnection(_Batching, SSLConnection):
    """The same by TLS."""


async def answer_of(asked: Awaitable[T]) -> T | LedgerError:
    """What it answers, or what it raises because it could not: for one of several that are asked together."""
    try:
        return await asked
    except LedgerError as error:
        return error


def or_error(read: Callable[..., T], *answer: Any) -> T | LedgerError:
    """What it reads of an answer, or what it raises because that is damaged: for one of several that came together."""
    try:
        return read(*answer)
    except LedgerError as error:
        return error


def in_steps(entries: Sequence[T], step: int) -> Iterator[Sequence[T]]:
    """So many at a time: what may go by one command, or in one request."""
    for start in range(0, len(entries), step):
        yield entries[start : start + step]


class Script:
    """A Lua script of ``charging/ledger/redis/lua``."""

    def __init__(self, name: str) -> None:
        self.text = files("charging.ledger.redis").joinpath(f"lua/{name}.lua").read_text(encoding="utf-8")
        self.digest = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


def translate(error: Exception) -> LedgerError:
    """What the driver's error means for the ledger, to be raised from it. Of whatever type: redis-py also raises what
    it does not mean to (an AttributeError, if its connection is closed while it connects)."""
    if isinstance(error, LedgerError):
        return type(error)(str(error))
    if isinstance(error, ResponseError) and str(error).startswith(_CORRUPT):
        return LedgerCorrupt(f"the Redis ledger refused: {error}")
    if not isinstance(error, _EXPECTED):
        where = traceback.extract_tb(error.__traceback__)[-1:]
        log.error("redis_driver_fault", why=f"{type(error).__name__}: {error}", where=str(where))
    said = str(error) or type(error).__name__
    return LedgerUnavailable(f"the Redis ledger did not answer: {said}{cure_of(error)}")


def _nodes_of(redis: Redis | RedisCluster | None) -> dict[int, ClusterNode]:
    if not isinstance(redis, RedisCluster):
        return {}
    manager = redis.nodes_manager
    return {id(node): node for known in (manager.nodes_cache, manager.startup_nodes) for node in known.values()}


def _pool(url: RedisUrl, host: str, port: int) -> ConnectionPool:
    settings = _settings(url)
    kind = BatchingSSLConnection if settings.pop("ssl", False) else BatchingConnection
    return ConnectionPool(kind, host=host, port=port, db=url.database, **settings)


def _common(url: RedisUrl) -> dict[str, Any]:
    """For the servers and for the sentinels."""
    tls = {"ssl": True, "ssl_ca_certs": url.ca_file or None} if url.tls else {}
    return tls | {
        "socket_timeout": url.timeout_s,
        "socket_connect_timeout": url.timeout_s / 2,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }


def _settings(url: RedisUrl) -> dict[str, Any]:
    return _common(url) | {
        "health_check_interval": HEALTH_CHECK_INTERVAL_S,
        "max_connections": CONNECTIONS_MAX * 2,
        "username": url.user or None,
        "password": url.password or None,
    }


def _sentinels(url: RedisUrl) -> list[Redis]:
    """Of a master that they watch, asked over connections of this module's kind."""
    if url.mode != "sentinel":
        return []
    settings = _common(url) | {"username": url.sentinel_user or None, "password": url.sentinel_password or None}
    kind = BatchingSSLConnection if settings.pop("ssl", False) else BatchingConnection
    return [Redis.from_pool(ConnectionPool(kind, host=host, port=port, **settings)) for host, port in url.hosts]


async def _ask(redis: Redis, commands: Sequence[Command], more_s: float) -> list[Any]:
    """The answers to commands that travel together, on one connection of the pool."""
    connection = await redis.connection_pool.get_connection()  # type: ignore[no-untyped-call]
    try:
        answers: list[Any] = await connection.ask(commands, more_s)
        return answers
    finally:
        await redis.connection_pool.release(connection)


def _checked(answer: Any) -> Any:
    if isinstance(answer, Exception):
        raise translate(answer) from answer
    return answer


async def _ask_all(pipelines: Pipelines, commands: Sequence[Command]) -> list[Any]:
    """What each is answered, or why it is not."""
    try:
        return await pipelines.ask(commands)
    except LedgerError as error:
        return [error] * len(commands)


async def _closed(redis: Redis | RedisCluster) -> None:
    """Close every connection of a client. What goes wrong in that is nobody's: a server that is gone or slow does not
    say good-bye in time, and redis-py then cancels others who wait for the same one's."""
    closing = asyncio.ensure_future(redis.aclose())
    await asyncio.wait([closing])
    if not closing.cancelled():
        closing.exception()  # so that it is not told as one that nobody has looked at


async def _travel(pipelines: Pipelines, script: Script, keys: Sequence[str], arguments: Sequence[Word]) -> Any:
    rest = (len(keys), *keys, *arguments)
    (answer,) = await pipelines.ask([("EVALSHA", script.digest, *rest)])
    if isinstance(answer, NoScriptError):
        (answer,) = await pipelines.ask([("EVAL", script.text, *rest)])
    return _checked(answer)


async def _evaluate(redis: Redis | RedisCluster, script: Script, keys: Sequence[str], arguments: Sequence[Word]) -> Any:
    try:
        return await redis.execute_command("EVALSHA", script.digest, len(keys), *keys, *arguments)
    except NoScriptError:
        return await redis.execute_command("EVAL", script.text, len(keys), *keys, *arguments)


def _wait(url: RedisUrl) -> Command:
    """For the replicas, for all that the connection has written. The server counts from when it has read it: a
    flush of its own disk is part of that time, and the answer has half as much again."""
    return ("WAIT", url.min_replicas_ack, round(url.timeout_s * 1000))


def _reached(answers: Sequence[Any], url: RedisUrl) -> list[Any]:
    """The answers before that of WAIT, and why they do not count where too few replicas have what was written.
    Refusals stand: nothing was written for them."""
    *own, reached = answers
    wanted = url.min_replicas_ack
    if isinstance(reached, Exception):
        return [one if isinstance(one, Exception) else translate(reached) for one in own]
    if reached < wanted:
        why = f"only {reached} of {wanted} replicas have what was written so far; ask again"
        return [one if isinstance(one, Exception) else LedgerUnavailable(why) for one in own]
    return own


@dataclass(frozen=True, slots=True)
class _Node:
    """A node of a cluster, asked without a look at whose slot it is."""

    redis: Redis
    acknowledged: Pipelines


class RedisClient:
    """One Redis, one set of sentinels, or one cluster."""

    def __init__(self, url: RedisUrl) -> None:
        self._url = url
        self._turn = asyncio.Semaphore(CONNECTIONS_MAX)
        self._pipelines = Pipelines(self._send)
        self._acknowledged = Pipelines(self._send_and_wait)
        self._of_nodes: dict[tuple[str, int], _Node] = {}
        self._connecting = asyncio.Lock()
        self._redis: Redis | RedisCluster | None = None
        self._askers: Counter[Redis | RedisCluster | None] = Counter()
        self._nodes: dict[int, ClusterNode] = {}
        """Of a cluster: all that were its nodes when something failed."""
        self._sentinel: Sentinel | None = None
        if url.mode == "sentinel":
            settings = _common(url) | {
                "username": url.sentinel_user or None,
                "password": url.sentinel_password or None,
            }
            self._sentinel = Sentinel(list(url.hosts), sentinel_kwargs=settings)  # type: ignore[no-untyped-call]
        question: Command = ("SENTINEL", "MASTER", url.master)
        self._watch = SentinelWatch(_sentinels(url), partial(_ask, commands=[question], more_s=0))

    async def _connected(self) -> Redis | RedisCluster:
        """The client; of sentinels, the master's, asked again after each failure."""
        async with self._connecting:
            if self._redis is None:
                self._redis = await self._make()
            return self._redis

    async def _make(self) -> Redis | RedisCluster:
        if self._url.is_cluster:
            nodes = [ClusterNode(host, port) for host, port in self._url.hosts]
            return RedisCluster(startup_nodes=nodes, **_settings(self._url))
        host, port = self._url.hosts[0]
        if self._sentinel is not None:
            # redis-py's own pool for a Sentinel leaks its connections to the old master at each fail-over.
            await self._sentinel.discover_master(self._url.master)  # who has answered is the first from now on
            state = await self._sentinel.sentinels[0].sentinel_master(self._url.master, return_responses=True)
            assert isinstance(state, dict), "as it is asked for"
            host, port = state["ip"], state["port"]
            self._watch.begin(int(state["config-epoch"]))
        return Redis.from_pool(_pool(self._url, host, port))

    async def close(self) -> None:
        nodes = list(self._of_nodes.values())
        for pipelines in (self._pipelines, self._acknowledged, *(node.acknowledged for node in nodes)):
            await pipelines.close()
        await asyncio.gather(*(node.redis.aclose() for node in nodes), return_exceptions=True)
        await self._watch.close()
        await self._forget(self._redis)
        for sentinel in self._sentinel.sentinels if self._sentinel else ():
            with suppress(RedisError, OSError):
                await sentinel.aclose()

    async def _forget(self, redis: Redis | RedisCluster | None) -> None:
        """Give a client up and close every connection. redis-py's cluster (8.1) leaves some open: to each node, where
        an error has just made it want to ask again who they are, and to a node that has left while a connection to it
        was being made."""
        if redis is None:
            return
        self._redis = None if redis is self._redis else self._redis
        await _closed(redis)
        left, self._nodes, used = self._nodes | _nodes_of(redis), {}, _nodes_of(self._redis)
        closing = [node.disconnect() for key, node in left.items() if key not in used]
        await asyncio.gather(*closing, return_exceptions=True)

    async def command(self, *words: str | int | bytes) -> Any:
        """The answer to one command."""
        if self._url.is_cluster:
            async with self._asking() as redis:
                return await redis.execute_command(*words)
        return _checked((await self._pipelines.ask([words]))[0])

    async def commands(self, many: Sequence[Command]) -> list[Any | LedgerError]:
        """The answers to commands of which none needs another, or why there is none. They travel together, as one
        request for each TOGETHER_MAX of them: what calls ask meanwhile waits for one such request, not for all."""
        if self._url.is_cluster:
            return list(await asyncio.gather(*(answer_of(self.command(*words)) for words in many)))
        found: list[Any] = []
        for some in in_steps(many, TOGETHER_MAX):
            found += await _ask_all(self._pipelines, some)
        return [translate(one) if isinstance(one, Exception) else one for one in found]

    async def pairs(self, key: str) -> dict[bytes, bytes]:
        """All of a hash; empty where there is none."""
        found: dict[bytes, bytes] = await self.command("HGETALL", key)
        return found

    async def script(
        self, script: Script, keys: Sequence[str], arguments: Sequence[Word], before: Sequence[Command] = ()
    ) -> Any:
        """What the script answered; its keys are of one slot. ``before``: commands that must have been carried out
        before it, else it is not sent."""
        for command in before:
            await self.command(*command)
        if self._url.is_cluster:
            async with self._asking() as redis:
                return await _evaluate(redis, script, keys, arguments)
        return await _travel(self._pipelines, script, keys, arguments)

    async def scripts(
        self, script: Script, asked: Sequence[tuple[Sequence[str], Sequence[Word]]]
    ) -> list[Any | LedgerError]:
        """As ``script`` for each of many keys and arguments, in this order, or why there is no answer. They travel as
        ``commands`` do. Not in a cluster."""
        found: list[Any] = []
        for some in in_steps(asked, TOGETHER_MAX):
            rests = [(len(keys), *keys, *arguments) for keys, arguments in some]
            answers = await _ask_all(self._pipelines, [("EVALSHA", script.digest, *rest) for rest in rests])
            unknown = [place for place, one in enumerate(answers) if isinstance(one, NoScriptError)]
            if unknown:
                whole = await _ask_all(self._pipelines, [("EVAL", script.text, *rests[place]) for place in unknown])
                for place, answer in zip(unknown, whole, strict=True):
                    answers[place] = answer
            found += answers
        return [translate(one) if isinstance(one, Exception) else one for one in found]

    async def _send(self, commands: list[Command], more_s: float = 0) -> list[Any]:
        async with self._asking() as redis:
            assert isinstance(redis, Redis)
            answers = await _ask(redis, commands, more_s)
            if any(isinstance(answer, ReadOnlyError) for answer in answers):
                await self._forget(redis)  # it is the master no more; the address may lead to another one by now
            told = redis.response_callbacks  # by which redis-py makes a dict of HGETALL's answer, say; a cluster's too
            return [
                told[name](answer) if (name := str(words[0])) in told and not isinstance(answer, Exception) else answer
                for words, answer in zip(commands, answers, strict=True)
            ]

    async def _send_and_wait(self, commands: list[Command]) -> list[Any]:
        asked = self._redis
        answers = _reached(await self._send([*commands, _wait(self._url)], self._url.timeout_s / 2), self._url)
        if self._sentinel is None or (known := await self._watch.look()) is Master.LEADS:
            return answers
        if known is Master.REPLACED and asked is self._redis:
            await self._forget(asked)
        why = "a fail-over of its Redis goes on: what was written may be lost; ask again"
        return [one if isinstance(one, Exception) else LedgerUnavailable(why) for one in answers]

    async def _send_to_node(self, node: Redis, commands: list[Command]) -> list[Any]:
        async with self._asking() as redis:
            try:
                answers = await _ask(node, [*commands, _wait(self._url)], self._url.timeout_s / 2)
            except _MASTER_LOST:
                await _closed(redis)  # so that it asks the cluster again who has the slot
                raise
            if any(isinstance(answer, (MovedError, ReadOnlyError)) for answer in answers):
                await _closed(redis)
            return _reached(answers, self._url)

    async def script_acknowledged(
        self, script: Script, keys: Sequence[str], arguments: Sequence[Word], before: Sequence[Command] = ()
    ) -> Any:
        """As ``script``, once ``min_replicas_ack`` replicas have what it wrote or found written: WAIT on the same
        connection, which counts all that the server had written when the script ended. Raises LedgerError;
        LedgerUnavailable if too few have it in time. What goes ``before`` has to be there first: what would name it
        must not outlive it."""
        if not self._url.min_replicas_ack:
            return await self.script(script, keys, arguments, before)
        for command in before:
            await self.command_acknowledged(*command)
        return await _travel(await self._waiting(keys[0]), script, keys, arguments)

    async def command_acknowledged(self, *words: Word) -> Any:
        """As ``command`` with a key, which stands behind its name, once ``min_replicas_ack`` replicas have what it
        wrote; as ``script_acknowledged``."""
        if not self._url.min_replicas_ack:
            return await self.command(*words)
        return _checked((await (await self._waiting(str(words[1]))).ask([words]))[0])

    async def _waiting(self, key: str) -> Pipelines:
        """Those that wait for the replicas of the server that has the key."""
        if not self._url.is_cluster:
            return self._acknowledged
        async with self._asking() as redis:
            assert isinstance(redis, RedisCluster)
            await redis.initialize()
            if (node := redis.get_node_from_key(key)) is None:
                raise LedgerUnavailable("no node of the Redis cluster covers the account's slot")
            place = str(node.host), int(node.port)
            if place not in self._of_nodes:
                direct = Redis.from_pool(_pool(self._url, *place))
                self._of_nodes[place] = _Node(direct, Pipelines(partial(self._send_to_node, direct)))
            return self._of_nodes[place].acknowledged

    async def dump(self, path: Path) -> None:
        """Write the server's content to the file, as it is at one moment. Raises LedgerUnavailable, of a cluster
        always."""
        if self._url.is_cluster:
            raise LedgerUnavailable(
                "a Redis cluster is backed up node by node: `redis-cli --rdb FILE` for each master, at one time"
            )
        async with self._asking() as redis:
            assert isinstance(redis, Redis)
            connection = await redis.connection_pool.get_connection()  # type: ignore[no-untyped-call]
            try:
                await dump(connection, path)
            finally:
                await redis.connection_pool.release(connection)

    async def warnings(self, probe: str) -> list[str]:
        """What in the servers' settings, and in those of their replicas, can lose money; ``probe``: a key that may be
        written."""
        infos = await self._of_every_node("INFO")
        told: dict[str, Any] = {}
        with suppress(LedgerUnavailable):  # not allowed, or renamed
            told = await self._of_every_node("CONFIG GET", "appendfsync")
        wanted = self._url.min_replicas_ack
        replicas = dict.fromkeys(place for info in infos.values() for place in replicas_of(info))
        of_replicas = await asyncio.gather(*(_of_replica(self._url, *place, probe) for place in replicas))
        own = [text for node, info in infos.items() for text in node_warnings(node, info, told.get(node), wanted)]
        return open_doors(self._url) + own + [text for found in of_replicas for text in found]

    async def _of_every_node(self, *words: str) -> dict[str, Any]:
        """Each master's answer to a command."""
        async with self._asking() as redis:
            cluster = isinstance(redis, RedisCluster)
            options = {"target_nodes": RedisCluster.PRIMARIES} if cluster else {}
            answer = await redis.execute_command(*words, **options)
        return {str(node): one for node, one in answer.items()} if cluster else {"server": answer}

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[Redis | RedisCluster]:
        """A place in the queue for the connections, and the client; the driver's errors become the ledger's."""
        async with self._turn:
            redis: Redis | RedisCluster | None = None
            try:
                redis = await self._connected()
                self._askers[redis] += 1
                yield redis
            except LedgerError:
                raise
            except asyncio.CancelledError:
                if is_cancelled():
                    raise
                raise LedgerUnavailable(
                    "the Redis ledger did not answer: its connection was closed meanwhile"
                ) from None
            except Exception as error:
                self._nodes |= _nodes_of(redis)
                if self._is_spent(error):
                    await self._forget(redis)
                raise translate(error) from error
            finally:
                self._askers[redis] -= 1
                self._askers += Counter()  # keeps those above 0
                if redis is not None and redis is not self._redis and redis not in self._askers:
                    # redis-py connects a closed client again for whoever had it in his hands as it was given up.
                    await self._forget(redis)

    def _is_spent(self, error: Exception) -> bool:
        """Whether the client is of no use after this: it leads to a server that is the master no more, or (in a
        cluster) may have struck off every node, or has stumbled over itself."""
        if isinstance(error, (ReadOnlyError, RedisClusterException)) or not isinstance(error, _EXPECTED):
            return True
        return self._sentinel is not None and isinstance(error, _MASTER_LOST)


async def _of_replica(url: RedisUrl, host: str, port: int, probe: str) -> list[str]:
    """What in the settings of a server that may become the master can lose money."""
    node, told = f"replica {host}:{port}", None
    redis: Any = Redis.from_pool(_pool(url, host, port))
    try:
        info = await redis.execute_command("INFO")
        with suppress(RedisError):
            told = await redis.execute_command("CONFIG GET", "appendfsync")
        with suppress(ReadOnlyError, MovedError):  # which is said to whoever has the right
            await redis.execute_command("SET", probe, 1)
    except _EXPECTED as error:
        is_ours = url.mode != "single" or isinstance(error, (AuthenticationError, ResponseError))
        return [LOST.format(node, translate(error))] if is_ours else []
    finally:
        with suppress(Exception):
            await redis.aclose()
    return replica_warnings(node, info, told, url.min_replicas_ack)
