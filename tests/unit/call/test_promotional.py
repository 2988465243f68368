"""Promotional credit pays before bought credit, the soonest end first, second by second."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charging.call.booking import final_charge
from charging.call.events import BlackBoxRead
from charging.call.model import Policy
from charging.engine.left_messages import LeftMessages
from charging.ledger.balances import PROMOS_MAX, promo
from charging.ledger.books.verify import verify
from charging.ledger.model import CREDIT, Balance, Closed, Kind, Leg, Transfer
from charging.pricing.money import format_euro
from charging.pricing.rate import Segment
from charging.service.ledger_contents import LedgerContents
from tests.fakes.rig import EURO, NUMBER, Rig, make_rig, make_tariff, plan
from tests.unit.call.test_table import running

SECOND = 1_000
TODAY, TOMORROW, LATER = promo("2026-11-21"), promo("2026-11-22"), promo("2026-12-31")
YESTERDAY = promo("2026-11-20")
MIDNIGHT_S = 11 * 3600
"""From the rig's noon in UTC to the end of the day in Amsterdam."""


async def give(rig: Rig, gifts: Mapping[str, int], key: str = "gift") -> None:
    for name, amount in gifts.items():
        legs = (Leg(name, amount),)
        transfer = Transfer(f"{key}/{name}", "anna", Kind.CORRECT, rig.clock.now().wall_us, legs, reason="test")
        assert (await rig.store.apply(transfer)).outcome.applied
    rig.registry.funds_changed("anna")


async def spent(rig: Rig, before: Mapping[str, int]) -> dict[str, int]:
    after = {name: amount - (await rig.balance(name)).posted for name, amount in before.items()}
    return {name: amount for name, amount in after.items() if amount}


def second_by_second(purses: Mapping[str, int], seconds: int, day: str) -> dict[str, int]:
    """Plainly: each second is paid by the first purse that has its price, and may be broken over two."""
    left, taken = dict(purses), dict.fromkeys(purses, 0)
    order = [*sorted(name for name in purses if name != CREDIT and name >= promo(day)), CREDIT]
    for _ in range(seconds):
        owed = SECOND
        for name in order:
            part = min(owed, left[name])
            left[name] -= part
            taken[name] += part
            owed -= part
        assert not owed, "the engine let a second be talked that nobody paid"
    return {name: amount for name, amount in taken.items() if amount}


async def findings(rig: Rig) -> list[str]:
    """What the audit of the ledger finds, journal against CDRs among it."""
    return [str(one) async for one in verify(rig.store, LedgerContents(rig.clock.now()))]


async def talk(rig: Rig, seconds: float) -> None:
    call = await rig.talking()
    await rig.clock.advance(seconds)
    if not call.ended.is_set():
        await rig.hang_up(call)
    await rig.clock.advance(10)


@given(
    purses=st.fixed_dictionaries(
        {name: st.integers(0, 90_000) for name in (CREDIT, YESTERDAY, TODAY, TOMORROW, LATER)}
    ),
    seconds=st.integers(1, 400),
    tick_s=st.sampled_from([7, 20, 60]),
)
@settings(max_examples=60, deadline=None)
def test_each_second_is_paid_by_the_purse_that_ends_first(purses: dict[str, int], seconds: int, tick_s: int) -> None:
    async def story() -> None:
        async with make_rig(policy=Policy(tick_s=tick_s, horizon_s=tick_s, warn_before_s=5)) as rig:
            await rig.subscriber(credit=purses[CREDIT])
            await give(rig, {name: amount for name, amount in purses.items() if name != CREDIT and amount})
            reach_s = sum(amount for name, amount in purses.items() if name != YESTERDAY) // SECOND
            if not reach_s:
                assert (await rig.ring()).decision != "forward"
                return
            call = await rig.talking()
            await rig.clock.advance(min(seconds, reach_s) - 0.05)
            assert not call.ended.is_set(), "cut before its money ended"
            await rig.clock.advance(0.1)
            assert call.ended.is_set() == (seconds >= reach_s), "cut at exactly the second"
            await rig.hang_up(call)
            await rig.clock.advance(10)
            assert await spent(rig, purses) == second_by_second(purses, min(seconds, reach_s), "2026-11-21")
            assert await rig.reserved() == {}
            assert await findings(rig) == []

    asyncio.run(story())


async def test_a_call_that_outlives_the_end_goes_on_with_what_it_began_with_and_the_next_does_not() -> None:
    async with make_rig() as rig:
        purses = {CREDIT: EURO, TODAY: 200 * SECOND}
        await rig.subscriber(credit=EURO)
        await give(rig, {TODAY: 200 * SECOND})
        await rig.clock.advance(MIDNIGHT_S - 30)
        await talk(rig, 100.1)
        assert await spent(rig, purses) == {TODAY: 100 * SECOND}
        await talk(rig, 10.1)
        assert await spent(rig, purses) == {TODAY: 100 * SECOND, CREDIT: 10 * SECOND}


