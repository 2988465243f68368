"""How long a call could last, asked beforehand, is how long the engine lets it last (R5, R11, R12, R23)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from charging.call.model import Policy
from charging.clock import MICROSECONDS
from charging.engine.runner import ENDS_TOGETHER_S
from charging.ledger.balances import bundle, grant, promo
from charging.ledger.given_packs import GivenPacks
from charging.ledger.model import CREDIT, Kind, Leg, Transfer
from charging.pricing.calendar import Window
from charging.pricing.rate import Band, Rounding, Step
from charging.service.quotes import Asked, Quotes
from charging.tariff.plans import Plan
from charging.tariff.tariff import Price, RateTable, Tariff
from charging.whatif.quote import Limit
from tests.fakes.clock import START_WALL_US
from tests.fakes.rig import TARGET, Rig, make_rig, make_tariff

ZONE = ZoneInfo("Europe/Amsterdam")
CENT = 10_000


def at(local: str) -> int:
    return int(datetime.fromisoformat(local).replace(tzinfo=ZONE).timestamp()) * MICROSECONDS


@dataclass(frozen=True)
class Case:
    """A subscriber, a price and an instant."""

    tariff: Tariff
    credit: int
    used_free_s: int
    """Of the month's free seconds."""
    spent_today: int
    answered_us: int
    gifts: dict[str, int] = field(default_factory=dict)
    """Promotional credit by its last day."""
    granted: Plan | None = None
    """What the plan was when the month's seconds were granted, before an edit of the tariff."""


MORNING = Window(frozenset(range(8)), 0, 12 * 60)
"""Whatever the day."""


@st.composite
def cases(draw: st.DrawFn, *, banded: bool = True) -> Case:
    first = draw(st.sampled_from([0, 0, 30, 60]))
    steps = [Step(0, draw(st.sampled_from([0, 60_000, 123_456])), 60, draw(st.sampled_from([1, 6, 60])), first)]
    if draw(st.booleans()):
        steps.append(Step(draw(st.sampled_from([45, 60, 100])), draw(st.sampled_from([0, 60_000, 600_000])), 60, 1))
    morning = Band(
        "morning", (MORNING,), (Step(0, 90_000, 60, 7, 30),), connect_fee=draw(st.sampled_from([None, CENT]))
    )
    price = Price(
        tuple(steps),
        bands=(morning,) if banded and draw(st.booleans()) else (),
        connect_fee=draw(st.sampled_from([0, 0, 5 * CENT])),
        min_charge=draw(st.sampled_from([0, 0, 12 * CENT])),
        max_cost=draw(st.sampled_from([None, None, 15 * CENT])),
        ends_at_max=draw(st.booleans()),
    )
    free_seconds = draw(st.sampled_from([0, 60, 100]))
    plan = Plan(
        "light",
        "table",
        free_seconds=free_seconds,
        free_increment_s=draw(st.sampled_from([None, 1, 30])),
        max_credit_per_day=draw(st.sampled_from([None, None, 10 * CENT, 20 * CENT])),
        max_call_s=draw(st.sampled_from([90, 150, 300])),
    )
    made = make_tariff()
    tariff = replace(
        made,
        plans=MappingProxyType({"light": plan}),
        tables={"table": RateTable("table", {"nl_mobile": price}, fee_with_call=draw(st.booleans()))},
        rounding=draw(st.sampled_from(list(Rounding))),
        decimals=draw(st.sampled_from([6, 2])),
    )
    edge_us = at(draw(st.sampled_from(["2026-12-01T00:00", "2026-12-05T00:00", "2026-12-05T12:00"])))
    return Case(
        tariff,
        credit=draw(st.sampled_from([0, 1, 3 * CENT, 10 * CENT, 25 * CENT, 100 * CENT])),
        used_free_s=draw(st.integers(0, free_seconds)),
        spent_today=draw(st.sampled_from([0, 4 * CENT])),
        gifts=draw(
            st.dictionaries(
                st.sampled_from(["2026-11-30", "2026-12-04", "2026-12-05", "2027-01-31"]),
                st.sampled_from([1, 3 * CENT, 8 * CENT + 7]),
                max_size=3,
            )
        ),
        answered_us=edge_us - draw(st.sampled_from([0, 1, 40, 75, 4000])) * MICROSECONDS,
    )


