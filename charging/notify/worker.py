"""The task that empties the outbox. It alone waits for the mail server: no call and no money ever does.

A turn is bounded: at most BATCH_MAX mails over one connection, and no new one is begun after BATCH_S, well within the
claims that the turn holds. Between turns it rests until something is put in, or for POLL_S.

There are two kinds of failure. If a mail is refused for now, that mail waits, by its own count of attempts. If the
server cannot be used, this worker waits, by the count of failed turns; mails that were not tried are released at once
and keep their count (another daemon may reach the server).

A server that falls silent over one mail, or hangs up, may be waiting for name servers of that mail's recipient, who may
be a customer with a domain of his own. So it is asked again. If it takes connections and the sender, the mail alone is
at fault: those of the same account or domain wait as long as it does, the others go on. A turn ends after
`TROUBLES_MAX` of them, and begins with mails that were tried least often: those of others wait for so many at most.

Both waits double from ``retry_first_s`` to
``retry_most_s``. A mail that was tried at least GIVE_UP_ATTEMPTS_MIN times is given up once it is ``give_up_after_h``
hours old. A mail that only waited for the server is never given up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NoReturn, Protocol

import structlog

from charging.clock import MICROSECONDS, Bell, Clock
from charging.errors import LedgerError
from charging.notify.outbox import CLAIM_S, Entry, Outbox
from charging.notify.render import BadAddress, TemplateError, Templates, message_of
from charging.notify.settings import Mail
from charging.notify.smtp import Fate, MailServerTrouble, Smtp, Verdict

BATCH_MAX = 50
BATCH_S = CLAIM_S // 2
PURGE_MAX = 200
GIVE_UP_ATTEMPTS_MIN = 5
TROUBLES_MAX = 3
"""Mails of a turn over which the server has fallen silent, or hung up."""
POLL_S = 15
"""Between looks at an outbox that others may have put something into."""

log = structlog.get_logger(__name__)


class Observer(Protocol):
    """What the worker's metrics want to know."""

    def notice(self, kind: str, result: str) -> None:
        """One attempt: ``sent``, ``later`` or ``never``."""

    def mail_server(self, up: bool) -> None:
        """Whether the mail server could be used, at each turn that tried."""


class _Unobserved:
    def notice(self, kind: str, result: str) -> None: ...

    def mail_server(self, up: bool) -> None: ...


