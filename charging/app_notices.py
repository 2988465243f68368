"""A daemon's notices, wired: who watches the calls, what looks for notices, what sends them (R13 to R16, R20).

Without a section ``mail`` in charging.yaml none of it runs. None of it is ever waited for by a call: events only leave
an account's name behind, and a missed call waits in a bounded queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from operator import attrgetter
from typing import Any, NoReturn

import structlog
from pydantic import SecretStr

from charging.clock import Clock
from charging.errors import LedgerError
from charging.ledger.port import Store
from charging.notify.notifier import Notifier
from charging.notify.outbox import Outbox
from charging.notify.render import Operator, Templates
from charging.notify.settings import Mail
from charging.notify.smtp import Smtp
from charging.notify.worker import Observer as MailObserver
from charging.notify.worker import Worker
from charging.rating.tariff import Tariff
from charging.session.desk import MissedCall
from charging.session.ports import Observer
from charging.session.records import Record

MISSED_MAX = 10_000
"""Missed calls whose notices the store has not taken yet. What does not fit is not told, loudly."""
RETRY_S = 10

CHARGED = frozenset({"tick_posted", "call_settled", "voicemail_settled", "fax_settled", "left_message_charged"})
"""Events of calls after which a notice may be due."""

log = structlog.get_logger("charging.notices")


class Notices:
    """Everything between what happens and the mail about it."""

    def __init__(
        self,
        mail: Mail,
        password: SecretStr | None,
        store: Store,
        tariff: Callable[[], Tariff],
        clock: Clock,
        observer: MailObserver | None = None,
    ) -> None:
        """Raises ConfigError where a file that ``mail`` names cannot be read."""
        Smtp(mail, password)  # said at the start, not at the first mail
        outbox = Outbox(store)
        templates = Templates(Operator(mail.sender_name, mail.top_up_url), mail.templates)
        self._clock = clock
        self._worker = Worker(outbox, templates, mail, lambda: Smtp(mail, password), clock, observer)
        paid_at_us = attrgetter("paid_at_us")
        self._notifier = Notifier(store, store, outbox, tariff, clock, paid_at_us, self._worker.wake)
        self._missed: asyncio.Queue[MissedCall] = asyncio.Queue(MISSED_MAX)

    def watching(self, observe: Observer) -> Observer:
        """``observe``, with every charge noticed besides."""

        def observed(what: str, session: Record | None, fields: Mapping[str, Any]) -> None:
            observe(what, session, fields)
            if what in CHARGED:
                self.touched(session.account if session is not None else fields["account"])

        return observed

    def touched(self, account: str) -> None:
        """The account's money or settings changed. Returns at once."""
        self._notifier.touched(account)

    def missed(self, call: MissedCall) -> None:
        """A call was not answered for want of credit (R13). Returns at once."""
        try:
            self._missed.put_nowait(call)
        except asyncio.QueueFull:
            log.error("missed_call_not_told", account=call.account.id, waiting=MISSED_MAX)

    def duties(self) -> dict[str, Coroutine[Any, Any, NoReturn]]:
        """What the daemon is to run, by name of task."""
        return {"notices": self._notifier.run(), "mail": self._worker.run(), "missed-calls": self._tell_missed()}

    async def _tell_missed(self) -> NoReturn:
        while True:
            call = await self._missed.get()
            while not await self._told(call):
                await self._clock.sleep_until(self._clock.now().plus(RETRY_S).mono_us)

    async def _told(self, call: MissedCall) -> bool:
        try:
            await self._notifier.missed_call(call.account, call.number, call.caller, call.call, call.at_us)
        except LedgerError as error:
            log.warning("missed_call_delayed", account=call.account.id, why=str(error))
            return False
        return True
