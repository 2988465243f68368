"""Calls whose next stretch costs nothing, or more than was thought when it was reserved."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from zoneinfo import ZoneInfo

import pytest

from charging.clock import iso
from charging.ledger.balances import bundle, grant, granted
from charging.ledger.model import Kind, Leg, Transfer
from charging.pricing.calendar import Window
from charging.pricing.money import parse_euro
from charging.pricing.rate import Band, Rounding, Step
from charging.tariff.tariff import Price, RateTable, Tariff
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.rig import EURO, Rig, make_rig, make_tariff, plan, with_short_code

MINUTE = 60_000
"""Micro-euro of a minute at 1,000 a second."""


def tariff(price: Price) -> Tariff:
    return replace(make_tariff(), tables=MappingProxyType({"table": RateTable("table", {"nl_mobile": price})}))


@pytest.mark.parametrize(
    ("price", "cost"),
    [
        (Price((Step(0, 0, 60, 1),)), 0),
        (Price((Step(0, 0, 60, 60),), connect_fee=50_000), 50_000),
        (Price((Step(0, MINUTE, 60, 1),), max_cost=100_000), 100_000),
        (Price((Step(0, MINUTE, 60, 1),), min_charge=15 * MINUTE), 15 * MINUTE),
        (Price((Step(0, 0, 60, 1), Step(300, MINUTE, 60, 1))), 5 * MINUTE),
        (Price((Step(0, MINUTE, 60, 60), Step(60, 0, 60, 60))), MINUTE),
    ],
    ids=["free", "connect-fee-only", "maximum", "minimum", "free-at-first", "free-later"],
)
async def test_r23_a_call_is_not_cut_where_going_on_costs_nothing(price: Price, cost: int) -> None:
    async with make_rig(tariff=tariff(price)) as rig:
        await rig.subscriber(credit=EURO)
        call = await rig.talking()
        for _ in range(600):
            await rig.clock.advance(1)
            assert not call.ended.is_set()
            assert rig.session_of(call).covered_s * 1000 > rig.session_of(call).elapsed_ms(rig.clock.now().mono_us)
        await rig.hang_up(call)
        await rig.clock.advance(10)
        assert (await rig.balance()).posted == EURO - cost
        assert await rig.reserved() == {}
        (row,) = await rig.store.cdrs()
        assert (json.loads(row.document)["billed_s"], json.loads(row.document)["overrun_s"]) == (600, 0)


async def test_a_free_call_without_any_credit_ends_with_the_longest_call() -> None:
    longest = plan(tariff(Price((Step(0, 0, 60, 1),))), "light", max_call_s=600)
    async with make_rig(tariff=longest) as rig:
        await rig.subscriber(credit=0)
        call = await rig.talking()
        await rig.clock.advance(599)
        assert not call.ended.is_set()
        await rig.clock.advance(2)
        assert call.ended.is_set()
        assert [told["reason"] for told in rig.heard("call_cut")] == ["max_call"]


# --- nothing, and what it does not buy ------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [Rounding.HALF_UP, Rounding.DOWN])
@pytest.mark.parametrize(("credit", "decision"), [(0, "voicemail"), (1, "forward")])
async def test_r12_without_credit_nothing_is_begun_that_rounds_to_nothing(
    rule: Rounding, credit: int, decision: str
) -> None:
    cents = replace(tariff(Price((Step(0, 120_000, 60, 1),))), rounding=rule, decimals=2)
    async with make_rig(tariff=cents) as rig:
        await rig.subscriber(credit=credit)
        assert (await rig.ring()).decision == decision


async def test_r12_what_has_no_price_needs_no_credit() -> None:
    async with make_rig(tariff=tariff(Price((Step(0, 0, 60, 1),)))) as rig:
        await rig.subscriber(credit=0)
        assert (await rig.ring()).decision == "forward"


async def test_a_short_code_is_not_dialled_even_where_it_has_a_price() -> None:
    async with make_rig(tariff=with_short_code(make_tariff())) as rig:
        await rig.subscriber(credit=EURO, forward_to="1233")
        answer = await rig.ring()
        assert (answer.decision, answer.reason) == ("voicemail", "not_covered")
        assert await rig.reserved() == {}


# --- a time band that begins while it rings -------------------------------------------------------------------

EVERY_DAY = frozenset(range(8))
TEN_TIMES_DEARER_FROM_13_01 = Price(
    (Step(0, MINUTE, 60, 1),),
    bands=(Band("dear", (Window(EVERY_DAY, 13 * 60 + 1, 14 * 60),), (Step(0, 10 * MINUTE, 60, 1),)),),
)
"""The tests' clock begins at 13:00:00 in Amsterdam."""
CREDIT = 120_000
"""At 50 seconds past that: ten seconds at 1,000 and eleven at 10,000; from 13:01:05 on, twelve seconds."""


