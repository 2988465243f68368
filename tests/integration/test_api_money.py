"""The public interface keeps the books exact under concurrent top-ups: a real process, a real SQLite ledger."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import httpx

from charging.ledger.books.verify import verify
from charging.ledger.model import CREDIT
from charging.ledger.open import open_store
from tests.fakes.rig import EURO
from tests.integration.api_process import ApiProcess, api_process

ACCOUNTS = ("anna", "bert", "carl")


async def make_accounts(http: httpx.AsyncClient) -> None:
    for account in ACCOUNTS:
        made = await http.post("/accounts", json={"id": account, "plan": "light"})
        assert made.status_code == 201, made.text


async def top_up(http: httpx.AsyncClient, account: str, key: str, amount: str = "25") -> int:
    """The answer's status; 0: no answer, the outcome is unknown."""
    try:
        answer = await http.post(
            f"/accounts/{account}/top-ups", json={"amount": amount}, headers={"Idempotency-Key": key}
        )
    except httpx.TransportError:
        return 0
    return answer.status_code


async def ask_all(http: httpx.AsyncClient, wanted: Iterable[tuple[str, str]]) -> Counter[int]:
    return Counter(await asyncio.gather(*(top_up(http, account, key) for account, key in wanted)))


async def books(folder: Path) -> dict[str, int]:
    """Credit by account, from the file, after an audit that finds nothing."""
    store = open_store(f"sqlite:///{folder / 'ledger.db'}")
    await store.open()
    try:
        assert [str(finding) async for finding in verify(store)] == []
        return {account: (await store.balances(account))[CREDIT].posted for account in ACCOUNTS}
    finally:
        await store.close()


async def test_r2_many_top_ups_with_one_key_at_the_same_time_credit_once(tmp_path: Path) -> None:
    async with api_process(tmp_path) as api, api.client() as http:
        await make_accounts(http)
        assert await ask_all(http, [("anna", "order-1")] * 40) == Counter({200: 39, 201: 1})
        assert await top_up(http, "anna", "order-1", "50") == 409
        await ask_all(http, [(account, "order-1") for account in ACCOUNTS])
    assert await books(tmp_path) == {"anna": 25 * EURO, "bert": 25 * EURO, "carl": 25 * EURO}


async def test_concurrent_top_ups_some_asked_twice_add_up_to_the_cent(tmp_path: Path) -> None:
    orders = [(account, f"order-{number}") for number in range(40) for account in ACCOUNTS]
    async with api_process(tmp_path) as api, api.client() as http:
        await make_accounts(http)
        counted = await ask_all(http, [*orders, *orders[::3]])
        assert counted == Counter({201: len(orders), 200: len(orders[::3])})
        shown = [(await http.get(f"/accounts/{account}/balance")).json()["credit"]["now"] for account in ACCOUNTS]
        assert shown == ["1000.00"] * len(ACCOUNTS)
    assert await books(tmp_path) == dict.fromkeys(ACCOUNTS, 1000 * EURO)


async def test_a_server_killed_among_top_ups_has_each_once_after_all_are_asked_again(tmp_path: Path) -> None:
    orders = [(account, f"order-{number}") for number in range(60) for account in ACCOUNTS]

    answered = asyncio.Event()

    async def ask(http: httpx.AsyncClient, account: str, key: str) -> int:
        status = await top_up(http, account, key)
        answered.set()
        return status

    async def kill_at_the_first_answer(api: ApiProcess) -> None:
        await answered.wait()
        await api.kill()

    async with api_process(tmp_path) as api, api.client() as http:
        await make_accounts(http)
        killed = asyncio.create_task(kill_at_the_first_answer(api))
        counted = Counter(await asyncio.gather(*(ask(http, account, key) for account, key in orders)))
        await killed
        assert counted[0] > 0, "the server was killed too late to matter"
    async with api_process(tmp_path) as api, api.client() as http:
        again = await ask_all(http, orders)
        assert set(again) <= {200, 201}
        assert again[200] >= counted[201], "what was answered stands"
    assert await books(tmp_path) == dict.fromkeys(ACCOUNTS, 1500 * EURO)
