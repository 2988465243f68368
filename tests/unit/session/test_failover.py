"""A fail-over of the ledger loses its last writes: what was acknowledged is not there any more."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator

import pytest

from charging.ledger.memory import MemoryStore
from tests.fakes.clock import FakeClock
from tests.fakes.rig import EURO, Rig, make_rig

SECOND = 1_000


class LossyStore(MemoryStore):
    """A memory store that can fall back to what it was."""

    def remember(self) -> None:
        self._then = copy.deepcopy(self._books)

    def fail_over(self) -> None:
        self._books = self._then


@pytest.fixture
async def store() -> LossyStore:
    return LossyStore(FakeClock())


@pytest.fixture
async def rig(store: LossyStore) -> AsyncIterator[Rig]:
    async with make_rig(store=store) as one:
        yield one


async def test_running_call_whose_opening_was_lost_reasserts_itself_and_is_charged_whole(
    rig: Rig, store: LossyStore
) -> None:
    await rig.subscriber(credit=10 * EURO)
    store.remember()
    call = await rig.talking()
    await rig.clock.advance(70)
    store.fail_over()
    await rig.clock.advance(60)
    assert len(rig.heard("session_reasserted")) == 1
    assert rig.session_of(call).covered_s >= 180
    assert (await rig.balance()).reserved > 0
    await rig.clock.advance(20.1)
    await rig.hang_up(call)
    assert (await rig.balance()).posted == 10 * EURO - 150 * SECOND
    assert await rig.reserved() == {}


async def test_call_that_ends_after_its_opening_was_lost_is_charged_whole(rig: Rig, store: LossyStore) -> None:
    await rig.subscriber(credit=10 * EURO)
    store.remember()
    call = await rig.talking()
    await rig.clock.advance(30.1)
    store.fail_over()
    await rig.hang_up(call)
    assert (await rig.balance()).posted == 10 * EURO - 30 * SECOND
    assert await rig.reserved() == {}


async def test_lost_tick_costs_the_operator_that_tick_and_nobody_twice(rig: Rig, store: LossyStore) -> None:
    """The session itself is still there, so nothing tells that one of its ticks is not. The README states it."""
    await rig.subscriber(credit=10 * EURO)
    call = await rig.talking()
    await rig.clock.advance(70)
    store.remember()
    await rig.clock.advance(60)
    store.fail_over()
    await rig.clock.advance(20.1)
    await rig.hang_up(call)
    await rig.clock.advance(60)
    lost_s = 60
    assert (await rig.balance()).posted == 10 * EURO - (150 - lost_s) * SECOND
    assert await rig.reserved() == {}


async def test_lost_opening_whose_money_is_spent_meanwhile_is_told_loudly(rig: Rig, store: LossyStore) -> None:
    await rig.subscriber(credit=150 * SECOND)
    store.remember()
    await rig.talking()
    store.fail_over()
    await rig.credit(-140 * SECOND, "chargeback")
    await rig.clock.advance(70)
    assert rig.heard("session_lost")
    assert (await rig.balance()).available == 10 * SECOND