@pytest.mark.parametrize(("before_s", "pays"), [(1, TODAY), (0, CREDIT)])
async def test_the_day_of_its_set_up_decides(before_s: int, pays: str) -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=EURO)
        await give(rig, {TODAY: EURO})
        await rig.clock.advance(MIDNIGHT_S - before_s)
        await talk(rig, 10.1)
        assert await spent(rig, {CREDIT: EURO, TODAY: EURO}) == {pays: 10 * SECOND}


async def test_a_gift_during_a_call_pays_from_the_next_tick_and_what_was_taken_stays_taken() -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=EURO)
        call = await rig.talking()
        await rig.clock.advance(70)
        taken = EURO - (await rig.balance()).posted
        await give(rig, {LATER: EURO})
        await rig.clock.advance(80.1)
        await rig.hang_up(call)
        assert EURO - (await rig.balance()).posted == taken
        assert await spent(rig, {CREDIT: EURO, LATER: EURO}) == {CREDIT: taken, LATER: 150 * SECOND - taken}


async def test_r22_a_gift_lengthens_a_call_that_runs_out() -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=20 * SECOND)
        call = await rig.talking()
        await rig.clock.advance(15)
        await give(rig, {TODAY: 10 * SECOND})
        await rig.clock.advance(14.9)
        assert not call.ended.is_set()
        await rig.clock.advance(0.2)
        assert call.ended.is_set()


async def test_two_calls_share_a_gift_and_spend_no_cent_of_it_twice() -> None:
    async with make_rig(policy=Policy(tick_s=10, horizon_s=10, warn_before_s=5)) as rig:
        await rig.subscriber(credit=50 * SECOND)
        await give(rig, {TODAY: 50 * SECOND})
        first, second = await rig.talking(), await rig.talking()
        await rig.clock.advance(49.9)
        assert not first.ended.is_set()
        assert not second.ended.is_set()
        await rig.clock.advance(1)
        assert await spent(rig, {CREDIT: 50 * SECOND, TODAY: 50 * SECOND}) == {CREDIT: 50 * SECOND, TODAY: 50 * SECOND}


async def test_a_call_that_is_alone_at_its_end_gives_back_what_it_held_of_each() -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=EURO)
        await give(rig, {TODAY: 30 * SECOND})
        call = await rig.ringing()
        assert await rig.reserved() == {TODAY: 30 * SECOND, CREDIT: 90 * SECOND, "calls": 1}
        await rig.hang_up(call)
        await rig.clock.advance(10)
        assert await rig.reserved() == {}
        assert await spent(rig, {CREDIT: EURO, TODAY: 30 * SECOND}) == {}


def test_a_call_whose_ticks_were_lost_is_paid_by_all_that_the_gift_has_left() -> None:
    """Not by what it held of it alone: others than its gift would pay for what the lost ticks had held."""
    session = running(funding=(Segment(0, 60, CREDIT),), held={LATER: 20 * SECOND, CREDIT: 40 * SECOND})
    assert final_charge(session, 60)[0] == {LATER: 20 * SECOND, CREDIT: 40 * SECOND}
    found = replace(session, promos={LATER: 50 * SECOND})
    assert final_charge(found, 60)[0] == {LATER: 50 * SECOND, CREDIT: 10 * SECOND}


async def test_a_call_whose_end_costs_nothing_more_is_settled_as_one_that_has_cost() -> None:
    async with make_rig(policy=Policy(tick_s=10), tariff=make_tariff(increment_s=60)) as rig:
        await rig.subscriber(credit=EURO)
        call = await rig.talking()
        await rig.clock.advance(15)
        before = await rig.balance()
        await rig.hang_up(call)
        await rig.clock.advance(10)
        assert before.posted == (await rig.balance()).posted == EURO - 60 * SECOND
        assert [line.kind async for line in rig.store.journal("anna")][-1] is Kind.SETTLE


async def test_a_gift_counts_towards_the_credit_a_day() -> None:
    async with make_rig(tariff=plan(make_tariff(), "light", max_credit_per_day=30 * SECOND)) as rig:
        await rig.subscriber(credit=EURO)
        await give(rig, {TODAY: EURO})
        call = await rig.talking()
        await rig.clock.advance(30.1)
        assert call.ended.is_set()
        assert [one["reason"] for one in rig.heard("call_cut")] == ["day_limit"]


