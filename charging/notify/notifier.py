"""Looks at accounts, lets the policy decide, and puts what is due into the outbox.

An account is looked at soon after something happened to it (:meth:`Notifier.touched`), and every account once a day, in
the morning, for notices that depend on the calendar alone. A call of ``touched`` never waits and never fails: it adds
the account to a set, in which a busy account is one entry. If the set is full, the next sweep finds the account. To
look twice, or from two daemons at once, does no harm: ids are derived, and the outbox takes each once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from itertools import islice
from typing import NoReturn
from zoneinfo import ZoneInfo

import structlog

from charging.call.pieces import allowance
from charging.clock import Bell, Clock, local_reading
from charging.errors import LedgerError
from charging.ledger.accounts import Account
from charging.ledger.balances import ruled_by, spendable
from charging.ledger.credit_life import CreditEvents
from charging.ledger.documents import Document, Documents
from charging.ledger.given_packs import GivenPacks
from charging.ledger.model import Balance
from charging.ledger.port import Store
from charging.notify.model import Notice
from charging.notify.outbox import Outbox
from charging.notify.policy import Headroom, Standing, due, forward_cost, headroom
from charging.notify.record import Record, folded
from charging.pricing.packs import MESSAGES, PACK, PackTerms, edition_of, last_day_of
from charging.records import dataclass
from charging.tariff.tariff import Tariff

COLLECTION = "notice-records"
TOUCHED_MAX = 100_000
LINES_UNSTORED_MAX = 100
"""Journal lines that are read again at the next look rather than written into the record at this one."""
SWEEP_HOUR = 9
"""Local: mail that no event asks for comes in the morning."""
CALM_S = 600
"""After a look, charges that cannot bring a notice about are no reason for another: so long, for prices change by the
time of day."""
GATHER_S = 1
"""So long accounts gather once the first was touched: no mail is in such a hurry, and running calls go first."""
TOGETHER = 20
"""Accounts that are looked at at the same time: their questions go to the store together, which costs far less."""
REST_S = 60
"""Between looks at the calendar, and after the ledger failed."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Kept:
    """A record, and how it is stored."""

    record: Record
    document: Document | None


@dataclass(frozen=True, slots=True)
class _Calm:
    """Of an account that was looked at."""

    headroom: Headroom
    until_mono_us: int


