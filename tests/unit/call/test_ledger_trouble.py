"""A call while the ledger fails, races or answers late."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from charging.call.events import FundsChanged
from charging.errors import LedgerUnavailable
from charging.ledger.model import CREDIT, Applied, Kept, Kind, Leg, Outcome, Transfer
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.rig import EURO, Rig, make_rig

SECOND = 1_000


@pytest.fixture
async def store() -> FaultyStore:
    return FaultyStore(random.Random(1))


@pytest.fixture
async def rig(store: FaultyStore) -> AsyncIterator[Rig]:
    async with make_rig(store=store) as one:
        yield one


async def test_two_calls_that_plan_with_the_same_balance_share_it_without_a_loss(rig: Rig) -> None:
    await rig.subscriber(credit=100 * SECOND)
    first = await rig.talking()
    assert rig.session_of(first).covered_s == 100
    await rig.credit(100 * SECOND, "second")
    await rig.clock.advance(0)
    second = await rig.talking()
    await rig.clock.advance(1)
    await rig.credit(30 * SECOND, "third")
    for call in (first, second):
        rig.runner_of(call).offer(FundsChanged())
    await rig.clock.advance(0)
    balance = await rig.balance()
    assert balance.available >= 0
    used = 230 * SECOND - balance.posted
    assert balance.reserved + used == SECOND * sum(rig.session_of(call).covered_s for call in (first, second))
    assert not rig.heard("session_lost")


async def test_extension_refused_because_another_was_faster_is_planned_anew(rig: Rig, store: FaultyStore) -> None:
    await rig.subscriber(credit=100 * SECOND)
    call = await rig.talking()
    await rig.credit(5 * SECOND, "second")
    await rig.clock.advance(0)
    assert rig.session_of(call).covered_s == 105
    store.theft = 15 * SECOND
    await rig.credit(20 * SECOND, "third")
    await rig.clock.advance(0)
    assert store.theft == 0
    assert rig.session_of(call).covered_s == 110
    assert not rig.heard("session_lost")


async def test_tick_of_unknown_outcome_is_asked_again_though_a_deadline_was_put_right_meanwhile(
    rig: Rig, store: FaultyStore
) -> None:
    await rig.subscriber(credit=10 * EURO)
    call = await rig.talking()
    await rig.clock.advance(59.5)
    store.failing = 1.0
    await rig.clock.advance(1)
    rig.clock.step_wall(5)
    await rig.clock.advance(3)
    store.failing = 0.0
    await rig.clock.advance(200)
    assert rig.heard("clock_jumped")
    assert not call.ended.is_set(), "it can pay"


async def test_tick_of_unknown_outcome_is_asked_again_with_the_same_id(rig: Rig, store: FaultyStore) -> None:
    await rig.subscriber(credit=10 * EURO)
    call = await rig.talking()
    store.lose_answers = 1
    await rig.clock.advance(70)
    assert rig.heard("ledger_failed")
    assert rig.session_of(call).covered_s == 180
    lines = [line.id async for line in store.journal("anna") if line.kind is Kind.EXTEND]
    assert len(lines) == len(set(lines)) == 1


async def test_call_that_ends_while_a_tick_is_unknown_settles_after_it_is_known(rig: Rig, store: FaultyStore) -> None:
    await rig.subscriber(credit=10 * EURO)
    call = await rig.talking()
    store.lose_answers = 3
    await rig.clock.advance(61)
    await rig.hang_up(call)
    await rig.clock.advance(10)
    assert not rig.heard("session_lost")
    assert (await rig.balance()).posted == 10 * EURO - 61 * SECOND
    assert await rig.reserved() == {}


async def test_ledger_out_of_reach_lets_a_call_live_to_the_end_of_its_reservation(rig: Rig, store: FaultyStore) -> None:
    await rig.subscriber(credit=10 * EURO)
    call = await rig.talking()
    await rig.clock.advance(10)
    store.failing = 1.0
    await rig.clock.advance(109.9)
    assert not call.ended.is_set()
    await rig.clock.advance(0.2)
    assert call.ended.is_set()
    await rig.clock.advance(600)
    store.failing = 0.0
    await rig.clock.advance(60)
    assert (await rig.balance()).posted == 10 * EURO - 120 * SECOND
    assert await rig.reserved() == {}


async def test_reservation_whose_answer_was_lost_is_given_back(rig: Rig, store: FaultyStore) -> None:
    await rig.subscriber(credit=10 * EURO)
    store.lose_reservation = True
    with pytest.raises(LedgerUnavailable):
        await rig.ring()
    assert await rig.reserved() != {}
    await rig.clock.advance(60)
    assert await rig.reserved() == {}


async def test_ledger_out_of_reach_forwards_nothing(rig: Rig, store: FaultyStore) -> None:
    await rig.subscriber(credit=10 * EURO)
    store.failing = 1.0
    with pytest.raises(LedgerUnavailable):
        await rig.ring()


async def test_settling_interrupted_by_a_crash_is_finished_once(rig: Rig, store: FaultyStore) -> None:
    await rig.subscriber(credit=10 * EURO)
    call = await rig.talking()
    await rig.clock.advance(30.1)
    store.failing = 1.0
    await rig.hang_up(call)
    await rig.kill_daemon()
    store.failing = 0.0
    await rig.start_daemon()
    await rig.clock.advance(20)
    rows = await store.cdrs()
    assert [json.loads(row.document)["billed_s"] for row in rows] == [30]
    assert (await rig.balance()).posted == 10 * EURO - 30 * SECOND


async def test_end_of_a_call_is_one_write(rig: Rig, store: FaultyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its length, its charge and its CDR: one commit of the disk, one round trip to Redis."""
    await rig.subscriber(credit=10 * EURO)
    call = await rig.talking()
    await rig.clock.advance(30.1)
    written: list[str] = []
    apply, keep = store.apply, store.keep_session

    async def noted_apply(transfer: Transfer, grants: Sequence[Transfer] = ()) -> Applied:
        written.append(transfer.kind)
        return await apply(transfer, grants)

    async def noted_keep(account: str, session: str, kept: Kept) -> Outcome:
        written.append("keep")
        return await keep(account, session, kept)

    monkeypatch.setattr(store, "apply", noted_apply)
    monkeypatch.setattr(store, "keep_session", noted_keep)
    await rig.hang_up(call)
    assert written == [Kind.SETTLE]
    assert [json.loads(row.document)["billed_s"] for row in await store.cdrs()] == [30]


