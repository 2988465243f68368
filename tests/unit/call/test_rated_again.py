"""Calls with packs, promotional credit and the month's minutes over a month's edge, a change of the clock and a pack's
end: the limit is the second at which the engine cuts, a quote is what is charged, and both are what a rater has it that
knows nothing of the engine and walks increment by increment (R10, R11, R12, R23)."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from charging.call.model import Policy
from charging.clock import MICROSECONDS
from charging.ledger.balances import promo
from charging.ledger.given_packs import GivenPacks
from charging.ledger.model import CREDIT, Kind, Leg, Transfer
from charging.pricing.packs import pack_of
from charging.pricing.rate import round_div
from charging.service.quotes import Asked, Quotes
from charging.tariff.plans import Pack
from charging.whatif.quote import Quote
from tests.fakes.rig import TARGET, Rig, make_rig
from tests.unit.call.test_forecast import ZONE, Case, at, begin, cases, limit_of

EDGES = [
    "2026-12-01T00:00",
    "2027-01-01T00:00",
    "2027-03-28T03:00",  # summer time begins
    "2027-03-29T00:00",
    "2027-10-31T02:00",  # and ends: this hour comes twice
    "2027-11-01T00:00",
]
HERE, ELSEWHERE = frozenset({"nl_mobile"}), frozenset({"nl_premium"})
Gift = tuple[Pack, str, int]
"""The pack as it was when it was given, its last day, seconds."""


@dataclass(frozen=True)
class Packed:
    """A case, and packs, some given before the tariff was edited, as the month's minutes may have been granted."""

    case: Case
    gifts: tuple[Gift, ...]
    lasts_s: int


@st.composite
def packed(draw: st.DrawFn) -> Packed:
    edge_us = at(draw(st.sampled_from(EDGES)))
    answered_us = edge_us - draw(st.sampled_from([0, 1, 40, 75, 130, 4000])) * MICROSECONDS
    days = [
        datetime.fromtimestamp((answered_us + offset_s * MICROSECONDS) / MICROSECONDS, ZONE).date().isoformat()
        for offset_s in (-86_400, 0, 0, 86_400, 40 * 86_400)
    ]
    case = draw(cases(banded=False))
    promos = dict(zip(days[1:], draw(st.lists(st.sampled_from([0, 1, 80_007]), min_size=4, max_size=4)), strict=True))
    rules = draw(st.sampled_from([None, (HERE, 7), (ELSEWHERE, None), (None, 60)]))
    plan, granted = case.tariff.plans["light"], None
    if rules is not None and plan.free_seconds:
        granted = replace(plan, free_destinations=rules[0], free_increment_s=rules[1])
        case = replace(case, used_free_s=max(1, case.used_free_s))
    gifts_left = {day: amount for day, amount in promos.items() if amount}
    case = replace(case, answered_us=answered_us, gifts=gifts_left, granted=granted)
    terms = st.builds(
        Pack,
        st.sampled_from(["a", "b"]),
        st.just("Pack"),
        st.just(600),
        st.just(30),
        st.sampled_from([None, HERE, ELSEWHERE]),
        st.sampled_from([None, 1, 7, 60]),
        st.sampled_from([10, 50, 90]),
    )
    gifts = draw(st.lists(st.tuples(terms, st.sampled_from(days), st.integers(1, 90)), max_size=4))
    today = {one.name: one for one in draw(st.lists(terms, max_size=2))}
    case = replace(case, tariff=replace(case.tariff, packs=today))
    return Packed(case, tuple(gifts), draw(st.integers(1, 300)))


# --- a rater of its own ---------------------------------------------------------------------------------------


@dataclass
class Rated:
    """What it says of a call."""

    lasts_s: int
    cost: int
    paid: Counter[str]
    """Seconds by balance."""


def rated(given: Packed, until_s: int | None = None) -> Rated:
    """The call as it goes on to its end, or to the increment that holds second ``until_s``, had it all credit."""
    case, plan = given.case, given.case.tariff.plans["light"]
    price = case.tariff.tables["table"].prices["nl_mobile"]
    rules = {balance_of(pack, case, day): pack for pack, day, _ in given.gifts}
    left = sum((Counter({balance_of(pack, case, day): has}) for pack, day, has in given.gifts), Counter[str]())
    then, first = case.granted or plan, f"bundle:{local(case.answered_us)[:7]}"
    money, fee, weight, payers, at_s = means(case), Fraction(price.connect_fee), Fraction(), list[str](), 0
    owes = True

    def keys(balance: str) -> tuple[int, bool, str]:
        if balance.startswith("bundle:"):
            return 50, True, balance[7:] + "-99"
        pack = rules[balance]
        return pack.order, pack.destinations is None, balance[5:15]

    while at_s < (plan.max_call_s if until_s is None else min(until_s, plan.max_call_s)):
        now = local(case.answered_us + at_s * MICROSECONDS)
        month = f"bundle:{now[:7]}"
        closed = month == first and then.free_destinations == ELSEWHERE
        left.setdefault(month, 0 if closed else plan.free_seconds - (case.used_free_s if month == first else 0))
        usable = [
            one
            for one in left
            if left[one] > 0
            and (one == month or (one in rules and rules[one].destinations != ELSEWHERE and one[5:15] >= now[:10]))
        ]
        usable.sort(key=lambda one: (*keys(one), one))
        step = [one for one in price.steps if one.from_s <= at_s][-1]
        length = step.first_increment_s if at_s == 0 and step.first_increment_s else step.increment_s
        if usable:
            of_month = then if month == first else plan
            own = of_month.free_increment_s if usable[0] == month else rules[usable[0]].increment_s
            length = own or length
        parts = [one for one in usable for _ in range(left[one])][:length]
        by_credit = length - len(parts)
        more = Fraction(step.price * by_credit, step.unit_s)
        if owes and (by_credit or case.tariff.tables["table"].fee_with_call):
            more += fee
        is_paid = by_credit > 0 or CREDIT in payers
        total, over = rounded(case, weight + more, least=is_paid)
        if over or (until_s is None and (total > money or (money == 0 and (more or weight)))):
            break
        owes = owes and not (by_credit or case.tariff.tables["table"].fee_with_call)
        weight += more
        left.subtract(Counter(parts))
        payers += [*parts, *[CREDIT] * by_credit]
        at_s += length
    total, _ = rounded(case, weight, least=CREDIT in payers)
    return Rated(min(at_s, plan.max_call_s), total, Counter(one for one in payers if one != CREDIT))


