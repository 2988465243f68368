"""A store that measures another: how long each operation took, and how it ended."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from typing import Protocol, TypeVar

from charging.clock import MICROSECONDS, Clock
from charging.errors import LedgerError
from charging.ledger.accounts import Account, Number
from charging.ledger.model import Applied, Balance, CdrRow, JournalLine, OpenSession, Outcome, Transfer
from charging.ledger.port import Store

T = TypeVar("T")


class Measure(Protocol):
    """Told of every operation."""

    def __call__(self, operation: str, outcome: str, seconds: float) -> None: ...


class MeteredStore:
    """A Store in front of a Store. ``outcome`` is the ledger's own, ``answered``, or the error's name."""

    def __init__(self, store: Store, clock: Clock, measure: Measure) -> None:
        self._store = store
        self._clock = clock
        self._measure = measure

    async def _timed(self, operation: str, work: Awaitable[T]) -> T:
        began = self._clock.now().mono_us
        outcome = "answered"
        try:
            result = await work
            if isinstance(result, Applied):
                outcome = result.outcome.value
            elif isinstance(result, Outcome):
                outcome = result.value
            return result
        except LedgerError as error:
            outcome = type(error).__name__
            raise
        finally:
            self._measure(operation, outcome, (self._clock.now().mono_us - began) / MICROSECONDS)

    async def open(self) -> None:
        await self._store.open()

    async def close(self) -> None:
        await self._store.close()

    async def ping(self) -> None:
        await self._timed("ping", self._store.ping())

    async def apply(self, transfer: Transfer, grants: Sequence[Transfer] = ()) -> Applied:
        return await self._timed(f"apply_{transfer.kind}", self._store.apply(transfer, grants))

    async def keep_session(self, account: str, session: str, state: str, epoch: int = 0) -> Outcome:
        return await self._timed("keep_session", self._store.keep_session(account, session, state, epoch))

    async def balances(self, account: str) -> Mapping[str, Balance]:
        return await self._timed("balances", self._store.balances(account))

    async def sessions(self, switch: str | None = None, account: str | None = None) -> Sequence[OpenSession]:
        return await self._timed("sessions", self._store.sessions(switch, account))

    def journal(self, account: str, after: int = 0) -> AsyncIterator[JournalLine]:
        return self._store.journal(account, after)

    async def journal_page(self, account: str, before: int | None, limit: int) -> Sequence[JournalLine]:
        return await self._timed("journal_page", self._store.journal_page(account, before, limit))

    async def cdrs(
        self,
        *,
        account: str | None = None,
        since_us: int = 0,
        until_us: int | None = None,
        after: tuple[int, str] | None = None,
        limit: int = 100,
    ) -> Sequence[CdrRow]:
        work = self._store.cdrs(account=account, since_us=since_us, until_us=until_us, after=after, limit=limit)
        return await self._timed("cdrs", work)

    async def account(self, account: str) -> Account | None:
        return await self._timed("account", self._store.account(account))

    async def put_account(self, account: Account) -> bool:
        return await self._timed("put_account", self._store.put_account(account))

    def accounts(self) -> AsyncIterator[Account]:
        return self._store.accounts()

    async def number(self, number: str) -> Number | None:
        return await self._timed("number", self._store.number(number))

    async def put_number(self, number: Number) -> bool:
        return await self._timed("put_number", self._store.put_number(number))

    async def remove_number(self, number: str) -> bool:
        return await self._timed("remove_number", self._store.remove_number(number))

    async def numbers(self, account: str | None = None) -> Sequence[Number]:
        return await self._timed("numbers", self._store.numbers(account))

    async def acquire_lease(self, switch: str, owner: str, ttl_s: float) -> int | None:
        return await self._timed("acquire_lease", self._store.acquire_lease(switch, owner, ttl_s))

    async def renew_lease(self, switch: str, owner: str, epoch: int, ttl_s: float) -> bool:
        return await self._timed("renew_lease", self._store.renew_lease(switch, owner, epoch, ttl_s))

    async def release_lease(self, switch: str, owner: str, epoch: int) -> None:
        await self._timed("release_lease", self._store.release_lease(switch, owner, epoch))

    async def self_check(self) -> Sequence[str]:
        return await self._store.self_check()
