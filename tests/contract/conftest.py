"""One store of each kind, fresh for every test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from charging.ledger.open import open_store
from charging.ledger.port import Store
from tests.integration.redis_servers import RedisServer, make_cluster

PATIENT = "?timeout_s=20"
"""A busy machine is no fault of a store."""

STORES = ["memory", "sqlite", "redis", "cluster"]


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RedisServer]]:
    folder = tmp_path_factory.mktemp("cluster")
    servers = [RedisServer(folder, "cluster-enabled yes", "cluster-node-timeout 60000") for _ in range(3)]
    try:
        for server in servers:
            server.start()
        make_cluster(servers)
        yield servers
    finally:
        for server in servers:
            server.stop()


def empty_url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store."""
    if kind == "memory":
        return "memory:"
    if kind == "sqlite":
        return f"sqlite://{tmp_path}/ledger.db"
    if kind == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        server.cli("flushall")
        return f"{server.url}{PATIENT}"
    cluster: list[RedisServer] = request.getfixturevalue("redis_cluster")
    for one in cluster:
        one.cli("flushall")
    return "redis+cluster://" + ",".join(f"127.0.0.1:{one.port}" for one in cluster) + PATIENT


@pytest.fixture(params=STORES)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return empty_url(request.param, request, tmp_path)


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    store = open_store(store_url)
    try:
        await store.open()
        yield store
    finally:
        await store.close()
