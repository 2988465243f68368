"""What an account has left, at any time, running calls included (R5)."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from charging.clock import Clock
from charging.ledger.accounts import Account, Status
from charging.ledger.balances import PROMO, bundle, left, usable
from charging.ledger.model import CREDIT, Balance, Snapshot
from charging.ledger.port import Store
from charging.pricing.packs import PACK, SORTS, is_pack, last_day_of, name_of, sort_of
from charging.service.live import Calls, CallView
from charging.service.refusal import Refused, unknown_account
from charging.tariff.plans import Plan
from charging.tariff.tariff import Tariff


@dataclass(frozen=True, slots=True)
class CreditView:
    """Micro-euro."""

    posted: int
    reserved: int
    available: int
    """What further calls may reserve."""
    now: int
    """Posted, less what running calls have used since their last tick: what the customer still has."""


@dataclass(frozen=True, slots=True)
class PromotionView(CreditView):
    """Promotional credit of one end."""

    last_day: str
    """``YYYY-MM-DD`` in the operator's zone."""


@dataclass(frozen=True, slots=True)
class FreeSecondsView:
    """The free seconds of the present month."""

    month: str
    """``YYYY-MM`` in the operator's zone."""
    granted: bool
    """``False``: the month's bundle comes into being with its first use; these are its figures then."""
    posted: int
    reserved: int
    left: int
    """Posted less reserved: what further calls may use."""
    now: int
    """Posted, less what running calls have used since their last tick."""


@dataclass(frozen=True, slots=True)
class PackView:
    """Seconds of a pack that end on one day."""

    pack: str
    """Its name in the tariff."""
    title: str
    """What customers call it; its name where the tariff has it no more, and it pays nothing."""
    last_day: str
    """``YYYY-MM-DD`` in the operator's zone."""
    posted: int
    reserved: int
    left: int
    now: int
    """As of the month's."""


@dataclass(frozen=True, slots=True)
class PiecesView:
    """Free fax pages or messages that end on one day."""

    sort: str
    """PAGES or MESSAGES."""
    pack: str
    """Its name in the tariff; empty: those that the plan gives this month."""
    title: str
    """What customers call the pack, or the plan."""
    last_day: str
    """``YYYY-MM-DD`` in the operator's zone."""
    posted: int
    reserved: int
    left: int
    """Posted less reserved: what further ones may use."""


@dataclass(frozen=True, slots=True)
class BalanceView:
    """Everything that R5 promises to show."""

    account: Account
    credit: CreditView
    promotions: tuple[PromotionView, ...]
    """Those that can be spent, or are held by calls that began before their end; in the order in which they pay."""
    free: FreeSecondsView
    packs: tuple[PackView, ...]
    """Those that have not ended, or are held by a call, by their end."""
    pieces: tuple[PiecesView, ...]
    """This month's, and those of packs that have not ended or are held."""
    calls: tuple[CallView, ...]


@dataclass(frozen=True, slots=True)
class Stored:
    """What the ledger has of an account."""

    account: Account
    snapshot: Snapshot


