"""Each decision of DESIGN.md, "Money and time", at its edge: the last that is, the first that is not."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest

from charging.pricing.calendar import Window
from charging.pricing.funding import Pools, plan
from charging.pricing.money import AMOUNT_MAX, MICRO
from charging.pricing.rate import (
    CREDIT,
    Band,
    Rate,
    Rounding,
    Segment,
    Step,
    bundle_use,
    charge,
    consumed,
    cost_of_seconds,
    only_rounding_pays,
    seconds_of,
)
from charging.records import Codec
from tests.fakes import reference_rater as reference
from tests.unit.pricing.strategies import affordable_seconds

NOV, DEC = "bundle:2026-11", "bundle:2026-12"
CENT = 10_000
EVERY_DAY = frozenset(range(8))


def at(local: str, zone: str = "Europe/Amsterdam") -> int:
    return int(datetime.fromisoformat(local).replace(tzinfo=ZoneInfo(zone)).timestamp()) * MICRO


NOON = at("2026-11-04T12:00")


def rate(increment_s: int = 60, price: int = 6 * CENT, **more: object) -> Rate:
    """Six cents a minute: a tenth of a cent a second."""
    return replace(Rate("plan", "nl", (Step(0, price, 60, increment_s),)), **more)  # type: ignore[arg-type]


def costs(one: Rate, *seconds: int, start_us: int = NOON) -> list[int]:
    return [cost_of_seconds(one, start_us, s) for s in seconds]


def test_what_is_begun_is_paid_and_nothing_before_the_first_second() -> None:
    assert costs(rate(), 0, 1, 60, 61) == [0, 60_000, 60_000, 120_000]
    assert costs(rate(1), 0, 1, 2) == [0, 1_000, 2_000]


def test_a_first_increment_then_seconds() -> None:
    one = rate(steps=(Step(0, 6 * CENT, 60, 60), Step(60, 6 * CENT, 60, 1)))
    assert costs(one, 1, 60, 61, 62) == [60_000, 60_000, 61_000, 62_000]


def test_a_step_prices_the_increments_that_start_in_it() -> None:
    one = rate(steps=(Step(0, 6 * CENT, 60, 60), Step(90, 0, 60, 60)))
    assert costs(one, 60, 61, 120, 121, 600) == [60_000, 120_000, 120_000, 120_000, 120_000]


@pytest.mark.parametrize(("at_s", "from_s"), [(0, 0), (89, 0), (90, 90), (91, 90)])
def test_what_holds_for_an_increment_is_the_step_in_which_it_starts(at_s: int, from_s: int) -> None:
    one = rate(steps=(Step(0, 6 * CENT, 60, 60), Step(90, 0, 60, 60)))
    assert one.regime(NOON, at_s).step.from_s == from_s


def test_first_minutes_may_be_free() -> None:
    one = rate(1, steps=(Step(0, 0, 60, 1), Step(120, 6 * CENT, 60, 1)))
    assert costs(one, 120, 121) == [0, 1_000]


def test_the_connect_fee_falls_due_with_the_first_second_that_credit_pays() -> None:
    one = rate(connect_fee=5 * CENT)
    inside = plan(one, NOON, (), Pools(0, {NOV: 60}), 60)
    assert (inside.credit, inside.short) == (0, False)
    beyond = plan(one, NOON, (), Pools(AMOUNT_MAX, {NOV: 60}), 61)
    assert beyond.credit == 5 * CENT + 6 * CENT
    assert plan(one, NOON, (), Pools(beyond.credit - 1, {NOV: 60}), 61).short
    assert plan(one, NOON, (), Pools(beyond.credit, {NOV: 60}), 61) == beyond


@pytest.mark.parametrize(("credit", "covered_s"), [(17 * CENT, 120), (17 * CENT - 1, 60)])
def test_a_connect_fee_that_was_paid_is_not_owed_again_by_what_follows(credit: int, covered_s: int) -> None:
    """Five cents, and six a minute."""
    found = plan(rate(connect_fee=5 * CENT), NOON, (Segment(0, 60, CREDIT),), Pools(credit), 120)
    assert found.covered_s == covered_s


def test_r10_free_seconds_go_first_and_credit_goes_on_within_the_call() -> None:
    found = plan(rate(1), NOON, (), Pools(MICRO, {NOV: 100}), 130)
    assert found.funding == (Segment(0, 100, NOV), Segment(100, 130, CREDIT))
    assert found.credit == 30_000
    assert bundle_use(found.funding) == {NOV: 100}


def test_free_seconds_of_one_bundle_are_added_up_over_its_stretches() -> None:
    funding = (Segment(0, 60, NOV), Segment(60, 90, CREDIT), Segment(90, 130, NOV), Segment(130, 140, DEC))
    assert bundle_use(funding) == {NOV: 100, DEC: 10}


def test_free_seconds_too_few_for_an_increment_pay_their_part_of_it() -> None:
    found = plan(rate(), NOON, (), Pools(MICRO, {NOV: 70}), 120)
    assert found.funding == (Segment(0, 70, NOV), Segment(70, 120, CREDIT))
    assert found.credit == charge(rate(), NOON, found.funding) == 50_000


def test_the_rest_of_a_broken_increment_that_credit_cannot_pay_is_not_begun() -> None:
    short = plan(rate(), NOON, (), Pools(49_999, {NOV: 70}), 120)
    assert (short.funding, short.covered_s, short.short) == ((Segment(0, 60, NOV),), 60, True)
    assert plan(rate(), NOON, (), Pools(50_000, {NOV: 70}), 120).covered_s == 120


def test_the_bundles_increment_may_differ_from_that_of_credit() -> None:
    one = rate(1, free_increment_s=60)
    found = plan(one, NOON, (), Pools(MICRO, {NOV: 120}), 61)
    assert found.funding == (Segment(0, 120, NOV),)
    after = plan(one, NOON, (), Pools(MICRO, {NOV: 120}), 121)
    assert after.funding == (Segment(0, 120, NOV), Segment(120, 121, CREDIT))


def test_r11_an_increment_belongs_to_the_month_in_which_it_starts() -> None:
    start_us = at("2026-11-30T23:59")
    on_time = plan(rate(), start_us, (), Pools(0, {NOV: 60, DEC: 60}), 120)
    assert on_time.funding == (Segment(0, 60, NOV), Segment(60, 120, DEC))
    a_second_before = plan(rate(), start_us - MICRO, (), Pools(0, {NOV: 600, DEC: 600}), 180)
    assert a_second_before.funding == (Segment(0, 120, NOV), Segment(120, 180, DEC))
    a_microsecond_before = plan(rate(1), start_us - 1, (), Pools(0, {NOV: 600, DEC: 600}), 120)
    assert a_microsecond_before.funding == (Segment(0, 61, NOV), Segment(61, 120, DEC))


def test_r11_a_month_with_nothing_left_is_paid_by_credit_until_the_next_begins() -> None:
    found = plan(rate(), at("2026-11-30T23:58"), (), Pools(MICRO, {NOV: 0, DEC: 600}), 240)
    assert found.funding == (Segment(0, 120, CREDIT), Segment(120, 240, DEC))
    assert found.credit == 120_000


def test_a_destination_without_free_minutes_leaves_the_bundle_alone() -> None:
    found = plan(rate(free_minutes=False), NOON, (), Pools(MICRO, {NOV: 600}), 60)
    assert found.funding == (Segment(0, 60, CREDIT),)


def night(price: int = 3 * CENT, **window: object) -> Band:
    one = replace(Window(EVERY_DAY, 1320, 360), **window)  # type: ignore[arg-type]
    return Band("night", (one,), (Step(0, price, 60, 60),))


def test_an_increment_belongs_to_the_band_in_which_it_starts() -> None:
    one = rate(bands=(night(),))
    assert costs(one, 60, 120, start_us=at("2026-11-04T21:59")) == [60_000, 90_000]
    assert costs(one, 60, 120, start_us=at("2026-11-04T21:59:59")) == [60_000, 90_000]
    assert costs(one, 60, start_us=at("2026-11-04T22:00")) == [30_000]
    assert costs(one, 60, 120, start_us=at("2026-11-05T05:59")) == [30_000, 90_000]


def test_hours_past_midnight_belong_to_the_day_on_which_they_begin() -> None:
    one = rate(bands=(night(days=frozenset({4})),))  # Friday
    friday, saturday = costs(one, 60, start_us=at("2026-11-06T03:00")), costs(one, 60, start_us=at("2026-11-07T03:00"))
    assert (friday, saturday) == ([60_000], [30_000])


def test_a_holiday_is_a_holiday_and_no_day_of_the_week() -> None:
    christmas = date(2026, 12, 25)  # a Friday
    fridays = Band("friday", (Window(frozenset({4}), 0, 1440),), (Step(0, CENT, 60, 60),))
    feasts = Band("feast", (Window(frozenset({7}), 0, 1440),), (Step(0, 2 * CENT, 60, 60),))
    one = rate(bands=(fridays, feasts), holidays=frozenset({christmas}))
    assert costs(one, 60, start_us=at("2026-12-18T12:00")) == [CENT]
    assert costs(one, 60, start_us=at("2026-12-25T12:00")) == [2 * CENT]
    assert costs(one, 120, start_us=at("2026-12-24T23:59")) == [6 * CENT + 2 * CENT]


def test_the_night_that_begins_on_a_holiday_is_the_holidays_to_its_end() -> None:
    christmas = date(2026, 12, 25)  # a Friday
    one = rate(bands=(night(days=frozenset({7})),), holidays=frozenset({christmas}))
    assert costs(one, 60, start_us=at("2026-12-25T03:00")) == [60_000], "Thursday's night"
    assert costs(one, 60, start_us=at("2026-12-26T03:00")) == [30_000]
    fridays = replace(one, bands=(night(days=frozenset({4})),))
    assert costs(fridays, 60, start_us=at("2026-12-26T03:00")) == [60_000]


@pytest.mark.parametrize(
    ("begins", "expected"), [("08:59", 60_000), ("09:00", 30_000), ("09:59", 30_000), ("10:00", 60_000)]
)
def test_a_band_is_open_from_its_first_minute_to_before_its_last(begins: str, expected: int) -> None:
    one = rate(bands=(night(from_minute=9 * 60, to_minute=10 * 60),))
    assert costs(one, 60, start_us=at(f"2026-11-04T{begins}")) == [expected]


def test_of_two_bands_that_are_open_the_first_counts() -> None:
    cheap, dear = (night(price, from_minute=9 * 60, to_minute=10 * 60) for price in (3 * CENT, 12 * CENT))
    at_nine = at("2026-11-04T09:00")
    assert costs(rate(bands=(cheap, dear)), 60, start_us=at_nine) == [30_000]
    assert costs(rate(bands=(dear, cheap)), 60, start_us=at_nine) == [120_000]


@pytest.mark.parametrize(("start", "expected"), [("2026-03-29T01:59:00", 90_000), ("2026-10-25T02:29:00", 90_000)])
def test_the_local_clock_decides_when_summer_time_comes_and_goes(start: str, expected: int) -> None:
    """02:30 is skipped in March: the band begins at 03:00. In October it comes twice: 02:29, 02:30 … 02:59, 02:00."""
    one = rate(bands=(night(from_minute=150, to_minute=600),))
    assert costs(one, 120, start_us=at(start)) == [expected]
    again = at("2026-10-25T02:59:00") + 60 * MICRO  # 02:00 for the second time: out of the band again
    assert costs(one, 60, start_us=again) == [60_000]


def test_the_minimum_holds_from_the_first_second_that_credit_pays() -> None:
    one = rate(1, min_charge=5 * CENT)
    assert costs(one, 0, 1, 50, 51) == [0, 50_000, 50_000, 51_000]
    assert plan(one, NOON, (), Pools(0, {NOV: 60}), 60).credit == 0
    assert [affordable_seconds(one, NOON, Pools(money)) for money in (49_999, 50_000)] == [0, 50]


def test_money_a_micro_euro_below_the_minimum_pays_for_no_second() -> None:
    one = rate(1, steps=(Step(0, 1_000, 1, 1),), min_charge=5 * CENT)
    assert [affordable_seconds(one, NOON, Pools(money)) for money in (49_999, 50_000, 50_999, 51_000)] == [
        0,
        50,
        50,
        51,
    ]


def test_at_its_maximum_a_call_costs_no_more_and_still_has_an_end() -> None:
    one = rate(1, max_cost=5 * CENT, max_call_s=600)
    assert costs(one, 49, 50, 51, 600) == [49_000, 50_000, 50_000, 50_000]
    assert [affordable_seconds(one, NOON, Pools(money)) for money in (49_999, 50_000)] == [49, 600]


@pytest.mark.parametrize("rounding", list(Rounding))
@pytest.mark.parametrize(("vat_added", "max_cost"), [(2100, 10 * CENT), (0, 125_000), (0, 12 * CENT)])
def test_a_call_costs_no_more_than_its_maximum_whatever_the_rounding(
    rounding: Rounding, vat_added: int, max_cost: int
) -> None:
    one = rate(1, max_cost=max_cost, vat_added=vat_added, decimals=2, rounding=rounding, max_call_s=600)
    assert costs(one, 600) == [12 * CENT]
    assert affordable_seconds(one, NOON, Pools(12 * CENT - 1)) < 600
    assert affordable_seconds(one, NOON, Pools(12 * CENT)) == 600


def test_a_maximum_that_is_the_minimum_holds_too() -> None:
    one = rate(1, min_charge=125_000, max_cost=125_000, decimals=2, max_call_s=600)
    assert costs(one, 1, 600) == [12 * CENT, 12 * CENT]
    assert [affordable_seconds(one, NOON, Pools(money)) for money in (12 * CENT - 1, 12 * CENT)] == [0, 600]


def test_a_call_that_costs_nothing_ends_at_max_call_s() -> None:
    found = plan(rate(1, price=0, max_call_s=600), NOON, (), Pools(0), 10_000)
    assert (found.covered_s, found.credit, found.short) == (600, 0, False)


def test_an_increment_over_max_call_s_is_reserved_whole_but_not_talked() -> None:
    found = plan(rate(max_call_s=90), NOON, (), Pools(MICRO), 1000)
    assert (found.covered_s, found.funding[-1].end_s, found.credit) == (90, 120, 120_000)


def test_rounding_is_applied_once_to_the_total() -> None:
    one = rate(1, price=1_000, decimals=4, rounding=Rounding.HALF_UP)  # 16.67 micro-euro a second
    assert costs(one, 2, 3, 4, 60) == [0, 100, 100, 1_000]


def test_vat_on_top_is_rounded_with_the_total() -> None:
    one = rate(1, vat_added=2100, decimals=4, rounding=Rounding.UP)
    assert costs(one, 1, 100) == [1_300, 121_000]


def test_vat_on_top_is_put_on_the_connect_fee_too() -> None:
    assert costs(rate(1, connect_fee=CENT, vat_added=2100), 0, 60) == [0, 84_700]


def test_affordable_seconds_at_the_last_and_the_first_not_payable_second() -> None:
    assert [affordable_seconds(rate(1), NOON, Pools(money)) for money in (999, 1_000, 1_999, 2_000)] == [0, 1, 1, 2]


@pytest.mark.parametrize(
    ("used_s", "end_s"), [(-1, 0), (0, 0), (1, 60), (60, 60), (61, 120), (70, 120), (120, 120), (121, 121), (999, 130)]
)
def test_consumed_ends_with_the_increment_that_holds_the_last_second(used_s: int, end_s: int) -> None:
    one = rate(steps=(Step(0, 6 * CENT, 60, 60), Step(120, 6 * CENT, 60, 1)))
    funding = plan(one, NOON, (), Pools(MICRO, {NOV: 70}), 130).funding
    part = consumed(one, NOON, funding, used_s)
    assert (part[-1].end_s if part else 0) == end_s


def test_what_is_not_consumed_is_decided_anew() -> None:
    first = plan(rate(), NOON, (), Pools(MICRO), 180)
    fixed = consumed(rate(), NOON, first.funding, 61)
    again = plan(rate(), NOON, fixed, Pools(MICRO, {NOV: 60}), 240)
    assert again.funding == (Segment(0, 120, CREDIT), Segment(120, 180, NOV), Segment(180, 240, CREDIT))
    assert again.credit == charge(rate(), NOON, again.funding) == 180_000


def test_pools_count_bundles_beyond_the_fixed_part_and_credit_for_the_whole_call() -> None:
    fixed = (Segment(0, 60, NOV), Segment(60, 120, CREDIT))
    assert plan(rate(), NOON, fixed, Pools(60_000, {NOV: 60}), 999).covered_s == 180
    assert plan(rate(), NOON, fixed, Pools(119_999), 999).covered_s == 120
    assert plan(rate(), NOON, fixed, Pools(120_000), 999).covered_s == 180


def test_a_plan_for_less_than_is_fixed_keeps_what_is_fixed() -> None:
    fixed = (Segment(0, 120, CREDIT),)
    found = plan(rate(), NOON, fixed, Pools(0), 60)
    assert (found.funding, found.short) == (fixed, False)


PRIME_UNITS = (3001, 3011, 3019, 3023, 3037, 3041, 3049, 3061, 3067, 3079, 3083, 3089, 3109, 3119, 3121, 3137)


@pytest.mark.parametrize("steps", [1, 16])
def test_a_cost_is_exact_whatever_the_units_of_its_steps(steps: int) -> None:
    dearest = 10_000 * MICRO
    made = tuple(Step(60 * place, dearest, unit_s, 60) for place, unit_s in enumerate(PRIME_UNITS[:steps]))
    one = rate(steps=made, vat_added=2100)
    seconds, _ = reference.plan(one, NOON, {}, AMOUNT_MAX, 1200)
    assert cost_of_seconds(one, NOON, 1200) == reference.cost(one, seconds)
    assert affordable_seconds(one, NOON, Pools(reference.cost(one, seconds))) == 1200
    assert affordable_seconds(one, NOON, Pools(reference.cost(one, seconds) - 1)) == 1140


def test_only_the_calls_first_increment_is_a_first_one() -> None:
    """60/1, as price lists write it: free seconds or a band's edge before do not make another first increment."""
    own = Rate("p", "d", (Step(0, 60_000, 60, 1, 60),), free_increment_s=1)
    assert [cost_of_seconds(own, 0, s) for s in (1, 60, 61, 62)] == [60_000, 60_000, 61_000, 62_000]
    assert charge(own, 0, plan(own, 0, (), Pools(AMOUNT_MAX, {"bundle:1970-01": 10}), 11).funding) == 1_000


