"""What a call would cost, step by step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from charging.clock import Clock
from charging.ledger.model import bundle
from charging.money import AMOUNT_MAX
from charging.rating.funding import Funding, Pools, Run, charge, plan, runs
from charging.rating.rate import Rate
from charging.rating.tariff import Refusal, Tariff
from charging.service.balance import Balances
from charging.service.refusal import Code, Refused


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked: of an account, with what it has, or of a plan."""

    number: str
    """As typed."""
    seconds: int
    account: str | None = None
    plan: str | None = None
    at_us: int | None = None
    """When the call is answered; ``None``: now."""
    free_seconds: int | None = None
    """Of the month in which it begins; ``None``: what the account has left, and none for a plan."""


@dataclass(frozen=True, slots=True)
class QuoteStep:
    """Increments that begin under the same price and are paid by the same source."""

    from_s: int
    increments: int
    increment_s: int
    source: str
    """``credit``, or the bundle that pays (the first part of) it."""
    free_s: int
    credit_s: int
    price: int
    """Micro-euro per ``unit_s`` seconds."""
    unit_s: int
    band: str
    """The time band's name; empty outside all bands."""


@dataclass(frozen=True, slots=True)
class Quote:
    """The answer, with all that it rests upon."""

    number: str
    """Normalised."""
    rate: Rate
    at_us: int
    seconds: int
    charged_s: int
    """After increments."""
    steps: tuple[QuoteStep, ...]
    connect_fee: int
    """As charged: zero for a call that credit never touches."""
    cost: int
    """Micro-euro of credit, VAT included."""


class Quotes:
    """Prices calls that nobody makes."""

    def __init__(self, tariff: Callable[[], Tariff], clock: Clock, balances: Balances) -> None:
        self._tariff = tariff
        self._clock = clock
        self._balances = balances

    async def quote(self, asked: Asked) -> Quote | Refused:
        """What a call of so many seconds would cost, had the account all the credit that it needs."""
        tariff = self._tariff()
        number = tariff.normalise(asked.number)
        if number is None:
            return Refused(Code.INVALID, f"found {asked.number[:40]!r}, expected a telephone number")
        payer = await self._payer(asked)
        if isinstance(payer, Refused):
            return payer
        plan_name, free_seconds = payer
        at_us = self._clock.now().wall_us if asked.at_us is None else asked.at_us
        rate = tariff.rate_for(plan_name, number, at_us)
        if isinstance(rate, Refusal):
            return _no_rate(rate, plan_name, number, tariff)
        if not 0 <= asked.seconds <= rate.max_call_s:
            limit = f"expected 0 to {rate.max_call_s} seconds, the plan's longest call"
            return Refused(Code.INVALID, f"found {asked.seconds}, {limit}")
        pools = Pools(AMOUNT_MAX, {bundle(tariff.month_of(at_us)): free_seconds})
        return explain(number, rate, at_us, plan(rate, at_us, (), pools, asked.seconds).funding, asked.seconds)

    async def _payer(self, asked: Asked) -> tuple[str, int] | Refused:
        """The plan's name, and the free seconds to go first."""
        if (asked.account is None) == (asked.plan is None):
            return Refused(Code.INVALID, "expected one of account and plan")
        if asked.account is None:
            return asked.plan or "", asked.free_seconds or 0
        view = await self._balances.view(asked.account)
        if isinstance(view, Refused):
            return view
        return view.account.plan, view.free.left if asked.free_seconds is None else asked.free_seconds


def explain(number: str, rate: Rate, at_us: int, funding: Funding, seconds: int) -> Quote:
    """The quote of a funding. Pure."""
    steps = tuple(_step(run) for run in runs(rate, at_us, funding))
    touched = any(step.credit_s for step in steps)
    return Quote(
        number=number,
        rate=rate,
        at_us=at_us,
        seconds=seconds,
        charged_s=funding[-1].end_s if funding else 0,
        steps=steps,
        connect_fee=rate.connect_fee if touched else 0,
        cost=charge(rate, at_us, funding),
    )


def _step(run: Run) -> QuoteStep:
    price = run.regime.step
    return QuoteStep(
        run.start_s,
        run.increments,
        run.increment_s,
        run.source,
        run.free_s,
        run.credit_s,
        price.price,
        price.unit_s,
        run.regime.band,
    )


def _no_rate(refusal: Refusal, plan_name: str, number: str, tariff: Tariff) -> Refused:
    if refusal is Refusal.UNKNOWN_PLAN:
        return Refused(Code.INVALID, f"found plan {plan_name[:80]!r}, expected one of " + ", ".join(tariff.plans))
    return Refused(Code.NOT_ALLOWED, f"the tariff has no price for {number} ({refusal})", "see its destinations")
