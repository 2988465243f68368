"""Exclusive use of a ledger: an export, an import or an archive runs alone, and no daemon gets a lease meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

from charging.errors import LedgerUnavailable
from charging.ledger.port import SOLE, Store
from charging.ledger.unfinished import assert_whole

SOLE_TTL_S = 60.0
"""Seconds for which the store stays closed to daemons after the owner of the lease has died."""

RENEWAL_ROWS = 200

T = TypeVar("T")


async def assert_idle(store: Store, own: str = "") -> None:
    """Check that nobody uses the store. Raises LedgerUnavailable if a session is open or a lease is held, except
    ``own``, the caller's."""
    if held := [lease for lease in await store.leases.held_leases() if lease != own]:
        raise LedgerUnavailable(f"daemons are at work ({', '.join(held)}): stop them first")
    if sessions := await store.sessions():
        raise LedgerUnavailable(
            f"{len(sessions)} sessions are open, the first is {sessions[0].id}: "
            "start the daemon, let it settle them, and stop it"
        )


class Alone:
    """Holds the lease SOLE, and renews it while rows are processed."""

    def __init__(self, store: Store, owner: str, epoch: int) -> None:
        self._store = store
        self._owner = owner
        self._epoch = epoch
        self._rows = 0

    async def row(self) -> None:
        """Count one processed row, and renew the lease now and then. Raises LedgerUnavailable if the lease is lost."""
        self._rows += 1
        if self._rows % RENEWAL_ROWS == 0:
            await self.renew()

    async def over(self, rows: AsyncIterator[T]) -> AsyncIterator[T]:
        """Yield the rows, counting each by :meth:`row`."""
        async for row in rows:
            await self.row()
            yield row

    async def renew(self) -> None:
        """Renew the lease. Raises LedgerUnavailable if it is lost."""
        if not await self._store.leases.renew_lease(SOLE, self._owner, self._epoch, SOLE_TTL_S):
            raise LedgerUnavailable("this took too long and lost the ledger to others: begin again")

    async def assert_idle(self) -> None:
        """As the function of that name, but for this lease."""
        await assert_idle(self._store, f"switch {SOLE} by {self._owner}")


@asynccontextmanager
async def alone(store: Store, owner: str) -> AsyncIterator[Alone]:
    """Hold the lease; ``owner`` tells this run from every other. A daemon that has its own keeps it (``assert_idle``).

    Raises LedgerUnavailable where another has the lease, or an import was broken off.
    """
    epoch = await store.leases.acquire_lease(SOLE, owner, SOLE_TTL_S)
    if epoch is None:
        raise LedgerUnavailable("another export, import or archive has the ledger: wait for its end")
    try:
        await assert_whole(store.documents)
        yield Alone(store, owner, epoch)
    finally:
        with suppress(LedgerUnavailable):  # it lapses by itself
            await store.leases.release_lease(SOLE, owner, epoch)
