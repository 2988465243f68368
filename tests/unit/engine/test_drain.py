"""Before Asterisk is restarted gracefully every call that can pay is paid, and its deadline is set accordingly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from charging.call.model import Short
from charging.engine.drain import Drain, Drained
from tests.fakes.rig import EURO, Rig, make_rig

SECOND = 1_000
"""Micro-euro of one second in the tests' tariff."""
MAX_CALL_S = 14_400


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with make_rig() as rig:
        yield rig


async def begin(rig: Rig, *, refuse_new: bool = False) -> Drained:
    """As a drain does while the clock goes on."""
    drain = asyncio.create_task(Drain(rig.registry, rig.clock).begin(refuse_new=refuse_new))
    while not drain.done():
        await rig.clock.advance(0.05)
    return await drain


async def test_a_call_that_can_pay_is_paid_to_the_plans_longest(rig: Rig) -> None:
    await rig.subscriber(credit=100 * EURO)
    call = await rig.talking()
    drained = await begin(rig)
    assert [one.id for one in drained.paid] == [call.session]
    session = rig.session_of(call)
    assert session.covered_s == session.enforced_s == MAX_CALL_S
    assert (await rig.balance()).reserved + rig.session_of(call).posted.get("credit", 0) == MAX_CALL_S * SECOND


async def test_without_a_drain_it_is_paid_a_horizon_ahead(rig: Rig) -> None:
    await rig.subscriber(credit=100 * EURO)
    call = await rig.talking()
    await rig.clock.advance(61)
    assert rig.session_of(call).covered_s < 200


async def test_a_call_whose_money_ends_is_paid_as_far_as_that_goes(rig: Rig) -> None:
    await rig.subscriber(credit=300 * SECOND)
    call = await rig.talking()
    drained = await begin(rig)
    (paid,) = drained.paid
    assert (paid.covered_s, paid.short) == (300, Short.MONEY)
    assert rig.session_of(call).enforced_s == 300


async def test_calls_of_one_account_share_its_money(rig: Rig) -> None:
    await rig.subscriber(credit=4_000 * SECOND)
    calls = [await rig.talking(), await rig.talking()]
    await begin(rig)
    covered = sorted(rig.session_of(call).covered_s for call in calls)
    assert sum(covered) == 4_000
    assert covered[0] >= 900, "the one that came first has not taken it all"


async def test_a_call_that_rings_is_paid_as_soon_as_it_is_answered(rig: Rig) -> None:
    await rig.subscriber(credit=100 * EURO)
    call = await rig.ringing()
    drained = await begin(rig)
    assert [one.id for one in drained.ringing] == [call.session]
    rig.switch.answer(call.session)
    await rig.clock.advance(3)
    assert rig.session_of(call).enforced_s == MAX_CALL_S


async def test_a_new_call_is_paid_as_far_at_once_or_turned_away(rig: Rig) -> None:
    await rig.subscriber(credit=100 * EURO)
    await begin(rig)
    assert (await rig.ring()).quota_s == MAX_CALL_S
    await begin(rig, refuse_new=True)
    answer = await rig.ring()
    assert (answer.decision, answer.reason) == ("reject", "draining")
    assert not rig.missed, "nobody is told that it was his credit"


async def test_r4_a_drained_call_is_charged_for_what_it_lasted(rig: Rig) -> None:
    await rig.subscriber(credit=100 * EURO)
    call = await rig.talking()
    await begin(rig)
    left_s = 200 - rig.session_of(call).elapsed_ms(rig.clock.now().mono_us) / 1000
    await rig.clock.advance(left_s)
    await rig.hang_up(call)
    assert (await rig.balance()).posted == 100 * EURO - 200 * SECOND
    assert (await rig.balance()).reserved == 0


async def test_it_ends_by_order_and_when_asterisk_has_been_restarted(rig: Rig) -> None:
    await rig.subscriber(credit=100 * EURO)
    await begin(rig, refuse_new=True)
    assert not Drain(rig.registry, rig.clock).end().is_on
    assert (await rig.ring()).quota_s == 120
    await begin(rig, refuse_new=True)
    await rig.recovery.reconcile(restarted=False)
    assert (await rig.ring()).reason == "draining", "the link was lost and is back: Asterisk is the same"
    await rig.recovery.reconcile(restarted=True)
    assert (await rig.ring()).quota_s == 120
    assert len(rig.heard("drain_begun")) == len(rig.heard("drain_ended")) == 2


async def test_what_the_switch_does_not_obey_is_told_as_behind(rig: Rig) -> None:
    await rig.subscriber(credit=100 * EURO)
    call = await rig.talking()
    rig.switch.disobeys = lambda: True
    drained = await begin(rig)
    assert [one.id for one in drained.behind] == [call.session]
    assert drained.paid == ()
