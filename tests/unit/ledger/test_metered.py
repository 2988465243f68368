from __future__ import annotations

import random
from dataclasses import replace

import pytest

from charging.errors import LedgerUnavailable
from charging.ledger.accounts import Account
from charging.ledger.metered import LedgerHealth, metered
from charging.ledger.model import CREDIT, Kind, Leg, Transfer
from tests.fakes.clock import FakeClock
from tests.fakes.faulty_store import FaultyStore

TOP_UP = Transfer("top-up/1", "anna", Kind.TOP_UP, 0, (Leg(CREDIT, 5),))


async def test_every_operation_is_told_with_its_outcome() -> None:
    told: list[tuple[str, str]] = []
    inner = FaultyStore(random.Random(1))
    store = metered(inner, FakeClock(), lambda operation, outcome, *_: told.append((operation, outcome)))
    await store.directory.put_account(Account("anna", "light"))
    for _ in range(2):
        await store.apply(TOP_UP)
    inner.failing = 1.0
    with pytest.raises(LedgerUnavailable):
        await store.apply(TOP_UP)
    assert told == [
        ("put_account", "answered"),
        ("apply_top_up", "created"),
        ("apply_top_up", "exists"),
        ("apply_top_up", "LedgerUnavailable"),
    ]


async def test_what_is_applied_together_is_told_with_how_many_ended_so_in_a_row() -> None:
    told: list[tuple[str, str, int]] = []

    def measure(operation: str, outcome: str, seconds: float, times: int = 1) -> None:
        assert seconds >= 0
        told.append((operation, outcome, times))

    store = metered(FaultyStore(random.Random(1)), FakeClock(), measure)
    await store.directory.put_account(Account("anna", "light"))
    correction = replace(TOP_UP, id="correction/1", kind=Kind.CORRECT)
    await store.apply_all([(one, ()) for one in (TOP_UP, replace(TOP_UP, id="top-up/2"), correction, TOP_UP)])
    assert told[1:] == [
        ("apply_top_up", "created", 2),
        (f"apply_{Kind.CORRECT}", "created", 1),
        ("apply_top_up", "exists", 1),
    ]


async def test_listings_pass_through_unmeasured() -> None:
    store = metered(FaultyStore(random.Random(1)), FakeClock(), lambda *_told: pytest.fail("measured"))
    assert [account async for account in store.directory.accounts()] == []


@pytest.mark.parametrize(
    ("heard", "well"),
    [
        ([], True),
        ([("ping", "answered")], True),
        ([("balances", "LedgerUnavailable")], False),
        ([("apply_reserve", "LedgerUnavailable"), ("balances", "answered")], False),  # a replica answers reads
        ([("apply_reserve", "LedgerUnavailable"), ("renew_lease", "answered")], False),  # in memory, with SQLite
        ([("apply_reserve", "LedgerUnavailable"), ("ping", "answered")], True),
        ([("ping", "LedgerUnavailable"), ("apply_extend", "insufficient")], True),
        ([("ping", "LedgerCorrupt")], False),
        ([("balances", "LedgerCorrupt")], True),
        ([("backup", "LedgerUnavailable")], True),
    ],
)
def test_health_is_what_the_next_call_would_meet(heard: list[tuple[str, str]], well: bool) -> None:
    health = LedgerHealth()
    for operation, outcome in heard:
        health.heard(operation, outcome)
    assert (not health.why) is well, health.why
