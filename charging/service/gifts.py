"""Gifts with an end that an operator gives an account, and can take back: promotional credit, and the tariff's packs of
minutes, fax pages or messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from weakref import WeakValueDictionary

from charging.clock import Clock
from charging.ledger.accounts import Status
from charging.ledger.balances import PROMO, PROMOS_MAX, promo, usable
from charging.ledger.given_packs import GivenPacks
from charging.ledger.model import AMOUNT_MAX, Applied, Balance, Kind, Leg, Outcome, Transfer
from charging.ledger.port import Store
from charging.pricing.money import format_euro
from charging.pricing.packs import (
    PACKS_MAX,
    PIECES_MAX,
    WORDS,
    edition_of,
    kind_of_pack,
    last_day_of,
    name_of,
    pack_of,
    shares,
    shown_pack,
    sort_of,
)
from charging.service import text
from charging.service.actor import actor
from charging.service.changes import Changes
from charging.service.money import apply_once, is_recorded, minutes_refusal, recorded, refused_of
from charging.service.proven_time import dated
from charging.service.refusal import Code, Refused, closed_account, unknown_account
from charging.tariff.tariff import Tariff

AHEAD_MAX = timedelta(days=10 * 366)
"""No gift lasts longer."""


@dataclass(frozen=True, slots=True)
class Given:
    """The transfer of a gift stands in the journal."""

    transfer: str
    created: bool
    """``False``: it was there already, and nothing was changed now."""
    last_day: date
    amount: int
    """Micro-euro; negative: taken back."""
    left: Balance
    """All that ends on that day, after it."""


@dataclass(frozen=True, slots=True)
class PackGiven:
    """The transfer of a pack's seconds, or pieces, stands in the journal."""

    transfer: str
    created: bool
    """``False``: it was there already, and nothing was changed now."""
    pack: str
    last_day: date
    amount: int
    """Seconds, or pieces; negative: taken back."""
    sort: str
    """Of the pieces; empty: seconds."""
    left: Balance
    """All of the pack that ends on that day, after it."""


@dataclass(frozen=True, slots=True)
class PackWish:
    """A pack that is to be given, or taken back."""

    pack: str
    """Its name in the tariff."""
    last_day: date | None = None
    """``None``: as long as the tariff says, from today on."""
    minutes: int | None = None
    """``None``: as many as the tariff says; negative: taken back."""
    pieces: int | None = None
    """The same of a pack of fax pages or messages."""


