"""A store that fails on order: before it has written, or after it has, so that the outcome is unknown."""

from __future__ import annotations

import asyncio
import copy
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from charging.errors import LedgerError, LedgerUnavailable
from charging.ledger.memory import MemoryStore
from charging.ledger.model import CREDIT, Applied, Balance, Kept, Kind, Leg, Outcome, Transfer
from charging.ledger.port import Wanted

T = TypeVar("T")


class FaultyStore(MemoryStore):
    """The memory store behind a bad line."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self.chance = chance
        self.failing = 0.0
        """The share of writes that fail, half of them after they were carried out; 1: the store is out of reach."""
        self.unreadable = False
        """Out of reach for reading too."""
        self.lose_answers = 0
        """So many of the next ticks and settlements are carried out without an answer."""
        self.lose_reservation = False
        """The next reservation is carried out without an answer."""
        self.reserved: Callable[[], None] | None = None
        """Done once, in the moment in which a reservation was made and whoever asked for it does not know yet."""
        self.theft = 0
        """Micro-euro that someone else takes between the next extension's planning and its writing."""

    def remember(self) -> None:
        """What the replica has got so far."""
        self._then = copy.deepcopy(self._books), list(self.feed._entries)

    def fail_over(self) -> None:
        """The replica takes over: what was acknowledged since is lost."""
        books, self.feed._entries = self._then
        self._books.clear()
        self._books.update(books)

    def _fails(self) -> bool:
        return self.chance.random() < self.failing

    async def balances(self, account: str) -> Mapping[str, Balance]:
        """Other tasks run between the reading and whatever is made of it, as with a real store."""
        if self.failing >= 1 and self.unreadable:
            raise LedgerUnavailable
        found = await super().balances(account)
        await asyncio.sleep(0)
        return found

    async def apply(self, transfer: Transfer, grants: Sequence[Transfer] = ()) -> Applied:
        await asyncio.sleep(0)
        if self.theft and transfer.kind is Kind.EXTEND:
            leg, self.theft = Leg(CREDIT, -self.theft), 0
            await super().apply(Transfer("theft", transfer.account, Kind.CORRECT, 0, (leg,), reason="theft"))
        if self._loses_answer(transfer):
            await super().apply(transfer, grants)
            raise LedgerUnavailable
        if not self._fails():
            applied = await super().apply(transfer, grants)
            if self.reserved is not None and transfer.kind is Kind.RESERVE:
                reserved, self.reserved = self.reserved, None
                reserved()
            return applied
        if self.failing < 1 and self.chance.random() < 0.5:
            await super().apply(transfer, grants)
        raise LedgerUnavailable

    async def apply_all(self, wanted: Sequence[Wanted]) -> Sequence[Applied | LedgerError]:
        return [await _answer_of(self.apply(transfer, grants)) for transfer, grants in wanted]

    async def balances_of(self, accounts: Sequence[str]) -> Sequence[Mapping[str, Balance] | LedgerError]:
        return [await _answer_of(self.balances(account)) for account in accounts]

    def _loses_answer(self, transfer: Transfer) -> bool:
        if transfer.kind is Kind.RESERVE:
            lost, self.lose_reservation = self.lose_reservation, False
            return lost
        if transfer.session is None or not self.lose_answers:
            return False
        self.lose_answers -= 1
        return True

    async def keep_session(self, account: str, session: str, kept: Kept) -> Outcome:
        if not self._fails():
            return await super().keep_session(account, session, kept)
        if self.failing < 1 and self.chance.random() < 0.5:
            await super().keep_session(account, session, kept)
        raise LedgerUnavailable


async def _answer_of(asked: Awaitable[T]) -> T | LedgerError:
    """The failure of one is no failure of the others."""
    try:
        return await asked
    except LedgerError as error:
        return error
