"""The operator's numbers: their accounts and their forward targets."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypedDict

from charging.clock import Clock
from charging.ledger.accounts import Account, Number, Status
from charging.ledger.port import Store
from charging.service import text
from charging.service.accounts import EDIT_TRIES_MAX
from charging.service.actor import customer
from charging.service.changes import Act, Changes, differences, number_facts
from charging.service.refusal import Code, Refused, closed_account, unknown_account
from charging.tariff.numbering import expected, is_certain, service_of
from charging.tariff.tariff import Refusal, Tariff

PAGE = 500
"""Numbers that are read together."""
_E164 = re.compile(r"\+[0-9]{1,15}")


class NumberChanges(TypedDict, total=False):
    """What may be edited; a key that is left out stays as it is."""

    forward_to: str
    """As typed; empty: not forwarded."""
    paid_voicemail: bool | None
    mailbox: str


@dataclass(frozen=True, slots=True)
class NumberSet:
    """The number as it is stored now, and what is odd about it."""

    number: Number
    warnings: tuple[str, ...] = ()


class Numbers:
    """The numbers in the store."""

    def __init__(
        self,
        store: Store,
        tariff: Callable[[], Tariff],
        clock: Clock,
        touched: Callable[[str], None] = lambda _account: None,
    ) -> None:
        """``touched(account)`` is called after each change of one of its numbers; it must not wait."""
        self._store = store
        self._tariff = tariff
        self._clock = clock
        self._touched = touched
        self._changes = Changes(store, clock)

    async def add(self, account: str, number: str, settings: NumberChanges) -> NumberSet | Refused:
        """Give a number to an account."""
        normal = self._subscriber_number(number)
        if isinstance(normal, Refused):
            return normal
        for _ in range(EDIT_TRIES_MAX):
            if (known := await self._store.directory.number(normal)) is not None:
                return _taken(known)
            if (made := await self._put(Number(normal, account), settings, None)) is not None:
                return made
        return _contended(normal)

    async def get(self, number: str) -> Number | Refused:
        """A number, in whatever form it is written. A customer sees his own alone: that is looked at here, for a
        number may become another's between any look before and this one. One that is stored as no number is written
        any more is found by that very text, and can be removed."""
        normal = self._tariff().normalise(number)
        known = await self._store.directory.number(normal) if normal is not None else None
        if _E164.fullmatch(number) and number != normal:
            known = await self._store.directory.number(number) or known
        return known if known is not None and customer() in ("", known.account) else _unknown(number[:40])

    async def change(self, number: str, changes: NumberChanges) -> NumberSet | Refused:
        """Edit a number's forward target and voicemail, and again if another edit came in between. A number that was
        removed meanwhile stays removed."""
        for _ in range(EDIT_TRIES_MAX):
            known = await self.get(number)
            if isinstance(known, Refused):
                return known
            if (changed := await self._put(known, changes, known)) is not None:
                return changed
        return _contended(number[:40])

    async def remove(self, number: str) -> Number | Refused:
        """Take a number out of service, and again if an edit came in between; the history of its calls stays. One that
        has become another account's meanwhile stays that one's."""
        account: str | None = None
        for _ in range(EDIT_TRIES_MAX):
            known = await self.get(number)
            if isinstance(known, Refused):
                return known
            if account not in (None, known.account):
                return _moved(known)
            account = known.account
            if await self._removed(known):
                self._touched(account)
                return known
        return _contended(number[:40])

    async def _removed(self, known: Number) -> bool:
        """Remove it, and note that it is; ``False``: something else is stored by now."""
        await self._changes.done(known.change)
        facts = number_facts(known)
        note = await self._changes.asked(Act.NUMBER_REMOVED, account=known.account, number=known.number, before=facts)
        removed = await self._store.directory.remove_number(known)
        await self._changes.became(note, removed)
        return removed

    async def page(
        self, after: str, limit: int, account: str | None = None, *, backwards: bool = False
    ) -> Sequence[Number] | Refused:
        """Up to ``limit`` numbers beyond ``after``, in order, of one account or all; ``backwards``: before it, from the
        last on."""
        if account is not None and await self._store.directory.account(account) is None:
            return unknown_account(account)
        return await self._store.directory.numbers_page(after, limit, account, backwards=backwards)

    def _subscriber_number(self, number: str) -> str | Refused:
        tariff = self._tariff()
        normal = tariff.normalise(number)
        if normal is None or not normal.startswith("+"):
            return Refused(
                Code.INVALID, f"found {number[:40]!r}, expected {expected(number, tariff.region)}", at="#/number"
            )
        return normal

    async def _put(self, number: Number, changes: NumberChanges, expected: Number | None) -> NumberSet | Refused | None:
        """Store the number with its changes in the place of ``expected``; ``None``: something else is stored by now."""
        account = await self._store.directory.account(number.account)
        if account is None:
            return unknown_account(number.account)
        if account.status is Status.CLOSED:
            return closed_account(account.id)
        prepared = await self.prepared(number, account, changes)
        if isinstance(prepared, Refused):
            return prepared
        if prepared.number == expected:
            return prepared
        if expected is not None:
            await self._changes.done(expected.change)
        if not await self.store(prepared.number, expected):
            return None
        self._touched(account.id)
        return prepared

    async def store(self, number: Number, expected: Number | None = None) -> bool:
        """Store the number in the place of ``expected``, and note that it is; ``False``: something else is stored by
        now."""
        act = Act.NUMBER_ADDED if expected is None else Act.NUMBER_EDITED
        before, after = differences({} if expected is None else number_facts(expected), number_facts(number))
        names = {"account": number.account, "number": number.number}
        note = await self._changes.asked(act, **names, before=before, after=after)
        since_us = self._clock.now().wall_us if expected is None else number.since_us
        made = replace(number, change=note, since_us=since_us)
        stored = await self._store.directory.put_number(made, expected)
        await self._changes.became(note, stored)
        return stored

    async def prepared(self, number: Number, account: Account, changes: NumberChanges) -> NumberSet | Refused:
        """The number with its changes, checked and not stored."""
        if (wrong := text.mailbox(changes.get("mailbox", ""))) is not None:
            return wrong
        warnings = self._voicemail_warnings(changes, account)
        wanted = changes.get("forward_to")
        if wanted:
            target = await self._target(wanted, number, account)
            if isinstance(target, Refused):
                return target
            changes = {**changes, "forward_to": target[0]}
            warnings += target[1]
        return NumberSet(replace(number, **changes), warnings)

    def _voicemail_warnings(self, changes: NumberChanges, account: Account) -> tuple[str, ...]:
        plan = self._tariff().plan(account.plan)
        if not changes.get("paid_voicemail") or plan is None or plan.voicemail_price:
            return ()
        return (f"voicemail costs nothing until plan {plan.name!r} has a price for a message",)

    async def _target(self, wanted: str, number: Number, account: Account) -> tuple[str, tuple[str, ...]] | Refused:
        """The normalised target, and a warning if there is something odd about it. A target that can never be called is
        refused. One that the tariff has no price for is stored with a warning, because tariffs change."""
        tariff = self._tariff()
        target = tariff.normalise(wanted)
        if target is None:
            message = f"found {wanted[:40]!r}, expected {expected(wanted, tariff.region)}"
            return Refused(Code.INVALID, message, at="#/forward_to")
        if target == number.number or await self._store.directory.number(target) is not None:
            return Refused(
                Code.NOT_ALLOWED, f"{target} is one of our own numbers: the call would come back", "forward elsewhere"
            )
        if not target.startswith("+"):
            message = f"{target} is a short code, which means another thing in another network"
            return Refused(Code.NOT_ALLOWED, message, "forward to a telephone number such as +31612345678")
        odd = () if tariff.exists(target) else (f"{target} is no number that its country gives out: look for a slip",)
        if service := service_of(target):
            dear = f"{target} is a {service} number of its country: look what the carrier takes for it"
            odd = (*odd, f"{dear}, and whether the tariff should refuse it")
        match tariff.rate_for(account.plan, target, self._clock.now().wall_us):
            case Refusal.BLOCKED | Refusal.PREMIUM as refusal:
                message = f"the tariff refuses calls to {target} ({refusal})"
                return Refused(Code.NOT_ALLOWED, message, "forward to a number that can be priced")
            case Refusal() as refusal:
                return target, (*odd, f"calls to {target} are not forwarded until the tariff prices them ({refusal})")
        return target, odd


async def uncertain_numbers(store: Store, tariff: Tariff) -> AsyncIterator[str]:
    """A sentence for each number that is stored, or forwarded to, as no number is written any more: an older version
    took it. Raises LedgerError."""
    after = ""
    while rows := await store.directory.numbers_page(after, PAGE):
        for one in rows:
            if not is_certain(one.number):
                cure = "remove it (`charging number remove`), and add it again as it is dialled"
                yield f"account {one.account!r} has the number {one.number}, which is no certain number; {cure}"
            if not is_certain(one.forward_to):
                what = f"{one.number} is forwarded to {one.forward_to}, which is no certain number and is not dialled"
                yield f"{what}; expected {expected(one.forward_to, tariff.region)}: `charging number set --forward-to`"
        after = rows[-1].number


def _taken(number: Number) -> Refused:
    message = f"{number.number} belongs to account {number.account!r} already"
    return Refused(Code.EXISTS, message, "`charging number remove` takes it back, `charging number set` edits it")


def _contended(number: str) -> Refused:
    return Refused(Code.CONFLICT, f"others keep editing number {number}", "try again")


def _moved(number: Number) -> Refused:
    message = f"{number.number} has just become account {number.account!r}'s"
    return Refused(Code.CONFLICT, message, "look whose it is, and remove it again if it is to go there too")


def _unknown(number: str) -> Refused:
    return Refused(Code.NOT_FOUND, f"{number} is none of our numbers", "`charging number list` shows those there are")