class Gifts:
    """Gives promotional credit and packs, and takes them back."""

    def __init__(
        self, store: Store, tariff: Callable[[], Tariff], clock: Clock, funds_changed: Callable[[str], None]
    ) -> None:
        self._store = store
        self._tariff = tariff
        self._clock = clock
        self._funds_changed = funds_changed
        self._changes = Changes(store, clock)
        self._packs = GivenPacks(store.documents)
        self._giving: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """By account: how many it has is counted, and one more given, for one request after the other."""

    async def give_credit(self, account: str, amount: int, last_day: date, reason: str, key: str) -> Given | Refused:
        """Give promotional credit that can be spent through ``last_day`` in the operator's zone, once for each ``key``.
        Running calls can use it at once. A negative ``amount`` (micro-euro) takes credit back, never below zero.
        Raises LedgerUnavailable: ask again with the same key.
        """
        wrong = text.idempotency_key(key) or text.reason(reason) or _amount_refusal(amount)
        if wrong is not None:
            return wrong
        name, id = promo(last_day.isoformat()), f"correct/{key}"
        applied = await self._give(account, (Leg(name, amount),), last_day, reason, key)
        if isinstance(applied, Refused):
            return applied
        left = applied.balances.get(name, Balance())
        if applied.outcome is Outcome.INSUFFICIENT:
            most = f"at most the available {format_euro(left.available)} taken back"
            return Refused(Code.INSUFFICIENT, f"found {format_euro(amount)}, expected {most}")
        return Given(id, applied.outcome is Outcome.CREATED, last_day, amount, left)

    async def give_pack(self, account: str, wish: PackWish, reason: str, key: str) -> PackGiven | Refused:
        """Give one of the tariff's packs, once for each ``key``, or take some of it back, never below zero. Running
        calls can use it at once. If the same key may be sent again on another day, set ``last_day``. Raises
        LedgerUnavailable: ask again with the same key."""
        wrong = text.idempotency_key(key) or text.reason(reason)
        if wrong is not None:
            return wrong
        id = f"correct/{key}"
        usual = await self._usual(account, wish, id)
        if isinstance(usual, Refused):
            return usual
        amount = _amount_of(wish, usual)
        if isinstance(amount, Refused):
            return amount
        last_day = wish.last_day or usual.last_day
        balances = await self._store.balances(account)
        before = (Leg(usual.balance, amount),) if usual.balance else None
        legs = before or await self._pack_legs(wish.pack, last_day, usual.kind, amount, balances)
        if isinstance(legs, Refused):
            return legs
        applied = await self._give(account, legs, last_day, reason, key)
        if isinstance(applied, Refused):
            return applied
        found = await self._store.balances(account)
        mine = [found[one] for one in _all_of(wish.pack, last_day, usual.kind, found)]
        left = Balance(sum(one.posted for one in mine), sum(one.reserved for one in mine))
        if applied.outcome is Outcome.INSUFFICIENT:
            each, unit = (1, usual.words) if usual.sort else (60, "minutes")
            more = f"found {-amount // each} {unit} to take back, expected at most the {left.available // each} left"
            advice = f"{unit} that are reserved, by running calls or faxes, are not left"
            return Refused(Code.INSUFFICIENT, more, advice)
        return PackGiven(id, applied.outcome is Outcome.CREATED, wish.pack, last_day, amount, usual.sort or "", left)

    async def _pack_legs(
        self, pack: str, last_day: date, kind: str, amount: int, balances: Mapping[str, Balance]
    ) -> tuple[Leg, ...] | Refused:
        """Of a gift, under the rules of today, which are kept first; of what is taken back, from whatever rules it was
        given under, those of today first."""
        terms = self._tariff().terms.get(pack)
        name = pack if terms is None else terms.edition
        today = pack_of(name, last_day.isoformat(), kind)
        if amount > 0:
            if terms is None:
                return self._unknown(pack)
            await self._packs.keep(terms)
            return (Leg(today, amount),)
        pools = {one: balances[one].available for one in _all_of(pack, last_day, kind, balances)}
        taken = shares(-amount, {today: pools.pop(today, 0), **pools})
        if (missing := -amount - sum(taken.values())) > 0:  # which the ledger refuses
            taken[today] = taken.get(today, 0) + missing
        return tuple(Leg(one, -part) for one, part in taken.items())

    def _unknown(self, pack: str) -> Refused:
        known = ", ".join(self._tariff().packs) or "the tariff, which has none"
        wrong = f"found the pack {pack[:80]!r}, expected one of {known}"
        return Refused(Code.INVALID, wrong, "a section `packs` in the tariff says which there are", at="#/pack")

    async def _as_before(self, transfer: Transfer) -> Transfer:
        """The transfer as it was carried out before, where that was with the pack's rules of then."""
        leg = transfer.legs[0]
        if kind_of_pack(leg.balance) is None or await is_recorded(self._store, transfer):
            return transfer
        line = await recorded(self._store, transfer.account, transfer.id)
        if line is not None and _is_same_gift(line.legs, transfer.legs):
            return replace(transfer, legs=line.legs)
        for edition in await self._packs.editions(name_of(leg.balance)):
            before = f"{leg.balance.removesuffix(edition_of(leg.balance))}{edition}"
            other = replace(transfer, legs=(replace(leg, balance=before),))
            if len(transfer.legs) == 1 and await is_recorded(self._store, other):
                return other
        return transfer

    async def _give(
        self, account: str, legs: tuple[Leg, ...], last_day: date, reason: str, key: str
    ) -> Applied | Refused:
        """Give it, or take it back; what is answered was applied, or is more than is left."""
        id, now_us = f"correct/{key}", await dated(self._store, self._clock)
        wanted = Transfer(id, account, Kind.CORRECT, now_us, legs, reason=reason.strip(), actor=actor())
        async with self._giving.setdefault(account, asyncio.Lock()):
            transfer = await self._as_before(wanted)
            refused = await self._refusal(transfer, last_day)
            if refused is not None:
                return refused
            applied = await apply_once(self._store, self._changes, transfer)
        if applied.outcome.applied:
            self._funds_changed(account)
        elif applied.outcome is not Outcome.INSUFFICIENT:
            return refused_of(applied, transfer, key)
        return applied

    async def _usual(self, account: str, wish: PackWish, id: str) -> _Usual | Refused:
        """What a pack has, if nobody says it: as the tariff has it; where that has it no more, as the transfer of this
        id gave it."""
        tariff, pack = self._tariff(), wish.pack
        if (found := tariff.packs.get(pack)) is not None:
            last_day = tariff.day_of(await dated(self._store, self._clock)) + timedelta(days=found.days - 1)
            return _Usual(found.amount, last_day, found.kind)
        line = await recorded(self._store, account, id)
        kind = None if line is None else kind_of_pack(line.legs[0].balance)
        if line is not None and kind is not None and name_of((given := line.legs[0]).balance) == pack:
            return _Usual(given.posted, date.fromisoformat(last_day_of(given.balance)), kind, given.balance)
        if (wish.minutes or wish.pieces or 0) < 0:  # of one that has left the tariff some can be taken back
            for balance in await self._store.balances(account):
                if (kind := kind_of_pack(balance)) is not None and name_of(balance) == pack:
                    return _Usual(0, date.fromisoformat(last_day_of(balance)), kind)
        return self._unknown(pack)

    async def _refusal(self, transfer: Transfer, last_day: date) -> Refused | None:
        """Why a gift is not given now, unless it was given before."""
        refused = await self._not_now(transfer, transfer.legs[0], last_day)
        return None if refused is None or await is_recorded(self._store, transfer) else refused

    async def _not_now(self, transfer: Transfer, leg: Leg, last_day: date) -> Refused | None:
        account = transfer.account
        stored = await self._store.directory.account(account)
        if stored is None:
            return unknown_account(account)
        if stored.status is Status.CLOSED:
            return closed_account(account)
        today = self._tariff().day_of(transfer.at_us)
        if not today <= last_day <= today + AHEAD_MAX:
            found = f"found the last day {last_day}, expected one from {today} to {today + AHEAD_MAX}"
            return Refused(Code.NOT_ALLOWED, found, "what has ended expires by itself", at="#/last_day")
        balances, name = await self._store.balances(account), leg.balance
        kind, day = kind_of_pack(name), today.isoformat()
        there = usable(balances, day) if kind is None else _packs_left(balances, day, kind)
        most = PROMOS_MAX if kind is None else PACKS_MAX
        if leg.posted > 0 and name not in there and len(there) >= most:
            known = ", ".join(one.removeprefix(PROMO) if kind is None else shown_pack(one) for one in there)
            found = f"found one more, expected one of {known}: an account has {most} at most at once"
            return Refused(Code.NOT_ALLOWED, found, at="#/last_day")
        return None


