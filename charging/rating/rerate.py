"""Calls of the past under a tariff: what each plan would have paid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from charging.money import AMOUNT_MAX, format_euro, parse_euro
from charging.rating.calendar import MICROSECONDS
from charging.rating.funding import Pools, bundle_of, bundle_use, plan
from charging.rating.rate import Rate
from charging.rating.tariff import Refusal, Tariff

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class PastCall(NamedTuple):
    """What a CDR tells of a forwarded call."""

    account: str
    plan: str
    number: str
    """Normalised."""
    start_us: int
    """Wall clock at its answer."""
    seconds: int
    """Billed."""
    paid: int
    """Micro-euro of credit."""


def past_call(cdr: Mapping[str, Any]) -> PastCall | None:
    """The call that a CDR's JSON tells of; ``None`` when it was not answered. Raises ``KeyError`` or
    ``ValueError`` for what is no CDR."""
    if cdr["answered"] is None:
        return None
    answered = datetime.fromisoformat(cdr["answered"])
    return PastCall(
        account=cdr["account"],
        plan=cdr["plan"],
        number=cdr["target"],
        start_us=(answered - _EPOCH) // timedelta(microseconds=1),
        seconds=int(cdr["billed_s"]),
        paid=parse_euro(cdr["cost"]),
    )


@dataclass(slots=True)
class PlanTotal:
    """One plan's calls, as they were and as they would have been."""

    plan: str
    calls: int = 0
    seconds: int = 0
    paid: int = 0
    """Micro-euro, as the CDRs say."""
    would_pay: int = 0
    """Micro-euro under the tariff, without the calls that it refuses."""
    free_s: int = 0
    """Seconds that its bundles would have paid."""
    refused: int = 0
    """Calls that it would not have forwarded."""
    cut: int = 0
    """Calls longer than it lets a call be."""

    def to_json(self) -> dict[str, Any]:
        """Plain values; money as decimal text."""
        money = {key: format_euro(getattr(self, key)) for key in ("paid", "would_pay")}
        return asdict(self) | money | {"difference": format_euro(self.would_pay - self.paid)}


def rerate(tariff: Tariff, calls: Iterable[PastCall]) -> tuple[PlanTotal, ...]:
    """Totals by plan, of ``calls`` in any order.

    Each account's free seconds of a month are used in the order in which its calls began; credit is taken as
    enough. Of calls at the same time the earlier one is reckoned first, whole: who shared free minutes between
    them may differ by seconds from what was charged live.
    """
    totals: dict[str, PlanTotal] = {}
    used: dict[tuple[str, str], int] = {}
    for call in sorted(calls, key=lambda one: one.start_us):
        total = totals.setdefault(call.plan, PlanTotal(call.plan))
        total.calls += 1
        total.seconds += call.seconds
        total.paid += call.paid
        rate = tariff.rate_for(call.plan, call.number, call.start_us)
        if isinstance(rate, Refusal):
            total.refused += 1
        else:
            _add(tariff, rate, call, total, used)
    return tuple(totals[name] for name in sorted(totals))


def _add(tariff: Tariff, rate: Rate, call: PastCall, total: PlanTotal, used: dict[tuple[str, str], int]) -> None:
    months = {tariff.month_of(call.start_us + seconds * MICROSECONDS) for seconds in (0, call.seconds)}
    sources = [bundle_of(month) for month in months]
    free = tariff.plans[call.plan].free_seconds
    left = {source: free - used.get((call.account, source), 0) for source in sources}
    planned = plan(rate, call.start_us, (), Pools(AMOUNT_MAX, left), call.seconds)
    for source, seconds in bundle_use(planned.funding).items():
        used[call.account, source] = used.get((call.account, source), 0) + seconds
        total.free_s += seconds
    total.would_pay += planned.credit
    total.cut += call.seconds > rate.max_call_s
