"""The balance past the framework is the framework's, to the byte."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import httpx
import pytest

from charging.service.balance import BalanceView, Stored
from charging.web import straight
from charging.web.api import resources
from charging.web.straight import Straight
from tests.fakes.rig import EURO, make_rig
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
        async with asking(routed) as below, asking(Straight(routed, service)) as above:
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
    async with asking(routed) as below, asking(Straight(routed, shop.service)) as above:
        same, shown = await below.request(method, path), await above.request(method, path)
    assert (shown.status_code, shown.content, shown.headers) == (same.status_code, same.content, same.headers)


async def asked_twice(shop: Shop, between: Callable[[], Awaitable[object]]) -> tuple[httpx.Response, httpx.Response]:
    """Anna's balance before and after, past the framework and by it, which are the same to the byte."""
    routed = resources(shop.service)
    seen = []
    async with asking(routed) as below, asking(Straight(routed, shop.service)) as above:
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
    app = Straight(resources(shop.service), shop.service)
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


async def test_so_many_answers_are_remembered(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(straight, "REMEMBERED", 2)
    app = Straight(resources(shop.service), shop.service)
    for one in ("anna", "bert", "carl"):
        await shop.service.accounts.add(one, "light")
    async with asking(app) as client:
        for one in ("anna", "bert", "carl"):
            assert (await client.get(f"/accounts/{one}/balance")).json()["account"] == one
    assert list(app._written) == ["bert", "carl"]