async def begin(rig: Rig, case: Case) -> None:
    """The account as the case says, at the case's instant."""
    rig.clock.step_wall((case.answered_us - rig.clock.now().wall_us) / MICROSECONDS)
    await rig.subscriber(credit=case.credit)
    month = datetime.fromtimestamp(case.answered_us / MICROSECONDS, ZONE).strftime("%Y-%m")
    plan = case.tariff.plans["light"]
    if case.used_free_s:
        then = case.tariff if case.granted is None else replace(case.tariff, plans={"light": case.granted})
        await GivenPacks(rig.store.documents).keep_monthly(then.monthly_terms("light"))
        name = "light" if case.granted is None else then.granted_as("light")
        await rig.store.apply(grant("anna", month, plan.free_seconds, case.answered_us, name))
        used = Leg(bundle(month), -case.used_free_s)
        await rig.store.apply(Transfer("used", "anna", Kind.CORRECT, case.answered_us, (used,), reason="test"))
    for last_day, amount in case.gifts.items():
        gift = Leg(promo(last_day), amount)
        await rig.store.apply(Transfer(f"gift/{last_day}", "anna", Kind.CORRECT, case.answered_us, (gift,), reason="x"))
    if case.spent_today and plan.max_credit_per_day is not None:
        day = datetime.fromtimestamp(case.answered_us / MICROSECONDS, ZONE).strftime("day:%Y-%m-%d")
        spent = Leg(day, -case.spent_today, floor=-plan.max_credit_per_day)
        await rig.store.apply(Transfer("spent", "anna", Kind.CORRECT, case.answered_us, (spent,), reason="test"))


async def limit_of(rig: Rig, at_us: int | None = None) -> Limit:
    found = await Quotes(rig.store, lambda: rig.tariff, rig.clock).limit(
        Asked(TARGET, account="anna", at_us=at_us), None
    )
    assert isinstance(found, Limit), found
    return found


async def compare(case: Case) -> None:
    policy = Policy(tick_s=20, horizon_s=40, warn_before_s=10)
    async with make_rig(policy=policy, tariff=case.tariff) as rig:
        await begin(rig, case)
        told = await limit_of(rig)
        answer = await rig.ring()
        if answer.decision != "forward":
            assert (told.seconds, told.ends) == (0, answer.reason)
            return
        assert answer.session is not None
        assert answer.quota_s is not None
        call = rig.switch.dial(answer.session, answer.quota_s, rig.caller_uid)
        rig.switch.answer(call.session)
        await rig.clock.advance(0)
        await rig.clock.advance(told.seconds - 0.01)
        assert not call.ended.is_set(), told
        await rig.clock.advance(0.02)
        assert call.ended.is_set(), told
        await rig.clock.advance(ENDS_TOGETHER_S)
        assert [one["reason"] for one in rig.heard("call_cut")] == [told.ends]
        given = sum(case.gifts.values()) - sum([(await rig.balance(promo(day))).posted for day in case.gifts])
        assert case.credit - (await rig.balance(CREDIT)).posted + given == told.total


@given(cases())
@settings(max_examples=60, deadline=None)
def test_the_limit_of_an_account_is_the_second_at_which_its_call_is_cut(case: Case) -> None:
    assert case.answered_us > START_WALL_US
    asyncio.run(compare(case))


async def test_another_instant_has_its_own_free_seconds_credit_a_day_and_no_calls_of_now() -> None:
    made = make_tariff()
    pro = replace(made.plans["pro"], name="light", max_credit_per_day=10 * CENT, max_calls=1, max_call_s=3600)
    async with make_rig(tariff=replace(made, plans=MappingProxyType({"light": pro}))) as rig:
        await rig.subscriber(credit=100 * CENT)
        await rig.talking()
        await rig.clock.advance(590)
        now = await limit_of(rig)
        assert (now.seconds, now.ends) == (0, "too_many_calls")
        later = await limit_of(rig, at("2026-12-24T12:00"))
        assert (later.seconds, later.ends, later.total) == (700, "day_limit", 10 * CENT)
        assert "free seconds of 2026-12: 600, all that the plan gives" in later.assumes
        assert "the plan's credit a day: 0.10 left of 2026-12-24" in later.assumes
        assert any(one.startswith("credit: 1.00, as now") for one in later.assumes)


async def test_a_call_over_the_months_edge_is_quoted_with_the_minutes_of_both_months() -> None:
    """Nothing is left of November, and December's are whole."""
    made = make_tariff()
    pro = replace(made.plans["pro"], name="light", free_seconds=100)
    async with make_rig(tariff=replace(made, plans=MappingProxyType({"light": pro}))) as rig:
        case = Case(rig.tariff, 100 * CENT, 100, 0, at("2026-11-30T23:59:30"))
        await begin(rig, case)
        quote = await Quotes(rig.store, lambda: rig.tariff, rig.clock).quote(Asked(TARGET, account="anna"), 130)
        assert getattr(quote, "total", quote) == 3 * CENT
