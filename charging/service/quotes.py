"""What a call would cost and how long money would last: the tariff's answers, for a plan or for an account as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from charging.call.forecast import (
    Caller,
    at_another_time,
    credit_used,
    forecast,
    free_seconds_used,
    funding_of,
    with_free_seconds,
)
from charging.call.model import Short
from charging.call.pieces import allowance
from charging.clock import Clock
from charging.ledger.balances import is_money
from charging.ledger.given_packs import GivenPacks
from charging.ledger.model import CREDIT, Balance
from charging.ledger.port import Store
from charging.pricing.packs import PAGES, shares
from charging.service.refusal import Code, Refused, unknown_account
from charging.tariff.numbering import expected
from charging.tariff.tariff import Refusal, Tariff
from charging.whatif.quote import Limit, Quote, Unpriced, find_rate, limit, quote, quote_funding

CALL_SECONDS_MAX = 1_000_000
FAX_PAGES_MAX = 10_000
NO_FAX_PRICE = "give it a fax_page: its destination, its table, or the deck's row (docs/tariff.md)"


@dataclass(frozen=True, slots=True)
class Asked:
    """The call or fax to be priced: of an account, with what it has, or under a plan."""

    number: str
    """As typed."""
    account: str | None = None
    plan: str | None = None
    at_us: int | None = None
    """When it is answered, wall clock; ``None``: now."""
    free_seconds: int | None = None
    """Left of each month that the call touches; ``None``: what the account has left of each, or all that the plan
    gives."""


@dataclass(frozen=True, slots=True)
class FaxQuote:
    """The price of a fax, without sending it."""

    number: str
    plan: str
    pages: int
    page_price: int
    """Micro-euro, VAT included."""
    revision: str
    digest: str
    free: Mapping[str, int] = field(default_factory=dict)
    """Pages that cost nothing, by balance: all that the plan gives in the month, or what the account has left."""

    @property
    def free_pages(self) -> int:
        """Of the pages."""
        return sum(self.free.values())

    @property
    def total(self) -> int:
        """Micro-euro of all pages that are not free."""
        return (self.pages - self.free_pages) * self.page_price


class Quotes:
    """Prices calls and faxes without making them."""

    def __init__(self, store: Store, tariff: Callable[[], Tariff], clock: Clock) -> None:
        self._store = store
        self._packs = GivenPacks(store.documents)
        self._tariff = tariff
        self._clock = clock

    async def quote(self, asked: Asked, seconds: int) -> Quote | Refused:
        """What a call of so many seconds would cost, had its payer all the credit that it needs."""
        if not 0 <= seconds <= CALL_SECONDS_MAX:
            return Refused(Code.INVALID, f"found {seconds} seconds, expected 0 to {CALL_SECONDS_MAX}")
        if (wrong := _misasked(asked)) is not None:
            return wrong
        tariff, at_us = self._tariff(), self._at(asked)
        if asked.account is None:
            plan = asked.plan or ""
            found = quote(tariff, plan, asked.number, at_us, seconds, free_seconds=asked.free_seconds)
            return _no_price(found, plan, tariff) if isinstance(found, Unpriced) else found
        known = await self._caller(asked, asked.account, tariff, at_us)
        if isinstance(known, Refused):
            return known
        caller, balances = known
        funding, rate = funding_of(caller, balances, at_us, seconds)
        assumes = free_seconds_used(caller, balances, at_us, min(seconds, rate.max_call_s))
        return quote_funding(rate, caller.target, at_us, seconds, funding, assumes)

    async def limit(self, asked: Asked, credit: int | None) -> Limit | Refused:
        """How long a call can last on ``credit`` micro-euro; ``None``: on what the account has available."""
        if (wrong := _misasked(asked)) is not None:
            return wrong
        if credit is not None and credit < 0:
            return Refused(Code.INVALID, "expected an amount of at least 0.00")
        tariff, at_us = self._tariff(), self._at(asked)
        if asked.account is None:
            if credit is None:
                return Refused(Code.INVALID, "expected an amount, since no account is named")
            plan = asked.plan or ""
            found = limit(tariff, plan, asked.number, at_us, credit, free_seconds=asked.free_seconds)
            return _no_price(found, plan, tariff) if isinstance(found, Unpriced) else found
        known = await self._caller(asked, asked.account, tariff, at_us)
        if isinstance(known, Refused):
            return known
        caller, balances = known
        if credit is not None:
            balances = {key: one for key, one in balances.items() if not is_money(key)} | {CREDIT: Balance(credit)}
        ours = await self._store.directory.number(caller.target) is not None
        told = forecast(caller, balances, at_us, target_is_ours=ours)
        assumes = (
            *free_seconds_used(caller, balances, at_us, caller.rate.max_call_s),
            *credit_used(caller, balances, at_us, now=asked.at_us is None),
        )
        ends = _ENDS[told.ends] if told.refused is None else told.refused.value
        return Limit(caller.target, caller.rate, told.seconds, told.total, told.next_total, ends, assumes)

    async def fax(self, asked: Asked, pages: int) -> FaxQuote | Refused:
        """What a fax of so many pages would cost, were each of them delivered (R3)."""
        if not 1 <= pages <= FAX_PAGES_MAX:
            return Refused(Code.INVALID, f"found {pages} pages, expected 1 to {FAX_PAGES_MAX}")
        if (wrong := _misasked(asked)) is not None:
            return wrong
        tariff, plan, at_us = self._tariff(), asked.plan or "", self._at(asked)
        balances: Mapping[str, Balance] = {}
        if asked.account is not None:
            if (stored := await self._store.directory.account(asked.account)) is None:
                return unknown_account(asked.account)
            plan, balances = stored.plan, await self._store.balances(asked.account)
            if asked.at_us is not None:
                balances = at_another_time(balances)
        number = tariff.normalise(asked.number)
        if number is None or not number.startswith("+"):  # no fax goes to a short code
            return _no_price(Unpriced(asked.number, "not_a_number"), plan, tariff)
        if tariff.plan(plan) is None:
            return _no_price(Unpriced(number, "unknown_plan"), plan, tariff)
        price = tariff.fax_page_for(plan, number, at_us)
        if price is Refusal.NOT_COVERED:
            message = f"the tariff has no fax price for {number} ({price.value})"
            return Refused(Code.NOT_ALLOWED, message, NO_FAX_PRICE)
        if isinstance(price, Refusal):
            return _no_price(Unpriced(number, price.value), plan, tariff)
        held = await self._packs.held(tariff.terms, balances)
        free = shares(pages, allowance(tariff, plan, PAGES, at_us, number, held=held).pools(balances))
        return FaxQuote(number, plan, pages, price, tariff.revision, tariff.digest, free)

    def _at(self, asked: Asked) -> int:
        return self._clock.now().wall_us if asked.at_us is None else asked.at_us

    async def _caller(
        self, asked: Asked, account: str, tariff: Tariff, at_us: int
    ) -> tuple[Caller, Mapping[str, Balance]] | Refused:
        """Who would call at what price, and what there would be to pay it."""
        stored = await self._store.directory.account(account)
        if stored is None:
            return unknown_account(account)
        plan = tariff.plan(stored.plan)
        balances = await self._store.balances(account)
        held = await self._packs.held(tariff.terms, balances)
        rate = find_rate(tariff, stored.plan, asked.number, at_us, held)
        if isinstance(rate, Unpriced) or plan is None:
            unpriced = rate if isinstance(rate, Unpriced) else Unpriced(asked.number, "unknown_plan")
            return _no_price(unpriced, stored.plan, tariff)
        if asked.at_us is not None:
            balances = at_another_time(balances)
        if asked.free_seconds is not None:
            balances = with_free_seconds(balances, rate, at_us, asked.free_seconds)
        return Caller(stored, plan, tariff.normalise(asked.number) or asked.number, rate), balances


_ENDS = {
    Short.MONEY: "money",
    Short.DAY: "day_limit",
    Short.CAP: "max_call",
    Short.COST: "max_cost",
    Short.NO: "max_call",
}


def _misasked(asked: Asked) -> Refused | None:
    if (asked.account is None) == (asked.plan is None):
        return Refused(Code.INVALID, "expected one of account and plan")
    return None


def _no_price(unpriced: Unpriced, plan: str, tariff: Tariff) -> Refused:
    match unpriced.reason:
        case "not_a_number":
            wanted = expected(unpriced.number, tariff.region)
            return Refused(Code.INVALID, f"found {unpriced.number[:40]!r}, expected {wanted}")
        case "unknown_plan":
            return Refused(Code.INVALID, f"found plan {plan[:80]!r}, expected one of " + ", ".join(tariff.plans))
        case reason:
            message = f"the tariff has no price for {unpriced.number[:40]!r} ({reason})"
            return Refused(Code.NOT_ALLOWED, message, "the tariff's destinations say why")
