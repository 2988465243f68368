"""What who comes back from paying reads."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from charging.service.payments import State
from tests.unit.web.test_buying import Market, market
from tests.unit.web.test_customers import PLACE

__all__ = ["market"]


async def test_who_comes_back_before_his_bank_has_said_yes_reads_that_it_is_pending_and_then_that_it_is_paid(
    market: Market,
) -> None:
    visitor, page = await market.begun()
    one = market.double.only()
    back = one.back.removeprefix(PLACE.url)
    assert back.startswith(page)
    text = await visitor.get(back)
    assert "Betaling wacht op bevestiging" in text
    assert "data-waits" in text
    one.status = "paid"
    assert "Betaald: dank u wel" in await visitor.get(back)


async def test_who_comes_back_without_having_paid_reads_that_nothing_was_taken(market: Market) -> None:
    visitor, _ = await market.begun()
    one = market.double.only()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(market.double.app())) as browser:
        left = await browser.post(f"https://provider.test/checkout/{one.reference}", data={"as": "canceled"})
    text = await visitor.get(left.headers["location"].removeprefix(PLACE.url))
    assert "geannuleerd" in text
    assert "Er is niets afgeschreven" in text
    can_still_pay = market.double.name == "stripe"
    assert ("https://provider.test/checkout" in text) == can_still_pay
    assert (await market.payment()).state is (State.OPEN if can_still_pay else State.FAILED)


async def test_whoever_has_paid_after_all_reads_so_wherever_he_comes_from(market: Market) -> None:
    visitor, page = await market.begun()
    market.double.only().status = "paid"
    for told in ("", "?back", "?left"):
        assert "Betaald: dank u wel" in await visitor.get(page + told)


async def test_while_the_provider_is_slow_a_payments_page_keeps_no_other_page_of_the_account_waiting(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tab asks every six seconds, and each question took ten: no page of the account was shown any more."""
    visitor, page = await market.begun()
    colleague, go, asked = await market.visitor(), asyncio.Event(), list[str]()

    async def slow(reference: str) -> object:
        asked.append(reference)
        await go.wait()
        raise AssertionError("it is cut off before")

    monkeypatch.setattr(market.till._provider, "look", slow)
    first = asyncio.create_task(visitor.get(page))
    await market.shop.clock.rest()
    async with asyncio.timeout(20):
        assert "data-waits" in await visitor.get(page), "as it is stored: it is being asked about already"
        await colleague.get("/")
    assert len(asked) == 1
    first.cancel()
    await asyncio.wait([first])