@dataclass(frozen=True, slots=True)
class _Usual:
    """What a pack has."""

    amount: int
    last_day: date
    kind: str
    """What its balances begin with."""
    balance: str = ""
    """Where the tariff has it no more, and it was given under this key before."""

    @property
    def sort(self) -> str | None:
        """Of its pieces; ``None``: it has seconds."""
        return sort_of(self.kind)

    @property
    def words(self) -> str:
        """Its pieces, as people call them."""
        return WORDS[self.sort].replace("_", " ") if self.sort else ""


def _amount_of(wish: PackWish, usual: _Usual) -> int | Refused:
    """How many seconds, or pieces, are wanted."""
    if usual.sort is None:
        if wish.pieces is not None:
            found = f"found {wish.pieces} pieces of a pack of minutes, expected minutes"
            return Refused(Code.INVALID, found, at="#/pieces")
        seconds = usual.amount if wish.minutes is None else wish.minutes * 60
        return minutes_refusal(seconds // 60) or seconds
    if wish.minutes is not None:
        found = f"found {wish.minutes} minutes of a pack of {usual.words}, expected pieces"
        return Refused(Code.INVALID, found, at="#/minutes")
    pieces = usual.amount if wish.pieces is None else wish.pieces
    if 0 < abs(pieces) <= PIECES_MAX:
        return pieces
    found = f"found {pieces} {usual.words}, expected 1 to {PIECES_MAX}, or so many taken back"
    return Refused(Code.INVALID, found, at="#/pieces")


def _all_of(pack: str, last_day: date, kind: str, balances: Iterable[str]) -> list[str]:
    """The balances of a pack that ends on one day, whatever rules it was given under."""
    beginning = f"{kind}{last_day.isoformat()}:"
    return sorted(one for one in balances if one.startswith(beginning) and name_of(one) == pack)


def _is_same_gift(before: Sequence[Leg], now: Sequence[Leg]) -> bool:
    """Whether legs give, or take, as much of the same pack, whatever its rules."""
    of = {shown_pack(leg.balance) for leg in (*before, *now) if kind_of_pack(leg.balance) is not None}
    return len(of) == 1 and sum(leg.posted for leg in before) == sum(leg.posted for leg in now)


def _packs_left(balances: Mapping[str, Balance], today: str, kind: str) -> list[str]:
    found = (name for name, one in balances.items() if kind_of_pack(name) == kind and one.posted > 0)
    return sorted(name for name in found if last_day_of(name) >= today)


def _amount_refusal(amount: int) -> Refused | None:
    if 0 < abs(amount) <= AMOUNT_MAX:
        return None
    found = f"found {format_euro(amount)}, expected an amount that changes something"
    return Refused(Code.INVALID, found, at="#/amount")
