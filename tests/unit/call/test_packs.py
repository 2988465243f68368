"""Packs of minutes pay a call's seconds before credit, in their order, through their last day (R10)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from charging.call.model import Policy
from charging.ledger.balances import bundle
from charging.ledger.model import CREDIT, Kind, Leg, Transfer
from charging.pricing.packs import PACKS_MAX, pack_of
from charging.service.quotes import Asked, Quotes
from charging.tariff.plans import Pack
from charging.tariff.tariff import Tariff
from charging.whatif.past import PastCall, past_of
from charging.whatif.quote import Limit
from charging.whatif.rerate import rerate
from tests.fakes.rig import EURO, TARGET, Rig, make_rig, make_tariff, plan
from tests.unit.call.test_promotional import MIDNIGHT_S, SECOND, findings, spent, talk

TODAY, LATER = "2026-11-21", "2026-12-31"
MOBILE, ADDON, ELSEWHERE = pack_of("mobile", LATER), pack_of("addon", TODAY), pack_of("elsewhere", LATER)
MONTH = bundle("2026-11")


def with_packs(tariff: Tariff, **packs: Pack) -> Tariff:
    return replace(tariff, packs=packs)


TARIFF = with_packs(
    plan(make_tariff(), "light", free_seconds=20),
    mobile=Pack("mobile", "Mobile", 600, 30, frozenset({"nl_mobile"})),
    addon=Pack("addon", "Add-on", 600, 30),
    elsewhere=Pack("elsewhere", "Elsewhere", 600, 30, frozenset({"nl_premium"})),
)


async def give(rig: Rig, gifts: Mapping[str, int]) -> None:
    for name, amount in gifts.items():
        legs = (Leg(name, amount),)
        transfer = Transfer(f"gift/{name}", "anna", Kind.CORRECT, rig.clock.now().wall_us, legs, reason="test")
        assert (await rig.store.apply(transfer)).outcome.applied
    rig.registry.funds_changed("anna")


@given(
    left=st.fixed_dictionaries({name: st.integers(0, 70) for name in (MOBILE, ADDON, ELSEWHERE)}),
    credit_s=st.integers(0, 90),
    tick_s=st.sampled_from([7, 20, 60]),
    lasts_s=st.integers(1, 300),
)
@settings(max_examples=40, deadline=None)
def test_each_second_is_paid_by_the_bundle_that_goes_first_and_the_cut_is_exact(
    left: dict[str, int], credit_s: int, tick_s: int, lasts_s: int
) -> None:
    """The one for the destination first, then that which ends today, then the month's 20 s, then credit."""

    async def story() -> None:
        async with make_rig(policy=Policy(tick_s=tick_s, horizon_s=tick_s, warn_before_s=5), tariff=TARIFF) as rig:
            await rig.subscriber(credit=credit_s * SECOND)
            await give(rig, {name: seconds for name, seconds in left.items() if seconds})
            order = [MOBILE] * left[MOBILE] + [ADDON] * left[ADDON] + [MONTH] * 20 + [CREDIT] * credit_s
            told = await Quotes(rig.store, lambda: rig.tariff, rig.clock).limit(Asked(TARGET, account="anna"), None)
            assert isinstance(told, Limit)
            assert told.seconds == len(order)
            call = await rig.talking()
            ends_s = min(lasts_s, len(order))
            await rig.clock.advance(ends_s - 0.05)
            assert not call.ended.is_set()
            await rig.clock.advance(0.1)
            assert call.ended.is_set() == (lasts_s >= len(order))
            await rig.hang_up(call)
            await rig.clock.advance(10)
            before = {**left, CREDIT: credit_s * SECOND}
            plain = order[:ends_s]
            expected = {name: plain.count(name) for name in (MOBILE, ADDON)} | {CREDIT: plain.count(CREDIT) * SECOND}
            assert await spent(rig, before) == {name: amount for name, amount in expected.items() if amount}
            assert await rig.reserved() == {}
            assert await findings(rig) == []

    asyncio.run(story())


async def test_a_call_that_outlives_a_packs_end_goes_on_with_what_follows_in_the_same_call() -> None:
    async with make_rig(tariff=TARIFF) as rig:
        await rig.subscriber(credit=EURO)
        await give(rig, {ADDON: 600})
        await rig.clock.advance(MIDNIGHT_S - 30)
        await talk(rig, 100.1)
        assert await spent(rig, {ADDON: 600, CREDIT: EURO}) == {ADDON: 30, CREDIT: 50 * SECOND}


async def test_a_pack_alone_forwards_a_call_without_any_credit_and_is_cut_at_its_last_second() -> None:
    async with make_rig(tariff=plan(TARIFF, "light", free_seconds=0)) as rig:
        await rig.subscriber()
        await give(rig, {MOBILE: 30})
        call = await rig.talking()
        assert rig.session_of(call).reason == "free_minutes"
        await rig.clock.advance(29.9)
        assert not call.ended.is_set()
        await rig.clock.advance(0.2)
        assert call.ended.is_set()


async def test_a_pack_for_other_destinations_or_that_the_tariff_has_no_more_pays_nothing() -> None:
    async with make_rig(tariff=TARIFF) as rig:
        await rig.subscriber(credit=EURO)
        await give(rig, {ELSEWHERE: 600, pack_of("gone", LATER): 600})
        await talk(rig, 30.1)
        gone = pack_of("gone", LATER)
        assert await spent(rig, {ELSEWHERE: 600, gone: 600, CREDIT: EURO}) == {CREDIT: 10 * SECOND}


