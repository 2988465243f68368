"""What a call costs: its rate, and the charge of the seconds that were talked.

A session keeps its rate as a snapshot (`charging.records`); a restarted daemon goes on charging by it,
whatever the tariff file says by then.

Rules (DESIGN.md, "Money and time")
-----------------------------------
1. A call is a row of *increments* without gaps, from second 0. An increment takes its length, its price, its
   month and its time band from the instant at which it **starts**; what changes within it does not touch it.
2. An increment that starts with a free second has the increment of the bundle that pays it; else the step's own.
3. The connect fee is that of the increment with which it falls due: the first of which credit pays a second, or
   (``Rate.fee_with_call``) the call's first. Without it a call that credit never touches costs nothing.
4. The cost is a function of the whole call so far, rounded once (:meth:`Rate.total`); a tick posts the difference
   from what it posted before, so pieces never add up wrong.

Nothing here walks over increments: a *run* is all increments of one funding segment that start under the same
price, counted by one division. Cost grows with the steps and bands that a call meets, not with its length.

Exactness
---------
A price per unit becomes an integer *weight* per second over one common denominator, so sums are exact
integers; only :meth:`Rate.total` divides, once, and rounds once, as the tariff names it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field, replace
from datetime import date
from enum import StrEnum
from math import lcm
from typing import Annotated, Any, NamedTuple
from zoneinfo import ZoneInfo

from charging.clock import MICROSECONDS, local_reading
from charging.pricing.calendar import Window, next_window_edge_us, open_window
from charging.pricing.packs import MONTH_ORDER, PACK, PackRules, edition_of, last_day_of, name_of
from charging.records import NEWER, ROW, SORTED, dataclass

FOREVER_S = 1 << 40
"""Later than any call's end."""

MAX_CALL_S = 14_400
"""Four hours: how long a call may last where the plan does not say."""
REHEARSAL_PRICE = 10_000
"""Micro-euro a second; at least one of the tariff's rounding."""


# --- rounding -----------------------------------------------------------------------------------------------------


class Rounding(StrEnum):
    """How an exact fraction becomes a whole number; amounts are never negative, so *up* is away from zero."""

    UP = "up"
    """Any remainder counts as a whole."""
    DOWN = "down"
    """A remainder is dropped."""
    HALF_UP = "half_up"
    """To the nearest; exactly half goes up."""
    HALF_DOWN = "half_down"
    """To the nearest; exactly half goes down."""
    HALF_EVEN = "half_even"
    """To the nearest; exactly half goes to the even neighbour (bankers' rounding)."""


