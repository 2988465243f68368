"""A desk for faxes without a switch's line and without programs that read documents."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import NoReturn, Protocol

from charging.engine.ports import FaxLine, FaxOrder
from charging.engine.sessions import Registry
from charging.fax.desk import FaxDesk, Paper
from charging.pricing.rate import Step
from charging.tariff.tariff import Price, RateTable

PAGE = 80_000
"""Micro-euro of a page to a Dutch mobile number."""
MAX_BYTES = 20_000

FAX_TABLES = {"table": RateTable("table", {"nl_mobile": Price((Step(0, 60_000, 60, 1),), fax_page=PAGE)})}
"""For a tariff of `tests.fakes.rig.make_tariff`."""


class SlowBodies:
    """Bodies of requests that begin, and end once it is told."""

    def __init__(self, begin: bytes = b"x") -> None:
        self.go = asyncio.Event()
        self.begun = 0
        self._begin = begin

    async def one(self) -> AsyncIterator[bytes]:
        yield self._begin
        self.begun += 1
        await self.go.wait()


class Paperless:
    """A folder that finds a page in every ten bytes begun, and keeps nothing."""

    async def prepare(self, account: str, session: str, data: bytes, *, patient: bool = True) -> Paper:
        return Paper(max(1, -(-len(data) // 10)), f"/fax/{session}.tif", session)

    async def pages_of(self, account: str, data: bytes) -> int | None:
        return None

    def remove(self, name: str) -> None:
        pass

    async def sweep_for_ever(self) -> NoReturn:
        raise AssertionError("nothing to sweep")


class Proven(Protocol):
    """What a real line and a fake switch have in common."""

    @property
    def proven_mono_us(self) -> int | None: ...


class TakesAll:
    """A line that takes every order."""

    def __init__(self, proven: Proven) -> None:
        self._proven = proven
        self.orders: list[FaxOrder] = []

    @property
    def proven_mono_us(self) -> int | None:
        return self._proven.proven_mono_us

    async def send_fax(self, order: FaxOrder) -> None:
        self.orders.append(order)

    async def is_sending(self, session: str) -> bool:
        return any(order.session == session for order in self.orders)


def fax_desk(registry: Registry, line: FaxLine, at_once: int = 4) -> FaxDesk:
    return FaxDesk(registry, line, Paperless(), "test", "", horizon_s=60, at_once=at_once, max_bytes=MAX_BYTES)
