"""Who pays which second of a call, and how far the money goes.

1. Free seconds go first, bundle by bundle in their order (:meth:`Rate.paying_order`). Where fewer are left than an
   increment needs, they pay the first part of it, then the next bundles, and credit pays the rest in proportion of
   time, at the price of the increment's start. If credit cannot, the increment is not begun. A bundle pays increments
   that start before it ends.
2. What it costs, and how increments begin and end, stands in `charging.pricing.rate`. The plan counts *runs* as that
   does: it walks over no increments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from charging.clock import MICROSECONDS, month_and_edge_us
from charging.pricing.packs import PACK, ends_us
from charging.pricing.rate import CREDIT, Funding, Rate, Regime, Segment, bundle_of, ceil_div, weigh
from charging.records import dataclass


@dataclass(frozen=True, slots=True)
class Pools:
    """The credit and free seconds that may be used: credit for the whole call, free seconds beyond the fixed part."""

    credit: int
    """Micro-euro for the **whole** call: :func:`charge` of the result will not exceed it."""
    bundles: Mapping[str, int] = field(default_factory=dict)
    """Free seconds by source, **beyond** those that the fixed part has used."""


@dataclass(frozen=True, slots=True)
class FundingPlan:
    """How far the pools reach."""

    funding: Funding
    covered_s: int
    """Seconds that may be talked: the funding's end, but never more than the rate's ``max_call_s``."""
    credit: int
    """:func:`charge` of the funding, in micro-euro."""
    fixed_credit: int
    """The same of its fixed part."""
    short: bool
    """Money ended before the target did: the next increment does not fit."""
    at_maximum: bool = False
    """It would not fit for any money: the rate's maximum ends the call."""


def plan(rate: Rate, start_us: int, fixed: Funding, pools: Pools, target_s: int) -> FundingPlan:
    """Continue ``fixed`` (what is consumed, in whole increments) to at least ``target_s``, as funds allow.

    Free seconds go first, decided again for all that is not fixed. The target is bounded by the rate's
    ``max_call_s``. Stops before the first increment that cannot be paid, or that a maximum which ends calls forbids.
    """
    planner = _Planner(rate, start_us, fixed, pools, min(target_s, rate.max_call_s))
    while planner.at_s < planner.target_s and not planner.short:
        planner.extend()
    return planner.result()


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
        self.weight, self.credit_s = weigh(rate, start_us, fixed)
        self.fixed_credit = self._total() if fixed else 0
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
        covered_s = min(self.at_s, self.rate.max_call_s)
        funding = tuple(self.segments)
        return FundingPlan(funding, covered_s, self._total(), self.fixed_credit, self.short, self.at_maximum)

    def _total(self) -> int:
        """:func:`charge` of what is planned so far."""
        return self.rate.total(self.weight, with_minimum=self.credit_s > 0)
