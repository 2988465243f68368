"""A daemon's notices, wired: what watches the calls, looks for notices that are due, and sends them (R13 to R16, R20).

Without a section ``mail`` in charging.yaml none of it runs. Calls do not wait for notices: an event only notes an
account's name. The one exception is a caller who is not answered (R13): he waits until his call is stored, for RECORD_S
at most. If the store takes longer, the call waits here, in order, and is stored when the daemon stops at the latest.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import field
from itertools import islice
from operator import attrgetter
from typing import Any, NoReturn

import structlog
from pydantic import SecretStr

from charging.call.storage import Record
from charging.call.told import CallSettled, FaxSettled, TickPosted, VoicemailSettled
from charging.clock import Bell, Clock
from charging.engine.desk import MissedCall
from charging.engine.ports import Observer
from charging.engine.told import LeftMessageCharged, Told
from charging.errors import LedgerError
from charging.ledger.accounts import Account
from charging.ledger.port import Store
from charging.notify.missed import Call
from charging.notify.missed_desk import MissedDesk
from charging.notify.notifier import Notifier
from charging.notify.outbox import Outbox
from charging.notify.render import Operator, Templates
from charging.notify.settings import Mail
from charging.notify.smtp import Smtp
from charging.notify.worker import Observer as MailObserver
from charging.notify.worker import Worker
from charging.records import dataclass
from charging.tariff.tariff import Tariff

MISSED_MAX = 10_000
"""Missed calls that the store has not taken yet. What does not fit is not told, loudly."""
TOGETHER_MAX = 25
"""Of one account's, stored by one write: half of those that are known again where a recording is repeated."""
RECORD_S = 0.5
"""How long a caller waits for that."""
RETRY_S = 10
REST_S = 3600
"""Nothing happens without the bell."""
DRAIN_S = 3.0
"""How long a daemon that stops tries."""

CHARGED = TickPosted | CallSettled | VoicemailSettled | FaxSettled
"""What is told when a call may have cost something: if it has, a notice may be due."""

log = structlog.get_logger("charging.notices")


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A missed call that the store has not taken yet."""

    call: MissedCall
    recorded: asyncio.Event = field(default_factory=asyncio.Event)


class Notices:
    """Everything between an event and the mail about it."""

    def __init__(
        self,
        mail: Mail,
        password: SecretStr | None,
        store: Store,
        tariff: Callable[[], Tariff],
        clock: Clock,
        observer: MailObserver | None = None,
        *,
        alone: bool = False,
    ) -> None:
        """``alone``: no other daemon charges these accounts. Raises ConfigError where a file that ``mail`` names cannot
        be read."""
        Smtp(mail, password)  # said at the start, not at the first mail
        outbox = Outbox(store.documents)
        templates = Templates(Operator(mail.sender_name, mail.top_up_url), mail.templates)
        self._clock = clock
        self._alone = alone
        self._worker = Worker(outbox, templates, mail, lambda: Smtp(mail, password), clock, observer)
        paid_at_us = attrgetter("paid_at_us")
        self._notifier = Notifier(store, store.documents, outbox, tariff, clock, paid_at_us, self._worker.wake)
        pause_s = mail.missed_calls_pause_min * 60
        self._desk = MissedDesk(self._notifier, store, store.documents, tariff, clock, pause_s)
        self._missed: deque[_Waiting] = deque()
        self._bell = Bell(clock)

    def watching(self, observe: Observer) -> Observer:
        """Return ``observe``, extended by noticing every charge."""

        def observed(what: Told, session: Record | None = None) -> None:
            observe(what, session)
            if isinstance(what, LeftMessageCharged):
                self.touched(what.account)
            elif session is None or not isinstance(what, CHARGED) or not what.settled:
                return  # most calls are not answered, and a look costs more than their decision
            elif isinstance(what, TickPosted | CallSettled) and self._alone:
                self._notifier.charged(session.account, what.settled)
            else:
                self.touched(session.account)

        return observed

    def touched(self, account: str) -> None:
        """The account's money or settings have changed. Returns at once."""
        self._notifier.touched(account)

    async def missed(self, call: MissedCall) -> None:
        """A call is not answered for want of credit (R13). Returns when the call is stored, or after RECORD_S."""
        if len(self._missed) >= MISSED_MAX:
            log.error("missed_call_not_told", account=call.account.id, waiting=MISSED_MAX)
            return
        waiting = _Waiting(call)
        self._missed.append(waiting)
        self._bell.ring()
        with suppress(TimeoutError):
            async with asyncio.timeout(RECORD_S):
                await waiting.recorded.wait()

    def look_for_ever(self) -> Coroutine[Any, Any, NoReturn]:
        """Look for notices that are due at accounts that were touched, including those before this ran."""
        return self._notifier.run()

    def duties(self) -> dict[str, Coroutine[Any, Any, NoReturn]]:
        """What else the daemon must run, by name of task."""
        return {
            "mail": self._worker.run(),
            "missed-calls": self._record_missed(),
            "missed-calls-told": self._desk.run(),
        }

    async def drain(self) -> None:
        """Store what is not stored yet, when the daemon stops and its duties have ended."""
        with suppress(LedgerError, TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await self._record_all()
        for waiting in self._missed:
            log.error("missed_call_not_told", account=waiting.call.account.id, waiting=len(self._missed))

    async def _record_missed(self) -> NoReturn:
        while True:
            try:
                await self._record_all()
            except LedgerError as error:
                log.warning("missed_call_delayed", waiting=len(self._missed), why=str(error))
                await self._clock.sleep_until(self._clock.now().plus(RETRY_S).mono_us)
            else:
                await self._bell.rest(REST_S)

    async def _record_all(self) -> None:
        """Store the waiting calls, the oldest first. A call leaves the queue when it is stored, so cancelling loses
        none."""
        while self._missed:
            account = self._missed[0].call.account
            first = list(islice(self._missed, TOGETHER_MAX))
            together = [one for one in first if one.call.account.id == account.id]
            await self._record_together(account, [one.call for one in together])
            rest = [one for one in first if one not in together]
            for _ in first:
                self._missed.popleft()
            self._missed.extendleft(reversed(rest))
            for one in together:
                one.recorded.set()

    async def _record_together(self, account: Account, calls: Sequence[MissedCall]) -> None:
        """By one write. A fault of ours about one call stops neither the others nor the daemon. Raises LedgerError."""
        try:
            recorded = (Call(call.call, call.number, call.caller, call.at_us, call.cause) for call in calls)
            await self._desk.record(account, *recorded)
        except LedgerError:
            raise
        except Exception as error:  # noqa: BLE001  see above
            if len(calls) > 1:
                for call in calls:
                    await self._record_together(account, [call])
                return
            log.error("missed_call_not_told", account=account.id, why=f"{type(error).__name__}: {error}")
