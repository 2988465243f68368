"""Strangers at the address of the payment provider keep none of its hooks out."""

from __future__ import annotations

import json
from typing import Any

import httpx

from charging.web.customers import till as tills
from tests.fakes.providers import Kept, Mollie, Stripe, signed
from tests.fakes.rig import EURO
from tests.unit.service.conftest import Shop, shop
from tests.unit.web.test_buying import Market
from tests.unit.web.test_customers import PLACE

__all__ = ["shop"]  # a fixture


async def test_what_stripe_has_signed_and_is_none_of_ours_locks_nobody_out(shop: Shop) -> None:
    """The operator sells other things with the same account. Nor do strangers: behind a proxy that the settings do not
    name they all have Stripe's address, and who had paid waited for his credit."""
    await shop.anna()
    market = Market(shop, Stripe())
    await market.begun()
    market.double.only().status = "paid"
    now_s = shop.clock.now().wall_us // 1_000_000
    none_of_ours: list[Any] = [{}, None, {"order": "7"}, {"payment": "7"}, {"payment": "f" * 32}]
    for number in range(tills.HOOKS_PER_MINUTE + 1):
        event = {"data": {"object": {"metadata": none_of_ours[number % len(none_of_ours)]}}}
        body = json.dumps(event).encode()
        told = httpx.Request("POST", f"{PLACE.url}/hooks/stripe", content=body, headers=signed(body, now_s))
        assert await market.post(told) == 200
    assert await market.tell() == 200
    assert await market.credit() == 25 * EURO
    unsigned = httpx.Request("POST", f"{PLACE.url}/hooks/stripe", content=b"{}")
    codes = [await market.post(unsigned) for _ in range(tills.HOOKS_PER_MINUTE + 1)]
    assert codes == [400] * tills.HOOKS_PER_MINUTE + [429]
    assert await market.tell() == 200
    await market.http.aclose()


async def test_what_names_none_of_our_payments_locks_no_hook_of_mollies_out(shop: Shop) -> None:
    """It signs nothing, and a stranger may have its address: behind a proxy that the settings do not name all have."""
    await shop.anna()
    market = Market(shop, Mollie())
    await market.begun()
    market.double.only().status = "paid"
    stranger = Kept("tr_1", "f" * 32, "25.00", "EUR", "", f"{PLACE.url}/hooks/mollie/{'f' * 32}", "paid")
    codes = [await market.tell(stranger) for _ in range(tills.HOOKS_PER_MINUTE + 1)]
    assert codes == [200] * tills.HOOKS_PER_MINUTE + [429]
    assert await market.tell() == 200
    assert await market.credit() == 25 * EURO
    await market.http.aclose()
