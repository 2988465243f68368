"""Every list is read from either end, by the same cursors."""

from __future__ import annotations

from typing import Any

import pytest

from charging.ledger.accounts import Language
from charging.ledger.model import Kind, Opened, Outcome, Transfer
from charging.service.actor import acting
from charging.web.control import control_app
from tests.fakes.rig import EURO, make_rig
from tests.unit.service.conftest import NUMBER, Shop
from tests.unit.service.test_live_calls import service_of
from tests.unit.web.conftest import Api
from tests.unit.web.door import Door
from tests.unit.web.test_decisions import decided, keep
from tests.unit.web.test_lists import over
from tests.unit.web.test_quick_balance import asking

LISTS = {
    "/accounts": "id",
    "/accounts/anna/numbers": "number",
    "/accounts/anna/journal": "number",
    "/numbers": "number",
    "/cdrs": "session",
    "/cdrs?account=anna": "session",
    "/changes": "id",
    "/changes?actor=cli": "id",
    "/decisions": "id",
    "/decisions?since=2026-11-21T11:00:00Z&until=2026-11-21T11:59:00Z": "id",
}


async def fill(shop: Shop) -> None:
    with acting("cli:alice"):
        await shop.anna()
        for name in ("bert", "carl"):
            await shop.service.accounts.add(name, "light", Language.NL)
        for number in (NUMBER, "+31201234568", "+31201234569"):
            await shop.service.numbers.add("anna", number, {})
    for n in range(4):
        await shop.service.money.top_up("anna", 10 * EURO, f"k{n}")
        await over(shop, f"s{n}", service="fax" if n else "forward")
    await keep(shop, *(decided(-n) for n in (50, 40, 30)))
    await keep(shop, *(decided(-n) for n in (20, 10, 5)))


def test_every_list_that_has_pages_has_an_order_and_a_cursor(shop: Shop) -> None:
    paged = {
        path: {one["name"]: one["schema"] for one in operations["get"]["parameters"]}
        for path, operations in Door(shop.service).app.openapi()["paths"].items()
        if any(one["name"] == "limit" for one in operations.get("get", {}).get("parameters", ()))
    }
    streams = {"/events", "/accounts/{account}/events"}
    """They have a direction, and go on for ever."""
    assert streams < set(paged)
    asked = {one.partition("?")[0].replace("anna", "{account}") for one in LISTS}
    assert set(paged) - streams == asked | {"/calls", "/accounts/{account}/faxes"}
    for path in set(paged) - streams:
        assert paged[path]["order"]["enum"] == ["asc", "desc"]
        assert paged[path]["order"]["default"] == ("desc" if path.endswith("journal") else "asc")
        assert "cursor" in paged[path]


async def walk(api: Api, path: str, order: str, limit: int) -> list[dict[str, Any]]:
    found, cursor = list[dict[str, Any]](), ""
    joint = "&" if "?" in path else "?"
    while cursor is not None:
        page = await api("GET", f"{path}{joint}order={order}&limit={limit}{cursor and '&cursor=' + cursor}")
        found += page["items"]
        cursor = page["next"] and page["next"].replace("+", "%2B")
    return found


@pytest.mark.parametrize("path", LISTS)
async def test_a_list_from_its_other_end_is_the_same_list(api: Api, shop: Shop, path: str) -> None:
    await fill(shop)
    forwards = await walk(api, path, "asc", 100)
    names = [one[LISTS[path]] for one in forwards]
    assert len(names) > 2
    assert names == sorted(names), "all that was made here is in the order of its names"
    for limit in (1, 2, 3, len(names)):
        assert await walk(api, path, "asc", limit) == forwards
        assert await walk(api, path, "desc", limit) == forwards[::-1]


async def test_what_comes_to_be_meanwhile_moves_no_page(api: Api, shop: Shop) -> None:
    await fill(shop)
    first = await api("GET", "/cdrs", params={"order": "desc", "limit": 2})
    await over(shop, "s9", service="forward")
    rest = await api("GET", "/cdrs", params={"order": "desc", "limit": 9, "cursor": first["next"]})
    assert [one["session"] for one in (*first["items"], *rest["items"])] == ["s3", "s2", "s1", "s0"]
    newer = await api("GET", "/cdrs", params={"order": "asc", "cursor": first["next"]})
    assert [one["session"] for one in newer["items"]] == ["s3", "s9"], "the same cursor leads back"


async def test_calls_that_run_are_listed_from_either_end() -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=10 * EURO)
        for _ in range(3):
            await rig.talking()
            await rig.clock.advance(1)
        filler = Transfer("x/0", "anna", Kind.RESERVE, 1, (), "zz", Opened("test", "{}"))
        assert (await rig.store.apply(filler)).outcome is Outcome.CREATED
        async with asking(control_app(service_of(rig))) as http:
            api = Api(http)
            for path in ("/calls", "/calls?account=anna"):
                forwards = await walk(api, path, "asc", 100)
                assert [one["set_up"] for one in forwards] == sorted(one["set_up"] for one in forwards)
                assert len(forwards) == 3
                for limit in (1, 2, 4):
                    assert await walk(api, path, "desc", limit) == forwards[::-1]


@pytest.mark.parametrize("wrong", ["", "DESC", "newest", "-1"])
async def test_an_order_that_is_none_is_refused(api: Api, wrong: str) -> None:
    answer = await api("GET", "/cdrs", 422, params={"order": wrong})
    assert answer["errors"][0]["pointer"] == "?order"
