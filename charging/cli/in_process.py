"""The control application in this process: if no daemon runs, and for commands that read much."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import httpx

from charging import __version__
from charging.app_surroundings import tariff_that_counts
from charging.cli.client import Client, client, whoever_types
from charging.cli.state_folder import make_ledger_folder
from charging.clock import SystemClock
from charging.ledger.accounts import Language
from charging.ledger.memory import MemoryStore
from charging.ledger.open import open_store
from charging.ledger.port import Store
from charging.logs import silence_logs
from charging.service.actor import acting
from charging.service.changes import Act, Changes
from charging.service.live import NoCalls
from charging.service.operators import Operators
from charging.service.service import Service
from charging.service.tokens import Tokens
from charging.service.webhooks import Webhooks
from charging.settings import Charging, Settings, ledger_password, sentinel_password
from charging.tariff.file import load_tariff
from charging.tariff.tariff import Tariff
from charging.web.control import control_app

BEGINS = ("/accounts", "/imports/accounts", "/operators", "/tokens")
"""What is asked of a new ledger: a top-up, say, needs an account, and whoever asks for one has lost his ledger."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The application, and the store that it is on: opened and closed by whoever asks it."""

    transport: httpx.ASGITransport
    store: Store

    async def open(self) -> None:
        await self.store.open()

    async def close(self) -> None:
        await self.store.close()


class _Here(httpx.AsyncBaseTransport):
    """The ledger that the settings name, opened in this process by the first request."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opened: Opened | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._opened is None:
            store = store_of(self._settings, begins=_begins(request))
            opened = _over(store, _counting(self._settings), self._settings)
            await opened.open()
            self._opened = opened
        return await self._opened.transport.handle_async_request(request)

    async def end(self) -> None:
        if self._opened is not None:
            await self._opened.close()


def _begins(request: httpx.Request) -> bool:
    """Whether it may begin a ledger where there is none: what needs nothing that is there already may."""
    return request.method == "POST" and request.url.path in BEGINS


def on_store(settings: Settings) -> AbstractContextManager[Client]:
    """Return a client over the ledger that the settings name, opened for as long as the client lasts."""
    here = _Here(settings)
    return client(here, daemon=False, close=here.end)


def reader(settings: Settings) -> Opened:
    """The application beside a daemon that writes."""
    return _over(store_of(settings, reads_only=True), _counting(settings), settings)


def store_of(settings: Settings, *, reads_only: bool = False, begins: bool = False, upgrades: bool = False) -> Store:
    """Return the ledger that the settings name, not opened yet; the rest is as for `open_store`. Raises ConfigError,
    LedgerMissing."""
    if begins:
        make_ledger_folder(settings)
    return open_store(
        settings.ledger.url,
        password=ledger_password(settings),
        sentinel_password=sentinel_password(settings),
        reads_only=reads_only,
        begins=begins,
        upgrades=upgrades,
    )


def note_accepted(settings: Settings, digest: str, reason: str) -> None:
    """Note that whoever types has let a doubtful tariff count, without a daemon. Raises ConfigError, LedgerError."""
    store = store_of(settings, begins=True)

    async def note() -> None:
        await store.open()
        try:
            with acting(whoever_types()):
                after = {"digest": digest, "reason": reason}
                await Changes(store, SystemClock()).noted(Act.TARIFF_ACCEPTED, after=after)
        finally:
            await store.close()

    asyncio.run(note())


def on_tariff(file: Path | Settings) -> AbstractContextManager[Client]:
    """A client for what needs no store: the prices in a tariff file, or those that count by the settings."""
    tariff = _counting(file) if isinstance(file, Settings) else cache(lambda: load_tariff(file))
    return _alone(_over(MemoryStore(), tariff))


def _alone(opened: Opened) -> AbstractContextManager[Client]:
    return client(opened.transport, daemon=False, open_=opened.open, close=opened.close)


def _over(store: Store, tariff: Callable[[], Tariff], settings: Settings | None = None) -> Opened:
    """``settings``: whose store it is."""
    silence_logs()
    charging = Charging(answer_tolerance_ms=0) if settings is None else settings.charging
    clock = SystemClock()
    service = Service(
        store=store,
        tariff=tariff,
        clock=clock,
        funds_changed=lambda account: None,
        live=NoCalls(),
        answer_tolerance_ms=charging.answer_tolerance_ms,
        default_language=Language(charging.default_language),
    )
    app = control_app(
        service,
        lambda: {"daemon": "none"},
        tokens=Tokens(store, clock),
        operators=Operators(store.documents, clock),
        hooks=Webhooks(store, clock, [] if settings is None else [one.name for one in settings.webhooks]),
        version=__version__,
    )
    return Opened(httpx.ASGITransport(app, raise_app_exceptions=True), store)


def _counting(settings: Settings) -> Callable[[], Tariff]:
    """Read when it is first needed: who lists accounts is not stopped by a tariff that is being edited."""
    return cache(lambda: tariff_that_counts(settings, SystemClock()))