def local(wall_us: int) -> str:
    return datetime.fromtimestamp(wall_us / MICROSECONDS, ZONE).isoformat()


def balance_of(pack: Pack, case: Case, day: str) -> str:
    return pack_of(replace(case.tariff, packs={pack.name: pack}).terms[pack.name].edition, day)


def means(case: Case) -> int:
    plan, today = case.tariff.plans["light"], local(case.answered_us)[:10]
    money = case.credit + sum(amount for day, amount in case.gifts.items() if day >= today)
    return money if plan.max_credit_per_day is None else min(money, plan.max_credit_per_day - case.spent_today)


def rounded(case: Case, weight: Fraction, *, least: bool) -> tuple[int, bool]:
    """Micro-euro, and whether a maximum that ends calls is exceeded."""
    price, tariff = case.tariff.tables["table"].prices["nl_mobile"], case.tariff
    quantum = 10 ** (6 - tariff.decimals)
    most = None if price.max_cost is None else price.max_cost // quantum * quantum
    if least:
        weight = max(weight, Fraction(price.min_charge))
    over = most is not None and price.ends_at_max and weight > most
    if most is not None:
        weight = min(weight, Fraction(most))
    return round_div(weight.numerator, weight.denominator * quantum, tariff.rounding) * quantum, over


# --- the same by the engine -----------------------------------------------------------------------------------


async def prepare(rig: Rig, given: Packed) -> dict[str, int]:
    """The account with its packs; how many seconds of each."""
    await begin(rig, given.case)
    had = Counter[str]()
    for number, (pack, day, seconds) in enumerate(given.gifts):
        terms = replace(given.case.tariff, packs={pack.name: pack}).terms[pack.name]
        await GivenPacks(rig.store.documents).keep(terms)
        name = balance_of(pack, given.case, day)
        legs = (Leg(name, seconds),)
        transfer = Transfer(f"pack/{number}", "anna", Kind.CORRECT, given.case.answered_us, legs, reason="x")
        assert (await rig.store.apply(transfer)).outcome.applied
        had[name] += seconds
    return dict(had)


async def compare(given: Packed) -> None:
    case, expected = given.case, rated(given)
    async with make_rig(policy=Policy(tick_s=20, horizon_s=40, warn_before_s=10), tariff=case.tariff) as rig:
        had = await prepare(rig, given)
        told = await limit_of(rig)
        assert (told.seconds, told.total) == (expected.lasts_s, expected.cost)
        answer = await rig.ring()
        assert (answer.decision == "forward") == (told.seconds > 0)
        if not told.seconds:
            return
        assert answer.session is not None
        assert answer.quota_s is not None
        call = rig.switch.dial(answer.session, answer.quota_s, rig.caller_uid)
        rig.switch.answer(call.session)
        await rig.clock.advance(0)
        ends_s = min(given.lasts_s, told.seconds)
        expected = rated(given, ends_s)
        quote = await Quotes(rig.store, lambda: rig.tariff, rig.clock).quote(Asked(TARGET, account="anna"), ends_s)
        if ends_s == told.seconds:
            await rig.clock.advance(ends_s - 0.01)
            assert not call.ended.is_set()
            await rig.clock.advance(0.02)
            assert call.ended.is_set()
        else:
            await rig.clock.advance(ends_s + 0.1)
            assert not call.ended.is_set()
            await rig.hang_up(call)
        await rig.clock.advance(10)
        gifts = sum(case.gifts.values()) - sum([(await rig.balance(promo(day))).posted for day in case.gifts])
        cost = case.credit + gifts - (await rig.balance(CREDIT)).posted
        used = {name: seconds - (await rig.balance(name)).posted for name, seconds in had.items()}
        assert isinstance(quote, Quote)
        assert cost == expected.cost
        assert {name: seconds for name, seconds in used.items() if seconds} == {
            name: seconds for name, seconds in expected.paid.items() if not name.startswith("bundle:")
        }


async def compare_quote(given: Packed) -> None:
    """A quote asked before the call, of as many seconds."""
    expected = rated(given, given.lasts_s)
    async with make_rig(tariff=given.case.tariff) as rig:
        await prepare(rig, given)
        quote = await Quotes(rig.store, lambda: rig.tariff, rig.clock).quote(
            Asked(TARGET, account="anna"), given.lasts_s
        )
        assert isinstance(quote, Quote)
        assert (quote.total, quote.ends_s()) == (expected.cost, expected.lasts_s)


@given(packed())
@settings(max_examples=40, deadline=None)
def test_r23_a_call_is_cut_and_charged_as_a_rater_has_it_that_walks(given: Packed) -> None:
    asyncio.run(compare(given))


@given(packed())
@settings(max_examples=40, deadline=None)
def test_r10_a_quote_is_what_a_rater_has_that_walks(given: Packed) -> None:
    asyncio.run(compare_quote(given))
