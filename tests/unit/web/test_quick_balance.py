"""The balance past the framework is the framework's, to the byte."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from charging.ledger.sqlite.store import SqliteStore
from charging.service.accounts import AccountChanges
from charging.service.balance import BalanceView, Stored
from charging.service.gifts import Given
from charging.service.live import NoCalls
from charging.service.service import Service
from charging.web import quick_balance
from charging.web.api import resources
from charging.web.quick_balance import QuickBalance
from tests.fakes.clock import FakeClock
from tests.fakes.rig import EURO, make_rig, make_tariff
from tests.unit.service.conftest import Shop
from tests.unit.service.test_live_calls import service_of


def asking(app: object) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")  # type: ignore[arg-type]


async def test_a_balance_with_a_running_call_is_the_same_to_the_byte() -> None:
    async with make_rig() as rig:
        await rig.subscriber(plan="pro", credit=EURO)
        await rig.talking()
        await rig.clock.advance(700)
        service = service_of(rig)
        routed = resources(service)
        async with asking(routed) as below, asking(QuickBalance(routed, service)) as above:
            same, shown = await below.get("/accounts/anna/balance"), await above.get("/accounts/anna/balance")
        assert shown.content == same.content
        assert shown.headers == same.headers
        assert shown.json()["calls"][0]["elapsed_s"] == 700


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/accounts/nobody/balance"),
        ("GET", "/accounts/anna%20b/balance"),
        ("GET", "/accounts/anna%2Fb/balance"),
        ("GET", "/accounts/" + "a" * 500 + "/balance"),
        ("GET", "/accounts/%ff/balance"),
        ("GET", "/accounts/anna/balance/"),
        ("GET", "/accounts//balance"),
        ("GET", "/accounts/anna/balance?acount=bert"),
        ("GET", "/accounts/anna/balance%0A"),
        ("POST", "/accounts/anna/balance"),
        ("GET", "/accounts/anna"),
    ],
)
async def test_whatever_else_is_asked_is_answered_as_before(shop: Shop, method: str, path: str) -> None:
    await shop.anna()
    routed = resources(shop.service)
    async with asking(routed) as below, asking(QuickBalance(routed, shop.service)) as above:
        same, shown = await below.request(method, path), await above.request(method, path)
    assert (shown.status_code, shown.content, shown.headers) == (same.status_code, same.content, same.headers)


async def asked_twice(shop: Shop, between: Callable[[], Awaitable[object]]) -> tuple[httpx.Response, httpx.Response]:
    """Anna's balance before and after, past the framework and by it, which are the same to the byte."""
    routed = resources(shop.service)
    seen = []
    async with asking(routed) as below, asking(QuickBalance(routed, shop.service)) as above:
        for change in (None, between):
            if change is not None:
                await change()
            seen.append(await above.get("/accounts/anna/balance"))
            same = await below.get("/accounts/anna/balance")
            assert (seen[-1].content, seen[-1].headers) == (same.content, same.headers)
    return seen[0], seen[1]


