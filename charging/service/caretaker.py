"""The nightly round: lets old credit and past months' free minutes expire, and grants free minutes of a plan that were
missed (R11, R18, R19). A task of the daemon.

Everything here falls due at midnight in the operator's zone. So each account is looked at once a day, and once when a
daemon starts (it may have been down at midnight). If a running call holds what should expire, the account is looked at
again every REST_S seconds until the call has ended.

**Cheap for a million accounts.** A round reads accounts by pages, one account at a time, and rests after each page:
some 1,000 accounts a second at most, so a million take about a quarter of an hour, with one ledger operation in
flight. An account costs one read of its balances. An account with credit and without a paid subscription also costs a
read of its newest journal lines, back to the last event of R19 (mostly one page). Only postponed accounts are kept in
memory, and calls never wait for the round.

**Nothing twice, nothing reserved.** An expiry's id is made of the day or month, so the journal prevents a second one.
Its leg takes exactly what was available when it was read. If a call has reserved some of that since, the ledger refuses
the transfer, and the account is read again. Balances are read before the events, so credit that is bought in between
either moves the date or is not in the amount. A restart, a second daemon and a lost answer all lead to the same books.

**Nothing by a wrong clock.** An expiry cannot be undone, so there is a round only while the wall clock is believed
(`charging.service.proven_time`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import date, timedelta
from typing import NoReturn

import structlog

from charging.call.storage import day_of_set_up
from charging.clock import MICROSECONDS, Clock
from charging.errors import LedgerError
from charging.ledger.accounts import Account
from charging.ledger.balances import PROMO, is_value
from charging.ledger.credit_life import CreditEvents, CreditHistory, CreditLife, credit_life, latest, paid_until
from charging.ledger.model import CREDIT, LEGS_MAX, Balance, Kind, Leg, OpenSession, Outcome, Transfer
from charging.ledger.port import IDS_REMEMBERED_S, Store
from charging.pricing.packs import PACK, SORTS
from charging.service.actor import DAEMON
from charging.service.changes import Changes
from charging.service.money import apply_noted
from charging.service.months import Months, closing, counters_before, past_months
from charging.tariff.tariff import Tariff

REST_S = 60
"""Between looks at the calendar and at what was postponed."""
PAGE_ACCOUNTS = 200
PAGE_REST_S = 0.2
"""After each page of a round."""
PAGE_LINES = 50
TRIES_MAX = 5
"""Times that a balance is looked at again because calls moved it; then it is postponed."""
CLOSINGS_MAX = 200
"""Transfers of an account in a round that close counters: eight years of days, where none was ever closed."""
POSTPONED_MAX = 100_000
"""More than can hold value at midnight; what does not fit waits for the next round."""

PACKS = (PACK, *(f"{sort}:" for sort in SORTS))
"""What the balances of packs begin with."""

_ID_IS_USED = frozenset({Outcome.EXISTS, Outcome.DIFFERS})
"""Such an expiry was made before: by another daemon just now, or one after which value came back."""

Balances = Mapping[str, Balance]

log = structlog.get_logger(__name__)


class Lapses:
    """Ends what has lapsed of one account."""

    def __init__(
        self, store: Store, tariff: Callable[[], Tariff], clock: Clock, expired: Callable[[str], None]
    ) -> None:
        self._store = store
        self._tariff = tariff
        self._clock = clock
        self._expired = expired
        self._months = Months(store, tariff, clock)
        self._changes = Changes(store, clock)

    async def look(self, account: Account) -> bool:
        """Let expire what has lapsed of one account, and grant what its plan still owes it. ``False`` if a running call
        holds some of what has lapsed: look again later. Raises LedgerError."""
        balances = await self._store.balances(account.id)
        month, today = self._tariff().month_of(self._now_us), self._today().isoformat()
        if self._months.due(account, balances) is not None:
            await self._months.raise_to_plan(account.id)
        ended = [(name, "month_ended") for name in past_months(balances, month)]
        ended += [(name, "ended") for kind in PACKS for name in _ended(kind, balances, today)]
        past = [await self._expire_pieces(account.id, name, reason, balances) for name, reason in ended]
        past += [await self._expire_promo(account.id, name, balances) for name in _ended(PROMO, balances, today)]
        await self._close_counters(account.id, balances)
        return await self._expire_credit(account, balances) and all(past)

    async def _close_counters(self, account: str, balances: Balances) -> None:
        """Balances that count days and months are brought to zero and dropped, once no id of their time can be
        repeated: else each look would cost more every day."""
        before = self._tariff().month_of(self._now_us - IDS_REMEMBERED_S * MICROSECONDS)
        attempt = 1
        for _ in range(CLOSINGS_MAX):
            names = counters_before(balances, before)
            counting = [name for name in names if balances[name].posted and not is_value(name)][:LEGS_MAX]
            if not counting:
                break
            transfer = closing(account, balances, counting, self._now_us, attempt)
            attempt = attempt + 1 if (await self._store.apply(transfer)).outcome in _ID_IS_USED else 1
            balances = await self._store.balances(account)
        if names:
            await self._store.drop_balances(account, names)

    async def _until_gone(
        self, account: str, name: str, balances: Balances, due: Callable[[Balance, int], Awaitable[Transfer | bool]]
    ) -> bool:
        """Let a balance expire, reading it again when a call has moved it meanwhile. ``due`` is given the balance and
        the number of the attempt, and makes the transfer, or says that nothing is due (``True``), or that a call holds
        it up (``False``). Returns whether nothing is left to do."""
        number = 1
        for _ in range(TRIES_MAX):
            found = await due(balances.get(name, Balance()), number)
            if isinstance(found, bool):
                return found
            outcome = await self._apply(found)
            if outcome is Outcome.CREATED:
                return True
            number += outcome in _ID_IS_USED
            balances = await self._store.balances(account)
        return False

    async def _expire_pieces(self, account: str, name: str, reason: str, balances: Balances) -> bool:
        """Free seconds, pages or messages of a month or a pack."""

        async def due(left: Balance, number: int) -> Transfer | bool:
            if left.reserved or left.available <= 0:
                return not left.reserved
            return expire(account, name, name, left.available, self._now_us, number, reason)

        return await self._until_gone(account, name, balances, due)

    async def _expire_promo(self, account: str, name: str, balances: Balances) -> bool:
        """What is left of promotional credit lapses once all that was set up by its last day is over: until then that
        may go on taking it."""
        last = name.removeprefix(PROMO)

        def is_of(session: OpenSession) -> bool:  # one that a fail-over lost is opened again later than it was set up
            return (day_of_set_up(session.state) or self._tariff().day_of(session.opened_us).isoformat()) <= last

        async def due(left: Balance, number: int) -> Transfer | bool:
            if left.posted <= 0:
                return True
            if left.reserved or any(map(is_of, await self._store.sessions(account=account))):
                return False
            return expire(account, name, name, left.available, self._now_us, number, "ended")

        return await self._until_gone(account, name, balances, due)

    async def _expire_credit(self, account: Account, balances: Balances) -> bool:
        async def due(credit: Balance, number: int) -> Transfer | bool:
            life = await self._life(account) if credit.posted > 0 else None
            if life is None or life.last_day >= self._today():
                return True
            if credit.reserved:
                return False  # using it moves the date; if it is given back unused, it lapses then
            return credit_expiry(account.id, life.last_day, credit.available, self._now_us, number)

        return await self._until_gone(account.id, CREDIT, balances, due)

    async def _life(self, account: Account) -> CreditLife | None:
        """Until when the account's credit can be used; the journal is read only where that decides."""
        life = self._life_with(account, CreditEvents(payment_us=account.paid_at_us))
        if life is not None and life.last_day >= self._today():
            return life
        # The round may have read the account some minutes ago.
        current = await self._store.directory.account(account.id) or account
        return self._life_with(current, await self._events(current))

    def _life_with(self, account: Account, events: CreditEvents) -> CreditLife | None:
        tariff = self._tariff()
        return credit_life(paid_until(account, tariff.plan(account.plan), self._now_us), events, tariff.zone)

    async def _events(self, account: Account) -> CreditEvents:
        """The last payment, purchase and use. Older lines of the journal are read only while those read so far would
        let credit expire: a clock that was behind has dated the newest of them too early."""
        events = CreditEvents(account.paid_at_us)
        before: int | None = None
        while lines := await self._store.journal_page(account.id, before, PAGE_LINES):
            for line in lines:
                told = CreditHistory().after(line)
                if told == CreditHistory():
                    continue
                events = replace(
                    events,
                    purchase_us=latest(events.purchase_us, told.purchase_us),
                    use_us=latest(events.use_us, told.use_us),
                )
                life = self._life_with(account, events)
                if life is not None and life.last_day >= self._today():
                    return events
            before = lines[-1].number
        return events

    async def _apply(self, transfer: Transfer) -> Outcome:
        if transfer.legs[0].balance == CREDIT:
            outcome = (await apply_noted(self._store, self._changes, transfer)).outcome
        else:  # of every account every month: its journal tells them
            outcome = (await self._store.apply(transfer)).outcome
        if outcome is Outcome.CREATED:
            amount = -transfer.legs[0].posted
            log.info("value_expired", account=transfer.account, transfer=transfer.id, amount=amount)
            self._expired(transfer.account)
        return outcome

    def _today(self) -> date:
        return self._tariff().day_of(self._now_us)

    @property
    def _now_us(self) -> int:
        return self._clock.now().wall_us


