"""Who pays which second of a call, what that costs, and how far the money goes.

Rules (DESIGN.md, "Money and time")
-----------------------------------
1. A call is a row of *increments* without gaps, from second 0. An increment takes its length, its price, its
   month and its time band from the instant at which it **starts**; what changes within it does not touch it.
2. An increment that starts with a free second has the increment of the bundle that pays it; else the step's own.
3. Free seconds go first, bundle by bundle in their order (:meth:`Rate.paying_order`). Where fewer are left than an
   increment needs, they pay the first part of it, then the next bundles, and credit pays the rest in proportion of
   time, at the price of the increment's start. If credit cannot, the increment is not begun. A bundle pays increments
   that start before it ends.
4. The connect fee is that of the increment with which it falls due: the first of which credit pays a second, or
   (``Rate.fee_with_call``) the call's first. Without it a call that credit never touches costs nothing.
5. The cost is a function of the whole call so far, rounded once (:meth:`Rate.total`); a tick posts the difference
   from what it posted before, so pieces never add up wrong.

Nothing here walks over increments: a *run* is all increments of one funding segment that start under the same
price, counted by one division. Cost grows with the steps and bands that a call meets, not with its length.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from charging.pricing.calendar import MICROSECONDS, month_and_edge_us
from charging.pricing.packs import PACK, ends_us
from charging.pricing.rate import FOREVER_S, Rate, Regime, ceil_div
from charging.records import quick

CREDIT = "credit"
"""The source of seconds that money pays."""

_BUNDLE = "bundle:"


@dataclass(frozen=True, slots=True)
class Segment:
    """Seconds ``start_s`` (included) to ``end_s`` (excluded) of a call, and who pays them."""

    start_s: int
    end_s: int
    source: str
    """:data:`CREDIT`, :func:`bundle_of` a month, or a pack (:mod:`charging.pricing.packs`)."""


Funding = tuple[Segment, ...]
"""Contiguous from second 0, in whole increments; no two neighbours have the same source."""

_ALL_CREDIT: Funding = (Segment(0, FOREVER_S, CREDIT),)


@dataclass(frozen=True, slots=True)
class Pools:
    """The credit and free seconds that may be used: credit for the whole call, free seconds beyond the fixed part."""

    credit: int
    """Micro-euro for the **whole** call: :func:`charge` of the result will not exceed it."""
    bundles: Mapping[str, int] = field(default_factory=dict)
    """Free seconds by source, **beyond** those that the fixed part has used."""


@quick
@dataclass(frozen=True, slots=True)
class FundingPlan:
    """How far the pools reach."""

    funding: Funding
    covered_s: int
    """Seconds that may be talked: the funding's end, but never more than the rate's ``max_call_s``."""
    credit: int
    """:func:`charge` of the funding, in micro-euro."""
    short: bool
    """Money ended before the target did: the next increment does not fit."""
    at_maximum: bool = False
    """It would not fit for any money: the rate's maximum ends the call."""


def bundle_of(month: str) -> str:
    """The source of a month's free seconds: ``2026-11`` → ``bundle:2026-11``."""
    return _BUNDLE + month


class Run(NamedTuple):
    """Increments of one funding segment that start under the same regime."""

    start_s: int
    increment_s: int
    increments: int
    credit_s: int
    """Seconds of it that credit pays: all, or (a bundle's last, broken increment) the rest of that one."""
    free_s: int
    """The others; of a broken increment some may be the next bundles'."""
    regime: Regime
    source: str


def runs(rate: Rate, start_us: int, funding: Funding, before_s: int = FOREVER_S) -> Iterator[Run]:
    """The increments of a funding that start before second ``before_s``, counted: the base of all that follows."""
    at = 0
    for segment in funding:
        free = segment.source != CREDIT
        end_s = min(segment.end_s, before_s)
        while at < end_s:
            regime = rate.regime(start_us, at)
            increment = (free and rate.free_increment(segment.source)) or regime.increment_s
            count = ceil_div(min(regime.until_s, end_s) - at, increment)
            end = at + count * increment
            rest = max(0, end - segment.end_s)
            inside = end - at - rest
            if free:
                others = _free_within(funding[funding.index(segment) + 1 :], end) if rest else 0
                yield Run(at, increment, count, rest - others, inside + others, regime, segment.source)
            else:
                yield Run(at, increment, count, inside, 0, regime, CREDIT)
            at = end


def _free_within(later: Funding, until_s: int) -> int:
    """Seconds before ``until_s`` that further bundles pay."""
    return sum(min(one.end_s, until_s) - one.start_s for one in later if one.source != CREDIT and one.start_s < until_s)


