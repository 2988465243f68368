"""What the console counts, seeks and asks again and again: how often that is asked of others."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from charging.ledger.model import Closed, Kind, Outcome, Transfer
from charging.web.console import figures as console_figures
from charging.web.console.figures import Figures, Today
from charging.web.console.gate import REQUESTS_PER_MINUTE
from tests.unit.service.conftest import Shop, shop
from tests.unit.web.test_console import Place, hidden, place

__all__ = ["place", "shop"]

ASKED_BY_ITSELF = {"hx-request": "true"}


async def test_all_who_look_at_running_calls_are_shown_one_answer_a_second(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that decides calls answers it."""
    asked = 0
    page = place.shop.service.calls.page

    async def counted(after: str, limit: int, *, backwards: bool) -> Any:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return await page(after, limit, backwards=backwards)

    monkeypatch.setattr(place.shop.service.calls, "page", counted)
    visitors = [await place.visitor(name) for name in ("vera", "sam", "ada", "ada")]
    for expected in (1, 2):
        for _ in range(2):
            await asyncio.gather(*(one.get("/live", headers=ASKED_BY_ITSELF) for one in visitors))
            await asyncio.gather(*(one.get(view) for one in visitors for view in ("/", "/calls")))
        assert asked == expected
        await place.shop.clock.advance(1)


async def test_who_changes_something_sees_it_at_once(place: Place) -> None:
    visitor = await place.visitor("sam")
    assert "25.00" not in await visitor.get("/accounts/anna/balance", headers=ASKED_BY_ITSELF)
    form = {"amount": "25.00"}
    page = (await visitor.send("/accounts/anna/top-up", form)).text
    sure = {name: hidden(page, name) for name in ("csrf", "key", "back")} | form | {"sure": "yes"}
    assert (await visitor.http.post("/accounts/anna/top-up", data=sure)).status_code == 303
    assert "25.00" in await visitor.get("/accounts/anna/balance", headers=ASKED_BY_ITSELF)


async def test_one_login_asks_so_often_and_others_are_answered_meanwhile(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    vera, sam = await place.visitor("vera"), await place.visitor("sam")
    for _ in range(REQUESTS_PER_MINUTE):
        await vera.get("/live", headers=ASKED_BY_ITSELF)
    assert "too many requests" in await vera.get("/live", headers=ASKED_BY_ITSELF)
    await vera.get("/calls", 429)
    await sam.get("/calls")
    await place.shop.clock.advance(1)
    await vera.get("/calls")


async def test_todays_figures_are_counted_once_for_all_who_ask_at_once(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures, counted = Figures(shop.service), 0
    count = figures._count

    async def slow(now_us: int) -> Today:
        nonlocal counted
        counted += 1
        await asyncio.sleep(0)
        return await count(now_us)

    monkeypatch.setattr(figures, "_count", slow)
    await asyncio.gather(*(figures.today() for _ in range(10)))
    assert counted == 1


async def _called(shop: Shop, session: str, caller: str, ended_us: int) -> None:
    cdr = json.dumps({"session": session, "account": "anna", "caller": caller, "cost": "0.00"})
    change = Closed(cdr, ended_us, opens=True)
    one = Transfer(session, "anna", Kind.RELEASE, ended_us, session=session, change=change, reason="call")
    assert (await shop.store.apply(one)).outcome is Outcome.CREATED


async def test_calls_of_a_caller_are_looked_for_from_the_newest_on_and_what_was_left_out_is_told(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.anna()
    now_us = shop.clock.now().wall_us
    for number in range(6):
        await _called(shop, f"s-{number}", "+31107654321", now_us - number * 2 * 3600 * 1_000_000)
    found = await Figures(shop.service).search("+31107654321")
    assert ([one["session"] for one in found.calls], found.complete) == ([f"s-{number}" for number in range(6)], True)
    monkeypatch.setattr(console_figures, "ROWS_MAX", 2)
    monkeypatch.setattr(console_figures, "PAGE_ROWS", 1)
    found = await Figures(shop.service).search("+31107654321")
    assert ([one["session"] for one in found.calls], found.complete) == (["s-0", "s-1"], False)


@pytest.mark.parametrize("apart_h", [0.01, 1, 5, 30])
async def test_an_accounts_newest_calls_are_shown_however_many_there_are(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, apart_h: float
) -> None:
    await shop.anna()
    now_us = shop.clock.now().wall_us
    for number in range(9):
        await _called(shop, f"s-{number}", "+31107654321", now_us - round(number * apart_h * 3600 * 1_000_000))
    await _called(shop, "s-old", "+31107654321", now_us - 14 * 24 * 3600 * 1_000_000 - 1)
    figures = Figures(shop.service)
    all_of_them = [f"s-{number}" for number in range(9)]
    assert [one["session"] for one in await figures.calls_of("anna", 14)] == all_of_them
    monkeypatch.setattr(console_figures, "FOUND_MAX", 4)
    assert [one["session"] for one in await figures.calls_of("anna", 14)] == all_of_them[:4]
    if apart_h >= 1:  # of an hour with more than that the oldest are read
        monkeypatch.setattr(console_figures, "ROWS_MAX", 6)
        monkeypatch.setattr(console_figures, "PAGE_ROWS", 1)
        assert [one["session"] for one in await figures.calls_of("anna", 14)] == all_of_them[:4]


async def test_a_calls_record_is_read_however_many_the_account_has(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    await shop.anna()
    await _called(shop, "s-1", "+31107654321", shop.clock.now().wall_us)
    monkeypatch.setattr(shop.store, "cdrs", None)
    figures = Figures(shop.service)
    found = await figures.call("s-1", "anna")
    assert found is not None
    assert found["session"] == "s-1"
    assert await figures.call("s-2", "anna") is None
    assert await figures.call("s-1", "nobody") is None
