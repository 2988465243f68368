"""An account, its books and the caretaker, for tests that move the clock over months and years."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from zoneinfo import ZoneInfo

from charging.ledger.accounts import Account
from charging.ledger.balances import bundle, grant
from charging.ledger.memory import MemoryStore
from charging.ledger.model import CREDIT, Balance, Closed, Kind, Leg, Opened, Outcome, Transfer
from charging.ledger.port import Store
from charging.service.caretaker import Caretaker
from charging.tariff.plans import Plan
from tests.fakes.clock import FakeClock, right, running
from tests.fakes.rig import EURO, make_tariff

ZONE = ZoneInfo("Europe/Amsterdam")
PLANS = {
    "light": Plan("light", "table", is_paid=True),
    "pro": Plan("pro", "table", is_paid=True, free_seconds=600),
    "max": Plan("max", "table", is_paid=True, free_seconds=1500),
    "free": Plan("free", "table"),
}


class House:
    """An account, its books, the clock, and who takes care."""

    def __init__(self, clock: FakeClock, store: Store | None = None) -> None:
        """``store``: one that is open; without it one in memory."""
        self.clock = clock
        self.tariff = replace(make_tariff(), plans=MappingProxyType(PLANS))
        self.store = store or MemoryStore(clock)
        self.told: list[str] = []
        self.caretaker = self.another()
        self._moves = 0

    def another(self) -> Caretaker:
        """One more daemon, or the same one after a restart."""
        return Caretaker(self.store, lambda: self.tariff, self.clock, self.told.append, believed=right)

    async def open(self, account: str = "anna", plan: str = "free") -> None:
        assert await self.store.directory.put_account(Account(account, plan))

    async def edit(self, **changes: object) -> None:
        stored = await self.store.directory.account("anna")
        assert stored is not None
        assert await self.store.directory.put_account(replace(stored, **changes))  # type: ignore[arg-type]

    async def until(self, local: str) -> None:
        """Move both clocks to a local time."""
        at_us = self.at(local)
        assert at_us >= self.clock.now().wall_us, "time does not run backwards"
        await self.clock.advance((at_us - self.clock.now().wall_us) / 1_000_000)

    def at(self, local: str) -> int:
        return round(datetime.fromisoformat(local).replace(tzinfo=ZONE).timestamp()) * 1_000_000

    async def move(self, kind: Kind, *legs: Leg, account: str = "anna", **more: object) -> Outcome:
        self._moves += 1
        at_us = self.clock.now().wall_us
        transfer = Transfer(f"{kind}/{self._moves}", account, kind, at_us, legs, **more)  # type: ignore[arg-type]
        return (await self.store.apply(transfer)).outcome

    async def top_up(self, euro: int = 10) -> None:
        assert await self.move(Kind.TOP_UP, Leg(CREDIT, euro * EURO)) is Outcome.CREATED

    async def call(self, session: str, *legs: Leg, state: str = "{}") -> None:
        """A call opens and reserves."""
        opened = Opened("test", state)
        assert await self.move(Kind.RESERVE, *legs, session=session, change=opened) is Outcome.CREATED

    async def hang_up(self, session: str, kind: Kind, *legs: Leg) -> None:
        closed = Closed("", self.clock.now().wall_us, follows=1)
        assert await self.move(kind, *legs, session=session, change=closed) is Outcome.CREATED

    async def use_month(self, month: str, seconds: int, plan: str = "pro") -> None:
        at_us = self.clock.now().wall_us
        self._moves += 1
        used = Transfer(f"s{self._moves}", "anna", Kind.SETTLE, at_us, (Leg(bundle(month), -seconds),))
        granted = grant("anna", month, PLANS[plan].free_seconds, at_us, plan)
        assert (await self.store.apply(used, [granted])).outcome is Outcome.CREATED

    async def balance(self, key: str = CREDIT) -> Balance:
        return (await self.store.balances("anna")).get(key, Balance())

    async def credit_after_turn(self, local: str) -> int:
        """Move the clock, take one turn of a restarted daemon, and look at the credit."""
        await self.until(local)
        await self.another().turn()
        return (await self.balance()).posted

    async def expiries(self) -> list[str]:
        return [line.id async for line in self.store.journal("anna") if line.id.startswith("expire/")]

    def running(self) -> AbstractAsyncContextManager[None]:
        return running(self.caretaker.run(), "caretaker")
