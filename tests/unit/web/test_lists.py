"""What is over and what runs, asked for by number, caller and service; and what the document says of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from charging.ledger.model import Closed, Kind, Opened, Outcome, Transfer
from charging.service.tokens import Bounds, NewToken, Scope
from tests.unit.service.conftest import Shop
from tests.unit.web.conftest import Api
from tests.unit.web.door import Door

NUMBER, OTHER = "+31201234567", "+31201234568"
CALLER = "+31107654321"


async def over(shop: Shop, session: str, **cdr: Any) -> None:
    """A session that has left this CDR."""
    now_us = shop.clock.now().wall_us
    document = json.dumps({"session": session, "account": "anna", "number": NUMBER, "caller": CALLER, **cdr})
    begun = Transfer(f"{session}/1", "anna", Kind.RESERVE, now_us, (), session, Opened("test", "{}"))
    ended = Transfer(f"{session}/2", "anna", Kind.RELEASE, now_us, (), session, Closed(document, now_us, follows=1))
    for transfer in (begun, ended):
        assert (await shop.store.apply(transfer)).outcome is Outcome.CREATED
    await shop.clock.advance(1)


async def year(shop: Shop) -> None:
    await shop.anna()
    await over(shop, "s1", service="forward")
    await over(shop, "s2", service="voicemail", number=OTHER)
    await over(shop, "s3", service="fax", caller="")
    await over(shop, "s4", service="forward", caller="0107654321")
    await over(shop, "s5", service="forward", caller="+31107654322", withheld=True)


async def sessions(api: Api, **params: str | int) -> list[str]:
    return [one["session"] for one in (await api("GET", "/cdrs", params=params))["items"]]


async def test_cdrs_are_asked_for_by_number_caller_and_service(api: Api, shop: Shop) -> None:
    await year(shop)
    assert await sessions(api) == ["s1", "s2", "s3", "s4", "s5"]
    assert await sessions(api, number=OTHER) == ["s2"]
    assert await sessions(api, number="020 123 45 68") == ["s2"], "in any form"
    assert await sessions(api, caller=CALLER) == ["s1", "s2", "s4"], "however the network wrote it"
    assert await sessions(api, caller="0107654322") == ["s5"]
    assert await sessions(api, service="fax") == ["s3"]
    assert await sessions(api, service="forward", number=NUMBER, caller=CALLER) == ["s1", "s4"]


async def test_a_page_without_a_match_leads_on_to_those_that_follow(api: Api, shop: Shop) -> None:
    await year(shop)
    found, cursor, pages = [], "", 0
    while cursor is not None:
        page = await api(
            "GET", "/cdrs", params={"service": "fax", "limit": 1, **({"cursor": cursor} if cursor else {})}
        )
        found += [one["session"] for one in page["items"]]
        cursor, pages = page["next"], pages + 1
    assert (found, pages) == (["s3"], 5)


@pytest.mark.parametrize(
    "wrong", [{"number": "hello"}, {"caller": "x"}, {"service": "sms"}, {"number": " 31201234567"}, {"callr": CALLER}]
)
async def test_a_filter_that_is_none_is_refused(api: Api, wrong: dict[str, str]) -> None:
    await api("GET", "/cdrs", 422, params=wrong)


async def test_a_customers_token_finds_no_call_by_the_number_that_its_caller_withholds(shop: Shop) -> None:
    """Else the number could be guessed."""
    await year(shop)
    door = Door(shop.service, shop.store)
    await door.open()
    mine = await door.tokens.add("anna", [Scope.READ], Bounds("anna"))
    assert isinstance(mine, NewToken)
    asked = {"account": "anna", "caller": "+31107654322"}
    for who, expected in ((mine.secret, []), ("read", ["s5"])):
        page = (await door(who, "GET", "/v1/cdrs", params=asked)).json()
        assert [one["session"] for one in page["items"]] == expected


async def test_calls_that_run_are_asked_for_by_number_and_caller(api: Api) -> None:
    assert await api("GET", "/calls", params={"number": NUMBER, "caller": CALLER}) == {"items": [], "next": None}
    await api("GET", "/calls", 422, params={"number": "hello"})


async def test_the_document_tells_what_a_cdr_has_and_what_is_a_time(shop: Shop) -> None:
    schemas = Door(shop.service).app.openapi()["components"]["schemas"]
    cdr = schemas["CdrPage"]["properties"]["items"]["items"]
    assert {"session", "account"} == set(cdr["required"])
    assert cdr["properties"]["ended"]["format"] == "date-time"
    assert schemas["AccountOut"]["properties"]["created"]["format"] == "date-time"
    assert not [name for name, member in cdr["properties"].items() if "default" in member]
