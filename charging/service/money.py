"""Changes of credit by people: top-ups (R1, R2, R22), corrections, and free minutes that an operator gives or takes
back (R11). No operation pays money out (R21)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from charging.clock import Clock
from charging.errors import LedgerError
from charging.ledger.accounts import Status
from charging.ledger.balances import PROMO, bundle, due_grant, granted, is_money, left
from charging.ledger.given_packs import GivenPacks
from charging.ledger.model import AMOUNT_MAX, CREDIT, Applied, Balance, JournalLine, Kind, Leg, Outcome, Transfer
from charging.ledger.port import Store
from charging.ledger.remembered import carried_out
from charging.pricing.money import format_euro
from charging.pricing.packs import MINUTES_MAX, WORDS, kind_of_pack, shown_pack, sort_of
from charging.records import dataclass
from charging.service import text
from charging.service.actor import actor
from charging.service.changes import Act, Changes
from charging.service.proven_time import dated
from charging.service.refusal import Code, Refused, closed_account, unknown_account
from charging.tariff.tariff import Tariff

REMEMBERED_LINES = 1_000
"""How many of an account's newest lines are searched for a repeated request that is no longer allowed."""

_MONTH = re.compile(r"[0-9]{4}-[0-9]{2}")


@dataclass(frozen=True, slots=True)
class Credited:
    """The transfer stands in the journal."""

    transfer: str
    """Its id."""
    created: bool
    """``False``: it was there already, and nothing was changed now."""
    amount: int
    """Micro-euro; negative for a correction that takes."""
    credit: Balance


@dataclass(frozen=True, slots=True)
class Minutes:
    """The transfer of free minutes stands in the journal."""

    transfer: str
    created: bool
    """``False``: it was there already, and nothing was changed now."""
    month: str
    seconds: int
    """Negative where they were taken back."""
    free: Balance
    """The month's free seconds after it."""


def reason_shown(line: JournalLine) -> str:
    """A line's reason; empty where it says no more than the line's kind does."""
    return "" if line.reason == line.kind else line.reason