def charge(rate: Rate, start_us: int, funding: Funding) -> int:
    """What credit pays for the whole call so far, in micro-euro. ``start_us``: wall clock at its answer.

    Never falls when the funding is continued.
    """
    weight, credit_s = _weigh(rate, start_us, funding)
    return rate.total(weight, with_minimum=credit_s > 0)


def cost_to_begin(rate: Rate, start_us: int) -> int:
    """Micro-euro that credit alone needs for the first increment."""
    return charge(rate, start_us, (Segment(0, rate.regime(start_us, 0).increment_s, CREDIT),))


def only_rounding_pays(rate: Rate, start_us: int, funding: Funding, credit: int) -> bool:
    """Whether a call may not begin because only rounding makes it free: ``credit`` (micro-euro) is 0 and the call has a
    price, though its first seconds may round to 0 (R12)."""
    if credit > 0:
        return False
    regime = rate.regime(start_us, 0)
    if funding[0].source != CREDIT:
        return rate.fee_with_call and regime.connect_fee > 0
    return regime.connect_fee > 0 or regime.weight > 0


def bundle_use(funding: Funding) -> dict[str, int]:
    """Free seconds used, by source."""
    used: dict[str, int] = {}
    for segment in funding:
        if segment.source != CREDIT:
            used[segment.source] = used.get(segment.source, 0) + segment.end_s - segment.start_s
    return used


def consumed(rate: Rate, start_us: int, funding: Funding, used_s: int) -> Funding:
    """The part of a funding that a call of ``used_s`` seconds has used, to the end of the increment that has begun.

    ``used_s`` 0 gives nothing; exactly at an increment's end gives that end; beyond the funding, all of it.
    """
    if not used_s or not funding:
        return ()
    end_s = 0
    for run in runs(rate, start_us, funding, used_s):
        end_s = run.start_s + run.increments * run.increment_s
    return _cut(funding, end_s)


def plan(rate: Rate, start_us: int, fixed: Funding, pools: Pools, target_s: int) -> FundingPlan:
    """Continue ``fixed`` (what is consumed, in whole increments) to at least ``target_s``, as funds allow.

    Free seconds go first, decided again for all that is not fixed. The target is bounded by the rate's
    ``max_call_s``. Stops before the first increment that cannot be paid, or that a maximum which ends calls forbids.
    """
    planner = _Planner(rate, start_us, fixed, pools, min(target_s, rate.max_call_s))
    while planner.at_s < planner.target_s and not planner.short:
        planner.extend()
    return planner.result()


def cost_of_seconds(rate: Rate, start_us: int, seconds: int) -> int:
    """What a call of ``seconds`` costs without free minutes, in micro-euro."""
    weight, credit_s = _weigh(rate, start_us, _ALL_CREDIT, seconds)
    return rate.total(weight, with_minimum=credit_s > 0)


def _weigh(rate: Rate, start_us: int, funding: Funding, before_s: int = FOREVER_S) -> tuple[int, int]:
    """Price of the credit-paid seconds over the rate's denominator, connect fee included; and their number."""
    weight = seconds = 0
    if not funding:
        return 0, 0
    owes_fee = True
    for run in runs(rate, start_us, funding, before_s):
        if owes_fee and brings_fee(rate, run):
            weight += rate.connect_weight(run.regime)
            owes_fee = False
        seconds += run.credit_s
        weight += run.credit_s * run.regime.weight
    return weight, seconds


def brings_fee(rate: Rate, run: Run) -> bool:
    """Whether the connect fee falls due with a run, if it has not before."""
    return run.credit_s > 0 or rate.fee_with_call


def _cut(funding: Funding, end_s: int) -> Funding:
    kept = [segment for segment in funding if segment.start_s < end_s]
    if kept and kept[-1].end_s > end_s:
        kept[-1] = Segment(kept[-1].start_s, end_s, kept[-1].source)
    return tuple(kept)


