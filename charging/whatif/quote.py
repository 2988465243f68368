"""What a call would cost, every step explained; and how long an amount of money would last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from charging.clock import MICROSECONDS
from charging.pricing.funding import Pools, plan
from charging.pricing.money import AMOUNT_MAX, MICRO, format_euro
from charging.pricing.packs import PackTerms
from charging.pricing.rate import (
    CREDIT,
    Funding,
    Rate,
    Run,
    brings_fee,
    bundle_of,
    bundle_use,
    charge,
    only_rounding_pays,
    round_div,
    runs,
)
from charging.tariff.tariff import Refusal, Tariff, format_percent


@dataclass(frozen=True, slots=True)
class Unpriced:
    """Why there is no price."""

    number: str
    """As typed."""
    reason: str
    """``not_a_number``, or a :class:`Refusal`."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Line:
    """Increments of a call with the same price and payer."""

    from_s: int
    to_s: int
    increments: int
    increment_s: int
    source: str
    band: str
    price: int
    """Micro-euro per unit."""
    unit_s: int
    free_s: int
    credit_s: int
    amount: Fraction
    """Micro-euro, exact, before VAT is added where prices exclude it."""

    def to_json(self) -> dict[str, Any]:
        """Plain values; money as decimal text."""
        return asdict(self) | {"price": format_euro(self.price), "amount": _decimal(self.amount)}