@pytest.fixture
async def store() -> FaultyStore:
    return FaultyStore(random.Random(1))


@pytest.fixture
async def rig(store: FaultyStore) -> AsyncIterator[Rig]:
    async with make_rig(tariff=tariff(TEN_TIMES_DEARER_FROM_13_01), store=store) as one:
        await one.clock.advance(50)
        await one.subscriber(credit=CREDIT)
        yield one


async def test_a_call_answered_behind_a_dearer_bands_edge_is_cut_where_its_money_ends(rig: Rig) -> None:
    call = await rig.ringing()
    assert call.quota_s == 21
    await rig.clock.advance(15)
    rig.switch.answer(call.session)
    await rig.clock.advance(0)
    assert rig.session_of(call).covered_s == 12
    await rig.clock.advance(60)
    (row,) = await rig.store.cdrs()
    cdr = json.loads(row.document)
    assert (cdr["billed_s"], cdr["overrun_s"], cdr["cost"]) == (12, 0, "0.12")
    assert (await rig.balance()).available == 0


@pytest.mark.parametrize("unreadable", [True, False])
@pytest.mark.parametrize(("topped_up", "billed_s", "cost"), [(0, 12, "0.12"), (15_000, 13, "0.13"), (EURO, 21, "0.21")])
async def test_a_call_that_cost_more_than_was_there_is_booked_as_far_as_the_money_goes(
    rig: Rig, store: FaultyStore, topped_up: int, billed_s: int, cost: str, unreadable: bool
) -> None:
    """No tick could tell, for the ledger was away from the answer on; what is beyond the money is the operator's."""
    call = await rig.ringing()
    await rig.clock.advance(15)
    store.failing, store.unreadable = 1.0, unreadable
    rig.switch.answer(call.session)
    await rig.clock.advance(30)
    assert call.ended.is_set(), "at the end of the quota, 21 s"
    store.failing = 0.0
    if topped_up:
        await rig.credit(topped_up, "since")
    await rig.clock.advance(60)
    (row,) = await rig.store.cdrs()
    cdr = json.loads(row.document)
    assert (cdr["billed_s"], cdr["overrun_s"], cdr["cost"]) == (billed_s, 21 - billed_s, cost)
    assert (await rig.balance()).posted == CREDIT + topped_up - billed_s * 10_000
    assert await rig.reserved() == {}
    assert not rig.heard("session_lost")
    assert [told["seconds"] for told in rig.heard("quota_overrun")] == ([21 - billed_s] if billed_s < 21 else [])


@pytest.mark.parametrize(("talked_s", "cut"), [(13, None), (20.9, None), (21.1, "money")])
async def test_who_hangs_up_before_the_switchs_deadline_was_not_cut_though_the_money_paid_for_less(
    rig: Rig, store: FaultyStore, talked_s: float, cut: str | None
) -> None:
    call = await rig.ringing()
    await rig.clock.advance(15)
    store.failing = 1.0
    rig.switch.answer(call.session)
    await rig.clock.advance(talked_s)
    if not call.ended.is_set():
        await rig.hang_up(call)
    store.failing = 0.0
    await rig.clock.advance(60)
    (row,) = await rig.store.cdrs()
    cdr = json.loads(row.document)
    assert (cdr["cut"], cdr["billed_s"]) == (cut, 12)
    assert [told["reason"] for told in rig.heard("call_cut")] == ([] if cut is None else [cut])


@pytest.mark.parametrize(("rings_s", "cost"), [(1, "0.009"), (15, "0.09")])
async def test_an_answer_that_no_daemon_heard_of_is_dated_and_priced_by_the_switchs_record(
    rig: Rig, rings_s: int, cost: str
) -> None:
    """The daemon is away from the ringing to the end. Answered before the dearer band, and in it."""
    call = await rig.ringing()
    await rig.kill_daemon()
    await rig.clock.advance(rings_s)
    answered_us = rig.clock.now().wall_us
    rig.switch.answer(call.session)
    await rig.clock.advance(8.5)
    rig.switch.end(call.session)
    await rig.clock.advance(60)
    await rig.start_daemon()
    await rig.clock.advance(10)
    (row,) = await rig.store.cdrs()
    cdr = json.loads(row.document)
    assert (cdr["answered"], cdr["billed_s"], cdr["cost"]) == (iso(answered_us), 9, cost)
    assert (await rig.balance()).posted == CREDIT - parse_euro(cost)


@pytest.mark.parametrize(("talked_s", "cut"), [(8.5, None), (21.1, "money")])
async def test_a_call_that_the_switch_cut_while_no_daemon_had_heard_of_its_answer_says_so(
    rig: Rig, talked_s: float, cut: str | None
) -> None:
    call = await rig.ringing()
    await rig.kill_daemon()
    await rig.clock.advance(1)
    rig.switch.answer(call.session)
    await rig.clock.advance(talked_s)
    if not call.ended.is_set():
        rig.switch.end(call.session)
    await rig.start_daemon()
    await rig.clock.advance(10)
    (row,) = await rig.store.cdrs()
    assert json.loads(row.document)["cut"] == cut


