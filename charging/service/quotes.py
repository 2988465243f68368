"""What a call would cost and how long money would last: the tariff's answers, for a plan or for an account as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from charging.clock import Clock
from charging.service.balance import Balances
from charging.service.refusal import Code, Refused
from charging.tariff.tariff import Tariff
from charging.whatif.quote import Limit, Quote, Unpriced, limit, quote

CALL_SECONDS_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class Asked:
    """A call that nobody makes: of an account, with what it has, or under a plan."""

    number: str
    """As typed."""
    account: str | None = None
    plan: str | None = None
    at_us: int | None = None
    """When it is answered, wall clock; ``None``: now."""
    free_seconds: int | None = None
    """Left of the month's bundle; ``None``: what the account has left, or all that the plan gives."""


@dataclass(frozen=True, slots=True)
class _Payer:
    plan: str
    free_seconds: int | None
    credit: int | None
    """Available micro-euro; ``None``: no account is asked for."""
    bundle_plan: str | None = None
    """Whose rules the account's bundle has."""


class Quotes:
    """Prices calls that nobody makes."""

    def __init__(self, tariff: Callable[[], Tariff], clock: Clock, balances: Balances) -> None:
        self._tariff = tariff
        self._clock = clock
        self._balances = balances

    async def quote(self, asked: Asked, seconds: int) -> Quote | Refused:
        """What a call of so many seconds would cost, had its payer all the credit that it needs."""
        payer = await self._payer(asked)
        if isinstance(payer, Refused):
            return payer
        if not 0 <= seconds <= CALL_SECONDS_MAX:
            return Refused(Code.INVALID, f"found {seconds} seconds, expected 0 to {CALL_SECONDS_MAX}")
        tariff = self._tariff()
        found = quote(
            tariff,
            payer.plan,
            asked.number,
            self._at(asked),
            seconds,
            free_seconds=payer.free_seconds,
            bundle_plan=payer.bundle_plan,
        )
        return _no_price(found, payer.plan, tariff) if isinstance(found, Unpriced) else found

    async def limit(self, asked: Asked, credit: int | None) -> Limit | Refused:
        """How long a call can last on ``credit`` micro-euro; ``None``: on what the account has available."""
        payer = await self._payer(asked)
        if isinstance(payer, Refused):
            return payer
        money = payer.credit if credit is None else credit
        if money is None or money < 0:
            return Refused(Code.INVALID, "expected an amount, since no account is named")
        tariff = self._tariff()
        found = limit(
            tariff,
            payer.plan,
            asked.number,
            self._at(asked),
            money,
            free_seconds=payer.free_seconds,
            bundle_plan=payer.bundle_plan,
        )
        return _no_price(found, payer.plan, tariff) if isinstance(found, Unpriced) else found

    def _at(self, asked: Asked) -> int:
        return self._clock.now().wall_us if asked.at_us is None else asked.at_us

    async def _payer(self, asked: Asked) -> _Payer | Refused:
        if (asked.account is None) == (asked.plan is None):
            return Refused(Code.INVALID, "expected one of account and plan")
        if asked.account is None:
            return _Payer(asked.plan or "", asked.free_seconds, None)
        view = await self._balances.view(asked.account)
        if isinstance(view, Refused):
            return view
        left = view.free.left if asked.free_seconds is None else asked.free_seconds
        return _Payer(view.account.plan, left, view.credit.available, view.free.plan)


def _no_price(unpriced: Unpriced, plan: str, tariff: Tariff) -> Refused:
    match unpriced.reason:
        case "not_a_number":
            return Refused(Code.INVALID, f"found {unpriced.number[:40]!r}, expected a telephone number")
        case "unknown_plan":
            return Refused(Code.INVALID, f"found plan {plan[:80]!r}, expected one of " + ", ".join(tariff.plans))
        case reason:
            message = f"the tariff has no price for {unpriced.number[:40]!r} ({reason})"
            return Refused(Code.NOT_ALLOWED, message, "the tariff's destinations say why")
