"""The public interface while calls run: top-ups and looks at the balance from several sides, and exact at the end."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from charging.lab import CallState, Lab
from charging.pricing.money import parse_euro
from tests.asterisk.engine import Engine, engine

pytestmark = pytest.mark.asterisk

CALLS = 4
CLIENTS = 3
OWN_ORDERS = 6
SHARED_ORDERS = 6
"""Asked by every client at the same time."""
START, ORDER = "0.03", "0.01"
LINES_A_PAGE = 7


@dataclass(frozen=True)
class Look:
    """A balance, and the numbers of the newest journal lines before and after it was asked."""

    before: int
    balance: Mapping[str, Any]
    after: int


@dataclass(frozen=True)
class Moment:
    """What the journal up to one of its lines adds up to, in micro-euro."""

    posted: int
    reserved: int
    taken: int
    """By sessions that are open then."""


async def website(live: Engine) -> httpx.AsyncClient:
    """Who asks the public interface, by a token that the command has made; its process has been started."""
    scopes = ("--scope", "read", "--scope", "credit")
    token = json.loads(await live.charging("token", "add", "the website", *scopes, "--json"))["token"]
    url = f"http://127.0.0.1:{live.daemon.api_port}"
    async with httpx.AsyncClient(timeout=30) as first:
        await first.get(f"{url}/openapi.json")
    return httpx.AsyncClient(
        base_url=f"{url}/accounts/anna",
        headers={"Authorization": f"Bearer {token}"},
        timeout=30,
    )


async def got(http: httpx.AsyncClient, path: str, **params: str | int) -> dict[str, Any]:
    answer = await http.get(path, params=params)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def journal(http: httpx.AsyncClient) -> list[dict[str, Any]]:
    """All of it, page by page, oldest first."""
    lines: list[dict[str, Any]] = []
    params: dict[str, str | int] = {"limit": LINES_A_PAGE}
    while True:
        page = await got(http, "/journal", **params)
        lines += page["items"]
        if page["next"] is None:
            return lines[::-1]
        params["cursor"] = page["next"]


async def newest(http: httpx.AsyncClient) -> int:
    return int((await got(http, "/journal", limit=1))["items"][0]["number"])


async def watch(http: httpx.AsyncClient, looks: list[Look], end: asyncio.Event) -> None:
    """Look at the balance again and again."""
    while not end.is_set():
        looks.append(Look(await newest(http), await got(http, "/balance"), await newest(http)))


async def top_up(http: httpx.AsyncClient, key: str, amount: str = ORDER) -> int:
    answer = await http.post("/top-ups", json={"amount": amount}, headers={"Idempotency-Key": key})
    return answer.status_code


async def buy(live: Engine, http: httpx.AsyncClient, client: int, statuses: dict[str, list[int]]) -> None:
    """One client's orders, while the calls are being ticked; some of them asked twice at once."""
    for number in range(max(OWN_ORDERS, SHARED_ORDERS)):
        await live.heard("tick_posted", times=CALLS * (number + 1), deadline_s=30)
        own, shared = f"own-{client}-{number}", f"shared-{number}"
        keys = [own] * (2 if number % 2 else 1) + [shared]
        for key, status in zip(keys, await asyncio.gather(*(top_up(http, key) for key in keys)), strict=True):
            statuses.setdefault(key, []).append(status)


def micro(text: str) -> int:
    return -parse_euro(text[1:]) if text.startswith("-") else parse_euro(text)


def moments(lines: Sequence[Mapping[str, Any]]) -> dict[int, Moment]:
    """By line number. A session is open from its first line until its last, when all is over."""
    last = {line["session"]: line["number"] for line in lines if line["session"]}
    posted = reserved = 0
    taken: Counter[str] = Counter()
    found: dict[int, Moment] = {}
    for line in lines:
        legs = [leg for leg in line["legs"] if leg["balance"] == "credit"]
        posted += (change := sum(micro(leg["posted"]) for leg in legs))
        reserved += sum(micro(leg["reserved"]) for leg in legs)
        if session := line["session"]:
            taken[session] -= change
            if last[session] == line["number"]:
                del taken[session]
        found[line["number"]] = Moment(posted, reserved, sum(taken.values()))
    return found


def agrees(look: Look, moment: Moment) -> bool:
    """What the customer still has and what his running calls have cost are what was there before these calls."""
    credit, calls = look.balance["credit"], look.balance["calls"]
    spent = micro(credit["now"]) + sum(micro(call["cost"]) for call in calls)
    shown = micro(credit["posted"]), micro(credit["reserved"]), spent
    return shown == (moment.posted, moment.reserved, moment.posted + moment.taken)


def contradictions(looks: Iterable[Look], by_line: Mapping[int, Moment]) -> list[Look]:
    """Balances that fit no line of the journal that was the newest while they were asked."""
    return [
        look
        for look in looks
        if not any(agrees(look, by_line[number]) for number in range(look.before, look.after + 1))
    ]


async def test_r2_r5_r22_top_ups_and_balances_over_the_api_are_exact_while_calls_of_the_account_run(
    lab: Lab, tmp_path: Path
) -> None:
    policy = {"tick_s": 1, "horizon_s": 4, "warn_before_s": 0}
    looks: list[Look] = []
    statuses: dict[str, list[int]] = {}
    async with engine(lab, tmp_path, credit=START, policy=policy) as live, await website(live) as http:
        calls = [await live.call() for _ in range(CALLS)]
        for call in calls:
            await call.wait_state(CallState.ANSWERED, 20)
        end = asyncio.Event()
        watching = [asyncio.create_task(watch(http, looks, end)) for _ in range(2)]
        await asyncio.gather(*(buy(live, http, client, statuses) for client in range(CLIENTS)))
        assert await top_up(http, "shared-0", "0.02") == 409, "a key is used for one amount only"
        await live.heard("tick_posted", times=CALLS * 12, deadline_s=30)
        assert all(call.state is CallState.ANSWERED for call in calls), "none ran out: the top-ups came in time"
        for call in calls:
            await call.hang_up()
        cdrs = await live.cdrs(CALLS)
        await live.nothing_reserved()
        end.set()
        await asyncio.gather(*watching)
        lines, balance = await journal(http), await got(http, "/balance")
        await live.charging("ledger", "verify")

    assert {
        key: sorted(said) for key, said in statuses.items() if sorted(said) != [200] * (len(said) - 1) + [201]
    } == {}
    cost = sum(parse_euro(cdr["cost"]) for cdr in cdrs)
    assert cost > parse_euro(START), "more than there was without the top-ups"
    assert micro(balance["credit"]["posted"]) == parse_euro(START) + len(statuses) * parse_euro(ORDER) - cost
    assert [line["number"] for line in lines] == list(itertools.islice(itertools.count(1), len(lines)))
    assert len([line for line in lines if line["kind"] == "top_up"]) == 1 + len(statuses)
    during = [look for look in looks if len(look.balance["calls"]) == CALLS]
    assert any(micro(look.balance["credit"]["now"]) < micro(look.balance["credit"]["posted"]) for look in during)
    assert len(during) > 10
    assert contradictions(looks, moments(lines)) == []
