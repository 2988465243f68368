"""One store of each kind, fresh for every test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from charging.ledger.open import open_store
from charging.ledger.port import Store

STORES = ["memory", "sqlite"]


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    urls = {"memory": "memory:", "sqlite": f"sqlite://{tmp_path}/ledger.db"}
    store = open_store(urls[request.param])
    await store.open()
    yield store
    await store.close()