async def test_an_answer_is_written_once_as_long_as_it_stays_the_same(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.anna()
    written: list[object] = []
    views = shop.service.balances.view_of

    def write(stored: Stored) -> BalanceView:
        written.append(stored)
        return views(stored)

    monkeypatch.setattr(shop.service.balances, "view_of", write)
    app = QuickBalance(resources(shop.service), shop.service)
    async with asking(app) as client:
        for _ in range(3):
            assert (await client.get("/accounts/anna/balance")).is_success
    assert len(written) == 1


async def test_an_answer_follows_the_money(shop: Shop) -> None:
    await shop.anna()
    before, after = await asked_twice(shop, lambda: shop.service.money.top_up("anna", 10 * EURO, "p1"))
    assert (before.json()["credit"]["now"], after.json()["credit"]["now"]) == ("0.00", "10.00")


async def test_an_answer_follows_the_account(shop: Shop) -> None:
    await shop.anna()
    before, after = await asked_twice(shop, lambda: shop.service.accounts.suspend("anna", "no payment"))
    assert (before.json()["status"], after.json()["status"]) == ("active", "suspended")


async def test_an_answer_follows_the_plan(shop: Shop) -> None:
    await shop.anna()
    before, after = await asked_twice(shop, lambda: shop.service.accounts.change("anna", AccountChanges(plan="pro")))
    assert (before.json()["plan"], after.json()["plan"]) == ("light", "pro")
    assert before.json()["free_seconds"]["now"] < after.json()["free_seconds"]["now"]


async def test_an_answer_follows_an_account_that_is_closed(shop: Shop) -> None:
    await shop.anna()
    _, after = await asked_twice(shop, lambda: shop.service.accounts.close("anna", "moved away"))
    assert after.json()["status"] == "closed"


async def test_an_answer_follows_the_tariff(shop: Shop) -> None:
    await shop.anna(plan="pro")

    async def another() -> None:
        plan = replace(shop.tariff.plans["pro"], free_seconds=60)
        shop.tariff = replace(shop.tariff, plans={**shop.tariff.plans, "pro": plan})

    before, after = await asked_twice(shop, another)
    assert before.json()["free_seconds"]["now"] != 60
    assert after.json()["free_seconds"]["now"] == 60


async def test_an_answer_follows_the_calendar(shop: Shop) -> None:
    await shop.anna()
    before, after = await asked_twice(shop, lambda: shop.clock.advance(40 * 86_400))
    assert before.json()["free_seconds"]["month"] < after.json()["free_seconds"]["month"]


async def test_an_answer_forgets_credit_whose_last_day_is_over_whatever_the_ledger_has_of_it(shop: Shop) -> None:
    await shop.anna()
    zone = ZoneInfo(shop.tariff.zone)
    today = datetime.fromtimestamp(shop.clock.now().wall_us / 1e6, zone)
    last = today.date() + timedelta(days=1)
    given = await shop.service.gifts.give_credit("anna", 5 * EURO, last, "welcome", "g1")
    assert isinstance(given, Given)
    over = datetime.combine(last + timedelta(days=1), time(), zone)
    left_s = round((over - today).total_seconds())
    await shop.clock.advance(left_s - 1)
    before, after = await asked_twice(shop, lambda: shop.clock.advance(1))
    assert [one["now"] for one in before.json()["promotional"]] == ["5.00"]
    assert after.json()["promotional"] == []


async def test_an_answer_follows_a_call_from_before_its_first_ring_to_after_its_end() -> None:
    """And a top-up during it, a call that is refused, and one that nobody answers."""
    async with make_rig() as rig:
        await rig.subscriber(plan="pro", credit=EURO)
        service = service_of(rig)
        routed = resources(service)
        seen: list[dict[str, Any]] = []
        async with asking(routed) as below, asking(QuickBalance(routed, service)) as above:

            async def look() -> dict[str, Any]:
                for _ in range(2):
                    shown, same = await above.get("/accounts/anna/balance"), await below.get("/accounts/anna/balance")
                    assert shown.content == same.content
                seen.append(shown.json())
                return seen[-1]

            assert (await look())["calls"] == []
            call = await rig.ringing()
            assert len((await look())["calls"]) == 1
            rig.switch.answer(call.session)
            await rig.clock.advance(0)
            await look()
            for _ in range(3):
                await rig.clock.advance(45)
                await look()
            await service.money.top_up("anna", 10 * EURO, "during")
            assert (await look())["credit"]["posted"] == "11.00"
            await rig.hang_up(call)
            await rig.clock.advance(1)
            assert (await look())["calls"] == []
            unanswered = await rig.ringing()
            await look()
            await rig.hang_up(unanswered)
            await rig.clock.advance(1)
            assert await look() == seen[-3]
        assert seen[-1]["free_seconds"]["now"] == seen[0]["free_seconds"]["now"] - 135


async def test_an_answer_follows_what_another_process_has_booked(tmp_path: Path, clock: FakeClock) -> None:
    """As the daemon's and the web's: two stores of one ledger, one of which reads only."""
    daemons = SqliteStore(tmp_path / "ledger.db", clock)
    await daemons.open()
    webs = SqliteStore(tmp_path / "ledger.db", clock, reads_only=True)
    await webs.open()
    try:
        tariff = make_tariff()
        writes, reads = (
            Service(store=one, tariff=lambda: tariff, clock=clock, funds_changed=lambda _: None, live=NoCalls())
            for one in (daemons, webs)
        )
        async with asking(QuickBalance(resources(reads), reads)) as above:
            unknown = await above.get("/accounts/anna/balance")
            await writes.accounts.add("anna", "light")
            shown = []
            for key in ("a", "b", "c"):
                await writes.money.top_up("anna", 10 * EURO, key)
                shown += [(await above.get("/accounts/anna/balance")).json()["credit"]["now"] for _ in range(2)]
            await writes.accounts.suspend("anna", "no payment")
            status = (await above.get("/accounts/anna/balance")).json()["status"]
    finally:
        await webs.close()
        await daemons.close()
    assert unknown.status_code == 404
    assert shown == ["10.00", "10.00", "20.00", "20.00", "30.00", "30.00"]
    assert status == "suspended"


async def test_so_many_answers_are_remembered(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick_balance, "REMEMBERED", 2)
    app = QuickBalance(resources(shop.service), shop.service)
    for one in ("anna", "bert", "carl"):
        await shop.service.accounts.add(one, "light")
    async with asking(app) as client:
        for one in ("anna", "bert", "carl"):
            assert (await client.get(f"/accounts/{one}/balance")).json()["account"] == one
    assert list(app._written) == ["bert", "carl"]
