"""Leadership: of several daemons that share a ledger, the one that holds a switch's lease ticks its calls.

The lease's epoch goes into every change of a session, and the ledger refuses an older epoch. So a daemon that was
frozen and wakes up late can change nothing. It orders nothing either, since it first asks its own clock whether its
lease can still be valid (`LeaseKeeper.holds`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NoReturn, Protocol

from charging.clock import MICROSECONDS, Clock
from charging.engine import told
from charging.engine.ports import Observer
from charging.errors import LedgerError
from charging.ledger.port import Leases
from charging.tasks import end

RENEWALS_PER_TTL = 4

UNFIT_PAUSE_S = 0.1
"""Between two looks whether this daemon has become fit: at a start all calls wait for that."""


class Follower(Protocol):
    """What acts only while the lease is held."""

    async def lead(self, epoch: int) -> None:
        """The lease is gained, with this epoch. Cancelled if the lease is lost before this returns."""

    async def stand_by(self) -> None:
        """The lease is lost. It is not sought again before this returns."""


class LeaseKeeper:
    """Acquires the lease of one switch, renews it, and reports when it is gained or lost."""

    def __init__(
        self,
        leases: Leases,
        clock: Clock,
        *,
        switch_id: str,
        owner: str,
        ttl_s: float,
        observe: Observer,
        fit: Callable[[], bool] = lambda: True,
    ) -> None:
        """``ttl_s`` is how many seconds the lease lasts without renewal. While ``fit`` is false, the lease is left to
        another daemon."""
        self._leases = leases
        self._clock = clock
        self.switch_id, self.ttl_s = switch_id, ttl_s
        self._owner = owner
        self._ttl_us = round(ttl_s * MICROSECONDS)
        self._observe = observe
        self._fit = fit
        self._epoch: int | None = None
        self._until_us = 0
        """Monotonic: counted from before the asking, so it ends before the store's own reckoning does."""
        self._taking_over: asyncio.Task[None] | None = None
        self.is_known = False
        """Whether the ledger has said whose the lease is."""

    @property
    def owner(self) -> str:
        """The name of this daemon among those that share the ledger."""
        return self._owner

    @property
    def holds(self) -> bool:
        """Whether the lease is certainly ours now."""
        return self._epoch is not None and self._clock.now().mono_us < self._until_us

    async def run(self, follower: Follower) -> NoReturn:
        """Keep the lease, for ever. Raises what ``follower`` raised."""
        try:
            while True:
                await self.turn(follower)
                await self._until_next_turn()
        finally:
            await self._end_taking_over()

    async def _until_next_turn(self) -> None:
        """Pause until the next renewal. A take-over goes on meanwhile: of many calls it may last longer than a
        lease."""
        pause = asyncio.create_task(self._pause())
        try:
            if self._taking_over is not None:
                await asyncio.wait((pause, self._taking_over), return_when=asyncio.FIRST_COMPLETED)
                if self._taking_over.done():
                    await self._taking_over
                    self._taking_over = None
            await pause
        finally:
            pause.cancel()

    async def _pause(self) -> None:
        pause_us = self._ttl_us // RENEWALS_PER_TTL if self._fit() else round(UNFIT_PAUSE_S * MICROSECONDS)
        await self._clock.sleep_until(self._clock.now().mono_us + pause_us)

    async def turn(self, follower: Follower) -> None:
        """Acquire or renew the lease, or notice that it is lost. A daemon that is not fit releases it."""
        if not self._fit():
            await self._leave_to_another(follower)
            return
        asked_us = self._clock.now().mono_us
        try:
            kept = await self._renew() if self._epoch is not None else await self._acquire()
        except LedgerError as error:
            self._observe(told.LeaseNotRenewed(str(error)))
            if self._epoch is not None and not self.holds:
                await self._give_up(follower)
            return
        self.is_known = True
        if kept:
            self._until_us = asked_us + self._ttl_us
        if kept and self._epoch is None:
            self._epoch = kept
            self._observe(told.LeaseGained(self.switch_id, kept))
            self._taking_over = asyncio.create_task(follower.lead(kept), name="take-over")
        elif not kept and self._epoch is not None:
            await self._give_up(follower)

    async def release(self) -> None:
        """Release the lease, so that another daemon need not wait for its end. Raises LedgerError."""
        if self._epoch is not None:
            await self._leases.release_lease(self.switch_id, self._owner, self._epoch)
            self._epoch = None

    async def _leave_to_another(self, follower: Follower) -> None:
        if (epoch := self._epoch) is None:
            return
        await self._give_up(follower)
        try:
            await self._leases.release_lease(self.switch_id, self._owner, epoch)
        except LedgerError as error:
            self._observe(told.LeaseNotReleased(str(error)))  # it runs out by itself

    async def _acquire(self) -> int:
        return await self._leases.acquire_lease(self.switch_id, self._owner, self.ttl_s) or 0

    async def _renew(self) -> int:
        epoch = self._epoch or 0
        return epoch if await self._leases.renew_lease(self.switch_id, self._owner, epoch, self.ttl_s) else 0

    async def _give_up(self, follower: Follower) -> None:
        self._epoch = None
        self._observe(told.LeaseLost(self.switch_id))
        await self._end_taking_over()
        await follower.stand_by()

    async def _end_taking_over(self) -> None:
        """Cancel a take-over. Raises its error if it had failed before."""
        task, self._taking_over = self._taking_over, None
        if task is not None:
            await end([task])
            if not task.cancelled():
                task.result()
