"""GET /changes, the actor of what is asked, when tokens were last used, and the request's id of a fault of ours."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from charging.service.tokens import Bounds, NewToken, Scope, Tokens
from charging.web.actor import HEADER
from charging.web.control import control_app
from tests.unit.service.conftest import Shop
from tests.unit.web.door import Door


@pytest.fixture
async def door(shop: Shop) -> Door:
    made = Door(shop.service)
    await made.open()
    return made


async def test_what_a_token_does_is_noted_as_its_own_and_stands_in_the_journal(door: Door, shop: Shop) -> None:
    await shop.anna()
    await shop.clock.advance(1)
    key: dict[str, Any] = {"headers": {"Idempotency-Key": "order-1", HEADER: "cli:root"}, "json": {"amount": "10"}}
    await door("credit", "POST", "/v1/accounts/anna/top-ups", 201, **key)
    id = next(one.id for one in await door.tokens.all() if one.name == "credit")
    made, bought = (await door("audit", "GET", "/v1/changes?account=anna")).json()["items"]
    assert (made["act"], made["actor"]) == ("account.made", "daemon")
    assert bought.pop("id")
    assert bought == {
        "at": "2026-11-21T12:00:01.000+00:00",
        "act": "credit.topped_up",
        "actor": f"token:{id}",
        "account": "anna",
        "number": "",
        "transfer": "top-up/order-1",
        "before": {"credit": "0.00"},
        "after": {"amount": "10.00", "reason": "top_up", "credit": "10.00"},
    }
    auditor = await door.tokens.add("auditor", [Scope.READ, Scope.AUDIT])
    assert isinstance(auditor, NewToken)
    (line,) = (await door(auditor.secret, "GET", "/v1/accounts/anna/journal")).json()["items"]
    assert line["actor"] == f"token:{id}"


async def test_changes_need_a_scope_of_their_own_and_a_bound_token_its_account(door: Door, shop: Shop) -> None:
    await shop.anna()
    for scope in Scope:
        await door(scope.value, "GET", "/v1/changes", 200 if scope is Scope.AUDIT else 403)
    annas = await door.tokens.add("anna", [Scope.AUDIT], Bounds("anna"))
    assert isinstance(annas, NewToken)
    await door(annas.secret, "GET", "/v1/changes", 403)
    assert len((await door(annas.secret, "GET", "/v1/changes?account=anna")).json()["items"]) == 1


async def test_pages_and_what_is_no_cursor(door: Door, shop: Shop) -> None:
    await shop.anna()
    for plan in ("pro", "light", "free"):
        await shop.clock.advance(1)
        await shop.service.accounts.change("anna", {"plan": plan})
    first = (await door("audit", "GET", "/v1/changes?limit=2&account=anna")).json()
    rest = (await door("audit", "GET", f"/v1/changes?limit=2&account=anna&cursor={first['next']}")).json()
    plans = [one["after"]["plan"] for one in (*first["items"], *rest["items"])]
    assert plans == ["light", "pro", "light", "free"]
    assert rest["next"] is None
    await door("audit", "GET", "/v1/changes?cursor=1", 422)
    for nobody in ("", "Alice", "cli:"):
        await door("audit", "GET", f"/v1/changes?actor={nobody}", 422)
    await door("audit", "GET", "/v1/changes?account=none", 404)


@pytest.mark.parametrize(("given", "told"), [("cli:alice", "cli:alice"), ("", "control"), ("nobody at all", "control")])
async def test_the_control_socket_is_told_who_asks(shop: Shop, given: str, told: str) -> None:
    transport = httpx.ASGITransport(control_app(shop.service, tokens=Tokens(shop.store, shop.clock)))
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers={HEADER: given}) as http:
        await http.post("/accounts", json={"id": "anna", "plan": "light"})
        (change,) = (await http.get("/changes")).json()["items"]
    assert change["actor"] == told


async def test_the_process_that_decides_calls_does_not_look_through_changes(shop: Shop) -> None:
    transport = httpx.ASGITransport(control_app(shop.service, decides_calls=True))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        assert (await http.get("/changes")).status_code == 404


async def test_tokens_tell_when_they_were_last_used_by_few_writes(door: Door, shop: Shop) -> None:
    await shop.anna()
    tokens = Tokens(shop.store, shop.clock)
    new = await tokens.add("site", [Scope.READ])
    assert isinstance(new, NewToken)
    transport = httpx.ASGITransport(control_app(shop.service, tokens=tokens))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        (before,) = (await http.get("/tokens")).json()["items"]
        assert before["last_used"] is None
        for _ in range(3):
            await shop.clock.advance(60)
            tokens.used(new.token.id)
        uses = tokens.take_uses()
        assert len(uses) == 1
        assert not tokens.take_uses()
        assert (await http.post("/tokens/uses", json={"uses": uses | {"0123456789ab": 1}})).status_code == 204
        (after,) = (await http.get("/tokens")).json()["items"]
        assert after["last_used"] == "2026-11-21T12:03:00.000+00:00"
        await http.post("/tokens/uses", json={"uses": {new.token.id: 1}})  # an older one, told late
        assert (await http.get("/tokens")).json()["items"] == [after]
        await http.delete(f"/tokens/{new.token.id}")
    assert not await shop.store.documents.list_documents("token-uses")


async def test_the_gate_sees_each_use_of_a_good_token_and_none_of_a_bad_one(door: Door) -> None:
    await door("read", "GET", "/v1/accounts")
    await door("charging_0123456789ab_" + "x" * 43, "GET", "/v1/accounts", 401)
    (id,) = door.tokens.take_uses()
    assert next(one.name for one in await door.tokens.all() if one.id == id) == "read"


async def test_a_bad_client_behind_the_same_address_locks_no_good_token_out_after_a_restart(
    door: Door, shop: Shop
) -> None:
    restarted = Door(shop.service, door.documents)
    bad = "charging_0123456789ab_" + "x" * 43
    for _ in range(3):
        await restarted(bad, "GET", "/v1/accounts", 401)
    await restarted(bad, "GET", "/v1/accounts", 429)
    await restarted(door.secrets["read"], "GET", "/v1/accounts")


async def test_a_fault_of_ours_is_answered_with_the_requests_id(
    door: Door, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_arguments: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(shop.service.accounts, "page", broken)
    answer = await door("read", "GET", "/v1/accounts", 500, headers={"X-Request-Id": "my-own"})
    assert answer.headers["x-request-id"] == "my-own"
    assert answer.json()["instance"] == "urn:charging:request:my-own"
    assert answer.json()["code"] == "bug"
