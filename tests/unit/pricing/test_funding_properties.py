"""The fast rater equals the slow, obvious one; and what must hold for every tariff."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from charging.pricing.funding import FundingPlan, Pools, plan
from charging.pricing.money import AMOUNT_MAX
from charging.pricing.rate import CREDIT, Rate, bundle_use, charge, consumed, cost_of_seconds
from charging.records import Codec
from tests.fakes import reference_rater as reference
from tests.unit.pricing.strategies import affordable_seconds, money, pools, rates, starts

data = st.data()
targets = st.integers(0, 1000)

CODEC = Codec(Rate)


def replan(rate: Rate, start_us: int, done: FundingPlan, at_s: int, credit: int) -> FundingPlan:
    fixed = consumed(rate, start_us, done.funding, at_s)
    used, kept = bundle_use(done.funding), bundle_use(fixed)
    left = {source: seconds - kept.get(source, 0) for source, seconds in used.items()}
    return plan(rate, start_us, fixed, Pools(credit, left), done.covered_s)


@given(rates(), data, pools, money, targets)
def test_plan_and_charge_equal_the_reference(
    rate: Rate, data: st.DataObject, free: dict[str, int], credit: int, target_s: int
) -> None:
    start_us = data.draw(starts(rate))
    expected, short = reference.plan(rate, start_us, free, credit, target_s)
    found = plan(rate, start_us, (), Pools(credit, free), target_s)
    assert found.funding == reference.segments(expected)
    assert found.short == short
    assert found.covered_s == min(len(expected), rate.max_call_s)
    assert found.credit == charge(rate, start_us, found.funding) == reference.cost(rate, expected)


@given(rates(), data, pools, money, targets)
def test_consumed_equals_the_reference_at_any_second(
    rate: Rate, data: st.DataObject, free: dict[str, int], credit: int, target_s: int
) -> None:
    start_us = data.draw(starts(rate))
    expected, _ = reference.plan(rate, start_us, free, credit, target_s)
    funding = reference.segments(expected)
    used_s = data.draw(st.integers(0, len(expected) + 5))
    end_s = reference.increment_end(expected, min(used_s, len(expected)))
    part = consumed(rate, start_us, funding, used_s)
    assert part == reference.segments(expected[:end_s])
    assert charge(rate, start_us, part) == reference.cost(rate, expected[:end_s])


@given(rates(), data, pools, money)
def test_charge_never_falls_as_the_call_goes_on(
    rate: Rate, data: st.DataObject, free: dict[str, int], credit: int
) -> None:
    start_us = data.draw(starts(rate))
    funding = plan(rate, start_us, (), Pools(credit, free), rate.max_call_s).funding
    sooner, later = sorted(data.draw(st.tuples(st.integers(0, 900), st.integers(0, 900))))
    costs = [charge(rate, start_us, consumed(rate, start_us, funding, s)) for s in (sooner, later)]
    assert costs[0] <= costs[1] <= max(credit, 0)


@given(rates(), data, pools, money)
def test_splitting_a_call_into_ticks_never_changes_its_total(
    rate: Rate, data: st.DataObject, free: dict[str, int], credit: int
) -> None:
    start_us = data.draw(starts(rate))
    whole = plan(rate, start_us, (), Pools(credit, free), rate.max_call_s)
    now = whole
    for tick_s in sorted(data.draw(st.lists(st.integers(0, 900), max_size=5))):
        now = replan(rate, start_us, now, tick_s, credit)
    assert (now.funding, now.credit) == (whole.funding, whole.credit)


@given(rates(), data, money)
def test_affordable_seconds_is_the_inverse_of_the_cost(rate: Rate, data: st.DataObject, credit: int) -> None:
    start_us = data.draw(starts(rate))
    seconds = affordable_seconds(rate, start_us, Pools(credit))
    assert cost_of_seconds(rate, start_us, seconds) <= credit
    ended = plan(rate, start_us, (), Pools(credit), rate.max_call_s).at_maximum
    assert seconds == rate.max_call_s or ended or cost_of_seconds(rate, start_us, seconds + 1) > credit


@given(rates(), data, pools, money)
def test_a_maximum_that_ends_calls_is_told_where_no_money_would_go_on(
    rate: Rate, data: st.DataObject, free: dict[str, int], credit: int
) -> None:
    start_us = data.draw(starts(rate))
    found = plan(rate, start_us, (), Pools(credit, free), rate.max_call_s)
    richest, stopped = reference.plan(rate, start_us, free, AMOUNT_MAX, rate.max_call_s)
    assert found.at_maximum == (stopped and found.funding == reference.segments(richest))


@given(rates(), data, pools, money, targets)
def test_a_plan_never_uses_more_than_its_pools(
    rate: Rate, data: st.DataObject, free: dict[str, int], credit: int, target_s: int
) -> None:
    found = plan(rate, data.draw(starts(rate)), (), Pools(credit, free), target_s)
    assert found.credit <= credit
    assert all(seconds <= free[source] for source, seconds in bundle_use(found.funding).items())
    assert all(left.end_s == right.start_s for left, right in zip(found.funding, found.funding[1:], strict=False))
    if not rate.free_minutes:
        assert {segment.source for segment in found.funding} <= {CREDIT}


@given(rates())
def test_a_rate_survives_its_json(rate: Rate) -> None:
    assert CODEC.load(CODEC.dump(rate)) == rate
