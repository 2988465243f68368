"""Several daemons on one Redis, at one switch or at several: started, and what they left in the books."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from charging.lab import Call, CallState, Lab, mobile
from charging.lab.ports import free_port
from charging.ledger.accounts import Account, Language, Number
from charging.ledger.books.verify import verify
from charging.ledger.model import CREDIT, Kind, Leg, Transfer
from charging.ledger.open import open_store
from charging.ledger.port import Store
from charging.pricing.money import parse_euro
from tests.asterisk.engine import NUMBER, SECOND, Engine, is_as_long, tariff
from tests.asterisk.warm_daemon import WarmDaemon

POLICY = {"tick_s": 2, "horizon_s": 12, "warn_before_s": 5, "setup_timeout_s": 2, "black_box_wait_s": 2}
LEASE_S = 4


class Site:
    """A Redis with anna's account in it, where daemons are started."""

    def __init__(self, url: str, folder: Path, policy: Mapping[str, int], lease_s: int) -> None:
        self.url = url
        self._folder = folder
        self._policy = {**POLICY, **policy}
        self._lease_s = lease_s

    @contextlib.asynccontextmanager
    async def daemon(self, lab: Lab, name: str, switch: str = "lab", ami_port: int = 0) -> AsyncIterator[Engine]:
        """A daemon of this name, which leads or stands by as it comes. The one called ``two`` has ports of its own."""
        daemon = WarmDaemon(
            lab,
            self._folder / name,
            tariff(),
            self._policy,
            ledger_url=self.url,
            agi_port=free_port() if name == "two" else 0,
            switch_id=switch,
            ami_port=ami_port,
            lease_s=self._lease_s,
        )
        async with daemon:
            yield Engine(lab, daemon)

    @contextlib.asynccontextmanager
    async def pair(self, lab: Lab, ami_port: int = 0) -> AsyncIterator[tuple[Engine, Engine]]:
        """Two at one switch: the first holds its lease, and is the one that the dialplan asks. It reaches the switch by
        ``ami_port``, if that is named."""
        async with self.daemon(lab, "one", ami_port=ami_port) as one:
            await one.heard("lease_gained")
            async with self.daemon(lab, "two") as two:
                yield one, two

    @contextlib.asynccontextmanager
    async def store(self) -> AsyncIterator[Store]:
        """The ledger itself."""
        store = open_store(self.url)
        await store.open()
        try:
            yield store
        finally:
            await store.close()

    async def forward_to(self, target: str) -> None:
        """Anna's calls go to another phone from now on."""
        async with self.store() as store:
            assert await store.directory.put_number(
                Number(NUMBER, "anna", target), await store.directory.number(NUMBER)
            )

    async def audited(self, calls: int = 1, besides: int = 0) -> list[dict[str, Any]]:
        """The CDRs, once all calls are closed: exactly so many, but for ``besides`` that may have been given up before
        they were dialled; and nothing in the books contradicts itself."""
        async with self.store() as store:
            assert [str(finding) async for finding in verify(store)] == []
            assert await store.sessions() == []
            balances = await store.balances("anna")
            assert {key: one.reserved for key, one in balances.items() if one.reserved} == {}
            cdrs = [json.loads(row.document) for row in await store.cdrs()]
            assert calls <= len(cdrs) <= calls + besides
            charged = sum(cdr["billed_s"] for cdr in cdrs) * SECOND
            put_in = sum(
                leg.posted
                for line in [line async for line in store.journal("anna")]
                for leg in line.legs
                if line.kind is Kind.TOP_UP
            )
            assert balances[CREDIT].posted == put_in - charged
            return cdrs


@contextlib.asynccontextmanager
async def site(
    url: str,
    folder: Path,
    *,
    credit: str = "10.00",
    plan: str = "voice_light",
    policy: Mapping[str, int] = {},
    lease_s: int = LEASE_S,
) -> AsyncIterator[Site]:
    """An empty Redis, furnished with anna, her number and ``credit`` euro."""
    found = Site(url, folder, policy, lease_s)
    async with found.store() as store:
        await store.directory.put_account(Account("anna", plan, Language.NL))
        await store.directory.put_number(Number(NUMBER, "anna", mobile.answers()))
        legs = (Leg(CREDIT, parse_euro(credit)),)
        await store.apply(Transfer("top-up/0", "anna", Kind.TOP_UP, time.time_ns() // 1000, legs))
    yield found


async def talking(live: Engine) -> Call:
    call = await live.call()
    await call.wait_state(CallState.ANSWERED)
    return call


def covered_s(live: Engine) -> int:
    """The end of what the last tick reserved, in seconds from the answer."""
    return int(live.daemon.events("tick_posted")[-1]["covered_s"])


async def ticks_past(live: Engine, second: int) -> None:
    """Until a tick of this daemon has been made that late in the call."""
    ahead_s = POLICY["tick_s"] + POLICY["horizon_s"]

    async def past() -> bool:
        return bool(live.daemon.events("tick_posted")) and covered_s(live) >= second + ahead_s

    await live.until(past, f"a tick at second {second}", 45)


async def charged_once(place: Site, live: Engine, call: Call) -> None:
    """The call is ended, and booked by this daemon as the parties' own clocks and the black box say."""
    await call.hang_up()
    await call.wait_end()
    await live.nothing_reserved()
    (cdr,) = await place.audited()
    assert cdr["proof"] == "black_box"
    assert is_as_long(cdr, call.duration_s), cdr
