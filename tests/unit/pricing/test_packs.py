"""Several bundles pay a call in an order, as a rater that walks second by second has it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charging.pricing.funding import Pools, plan
from charging.pricing.packs import PackRules, ends_us, pack_of
from charging.pricing.rate import CREDIT, Funding, Rate, Step, bundle_use, charge, consumed, runs

ZONE = ZoneInfo("Europe/Amsterdam")
MICRO = 1_000_000
SECOND = 1_000
MIDNIGHT = "2026-11-30T23:59:00"
"""A minute before November and the packs of its last day end."""
TODAY, LATER = "2026-11-30", "2026-12-31"
NOVEMBER, DECEMBER = "bundle:2026-11", "bundle:2026-12"


def at(local: str) -> int:
    return round(datetime.fromisoformat(local).replace(tzinfo=ZONE).timestamp()) * MICRO


def rate(packs: Mapping[str, PackRules], increment_s: int = 1, **more: object) -> Rate:
    step = Step(0, 60 * SECOND, 60, increment_s)
    return Rate("pro", "nl", (step,), packs=packs, **more)  # type: ignore[arg-type]


def parts(funding: Funding) -> list[tuple[int, int, str]]:
    return [(one.start_s, one.end_s, one.source) for one in funding]


GENERAL, SPECIAL = PackRules(50, True, None), PackRules(50, False, None)


def test_a_bundle_for_the_destination_goes_before_one_for_all_and_the_soonest_end_first() -> None:
    packs = {"belgium": SPECIAL, "promo": GENERAL, "addon": GENERAL}
    pools = {
        NOVEMBER: 10,
        pack_of("addon", LATER): 10,
        pack_of("promo", TODAY): 10,
        pack_of("belgium", LATER): 10,
    }
    found = plan(rate(packs), at("2026-11-30T12:00"), (), Pools(MICRO, pools), 50)
    assert parts(found.funding) == [
        (0, 10, pack_of("belgium", LATER)),
        (10, 20, pack_of("promo", TODAY)),
        (20, 30, NOVEMBER),
        (30, 40, pack_of("addon", LATER)),
        (40, 50, CREDIT),
    ]
    assert found.credit == 10 * SECOND


@pytest.mark.parametrize(("order", "first"), [(49, "addon"), (51, NOVEMBER)])
def test_the_tariffs_order_says_otherwise(order: int, first: str) -> None:
    addon = pack_of("addon", LATER)
    pools = {NOVEMBER: 10, addon: 10}
    found = plan(rate({"addon": PackRules(order, True, None)}), at("2026-11-30T12:00"), (), Pools(0, pools), 15)
    assert found.funding[0].source == (addon if first == "addon" else NOVEMBER)


def test_an_increment_is_begun_in_its_bundle_and_goes_on_in_the_next_before_credit_pays() -> None:
    packs = {"a": PackRules(1, True, 60), "b": PackRules(2, True, 30)}
    a, b = pack_of("a", LATER), pack_of("b", LATER)
    found = plan(rate(packs), at("2026-11-30T12:00"), (), Pools(MICRO, {a: 10, b: 70}), 100)
    assert parts(found.funding) == [(0, 10, a), (10, 80, b), (80, 90, CREDIT), (90, 100, CREDIT)] or parts(
        found.funding
    ) == [(0, 10, a), (10, 80, b), (80, 100, CREDIT)]
    assert found.credit == 20 * SECOND
    counted = [(run.start_s, run.increment_s, run.credit_s, run.free_s) for run in runs(rate(packs), 0, found.funding)]
    assert counted[0] == (0, 60, 0, 60), "the first increment has no second of credit"


def test_a_call_that_outlives_a_packs_end_goes_on_from_the_increment_that_starts_after_it() -> None:
    addon = pack_of("addon", TODAY)
    found = plan(rate({"addon": PackRules(50, True, 40)}), at(MIDNIGHT), (), Pools(MICRO, {addon: 1000}), 100)
    assert parts(found.funding) == [(0, 80, addon), (80, 100, CREDIT)]


def test_an_end_is_midnight_by_the_local_clock_also_where_summer_time_begins() -> None:
    assert ends_us(ZONE, pack_of("x", "2027-03-28")) == at("2027-03-29T00:00")
    assert ends_us(ZONE, pack_of("x", "2027-03-27")) == at("2027-03-28T00:00")


# --- the same, by a rater that walks ---------------------------------------------------------------------------


def is_open(source: str, wall_us: int) -> bool:
    local = datetime.fromtimestamp(wall_us / MICRO, ZONE)
    if source.startswith("bundle:"):
        return source == local.strftime("bundle:%Y-%m")
    return local.strftime("%Y-%m-%d") <= source.split(":")[1]


def before(packs: Mapping[str, PackRules], source: str) -> tuple[int, int, str, str]:
    kind, end, *name = source.split(":")
    if kind == "bundle":
        return 50, 1, f"{end}-31z", source
    rules = packs[name[0]]
    return rules.order, int(rules.is_general), end, source


def walk(
    packs: Mapping[str, PackRules], own_s: int, start_us: int, pools: Mapping[str, int], credit: int, target_s: int
) -> tuple[list[str], int]:
    """Who pays each second, and what that costs: by single seconds and fractions."""
    left, seconds, cost = dict(pools), list[str](), Fraction()
    while len(seconds) < target_s:
        wall_us = start_us + len(seconds) * MICRO
        usable = sorted(
            (one for one in left if left[one] and is_open(one, wall_us)), key=lambda one: before(packs, one)
        )
        length = own_s
        if usable and usable[0].startswith("pack:"):
            length = packs[usable[0].split(":")[2]].increment_s or own_s
        payers = [source for source in usable for _ in range(left[source])][:length]
        payers += [CREDIT] * (length - len(payers))
        price = Fraction(60 * SECOND * payers.count(CREDIT), 60)
        if cost + price > credit:
            break
        cost += price
        for source in payers:
            if source != CREDIT:
                left[source] -= 1
        seconds += payers
    return seconds, int(cost)


RULES = st.builds(PackRules, st.sampled_from([10, 50, 90]), st.booleans(), st.sampled_from([None, 1, 7, 60]))


@given(
    packs=st.fixed_dictionaries({name: RULES for name in ("a", "b", "c")}),
    own_s=st.sampled_from([1, 6, 60]),
    left=st.lists(st.integers(0, 90), min_size=7, max_size=7),
    credit=st.sampled_from([0, 20 * SECOND, 61 * SECOND, 1000 * SECOND]),
    begins=st.sampled_from([MIDNIGHT, "2026-11-30T23:57:13", "2026-12-01T00:00:00", "2027-03-28T01:59:30"]),
    target_s=st.integers(1, 400),
    fixed_s=st.integers(0, 400),
)
@settings(max_examples=400, deadline=None)
def test_bundles_in_an_order_as_a_rater_has_it_that_walks_second_by_second(
    packs: dict[str, PackRules],
    own_s: int,
    left: list[int],
    credit: int,
    begins: str,
    target_s: int,
    fixed_s: int,
) -> None:
    sources = [pack_of(name, day) for name in packs for day in (TODAY, "2027-03-28")]
    pools = dict(zip([NOVEMBER, *sources], left, strict=True)) | {DECEMBER: 25, "bundle:2027-03": 40}
    start_us, its_rate = at(begins), rate(packs, own_s)
    found = plan(its_rate, start_us, (), Pools(credit, pools), target_s)
    seconds, cost = walk(packs, own_s, start_us, pools, credit, target_s)
    assert [source for one in found.funding for source in [one.source] * (one.end_s - one.start_s)] == seconds
    assert (found.credit, charge(its_rate, start_us, found.funding)) == (cost, cost)
    assert found.short == (len(seconds) < target_s)
    # What is used of it stays, and planned again from there it comes to the same.
    fixed = consumed(its_rate, start_us, found.funding, min(fixed_s, len(seconds)))
    rest = {source: amount - bundle_use(fixed).get(source, 0) for source, amount in pools.items()}
    again = plan(its_rate, start_us, fixed, Pools(credit, rest), target_s)
    assert again.funding == found.funding
