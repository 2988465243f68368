"""A store in a process that dies at a chosen write: as `kill -9` does, just before it or when it has become durable.

With a SQLite file the writes are the store's operations. With Redis they are the single commands on the wire, because a
daemon can die between any two of them: see :class:`tests.fakes.killing_relay.KillingRelay`.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from charging.ledger.metered import PARTS
from charging.ledger.model import Transfer
from charging.ledger.open import open_store
from charging.ledger.port import Store
from tests.fakes.clock import settle

When = Literal["before", "after"]

WRITES = frozenset({"apply", "apply_all", "keep_session", "put_account", "put_number", "acquire_lease", "renew_lease"})
DOCUMENT_WRITES = frozenset({"put_document", "update_document", "delete_document"})


@dataclass
class Reaper:
    """Counts writes, and ends the process at the one that is ordered."""

    at: int = 0
    """The number of the write, from 1; 0: never."""
    when: When = "before"
    last_will: Callable[[], None] = lambda: None
    """Called at the moment of death: for what lives on outside of the process."""
    writes: list[str] = field(default_factory=list)
    """The names of all so far."""

    async def write(self, name: str, carry_out: Callable[[], Awaitable[Any]]) -> Any:
        """Carry out a write, or die."""
        self.writes.append(name)
        doomed = len(self.writes) == self.at
        if doomed and self.when == "before":
            self._die()
        answer = await carry_out()
        if doomed:
            self._die()
        return answer

    def _die(self) -> None:
        self.last_will()
        os.kill(os.getpid(), signal.SIGKILL)


class KillingStore:
    """The store of a URL, with every operation watched: by a reaper (``None``: it watches elsewhere), and for
    :meth:`rest`."""

    def __init__(self, url: str, reaper: Reaper | None, writes: frozenset[str] = WRITES) -> None:
        self._store = open_store(url)
        self._reaper = reaper
        self._writes = writes
        self._on_their_way = 0
        self._returned = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return self._seen(self._store, name)

    def _seen(self, of: Any, name: str) -> Any:
        found = getattr(of, name)
        if name in PARTS:
            return Part(functools.partial(self._seen, found))
        return functools.partial(self._watched, name, found) if inspect.iscoroutinefunction(found) else found

    async def _watched(self, name: str, method: Callable[..., Awaitable[Any]], *arguments: Any, **options: Any) -> Any:
        self._on_their_way += 1
        try:
            if self._reaper is None or name not in self._writes:
                return await method(*arguments, **options)
            first = arguments[0]
            told = f"{name} {first.kind}" if isinstance(first, Transfer) else name
            if name == "apply_all":
                told = " and ".join(f"apply {transfer.kind}" for transfer, _ in first)
            return await self._reaper.write(told, functools.partial(method, *arguments, **options))
        finally:
            self._on_their_way -= 1
            self._returned.set()

    async def rest(self) -> None:
        """Return when every task waits for the clock: none for the store, none for another task."""
        await settle()
        while self._on_their_way:
            self._returned.clear()
            await self._returned.wait()
            await settle()

    @property
    def as_store(self) -> Store:
        """The same object, as the Store that it is in all but its type."""
        return cast(Store, self)


class Part:
    """What stands beside the ledger in such a store."""

    def __init__(self, seen: Callable[[str], Any]) -> None:
        self._seen = seen

    def __getattr__(self, name: str) -> Any:
        return self._seen(name)
