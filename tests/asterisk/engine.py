"""A daemon on a lab, with one subscriber, for the tests that see real calls being charged.

Prices are a tenth of a cent a second in increments of a second, and ticks are seconds: so that minutes are not waited
for. The engine itself knows no other speed than these settings.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from charging.clock import month_name
from charging.lab import Call, Lab, mobile
from charging.lab.daemon import DaemonProcess
from charging.ledger.accounts import Account, Language, Number
from charging.ledger.balances import bundle, grant
from charging.ledger.model import CREDIT, Kind, Leg, Transfer
from charging.ledger.sqlite.store import SqliteStore
from charging.pricing.money import parse_euro
from tests.asterisk.parties import operator_sets
from tests.asterisk.warm_daemon import WarmDaemon, charging

NUMBER = "+31850000001"
SECOND = 1_000
"""Micro-euro."""

MONTH_S = 60
"""The free seconds of Voice Pro."""

MEASURES_APART_S = 1.0
"""By how much two measures of one conversation may differ: each end stamps its answer and its hang-up once a busy
machine lets it. A second that is lost, or charged without a conversation, comes as a tick: two at least."""

PATIENT_S = 60
"""So long the dialplan waits for an answer, and so does the daemon: on a busy machine one takes longer than the three
seconds that ship, and the fallback, which takes the call then, is another story."""

POLICY = {"tick_s": 2, "horizon_s": 5, "warn_before_s": 5, "setup_timeout_s": 2, "black_box_wait_s": 2}

TARIFF = """\
revision: test-{revision}
zone: Europe/Amsterdam
region: NL
vat: {{percent: 21, included: yes}}
rounding: {{rule: half_up, decimals: 6}}
top_up: {{minimum: 0.01, amounts: []}}
destinations:
  nl_mobile: {{prefixes: ["+316"]}}
  nl_fax: {{prefixes: ["+3120000"]}}
  premium: {{prefixes: ["+31900", "+3166"], refuse: premium}}
rates:
  standard:
    destinations:
      nl_mobile: {{price: {price}, increments: 1/1}}
      nl_fax: {{price: {price}, increments: 1/1, fax_page: 0.08}}
plans:
  voice_free:
    title: Voice Free
    rates: standard
    paid_subscription: no
    calls_at_once: 5
    voicemail: {{paid: yes, price: 0.15}}
  voice_light:
    {{title: Voice Light, rates: standard, paid_subscription: yes,
      calls_at_once: 5, voicemail: {{paid: no, price: 0.15}}}}
  voice_pro:
    title: Voice Pro
    rates: standard
    paid_subscription: yes
    free_minutes: {{minutes: 1}}
    voicemail: {{paid: no}}
    calls_at_once: 5
"""


def number_of(index: int) -> str:
    """Anna's number (0) and those of the others."""
    return f"+318500000{index + 1:02d}"


def tariff(price: str = "0.06", revision: int = 1) -> str:
    """The tests' tariff; ``price`` is euro a minute."""
    return TARIFF.format(price=price, revision=revision)


def is_as_long(cdr: Mapping[str, Any], measured_s: float) -> bool:
    """Whether a CDR has the conversation that one of its ends measured."""
    return abs(int(cdr["used_ms"]) / 1000 - measured_s) < MEASURES_APART_S