class _Planner:
    """The state of one :func:`plan`: how far it has come, and what is left."""

    def __init__(self, rate: Rate, start_us: int, fixed: Funding, pools: Pools, target_s: int) -> None:
        self.rate = rate
        self.start_us = start_us
        self.target_s = target_s
        self.short = False
        self.at_maximum = False
        self.segments = list(fixed)
        self.at_s = fixed[-1].end_s if fixed else 0
        self.weight, self.credit_s = _weigh(rate, start_us, fixed)
        self.owes_fee = not (fixed if rate.fee_with_call else self.credit_s)
        self.credit = pools.credit
        self.budget = rate.budget(pools.credit)
        self.free_left = dict(pools.bundles) if pools.bundles and rate.takes_bundles else {}
        self.order = sorted(self.free_left, key=rate.paying_order) if rate.packs else self.free_left

    def extend(self) -> None:
        """Add one run of increments, or set ``short``."""
        regime = self.rate.regime(self.start_us, self.at_s)
        if not self.free_left:
            self._extend_by_credit(regime, regime.until_s)
            return
        wall_us = self.start_us + self.at_s * MICROSECONDS
        month, edge_us = month_and_edge_us(self.rate.zone_info, wall_us)
        until_s = min(regime.until_s, -((self.start_us - edge_us) // MICROSECONDS))
        sources = [one for one in self.order if self.free_left[one] > 0 and self._is_open(one, month, wall_us)]
        if not sources:
            self._extend_by_credit(regime, until_s)
            return
        if sources[0].startswith(PACK):
            until_s = min(until_s, -((self.start_us - ends_us(self.rate.zone_info, sources[0])) // MICROSECONDS))
        self._extend_by_bundle(regime, until_s, sources)

    def _is_open(self, source: str, month: str, wall_us: int) -> bool:
        """Whether a bundle pays an increment that starts at ``wall_us``, in ``month``."""
        if source.startswith(PACK):
            return wall_us < ends_us(self.rate.zone_info, source)
        return source == bundle_of(month)

    def _extend_by_bundle(self, regime: Regime, until_s: int, sources: list[str]) -> None:
        source = sources[0]
        left_s, increment_s = self.free_left[source], self.rate.free_increment(source) or regime.increment_s
        wanted = ceil_div(min(until_s, self.target_s) - self.at_s, increment_s)
        count = min(wanted, left_s // increment_s)
        if count:
            if self.owes_fee and self.rate.fee_with_call and not self._pay_fee_alone(regime):
                return
            self._append(count * increment_s, source)
            self.free_left[source] = left_s - count * increment_s
            return
        self._extend_by_several(regime, sources, increment_s)

    def _extend_by_several(self, regime: Regime, sources: list[str], rest_s: int) -> None:
        """Add one increment that is longer than what the first bundle has left: other bundles and credit share it."""
        shares = []
        for source in sources:
            part_s = min(rest_s, self.free_left[source])
            shares.append((source, part_s))
            rest_s -= part_s
        if rest_s:
            if not self._payable(regime, rest_s, 1):
                self._stop(regime, rest_s)
                return
        elif self.owes_fee and self.rate.fee_with_call and not self._pay_fee_alone(regime):
            return
        for source, part_s in shares:
            if part_s:
                self.free_left[source] -= part_s
                self._append(part_s, source)
        if rest_s:
            self._pay(regime, rest_s)

    def _extend_by_credit(self, regime: Regime, until_s: int) -> None:
        wanted = ceil_div(min(until_s, self.target_s) - self.at_s, regime.increment_s)
        count = self._payable(regime, regime.increment_s, wanted)
        if count:
            self._pay(regime, count * regime.increment_s)
        if count < wanted:
            self._stop(regime, regime.increment_s)

    def _fee_weight(self, regime: Regime) -> int:
        """What is due of the connect fee with the next increment that brings it."""
        return self.rate.connect_weight(regime) if self.owes_fee else 0

    def _pay_fee_alone(self, regime: Regime) -> bool:
        """Pay the connect fee of a call whose first increments are free; ``False`` if credit or the maximum forbids."""
        weight = self._fee_weight(regime)
        if self.rate.total(weight, with_minimum=False) > self.credit or self.rate.is_ended_by(weight):
            self._stop(regime, 0)
            return False
        self.weight += weight
        self.owes_fee = False
        return True

    def _stop(self, regime: Regime, credit_s: int) -> None:
        """The next increment, of which credit would pay so many seconds, is not begun."""
        self.short = True
        self.at_maximum = self.rate.is_ended_by(self.weight + self._fee_weight(regime) + credit_s * regime.weight)

    def _payable(self, regime: Regime, seconds: int, wanted: int) -> int:
        """How many pieces of so many seconds each the budget still holds, at most ``wanted``."""
        if self.budget is None:
            return wanted
        weight = seconds * regime.weight
        room = self.budget - self.weight - self._fee_weight(regime)
        if room < 0:
            return 0
        return min(wanted, room // weight) if weight else wanted

    def _pay(self, regime: Regime, seconds: int) -> None:
        self.weight += self._fee_weight(regime) + seconds * regime.weight
        self.owes_fee = False
        self.credit_s += seconds
        self._append(seconds, CREDIT)

    def _append(self, seconds: int, source: str) -> None:
        end_s = self.at_s + seconds
        last = self.segments[-1] if self.segments else None
        if last is not None and last.source == source:
            self.segments[-1] = Segment(last.start_s, end_s, source)
        else:
            self.segments.append(Segment(self.at_s, end_s, source))
        self.at_s = end_s

    def result(self) -> FundingPlan:
        credit = self.rate.total(self.weight, with_minimum=self.credit_s > 0)
        covered_s = min(self.at_s, self.rate.max_call_s)
        return FundingPlan(tuple(self.segments), covered_s, credit, self.short, self.at_maximum)
