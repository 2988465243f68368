"""The daemon's keeper of decisions: it never waits for the store, loses nothing silently, and forgets by itself."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from charging.call.decided import FALLBACK, Decided, Turn
from charging.errors import LedgerUnavailable
from charging.ledger.documents import Put
from charging.ledger.memory import MemoryDocuments
from charging.service import decisions
from charging.service.decisions import (
    COLLECTION,
    FLOODED_PER_MINUTE,
    GATHER_S,
    QUEUE_MAX,
    REST_S,
    RETRY_S,
    DecisionKeeper,
    Decisions,
    Sought,
)
from tests.fakes.clock import FakeClock, settle


class Moody(MemoryDocuments):
    """Documents that fail, or hang, on order."""

    failing = False
    loses_answer = False
    hangs = False

    async def put_document(self, collection: str, id: str, body: str, due_us: int | None = None) -> Put:
        if self.hangs:
            await asyncio.Event().wait()
        if self.failing:
            raise LedgerUnavailable
        put = await super().put_document(collection, id, body, due_us)
        if self.loses_answer:
            self.loses_answer = False
            raise LedgerUnavailable
        return put


@pytest.fixture
def store(clock: FakeClock) -> Moody:
    return Moody()


@asynccontextmanager
async def running(keeper: DecisionKeeper) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(keeper.run()), asyncio.create_task(keeper.prune_for_ever())]
    await settle()
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def at(clock: FakeClock, reason: str = "no_credit", outcome: str = "reject", after_us: int = 0) -> Decided:
    return Decided(clock.now().wall_us + after_us, Turn.INCOMING, outcome, reason, "main", 1)


async def kept(store: Moody, clock: FakeClock) -> list[Decided]:
    found, following = await Decisions(store, clock).page(Sought(), None, 100_000)
    assert following is None
    return [one.decided for one in found]


async def test_what_comes_within_a_second_is_written_together(store: Moody, clock: FakeClock) -> None:
    keeper = DecisionKeeper(store, clock)
    async with running(keeper):
        for _ in range(3):
            keeper.keep(at(clock))
        await clock.advance(GATHER_S - 0.001)
        assert await kept(store, clock) == []
        keeper.keep(at(clock))
        await clock.advance(0.002)
        assert len(await kept(store, clock)) == 4
        assert len(await store.list_documents(COLLECTION)) == 1
        keeper.keep(at(clock))
        await clock.advance(GATHER_S)
        assert len(await kept(store, clock)) == 5


async def test_a_document_is_bounded_by_number_and_by_time(store: Moody, clock: FakeClock) -> None:
    keeper = DecisionKeeper(store, clock)
    for number in range(decisions.BATCH_DECISIONS + 1):
        keeper.keep(at(clock, after_us=number))
    keeper.keep(at(clock, after_us=decisions.SPAN_S * 1_000_000))
    await keeper.write()
    sizes = [one.id[17:19] for one in await store.list_documents(COLLECTION)]
    assert sizes == ["16", "01", "01"]
    largest = max(len(one.body.encode()) for one in await store.list_documents(COLLECTION))
    assert largest < 64 * 1024


async def test_a_full_document_of_the_longest_decisions_fits_the_store(store: Moody, clock: FakeClock) -> None:
    keeper = DecisionKeeper(store, clock, daemon="h" * 64)
    text = {name: "é" * 80 for name in ("number", "account", "plan", "caller", "target", "destination", "session")}
    money = dict.fromkeys(("credit_available", "credit_reserved", "free_seconds", "message_price", "quota_s"), 2**53)
    for _ in range(decisions.BATCH_DECISIONS):
        keeper.keep(Decided(2**50, Turn.UNANSWERED, FALLBACK, "r" * 30, "s" * 64, 9, detail="é" * 200, **text, **money))  # type: ignore[arg-type]
    await keeper.write()
    (document,) = await store.list_documents(COLLECTION)
    assert len(document.body.encode()) <= 64 * 1024


async def test_a_store_that_hangs_keeps_nobody_waiting(store: Moody, clock: FakeClock) -> None:
    lost: Counter[str] = Counter()
    keeper = DecisionKeeper(store, clock, lambda why: lost.update([why]))
    store.hangs = True
    async with running(keeper):
        keeper.keep(at(clock))
        await clock.advance(GATHER_S)
        began = time.process_time()
        for _ in range(QUEUE_MAX + 5):
            keeper.keep(at(clock, "credit", "forward"))
        assert time.process_time() - began < 1
        assert lost == {"full": 5}
    store.hangs = False
    with capture_logs() as logs:
        await keeper.drain()
    assert len(await kept(store, clock)) == QUEUE_MAX + 1
    assert [(one["event"], one["decisions"]) for one in logs] == [("decisions_lost", 5)]


async def test_what_the_store_did_not_take_is_written_later(store: Moody, clock: FakeClock) -> None:
    keeper = DecisionKeeper(store, clock)
    store.failing = True
    async with running(keeper):
        keeper.keep(at(clock))
        with capture_logs() as logs:
            await clock.advance(GATHER_S + 0.1)
        assert [one["event"] for one in logs] == ["decisions_delayed"]
        keeper.keep(at(clock))
        store.failing = False
        await clock.advance(RETRY_S + GATHER_S)
        assert len(await kept(store, clock)) == 2


async def test_an_answer_that_was_lost_writes_nothing_twice_and_loses_nothing(store: Moody, clock: FakeClock) -> None:
    """What came meanwhile is in a document of its own: under the first's id the store would not take it."""
    keeper = DecisionKeeper(store, clock)
    store.loses_answer = True
    keeper.keep(at(clock))
    with pytest.raises(LedgerUnavailable):
        await keeper.write()
    keeper.keep(at(clock))
    await keeper.write()
    assert len(await kept(store, clock)) == 2