# --- a month that begins while it rings -----------------------------------------------------------------------

DEARER_AT_NIGHT = Price(
    (Step(0, MINUTE, 60, 1),), bands=(Band("night", (Window(EVERY_DAY, 0, 60),), (Step(0, 10 * MINUTE, 60, 1),)),)
)
TEN_SECONDS_TO_DECEMBER = datetime(2026, 11, 30, 23, 59, 50, tzinfo=ZoneInfo("Europe/Amsterdam")).timestamp()


@pytest.mark.parametrize(
    ("granted_s", "left_s"), [(None, 54), (0, 0), (2, 54)], ids=["no-grant-yet", "none-granted", "another-calls-grant"]
)
async def test_r11_a_call_into_a_new_month_is_booked_though_the_ledger_was_away(
    store: FaultyStore, granted_s: int | None, left_s: int
) -> None:
    """It was set up on credit, at a price that the night makes ten times dearer; free seconds pay what they can."""
    free = plan(tariff(DEARER_AT_NIGHT), "pro", free_seconds=60)
    async with make_rig(tariff=free, store=store) as rig:
        rig.clock.step_wall(TEN_SECONDS_TO_DECEMBER - rig.clock.now().wall_us / 1_000_000)
        at_us = rig.clock.now().wall_us
        await rig.subscriber(credit=6 * 1_000, plan="pro")
        await store.apply(grant("anna", "2026-11", 60, at_us, "pro"))
        used_up = Transfer("used-up", "anna", Kind.CORRECT, at_us, (Leg(bundle("2026-11"), -60),), reason="used up")
        await store.apply(used_up)
        if granted_s is not None:
            legs = (Leg(bundle("2026-12"), granted_s), Leg(granted("2026-12"), granted_s))
            await store.apply(Transfer("grant/2026-12", "anna", Kind.GRANT, at_us, legs, reason="monthly_bundle"))
        call = await rig.ringing()
        assert call.quota_s == 6
        await rig.clock.advance(15)
        store.failing, store.unreadable = 1.0, True
        rig.switch.answer(call.session)
        await rig.clock.advance(30)
        assert call.ended.is_set()
        store.failing = 0.0
        await rig.clock.advance(60)
        assert not rig.heard("session_lost")
        assert await rig.reserved() == {}
        assert (await rig.balance(bundle("2026-12"))).posted == left_s
        if granted_s != 0:
            assert (await rig.balance()).posted == 6 * 1_000, "no credit is taken while free seconds are left (R10)"
            assert (await rig.balance(granted("2026-12"))).posted == 60


def with_fee(due_with_call: bool) -> Tariff:
    """Calls of plan pro are free, but for a connect fee of 0.05."""
    made = tariff(Price((Step(0, MINUTE, 60, 60),), connect_fee=50_000))
    table = replace(made.tables["table"], fee_with_call=due_with_call)
    return replace(made, tables=MappingProxyType({"table": table}))


@pytest.mark.parametrize(("due_with_call", "cost"), [(False, 0), (True, 50_000)])
async def test_r10_a_call_inside_its_free_minutes_costs_its_connect_fee_only_where_the_tariff_says_so(
    due_with_call: bool, cost: int
) -> None:
    async with make_rig(tariff=with_fee(due_with_call)) as rig:
        await rig.subscriber(credit=EURO, plan="pro")
        call = await rig.talking()
        await rig.clock.advance(70)
        await rig.kill_daemon()
        await rig.start_daemon()
        await rig.clock.advance(70)
        await rig.hang_up(call)
        await rig.clock.advance(10)
        assert (await rig.balance()).posted == EURO - cost
        assert await rig.reserved() == {}
        (row,) = await rig.store.cdrs()
        cdr = json.loads(row.document)
        assert (parse_euro(cdr["cost"]), sum(cdr["free_seconds"].values())) == (cost, 180)


@pytest.mark.parametrize(("credit", "decision"), [(49_999, "voicemail"), (50_000, "forward")])
async def test_r12_without_credit_for_the_connect_fee_free_minutes_begin_no_call(credit: int, decision: str) -> None:
    async with make_rig(tariff=with_fee(due_with_call=True)) as rig:
        await rig.subscriber(credit=credit, plan="pro")
        assert (await rig.ring()).decision == decision


async def test_a_call_inside_its_free_minutes_that_nobody_answers_costs_no_connect_fee() -> None:
    async with make_rig(tariff=with_fee(due_with_call=True)) as rig:
        await rig.subscriber(credit=EURO, plan="pro")
        call = await rig.ringing()
        await rig.hang_up(call)
        await rig.clock.advance(20)
        assert (await rig.balance()).posted == EURO
        assert await rig.reserved() == {}
