"""Documents and an outbox, empty for every test."""

from __future__ import annotations

import pytest

from charging.ledger.memory import MemoryDocuments
from charging.notify.outbox import Outbox


@pytest.fixture
def documents() -> MemoryDocuments:
    return MemoryDocuments()


@pytest.fixture
def outbox(documents: MemoryDocuments) -> Outbox:
    return Outbox(documents)