def _ended(kind: str, balances: Balances, today: str) -> list[str]:
    """Balances of a kind, each named by its last day, whose last day is over and of which something is left."""
    found = (name for name, one in balances.items() if name.startswith(kind) and one.posted > 0)
    days = ((name, name.removeprefix(kind)[: len(today)]) for name in found)
    return sorted(name for name, day in days if len(day) == len(today) and day < today)


class Caretaker:
    """Makes the round: looks at every account once a day, and again at those that a call held up."""

    def __init__(
        self,
        store: Store,
        tariff: Callable[[], Tariff],
        clock: Clock,
        expired: Callable[[str], None] = lambda _account: None,
        *,
        believed: Callable[[], Awaitable[bool]],
    ) -> None:
        """``expired(account)`` is called after each expiry; it must not wait. ``believed()``: whether the wall clock is
        right (`charging.service.proven_time`); while it is not, there is no round."""
        self._store = store
        self._tariff = tariff
        self._clock = clock
        self._believed = believed
        self.lapses = Lapses(store, tariff, clock, expired)
        self._round: date | None = None
        """The day of the last round that was finished."""
        self._done_to = ""
        """Where a round that the ledger interrupted goes on."""
        self._postponed: dict[str, None] = {}

    async def run(self) -> NoReturn:
        """For ever."""
        while True:
            try:
                await self.turn()
            except LedgerError as error:
                log.warning("round_interrupted", why=str(error))
            await self._clock.sleep_until(self._clock.now().plus(REST_S).mono_us)

    async def turn(self) -> None:
        """Do what is due now: postponed accounts, and the round if its day has come. Raises LedgerError."""
        if not await self._believed():
            return
        for account in list(self._postponed):
            stored = await self._store.directory.account(account)
            if stored is None or await self._look_safely(stored):
                del self._postponed[account]
        today = self._tariff().day_of(self._clock.now().wall_us)
        if self._round != today:
            looked = await self._make_round()
            self._round, self._done_to = today, ""
            log.info("round_made", accounts=looked, postponed=len(self._postponed))

    async def _make_round(self) -> int:
        looked = 0
        async for account in self._store.directory.accounts():
            if account.id <= self._done_to:
                continue
            if not await self._look_safely(account):
                self._postpone(account.id)
            self._done_to = account.id
            looked += 1
            if looked % PAGE_ACCOUNTS == 0:
                await self._clock.sleep_until(self._clock.now().plus(PAGE_REST_S).mono_us)
        return looked

    async def _look_safely(self, account: Account) -> bool:
        """A fault of ours about one account stops neither the others nor, with this task, the daemon and its calls."""
        try:
            return await self.lapses.look(account)
        except LedgerError:
            raise
        except Exception as error:  # noqa: BLE001  see above
            log.error("account_not_looked_at", account=account.id, why=f"{type(error).__name__}: {error}")
            return True

    def _postpone(self, account: str) -> None:
        if len(self._postponed) < POSTPONED_MAX:
            self._postponed[account] = None


def credit_expiry(account: str, last_day: date, amount: int, at_us: int, attempt: int) -> Transfer:
    """The transfer that ends ``amount`` of credit, all that was available. ``attempt`` counts up where an earlier one
    of the same day took another amount, so that no two different transfers ever share an id."""
    key = (last_day + timedelta(days=1)).isoformat()
    return expire(account, CREDIT, f"credit/{key}", amount, at_us, attempt, "a_year_without_use")


def expire(account: str, balance: str, key: str, amount: int, at_us: int, attempt: int, reason: str) -> Transfer:
    """A transfer that takes ``amount`` off a balance: never what is reserved, for its leg's floor is zero."""
    id = f"expire/{key}" if attempt == 1 else f"expire/{key}/{attempt}"
    return Transfer(id, account, Kind.EXPIRE, at_us, (Leg(balance, -amount),), reason=reason, actor=DAEMON)