@pytest.mark.parametrize("gift", [100_000, 60_000])
async def test_a_gift_pays_a_message_first_and_bought_credit_the_rest(gift: int) -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=40_000, plan="free", forward_to="")
        await give(rig, {TODAY: gift})
        answer = await rig.ring()
        assert answer.session is not None, answer
        rig.switch.leave_message(answer.session, rig.caller_uid)
        await rig.clock.advance(1)
        bought = {CREDIT: 100_000 - gift} if gift < 100_000 else {}
        assert await spent(rig, {CREDIT: 40_000, TODAY: gift}) == {TODAY: gift, **bought}
        cdr = json.loads((await rig.store.cdrs())[0].document)
        assert (cdr["cost"], cdr["promotional"]) == ("0.10", {"2026-11-21": format_euro(gift)})
        assert await findings(rig) == []


async def test_a_failed_forward_that_free_minutes_paid_sells_a_message_for_a_gift() -> None:
    """The forward has reserved no money, so what there is of a gift is looked up as it becomes a message."""
    async with make_rig(tariff=plan(make_tariff(), "free", free_seconds=600)) as rig:
        await rig.subscriber(plan="free")
        await give(rig, {TODAY: 150_000})
        call = await rig.ringing()
        rig.switch.fail(call.session, "BUSY")
        assert (await rig.desk.unanswered(call.session, "BUSY")).decision == "voicemail"
        assert await rig.reserved() == {TODAY: 100_000}
        rig.switch.leave_message(call.session, rig.caller_uid)
        await rig.clock.advance(1)
        assert await spent(rig, {TODAY: 150_000}) == {TODAY: 100_000}
        assert await findings(rig) == []


async def test_a_failed_forward_whose_gift_another_takes_in_that_moment_sells_a_message_for_bought_credit() -> None:
    async with make_rig(tariff=plan(make_tariff(), "free", free_seconds=600)) as rig:
        await rig.subscriber(plan="free", credit=EURO)
        await give(rig, {TODAY: 100_000})
        call = await rig.ringing()
        read = rig.store.balances

        async def overtaken(account: str) -> Mapping[str, Balance]:
            found = dict(await read(account))
            change = Closed("{}", 1, opens=True)
            other = Transfer("other/1", "anna", Kind.CHARGE, 1, (Leg(TODAY, -50_000),), session="other", change=change)
            await rig.store.apply(other)
            return found

        rig.store.balances = overtaken  # type: ignore[method-assign]
        rig.switch.fail(call.session, "BUSY")
        assert (await rig.desk.unanswered(call.session, "BUSY")).decision == "voicemail"
        rig.store.balances = read  # type: ignore[method-assign]
        assert (await rig.reserved())[CREDIT] == 100_000
        assert (await rig.balance(TODAY)).reserved == 0


async def test_a_message_that_the_fallback_took_is_charged_to_a_gift_too() -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=70_000, plan="free")
        await give(rig, {TODAY: 50_000})
        box = BlackBoxRead(
            found=True,
            number=NUMBER,
            switch="test",
            fallback=True,
            message_stored=True,
            ended_us=rig.clock.now().wall_us,
        )
        left = LeftMessages(rig.store, lambda: rig.tariff, rig.clock, rig.observe, rig.policy)
        assert await left.charge("k1", box)
        assert await spent(rig, {CREDIT: 70_000, TODAY: 50_000}) == {CREDIT: 50_000, TODAY: 50_000}
        assert await findings(rig) == []


async def test_more_ends_than_count_at_once_are_spent_as_the_soonest_are_used_up() -> None:
    days = {promo(f"2026-12-{day:02d}"): 10 * SECOND for day in range(1, PROMOS_MAX + 3)}
    async with make_rig(policy=Policy(tick_s=5, horizon_s=5, warn_before_s=5)) as rig:
        await rig.subscriber(credit=EURO)
        await give(rig, days)
        seconds = 10 * len(days)
        await talk(rig, seconds + 5.1)
        assert await spent(rig, {**days, CREDIT: EURO}) == {**days, CREDIT: 5 * SECOND}


async def test_a_restart_goes_on_with_the_purses_it_began_with() -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=EURO)
        await give(rig, {TODAY: 100 * SECOND})
        call = await rig.talking()
        await rig.clock.advance(70)
        await rig.kill_daemon()
        await rig.clock.advance(5)
        await rig.start_daemon()
        await rig.clock.advance(75.1)
        await rig.hang_up(call)
        await rig.clock.advance(10)
        assert await spent(rig, {CREDIT: EURO, TODAY: 100 * SECOND}) == {TODAY: 100 * SECOND, CREDIT: 50 * SECOND}
