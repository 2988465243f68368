"""The balance past the framework is the framework's, to the byte."""

from __future__ import annotations

import httpx
import pytest

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
