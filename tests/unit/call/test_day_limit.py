"""The plan's credit a day bounds what people without a login make an account spend, by calls and messages together."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest

from agi.port import Answer
from charging.call.decide import Cause, Unsold
from charging.call.decided import advice, explanation
from charging.ledger.model import Kind, Leg, Outcome, Transfer, day_spend
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.rig import EURO, Rig, make_rig, make_tariff, plan

PRICE = 100_000
"""Of a message in the tests' plan ``free``."""
CAP = 250_000
"""Two messages, and half of a third."""
FORWARD = "+31612345678"
DAY_S = 24 * 3600


@pytest.fixture
async def store() -> FaultyStore:
    return FaultyStore(random.Random(1))


@pytest.fixture
async def rig(store: FaultyStore) -> AsyncIterator[Rig]:
    async with make_rig(store=store, tariff=plan(make_tariff(), "free", max_credit_per_day=CAP)) as one:
        yield one


async def leave(rig: Rig, answer: Answer, stored: bool = True) -> None:
    """The caller leaves a message, or says nothing."""
    assert answer.decision == "voicemail", answer
    assert answer.session is not None
    rig.switch.leave_message(answer.session, rig.caller_uid, stored=stored)
    await rig.clock.advance(1)


async def counted(rig: Rig) -> tuple[int, int]:
    """What the day has cost, and what is reserved of it."""
    balances = await rig.store.balances("anna")
    days = [one for name, one in balances.items() if name.startswith("day:")]
    return -sum(one.posted for one in days), sum(one.reserved for one in days)


async def test_r13_beyond_the_days_credit_no_paid_message_is_taken_and_the_subscriber_is_told_why(rig: Rig) -> None:
    await rig.subscriber(credit=10 * EURO, plan="free", forward_to="")
    await leave(rig, await rig.ring())
    await leave(rig, await rig.ring())
    assert await counted(rig) == (2 * PRICE, 0)
    answer = await rig.ring()
    assert (answer.decision, answer.reason) == ("reject", "no_target")
    assert (await rig.balance()).posted == 10 * EURO - 2 * PRICE
    assert [missed.cause for missed in rig.missed] == [Cause.DAY_LIMIT]
    decided = rig.decided[-1]
    assert (decided.message_price, decided.message_refusal) == (PRICE, Unsold.DAY_LIMIT)
    assert "of the plan's credit a day too little was left for a voicemail message" in explanation(decided)
    assert "`credit_a_day` of the plan is the limit" in advice(decided)
    assert [told["reason"] for told in rig.heard("message_not_sold")] == ["day_limit"]


async def test_r13_a_message_that_credit_cannot_pay_is_refused_for_that(rig: Rig) -> None:
    await rig.subscriber(credit=PRICE - 1, plan="free", forward_to="")
    await rig.ring()
    assert [missed.cause for missed in rig.missed] == [Cause.NO_MESSAGE]
    assert rig.decided[-1].message_refusal == Unsold.NO_CREDIT
    assert "credit did not suffice" in explanation(rig.decided[-1])
    assert [told["reason"] for told in rig.heard("message_not_sold")] == ["no_credit"]


@pytest.mark.parametrize(("cap", "decision"), [(PRICE, "voicemail"), (PRICE - 1, "reject")])
async def test_r13_the_days_credit_pays_a_message_to_its_last_cent(cap: int, decision: str) -> None:
    async with make_rig(tariff=plan(make_tariff(), "free", max_credit_per_day=cap)) as rig:
        await rig.subscriber(credit=EURO, plan="free", forward_to="")
        assert (await rig.ring()).decision == decision


async def test_callers_who_leave_nothing_use_up_no_day(rig: Rig) -> None:
    await rig.subscriber(credit=EURO, plan="free", forward_to="")
    for _ in range(5):
        await leave(rig, await rig.ring(), stored=False)
    assert await counted(rig) == (0, 0)


async def test_callers_at_once_share_the_day(rig: Rig) -> None:
    await rig.subscriber(credit=EURO, plan="free", forward_to="")
    assert [(await rig.ring()).decision for _ in range(3)] == ["voicemail", "voicemail", "reject"]
    assert await counted(rig) == (0, 2 * PRICE)


async def test_messages_leave_calls_what_is_left_of_the_day_and_the_other_way_round(rig: Rig) -> None:
    await rig.subscriber(credit=10 * EURO, plan="free")
    call = await rig.talking()  # 1,000 a second
    assert await counted(rig) == (0, 120_000)
    await leave(rig, await rig.desk.unanswered((await rig.ringing()).session, "BUSY"))
    assert (await rig.ringing()).quota_s == (CAP - 120_000 - PRICE) // 1000
    await rig.clock.advance(300)
    assert call.ended.is_set()
    posted, _ = await counted(rig)
    assert posted <= CAP
    assert (await rig.balance()).posted == 10 * EURO - posted


