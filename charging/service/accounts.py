"""Creates, edits, suspends and closes accounts. An account is never deleted: a closed one keeps its history (R21)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypedDict

from charging.clock import Clock
from charging.ledger.accounts import REHEARSAL, Account, Language, Status
from charging.ledger.port import Store
from charging.service import text
from charging.service.changes import Act, Changes, Facts, account_facts, differences
from charging.service.months import Months
from charging.service.refusal import Code, Refused, closed_account, unknown_account
from charging.tariff.tariff import Tariff

EDIT_TRIES_MAX = 5
"""Times that an edit is made again because someone else's came first."""


class AccountChanges(TypedDict, total=False):
    """What may be edited; a key that is left out stays as it is."""

    plan: str
    language: Language
    email: str


class Accounts:
    """The accounts in the store."""

    def __init__(
        self,
        store: Store,
        tariff: Callable[[], Tariff],
        clock: Clock,
        touched: Callable[[str], None] = lambda _account: None,
        default_language: Language = Language.NL,
    ) -> None:
        """``default_language`` is that of an account for which none is named.
        ``touched(account)`` is called after each edit; it must not wait."""
        self._store = store
        self._tariff = tariff
        self._clock = clock
        self._touched = touched
        self._default_language = default_language
        self._months = Months(store, tariff, clock)
        self._changes = Changes(store, clock)

    async def add(
        self, account: str, plan: str, language: Language | None = None, email: str = ""
    ) -> Account | Refused:
        """Make a customer's account on one of the tariff's plans."""
        wrong = text.account_id(account) or text.email(email)
        return wrong or await self._make(Account(account, plan, language or self._default_language, email))

    async def add_rehearsal(self, plan: str) -> Account | Refused:
        """Make the account that is no customer's."""
        return await self._make(Account(REHEARSAL, plan, Language.EN))

    async def _make(self, account: Account) -> Account | Refused:
        wrong = self._plan_refusal(account.plan)
        if wrong is not None:
            return wrong
        if await self.make(replace(account, created_us=self._clock.now().wall_us)):
            return await self.get(account.id)
        return Refused(Code.EXISTS, f"there is an account {account.id!r} already", "`charging account show` shows it")

    async def make(self, account: Account) -> bool:
        """Store a new account that was checked, and note that it is; ``False``: there is one of its id."""
        return await self._put(Act.ACCOUNT_MADE, account, {})

    async def get(self, account: str) -> Account | Refused:
        """The account of this id."""
        return await self._store.directory.account(account) or unknown_account(account)

    async def page(self, after: str, limit: int, *, backwards: bool = False) -> Sequence[Account]:
        """Up to ``limit`` accounts with ids beyond ``after``, by id; ``backwards``: before it, from the last on."""
        return await self._store.directory.accounts_page(after, limit, backwards=backwards)

    async def change(self, account: str, changes: AccountChanges) -> Account | Refused:
        """Edit plan, language or mail address. A new plan holds for calls from now on. If it gives more free minutes
        than the month has had, the difference is granted at once (also if the same change is repeated). If it gives
        less, the month keeps what it had."""
        wrong = text.email(changes.get("email", ""))
        if wrong is None and "plan" in changes:
            wrong = self._plan_refusal(changes["plan"])
        if wrong is not None:
            return wrong
        if "plan" not in changes:
            return await self.edit(account, lambda one: replace(one, **changes))
        changed = await self._edit(account, lambda one: replace(one, **changes))
        if isinstance(changed, Account):
            await self._months.raise_to_plan(account)
        self._touched(account)  # not before: between the two the account looks short of free minutes
        return changed

    async def suspend(self, account: str, reason: str) -> Account | Refused:
        """Forward no new calls; running ones go on while they can pay: `live.Calls.hang_up` ends one."""
        return text.reason(reason) or await self.edit(
            account, lambda one: replace(one, status=Status.SUSPENDED, status_reason=reason.strip())
        )

    async def activate(self, account: str, reason: str = "") -> Account | Refused:
        """Lift a suspension."""
        wrong = text.reason(reason) if reason else None
        return wrong or await self.edit(
            account, lambda one: replace(one, status=Status.ACTIVE, status_reason=reason.strip())
        )

    async def close(self, account: str, reason: str) -> Account | Refused:
        """Close for good: its credit is not refunded and its history stays (R21). Running calls go on as of
        :meth:`suspend`."""
        return text.reason(reason) or await self.edit(
            account, lambda one: replace(one, status=Status.CLOSED, status_reason=reason.strip())
        )

    async def edit(self, account: str, change: Callable[[Account], Account | Refused]) -> Account | Refused:
        """Apply ``change`` to the stored account, and again if another edit came in between. If it refuses or changes
        nothing, nothing is written."""
        try:
            return await self._edit(account, change)
        finally:  # also where the ledger fails: it may have been stored
            self._touched(account)

    async def _edit(self, account: str, change: Callable[[Account], Account | Refused]) -> Account | Refused:
        for _ in range(EDIT_TRIES_MAX):
            stored = await self._store.directory.account(account)
            if stored is None:
                return unknown_account(account)
            if stored.status is Status.CLOSED:
                return closed_account(account)
            changed = change(stored)
            if isinstance(changed, Refused) or changed == stored:
                return changed
            await self._months.keep(stored, changed)
            await self._changes.done(stored.change)
            if await self._put(Act.ACCOUNT_EDITED, changed, account_facts(stored)):
                return await self.get(account)
        return Refused(Code.CONFLICT, f"others keep editing account {account!r}", "try again")

    async def _put(self, act: Act, account: Account, before: Facts) -> bool:
        """Store the account, and note that it is; ``False``: someone else was faster."""
        was, now = differences(before, account_facts(account))
        note = await self._changes.asked(act, account=account.id, before=was, after=now)
        stored = await self._store.directory.put_account(replace(account, change=note))
        await self._changes.became(note, stored)
        return stored

    def _plan_refusal(self, plan: str) -> Refused | None:
        plans = self._tariff().plans
        if plan in plans:
            return None
        return Refused(Code.INVALID, f"found plan {plan[:80]!r}, expected one of " + ", ".join(plans), at="#/plan")