async def test_settlement_whose_answer_was_lost_in_a_crash_is_not_made_again(rig: Rig, store: FaultyStore) -> None:
    await rig.subscriber(credit=10 * EURO)
    call = await rig.talking()
    await rig.clock.advance(30.1)
    store.lose_answers = 1
    await rig.hang_up(call)
    await rig.kill_daemon()
    await rig.start_daemon()
    await rig.clock.advance(20)
    assert [json.loads(row.document)["billed_s"] for row in await store.cdrs()] == [30]
    assert (await rig.balance()).posted == 10 * EURO - 30 * SECOND
    assert await rig.reserved() == {}


async def test_session_whose_books_differ_goes_on_from_the_stored_record(rig: Rig, store: FaultyStore) -> None:
    """Whoever posted under our next id: our record is let go, and the stored one is taken up and settled."""
    await rig.subscriber(credit=10 * EURO)
    call = await rig.talking()
    session = rig.session_of(call)
    stray = Transfer(
        f"{session.id}/{session.sequence}/extend",
        "anna",
        Kind.EXTEND,
        0,
        (Leg(CREDIT, -SECOND),),
        session.id,
        Kept(replace(session, sequence=session.sequence + 1).to_json(), follows=session.follows),
        "stray",
    )
    await store.apply(stray)
    await rig.clock.advance(70)
    assert rig.heard("session_lost")
    await rig.clock.advance(40)
    assert rig.session_of(call).covered_s > 120
    await rig.hang_up(call)
    assert await rig.reserved() == {}