def test_a_band_that_opens_during_the_call_begins_no_first_increment() -> None:
    """A 1/1 rate that enters a 60/1 band at second 10 goes on by the second (and 60/1 into 1/1 as well)."""
    midnight_utc = Window(frozenset(range(8)), 0, 60)
    by_second, by_minute = (Step(0, 60_000, 60, 1),), (Step(0, 120_000, 60, 1, 60),)
    begin_us = 86_400 * 1_000_000 - 10 * 1_000_000
    into = Rate("p", "d", by_second, bands=(Band("night", (midnight_utc,), by_minute),), zone="UTC")
    assert [cost_of_seconds(into, begin_us, s) for s in (10, 11, 12)] == [10_000, 12_000, 14_000]
    out = Rate("p", "d", by_minute, bands=(Band("night", (midnight_utc,), by_second),), zone="UTC")
    assert [cost_of_seconds(out, begin_us, s) for s in (10, 60, 61)] == [120_000, 120_000, 121_000]


def test_a_rate_stored_before_keeps_the_reading_that_its_call_began_with() -> None:
    """Steps of four numbers: an increment that begins before second 60 lasts 60 s."""
    old = Rate("p", "d", (Step(0, 60_000, 60, 60), Step(60, 60_000, 60, 1)))
    stored = '{"plan":"p","destination":"d","steps":[[0,60000,60,60],[60,60000,60,1]]}'
    assert Codec(Rate).load(stored) == old
    new = Rate("p", "d", (Step(0, 60_000, 60, 1, 60),))
    assert Codec(Rate).load(Codec(Rate).dump(new)) == new


