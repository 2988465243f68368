"""Limits of the plan: calls at once, credit a day, length of a call. They are not about money, so nobody is warned."""

from __future__ import annotations

import pytest

from charging.call.model import Policy
from tests.fakes.rig import EURO, Rig, make_rig, make_tariff, plan

SECOND = 1_000


async def test_call_beyond_the_calls_at_once_goes_to_voicemail() -> None:
    async with make_rig(tariff=plan(make_tariff(), "light", max_calls=2)) as rig:
        await rig.subscriber(credit=10 * EURO)
        first, _ = await rig.talking(), await rig.talking()
        assert (await rig.ring()).reason == "too_many_calls"
        await rig.hang_up(first)
        assert (await rig.ring()).decision == "forward"


@pytest.fixture
def capped() -> Policy:
    return Policy(tick_s=10, horizon_s=20, warn_before_s=20)


async def _spend_the_day(rig: Rig) -> None:
    await rig.subscriber(credit=10 * EURO)
    call = await rig.talking()
    await rig.clock.advance(49.9)
    assert not call.ended.is_set()
    await rig.clock.advance(0.2)
    assert call.ended.is_set()


async def test_credit_a_day_ends_a_call_without_a_warning_and_stops_the_next(capped: Policy) -> None:
    tariff = plan(make_tariff(), "light", max_credit_per_day=50 * SECOND)
    async with make_rig(policy=capped, tariff=tariff) as rig:
        await _spend_the_day(rig)
        assert rig.switch.prompts == []
        assert (await rig.balance()).posted == 10 * EURO - 50 * SECOND
        answer = await rig.ring()
        assert (answer.decision, answer.reason) == ("voicemail", "day_limit")


async def test_credit_a_day_begins_anew_at_local_midnight(capped: Policy) -> None:
    tariff = plan(make_tariff(), "light", max_credit_per_day=50 * SECOND)
    async with make_rig(policy=capped, tariff=tariff) as rig:
        await _spend_the_day(rig)
        await rig.clock.advance(10.5 * 3600)  # from noon UTC: half past eleven in the evening in Amsterdam
        assert (await rig.ring()).reason == "day_limit"
        await rig.clock.advance(3600)
        assert (await rig.ring()).decision == "forward"


async def test_two_calls_share_the_credit_of_a_day(capped: Policy) -> None:
    tariff = plan(make_tariff(), "light", max_credit_per_day=50 * SECOND)
    async with make_rig(policy=capped, tariff=tariff) as rig:
        await rig.subscriber(credit=10 * EURO)
        first, second = await rig.talking(), await rig.talking()
        await rig.clock.advance(60)
        assert first.ended.is_set()
        assert second.ended.is_set()
        assert (await rig.balance()).posted == 10 * EURO - 50 * SECOND


@pytest.mark.parametrize("plan_name", ["light", "pro"])
async def test_longest_call_is_an_end_also_for_what_is_free(plan_name: str) -> None:
    async with make_rig(tariff=plan(make_tariff(), plan_name, max_call_s=90)) as rig:
        await rig.subscriber(credit=10 * EURO, plan=plan_name)
        call = await rig.talking()
        await rig.clock.advance(89.9)
        assert not call.ended.is_set()
        await rig.clock.advance(0.2)
        assert call.ended.is_set()
        assert rig.switch.prompts == []
