"""The public interface: who passes, for what, how often, and what is said to the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog

from charging.errors import LedgerUnavailable
from charging.ledger.books.archive import opening_line
from charging.ledger.model import CREDIT, Kind, Leg, Transfer
from charging.log_limit import LINES
from charging.service.statements import month_bounds_us
from charging.service.tokens import OPERATED, NewToken, Scope
from charging.web.api_document import complete, scope_of
from charging.web.api_gate import Operations
from tests.fakes.clock import FakeClock
from tests.unit.service.conftest import Shop
from tests.unit.web.door import Door


@pytest.fixture
async def door(shop: Shop) -> Door:
    made = Door(shop.service)
    await made.open()
    await shop.anna()
    return made


async def test_without_a_known_token_nobody_passes(door: Door) -> None:
    response = await door("", "GET", "/accounts", 401)
    assert response.headers["www-authenticate"] == 'Bearer realm="charging"'
    response = await door("charging_0123456789ab_" + "x" * 43, "GET", "/accounts", 401)
    assert 'error="invalid_token"' in response.headers["www-authenticate"]
    await door("", "GET", "/nowhere", 401)
    await door("", "GET", "/accounts", 401, headers={"Authorization": "Basic YTpi"})
    await door("read", "GET", "/accounts")


async def test_a_revoked_token_ends_at_once(door: Door) -> None:
    await door("read", "GET", "/accounts")
    await door.tokens.revoke((await door.tokens.all())[0].id)
    for token in await door.tokens.all():
        await door.tokens.revoke(token.id)
    await door("read", "GET", "/accounts", 401)


@pytest.mark.parametrize(
    ("method", "path", "body", "scope"),
    [
        ("GET", "/accounts/anna/balance", None, "read"),
        ("GET", "/accounts/anna/statements/2026-11", None, "read"),
        ("POST", "/accounts/anna/top-ups", {"amount": "25"}, "credit"),
        ("POST", "/accounts/anna/corrections", {"amount": "25", "reason": "r"}, "correct"),
        ("POST", "/accounts", {"id": "bert", "plan": "light"}, "accounts"),
        ("PATCH", "/accounts/anna", {"plan": "pro"}, "accounts"),
        ("PUT", "/accounts/anna/status", {"status": "active"}, "operate"),
        ("POST", "/numbers", {"number": "+31201234567", "account": "anna"}, "accounts"),
    ],
)
async def test_each_operation_needs_its_scope_and_no_other_will_do(
    door: Door, method: str, path: str, body: dict[str, str] | None, scope: str
) -> None:
    request: dict[str, Any] = {"json": body, "headers": {"Idempotency-Key": "k"}} if body else {}
    wider = {"operate"} if scope in OPERATED else set()
    for other in set(Scope) - {scope} - wider:
        response = await door(other, method, path, 403, **dict(request))
        assert f'scope="{scope}"' in response.headers["www-authenticate"]
    passed = 201 if method == "POST" else 200
    for who in (scope, *wider):
        await door(who, method, path, passed, **dict(request))
        passed = 200 if path.endswith(("top-ups", "corrections")) else passed
        if path in ("/accounts", "/numbers"):
            passed = 409


async def test_every_operation_has_a_scope_only_payments_are_credit_and_only_faxes_fax(door: Door) -> None:
    found = {
        (method.upper(), path): operation["security"][0]["bearer"]
        for path, methods in door.app.openapi()["paths"].items()
        for method, operation in methods.items()
    }
    assert len(found) > 20
    assert {one for one, scopes in found.items() if scopes == ["credit"]} == {
        ("POST", "/accounts/{account}/top-ups"),
        ("POST", "/accounts/{account}/subscription-payments"),
    }
    assert {one for one, scopes in found.items() if scopes == ["fax"]} == {
        ("POST", "/accounts/{account}/faxes"),
        ("POST", "/accounts/{account}/fax-checks"),
        ("POST", "/accounts/{account}/faxes/{session}/cancellation"),
    }
    minutes = {("POST", f"/accounts/{{account}}/{what}") for what in ("minute-grants", "pack-grants")}
    assert {one for one, scopes in found.items() if scopes == ["minutes"]} == minutes
    reads = {path: scopes for (method, path), scopes in found.items() if method == "GET"}
    assert reads.pop("/changes") == ["audit"]
    assert all(scopes == ["read"] for scopes in reads.values())
    assert all(scopes == [scope_of(*one).value] for one, scopes in found.items())
    assert not [path for _, path in found if path.startswith(("/tokens", "/ledger", "/imports"))]


async def test_unknown_paths_and_methods_are_problems_that_name_what_there_is(door: Door) -> None:
    await door("read", "GET", "/nowhere", 404)
    await door("read", "GET", "/accounts/", 404)
    response = await door("read", "DELETE", "/accounts/anna", 405)
    assert response.headers["allow"] == "GET, PATCH"


async def test_no_path_is_another_with_a_line_break_behind_it(door: Door) -> None:
    """A pattern that ends with ``$`` would say so, and what is compared would not: a body let in by the one as a
    document would be read by the other as a request."""
    document = (await door("", "GET", "/openapi.json")).json()
    operations = Operations.of(document, {})
    paths = [path.replace("{", "").replace("}", "") for path in document["paths"]]
    assert all(operations.at(path) for path in paths)
    taken = {path: operations.at(f"{path}\n") for path in paths}
    named = {path: [*found[1].values()][-1] for path, found in taken.items() if found is not None}
    assert all(name.endswith("\n") for name in named.values()), "the line break is of the name that the path ends with"
    assert "/accounts/account/faxes" not in named
    await door("fax", "POST", "/accounts/anna/faxes%0A", 404)


async def test_a_token_may_ask_so_often_and_then_again(door: Door, clock: FakeClock) -> None:
    for _ in range(60):
        await door("read", "GET", "/health")
    response = await door("read", "GET", "/health", 429)
    assert response.headers["retry-after"] == "1"
    await door("operate", "PATCH", "/accounts/anna", json={"plan": "pro"})
    await clock.advance(1)
    await door("read", "GET", "/health")


async def test_failed_logins_are_limited_by_address_and_lock_out_nobody_else(door: Door, clock: FakeClock) -> None:
    await door("read", "GET", "/health", address="198.51.100.7")
    for number in range(3):
        await door(f"charging_{number:012d}_" + "x" * 43, "GET", "/health", 401, address="198.51.100.7")
    response = await door("charging_0123456789ab_" + "x" * 43, "GET", "/health", 429, address="198.51.100.7")
    assert response.headers["retry-after"] == "20"
    await door("read", "GET", "/health", address="198.51.100.7")  # it was good before: its holder goes on
    await door("credit", "GET", "/health", 403, address="198.51.100.7")  # it was not seen before: the same
    await clock.advance(20)
    await door("charging_0123456789ab_" + "x" * 43, "GET", "/health", 401, address="198.51.100.7")


async def test_guesses_at_a_token_that_there_is_are_limited_and_do_not_lock_it_out(door: Door) -> None:
    """By address and token, for its id is no secret; its holder behind the same address goes on."""
    guess = door.secrets["read"][:-1] + ("x" if door.secrets["read"][-1] != "x" else "y")
    for _ in range(3):
        await door(guess, "GET", "/health", 401, address="198.51.100.7")
    for _ in range(50):
        await door(guess, "GET", "/health", 429, address="198.51.100.7")
    await door("read", "GET", "/health", address="198.51.100.7")
    await door(guess, "GET", "/health", 429, address="198.51.100.7")
    await door(guess, "GET", "/health", 401, address="198.51.100.8")
    other = door.secrets["fax"][:-1] + ("x" if door.secrets["fax"][-1] != "x" else "y")
    await door(other, "GET", "/health", 401, address="198.51.100.7")


async def test_over_the_limit_a_guess_asks_no_store(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    guess = door.secrets["read"][:-1] + ("x" if door.secrets["read"][-1] != "x" else "y")
    for _ in range(3):
        await door(guess, "GET", "/health", 401)

    async def asked(*_: object, **__: object) -> None:
        raise AssertionError("the store was asked")

    monkeypatch.setattr(door.documents.documents, "get_document", asked)
    monkeypatch.setattr(door.documents.documents, "list_documents", asked)
    await door(guess, "GET", "/health", 429)


async def test_a_revoked_token_is_refused_and_limited_like_an_unknown_one(door: Door) -> None:
    secret = door.secrets["read"]
    await door("read", "GET", "/health")
    await door.tokens.revoke(secret.split("_")[1])
    for _ in range(4):
        await door(secret, "GET", "/health", 401)
    await door(secret, "GET", "/health", 429)


async def test_a_token_made_after_the_list_was_made_is_known_within_a_second(door: Door, clock: FakeClock) -> None:
    for number in range(3):
        await door(f"charging_{number:012d}_" + "x" * 43, "GET", "/health", 401)
    new = await door.tokens.add("later", [Scope.READ])
    assert isinstance(new, NewToken)
    await clock.advance(1)
    await door(new.secret, "GET", "/health")


async def test_the_addresses_of_one_ipv6_customer_count_as_one(door: Door) -> None:
    for number in range(3):
        await door("wrong", "GET", "/health", 401, address=f"2001:db8:1:2::{number}")
    await door("wrong", "GET", "/health", 429, address="2001:db8:1:2:ffff::")
    await door("wrong", "GET", "/health", 401, address="2001:db8:1:3::")


async def test_a_body_at_the_limit_passes_and_one_byte_more_does_not(door: Door) -> None:
    body = b'{"plan":"pro"}'
    headers = {"Content-Type": "application/json"}
    await door("operate", "PATCH", "/accounts/anna", content=body.ljust(2_000), headers=headers)
    await door("operate", "PATCH", "/accounts/anna", 413, content=body.ljust(2_001), headers=headers)

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b" " * 700

    await door("operate", "PATCH", "/accounts/anna", 413, content=chunks(), headers=headers)


async def test_a_body_that_does_not_come_is_not_waited_for(door: Door) -> None:
    async def never() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    response = await door("operate", "PATCH", "/accounts/anna", 408, content=never())
    assert response.headers["connection"] == "close"


async def test_a_body_that_breaks_off_is_not_taken_for_a_whole_one(door: Door, shop: Shop) -> None:
    messages = [
        {"type": "http.request", "body": b'{"amount":"25"}', "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [
        (b"authorization", b"Bearer " + door.secrets["credit"].encode()),
        (b"content-type", b"application/json"),
        (b"idempotency-key", b"k"),
        (b"content-length", b"40"),
    ]
    path = "/accounts/anna/top-ups"
    scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b""}
    await door.app(scope | {"headers": headers, "client": ("192.0.2.1", 1), "http_version": "1.1"}, receive, send)
    assert sent[0]["status"] == 400
    assert await shop.store.journal_page("anna", None, 10) == []


async def test_r2_a_top_up_needs_a_key_and_a_key_has_one_amount(door: Door) -> None:
    where = "/accounts/anna/top-ups"
    await door("credit", "POST", where, 422, json={"amount": "25"})
    keyed = {"Idempotency-Key": "order-1"}
    first = await door("credit", "POST", where, 201, json={"amount": "25"}, headers=keyed)
    again = await door("credit", "POST", where, 200, json={"amount": "25.00"}, headers=keyed)
    assert (first.json()["created"], again.json()["created"], again.json()["credit"]) == (True, False, "25.00")
    other = await door("credit", "POST", where, 409, json={"amount": "10"}, headers=keyed)
    assert other.json()["code"] == "key_reused"
    small = await door("credit", "POST", where, 422, json={"amount": "9.99"}, headers={"Idempotency-Key": "order-2"})
    assert "at least 10.00" in small.json()["detail"]


async def test_a_store_that_does_not_answer_is_a_503_also_at_the_login(door: Door) -> None:
    async def broken(collection: str, id: str) -> None:
        raise LedgerUnavailable("the disk is full")

    door.documents.documents.get_document = broken  # type: ignore[method-assign]
    assert (await door("read", "GET", "/accounts", 503)).json()["code"] == "ledger_unavailable"


async def test_the_document_is_open_and_tells_every_problem_by_its_media_type(door: Door) -> None:
    document = (await door("", "GET", "/openapi.json")).json()
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    operation = document["paths"]["/accounts/{account}/top-ups"]["post"]
    statuses = set(operation["responses"])
    assert statuses == {"200", "201", "400", "401", "403", "404", "408", "409", "413", "422", "429", "500", "503"}
    for name in (one["$ref"].rpartition("/")[2] for code, one in operation["responses"].items() if code >= "400"):
        assert list(document["components"]["responses"][name]["content"]) == ["application/problem+json"]
    (key,) = (one for one in operation["parameters"] if one["in"] == "header")
    assert key["required"]
    assert complete(dict(document)) == document


async def test_a_statement_of_an_archived_month_is_gone_and_the_document_says_so(door: Door, shop: Shop) -> None:
    at_us = month_bounds_us("2026-07", shop.tariff.zone)[0]
    await shop.store.apply(Transfer("t", "anna", Kind.TOP_UP, at_us, (Leg(CREDIT, 1),)))
    lines = [line async for line in shop.store.journal("anna")]
    assert await shop.store.replace_head(opening_line(lines), lines)
    problem = (await door("read", "GET", "/accounts/anna/statements/2026-07", 410)).json()
    assert (problem["code"], "2026-08" in problem["advice"]) == ("archived", True)
    document = (await door("", "GET", "/openapi.json")).json()
    assert "410" in document["paths"]["/accounts/{account}/statements/{month}"]["get"]["responses"]


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/csv", "text/csv"),
        ("Text/HTML;level=1", "text/html"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html"),
        ("text/html;q=0.1, text/csv;q=0.2", "text/csv"),
        ("text/html;q=0, application/pdf, */*;q=0.1", "application/json"),
    ],
)
async def test_a_statement_without_a_format_is_what_the_request_accepts(door: Door, accept: str, media: str) -> None:
    where, headers = "/accounts/anna/statements/2026-11", {"accept": accept}
    answer = await door("read", "GET", where, headers=headers)
    assert answer.headers["content-type"].startswith(media)
    chosen = await door("read", "GET", f"{where}?format=json", headers=headers)
    assert chosen.headers["content-type"] == "application/json"


async def test_a_statement_as_something_that_there_is_not_is_refused_with_where_it_is(door: Door) -> None:
    where = "/accounts/anna/statements/2026-11"
    problem = (await door("read", "GET", where, 422, headers={"accept": "application/pdf"})).json()
    assert problem["errors"][0]["pointer"] == "Accept"
    assert "customers' page" in problem["advice"]


async def test_a_statement_comes_as_json_csv_or_page(door: Door) -> None:
    where = "/accounts/anna/statements/2026-11"
    assert (await door("read", "GET", where)).json()["closing"] == "0.00"
    csv = await door("read", "GET", where, params={"format": "csv"})
    assert csv.headers["content-type"] == "text/csv; charset=utf-8"
    page = await door("read", "GET", where, params={"format": "html"})
    assert page.text.startswith("<!doctype html>")
    await door("read", "GET", "/accounts/anna/statements/2026-1", 422)
    await door("read", "GET", "/accounts/anna/statements/2027-01", 422)


async def test_guesses_from_many_addresses_fill_no_disk_with_log_lines(door: Door, clock: FakeClock) -> None:
    async def guess(first: int, addresses: int) -> list[int]:
        with structlog.testing.capture_logs() as logs:
            for number in range(first, first + addresses):
                token = "charging_0123456789ab_" + "x" * 43
                await door(token, "GET", "/accounts", 401, address=f"2001:db8:{number:x}::1")
        return [one["more"] for one in logs if one["event"] == "api_login_failed"]

    assert await guess(1, LINES) == [0] * LINES
    assert await guess(LINES + 1, 2) == []
    await clock.advance(60)
    assert await guess(LINES + 3, 1) == [2]
