"""Random operations get the same answers from every store."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from charging.ledger.memory import MemoryStore
from charging.ledger.port import Store
from charging.ledger.sqlite import SqliteStore
from tests.contract.machine import Machine

SETTINGS = settings(
    max_examples=50,
    stateful_step_count=50,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # shrinking a failure takes minutes; a run of 50 steps can be read as it is
    suppress_health_check=list(HealthCheck),
)


def test_sqlite_answers_as_specified(tmp_path: Path) -> None:
    async def make() -> Sequence[Store]:
        stores = [MemoryStore(), SqliteStore(Path(tempfile.mkdtemp(dir=tmp_path)) / "ledger.db")]
        for store in stores:
            await store.open()
        return stores

    run_state_machine_as_test(lambda: Machine(make), settings=SETTINGS)  # type: ignore[no-untyped-call]