class Money:
    """Changes of credit that are not calls."""

    def __init__(
        self, store: Store, tariff: Callable[[], Tariff], clock: Clock, funds_changed: Callable[[str], None]
    ) -> None:
        self._store = store
        self._packs = GivenPacks(store.documents)
        self._tariff = tariff
        self._clock = clock
        self._funds_changed = funds_changed
        self._changes = Changes(store, clock)

    async def top_up(self, account: str, amount: int, key: str, *, sold: bool = False) -> Credited | Refused:
        """Add bought credit, once for each ``key``. Calls can use it at once, running ones too (R22).

        ``amount`` in micro-euro. ``sold``: the amount was on sale when it was bought, so the present tariff does not
        matter. Raises LedgerUnavailable: ask again with the same key.
        """
        if (wrong := text.idempotency_key(key)) is not None:
            return wrong
        transfer = await self._transfer(f"top-up/{key}", account, Kind.TOP_UP, amount, "top_up")
        if isinstance(transfer, Refused):
            return transfer
        stored = await self._store.directory.account(account)
        if stored is None:
            return unknown_account(account)
        refused = None if sold else self._amount_refusal(amount)
        refused = closed_account(account) if stored.status is Status.CLOSED else refused
        if refused is not None and not await is_recorded(self._store, transfer):
            return refused
        return await self._apply(transfer, amount, key)

    async def was_topped_up(self, account: str, amount: int, key: str) -> bool:
        """Whether that top-up is booked. Raises LedgerUnavailable."""
        transfer = await self._transfer(f"top-up/{key}", account, Kind.TOP_UP, amount, "top_up")
        return not isinstance(transfer, Refused) and await is_recorded(self._store, transfer)

    async def correct(self, account: str, amount: int, reason: str, key: str) -> Credited | Refused:
        """Correct credit by ``amount`` micro-euro, up or down, never below zero; also of a closed account. Once for
        each ``key``. Raises LedgerUnavailable: ask again with the same key."""
        wrong = text.idempotency_key(key) or text.reason(reason)
        if wrong is None and amount == 0:
            wrong = Refused(
                Code.INVALID, "found an amount of nothing, expected one that changes the credit", at="#/amount"
            )
        if wrong is not None:
            return wrong
        transfer = await self._transfer(f"correct/{key}", account, Kind.CORRECT, amount, reason.strip())
        return transfer if isinstance(transfer, Refused) else await self._apply(transfer, amount, key)

    async def grant_minutes(
        self, account: str, minutes: int, reason: str, key: str, month: str | None = None
    ) -> Minutes | Refused:
        """Give free minutes of the present month in addition to those of the plan, once for each ``key``. Running calls
        can use them at once. Negative ``minutes`` takes some back, never below zero. They do not count as the plan's: a
        later upgrade still grants its whole difference. If ``month`` (``YYYY-MM``) is not the present one, it is
        refused, so that minutes asked for at a month's end are not given in the next. Raises LedgerUnavailable: ask
        again with the same key.
        """
        tariff, now_us = self._tariff(), await dated(self._store, self._clock)
        present = tariff.month_of(now_us)
        wrong = (
            text.idempotency_key(key)
            or text.reason(reason)
            or minutes_refusal(minutes)
            or (None if month is None or _MONTH.fullmatch(month) else _month_refusal(month, present))
        )
        if wrong is not None:
            return wrong
        stored = await self._store.directory.account(account)
        if stored is None:
            return unknown_account(account)
        seconds, plan, month = minutes * 60, tariff.plan(stored.plan), month or present
        # The second leg only says that this month's grants are counted, though the plan has granted nothing.
        legs = (Leg(bundle(month), seconds), Leg(granted(month), 0))
        transfer = Transfer(f"correct/{key}", account, Kind.CORRECT, now_us, legs, reason=reason.strip(), actor=actor())
        closed = closed_account(account) if stored.status is Status.CLOSED else None
        refused = closed or _month_refusal(month, present)
        if refused is not None and not await is_recorded(self._store, transfer):
            return refused
        gives, known = 0 if plan is None else plan.free_seconds, await self._store.balances(account)
        await self._packs.keep_monthly(tariff.monthly_terms(stored.plan))
        due = due_grant(account, present, known, gives, now_us, tariff.granted_as(stored.plan))
        applied = await apply_once(self._store, self._changes, transfer, () if due is None else (due,))
        free = applied.balances.get(bundle(month), Balance())
        match applied.outcome:
            case Outcome.CREATED | Outcome.EXISTS as outcome:
                self._funds_changed(account)
                return Minutes(transfer.id, outcome is Outcome.CREATED, month, seconds, free)
            case Outcome.INSUFFICIENT:
                most = left(applied.balances, present, gives).available // 60
                found = f"found {-minutes} minutes to take back, expected at most the {most} that are left"
                return Refused(Code.INSUFFICIENT, found, "minutes that running calls have reserved are not left")
        return refused_of(applied, transfer, key)

    async def journal_page(self, account: str, before: int | None, limit: int) -> Sequence[JournalLine] | Refused:
        """The account's newest lines, or those before a line's number, newest first."""
        if await self._store.directory.account(account) is None:
            return unknown_account(account)
        return await self._store.journal_page(account, before, limit)

    async def journal_from(self, account: str, after: int, limit: int) -> Sequence[JournalLine] | Refused:
        """The account's oldest lines behind a line's number, oldest first."""
        if await self._store.directory.account(account) is None:
            return unknown_account(account)
        found: list[JournalLine] = []
        async for line in self._store.journal(account, after):
            found.append(line)
            if len(found) == limit:
                break
        return found

    async def _transfer(self, transfer: str, account: str, kind: Kind, amount: int, reason: str) -> Transfer | Refused:
        if not -AMOUNT_MAX <= amount <= AMOUNT_MAX:
            return Refused(
                Code.INVALID, f"found {format_euro(amount)}, expected at most {format_euro(AMOUNT_MAX)}", at="#/amount"
            )
        at_us, legs = await dated(self._store, self._clock), (Leg(CREDIT, amount),)
        return Transfer(transfer, account, kind, at_us, legs, reason=reason, actor=actor())

    def _amount_refusal(self, amount: int) -> Refused | None:
        expected = self._tariff().top_up_refusal(amount)
        if expected is None:
            return None
        return Refused(Code.NOT_ALLOWED, f"found a top-up of {format_euro(amount)}, expected {expected}")

    async def _apply(self, transfer: Transfer, amount: int, key: str) -> Credited | Refused:
        applied = await apply_once(self._store, self._changes, transfer)
        credit = applied.balances.get(CREDIT, Balance())
        match applied.outcome:
            case Outcome.CREATED | Outcome.EXISTS as outcome:
                # Also when it existed: whoever made it may have ended before the calls were told.
                self._funds_changed(transfer.account)
                return Credited(transfer.id, outcome is Outcome.CREATED, amount, credit)
            case Outcome.INSUFFICIENT:
                found = f"found {format_euro(amount)}, expected at most the available {format_euro(credit.available)}"
                return Refused(Code.INSUFFICIENT, found + " taken", "credit never falls below zero")
        return refused_of(applied, transfer, key)


