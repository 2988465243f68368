"""Prices past calls, messages and faxes again under another tariff: what each plan would have paid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from charging.clock import MICROSECONDS
from charging.pricing.funding import Pools, plan
from charging.pricing.money import AMOUNT_MAX, format_euro
from charging.pricing.packs import MESSAGES, PAGES, PackTerms, edition_of, name_of, shares
from charging.pricing.rate import bundle_of, bundle_use
from charging.tariff.tariff import Refusal, Tariff
from charging.whatif.past import Past, PastCall, PastFax, PastMessage


@dataclass(slots=True)
class PlanTotal:
    """What one plan's subscribers did, as it was paid and as it would have been."""

    plan: str
    calls: int = 0
    """Forwarded and answered."""
    seconds: int = 0
    messages: int = 0
    """Left in voicemail that was paid."""
    pages: int = 0
    """Sent by fax."""
    paid: int = 0
    """Micro-euro, as the CDRs say."""
    would_pay: int = 0
    """Micro-euro under the tariff, without what it refuses."""
    free_s: int = 0
    """Seconds that its bundles would have paid."""
    refused: int = 0
    """Calls and faxes that it would not have let through."""
    cut: int = 0
    """Calls longer than it lets a call be."""

    def to_json(self) -> dict[str, Any]:
        """Plain values; money as decimal text."""
        money = {key: format_euro(getattr(self, key)) for key in ("paid", "would_pay")}
        return asdict(self) | money | {"difference": format_euro(self.would_pay - self.paid)}


def rerate(tariff: Tariff, past: Iterable[Past], paid_voicemail: Mapping[str, bool | None]) -> tuple[PlanTotal, ...]:
    """Totals by plan. ``past`` may be in any order. ``paid_voicemail`` holds the numbers' own settings, which CDRs do
    not have; other numbers follow their plan.

    An account's free seconds of a month are used in the order in which its calls began. A pack pays no more of a call
    than it paid then. Credit is assumed to suffice. If calls ran at the same time, the earlier one is priced first and
    whole: if they shared free minutes, the result may differ by seconds from what was charged live.
    """
    again = _Again(tariff, paid_voicemail)
    for one in sorted(past, key=lambda one: one.start_us):
        again.add(one)
    return tuple(again.totals[name] for name in sorted(again.totals))


class _Again:
    """The state of one :func:`rerate`."""

    def __init__(self, tariff: Tariff, paid_voicemail: Mapping[str, bool | None]) -> None:
        self.totals: dict[str, PlanTotal] = {}
        self._tariff = tariff
        self._paid_voicemail = paid_voicemail
        self._used: dict[tuple[str, str], int] = {}
        """Free seconds, and pieces, of months, by account and bundle."""

    def add(self, past: Past) -> None:
        """Count it, and price it."""
        total = self.totals.setdefault(past.plan, PlanTotal(past.plan))
        total.paid += past.paid
        match past:
            case PastCall():
                total.calls += 1
                total.seconds += past.seconds
                self._call(past, total)
            case PastMessage():
                total.messages += past.messages
                own = self._paid_voicemail.get(past.number)
                bought = self._tariff.plan(past.plan)
                if bought is not None and bought.charges_voicemail(own):
                    count = past.messages - self._free(past, MESSAGES, past.messages)
                    total.would_pay += count * self._tariff.message_price(bought, past.start_us)
            case PastFax():
                total.pages += past.pages
                price = self._tariff.fax_page_for(past.plan, past.number, past.start_us)
                if isinstance(price, Refusal):
                    total.refused += 1
                else:
                    total.would_pay += (past.pages - self._free(past, PAGES, past.pages)) * price

    def _free(self, past: PastMessage | PastFax, sort: str, count: int) -> int:
        """How many of the pieces cost nothing: the month's own, one after the other, and what packs have paid."""
        plan = self._tariff.plans[past.plan]
        rules = self._tariff.piece_rules(sort, past.number, self._as_given(past, sort))
        month = f"{sort}:{self._tariff.month_of(past.start_us)}"
        left = plan.includes(sort) - self._used.get((past.account, month), 0) if rules.plans.get(past.plan) else 0
        packs = {name: pages for name, pages in past.packs.items() if edition_of(name) in rules.packs}
        order = sorted({**packs, month: left}, key=rules.paying_order)
        used = shares(count, {name: packs.get(name, left) for name in order})
        if month in used:
            self._used[past.account, month] = self._used.get((past.account, month), 0) + used[month]
        return sum(used.values())

    def _as_given(self, past: Past, sort: str = "") -> dict[str, PackTerms]:
        """The rules of the packs that have paid, by edition: what was given before pays what it has paid, whatever the
        tariff says now. The order and the increment of an edition that is not the tariff's are those of its name."""
        found: dict[str, PackTerms] = {}
        for edition in {edition_of(source) for source in past.packs if "." in edition_of(source)}:
            today = self._tariff.terms.get(name_of(edition), PackTerms(name_of(edition), sort=sort))
            found[edition] = replace(today, sort=sort, destinations=None)
        return found

    def _call(self, call: PastCall, total: PlanTotal) -> None:
        rate = self._tariff.rate_for(call.plan, call.number, call.start_us, self._as_given(call))
        if isinstance(rate, Refusal):
            total.refused += 1
            return
        last_s = min(call.seconds, rate.max_call_s)
        months = {self._tariff.month_of(call.start_us + seconds * MICROSECONDS) for seconds in (0, last_s)}
        sources = [bundle_of(month) for month in months]
        free = self._tariff.plans[call.plan].free_seconds
        left = {source: free - self._used.get((call.account, source), 0) for source in sources}
        # CDRs do not say when a pack was bought: a pack that paid a later call may not have existed at an earlier one.
        packs = {source: seconds for source, seconds in call.packs.items() if rate.pack_rules(source) is not None}
        pools = Pools(AMOUNT_MAX, (left if rate.free_minutes else {}) | packs)
        planned = plan(rate, call.start_us, (), pools, call.seconds)
        for source, seconds in bundle_use(planned.funding).items():
            total.free_s += seconds
            if source in left:
                self._used[call.account, source] = self._used.get((call.account, source), 0) + seconds
        total.would_pay += planned.credit
        total.cut += call.seconds > planned.covered_s