async def test_a_daemon_that_stops_writes_what_waits_or_says_how_many_are_lost(store: Moody, clock: FakeClock) -> None:
    keeper = DecisionKeeper(store, clock)
    for _ in range(3):
        keeper.keep(at(clock))
    store.failing = True
    with capture_logs() as logs:
        await keeper.drain()
    assert [(one["event"], one["decisions"]) for one in logs] == [("decisions_lost", 3)]
    store.failing = False
    await keeper.drain()
    assert len(await kept(store, clock)) == 3


@pytest.mark.parametrize(("after_s", "more"), [(59.9, 0), (60, 1)])
@pytest.mark.parametrize("reason", ["unproven", "unknown_number", "too_many_wait", "too_many_given_up"])
async def test_what_a_flood_brings_does_not_push_the_others_out(
    store: Moody, clock: FakeClock, reason: str, after_s: float, more: int
) -> None:
    lost: list[str] = []
    keeper = DecisionKeeper(store, clock, lost.append)
    for _ in range(FLOODED_PER_MINUTE + 3):
        keeper.keep(at(clock, reason, FALLBACK))
    keeper.keep(at(clock))
    assert lost == [reason] * 3
    await clock.advance(after_s)
    keeper.keep(at(clock, reason, FALLBACK))
    await keeper.write()
    assert len(await kept(store, clock)) == FLOODED_PER_MINUTE + 1 + more


async def test_of_a_reason_to_refuse_few_are_kept_of_one_number_and_each_forward_is(
    store: Moody, clock: FakeClock
) -> None:
    """Whoever rings a number without credit, and hangs up at once, pushes no other number's decisions out."""
    lost: list[str] = []
    keeper = DecisionKeeper(store, clock, lost.append)
    refused, another = (replace(at(clock, "no_credit", "reject"), number=f"+3185000000{one}") for one in (1, 2))
    for _ in range(FLOODED_PER_MINUTE + 3):
        keeper.keep(refused)
        keeper.keep(replace(refused, outcome="forward", reason="credit"))
    keeper.keep(another)
    keeper.keep(replace(refused, reason="no_minutes"))
    assert lost == ["no_credit"] * 3
    await keeper.write()


@pytest.mark.parametrize(("age_s", "left"), [(14 * 86400 + 3601, 0), (14 * 86400 - 1, 1)])
async def test_a_daemon_forgets_what_is_too_old_within_the_hour(
    store: Moody, clock: FakeClock, age_s: int, left: int
) -> None:
    keeper = DecisionKeeper(store, clock)
    keeper.keep(at(clock))
    await keeper.write()
    async with running(keeper):
        clock.step_wall(age_s - REST_S)
        await clock.advance(REST_S + 1)
        assert len(await kept(store, clock)) == left


async def test_a_round_of_pruning_that_fails_is_made_anew(
    store: Moody, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = DecisionKeeper(store, clock)
    keeper.keep(at(clock))
    await keeper.write()
    clock.step_wall(15 * 86400)

    async def broken(*_arguments: object, **_which: object) -> list[object]:
        raise LedgerUnavailable

    with monkeypatch.context() as away:
        away.setattr(store, "list_documents", broken)
        async with running(keeper):
            await clock.advance(1)
            away.undo()
            await clock.advance(REST_S)
    assert await kept(store, clock) == []


@pytest.mark.parametrize("body", ["", "[1]", '[{"at_us":1}]', "{}", '[{"turn":"x"}]'])
async def test_a_damaged_document_hides_no_other(store: Moody, clock: FakeClock, body: str) -> None:
    keeper = DecisionKeeper(store, clock)
    keeper.keep(at(clock))
    await keeper.write()
    await store.put_document(COLLECTION, "1000000000000000-01-00000000", body)
    with capture_logs() as logs:
        assert len(await kept(store, clock)) == 1
    assert [one["event"] for one in logs] == ([] if body == "{}" else ["decisions_unreadable"])


async def test_calls_have_the_loop_before_each_document_that_is_read(store: Moody, clock: FakeClock) -> None:
    keeper = DecisionKeeper(store, clock)
    for number in range(40 * decisions.BATCH_DECISIONS):
        keeper.keep(at(clock, "credit", "forward", after_us=number))
    await keeper.write()
    turns = 0

    async def call() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    calls = asyncio.create_task(call())
    await kept(store, clock)
    calls.cancel()
    assert turns >= 40
