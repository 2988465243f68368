"""Months of free minutes (R11), and of the fax pages and messages that plans include: what is left of a past one
expires, and what a change of plan within one means.

A bundle comes into being with its first use (`charging.ledger.balances`), as large as the plan says then. Decided:

- **Unused seconds expire** when the month has ended in the operator's zone and no open session holds any of them: a
  call over midnight on the last day goes on paying its seconds of the old month with the old month's.
- **An upgrade** in mid-month grants the difference at once. Where that was missed (the daemon was killed between the
  edit and the grant, or an older plan's call made the bundle), the account's next call grants it in the operation that
  opens the call, and the nightly round does too.
- **A downgrade** takes nothing: what was granted stays until the month ends. What the old plan had still to grant (all
  of it, before the month's first call) is granted before the edit is stored: a daemon that is killed between the two
  has taken nothing and changed nothing. So a month's bundle is the most that any plan of that month gave, however
  often the plan changed; going back and forth earns nothing.
- **The rules** (destinations, increments) of a bundle are those of the plan that granted it, whatever the account's
  plan is by now (`charging.ledger.balances.ruled_by`), as the tariff had them then; of several, of the one that gave
  most. So minutes that are left after a downgrade, or an edit, pay what they would have paid before it, and no more.
- A call that was running at the change goes on with the rules it began with, but shares the larger bundle.
- **A call over midnight** on the last day grants the new month only what it uses itself. The rest comes with the next
  call or the nightly round, by the plan of then: whoever leaves a plan during a call has none of its next month.
- **An edit of the tariff** that gives a plan more is like an upgrade of its accounts, each with its next call or night;
  one that gives less takes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from charging.clock import Clock
from charging.ledger.accounts import Account, Status
from charging.ledger.balances import SECONDS, bundle, due_grant
from charging.ledger.given_packs import GivenPacks
from charging.ledger.model import Balance, Kind, Leg, Outcome, Transfer
from charging.ledger.port import Store
from charging.pricing.packs import SORTS as PIECES
from charging.tariff.plans import Plan
from charging.tariff.tariff import Tariff

BUNDLE = "bundle:"
_SORTS = "|".join(PIECES)
_DATED = re.compile(rf"(?:day|unpaid|bundle|promo|pack|{_SORTS}|(?:granted|plan)(?:-(?:{_SORTS}))?):(\d{{4}}-\d{{2}})")
_OF_MONTH = re.compile(rf"(?:bundle|{_SORTS}):(\d{{4}}-\d{{2}})")
TRIES_MAX = 5
"""Times that an upgrade is looked at again because another one came between."""


def past_months(balances: Mapping[str, Balance], month: str) -> list[str]:
    """The balances of free seconds and pieces of months before ``month`` of which something is left, oldest first."""
    there = ((_OF_MONTH.fullmatch(key), key) for key, one in balances.items() if one.posted > 0)
    return [key for _, key in sorted((found[1], key) for found, key in there if found is not None and found[1] < month)]


def counters_before(balances: Mapping[str, Balance], month: str) -> list[str]:
    """The balances of days and months before ``month`` that nothing is reserved of, in order."""
    dated = ((_DATED.match(name), name) for name, one in balances.items() if not one.reserved)
    return sorted(name for found, name in dated if found is not None and found[1] < month)


def closing(account: str, balances: Mapping[str, Balance], names: Sequence[str], at_us: int, attempt: int) -> Transfer:
    """The transfer that brings the named balances, up to LEGS_MAX, to zero; ``attempt`` as for credit. They only count
    what is over: nothing of value is among them."""
    legs = tuple(Leg(name, -balances[name].posted) for name in names)
    id = f"close/{names[0]}" if attempt == 1 else f"close/{names[0]}/{attempt}"
    return Transfer(id, account, Kind.EXPIRE, at_us, legs, reason="long_over")


def gives_of(plan: Plan) -> list[tuple[str, int]]:
    """What a plan gives each month: of free seconds, and of each sort of pieces."""
    return [(SECONDS, plan.free_seconds), *((sort, plan.includes(sort)) for sort in PIECES)]


class Months:
    """Raises bundles to what plans promise, or promised."""

    def __init__(self, store: Store, tariff: Callable[[], Tariff], clock: Clock) -> None:
        self._store = store
        self._tariff = tariff
        self._clock = clock
        self._packs = GivenPacks(store.documents)

    async def raise_to_plan(self, account: str) -> int:
        """Grant what this month's bundles, where they exist, lack of what the account's plan gives; how many seconds.
        Doing it again grants nothing more. Raises LedgerError."""
        seconds = 0
        for _ in range(TRIES_MAX):
            stored = await self._store.directory.account(account)
            transfer = None if stored is None else self.due(stored, await self._store.balances(account))
            if stored is None or transfer is None:
                break
            await self._keep_rules(stored.plan)
            created = (await self._store.apply(transfer)).outcome is Outcome.CREATED
            if created and transfer.legs[0].balance.startswith(BUNDLE):
                seconds += transfer.legs[0].posted
        return seconds

    async def keep(self, before: Account, after: Account) -> None:
        """To be done before an edit is stored: where the new plan gives less, grant what the old one has still to
        grant. Doing it again grants nothing more. Raises LedgerError."""
        tariff, now_us = self._tariff(), self._clock.now().wall_us
        old, new = tariff.plan(before.plan), tariff.plan(after.plan)
        if old is None or new is None:
            return
        month = tariff.month_of(now_us)
        await self._keep_rules(old.name)
        for sort, gives in gives_of(old):
            if dict(gives_of(new))[sort] >= gives:
                continue
            for _ in range(TRIES_MAX):
                balances = await self._store.balances(before.id)
                plan = tariff.granted_as(old.name, _pieces(sort))
                transfer = due_grant(before.id, month, balances, gives, now_us, plan, sort)
                if transfer is None or (await self._store.apply(transfer)).outcome is Outcome.CREATED:
                    break

    def due(self, account: Account, balances: Mapping[str, Balance]) -> Transfer | None:
        """The first grant that one of this month's bundles, where it exists, lacks; a closed account is granted nothing
        more."""
        tariff, now_us = self._tariff(), self._clock.now().wall_us
        month, plan = tariff.month_of(now_us), tariff.plan(account.plan)
        if plan is None or account.status is Status.CLOSED:
            return None
        there = ((sort, gives) for sort, gives in gives_of(plan) if bundle(month, sort) in balances)
        grants = (
            due_grant(account.id, month, balances, gives, now_us, tariff.granted_as(plan.name, _pieces(sort)), sort)
            for sort, gives in there
        )
        return next((one for one in grants if one is not None), None)

    async def _keep_rules(self, plan: str) -> None:
        for sort in ("", *PIECES):
            await self._packs.keep_monthly(self._tariff().monthly_terms(plan, sort))


def _pieces(sort: str) -> str:
    """Of what gives pieces, which; empty: it gives seconds."""
    return "" if sort == SECONDS else sort