@pytest.mark.parametrize("rounding", list(Rounding))
def test_a_maximum_that_ends_calls_is_never_rounded_over_and_money_ends_what_costs_less(rounding: Rounding) -> None:
    one = rate(1, max_cost=5 * CENT, ends_at_max=True, decimals=2, rounding=rounding, max_call_s=600)
    richest = plan(one, NOON, (), Pools(MICRO), 600)
    assert (richest.covered_s, richest.credit, richest.short, richest.at_maximum) == (50, 5 * CENT, True, True)
    poorer = plan(one, NOON, (), Pools(2 * CENT), 600)
    assert (poorer.covered_s < 50, poorer.short, poorer.at_maximum) == (True, True, False)
    assert not plan(one, NOON, (), Pools(MICRO), 50).short


@pytest.mark.parametrize("credit", [0, 1])
@pytest.mark.parametrize(
    ("source", "fee", "with_call", "alone"),
    [
        (NOV, 1, True, True),
        (NOV, 0, True, False),
        (NOV, 1, False, False),
        (CREDIT, 1, False, True),
    ],
)
def test_r12_without_credit_nothing_begins_that_has_a_price(
    source: str, fee: int, alone: bool, credit: int, *, with_call: bool
) -> None:
    """A fee that rounds to nothing is a price, where free seconds bring it too."""
    one = rate(price=0, connect_fee=fee, fee_with_call=with_call, rounding=Rounding.DOWN, decimals=2)
    assert only_rounding_pays(one, NOON, (Segment(0, 60, source),), credit) is (alone and not credit)


