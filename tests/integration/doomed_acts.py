"""What a caretaker and an operator do at a ledger, in processes that may be killed in it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from zoneinfo import ZoneInfo

from charging.ledger.accounts import Account
from charging.ledger.balances import bundle, grant
from charging.ledger.books.verify import verify
from charging.ledger.model import CREDIT, Balance, JournalLine, Kind, Leg, Opened, Outcome, Transfer
from charging.ledger.open import open_store
from charging.ledger.port import Store
from charging.service.accounts import Accounts
from charging.service.caretaker import Caretaker
from charging.service.subscriptions import Subscriptions
from charging.tariff.plans import Plan
from charging.tariff.tariff import Tariff
from tests.fakes.clock import FakeClock, right
from tests.fakes.killing_store import Reaper, When
from tests.fakes.rig import EURO, make_tariff
from tests.integration.killing_ground import watched

PLANS = {
    "pro": Plan("pro", "table", is_paid=True, free_seconds=600),
    "max": Plan("max", "table", is_paid=True, free_seconds=1500),
    "free": Plan("free", "table"),
}
NIGHT = "2027-12-01T00:01"
NOVEMBER, DECEMBER = "2027-11", "2027-12"


def at(local: str) -> int:
    """Wall clock µs of a time in Amsterdam."""
    return round(datetime.fromisoformat(local).replace(tzinfo=ZoneInfo("Europe/Amsterdam")).timestamp()) * 1_000_000


def the_tariff() -> Tariff:
    return replace(make_tariff(), plans=MappingProxyType(PLANS))


# --- before the night -------------------------------------------------------------------------------------------


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Store]:
    store = open_store(url)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def apply(store: Store, id: str, account: str, kind: Kind, local: str, *legs: Leg, session: str = "") -> None:
    change = Opened("test", "{}") if session else None
    transfer = Transfer(id, account, kind, at(local), legs, session or None, change)
    assert (await store.apply(transfer)).outcome is Outcome.CREATED


async def use_month(store: Store, account: str, month: str, seconds: int) -> None:
    """A call of so many free seconds, at the month's beginning, on the plan pro."""
    at_us = at(f"{month}-01T00:00:10")
    used = Transfer(f"call/{month}", account, Kind.SETTLE, at_us, (Leg(bundle(month), -seconds),))
    assert (await store.apply(used, [grant(account, month, 600, at_us, "voice_pro")])).outcome is Outcome.CREATED


async def prepare(url: str) -> None:
    """The books as they are when a daemon that was down since October starts in the night to December."""
    async with opened(url) as store:
        for account in (
            Account("anna", "free"),  # her credit lapses
            Account("bert", "pro", paid_until_us=at("2028-06-01")),  # two months' seconds lapse, credit does not
            Account("carl", "pro", paid_until_us=at("2028-06-01")),  # a call holds some of November's
            Account("dora", "max", paid_until_us=at("2028-06-01")),  # an older plan's call made December's bundle
            Account("erik", "free"),  # a call holds some of his credit
            Account("finn", "free"),  # his credit was used a year ago less a day
        ):
            assert await store.directory.put_account(account)
            await apply(store, "top-up/1", account.id, Kind.TOP_UP, "2026-11-30T12:00", Leg(CREDIT, 10 * EURO))
        for month in ("2027-10", NOVEMBER):
            await use_month(store, "bert", month, 100)
        await use_month(store, "carl", NOVEMBER, 100)
        await apply(store, "s1", "carl", Kind.RESERVE, "2027-11-30T23:59", Leg(bundle(NOVEMBER), 0, 60), session="s1")
        await use_month(store, "dora", DECEMBER, 60)
        await apply(store, "s2", "erik", Kind.RESERVE, "2027-11-30T23:59", Leg(CREDIT, 0, EURO), session="s2")
        await apply(store, "fax", "finn", Kind.SETTLE, "2026-12-01T00:00", Leg(CREDIT, -EURO))


# --- the processes ----------------------------------------------------------------------------------------------


def doomed_night(url: str, at_write: int, when: When, _world: Path, told: Path) -> None:
    """A daemon's first round after the month has ended."""
    _act(night, url, at_write, when, told)


def doomed_upgrade(url: str, at_write: int, when: When, _world: Path, told: Path) -> None:
    """Bert moves to a larger plan."""
    _act(upgrade, url, at_write, when, told)


def doomed_payment(url: str, at_write: int, when: When, _world: Path, told: Path) -> None:
    """Bert pays for a month more."""
    _act(pay, url, at_write, when, told)


def _act(act: Callable[[Store], Awaitable[object]], url: str, at_write: int, when: When, told: Path) -> None:
    reaper = Reaper(at_write, when)

    async def run() -> None:
        async with watched(url, reaper) as killing:
            store = killing.as_store
            await store.open()
            await act(store)
            await store.close()

    asyncio.run(run())
    told.write_text(json.dumps(reaper.writes))


async def night(store: Store) -> None:
    await Caretaker(store, the_tariff, FakeClock(wall_us=at(NIGHT)), believed=right).turn()


async def upgrade(store: Store) -> object:
    return await Accounts(store, the_tariff, FakeClock(wall_us=at("2027-11-20T12:00"))).change("bert", {"plan": "max"})


async def pay(store: Store) -> object:
    clock = FakeClock(wall_us=at("2027-11-20T12:00"))
    return await Subscriptions(store, Accounts(store, the_tariff, clock), the_tariff, clock).paid("bert", "invoice-7")


# --- what stands in the end -------------------------------------------------------------------------------------

Books = Mapping[str, tuple[Mapping[str, Balance], list[JournalLine]]]


async def books(store: Store) -> Books:
    """By account: its balances and its journal."""
    return {
        one.id: (dict(await store.balances(one.id)), [line async for line in store.journal(one.id)])
        async for one in store.directory.accounts()
    }


async def findings(store: Store) -> list[str]:
    return [str(one) async for one in verify(store)]
