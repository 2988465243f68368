"""Numbers of a simulated city that are added, removed, and moved from one account to another while calls to them run.
Who is asked for a change asks again until it is acknowledged; meanwhile a call may be the old owner's or the new one's,
and no third's."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from charging.ledger.accounts import Number
from charging.service.numbers import NumberSet
from charging.service.refusal import Code, Refused

if TYPE_CHECKING:
    from tests.simulation.callers import Caller
    from tests.simulation.city import City

MOVING = tuple(f"+3120123451{index}" for index in range(6))
"""Those of which this module has the say."""
EGYPTIAN = ("+2012345002", "+2012345000")
"""Whose digits are those of Dutch ones, written without the country."""


def spelled(number: str, chance: random.Random) -> str:
    """As one or another network writes it."""
    national = number.removeprefix("+31")
    return chance.choice((number, number, f"0031{national}", f"31{national}", f"0{national}", national))


class Numbers:
    """Who has which number."""

    def __init__(self, city: City) -> None:
        self._city = city
        self._settled: dict[str, str | None] = dict.fromkeys(MOVING)
        """``None``: nobody."""
        self._wanted: dict[str, str | None] = {}
        """Of those that somebody changes now."""
        self._asking: list[Caller] = []
        """Callers who are told now what becomes of them."""
        self._calling: list[Caller] = []
        """Those who have not left yet."""

    async def begin(self, accounts: Sequence[str], forward_to: str) -> None:
        """Egyptian numbers of two accounts; and the first half of the others has owners."""
        for account, number in zip((accounts[5], accounts[2]), EGYPTIAN, strict=True):
            await self._city.store.directory.put_number(Number(number, account, forward_to=forward_to), None)
        for account, number in zip(accounts, MOVING[::2], strict=False):
            await self._city.store.directory.put_number(Number(number, account, forward_to=forward_to), None)
            self._settled[number] = account

    def owners(self, number: str) -> set[str | None]:
        """Who may have it now."""
        settled = self._settled[number]
        return {settled, self._wanted.get(number, settled)}

    def begin_asking(self, caller: Caller) -> None:
        """From now on what is decided about him may be by any who gets the number meanwhile."""
        caller.owners = self.owners(caller.number)
        self._asking.append(caller)
        self._calling.append(caller)

    def end_call(self, caller: Caller) -> None:
        """He has left."""
        self._calling.remove(caller)

    def end_asking(self, caller: Caller) -> None:
        """It is decided."""
        self._asking.remove(caller)

    async def give(self, number: str, account: str, forward_to: str) -> None:
        """Where nobody has it."""
        if number not in self._wanted and self._settled[number] is None:
            await self._changed(number, account, forward_to)
            self._city.counts["number added"] += 1

    async def take(self, number: str) -> None:
        """Out of service."""
        if number not in self._wanted and self._settled[number] is not None:
            await self._changed(number, None)
            self._city.counts["number removed"] += 1

    async def move(self, number: str, account: str, forward_to: str) -> None:
        """From whoever has it: first it is taken, then it is given."""
        if number in self._wanted or self._settled[number] in (None, account):
            return
        await self._changed(number, None)
        await self.give(number, account, forward_to)
        self._city.counts["number moved to another account"] += 1

    async def reread(self) -> None:
        """The ledger has lost what was acknowledged: it says whose they are."""
        for number in self._settled:
            known = await self._city.store.directory.number(number)
            self._settle(number, None if known is None else known.account)

    async def _changed(self, number: str, account: str | None, forward_to: str = "") -> None:
        self._wanted[number] = account
        self._settle(number, self._settled[number])
        try:
            while True:
                answer = await self._asked(number, account, forward_to)
                if not isinstance(answer, Refused) or answer.code in (Code.EXISTS, Code.NOT_FOUND):
                    break
                await self._city.wait(1)
        finally:
            del self._wanted[number]
        self._settle(number, account)

    async def _asked(self, number: str, account: str | None, forward_to: str) -> NumberSet | Number | Refused:
        people = self._city.people
        if account is None:
            removed: Number | Refused = await people.acknowledged_by_any(lambda one: one.service.numbers.remove(number))
            return removed
        added: NumberSet | Refused = await people.acknowledged_by_any(
            lambda one: one.service.numbers.add(account, number, {"forward_to": forward_to})
        )
        return added

    def _settle(self, number: str, account: str | None) -> None:
        self._settled[number] = account
        now_us = self._city.clock.now().mono_us
        left_now = [one for one in self._city.callers if one.over_us == now_us]
        for caller in (one for one in (*self._calling, *left_now) if one.number == number):
            (caller.owners if caller in self._asking else caller.later).update(self.owners(number))
