"""The one object below all interfaces: every operation that people and other programs may ask of the service.

The control socket, the public API and (through them) the command line all call it, so each rule is written once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

import structlog

from charging.call.model import Policy
from charging.clock import Clock
from charging.errors import LedgerError
from charging.fax.desk import FaxDesk
from charging.fax.listed import ListedFaxes
from charging.fax.mailed import MailedFaxes
from charging.fax.sending import Faxes
from charging.fax.slow_domains import SlowDomains
from charging.ledger.accounts import Language
from charging.ledger.books.verify import verify
from charging.ledger.model import CdrRow
from charging.ledger.port import Store
from charging.service.account_import import AccountImport
from charging.service.accounts import Accounts
from charging.service.actor import actor
from charging.service.balance import Balances
from charging.service.changes import Act, Changes
from charging.service.decisions import Decisions, Kept, Sought
from charging.service.events import Events
from charging.service.fax_address import FaxAddresses
from charging.service.findings import Findings
from charging.service.gifts import Gifts
from charging.service.ledger_contents import LedgerContents
from charging.service.live import Calls, LiveCalls
from charging.service.money import Money
from charging.service.numbers import Numbers, uncertain_numbers
from charging.service.page_tokens import PagePlace, PageTokens
from charging.service.payments import Payments
from charging.service.privacy import People, hide_numbers
from charging.service.proven_time import confirm_time, time_warning
from charging.service.quotes import Quotes
from charging.service.refusal import Code, Refused, unknown_account
from charging.service.rehearsals import Rehearsals
from charging.service.statements import Statements
from charging.service.subscriptions import Subscriptions
from charging.service.trail import Noted, Trail
from charging.service.trail import Sought as ChangesSought
from charging.tariff.numbering import expected
from charging.tariff.tariff import Tariff

log = structlog.get_logger(__name__)

DEFAULTS = Policy()
WARNINGS_MAX = 100
"""Of a ledger, that are told together."""


class Service:
    """All parts of the service. Methods return a value or a Refused. They raise LedgerError if the store gave no
    answer, and ConfigError if there is no valid tariff."""

    def __init__(
        self,
        *,
        store: Store,
        tariff: Callable[[], Tariff],
        clock: Clock,
        funds_changed: Callable[[str], None],
        live: LiveCalls,
        fax: FaxDesk | None = None,
        answer_tolerance_ms: int = DEFAULTS.answer_tolerance_ms,
        touched: Callable[[str], None] = lambda _account: None,
        default_language: Language = Language.NL,
        mail_dropped: Callable[[str], None] = lambda _reason: None,
        payment_became: Callable[[str], None] = lambda _result: None,
        customer_page: PagePlace | None = None,
    ) -> None:
        """``funds_changed(account)`` is called after each change of credit by people (R22), ``touched(account)`` after
        each change of its credit, plan, numbers or settings; neither may wait. ``mail_dropped(reason)`` counts a mail
        that was dropped, ``payment_became(result)`` what a payment has become. Without ``fax`` no faxes are sent from
        here. ``default_language`` is that of accounts for which none is named. ``answer_tolerance_ms`` comes off what
        a running call is shown to cost, as off what it is charged."""

        def credit_changed(account: str) -> None:
            funds_changed(account)
            touched(account)

        self.mail_dropped = mail_dropped
        self.tariff, self.clock = tariff, clock
        self.default_language = default_language
        self.accounts = Accounts(store, tariff, clock, touched, default_language)
        self.numbers = Numbers(store, tariff, clock, touched)
        self.money = Money(store, tariff, clock, credit_changed)
        self.gifts = Gifts(store, tariff, clock, credit_changed)
        self.calls = Calls(store, live, clock, answer_tolerance_ms)
        self.balances = Balances(store, tariff, clock, self.calls)
        self.subscriptions = Subscriptions(store, self.accounts, tariff, clock)
        self.quotes = Quotes(store, tariff, clock)
        self.payments = Payments(store, tariff, clock, self.money, payment_became)
        self.page_tokens = PageTokens(store, clock, customer_page)
        self.statements = Statements(store, tariff, clock)
        self.fax_addresses, self.mailed_faxes = FaxAddresses(store, self.accounts, clock), MailedFaxes(store, clock)
        self.faxes, self.listed_faxes = Faxes(store, tariff, clock, fax), ListedFaxes(store, clock)
        self.slow_domains = SlowDomains(clock)
        self.imports = AccountImport(store, tariff, clock, self.accounts, self.numbers)
        self.people = People(store, clock)
        self.rehearsals = Rehearsals(store, self.accounts, self.numbers, self.money, self.calls)
        self.contradictions = Findings(store, clock)
        self.events = Events(store)
        self._store, self._decisions = store, Decisions(store.documents, clock)
        self._changes, self._trail = Changes(store, clock), Trail(store, clock)

    async def ping(self) -> None:
        """Return if the store answers; else LedgerUnavailable."""
        await self._store.ping()

    async def cdrs(
        self,
        *,
        account: str | None,
        since_us: int,
        until_us: int | None,
        after: tuple[int, str] | None,
        limit: int,
        backwards: bool = False,
    ) -> Sequence[CdrRow] | Refused:
        """A page of CDRs by end of call, oldest first; ``backwards``: newest first."""
        if account is not None and await self._store.directory.account(account) is None:
            return unknown_account(account)
        return await self._store.cdrs(
            account=account, since_us=since_us, until_us=until_us, after=after, limit=limit, backwards=backwards
        )

    async def cdr(self, account: str, session: str) -> CdrRow | Refused:
        """The CDR of one of the account's calls, messages and faxes that are over."""
        if await self._store.directory.account(account) is None:
            return unknown_account(account)
        row = await self._store.cdr(account, session)
        return row or Refused(Code.NOT_FOUND, f"account {account!r} has no CDR of {session[:80]!r}")

    async def decisions(
        self, sought: Sought, after: str | None, limit: int, *, backwards: bool = False
    ) -> tuple[list[Kept], str | None] | Refused:
        """A page of what was decided over calls, and the place behind it; see :meth:`Decisions.page`. The number may be
        written in any form."""
        if sought.account is not None and await self._store.directory.account(sought.account) is None:
            return unknown_account(sought.account)
        if sought.number is not None:
            tariff = self.tariff()
            normal = tariff.normalise(sought.number)
            if normal is None:
                wanted = expected(sought.number, tariff.region)
                return Refused(Code.INVALID, f"found {sought.number[:40]!r}, expected {wanted}")
            sought = replace(sought, number=normal)
        return await self._decisions.page(sought, after, limit, backwards=backwards)

    async def changes(
        self, sought: ChangesSought, after: str | None, limit: int, *, backwards: bool = False
    ) -> tuple[list[Noted], str | None] | Refused:
        """A page of who changed what, and the place behind it; see :meth:`Trail.page`."""
        if sought.account is not None and await self._store.directory.account(sought.account) is None:
            return unknown_account(sought.account)
        return await self._trail.page(sought, after, limit, backwards=backwards)

    async def tariff_accepted(self, digest: str, reason: str) -> None:
        """Note that an operator has accepted a doubtful tariff, which is in force already. If the ledger fails, only
        the log has the note."""
        try:
            await self._changes.noted(Act.TARIFF_ACCEPTED, after={"digest": digest, "reason": reason})
        except LedgerError as error:
            log.error("tariff_acceptance_not_noted", digest=digest, by=actor(), reason=reason, why=str(error))

    async def hide_numbers(self, before_us: int) -> AsyncIterator[int]:
        """Hide the numbers of others in CDRs that ended before ``before_us``: page by page, how many were changed."""
        async for changed, _ in hide_numbers(self._store, self.clock, before_us):
            yield changed

    async def ledger_warnings(self) -> Sequence[str]:
        """What an operator should mend before trusting the store with money, in sentences. At most ``WARNINGS_MAX``.
        Raises LedgerError."""
        warnings = list(await self._store.warnings())
        if doubtful := await time_warning(self._store, self.clock):
            warnings.append(doubtful)
        async for uncertain in uncertain_numbers(self._store, self.tariff()):
            if len(warnings) >= WARNINGS_MAX:
                return [*warnings, "there are more of them"]
            warnings.append(uncertain)
        return warnings

    async def confirm_time(self) -> int:
        """Note, on an operator's word, that this machine's clock is right, so that expiry goes on. Returns the wall
        clock, µs. Raises LedgerUnavailable."""
        return await confirm_time(self._store, self.clock)

    async def findings(self) -> AsyncIterator[str]:
        """Everything in the ledger that does not add up, as it is found, one line each; then what contradicts a booking
        and nobody has acknowledged yet."""
        async for finding in verify(self._store, LedgerContents(self.clock.now())):
            yield str(finding)
        for one in await self.contradictions.all():
            if one.done_us is None:
                yield f"finding {one.id}: {one.meaning} See `charging ledger findings`"