def ceil_div(n: int, d: int) -> int:
    """``n / d`` rounded up; ``d`` is positive."""
    return -(-n // d)


def seconds_of(used_ms: int, tolerance_ms: int) -> int:
    """The seconds of a call that was talked for so many milliseconds: each that has begun, less the tolerance. The
    first is one whatever the tolerance: who answers and hangs up at once, a hundred times a minute, has a carrier paid
    for each answer."""
    return max(min(1, used_ms), ceil_div(used_ms - tolerance_ms, 1000))


def round_div(n: int, d: int, rounding: Rounding) -> int:
    """``n / d`` rounded as named; ``n`` is not negative and ``d`` is positive."""
    assert n >= 0, n
    assert d > 0, d
    if rounding is Rounding.UP:
        return -(-n // d)
    if rounding is Rounding.DOWN:
        return n // d
    if rounding is Rounding.HALF_UP:
        return (2 * n + d) // (2 * d)
    whole, rest = divmod(n, d)
    if 2 * rest != d:
        return whole + (2 * rest > d)
    return whole + (whole & 1 if rounding is Rounding.HALF_EVEN else 0)


def largest_rounding_to(limit: int, d: int, rounding: Rounding) -> int:
    """The largest ``n`` with ``round_div(n, d, rounding) <= limit``: the inverse of :func:`round_div`."""
    if rounding is Rounding.UP:
        return limit * d
    if rounding is Rounding.DOWN:
        return (limit + 1) * d - 1
    twice_half = (2 * limit + 1) * d
    half_stays = rounding is Rounding.HALF_DOWN or (rounding is Rounding.HALF_EVEN and limit % 2 == 0)
    return twice_half // 2 if half_stays else (twice_half - 1) // 2


# --- the price ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Step:
    """A price that holds from one second of the call on; increments that start earlier keep theirs."""

    from_s: int
    price: int
    """Micro-euro per unit."""
    unit_s: int
    increment_s: int
    first_increment_s: int = 0
    """Of the call's first increment, where it has this price (60 of 60/1); 0: like the others."""
    newer: Annotated[tuple[Any, ...], NEWER] = field(default=(), hash=False)


@dataclass(frozen=True, slots=True)
class Band:
    """Steps that replace the rate's own ones while one of the band's windows is open."""

    name: str
    windows: tuple[Annotated[Window, ROW], ...]
    steps: tuple[Annotated[Step, ROW], ...]
    connect_fee: int | None = None
    """``None``: the rate's."""
    newer: Annotated[tuple[Any, ...], NEWER] = field(default=(), hash=False)


@dataclass(frozen=True, slots=True)
class Regime:
    """The price that holds for increments that start at a second of the call, and until which second it holds."""

    weight: int
    """Price of a second, over the rate's denominator."""
    increment_s: int
    until_s: int
    """The first second at which something else may hold."""
    step: Step
    band: str
    """The band's name; empty outside all bands."""
    connect_fee: int
    """Micro-euro, if it falls due with such an increment."""


@dataclass(frozen=True, slots=True)
class Rate:
    """The prices of one destination in one plan, complete (amounts in micro-euro, times in seconds)."""

    plan: str
    destination: str
    steps: tuple[Annotated[Step, ROW], ...]
    """Ascending; the first one from second 0."""
    prefix: str = ""
    """The matched prefix, for explanations."""
    connect_fee: int = 0
    """Due with the first second that credit pays, or (``fee_with_call``) with the call's first, whoever pays it."""
    bands: tuple[Annotated[Band, ROW], ...] = ()
    """The first band with an open window counts."""
    holidays: Annotated[frozenset[date], SORTED] = frozenset()
    zone: str = "Europe/Amsterdam"
    """Of months and bands."""
    min_charge: int = 0
    """The least that a call costs of which credit pays any second."""
    max_cost: int | None = None
    """The most that a call can cost, whatever the rounding; not less than ``min_charge``."""
    ends_at_max: bool = False
    """Whether a call ends before the increment that would lift it above ``max_cost``; else the rest of it is free."""
    rounding: Rounding = Rounding.UP
    decimals: int = 6
    """Of a euro, 0…6: what the call's total is rounded to."""
    fee_with_call: bool = False
    """Whether the connect fee is due also for calls that free seconds pay; without it those cost no credit (R10)."""
    vat_added: int = 0
    """Hundredths of a percent put on top of all amounts here; 0 where prices include VAT."""
    free_minutes: bool = True
    """Whether bundles of this plan may pay for this destination."""
    free_increment_s: int | None = None
    """Increment of seconds paid by a bundle; ``None``: that of the step in force."""
    month_increments: Mapping[str, int | None] = field(default_factory=dict, hash=False)
    """The same of a month's bundle, by its source, where its rules are not those of the month in which the call
    began."""
    other_bundles: Mapping[str, tuple[bool, int | None]] = field(default_factory=dict, hash=False)
    """The same two of every other plan that gives free seconds, by its name, and of the other editions that months of
    the caller were granted under: an account may have some left of them."""
    granted_as: str = ""
    """The edition of the plan's bundle: under which rules months are granted now. Empty: an older version's rate."""
    packs: Mapping[str, tuple[int, bool, int | None]] = field(default_factory=dict, hash=False)
    """The packs that pay for this destination: each one's `PackRules`, by their names in the tariff, and by the
    editions of those that the caller has."""
    other_packs: tuple[str, ...] = ()
    """The editions among those that he has which do not pay for it, whatever the tariff's pack of their name does."""
    max_call_s: int = MAX_CALL_S
    """Bounds every quota, also of calls that cost nothing (any more)."""
    tariff_revision: str = ""
    tariff_digest: str = ""
    newer: Annotated[Mapping[str, Any], NEWER] = field(default_factory=dict, hash=False)

    _denominator: int = field(init=False, repr=False, compare=False)
    _quantum: int = field(init=False, repr=False, compare=False)
    _fee_scale: int = field(init=False, repr=False, compare=False)
    _floor: int = field(init=False, repr=False, compare=False)
    _ceiling: int | None = field(init=False, repr=False, compare=False)
    _base: tuple[Regime, ...] = field(init=False, repr=False, compare=False)
    _banded: tuple[tuple[Regime, ...], ...] = field(init=False, repr=False, compare=False)
    _windows: tuple[Window, ...] = field(init=False, repr=False, compare=False)
    _edges: tuple[int, ...] = field(init=False, repr=False, compare=False)
    zone_info: ZoneInfo = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        assert self.steps, "a rate has at least one step"
        assert self.steps[0].from_s == 0
        assert self.max_cost is None or self.max_cost >= self.min_charge
        every_step = [*self.steps, *(step for band in self.bands for step in band.steps)]
        scale = lcm(*(step.unit_s for step in every_step)) * (10_000 if self.vat_added else 1)
        gross = 10_000 + self.vat_added if self.vat_added else 1
        put = object.__setattr__
        put(self, "_denominator", scale)
        put(self, "_quantum", 10 ** (6 - self.decimals))
        net_scale = scale // (10_000 if self.vat_added else 1)
        put(self, "_fee_scale", net_scale * gross)
        ceiling = None
        if self.max_cost is not None:
            ceiling = self.max_cost * net_scale * gross
            ceiling -= ceiling % (scale * self._quantum)  # else the rounding could lift a total above it
        floor = self.min_charge * net_scale * gross
        put(self, "_ceiling", ceiling)
        put(self, "_floor", floor if ceiling is None else min(floor, ceiling))
        put(self, "_base", _regimes(self.steps, net_scale * gross, "", self.connect_fee))
        banded = ((one, self.connect_fee if one.connect_fee is None else one.connect_fee) for one in self.bands)
        put(self, "_banded", tuple(_regimes(one.steps, net_scale * gross, one.name, fee) for one, fee in banded))
        put(self, "_windows", tuple(window for band in self.bands for window in band.windows))
        minutes = {m for w in self._windows for m in (w.from_minute, w.to_minute)}
        put(self, "_edges", tuple(sorted(minutes)))
        put(self, "zone_info", ZoneInfo(self.zone))

    def connect_weight(self, regime: Regime) -> int:
        """The connect fee that falls due with an increment under this regime: units of a micro-euro over the rate's
        denominator."""
        return regime.connect_fee * self._fee_scale

    def regime(self, start_us: int, at_s: int) -> Regime:
        """What holds for an increment that starts at second ``at_s`` of a call begun at ``start_us``."""
        if not self.bands:
            return _at(self._base, at_s)
        wall_us = start_us + at_s * MICROSECONDS
        local = local_reading(self.zone_info, wall_us)
        position = open_window(self._windows, self.holidays, local)
        inner = _at(self._base if position is None else self._banded[self._band_of(position)], at_s)
        edge_us = next_window_edge_us(self.zone_info, wall_us, local, self._edges)
        until_s = -((start_us - edge_us) // MICROSECONDS)
        if until_s >= inner.until_s:
            return inner
        return Regime(inner.weight, inner.increment_s, until_s, inner.step, inner.band, inner.connect_fee)

    def _band_of(self, position: int) -> int:
        index = 0
        while position >= len(self.bands[index].windows):
            position -= len(self.bands[index].windows)
            index += 1
        return index

    def total(self, weight: int, *, with_minimum: bool = True) -> int:
        """The amount of a weight in micro-euro: kept within minimum and maximum, then rounded once. ``with_minimum`` is
        for calls of which credit pays a second."""
        if with_minimum:
            weight = max(weight, self._floor)
        if self._ceiling is not None and weight > self._ceiling:
            weight = self._ceiling
        return round_div(weight, self._denominator * self._quantum, self.rounding) * self._quantum

    def budget(self, money: int) -> int | None:
        """The largest weight whose :meth:`total` is at most ``money`` micro-euro; -1 if no weight's is (the minimum
        charge is more), ``None`` if every weight's is (the maximum is less)."""
        if money < 0:
            return -1
        largest = largest_rounding_to(money // self._quantum, self._denominator * self._quantum, self.rounding)
        if self._floor > largest:
            return -1
        if self._ceiling is None or self._ceiling > largest:
            return largest
        return self._ceiling if self.ends_at_max else None

    def is_ended_by(self, weight: int) -> bool:
        """Whether a call that would reach this weight ends before, because of the rate's maximum."""
        return self.ends_at_max and self._ceiling is not None and weight > self._ceiling

    def flat(self, price: int) -> int:
        """A price per piece (a fax page) with VAT, rounded as calls are; micro-euro."""
        return gross_price(price, self.vat_added, self.rounding, self.decimals)

    def free_increment(self, source: str) -> int | None:
        """Seconds in which a bundle pays; ``None``: those of the step in force."""
        if not self.packs or not source.startswith(PACK):
            return self.month_increments.get(source, self.free_increment_s)
        rules = self.pack_rules(source)
        return None if rules is None else rules.increment_s

    def pack_rules(self, source: str) -> PackRules | None:
        """How a pack pays for this destination; ``None`` if it does not. A pack given since the call began, under an
        edition that this rate does not know, has the rules of the pack of its name."""
        edition = edition_of(source)
        if edition in self.other_packs:
            return None
        rules = self.packs.get(edition) or self.packs.get(name_of(source))
        return None if rules is None else PackRules(*rules)

    def with_given(
        self,
        paying: Mapping[str, PackRules],
        others: tuple[str, ...],
        bundles: Mapping[str, tuple[bool, int | None]],
    ) -> Rate:
        """This rate for a caller with certain packs and bundles.

        ``paying``: the editions of packs that pay for this destination. ``others``: the editions that do not.
        ``bundles``: the editions under which months were granted, each with whether it pays and in which increment
        (seconds, or ``None`` for that of the step in force).
        """
        if not paying and not others and not bundles:
            return self
        packs, other_bundles = {**self.packs, **paying}, {**self.other_bundles, **bundles}
        return replace(self, packs=packs, other_packs=others, other_bundles=other_bundles)

    def paying_order(self, source: str) -> tuple[int, bool, str, str]:
        """The sort key of a bundle: the least pays first. A month's bundle comes after each pack that ends in it."""
        if not source.startswith(PACK):
            return MONTH_ORDER, True, f"{source.rpartition(':')[2]}-99", source
        order, is_general, _ = self.pack_rules(source) or PackRules(MONTH_ORDER, True, None)
        return order, is_general, last_day_of(source), source

    @property
    def takes_bundles(self) -> bool:
        """Whether the bundle of any plan, or a pack, may pay for this destination."""
        return bool(self.packs) or self.free_minutes or any(pays for pays, _ in self.other_bundles.values())

    def paid_by(self, plan: str) -> bool:
        """Whether a bundle with the rules of ``plan``, or of an edition of it, pays for this destination. A plan that
        the tariff did not have counts as this one."""
        rules = _rules_of(self, plan)
        return self.free_minutes if rules is None else rules[0]

    def rehearsed(self) -> Rate:
        """This rate for the call of a rehearsal (`charging check --call`): REHEARSAL_PRICE a second, from credit alone.
        So a short call shows its charge each second, whatever the increments of the tariff are."""
        each = Step(0, max(REHEARSAL_PRICE, self._quantum), 1, 1)
        return replace(
            self,
            steps=(each,),
            bands=(),
            connect_fee=0,
            min_charge=0,
            max_cost=None,
            ends_at_max=False,
            vat_added=0,
            free_minutes=False,
            other_bundles={},
            packs={},
            other_packs=(),
        )

    def under(self, plan: str, later: Mapping[str, str] = {}) -> Rate:
        """This rate with the free increments of the months that a call touches: the first one's bundle has the rules
        of ``plan``, and those of ``later`` months, by their sources, the rules of the plan that is named there."""
        first = _increment_under(self, plan)
        others = {source: _increment_under(self, one) for source, one in later.items()}
        others = {source: increment for source, increment in others.items() if increment != first}
        if first == self.free_increment_s and not others:
            return self
        return replace(self, free_increment_s=first, month_increments=others)


def _increment_under(rate: Rate, plan: str) -> int | None:
    """The free increment of a bundle that has the rules of ``plan``."""
    rules = _rules_of(rate, plan)
    return rate.free_increment_s if rules is None else rules[1]


def _rules_of(rate: Rate, plan: str) -> tuple[bool, int | None] | None:
    """The rules of a bundle of another plan or edition; an unknown edition has those of its plan's name. ``None``: the
    rules are the rate's own."""
    if plan == rate.granted_as:
        return None
    return rate.other_bundles.get(plan) or rate.other_bundles.get(name_of(plan))


def gross_price(price: int, vat_added: int, rounding: Rounding, decimals: int) -> int:
    """A price per piece with ``vat_added`` (hundredths of a percent), rounded; micro-euro."""
    quantum: int = 10 ** (6 - decimals)
    return round_div(price * (10_000 + vat_added), 10_000 * quantum, rounding) * quantum


def _regimes(steps: tuple[Step, ...], scale: int, band: str, fee: int) -> tuple[Regime, ...]:
    """The steps, last first, each with the second at which the next one begins; at the end what holds at second 0."""
    ends = [*(step.from_s for step in steps[1:]), FOREVER_S]
    made = [
        Regime(step.price * (scale // step.unit_s), step.increment_s, end, step, band, fee)
        for step, end in zip(steps, ends, strict=True)
    ]
    if (first_s := steps[0].first_increment_s) and first_s != steps[0].increment_s:
        made.insert(0, Regime(made[0].weight, first_s, 1, steps[0], band, fee))
    return tuple(reversed(made))


def _at(regimes: tuple[Regime, ...], at_s: int) -> Regime:
    if not at_s:
        return regimes[-1]
    position = 0
    while at_s < regimes[position].step.from_s:  # ends with the first step at the latest, which is from 0
        position += 1
    return regimes[position]


# --- what was talked, and what it costs ---------------------------------------------------------------------------

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
    weight, credit_s = weigh(rate, start_us, funding)
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


def cost_of_seconds(rate: Rate, start_us: int, seconds: int) -> int:
    """What a call of ``seconds`` costs without free minutes, in micro-euro."""
    weight, credit_s = weigh(rate, start_us, _ALL_CREDIT, seconds)
    return rate.total(weight, with_minimum=credit_s > 0)


def weigh(rate: Rate, start_us: int, funding: Funding, before_s: int = FOREVER_S) -> tuple[int, int]:
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
