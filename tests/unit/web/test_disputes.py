"""Payments that a customer disputes at Stripe, which tells of them by its own id of the payment alone."""

from __future__ import annotations

import json
from dataclasses import replace

import httpx
import pytest

from charging.service.payments import State
from tests.fakes.providers import Stripe, signed
from tests.unit.service.conftest import Shop, shop
from tests.unit.web.test_buying import Market
from tests.unit.web.test_customers import PLACE

__all__ = ["shop"]


async def test_stripe_says_a_dispute_again_until_it_could_be_asked_which_payment_it_is_about(shop: Shop) -> None:
    """A dispute names Stripe's own id of the payment, and has none of ours."""
    await shop.anna()
    market = Market(shop, Stripe())
    await market.begun()
    one = market.double.only()
    one.status = "paid"
    await market.tell()
    one.taken_back, market.double.down = True, True
    assert await market.tell() == 503
    market.double.down = False
    assert (await market.tell(), (await market.payment()).taken_back) == (200, True)
    await market.http.aclose()


@pytest.mark.parametrize("intent", ["pi_cs_test_000099", "pi_../accounts", "ch_1", None, 7])
async def test_a_dispute_about_what_is_none_of_ours_changes_nothing(shop: Shop, intent: object) -> None:
    await shop.anna()
    market = Market(shop, Stripe())
    await market.begun()
    market.double.payments["cs_test_000099"] = replace(market.double.only(), reference="cs_test_000099", ours="")
    market.double.payments["cs_test_000099"].status = "paid"
    now_s = shop.clock.now().wall_us // 1_000_000
    event = {"data": {"object": {"object": "dispute", "payment_intent": intent, "metadata": {}}}}
    body, asked = json.dumps(event).encode(), len(market.double.asked)
    told = httpx.Request("POST", f"{PLACE.url}/hooks/stripe", content=body, headers=signed(body, now_s))
    assert await market.post(told) == 200
    assert market.double.asked[asked:] == ["GET /v1/payment_intents/pi_cs_test_000099"] * (
        intent == "pi_cs_test_000099"
    )
    assert (await market.payment()).state is State.OPEN
    await market.http.aclose()