def test_with_the_call_the_connect_fee_is_due_of_free_seconds_and_brings_no_minimum() -> None:
    r10 = rate(60, connect_fee=5 * CENT, min_charge=20 * CENT)
    one = replace(r10, fee_with_call=True)
    free = (Segment(0, 60, NOV),)
    assert (charge(r10, NOON, free), charge(one, NOON, free)) == (0, 5 * CENT)
    assert charge(one, NOON, ()) == 0
    both = (*free, Segment(60, 120, CREDIT))
    assert charge(one, NOON, both) == charge(r10, NOON, both) == 20 * CENT
    for money, covered_s in ((5 * CENT - 1, 0), (5 * CENT, 60)):
        found = plan(one, NOON, (), Pools(money, {NOV: 60}), 600)
        assert (found.covered_s, found.short) == (covered_s, True)


def test_a_bands_connect_fee_is_that_of_the_increment_that_brings_it() -> None:
    evening = Band("evening", (Window(EVERY_DAY, 18 * 60, 1440),), (Step(0, 60_000, 60, 60),), 1 * CENT)
    one = rate(60, connect_fee=5 * CENT, bands=(evening,))
    begins = NOON + (6 * 3600 - 60) * MICRO  # a minute before six
    fees = [charge(one, begins + later_s * MICRO, (Segment(0, 60, CREDIT),)) - 6 * CENT for later_s in (0, 59, 60)]
    assert fees == [5 * CENT, 5 * CENT, 1 * CENT]
    after_free = (Segment(0, 60, NOV), Segment(60, 120, CREDIT))
    assert charge(one, begins, after_free) == 6 * CENT + 1 * CENT  # credit begins at six
    assert charge(replace(one, fee_with_call=True), begins, after_free) == 6 * CENT + 5 * CENT


def test_a_band_that_was_stored_before_bands_had_fees_has_its_rates() -> None:
    codec = Codec(Rate)
    evening = Band("evening", (Window(EVERY_DAY, 0, 1440),), (Step(0, 60_000, 60, 60),))
    one = rate(60, connect_fee=5 * CENT, bands=(evening,))
    stored = json.loads(codec.dump(one))
    assert stored["bands"][0].pop() is None
    del stored["fee_with_call"], stored["ends_at_max"]
    assert codec.load(json.dumps(stored)) == one


@pytest.mark.parametrize(
    ("used_ms", "seconds"), [(0, 0), (1, 1), (200, 1), (1200, 1), (1201, 2), (60_200, 60), (60_201, 61)]
)
def test_a_call_uses_each_second_that_has_begun_less_the_tolerance_and_always_its_first(
    used_ms: int, seconds: int
) -> None:
    assert seconds_of(used_ms, 200) == seconds