class Balances:
    """Looks at balances; changes none."""

    def __init__(self, store: Store, tariff: Callable[[], Tariff], clock: Clock, calls: Calls) -> None:
        self._store = store
        self._tariff = tariff
        self._clock = clock
        self._calls = calls

    async def view(self, account: str) -> BalanceView | Refused:
        """What the account has now. Raises LedgerError."""
        stored = await self.stored(account)
        return stored if isinstance(stored, Refused) else self.view_of(stored)

    async def stored(self, account: str) -> Stored | Refused:
        """What the ledger has of it now. Raises LedgerError."""
        found = await self._store.directory.account(account)
        return unknown_account(account) if found is None else Stored(found, await self._store.snapshot(account))

    def view_of(self, stored: Stored) -> BalanceView:
        """What that is worth now."""
        account, balances = stored.account, stored.snapshot.balances
        calls = self._calls.views_of(stored.snapshot.sessions)
        tariff = self._tariff()
        # A closed account is granted nothing any more: what stands in no balance yet never comes.
        plan = None if account.status is Status.CLOSED else tariff.plan(account.plan)
        now_us = self._clock.now().wall_us
        month, today = tariff.month_of(now_us), tariff.day_of(now_us).isoformat()
        free_seconds = plan.free_seconds if plan is not None else 0
        free = _free_view(month, free_seconds, balances, calls)
        credit = CreditView(*_credit_now(CREDIT, balances, calls))
        return BalanceView(
            account,
            credit,
            _promotion_views(today, balances, calls),
            free,
            _pack_views(tariff, today, balances, calls),
            _pieces_views(tariff, plan, now_us, balances),
            tuple(calls),
        )

    def follows_from(self, stored: Stored) -> tuple[object, ...] | None:
        """All that the view of ``stored`` follows from: where that is equal, so is the view. ``None``: a call runs, so
        it is another one at each moment."""
        if stored.snapshot.sessions:
            return None
        tariff = self._tariff()
        return stored.account, stored.snapshot.balances, tariff, tariff.day_of(self._clock.now().wall_us)


def _pack_views(
    tariff: Tariff, today: str, balances: Mapping[str, Balance], calls: Sequence[CallView]
) -> tuple[PackView, ...]:
    views = []
    for name in sorted(one for one in balances if one.startswith(PACK)):
        balance, pack = balances[name], name_of(name)
        if not balance.posted or (last_day_of(name) < today and not balance.reserved):
            continue
        title = tariff.packs[pack].title if pack in tariff.packs else pack
        running = sum(call.free_unsettled.get(name, 0) for call in calls)
        amounts = balance.posted, balance.reserved, balance.available, max(0, balance.posted - running)
        views.append(PackView(pack, title, last_day_of(name), *amounts))
    return tuple(views)


def _pieces_views(
    tariff: Tariff, plan: Plan | None, now_us: int, balances: Mapping[str, Balance]
) -> tuple[PiecesView, ...]:
    month, today = tariff.month_of(now_us), tariff.day_of(now_us)
    views = []
    for sort in SORTS:
        own = left(balances, month, 0 if plan is None else plan.includes(sort), sort)
        if own.posted:
            last = today.replace(day=monthrange(today.year, today.month)[1]).isoformat()
            title = plan.title if plan is not None else ""
            views.append(PiecesView(sort, "", title, last, own.posted, own.reserved, own.available))
        for name in sorted(one for one in balances if sort_of(one) == sort and is_pack(one)):
            one, pack = balances[name], name_of(name)
            if one.posted and (last_day_of(name) >= today.isoformat() or one.reserved):
                title = tariff.packs[pack].title if pack in tariff.packs else pack
                views.append(PiecesView(sort, pack, title, last_day_of(name), one.posted, one.reserved, one.available))
    return tuple(views)


def _credit_now(name: str, balances: Mapping[str, Balance], calls: Sequence[CallView]) -> tuple[int, int, int, int]:
    credit = balances.get(name, Balance())
    running = sum(call.unsettled_by.get(name, 0) for call in calls)
    return credit.posted, credit.reserved, credit.available, max(0, credit.posted - running)


def _promotion_views(
    today: str, balances: Mapping[str, Balance], calls: Sequence[CallView]
) -> tuple[PromotionView, ...]:
    names = sorted(
        {*usable(balances, today), *(name for name in balances if name.startswith(PROMO) and balances[name].reserved)}
    )
    return tuple(PromotionView(*_credit_now(name, balances, calls), name.removeprefix(PROMO)) for name in names)


def _free_view(
    month: str, free_seconds: int, balances: Mapping[str, Balance], calls: Sequence[CallView]
) -> FreeSecondsView:
    key = bundle(month)
    balance = left(balances, month, free_seconds)
    running = sum(call.free_unsettled.get(key, 0) for call in calls)
    left_now = max(0, balance.posted - running)
    return FreeSecondsView(month, key in balances, balance.posted, balance.reserved, balance.available, left_now)
