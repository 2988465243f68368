"""Records missed calls at once, and puts their notices into the outbox when they are due (R13).

The missed calls of an account that wait are one document of the collection :data:`COLLECTION`; ``missed.py`` defines
its content and when it is due. Every change is an update of the version that was read. So daemons that share a store
can share this work, and one goes on with what another was killed over.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from typing import NoReturn

import structlog

from charging.clock import Bell, Clock
from charging.errors import LedgerError, LedgerUnavailable
from charging.ledger.accounts import Account, Status
from charging.ledger.balances import spendable
from charging.ledger.documents import Document, Documents, Put
from charging.ledger.port import Store
from charging.notify.missed import Batch, Call, Missed
from charging.notify.model import Notice
from charging.notify.notifier import Notifier
from charging.notify.policy import can_answer, missed_calls, plain
from charging.tariff.tariff import Tariff

COLLECTION = "missed-calls"
TELL_MAX = 100
"""Accounts of one round."""
POLL_S = 15
"""Between rounds: a pause that has ended is noticed within this time."""
TRIES_MAX = 20
"""Times that a change is made again because someone else's came first."""

log = structlog.get_logger(__name__)


class MissedDesk:
    """Takes missed calls in, and hands what is due to the outbox."""

    def __init__(
        self,
        notifier: Notifier,
        store: Store,
        documents: Documents,
        tariff: Callable[[], Tariff],
        clock: Clock,
        pause_s: int,
    ) -> None:
        """``pause_s``: after a mail, before the next one of the same account; see ``missed.py``. 0: none, ever."""
        self._notifier = notifier
        self._store = store
        self._documents = documents
        self._tariff = tariff
        self._clock = clock
        self._pause_s = pause_s
        self._bell = Bell(clock)

    async def record(self, account: Account, *calls: Call) -> None:
        """The calls (1 to SEEN_MAX) wait in the store from now on, by one write; once, however often each is recorded.
        Raises LedgerError."""
        bounded = [replace(call, caller=plain(call.caller)) for call in calls]
        if account.email:
            await self._change(account.id, lambda missed: reduce(Missed.with_call, bounded, missed), surely=True)
            self._bell.ring()

    async def run(self) -> NoReturn:
        """Tell what is due, rest, for ever."""
        while True:
            busy = False
            try:
                busy = await self.tell_due()
            except LedgerError as error:
                log.warning("missed_calls_not_told", why=str(error))
            if not busy:
                await self._bell.rest(POLL_S)

    async def tell_due(self) -> bool:
        """Do one bounded round. Returns whether there may be more to do at once. Raises LedgerError."""
        now_us = self._clock.now().wall_us
        due = await self._documents.due_documents(COLLECTION, now_us, TELL_MAX)
        for document in due:
            await self._tell_safely(document.id, now_us)
        return len(due) == TELL_MAX

    async def _tell_safely(self, account: str, now_us: int) -> None:
        """Report one account's calls, and log any exception: a fault must not stop the other accounts, nor the
        daemon."""
        try:
            await self._tell(account, now_us)
        except LedgerError:
            raise
        except Exception as error:  # noqa: BLE001  see above
            log.error("account_not_looked_at", account=account, why=f"{type(error).__name__}: {error}")

    async def _tell(self, account_id: str, now_us: int) -> None:
        missed = await self._change(account_id, lambda one: one.with_frozen(now_us, self._pause_s))
        batch = missed.frozen
        if batch is None:
            await self._forget_if_quiet(account_id, now_us)
            return
        assert missed.told_us is not None, "set with what is frozen"
        account = await self._store.directory.account(account_id)
        if account is not None and account.email and account.status is not Status.CLOSED:
            await self._notifier.put(await self._notice(account, batch, missed.told_us, now_us))
        await self._change(account_id, lambda one: one.without_frozen() if one.frozen == batch else one)

    async def _notice(self, account: Account, batch: Batch, told_us: int, now_us: int) -> Notice:
        today = self._tariff().day_of(now_us).isoformat()
        credit = spendable(await self._store.balances(account.id), today).posted
        rung = {one.number for one in batch.callers}
        numbers = [one for one in await self._store.directory.numbers(account.id) if one.number in rung]
        suffices = can_answer(self._tariff(), account, numbers, credit, now_us)
        bought_us = await self._notifier.last_purchase_us(account.id)
        bought = bought_us is not None and bought_us > batch.last_us
        zone = self._tariff().zone
        return missed_calls(account, batch, credit, told_us, zone, suffices=suffices, bought=bought)

    async def _forget_if_quiet(self, account_id: str, now_us: int) -> None:
        document = await self._documents.get_document(COLLECTION, account_id)
        if document is not None and (missed := _read(document)).is_quiet and missed.due_us <= now_us:
            await self._documents.delete_document(document)

    async def _change(self, account: str, change: Callable[[Missed], Missed], *, surely: bool = False) -> Missed:
        """Store what ``change`` makes of the account's missed calls; what is stored then. ``surely``: also where that
        is there already, for what is read may be lost by a fail-over, unlike what is written. Raises LedgerError."""
        for _ in range(TRIES_MAX):
            document = await self._documents.get_document(COLLECTION, account)
            missed = Missed() if document is None else _read(document)
            changed = change(missed)
            if (changed == missed and not surely) or await self._stored(account, document, changed):
                return changed
        raise LedgerUnavailable(f"others keep changing the missed calls of account {account}")

    async def _stored(self, account: str, document: Document | None, missed: Missed) -> bool:
        body = missed.to_json()
        if document is None:
            return await self._documents.put_document(COLLECTION, account, body, missed.due_us) is Put.CREATED
        return await self._documents.update_document(replace(document, body=body, due_us=missed.due_us))


def _read(document: Document) -> Missed:
    """The missed calls in a document; none if it is damaged, so that new calls can still be reported."""
    try:
        return Missed.from_json(document.body)
    except (KeyError, TypeError, ValueError):
        log.error("notice_unreadable", notice=f"{document.collection}/{document.id}")
        return Missed()
