"""The money and number of a rehearsal (`charging check --call`). They belong to an account of the service's own, never
to a customer.

The account gets the money of one call, by a correction with a reason. What is left is taken back by another correction.
So the books are exact at every moment, and the journal shows why. If a rehearsal was killed halfway, the next one ends
it before it begins.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from charging.ledger.accounts import REHEARSAL, Account, Number
from charging.ledger.model import CREDIT, Balance, Kind
from charging.ledger.port import Store
from charging.service.accounts import AccountChanges, Accounts
from charging.service.live import Calls
from charging.service.money import Money
from charging.service.numbers import NumberChanges, Numbers
from charging.service.refusal import Code, Refused

LINES_SEEN = 100
"""Of the account's journal, the newest, in which a customer's purchase is looked for."""
REASON = "a rehearsal of charging check --call"


@dataclass(frozen=True, slots=True)
class Cleared:
    """After a rehearsal. Micro-euro."""

    taken_back: int
    credit: Balance
    """Of the account; nothing, unless its call is not booked yet."""


class Rehearsals:
    """One at a time."""

    def __init__(self, store: Store, accounts: Accounts, numbers: Numbers, money: Money, calls: Calls) -> None:
        self._store = store
        self._accounts = accounts
        self._numbers = numbers
        self._money = money
        self._calls = calls

    async def begin(self, number: str, plan: str, target: str, amount: int) -> Number | Refused:
        """Give the rehearsal's account the number, forwarded to ``target``, and ``amount`` micro-euro on ``plan``.
        Refused if the number belongs to a customer, or the call of another rehearsal is still running."""
        refused = await self._obstacle(number)
        if refused is not None:
            return refused
        await self.end()
        changes = AccountChanges(plan=plan)
        account = await self._accounts.change(REHEARSAL, changes)
        if isinstance(account, Refused) and account.code is Code.NOT_FOUND:
            account = await self._accounts.add_rehearsal(plan)
        if isinstance(account, Refused):
            return account
        added = await self._numbers.add(REHEARSAL, number, NumberChanges(forward_to=target, paid_voicemail=False))
        if isinstance(added, Refused):
            return added
        credited = await self._correct(amount)
        return credited if isinstance(credited, Refused) else added.number

    async def end(self) -> Cleared:
        """Remove the account's numbers, and take back its money as far as no call holds it."""
        for number in await self._store.directory.numbers(REHEARSAL):
            await self._numbers.remove(number.number)
        left = (await self._credit()).available
        if left > 0:
            await self._correct(-left)
        return Cleared(left, await self._credit())

    async def _obstacle(self, number: str) -> Refused | None:
        known = await self._numbers.get(number)
        if isinstance(known, Number) and known.account != REHEARSAL:
            message = f"{known.number} is a number of account {known.account!r}, whose calls would change"
            return Refused(Code.NOT_ALLOWED, message, "rehearse with a number of the same range that no customer has")
        account = await self._store.directory.account(REHEARSAL)
        if account is not None and await self._is_customers(account):
            message = f"the account {REHEARSAL!r} is a customer's: it has a mail address, was paid for or topped up"
            return Refused(Code.NOT_ALLOWED, message, "move the customer to another account, and rehearse by hand")
        if await self._calls.of(REHEARSAL):
            message = "another rehearsal runs, or was killed and its call still lasts"
            return Refused(Code.CONFLICT, message, "wait some minutes, then check again")
        return None

    async def _is_customers(self, account: Account) -> bool:
        """One of this name could be made before it was ours."""
        lines = await self._store.journal_page(REHEARSAL, None, LINES_SEEN)
        is_paid = account.paid_at_us is not None or any(line.kind is Kind.TOP_UP for line in lines)
        return is_paid or bool(account.email)

    async def _credit(self) -> Balance:
        return (await self._store.balances(REHEARSAL)).get(CREDIT, Balance())

    async def _correct(self, amount: int) -> Refused | None:
        corrected = await self._money.correct(REHEARSAL, amount, REASON, f"rehearsal-{secrets.token_hex(8)}")
        return corrected if isinstance(corrected, Refused) else None