async def recorded(store: Store, account: str, id: str) -> JournalLine | None:
    """The line of a transfer's id, among the account's newest. Raises LedgerUnavailable."""
    lines = await store.journal_page(account, None, REMEMBERED_LINES)
    return next((line for line in lines if line.id == id), None)


async def is_recorded(store: Store, transfer: Transfer) -> bool:
    """Whether it was carried out before: then it is answered so again, whatever has stopped being allowed. Raises
    LedgerUnavailable."""
    if await carried_out(store, transfer) is Outcome.EXISTS:
        return True
    line = await recorded(store, transfer.account, transfer.id)
    return line is not None and line.digest == transfer.digest


async def apply_once(store: Store, changes: Changes, transfer: Transfer, grants: Sequence[Transfer] = ()) -> Applied:
    """Apply a transfer that someone asks for, and note it, unless it was, and is archived by now."""
    archived = await carried_out(store, transfer)
    if archived is None:
        return await apply_noted(store, changes, transfer, grants)
    return Applied(archived, await store.balances(transfer.account))


_ACTS = {Kind.TOP_UP: Act.TOPPED_UP, Kind.CORRECT: Act.CORRECTED, Kind.EXPIRE: Act.EXPIRED}


async def apply_noted(store: Store, changes: Changes, transfer: Transfer, grants: Sequence[Transfer] = ()) -> Applied:
    """Apply a transfer that is no call's, with a note of it. Raises LedgerUnavailable: the outcome is unknown. Once
    the outcome is known only the note may be left, to be settled later."""
    leg = transfer.legs[0]
    is_given = leg.balance.startswith(PROMO)
    act = Act.PROMOTION if is_given else _ACTS[transfer.kind] if leg.balance == CREDIT else Act.MINUTES
    name, told, what = ("credit", format_euro, "amount") if is_money(leg.balance) else ("free_seconds", int, "seconds")
    if (sort := sort_of(leg.balance)) is not None:
        act, name, what = Act.PIECES, WORDS[sort], WORDS[sort]
    kind = kind_of_pack(leg.balance)
    in_pack = {} if kind is None else {"pack": shown_pack(leg.balance)}
    posted = sum(one.posted for one in transfer.legs)
    facts = {what: told(posted), "reason": transfer.reason, **in_pack}
    if is_given:
        name, facts = "promotional", facts | {"last_day": leg.balance.removeprefix(PROMO)}
    note = await changes.asked_by(transfer, act, facts)
    applied = await store.apply(transfer, grants)
    if applied.outcome is Outcome.CREATED:
        now = sum(applied.balances[one.balance].posted for one in transfer.legs)
        await changes.became(note, True, {name: told(now - posted)}, {name: told(now)})
    else:
        await changes.became(note, made=False)
    return applied


def minutes_refusal(minutes: int) -> Refused | None:
    """Why so many minutes cannot be given or taken back at once; ``None`` if they can."""
    if 0 < abs(minutes) <= MINUTES_MAX:
        return None
    found = f"found {minutes} minutes, expected 1 to {MINUTES_MAX}, or so many taken back"
    return Refused(Code.INVALID, found, at="#/minutes")


def _month_refusal(month: str, present: str) -> Refused | None:
    if month < present:
        return Refused(Code.NOT_ALLOWED, f"the month {month[:20]} is over", "its minutes have expired; correct credit")
    if month != present:
        return Refused(Code.NOT_ALLOWED, f"found the month {month[:20]!r}, expected the present one, {present}")
    return None


def refused_of(applied: Applied, transfer: Transfer, key: str) -> Refused:
    """The refusal that the ledger's answer to a person's request means. Raises LedgerError for any other answer."""
    match applied.outcome:
        case Outcome.DIFFERS:
            message = f"key {key!r} was used before, for another amount or reason; nothing was changed"
            return Refused(Code.KEY_REUSED, message, "look into the journal; use a new key for a new act")
        case Outcome.EXCEEDS_LIMIT:
            leg = transfer.legs[0]
            unit = "seconds" if sort_of(leg.balance) is None else "pieces"
            found = format_euro(leg.posted) if is_money(leg.balance) else f"{leg.posted} {unit}"
            most = format_euro(AMOUNT_MAX) if is_money(leg.balance) else AMOUNT_MAX
            return Refused(Code.NOT_ALLOWED, f"found {found} more, expected at most {most} with what is there")
        case Outcome.ACCOUNT_NOT_FOUND:
            return unknown_account(transfer.account)
    raise LedgerError(f"transfer {transfer.id} was answered {applied.outcome}: {applied.detail}")