async def test_r22_a_pack_given_during_a_call_pays_all_of_it_that_is_not_settled_yet() -> None:
    async with make_rig(tariff=plan(TARIFF, "light", free_seconds=0)) as rig:
        await rig.subscriber(credit=EURO)
        call = await rig.talking()
        await rig.clock.advance(10.1)
        await give(rig, {MOBILE: 600})
        await rig.clock.advance(30)
        await rig.hang_up(call)
        await rig.clock.advance(10)
        assert await spent(rig, {MOBILE: 600, CREDIT: EURO}) == {MOBILE: 40}


async def test_two_calls_share_a_pack_and_use_no_second_twice() -> None:
    async with make_rig(
        policy=Policy(tick_s=10, horizon_s=10, warn_before_s=5), tariff=plan(TARIFF, "light", free_seconds=0)
    ) as rig:
        await rig.subscriber()
        await give(rig, {MOBILE: 60, ADDON: 40})
        first, second = await rig.talking(), await rig.talking()
        await rig.clock.advance(49.9)
        assert not first.ended.is_set()
        assert not second.ended.is_set()
        await rig.clock.advance(1)
        assert await spent(rig, {MOBILE: 60, ADDON: 40}) == {MOBILE: 60, ADDON: 40}


async def test_a_restart_charges_by_the_rules_that_the_call_began_with() -> None:
    async with make_rig(tariff=TARIFF) as rig:
        await rig.subscriber(credit=EURO)
        await give(rig, {MOBILE: 100})
        call = await rig.talking()
        await rig.clock.advance(70)
        await rig.kill_daemon()
        rig.tariff = with_packs(rig.tariff)
        await rig.clock.advance(5)
        await rig.start_daemon()
        await rig.clock.advance(75.1)
        await rig.hang_up(call)
        await rig.clock.advance(10)
        assert await spent(rig, {CREDIT: EURO, MOBILE: 100}) == {MOBILE: 100, CREDIT: 30 * SECOND}


async def test_an_account_with_more_packs_than_fit_a_transfer_is_served_by_the_first() -> None:
    many = {f"p{index}": Pack(f"p{index}", "", 600, 30) for index in range(PACKS_MAX + 4)}
    async with make_rig(tariff=with_packs(plan(make_tariff(), "light", free_seconds=20), **many)) as rig:
        await rig.subscriber(credit=EURO)
        gifts = {pack_of(name, LATER): 10 for name in many}
        await give(rig, gifts)
        await talk(rig, 10 * len(gifts) + 20 + 5.1)
        assert await spent(rig, {**gifts, CREDIT: EURO}) == {**gifts, CREDIT: 5 * SECOND}


async def test_a_forecast_names_the_packs_that_pay_and_no_other() -> None:
    """Neither one that is used up nor one more than a call can use."""
    days = [f"2026-12-{day:02}" for day in range(1, PACKS_MAX + 3)]
    async with make_rig(tariff=TARIFF) as rig:
        await rig.subscriber(credit=EURO)
        await give(rig, {pack_of("addon", day): 5 * place for place, day in enumerate(days)})
        found = await Quotes(rig.store, lambda: rig.tariff, rig.clock).limit(Asked(TARGET, account="anna"), None)
        assert isinstance(found, Limit)
        told = [one for one in found.assumes if one.startswith("seconds of")]
        ends = list(enumerate(days))[1 : PACKS_MAX + 1]
        assert told == [f"seconds of addon through {day}: {5 * place}" for place, day in ends]


async def test_r10_a_pack_that_has_ended_keeps_no_place_of_one_that_could_pay() -> None:
    many = {f"p{index}": Pack(f"p{index}", "", 600, 30) for index in range(PACKS_MAX + 1)}
    *ended, last = many
    async with make_rig(tariff=with_packs(make_tariff(), **many)) as rig:
        await rig.subscriber(credit=EURO)
        await give(rig, {pack_of(name, TODAY): 600 for name in ended})
        await rig.clock.advance(MIDNIGHT_S - 60)
        call = await rig.talking()
        await rig.clock.advance(70)
        await give(rig, {pack_of(last, LATER): 600})
        await rig.clock.advance(230.1)
        await rig.hang_up(call)
        await rig.clock.advance(10)
        assert (await rig.balance()).posted > EURO - 61 * SECOND, "credit pays until the gift is known at most"
        assert 600 - (await rig.balance(pack_of(last, LATER))).posted >= 180
        assert await findings(rig) == []


async def test_what_packs_paid_is_in_the_cdr_and_is_rated_again() -> None:
    async with make_rig(tariff=TARIFF) as rig:
        await rig.subscriber(credit=EURO)
        await give(rig, {MOBILE: 30})
        await talk(rig, 60.1)
        cdr = json.loads((await rig.store.cdrs())[0].document)
        assert cdr["packs"] == {f"{LATER}:mobile": 30}
        past = past_of(cdr)
        assert isinstance(past, PastCall)
        assert past.packs == {MOBILE: 30}
        (same,) = rerate(TARIFF, [past], {})
        assert (same.would_pay, same.free_s) == (same.paid, 50)
        (without,) = rerate(with_packs(TARIFF), [past], {})
        assert without.would_pay == same.paid + 30 * SECOND