class Worker:
    """Sends what is in the outbox."""

    def __init__(
        self,
        outbox: Outbox,
        templates: Templates,
        mail: Mail,
        smtp: Callable[[], Smtp],
        clock: Clock,
        observer: Observer | None = None,
    ) -> None:
        """``smtp`` makes what carries one batch."""
        self._outbox = outbox
        self._templates = templates
        self._mail = mail
        self._smtp = smtp
        self._clock = clock
        self._observer: Observer = observer or _Unobserved()
        self._bell = Bell(clock)
        self._failed_turns = 0
        self._not_before_us = 0
        """Monotonic: until then the server is left alone."""

    def wake(self) -> None:
        """Something was put into the outbox."""
        self._bell.ring()

    async def run(self) -> NoReturn:
        """Send, rest, for ever."""
        while True:
            try:
                busy = await self.turn()
            except LedgerError as error:
                log.warning("outbox_unavailable", why=str(error))
                busy = False
            except Exception as error:  # noqa: BLE001  a fault of ours about a mail must not end the daemon and its calls
                log.error("notices_not_sent", why=f"{type(error).__name__}: {error}")
                busy = False
            if not busy:
                await self._bell.rest(POLL_S)

    async def turn(self) -> bool:
        """One bounded round; whether there may be more to do at once."""
        now = self._clock.now()
        purged = await self._outbox.purge(now.wall_us, PURGE_MAX)
        if now.mono_us < self._not_before_us:
            return False
        entries = await self._outbox.claim(now.wall_us, BATCH_MAX)
        if not entries:
            return purged >= PURGE_MAX
        try:
            has_more = await self._send_all(entries)
        except MailServerTrouble as error:
            self._server_failed(error)
            return False
        self._server_is_fine()
        return has_more or len(entries) == BATCH_MAX

    async def _send_all(self, entries: list[Entry]) -> bool:
        """Whether there are some for which there was no time. Raises MailServerTrouble."""
        begun, troubles = self._clock.now(), 0
        waiting = sorted(entries, key=lambda entry: entry.attempts)
        smtp = self._smtp()
        try:
            await smtp.open()
            while waiting and troubles < TROUBLES_MAX and begun.seconds_until(self._clock.now()) < BATCH_S:
                entry = waiting.pop(0)
                try:
                    await self._send_one(smtp, entry)
                except MailServerTrouble:
                    troubles += 1
                    await smtp.reopen()
                    alike = [one for one in waiting if _are_alike(one, entry)]
                    waiting = [one for one in waiting if one not in alike]
                    for one in alike:
                        await self._outbox.let_go(one, self._later_us(entry.attempts))
            return bool(waiting)
        finally:
            # Also when the daemon stops: what was not tried need not wait for the end of its claim.
            await smtp.close()
            for entry in waiting:
                await self._outbox.let_go(entry, self._clock.now().wall_us)

    async def _send_one(self, smtp: Smtp, entry: Entry) -> None:
        """Try one notice, and mark what became of it. Raises MailServerTrouble after marking it."""
        try:
            verdict = await smtp.send(message_of(entry.notice, self._templates.render(entry.notice), self._mail))
        except TemplateError as error:
            verdict = Verdict(Fate.LATER, str(error))
            log.error("notice_not_rendered", kind=str(entry.notice.kind), why=str(error))
        except BadAddress as error:
            verdict = Verdict(Fate.NEVER, str(error))
        except MailServerTrouble as error:
            await self._mark(entry, Verdict(Fate.LATER, str(error)))
            raise
        await self._mark_surely(entry, verdict)

    async def _mark_surely(self, entry: Entry, verdict: Verdict) -> None:
        """Also when the daemon is told to stop just now: a mail that is out and not marked would go out again."""
        marking = asyncio.create_task(self._mark(entry, verdict), name="notice-mark")
        try:
            await asyncio.shield(marking)
        except asyncio.CancelledError:
            await marking
            raise

    async def _mark(self, entry: Entry, verdict: Verdict) -> None:
        now_us = self._clock.now().wall_us
        notice = entry.notice
        fate = Fate.NEVER if verdict.fate is Fate.LATER and self._is_hopeless(entry, now_us) else verdict.fate
        told = {"notice": notice.id, "account": notice.account, "attempts": entry.attempts + 1}
        if fate is Fate.SENT:
            await self._outbox.sent(entry, now_us)
            log.info("notice_sent", **told)
        elif fate is Fate.NEVER:
            await self._outbox.give_up(entry, now_us, verdict.why)
            log.error("notice_given_up", why=verdict.why, **told)
        else:
            await self._outbox.failed(entry, self._later_us(entry.attempts), verdict.why)
            log.warning("notice_delayed", why=verdict.why, wait_s=self._wait_s(entry.attempts), **told)
        self._observer.notice(str(notice.kind), str(fate))

    def _is_hopeless(self, entry: Entry, now_us: int) -> bool:
        old = now_us - entry.notice.at_us >= self._mail.give_up_after_h * 3600 * MICROSECONDS
        return old and entry.attempts + 1 >= GIVE_UP_ATTEMPTS_MIN

    def _server_failed(self, error: MailServerTrouble) -> None:
        wait_s = self._wait_s(self._failed_turns)
        self._failed_turns += 1
        self._not_before_us = self._clock.now().mono_us + wait_s * MICROSECONDS
        log.warning("mail_server_failed", why=str(error), wait_s=wait_s, times=self._failed_turns)
        self._observer.mail_server(False)

    def _server_is_fine(self) -> None:
        if self._failed_turns:
            log.info("mail_server_recovered", times=self._failed_turns)
        self._failed_turns = 0
        self._observer.mail_server(True)

    def _later_us(self, failures: int) -> int:
        """When to try again after one more than ``failures``, wall clock."""
        return self._clock.now().wall_us + self._wait_s(failures) * MICROSECONDS

    def _wait_s(self, failures: int) -> int:
        """Seconds to wait after one more than ``failures``."""
        # 2^17 seconds exceed every ceiling; beyond that the power would only grow.
        return min(self._mail.retry_most_s, self._mail.retry_first_s << min(failures, 17))


def _are_alike(one: Entry, other: Entry) -> bool:
    """Whether what holds up one notice holds up the other."""
    domains = {entry.notice.address.rpartition("@")[2].lower() for entry in (one, other)}
    return one.notice.account == other.notice.account or len(domains) == 1