def billed_s_of(used_ms: int) -> int:
    """The seconds that a call of so many milliseconds costs: each that has begun, less 0.2 s, but always the first."""
    return max(min(1, used_ms), -(-(used_ms - 200) // 1000))


async def every_page(daemon: DaemonProcess, path: str) -> list[dict[str, Any]]:
    """All rows of a listing: the process that decides calls gives small pages only."""
    page = await daemon.get(path)
    rows = list(page["items"])
    while page["next"]:
        page = await daemon.get(path, cursor=page["next"])
        rows += page["items"]
    return rows


@dataclass
class Engine:
    """The daemon, and one subscriber of its."""

    lab: Lab
    daemon: DaemonProcess

    async def balance(self) -> dict[str, Any]:
        return await self.daemon.get("/accounts/anna/balance")

    async def posted(self) -> int:
        """Micro-euro of credit that is not spent."""
        return parse_euro((await self.balance())["credit"]["posted"])

    async def top_up(self, amount: str, key: str) -> None:
        await self.daemon.post("/accounts/anna/top-ups", {"amount": amount}, key)

    async def journal(self) -> list[dict[str, Any]]:
        return list(reversed(await every_page(self.daemon, "/accounts/anna/journal")))

    async def cdr(self, calls: int = 1) -> dict[str, Any]:
        """The last call's CDR, once so many calls are booked."""
        return (await self.cdrs(calls))[-1]

    async def cdrs(self, calls: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []

        async def booked() -> bool:
            found[:] = await every_page(self.daemon, "/cdrs")
            return len(found) >= calls

        await self.until(booked, f"{calls} CDRs", 30)
        return found

    async def nothing_reserved(self, deadline_s: float = 30) -> None:
        """Wait until no session is open and nothing is set aside."""

        async def idle() -> bool:
            balance = await self.balance()
            reserved = balance["calls"] or parse_euro(balance["credit"]["reserved"])
            return not reserved and not (await self.daemon.get("/calls"))["items"]

        await self.until(idle, "nothing to be reserved", deadline_s)

    async def until(self, condition: Callable[[], Awaitable[bool]], what: str, deadline_s: float = 30) -> None:
        """Wait for something. Raises AssertionError with the end of the daemon's log."""
        try:
            async with asyncio.timeout(deadline_s):
                while not await condition():  # noqa: ASYNC110 - another process has no Event for us
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"waited {deadline_s} s for {what}: {self.daemon.last_words()}") from None

    async def heard(self, event: str, deadline_s: float = 30, times: int = 1) -> dict[str, Any]:
        """Wait until the daemon has logged an event so often; its last line."""

        async def told() -> bool:
            return len(self.daemon.events(event)) >= times

        await self.until(told, f"the log line {event}", deadline_s)
        return self.daemon.events(event)[-1]

    async def charging(self, *arguments: str, stdin: bytes = b"") -> str:
        """What the operator's command prints."""
        settings = str(self.daemon.settings)
        return await charging("--config", settings, *arguments, environment=self.daemon.environment, stdin=stdin)

    async def call(self, **how: Any) -> Call:
        """An outside caller dials the subscriber's number."""
        return await self.lab.place_call(NUMBER, **how)


@contextlib.asynccontextmanager
async def patient(lab: Lab, daemon: DaemonProcess, guard_s: int = PATIENT_S) -> AsyncIterator[None]:
    """So long the dialplan waits for an answer, and so does the daemon, which is not started yet."""
    settings = daemon.settings.read_text()
    daemon.settings.write_text(settings.replace("agi:\n", f"agi:\n  request_timeout_s: {guard_s - 0.5}\n"))
    async with operator_sets(lab, "CHARGING_GUARD_S", str(guard_s)):
        yield


@contextlib.asynccontextmanager
async def engine(
    lab: Lab,
    folder: Path,
    *,
    credit: str = "10.00",
    plan: str = "voice_light",
    free_seconds: int | None = None,
    forward_to: str = "",
    language: Language = Language.NL,
    policy: Mapping[str, int] = {},
    price: str = "0.06",
    paid_voicemail: bool | None = None,
    mailbox: str = "",
    ami_port: int = 0,
    agi_port: int = 0,
    others: int = 0,
    email: str = "",
    guard_s: int = PATIENT_S,
    prepare: Callable[[DaemonProcess], None] = lambda _daemon: None,
) -> AsyncIterator[Engine]:
    """A running daemon whose subscriber anna has ``credit`` euro, and ``free_seconds`` left of this month's bundle.

    ``others``: so many further subscribers like her, each with the next number. Other ports than the lab's put a
    :class:`tests.fakes.relay.Relay` in between. ``guard_s``: for how long a caller waits for an answer (those that ship
    are 3), from 1 to 99. ``prepare`` may change what is laid down, before the daemon starts.
    """
    settings = {**POLICY, **policy}
    daemon = WarmDaemon(lab, folder / "daemon", tariff(price), settings, ami_port=ami_port, agi_port=agi_port)
    store = SqliteStore(daemon.ledger)
    await store.open()
    try:
        now_us = time.time_ns() // 1000
        month = month_name(ZoneInfo("Europe/Amsterdam"), now_us)
        for index, who in enumerate(("anna", *(f"other-{one}" for one in range(1, others + 1)))):
            await store.directory.put_account(Account(who, plan, language, email))
            target = forward_to or mobile.answers()
            number = Number(number_of(index), who, target, paid_voicemail=paid_voicemail, mailbox=mailbox)
            await store.directory.put_number(number)
            if parse_euro(credit):
                await store.apply(Transfer("top-up/0", who, Kind.TOP_UP, now_us, (Leg(CREDIT, parse_euro(credit)),)))
            if free_seconds is not None:
                used = Transfer("earlier", who, Kind.CORRECT, now_us, (Leg(bundle(month), free_seconds - MONTH_S),))
                await store.apply(used, [grant(who, month, MONTH_S, now_us, "pro")])
    finally:
        await store.close()
    prepare(daemon)
    async with patient(lab, daemon, guard_s), daemon:
        yield Engine(lab, daemon)
