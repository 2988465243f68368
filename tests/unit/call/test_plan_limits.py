"""Limits of the plan: calls at once, credit a day, length of a call. They are not about money, so nobody is warned."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import replace

import pytest

from charging.call.model import Policy
from charging.pricing.money import format_euro
from charging.tariff.tariff import Tariff
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.rig import EURO, Rig, make_rig, make_tariff, plan

SECOND = 1_000


async def test_call_beyond_the_calls_at_once_goes_to_voicemail() -> None:
    async with make_rig(tariff=plan(make_tariff(), "light", max_calls=2)) as rig:
        await rig.subscriber(credit=10 * EURO)
        first, _ = await rig.talking(), await rig.talking()
        assert (await rig.ring()).reason == "too_many_calls"
        await rig.hang_up(first)
        assert (await rig.ring()).decision == "forward"


@pytest.mark.parametrize(("max_calls", "reasons"), [(1, {"credit", "too_many_calls"}), (2, {"credit"})])
async def test_of_callers_who_come_at_once_no_more_are_forwarded_than_the_plan_allows(
    max_calls: int, reasons: set[str]
) -> None:
    """Each is decided on before the other has taken his place: the ledger holds the bound."""
    tariff = plan(make_tariff(), "light", max_calls=max_calls)
    async with make_rig(tariff=tariff, store=FaultyStore(random.Random(1))) as rig:
        await rig.subscriber(credit=10 * EURO)
        answers = await asyncio.gather(rig.ring(), rig.ring())
        assert {answer.reason for answer in answers} == reasons
        assert (await rig.reserved())["calls"] == max_calls


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


async def test_switch_is_known_to_cut_at_the_longest_call_though_the_last_increment_is_paid_beyond_it() -> None:
    tariff = plan(make_tariff(increment_s=60), "light", max_call_s=90)
    async with make_rig(policy=Policy(horizon_s=120), tariff=tariff) as rig:
        await rig.subscriber(credit=EURO)
        await rig.ring()
        (session,) = rig.registry.open.calls()
        assert (session.funding[-1].end_s, session.enforced_s) == (120, 90)


def ending_at(maximum: int, increment_s: int = 1) -> Tariff:
    """The table's price, which is 1,000 a second, with a maximum that ends calls."""
    made = make_tariff(increment_s=increment_s)
    table = made.tables["table"]
    prices = {name: replace(one, max_cost=maximum, ends_at_max=True) for name, one in table.prices.items()}
    return replace(made, tables={"table": replace(table, prices=prices)})


@pytest.mark.parametrize(
    ("tariff", "end_s"),
    [(ending_at(100 * SECOND), 100), (ending_at(100 * SECOND, 30), 90), (ending_at(90 * SECOND, 30), 90)],
)
async def test_a_maximum_that_ends_calls_cuts_before_the_increment_above_it_and_warns_nobody(
    capped: Policy, tariff: Tariff, end_s: int
) -> None:
    async with make_rig(policy=capped, tariff=tariff) as rig:
        await rig.subscriber(credit=10 * EURO)
        call = await rig.talking()
        await rig.clock.advance(end_s - 0.1)
        assert not call.ended.is_set()
        await rig.clock.advance(0.2)
        assert call.ended.is_set()
        await rig.clock.advance(10)
        assert rig.switch.prompts == []
        assert [told["reason"] for told in rig.heard("call_cut")] == ["max_cost"]
        (row,) = await rig.store.cdrs()
        cdr = json.loads(row.document)
        assert (cdr["cut"], cdr["billed_s"], cdr["cost"]) == ("max_cost", end_s, format_euro(end_s * SECOND))


async def test_a_maximum_that_ends_calls_holds_over_a_restart_and_a_top_up(capped: Policy) -> None:
    async with make_rig(policy=capped, tariff=ending_at(100 * SECOND)) as rig:
        await rig.subscriber(credit=95 * SECOND)
        call = await rig.talking()
        await rig.clock.advance(70)
        await rig.kill_daemon()
        await rig.start_daemon()
        await rig.credit(10 * EURO, "second")
        await rig.clock.advance(29.9)
        assert not call.ended.is_set()
        await rig.clock.advance(0.2)
        assert call.ended.is_set()
        await rig.clock.advance(10)
        assert (await rig.balance()).posted == 10 * EURO - 5 * SECOND


async def test_where_money_ends_before_the_maximum_it_is_money_that_ends_the_call(capped: Policy) -> None:
    async with make_rig(policy=capped, tariff=ending_at(100 * SECOND)) as rig:
        await rig.subscriber(credit=99 * SECOND)
        call = await rig.talking()
        await rig.clock.advance(99.1)
        assert call.ended.is_set()
        await rig.clock.advance(10)
        assert [told["reason"] for told in rig.heard("call_cut")] == ["money"]
        assert len(rig.switch.prompts) == 1


async def test_the_cdr_of_a_call_that_its_parties_ended_names_no_cut(capped: Policy) -> None:
    async with make_rig(policy=capped, tariff=ending_at(100 * SECOND)) as rig:
        await rig.subscriber(credit=EURO)
        call = await rig.talking()
        await rig.clock.advance(99)
        await rig.hang_up(call)
        await rig.clock.advance(10)
        (row,) = await rig.store.cdrs()
        assert json.loads(row.document)["cut"] is None


async def test_a_first_increment_above_the_maximum_is_not_begun(capped: Policy) -> None:
    async with make_rig(policy=capped, tariff=ending_at(29 * SECOND, 30)) as rig:
        await rig.subscriber(credit=EURO)
        assert (await rig.ring()).reason == "not_covered"