class Notifier:
    """Looks at accounts, and puts the notices that are due into the outbox."""

    def __init__(
        self,
        store: Store,
        documents: Documents,
        outbox: Outbox,
        tariff: Callable[[], Tariff],
        clock: Clock,
        paid_at_us: Callable[[Account], int | None],
        wake: Callable[[], None],
    ) -> None:
        """``paid_at_us``: when the account's subscription was last paid (R19); ``wake``: tells the worker."""
        self._store = store
        self._documents = documents
        self._packs = GivenPacks(documents)
        self._outbox = outbox
        self._tariff = tariff
        self._clock = clock
        self._paid_at_us = paid_at_us
        self._wake = wake
        self._touched: dict[str, None] = {}
        self._calm: dict[str, _Calm] = {}
        self._bell = Bell(clock)
        self._swept: date | None = None

    def touched(self, account: str) -> None:
        """Something happened to the account's money, numbers, plan or subscription. Returns at once."""
        self._calm.pop(account, None)
        if len(self._touched) < TOUCHED_MAX:
            self._touched[account] = None
            self._bell.ring()

    def charged(self, account: str, settled: Mapping[str, int]) -> None:
        """A call was charged ``settled``, by balance. The account is looked at only if that can make a notice due: most
        ticks cannot, and a look costs several requests to the store. Returns at once."""
        calm = self._calm.get(account)
        rest = None if calm is None else calm.headroom.after(settled)
        if calm is None or rest is None or self._clock.now().mono_us >= calm.until_mono_us:
            self.touched(account)
        else:
            self._calm[account] = _Calm(rest, calm.until_mono_us)

    async def run(self) -> NoReturn:
        """Look at what was touched, sweep once a day, for ever."""
        while True:
            try:
                await self._look_at_touched()
                await self._sweep_if_due()
            except LedgerError as error:
                log.warning("notices_not_looked_for", why=str(error))
                await self._clock.sleep_until(self._clock.now().plus(REST_S).mono_us)
            else:
                await self._bell.rest(REST_S)
                await self._clock.sleep_until(self._clock.now().plus(GATHER_S).mono_us)

    async def look(self, account_id: str) -> list[Notice]:
        """Put the notices that are due to the account into the outbox. Returns those that were new there."""
        account = await self._store.directory.account(account_id)
        if account is None:
            return []
        kept = await self._read(account_id)
        record = await self._up_to_date(account_id, kept.record)
        now_us = self._clock.now().wall_us
        tariff = self._tariff()
        new = []
        standing = await self._standing(account, record, tariff, now_us)
        notices = due(standing, tariff, now_us)
        if notices and (await self._up_to_date(account_id, record)).read_to > record.read_to:
            self.touched(account_id)  # balances are newer than the record, by which it is told again: next time
            return []
        if account_id not in self._touched and len(self._calm) < TOUCHED_MAX:  # else it is looked at once more
            until = self._clock.now().plus(CALM_S)
            self._calm[account_id] = _Calm(headroom(standing, tariff, now_us), until.mono_us)
        for notice in notices:
            if await self.put(notice):
                new.append(notice)
            record = record.with_sent(notice, standing.day)
        await self._keep(account_id, kept, record)
        return new

    async def last_purchase_us(self, account_id: str) -> int | None:
        """When the account last had credit bought or given, wall clock."""
        return (await self._up_to_date(account_id, (await self._read(account_id)).record)).purchase_us

    async def put(self, notice: Notice) -> bool:
        """Put a notice into the outbox and tell the worker; ``False``: it was put before."""
        new = await self._outbox.put(notice)
        if new:
            log.info("notice_put", notice=notice.id, account=notice.account)
            self._wake()
        return new

    async def sweep(self) -> int:
        """Look at every account; how many notices were new."""
        return sum([await self._look_safely(account.id) async for account in self._store.directory.accounts()])

    async def _standing(self, account: Account, record: Record, tariff: Tariff, now_us: int) -> Standing:
        balances = await self._store.balances(account.id)
        held = await self._packs.held(tariff.terms, balances)
        numbers = await self._store.directory.numbers(account.id)
        plan = tariff.plan(account.plan)
        sold = plan is not None and any(plan.charges_voicemail(one.paid_voicemail) for one in numbers)
        day = tariff.day_of(now_us).isoformat()
        running = spendable(balances, day).reserved > 0

        def to_begin(covered: bool) -> int | None:
            if plan is None:
                return None
            rules = ruled_by(balances, tariff.month_of(now_us), tariff.granted_as(plan.name), plan.free_seconds)
            return forward_cost(tariff, plan, numbers, now_us, covered=covered, bundle_plan=rules, held=held)

        return Standing(
            account,
            plan,
            balances,
            day,
            pack_seconds=_pack_seconds({**tariff.terms, **held}, balances, day),
            message_price=tariff.message_price(plan, now_us) if plan is not None and sold else 0,
            free_messages=_free_messages(tariff, account.plan, balances, now_us, held) if sold else 0,
            forward_cost=to_begin(covered=True),
            uncovered_cost=to_begin(covered=False),
            last_cure=record.last_cure,
            events=CreditEvents(
                payment_us=self._paid_at_us(account),
                purchase_us=record.purchase_us,
                use_us=now_us if running else record.use_us,
            ),
            sent=record.sent,
            peaks=record.peaks,
        )

    async def _read(self, account: str) -> _Kept:
        document = await self._documents.get_document(COLLECTION, account)
        return _Kept(Record(), None) if document is None else _Kept(Record.from_json(document.body), document)

    async def _up_to_date(self, account: str, record: Record) -> Record:
        day_of = self._tariff().day_of
        async for line in self._store.journal(account, after=record.read_to):
            record = folded(record, line, day_of)
        return record

    async def _keep(self, account: str, kept: _Kept, record: Record) -> None:
        """Store the record if that costs less than to read the journal again, or if the journal does not have its
        facts. If two daemons store it, one may be too late; the next look finds the same facts again."""
        read = record.read_to - kept.record.read_to
        if record.lasting == kept.record.lasting and read < LINES_UNSTORED_MAX:
            return
        if kept.document is None:
            await self._documents.put_document(COLLECTION, account, record.to_json())
        else:
            await self._documents.update_document(replace(kept.document, body=record.to_json()))

    async def _look_at_touched(self) -> None:
        while some := list(islice(self._touched, TOGETHER)):
            for account in some:
                del self._touched[account]  # before the look: whoever touches it meanwhile means another one
            looks = await asyncio.gather(*map(self._look_safely, some), return_exceptions=True)
            failed = {account: error for account, error in zip(some, looks, strict=True) if not isinstance(error, int)}
            self._touched.update(dict.fromkeys(failed))
            if failed:
                raise next(iter(failed.values()))

    async def _look_safely(self, account: str) -> int:
        """A fault of ours about one account stops neither the others nor, with this task, the daemon and its calls."""
        try:
            return len(await self.look(account))
        except LedgerError:
            raise
        except Exception as error:  # noqa: BLE001  see above
            log.error("account_not_looked_at", account=account, why=f"{type(error).__name__}: {error}")
            return 0

    async def _sweep_if_due(self) -> None:
        local = local_reading(ZoneInfo(self._tariff().zone), self._clock.now().wall_us)
        if local.hour < SWEEP_HOUR or self._swept == local.date():
            return
        new = await self.sweep()
        self._swept = local.date()
        log.info("accounts_swept", notices=new)


def _free_messages(
    tariff: Tariff, plan: str, balances: Mapping[str, Balance], now_us: int, held: Mapping[str, PackTerms]
) -> int:
    return sum(allowance(tariff, plan, MESSAGES, now_us, held=held).pools(balances).values())


def _pack_seconds(terms: Mapping[str, PackTerms], balances: Mapping[str, Balance], day: str) -> int:
    """Left of packs that pay for every destination and have not ended."""
    general = {edition for edition, one in terms.items() if one.destinations is None}
    found = (one for one in balances if one.startswith(PACK) and edition_of(one) in general and last_day_of(one) >= day)
    return sum(max(0, balances[name].posted) for name in found)