@dataclass(frozen=True, slots=True)
class Quote:
    """The price of one call."""

    number: str
    rate: Rate
    start_us: int
    seconds: int
    """Asked for."""
    funding: Funding
    lines: tuple[Line, ...]
    subtotal: Fraction
    """Micro-euro: the lines and the connect fee."""
    clamped: Fraction
    """The subtotal within the rate's minimum and maximum."""
    gross: Fraction
    """With VAT, where prices exclude it."""
    total: int
    """Micro-euro of credit."""
    connect_fee: int
    """Micro-euro that are due of it."""
    assumes: tuple[str, ...] = ()
    """What is taken for given, in sentences."""

    def to_json(self) -> dict[str, Any]:
        """Plain values; money as decimal text."""
        rate = self.rate
        return {
            "number": self.number,
            "plan": rate.plan,
            "destination": rate.destination,
            "prefix": rate.prefix,
            "start": self.start_text(),
            "seconds": self.seconds,
            "charged_s": self.funding[-1].end_s if self.funding else 0,
            "free_s": sum(bundle_use(self.funding).values()),
            "bundles": bundle_use(self.funding),
            "lines": [line.to_json() for line in self.lines],
            "connect_fee": format_euro(self.connect_fee),
            "subtotal": _decimal(self.subtotal),
            "within_limits": _decimal(self.clamped),
            "with_vat": _decimal(self.gross),
            "rounding": {"rule": rate.rounding.value, "decimals": rate.decimals},
            "total": format_euro(self.total),
            "assumes": list(self.assumes),
            "tariff": {"revision": rate.tariff_revision, "digest": rate.tariff_digest},
        }

    def ends_s(self) -> int:
        """The second at which the call ends at the latest."""
        return min(self.funding[-1].end_s if self.funding else 0, self.rate.max_call_s)

    def start_text(self) -> str:
        """The beginning on the operator's clock."""
        moment = datetime.fromtimestamp(self.start_us // MICROSECONDS, UTC)
        return moment.astimezone(ZoneInfo(self.rate.zone)).isoformat(timespec="seconds")

    def explain(self) -> Iterator[str]:
        """The steps as sentences, one a line."""
        rate = self.rate
        yield f"{self.number} is {rate.destination} (prefix {rate.prefix}) in plan {rate.plan}"
        yield f"a call of {self.seconds} s that begins {self.start_text()}"
        yield from self.assumes
        yield from map(_line_text, self.lines)
        if (ends_s := self.ends_s()) < self.seconds:
            limits = f"money{', the maximum' if rate.ends_at_max else ''} or the plan's max_call_s ({rate.max_call_s})"
            yield f"the call ends after {ends_s} s: {limits} allow no more"
        if not self.connect_fee and not any(line.credit_s for line in self.lines):
            yield "credit pays nothing: 0.00"
            return
        if self.connect_fee:
            yield f"connect fee: {format_euro(self.connect_fee)}"
        yield f"together: {exact_euro(self.subtotal)}"
        if self.clamped > self.subtotal:
            yield f"at least the minimum: {exact_euro(self.clamped)}"
        if self.clamped < self.subtotal:
            yield f"at most the maximum: {exact_euro(self.clamped)}"
        if rate.vat_added:
            yield f"with {format_percent(rate.vat_added)} VAT: {exact_euro(self.gross)}"
        yield f"rounded ({self._rounding()}, {rate.decimals} decimals): {format_euro(self.total)}"

    def _rounding(self) -> str:
        quantum = 10 ** (6 - self.rate.decimals)
        by_rule = round_div(self.gross.numerator, self.gross.denominator * quantum, self.rate.rounding) * quantum
        return self.rate.rounding if by_rule == self.total else "down, within the maximum"


@dataclass(frozen=True, slots=True)
class Limit:
    """How long money lasts."""

    number: str
    rate: Rate
    seconds: int
    """The longest call; never more than the plan's ``max_call_s``."""
    total: int
    """Micro-euro of credit that such a call costs."""
    next_total: int | None
    """What one more increment would have cost; ``None`` where money is not what ends the call."""
    ends: str = "max_call"
    """What ends it: ``money``, ``day_limit``, ``max_call`` or ``max_cost``; or why it is not begun (then it lasts 0
    seconds)."""
    assumes: tuple[str, ...] = ()
    """What is taken for given, in sentences."""

    def to_json(self) -> dict[str, Any]:
        """Plain values; money as decimal text."""
        return {
            "number": self.number,
            "plan": self.rate.plan,
            "destination": self.rate.destination,
            "seconds": self.seconds,
            "total": format_euro(self.total),
            "next_total": None if self.next_total is None else format_euro(self.next_total),
            "ends": self.ends,
            "assumes": list(self.assumes),
            "max_call_s": self.rate.max_call_s,
            "tariff": {"revision": self.rate.tariff_revision, "digest": self.rate.tariff_digest},
        }


def quote(
    tariff: Tariff,
    plan_name: str,
    number: str,
    start_us: int,
    seconds: int,
    *,
    free_seconds: int | None = None,
) -> Quote | Unpriced:
    """The price of a call of ``seconds`` to ``number``, as typed, begun at ``start_us`` (wall clock).

    ``free_seconds`` are what the bundle of each month that it touches has left, by default all of it. Credit
    always suffices. Where the plan's longest call is shorter, the quote is for the part before.
    """
    rate = find_rate(tariff, plan_name, number, start_us)
    if isinstance(rate, Unpriced):
        return rate
    bundles = _bundles(tariff, rate, start_us, free_seconds, seconds)
    funding = plan(rate, start_us, (), Pools(AMOUNT_MAX, bundles), seconds).funding
    normal = tariff.normalise(number) or number
    return quote_funding(rate, normal, start_us, seconds, funding, _assumed(bundles))


def quote_funding(
    rate: Rate, number: str, start_us: int, seconds: int, funding: Funding, assumes: tuple[str, ...] = ()
) -> Quote:
    """The explanation of what a call with this funding costs."""
    counted = tuple(runs(rate, start_us, funding))
    lines = tuple(map(_line, counted))
    total = charge(rate, start_us, funding)
    fee = next((run.regime.connect_fee for run in counted if brings_fee(rate, run)), 0)
    subtotal = fee + sum((line.amount for line in lines), Fraction())
    clamped = subtotal
    if any(line.credit_s for line in lines):
        clamped = max(subtotal, Fraction(rate.min_charge))
    if rate.max_cost is not None:
        clamped = min(clamped, Fraction(rate.max_cost))
    gross = clamped * (10_000 + rate.vat_added) / 10_000
    return Quote(number, rate, start_us, seconds, funding, lines, subtotal, clamped, gross, total, fee, assumes)


def limit(
    tariff: Tariff,
    plan_name: str,
    number: str,
    start_us: int,
    credit: int,
    *,
    free_seconds: int | None = None,
) -> Limit | Unpriced:
    """How long a call to ``number`` can last on ``credit`` micro-euro and ``free_seconds``, which are as in
    :func:`quote`. The plan's credit for a day is a limit too, as on a day without other calls."""
    rate = find_rate(tariff, plan_name, number, start_us)
    if isinstance(rate, Unpriced):
        return rate
    bundles = _bundles(tariff, rate, start_us, free_seconds, rate.max_call_s)
    cap = tariff.plans[plan_name].max_credit_per_day
    money = credit if cap is None else min(credit, cap)
    found = plan(rate, start_us, (), Pools(money, bundles), rate.max_call_s)
    if found.funding and only_rounding_pays(rate, start_us, found.funding, credit):
        found = replace(found, funding=(), covered_s=0, credit=0, short=True)
    further = None
    ends = "max_call"
    if found.at_maximum:
        ends = "max_cost"
    elif found.short:
        ends = "money" if money == credit else "day_limit"
        further = plan(rate, start_us, (), Pools(AMOUNT_MAX, bundles), found.covered_s + 1).credit
    assumes = _assumed(bundles) if cap is None else (*_assumed(bundles), f"credit a day: {format_euro(cap)}, unused")
    return Limit(tariff.normalise(number) or number, rate, found.covered_s, found.credit, further, ends, assumes)


def find_rate(
    tariff: Tariff, plan_name: str, number: str, start_us: int, held: Mapping[str, PackTerms] = {}
) -> Rate | Unpriced:
    """The rate of a number as typed; ``held``: the packs of who would call (`Tariff.rate_for`)."""
    normal = tariff.normalise(number)
    if normal is None:
        return Unpriced(number, "not_a_number")
    rate = tariff.rate_for(plan_name, normal, start_us, held)
    return Unpriced(number, rate.value) if isinstance(rate, Refusal) else rate


def exact_euro(micro: Fraction) -> str:
    """Euros with all their decimals; ``…`` after twelve of them where they do not end."""
    whole, rest = divmod(micro, MICRO)
    digits = int(rest * 10**6)
    text = f"{whole}.{digits:012d}".rstrip("0")
    decimals = len(text) - text.index(".") - 1
    return text + "…" if rest * 10**6 != digits else text + "0" * max(0, 2 - decimals)


def _decimal(micro: Fraction) -> str:
    """Euros as a decimal number for programs, cut after twelve decimals if there are more."""
    return exact_euro(micro).rstrip("…")


def _bundles(tariff: Tariff, rate: Rate, start_us: int, free_seconds: int | None, seconds: int) -> dict[str, int]:
    """The free seconds of each month that the call touches."""
    if not rate.free_minutes:
        return {}
    left = tariff.plans[rate.plan].free_seconds if free_seconds is None else free_seconds
    ends_us = (start_us, start_us + min(seconds, rate.max_call_s) * MICROSECONDS)
    return {bundle_of(tariff.month_of(wall_us)): left for wall_us in ends_us} if left else {}


def _assumed(bundles: Mapping[str, int]) -> tuple[str, ...]:
    return tuple(
        f"free seconds of {source.removeprefix('bundle:')}: {left}" for source, left in sorted(bundles.items())
    )


def _line(run: Run) -> Line:
    step = run.regime.step
    return Line(
        from_s=run.start_s,
        to_s=run.start_s + run.increments * run.increment_s,
        increments=run.increments,
        increment_s=run.increment_s,
        source=run.source,
        band=run.regime.band,
        price=step.price,
        unit_s=step.unit_s,
        free_s=run.free_s,
        credit_s=run.credit_s,
        amount=Fraction(step.price * run.credit_s, step.unit_s),
    )


def _line_text(line: Line) -> str:
    band = f", {line.band}" if line.band else ""
    head = f"{line.from_s}–{line.to_s} s: {line.increments} × {line.increment_s} s{band}"
    per = "minute" if line.unit_s == 60 else f"{line.unit_s} s"
    paid = f"{line.credit_s} s at {format_euro(line.price)} a {per} = {exact_euro(line.amount)}"
    if line.source == CREDIT:
        return f"{head}, {paid}"
    free = f"{head}, {line.free_s} s free ({line.source})"
    return f"{free}, the rest {paid}" if line.credit_s else free
