"""The shipped daemon as a process with its shipped settings, beside a played Asterisk: its money, cost and books."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import os
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from charging.clock import SystemClock
from charging.lab.daemon import DaemonProcess
from charging.lab.ports import free_port
from charging.ledger.accounts import Account, Number
from charging.ledger.books.verify import verify
from charging.ledger.model import CREDIT, CdrRow, Kind, Leg, Transfer
from charging.ledger.open import open_store
from charging.ledger.port import Store
from charging.pricing.money import MICRO, parse_euro
from charging.service.ledger_contents import LedgerContents
from tests.benchmarks.played import PlayedAsterisk, PlayedCall

CONFIG = Path(__file__).parents[2] / "config"
TARGET = "+31201000000"
PRICE_A_MINUTE = 50_000
"""Micro-euro for each minute begun: ``nl_fixed`` of the shipped tariff, at any hour."""
TOLERANCE_MS = 200
CREDIT_AT_START = 10_000 * MICRO
FILLED_AT_ONCE = 500
AT_REST_CORE = 0.1
LEADS_S = 60
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def account_of(index: int) -> str:
    return f"a{index:07d}"


def number_of(index: int) -> str:
    return f"+31850{index:06d}"


class ShippedDaemon(DaemonProcess):
    """``charging run`` with ``config/charging.yaml``: nothing but addresses and the ledger is changed."""

    def __init__(self, folder: Path, asterisk: PlayedAsterisk, ledger_url: str, switch_id: str) -> None:
        access = SimpleNamespace(port=asterisk.port, secret=asterisk.secret)
        switch = SimpleNamespace(charging_ami=access, folder=folder)
        lab: Any = SimpleNamespace(switch=switch, prompts_dir=folder, agi_port=free_port())
        super().__init__(lab, folder, (CONFIG / "tariff.yaml").read_text(), {})
        self.ledger_url = ledger_url or f"sqlite:///{self.ledger}"
        text = (CONFIG / "charging.yaml").read_text()
        for shipped, here in (
            ("#id: asterisk", f"id: {switch_id}"),
            ("#port: 5038", f"port: {asterisk.port}"),
            ("#port: 4573", f"port: {self.agi_port}"),
            ("#port: 9478", f"port: {self.http_port}"),
            ("#port: 9479", f"port: {self.api_port}"),
            ("sqlite:///var/charging.db", self.ledger_url),
            ("var/charging.sock", "control.sock"),
        ):
            assert text.count(shipped) == 1, f"{shipped} is not in the shipped settings once"
            text = text.replace(shipped, here)
        self.settings.write_text(text)

    @property
    def environment(self) -> dict[str, str]:
        """Where it is installed, its modules are compiled: without that each start would compile 200 of them."""
        return {name: value for name, value in super().environment.items() if name != "PYTHONDONTWRITEBYTECODE"}

    async def start(self, *, wait_for_switch: bool = True) -> None:
        """Start it, and wait until it leads: in a Redis the lease of one that was killed has to end first."""
        before = self.log.stat().st_size if self.log.exists() else 0
        await super().start(wait_for_switch=wait_for_switch)
        async with asyncio.timeout(LEADS_S):
            while b'"lease_gained"' not in self.log.read_bytes()[before:]:  # noqa: ASYNC110 - another process has no Event for us
                await asyncio.sleep(0.1)

    @property
    def pid(self) -> int:
        assert self._process is not None, "started"
        return self._process.pid

    async def metric(self, name: str) -> float:
        """A metric's value, of all its labels together."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.http_port)
        writer.write(b"GET /metrics HTTP/1.0\r\nHost: bench\r\n\r\n")
        text = (await reader.read()).decode()
        writer.close()
        lines = (line for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{")))
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    async def idle(self, deadline_s: float = 120) -> None:
        """Return once it leads and no session is open: all is booked. Whoever has lost the lease, for the machine stood
        still for longer than that lasts, has no session open either, and books what has ended once it has it again."""
        async with asyncio.timeout(deadline_s):
            while await self.metric("charging_sessions_open") or not self.leads():  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.2)

    def leads(self) -> bool:
        """Whether it has told that it gained the lease, and not since that it lost it."""
        said = self.log.read_bytes()
        return said.rfind(b'"lease_gained"') > said.rfind(b'"lease_lost"')

    async def at_rest(self, deadline_s: float = 60) -> None:
        """Return once it does little by itself any more: what it does after its start is none of the load's."""
        used = math.inf
        async with asyncio.timeout(deadline_s):
            while used > AT_REST_CORE:
                before = self.cpu_s()
                await asyncio.sleep(1)
                used = self.cpu_s() - before

    def cpu_s(self) -> float:
        """CPU time of the process that decides calls, user and system."""
        return cpu_s_of(self.pid)

    def memory_kib(self) -> int:
        """Resident memory of the process that decides calls."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])


def _stat(pid: int | str) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def cpu_s_of(pid: int) -> float:
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


# --- the money ----------------------------------------------------------------------------------------------------


async def fill(url: str, accounts: int) -> None:
    """So many subscribers, each with one number and plenty of credit. Nothing is done for those that there are."""
    store = open_store(url)
    await store.open()
    try:
        for first in range(0, accounts, FILLED_AT_ONCE):
            some = range(first, min(first + FILLED_AT_ONCE, accounts))
            await asyncio.gather(*(_subscriber(store, index) for index in some))
    finally:
        await store.close()


async def _subscriber(store: Store, index: int) -> None:
    who = account_of(index)
    await store.directory.put_account(Account(who, "voice_light"))
    await store.directory.put_number(Number(number_of(index), who, TARGET))
    at_us = time.time_ns() // 1000
    await store.apply(Transfer("top-up/0", who, Kind.TOP_UP, at_us, (Leg(CREDIT, CREDIT_AT_START),)))


@dataclass(slots=True)
class Checked:
    """What the books say of the calls that were played."""

    calls: int
    cut: int
    faults: list[str]


async def check(
    url: str, played: Iterable[PlayedCall], accounts: int, others: Collection[str] = frozenset()
) -> Checked:
    """Compare CDRs and balances with what the callers did, to the millisecond and the micro-euro. The daemon must not
    be running where the ledger is a file. ``others``: accounts whose calls were not played."""
    calls = [call for call in played if call.session]
    store = open_store(url)
    await store.open()
    try:
        cdrs = await every_cdr(store)
        documents = {row.session: json.loads(row.document) for row in cdrs if row.account not in others}
        faults = [fault for call in calls for fault in _wrong(call, documents.get(call.session))]
        known = {call.session for call in calls}  # who was not told of his session in time does not know it
        if strangers := [one for one, cdr in documents.items() if one not in known and parse_euro(cdr["cost"])]:
            faults.append(f"{len(strangers)} CDRs with a cost of calls that nobody made, for example {min(strangers)}")
        spent: dict[str, int] = {}
        for one in documents.values():
            spent[one["account"]] = spent.get(one["account"], 0) + parse_euro(one["cost"])
        for index in range(accounts):
            credit = (await store.balances(account_of(index)))[CREDIT]
            expected = CREDIT_AT_START - spent.get(account_of(index), 0)
            if (credit.posted, credit.reserved) != (expected, 0):
                faults.append(f"{account_of(index)}: found {credit}, expected {expected} and nothing reserved")
        faults += [str(finding) async for finding in verify(store, LedgerContents(SystemClock().now()))]
    finally:
        await store.close()
    return Checked(len(calls), sum(call.was_cut for call in calls), faults)


async def every_cdr(store: Store) -> list[CdrRow]:
    """All CDRs, in order of their calls' ends."""
    found: list[CdrRow] = []
    while page := await store.cdrs(after=(found[-1].ended_us, found[-1].session) if found else None, limit=1000):
        found += page
    return found


def _wrong(call: PlayedCall, cdr: dict[str, Any] | None) -> Iterator[str]:
    if cdr is None:
        if call.answered_ms is not None:
            yield f"{call.session}: talked {call.used_ms} ms and has no CDR"
        return
    overrun_s = cdr["overrun_s"] if call.was_cut else 0  # by a switch that cut late, which no customer pays
    billed_s = max(min(1, call.used_ms), -(-(call.used_ms - TOLERANCE_MS) // 1000)) - overrun_s
    expected = {"used_ms": call.used_ms, "billed_s": billed_s, "overrun_s": overrun_s}
    found = {name: cdr[name] for name in expected}
    cost, wanted = parse_euro(cdr["cost"]), -(-billed_s // 60) * PRICE_A_MINUTE
    if found != expected or cost != wanted:
        yield f"{call.session}: found {found} for {cost}, expected {expected} for {wanted}; proof {cdr['proof']}"


class Numbers:
    """Subscribers' numbers in turn, so that nobody has more calls at once than the plan allows."""

    def __init__(self, count: int) -> None:
        self._turn = itertools.cycle(range(count))

    def __call__(self) -> str:
        return number_of(next(self._turn))
