"""Months of free minutes (R11): what is left of a past one expires, and what a change of plan within one means.

A month's bundle comes into being with its first use (`session.funds.grant`), as large as the plan says then. Decided:

- **Unused seconds expire** when the month has ended in the operator's zone and no open session holds any of them: a
  call over midnight on the last day goes on paying its seconds of the old month with the old month's.
- **An upgrade** in mid-month grants the difference at once, where the bundle exists already (else its first use grants
  all of it). **A downgrade** takes nothing: what was granted stays until the month ends. So a month's bundle
  is the most that any plan of that month gave, however often the plan changed; going back and forth earns nothing.
- A call that was running at the change goes on with the rules it began with, but shares the larger bundle.
- An edit of the tariff in mid-month changes the bundles of the following months only, and those that nobody used yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from charging.clock import Clock
from charging.ledger.model import Balance, JournalLine, Kind, Leg, Outcome, Transfer, bundle
from charging.ledger.port import Store
from charging.rating.tariff import Tariff
from charging.service.expiry import expire

BUNDLE = "bundle:"
TRIES_MAX = 5
"""Times that an upgrade is looked at anew because another one came between."""
PAGE_LINES = 100


def past_months(balances: Mapping[str, Balance], month: str) -> list[str]:
    """The months before ``month`` of whose free seconds something is left, oldest first."""
    ended = (key.removeprefix(BUNDLE) for key, one in balances.items() if key.startswith(BUNDLE) and one.posted > 0)
    return sorted(one for one in ended if one < month)


def bundle_expiry(account: str, month: str, seconds: int, at_us: int, attempt: int) -> Transfer:
    """The transfer that ends what was available of a month's free seconds; ``attempt`` as for credit."""
    key = bundle(month)
    return expire(account, key, key, seconds, at_us, attempt, "month_ended")


def upgrade(account: str, month: str, granted: int, wanted: int, at_us: int) -> Transfer | None:
    """The transfer that raises a bundle of which ``granted`` seconds were granted so far; ``None``: it is large enough.

    Its id is made of what was granted before: of two made at the same time the ledger takes one, and the other's
    maker looks again.
    """
    if granted >= wanted:
        return None
    leg = Leg(bundle(month), wanted - granted)
    return Transfer(f"grant/{month}/after-{granted}", account, Kind.GRANT, at_us, (leg,), reason="plan_changed")


class Months:
    """Raises bundles to what plans promise."""

    def __init__(self, store: Store, tariff: Callable[[], Tariff], clock: Clock) -> None:
        self._store = store
        self._tariff = tariff
        self._clock = clock

    async def raise_to_plan(self, account: str) -> int:
        """Grant what this month's bundle, where it exists, lacks of what the account's plan gives; how many seconds.
        Doing it again grants nothing more. Raises LedgerError."""
        tariff = self._tariff()
        month = tariff.month_of(self._clock.now().wall_us)
        for _ in range(TRIES_MAX):
            stored = await self._store.account(account)
            plan = tariff.plan(stored.plan) if stored is not None else None
            if plan is None or not plan.free_seconds or bundle(month) not in await self._store.balances(account):
                return 0
            granted = await self._granted(account, month)
            transfer = upgrade(account, month, granted, plan.free_seconds, self._clock.now().wall_us)
            if transfer is None:
                return 0
            if (await self._store.apply(transfer)).outcome is Outcome.CREATED:
                return plan.free_seconds - granted
        return 0

    async def _granted(self, account: str, month: str) -> int:
        """Seconds granted in all for a month. Its lines are the newest: the reading ends at its first grant."""
        total, before = 0, None
        while lines := await self._store.journal_page(account, before, PAGE_LINES):
            for line in lines:
                total += _granted_by(line, bundle(month))
                if line.id == f"grant/{month}":
                    return total
            before = lines[-1].number
        return total


def _granted_by(line: JournalLine, key: str) -> int:
    gives = line.kind in (Kind.GRANT, Kind.OPENING)
    return sum(leg.posted for leg in line.legs if leg.balance == key) if gives else 0
