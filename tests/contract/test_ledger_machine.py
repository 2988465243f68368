"""Random operations get the same answers from every store."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

from charging.ledger.memory import MemoryStore
from charging.ledger.open import open_store
from charging.ledger.port import Store
from charging.ledger.sqlite.store import SqliteStore
from tests.contract.conftest import PATIENT, empty_url
from tests.contract.machine import run_machine
from tests.integration.redis_servers import RedisServer

pytestmark = pytest.mark.timeout(900)

SETTINGS = settings(
    max_examples=25,
    stateful_step_count=40,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # shrinking a failure takes minutes; a run of 40 steps can be read as it is
    suppress_health_check=list(HealthCheck),
)


async def opened(*stores: Store) -> Sequence[Store]:
    for store in stores:
        await store.open()
    return stores


def test_sqlite_answers_as_specified(tmp_path: Path) -> None:
    async def make() -> Sequence[Store]:
        return await opened(MemoryStore(), SqliteStore(Path(tempfile.mkdtemp(dir=tmp_path)) / "ledger.db"))

    run_machine(make, SETTINGS)


def test_redis_answers_as_specified(redis_server: RedisServer) -> None:
    async def make() -> Sequence[Store]:
        redis_server.cli("flushall")
        return await opened(MemoryStore(), open_store(f"{redis_server.url}{PATIENT}"))

    run_machine(make, SETTINGS)


def test_a_redis_cluster_answers_as_specified(
    redis_cluster: list[RedisServer], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    async def make() -> Sequence[Store]:
        return await opened(MemoryStore(), open_store(empty_url("cluster", request, tmp_path)))

    run_machine(make, SETTINGS)