async def test_the_next_day_takes_messages_again(rig: Rig) -> None:
    await rig.subscriber(credit=10 * EURO, plan="free", forward_to="")
    await leave(rig, await rig.ring())
    await leave(rig, await rig.ring())
    assert (await rig.ring()).decision == "reject"
    await rig.clock.advance(DAY_S)
    await leave(rig, await rig.ring())


async def test_r3_a_forward_that_fails_hands_its_share_of_the_day_to_the_message(rig: Rig) -> None:
    await rig.subscriber(credit=EURO, plan="free")
    call = await rig.ringing()
    rig.switch.fail(call.session, "BUSY")
    answer = await rig.desk.unanswered(call.session, "BUSY")
    assert await counted(rig) == (0, PRICE)
    await leave(rig, answer)
    assert await counted(rig) == (PRICE, 0)
    assert (await rig.balance()).posted == EURO - PRICE


async def test_r13_a_forward_that_fails_with_too_little_of_the_day_for_a_message_is_not_answered() -> None:
    async with make_rig(tariff=plan(make_tariff(), "free", max_credit_per_day=PRICE - 1)) as rig:
        await rig.subscriber(credit=EURO, plan="free")
        call = await rig.ringing()
        rig.switch.fail(call.session, "BUSY")
        answer = await rig.desk.unanswered(call.session, "BUSY")
        assert (answer.decision, answer.reason) == ("reject", "forward_failed")
        assert [missed.cause for missed in rig.missed] == [Cause.DAY_LIMIT]
        assert rig.decided[-1].message_refusal == Unsold.DAY_LIMIT
        assert await counted(rig) == (0, 0)
        assert (await rig.balance()).available == EURO


async def test_a_message_at_a_restart_is_counted_once(rig: Rig) -> None:
    await rig.subscriber(credit=EURO, plan="free", forward_to="")
    answer = await rig.ring()
    assert answer.session is not None
    await rig.kill_daemon()
    rig.switch.leave_message(answer.session, rig.caller_uid)
    await rig.start_daemon()
    await rig.clock.advance(10)
    assert await counted(rig) == (PRICE, 0)


@pytest.mark.parametrize(("spent", "charged"), [(0, PRICE), (CAP - PRICE + 1, PRICE - 1), (CAP, 0)])
async def test_messages_taken_while_the_daemon_was_dead_are_charged_as_far_as_the_day_reaches(
    rig: Rig, spent: int, charged: int
) -> None:
    await rig.subscriber(credit=10 * EURO, plan="free")
    today = day_spend(rig.tariff.day_of(rig.clock.now().wall_us).isoformat())
    spend = Transfer(
        id="t", account="anna", kind=Kind.CORRECT, at_us=0, legs=(Leg(today, -spent, 0, -CAP),), reason="t"
    )
    assert (await rig.store.apply(spend)).outcome is Outcome.CREATED
    await rig.kill_daemon()
    rig.switch.leave_message("nosession-1", "u1", fallback=True)
    await rig.start_daemon()
    await rig.clock.advance(30)
    assert (await rig.balance()).posted == 10 * EURO - charged
    assert await counted(rig) == (spent + charged, 0)
    assert rig.switch.records == {}


async def test_a_hundred_messages_of_an_outage_take_no_more_than_the_day(rig: Rig) -> None:
    await rig.subscriber(credit=100 * EURO, plan="free")
    await rig.kill_daemon()
    for one in range(100):
        rig.switch.leave_message(f"nosession-{one}", "u1", fallback=True)
    await rig.start_daemon()
    await rig.clock.advance(60)
    assert (await rig.balance()).posted == 100 * EURO - CAP


@pytest.mark.parametrize(("cap", "warned"), [(EURO, True), (EURO - 1, False)])
async def test_r17_who_has_exactly_the_days_credit_is_warned_that_his_money_ends(cap: int, *, warned: bool) -> None:
    async with make_rig(tariff=plan(make_tariff(), "light", max_credit_per_day=cap)) as rig:
        await rig.subscriber(credit=EURO)
        call = await rig.talking()
        await rig.clock.advance(DAY_S)
        assert not call.caller_alive, "its money, or that of the day, has ended"
        assert bool(rig.switch.prompts) is warned
