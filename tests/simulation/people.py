"""Who pays in a simulated city, and what support and website do for them: each act has a key, and is asked for until it
is acknowledged."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from charging.errors import ChargingError
from charging.ledger.accounts import Account
from charging.service.gifts import PackGiven, PackWish
from tests.simulation.machine import Daemon

if TYPE_CHECKING:
    from tests.simulation.city import City


@dataclass(frozen=True, slots=True)
class Paid:
    """A subscription that somebody paid."""

    at_us: int
    """When it was acknowledged, wall clock."""
    through: str
    """The last day that is paid, ``YYYY-MM-DD``."""


class People:
    """See the module; and what they were told is done, the truth that the books are held to."""

    def __init__(self, city: City) -> None:
        self._city = city
        self.acknowledged: dict[str, tuple[Counter[str], str, int, int]] = {}
        """What people were told is done, by its key: into which sum it went, whose, how much, and when (monotonic)."""
        self.forgot: list[int] = []
        """Since when a ledger had lost what was acknowledged, monotonic."""
        self.suspended: set[str] = set()
        """Accounts that were suspended at some time, or that somebody tried to suspend."""
        self.credited: Counter[str] = Counter()
        """Micro-euro by account, by people: what was acknowledged."""
        self.packs: Counter[str] = Counter()
        """Seconds by account, in the same way."""
        self.paid: defaultdict[str, list[Paid]] = defaultdict(list)
        """Subscriptions, by account."""
        self._keys = 0

    def _key(self, index: int) -> tuple[str, str]:
        """An account, and a key of an act about it."""
        self._keys += 1
        return f"a{index}", f"k{self._keys}"

    async def top_up(self, index: int, amount: int) -> None:
        """The same key until it is acknowledged, as the port asks."""
        account, key = self._key(index)
        await self.acknowledged_by_any(lambda one: one.service.money.top_up(account, amount, key))
        self._told(key, self.credited, account, amount)
        self._city.counts["top-up"] += 1

    async def pay(self, index: int, days: int) -> None:
        """A subscription, through so many days ahead; who has no paid plan cannot."""
        account, key = self._key(index)
        through = self._city.tariff.day_of(self._city.clock.now().wall_us) + timedelta(days=days)
        answer = await self.acknowledged_by_any(lambda one: one.service.subscriptions.paid(account, key, through))
        before = max((one.through for one in self.paid[account]), default="")
        if isinstance(answer, Account) and through.isoformat() > before:
            self.paid[account].append(Paid(self._city.clock.now().wall_us, through.isoformat()))
            self._city.counts["subscription paid"] += 1

    async def give(self, index: int, amount: int, days: int) -> None:
        """A gift with an end, so many days ahead, or taken back."""
        account, key = self._key(index)
        if (daemon := self._city.any_daemon()) is None:
            return
        last_day = self._city.tariff.day_of(self._city.clock.now().wall_us) + timedelta(days=days)
        answer = await self._acknowledged(
            lambda one: one.service.gifts.give_credit(account, amount, last_day, "gift", key), daemon
        )
        if hasattr(answer, "last_day"):
            self._told(key, self.credited, account, amount)
            self._city.counts["gift"] += 1

    async def give_pack(self, index: int, pack: str, minutes: int, days: int) -> None:
        """A pack of minutes, through so many days ahead, or some of it taken back."""
        account, key = self._key(index)
        if (daemon := self._city.any_daemon()) is None:
            return
        last_day = self._city.tariff.day_of(self._city.clock.now().wall_us) + timedelta(days=days)
        wish = PackWish(pack, last_day, minutes)
        answer = await self._acknowledged(lambda one: one.service.gifts.give_pack(account, wish, "pack", key), daemon)
        if isinstance(answer, PackGiven):
            self._told(key, self.packs, account, 60 * minutes)
            self._city.counts["pack"] += 1

    async def correct(self, index: int, amount: int) -> None:
        """Support takes or gives; what is not there is not taken."""
        account, key = self._key(index)
        if (daemon := self._city.any_daemon()) is None:
            return
        answer = await self._acknowledged(
            lambda one: one.service.money.correct(account, amount, "support", key), daemon
        )
        if hasattr(answer, "credit"):
            self._told(key, self.credited, account, amount)
            self._city.counts["correction"] += 1

    def _told(self, key: str, sums: Counter[str], account: str, amount: int) -> None:
        sums[account] += amount
        self.acknowledged[key] = sums, account, amount, self._city.clock.now().mono_us

    async def forget(self, since_us: int) -> None:
        """The ledger has lost what was acknowledged since then. Who topped up has to do it again, and calls, messages
        and faxes of that time may cost less than they are worth."""
        self.forgot.append(since_us)
        ids = {line.id.rpartition("/")[2] for one in self.credited async for line in self._city.store.journal(one)}
        for key, (sums, account, amount, told_us) in list(self.acknowledged.items()):
            if told_us < since_us or key in ids:
                continue
            del self.acknowledged[key]
            sums[account] -= amount
            self._city.counts["lost by the ledger: credit or pack"] += 1
        for caller in self._city.callers:
            if caller.over_us is None or caller.over_us >= since_us - self._city.setting.booked_within_us:
                caller.forgotten = True
        await self._city.numbers.reread()
        self._city.office.forget(since_us - self._city.setting.booked_within_us)

    async def _acknowledged(self, ask: Callable[[Daemon], Coroutine[Any, Any, Any]], daemon: Daemon) -> Any:
        """Ask until there is an answer, of whichever daemon runs."""
        while True:
            task = asyncio.create_task(ask(daemon))
            await asyncio.wait([task])
            if not task.cancelled() and task.exception() is None:
                return task.result()
            if not task.cancelled() and not isinstance(task.exception(), ChargingError):
                task.result()
            await self._city.wait(0.5)
            while (found := self._city.any_daemon()) is None:
                await self._city.wait_for_daemons()
            daemon = found

    async def acknowledged_by_any(self, ask: Callable[[Daemon], Coroutine[Any, Any, Any]]) -> Any:
        """Ask until some daemon answers, however long none runs."""
        while (daemon := self._city.any_daemon()) is None:
            await self._city.wait_for_daemons()
        return await self._acknowledged(ask, daemon)

    async def change(self, ask: Callable[[Daemon], Coroutine[Any, Any, Any]], what: str) -> None:
        """An edit of somebody, who does not try again where it fails."""
        if (daemon := self._city.any_daemon()) is None:
            return
        task = asyncio.create_task(ask(daemon))
        await asyncio.wait([task])
        if not task.cancelled() and isinstance(task.exception(), ChargingError | None):
            self._city.counts[what] += 1
