"""GET /decisions: filters, pages, and what each item tells."""

from __future__ import annotations

from typing import Any

import pytest

from charging.call.decided import Decided, Turn
from charging.clock import MICROSECONDS
from charging.service.decisions import DecisionKeeper
from tests.unit.service.conftest import Shop
from tests.unit.web.conftest import Api

NUMBER = "+31201234567"
NOON_US = 1_795_262_400 * MICROSECONDS
"""2026-11-21T12:00:00Z, 13:00 in Amsterdam: now."""
MINUTE_US = 60 * MICROSECONDS


def decided(minutes: float, **changes: Any) -> Decided:
    """So many minutes after noon."""
    at_us = NOON_US + round(minutes * MINUTE_US)
    given = {"number": NUMBER, "account": "anna", "outcome": "reject", "reason": "no_credit", **changes}
    return Decided(at_us=at_us, turn=Turn.INCOMING, switch="main", took_ms=12, **given)


async def keep(shop: Shop, *ones: Decided) -> None:
    keeper = DecisionKeeper(shop.store.documents, shop.clock, daemon="host-1")
    for one in ones:
        keeper.keep(one)
    await keeper.write()


def minutes(page: dict[str, Any]) -> list[str]:
    return [one["at"][11:16] for one in page["items"]]


async def test_a_decision_is_told_with_its_reason_in_words_and_its_money(api: Api, shop: Shop) -> None:
    await shop.anna()
    money = {"credit_available": 20_000, "credit_reserved": 0, "free_seconds": 0, "message_price": 100_000}
    await keep(shop, decided(-5, plan="free", caller="+3110765xxxx", target="+3161234xxxx", **money))
    (one,) = (await api("GET", "/decisions"))["items"]
    id = one.pop("id")
    assert id.endswith(".0")
    assert one == {
        "at": "2026-11-21T11:55:00.000+00:00",
        "turn": "incoming",
        "outcome": "reject",
        "reason": "no_credit",
        "explanation": "not answered: neither free minutes nor credit sufficed for the first seconds, "
        "and credit did not suffice for a voicemail message either",
        "advice": "a top-up works at once: `charging top-up anna AMOUNT`; what others held is free when they end",
        "number": NUMBER,
        "account": "anna",
        "plan": "free",
        "caller": "+3110765xxxx",
        "withheld": False,
        "target": "+3161234xxxx",
        "destination": "",
        "credit_available": "0.02",
        "credit_reserved": "0.00",
        "free_seconds": 0,
        "message_price": "0.10",
        "message_refusal": "",
        "quota_s": None,
        "session": None,
        "detail": "",
        "switch": "main",
        "daemon": "host-1",
        "took_ms": 12,
    }


async def test_what_was_not_looked_at_is_null_and_not_nothing(api: Api, shop: Shop) -> None:
    await keep(shop, decided(-5, account="", reason="unknown_number"))
    (one,) = (await api("GET", "/decisions"))["items"]
    assert [one[name] for name in ("account", "credit_available", "credit_reserved", "free_seconds")] == [None] * 4


async def test_decisions_are_filtered_by_number_account_and_time(api: Api, shop: Shop) -> None:
    await shop.anna()
    other = {"number": "+31207654321", "account": "bert"}
    await keep(shop, decided(-60), decided(-30, **other), decided(-5))
    for number in (NUMBER, "020 1234567", "0031201234567"):
        assert minutes(await api("GET", "/decisions", params={"number": number})) == ["11:00", "11:55"]
    assert minutes(await api("GET", "/decisions", params={"account": "anna"})) == ["11:00", "11:55"]
    since, until = "2026-11-21T11:30:00Z", "2026-11-21T11:55:00Z"
    assert minutes(await api("GET", "/decisions", params={"since": since, "until": until})) == ["11:30"]
    assert minutes(await api("GET", "/decisions", params={"until": "2026-11-21"})) == []


@pytest.mark.parametrize(
    ("at", "found"),
    [
        ("2026-11-21T12:00", ["10:55", "11:04"]),
        ("12:00", ["10:55", "11:04"]),
        ("2026-11-21T11:00Z", ["10:55", "11:04"]),
        ("13:01", ["10:00"]),
    ],
    ids=["in the operator's zone", "an hour of today", "in UTC", "an hour that has not been today is yesterday's"],
)
async def test_about_a_time_is_five_minutes_before_to_five_after(
    api: Api, shop: Shop, at: str, found: list[str]
) -> None:
    yesterday = decided(-24 * 60 + 1)
    await keep(shop, yesterday, decided(-65.1), decided(-65), decided(-55.1), decided(-55))
    page = await api("GET", "/decisions", params={"at": at})
    expected = ["12:01"] if at == "13:01" else found
    assert minutes(page) == expected


async def test_pages_follow_one_another(api: Api, shop: Shop) -> None:
    await keep(shop, *(decided(number - 60) for number in range(7)))
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = await api("GET", "/decisions", params={"limit": 3} | ({} if cursor is None else {"cursor": cursor}))
        found += minutes(page)
        if (cursor := page["next"]) is None:
            break
    assert found == [f"11:0{number}" for number in range(7)]
    exact = await api("GET", "/decisions", params={"limit": 7})
    assert (len(exact["items"]), exact["next"]) == (7, None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"at": "2026-11-21"},
        {"at": "25:00"},
        {"at": "noon"},
        {"at": "12:00", "since": "2026-11-21"},
        {"since": "2026-11-22", "until": "2026-11-21"},
        {"number": "anna"},
        {"cursor": "x"},
        {"cursor": "1795262400000000-01-0123456789ab.0000000000001"},
        {"limit": 0},
    ],
)
async def test_a_wrong_filter_is_refused(api: Api, wrong: dict[str, Any]) -> None:
    await api("GET", "/decisions", 422, params=wrong)


async def test_the_decisions_of_an_account_that_is_not_there_are_refused(api: Api) -> None:
    await api("GET", "/decisions", 404, params={"account": "nobody"})


async def test_every_member_of_a_decision_is_described_or_speaks_for_itself(api: Api) -> None:
    schema = (await api("GET", "/openapi.json"))["components"]["schemas"]["DecisionOut"]["properties"]
    plain = {"id", "reason", "account", "plan", "withheld", "switch"}
    assert {name for name, one in schema.items() if "description" not in one and "anyOf" not in one} <= plain
