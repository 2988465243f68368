"""Tokens with bounds: one account, an end, a largest amount; and scopes that do not include one another."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, NoReturn

import pytest
import structlog

from charging.errors import ConfigError, Problem
from charging.ledger.accounts import Number
from charging.ledger.model import Closed, Kind, Opened, Outcome, Transfer
from charging.log_limit import LINES
from charging.pricing.money import parse_euro
from charging.service.numbers import NumberChanges
from charging.service.tokens import Bounds, NewToken, Scope
from charging.web.api_gate import ANSWERS
from charging.web.limits import EDITS_PER_MINUTE, EDITS_SAVED_MINUTES
from tests.fakes.ami import eventually
from tests.fakes.clock import FakeClock
from tests.unit.call.test_table import running
from tests.unit.service.conftest import Shop
from tests.unit.web.door import Door
from tests.unit.web.event_stream import Stream

ANNAS, BERTS = "+31201234567", "+31207654321"
CALLER = "+31107654321"


@pytest.fixture
async def door(shop: Shop) -> Door:
    made = Door(shop.service)
    await made.open()
    for account, number in (("anna", ANNAS), ("bert", BERTS)):
        await made("operate", "POST", "/accounts", 201, json={"id": account, "plan": "light"})
        await made("operate", "POST", "/numbers", 201, json={"number": number, "account": account})
    return made


async def bound(door: Door, *scopes: Scope, **bounds: Any) -> str:
    made = await door.tokens.add("bound", scopes, Bounds(**bounds))
    assert isinstance(made, NewToken)
    return made.secret


async def test_whose_a_mail_address_is_is_told_to_no_token_of_an_account(door: Door) -> None:
    email = {"email": "bert@example.nl"}
    await door("operate", "PATCH", "/accounts/bert", json=email)
    annas = await bound(door, Scope.ACCOUNTS, account="anna")
    assert (await door(annas, "PATCH", "/accounts/anna", json=email)).json()["warnings"] == []
    assert len((await door("operate", "PATCH", "/accounts/anna", json=email)).json()["warnings"]) == 1


@pytest.mark.parametrize(
    "path",
    [
        *("/accounts/{}", "/accounts/{}/balance", "/accounts/{}/journal", "/accounts/{}/numbers"),
        *("/accounts/{}/statements/2026-11", "/accounts/{}/faxes", "/calls?account={}", "/cdrs?account={}"),
        *("/numbers?account={}", "/decisions?account={}", "/limits?account={}&number=0612345678"),
        "/quotes?account={}&number=0612345678&seconds=1",
    ],
)
async def test_a_token_of_an_account_reads_that_account_and_no_other(door: Door, path: str) -> None:
    annas = await bound(door, Scope.READ, account="anna")
    await door(annas, "GET", path.format("anna"))
    for other in ("bert", "nobody", "anna%20", "%61nna2"):
        await door(annas, "GET", path.format(other), 403)


async def test_a_token_of_an_account_reads_no_list_of_everybody_nor_by_naming_two(door: Door) -> None:
    annas = await bound(door, Scope.READ, account="anna")
    for path in ("/accounts", "/calls", "/cdrs", "/numbers", "/decisions"):
        await door(annas, "GET", path, 403)
        await door(annas, "GET", f"{path}?account=anna&account=bert", 403)
        await door(annas, "GET", f"{path}?account=bert&account=anna", 403)
        await door(annas, "GET", f"{path}?account=", 403)
    await door(annas, "GET", "/tariff")
    await door(annas, "GET", "/health")
    await door(annas, "GET", "/quotes?plan=light&number=0612345678&seconds=1")


async def test_a_token_of_an_account_changes_its_own_number_and_no_other(door: Door) -> None:
    annas = await bound(door, Scope.NUMBERS, Scope.READ, account="anna")
    await door(annas, "PATCH", f"/numbers/{ANNAS}", json={"forward_to": "+31612345678"})
    await door(annas, "PATCH", "/numbers/0201234567", json={"forward_to": ""})
    await door(annas, "GET", f"/numbers/{ANNAS}")
    for number in (BERTS, "+31209999999", "0207654321"):
        await door(annas, "PATCH", f"/numbers/{number}", 403, json={"forward_to": "+31612345678"})
        await door(annas, "GET", f"/numbers/{number}", 403)
    await door(annas, "DELETE", "/calls/unknown", 403)


@pytest.mark.parametrize("looks", [1, 2, 3, 4])
async def test_a_number_that_becomes_anothers_at_any_moment_is_not_changed_by_who_had_it(
    door: Door, shop: Shop, monkeypatch: pytest.MonkeyPatch, looks: int
) -> None:
    """Between two looks at it: a customer who asks again and again meets that moment."""
    annas = await bound(door, Scope.NUMBERS, Scope.READ, account="anna")
    look, looked = shop.store.directory.number, 0

    async def number(asked: str) -> Number | None:
        nonlocal looked
        looked += asked == ANNAS
        if asked == ANNAS and looked == looks + 1:
            monkeypatch.setattr(shop.store.directory, "number", look)
            await door("operate", "DELETE", f"/numbers/{ANNAS}")
            await door("operate", "POST", "/numbers", 201, json={"number": ANNAS, "account": "bert"})
        return await look(asked)

    monkeypatch.setattr(shop.store.directory, "number", number)
    await door.ask(annas, "PATCH", f"/numbers/{ANNAS}", json={"forward_to": "+31612345678"})
    found = await look(ANNAS)
    assert found is not None
    assert found.forward_to == "" or found.account == "anna"


async def test_a_customer_leaves_so_many_notes_of_changes_a_minute(door: Door) -> None:
    """They are kept for good: by hundreds a minute he would fill the ledger's disk, or a Redis server's memory."""
    his = [await bound(door, Scope.NUMBERS, account="anna") for _ in range(20)]
    at_once = EDITS_PER_MINUTE * EDITS_SAVED_MINUTES
    assert at_once >= 200, "a company has so many numbers, and forwards all of them when it closes"
    for number in range(at_once):
        await door(his[number % 20], "PATCH", f"/numbers/{ANNAS}", json={"forward_to": f"+31612345{number:03}"})
    for token in his:
        response = await door(token, "PATCH", f"/numbers/{ANNAS}", 429, json={"forward_to": ""})
        assert int(response.headers["retry-after"]) > 0
    clerks = [await bound(door, Scope.NUMBERS) for _ in range(20)]
    for number in range(at_once + 1):
        await door(clerks[number % 20], "PATCH", f"/numbers/{ANNAS}", json={"forward_to": f"+31612345{number:03}"})


@pytest.mark.parametrize("what", ["faxes/none/cancellation", "faxes", "fax-checks"])
async def test_a_customer_leaves_so_many_of_each_kind_of_note_and_line(door: Door, what: str) -> None:
    """Not of numbers alone; and what he asks in vain is logged so often. A fax that nobody takes stays in the books."""
    his = [await bound(door, *Scope, account="anna") for _ in range(20)]
    at_once = EDITS_PER_MINUTE * EDITS_SAVED_MINUTES
    with structlog.testing.capture_logs() as logs:
        for number in range(at_once):
            assert (await door.ask(his[number % 20], "POST", f"/accounts/anna/{what}")).status_code in (404, 422)
        await door(his[0], "POST", f"/accounts/anna/{what}", 429)
    assert sum(one["event"] == "api_change_asked" for one in logs) <= LINES
    await door(his[0], "PATCH", "/accounts/anna", json={"language": "en"})


async def test_a_token_of_an_account_makes_nothing_for_another(door: Door) -> None:
    annas = await bound(door, *Scope, account="anna")
    key = {"Idempotency-Key": "k"}
    await door(annas, "POST", "/accounts", 403, json={"id": "carl", "plan": "light"})
    await door(annas, "POST", "/numbers", 403, json={"number": "+31201112222", "account": "anna"})
    await door(annas, "POST", "/accounts/bert/top-ups", 403, json={"amount": "10"}, headers=key)
    await door(annas, "POST", "/accounts/anna/top-ups", 201, json={"amount": "10"}, headers=key)


async def test_every_operation_is_closed_to_a_token_of_another_account_or_tells_of_none(door: Door) -> None:
    """A path that is new must not be open to bound tokens by oversight."""
    carls = await bound(door, *Scope, account="carl")
    passed = set()
    for template, methods in door.app.openapi()["paths"].items():
        names = {"account": "anna", "number": ANNAS, "session": "s", "month": "2026-11"}
        for method in methods:
            try:
                await door(carls, method.upper(), template.format(**names), 403)
            except AssertionError:
                passed.add(f"{method} {template}")
    prices = {"get /quotes", "get /limits", "get /fax-quotes"}
    assert passed == {"get /tariff", "get /health"} | prices


async def test_a_token_is_good_until_its_end_and_not_from_then_on(door: Door, clock: FakeClock) -> None:
    end_us = clock.now().wall_us + 60_000_000
    for_a_minute = await bound(door, Scope.READ, expires_us=end_us)
    await clock.advance(59)
    await door(for_a_minute, "GET", "/health")
    await clock.advance(1)
    await door(for_a_minute, "GET", "/health", 401)


async def test_that_a_token_has_expired_is_said_to_whoever_has_its_whole_text_alone(
    door: Door, clock: FakeClock
) -> None:
    over = await bound(door, Scope.READ, expires_us=clock.now().wall_us + 60_000_000)
    await clock.advance(60)
    guess = over[:-1] + ("A" if over[-1] != "A" else "B")
    told = {
        secret: (await door(secret, "GET", "/health", 401)).json()
        for secret in (over, guess, f"charging_{'0' * 12}_{'x' * 43}")
    }
    assert [one["detail"] for one in told.values()] == [
        "the token has expired",
        "the token is not known (any more)",
        "the token is not known (any more)",
    ]
    assert {one["code"] for one in told.values()} == {"unauthorized"}


async def test_a_token_moves_no_more_than_its_amount_at_a_time(door: Door) -> None:
    some = await bound(door, Scope.CREDIT, Scope.CORRECT, amount_max=parse_euro("25"))
    for number, (path, amount, status) in enumerate(
        [
            ("top-ups", "25.00", 201),
            ("top-ups", "25.01", 403),
            ("top-ups", "1000", 403),
            ("corrections", "-25", 201),
            ("corrections", "-25.01", 403),
            ("corrections", "25,01", 403),
            ("corrections", "much", 422),
        ]
    ):
        body = {"amount": amount} | ({"reason": "r"} if path == "corrections" else {})
        key = {"Idempotency-Key": f"k-{number}"}
        await door(some, "POST", f"/accounts/anna/{path}", status, json=body, headers=key)
    twice = b'{"amount": "10", "amount": "500"}'
    headers = {"Idempotency-Key": "twice", "Content-Type": "application/json"}
    await door(some, "POST", "/accounts/anna/top-ups", 403, content=twice, headers=headers)
    wide = '{"amount": "500"}'.encode("utf-16")
    headers["Idempotency-Key"] = "wide"
    await door(some, "POST", "/accounts/anna/top-ups", 403, content=wide, headers=headers)


async def test_the_end_of_a_token_is_an_end_of_asking_the_store(door: Door, clock: FakeClock) -> None:
    over = await bound(door, Scope.READ, expires_us=clock.now().wall_us + 60_000_000)
    await door(over, "GET", "/health")
    await clock.advance(60)
    for _ in range(3):
        await door(over, "GET", "/health", 401)
    await door(over, "GET", "/health", 429)


@pytest.mark.parametrize("asked", [{"paid_voicemail": False}, {"paid_voicemail": None}, {"mailbox": "31207654321"}])
async def test_who_may_set_a_forward_number_makes_no_message_free_nor_another_customers(
    door: Door, asked: dict[str, object]
) -> None:
    """R13: whether voicemail is paid is the operator's."""
    for bounds in ({}, {"account": "anna"}):
        customer = await bound(door, Scope.READ, Scope.NUMBERS, **bounds)
        await door(customer, "PATCH", f"/numbers/{ANNAS}", 403, json={"forward_to": "+31612345678", **asked})
        await door(customer, "PATCH", f"/numbers/{ANNAS}", json={"forward_to": "+31612345678"})
        clerk = await bound(door, Scope.NUMBERS, Scope.ACCOUNTS, **bounds)
        await door(clerk, "PATCH", f"/numbers/{ANNAS}", json=asked)
    await door("operate", "PATCH", f"/numbers/{ANNAS}", json=asked)


@pytest.mark.parametrize("body", [b"[" * 1_900, b"[]", b"7", b'"paid_voicemail"', b"nul"])
async def test_a_body_that_is_none_is_refused_in_the_applications_words(door: Door, body: bytes) -> None:
    some = await bound(door, Scope.CREDIT, Scope.NUMBERS, amount_max=parse_euro("25"))
    headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
    for method, path in (("POST", "/accounts/anna/top-ups"), ("PATCH", f"/numbers/{ANNAS}")):
        with pytest.raises(AssertionError, match="status"):
            await door(some, method, path, 403, content=body, headers=headers)


async def test_a_website_can_set_a_forward_number_and_neither_correct_close_nor_hang_up(door: Door) -> None:
    website = await bound(door, Scope.READ, Scope.NUMBERS)
    await door(website, "PATCH", f"/numbers/{ANNAS}", json={"forward_to": "+31612345678"})
    key = {"Idempotency-Key": "k"}
    await door(website, "POST", "/accounts/anna/corrections", 403, json={"amount": "1", "reason": "r"}, headers=key)
    await door(website, "PUT", "/accounts/anna/status", 403, json={"status": "closed", "reason": "r"})
    await door(website, "DELETE", "/calls/s", 403)
    await door(website, "DELETE", f"/numbers/{ANNAS}", 403)
    await door(website, "PATCH", "/accounts/anna", 403, json={"plan": "pro"})


async def test_a_token_made_before_there_were_bounds_is_read_as_one_without(door: Door) -> None:
    await door("read", "GET", "/accounts")
    token = (await door.tokens.all())[0]
    assert (token.account, token.expires_us, token.amount_max) == ("", None, None)
    document = await door.documents.documents.get_document("api-tokens", token.id)
    assert document is not None
    old = document.body.replace(',"account":"","expires_us":null,"amount_max":null', "")
    assert old != document.body
    await door.documents.documents.delete_document(document)
    await door.documents.documents.put_document("api-tokens", token.id, old)
    assert (await door.tokens.all())[0] == token
    await door(token.name, "GET", "/health", 200 if token.name == "read" else 403)


async def test_a_number_that_becomes_anothers_while_the_body_comes_is_not_changed(door: Door, shop: Shop) -> None:
    annas = await bound(door, Scope.NUMBERS, account="anna")

    async def body() -> AsyncIterator[bytes]:
        yield b'{"forward_to": '
        await shop.service.numbers.remove(ANNAS)
        await shop.service.numbers.add("bert", ANNAS, NumberChanges(forward_to=""))
        yield b'"+31612345678"}'

    headers = {"Content-Type": "application/json"}
    await door(annas, "PATCH", f"/numbers/{ANNAS}", 403, content=body(), headers=headers)
    assert (await door("read", "GET", f"/numbers/{ANNAS}")).json()["forward_to"] == ""


async def test_what_a_bound_refuses_names_the_challenge_as_the_document_says(door: Door) -> None:
    annas = await bound(door, Scope.READ, account="anna")
    refused = await door(annas, "GET", "/accounts/bert", 403)
    assert refused.headers["www-authenticate"] == 'Bearer realm="charging", error="insufficient_scope"'


async def test_a_bound_token_is_told_of_a_tariff_that_cannot_be_read(door: Door, shop: Shop) -> None:
    annas = await bound(door, Scope.READ, account="anna")

    def broken() -> NoReturn:
        raise ConfigError([Problem("tariff.yaml", "", "nothing", "a tariff")])

    shop.service.numbers._tariff = broken
    problem = await door(annas, "GET", f"/numbers/{ANNAS}", 503)
    assert problem.json()["code"] == "bad_file"


@pytest.mark.parametrize("whose", ["bound", "operator's"])
async def test_a_withheld_number_that_the_operator_keeps_is_shown_to_no_token_of_a_customer(
    door: Door, shop: Shop, whose: str
) -> None:
    call = replace(running(), account="anna", caller=CALLER, withheld=True)
    cdr = json.dumps({"session": "over", "account": "anna", "caller": CALLER, "withheld": True})
    for change in (Opened("test", call.to_json()), Closed(cdr, 1, opens=True)):
        session = call.id if isinstance(change, Opened) else "over"
        kind = Kind.RESERVE if isinstance(change, Opened) else Kind.RELEASE
        opened = Transfer(id=session, account="anna", kind=kind, at_us=1, session=session, change=change, reason="call")
        assert (await shop.store.apply(opened)).outcome is Outcome.CREATED
    token = await bound(door, Scope.READ, account="anna") if whose == "bound" else "read"
    for path in (
        "/calls?account=anna",
        "/cdrs?account=anna",
        f"/calls/{call.id}",
        "/accounts/anna/balance",
        "/cdrs/over?account=anna",
        "/accounts/anna/events",
    ):
        answer = (await door(token, "GET", path)).text
        assert '"withheld":true' in answer.replace(" ", ""), path
        assert (CALLER in answer) == (whose == "operator's"), path
    for path in ("/accounts/anna/journal", "/decisions?account=anna"):
        assert CALLER not in (await door(token, "GET", path)).text
    stream = Stream(door, {"authorization": f"Bearer {door.secrets.get(token, token)}"})
    await eventually(lambda: len(stream.events) > 1, "the stream tells")
    await stream.leave()
    ended = stream.events[-1]
    assert ended[2]["data"]["cdr"]["withheld"] is True
    assert (ended[2]["data"]["cdr"]["caller"] == CALLER) == (whose == "operator's")


@pytest.mark.parametrize("scopes", [(Scope.READ,), (Scope.READ, Scope.AUDIT)])
@pytest.mark.parametrize("account", ["", "anna"])
async def test_who_had_something_booked_is_told_to_whom_may_audit_everyone(
    door: Door, scopes: tuple[Scope, ...], account: str
) -> None:
    await door("credit", "POST", "/accounts/anna/top-ups", 201, json={"amount": "10"}, headers={"Idempotency-Key": "k"})
    secret = await bound(door, *scopes, account=account)
    (line,) = (await door(secret, "GET", "/accounts/anna/journal")).json()["items"]
    (event,) = (await door(secret, "GET", "/accounts/anna/events")).json()["items"]
    told = {bool(line["actor"]), "actor" in event["data"]}
    assert told == {Scope.AUDIT in scopes and not account}


async def test_an_accounts_tokens_are_answered_one_at_a_time_and_hold_up_no_others(
    door: Door, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of a thousand rows takes a tenth of a second of the process that serves all customers."""
    begun, go, read = 0, asyncio.Event(), shop.service.money.journal_page

    async def slow(account: str, *place: Any) -> Any:
        nonlocal begun
        begun += 1
        if account == "anna":
            await go.wait()
        return await read(account, *place)

    monkeypatch.setattr(shop.service.money, "journal_page", slow)
    annas = [await bound(door, Scope.READ, account="anna") for _ in range(2)]
    berts = await bound(door, Scope.READ, account="bert")
    path = "/accounts/{}/journal?limit=1000"
    asked = [asyncio.create_task(door(annas[i % 2], "GET", path.format("anna"))) for i in range(ANSWERS.of_account)]
    await eventually(lambda: begun == 1, "one of hers is being made")
    refused = await door(annas[0], "GET", path.format("anna"), 503)
    assert refused.json()["code"] == "unavailable"
    assert refused.headers["retry-after"] == "1"
    await door(berts, "GET", path.format("bert"))
    await door("read", "GET", path.format("bert"))
    assert begun == 3, "the rest of hers wait, and the operator's own token does not"
    go.set()
    assert {(await one).status_code for one in asked} == {200}
    await door(annas[1], "GET", path.format("anna"))


async def test_accounts_that_wait_for_their_statements_keep_no_other_from_an_answer(
    door: Door, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only two statements are made at a time, and who waited for his had a turn of all answers meanwhile."""
    begun, go, read = list[str](), asyncio.Event(), shop.service.statements.of

    async def slow(account: str, month: str) -> Any:
        begun.append(account)
        await go.wait()
        return await read(account, month)

    monkeypatch.setattr(shop.service.statements, "of", slow)
    asked = []
    for number in range(ANSWERS.at_once + 1):
        await shop.service.accounts.add(f"a{number}", "light")
        token, path = await bound(door, Scope.READ, account=f"a{number}"), f"/accounts/a{number}/statements/2026-11"
        asked.append(asyncio.create_task(door(token, "GET", path)))
    await eventually(lambda: len(begun) == len(asked), "all wait for theirs")
    await door(await bound(door, Scope.READ, account="anna"), "GET", "/accounts/anna/balance")
    go.set()
    await asyncio.gather(*asked)


async def test_a_stream_of_an_accounts_events_keeps_none_of_its_answers_waiting(door: Door) -> None:
    annas = await bound(door, Scope.READ, account="anna")
    stream = Stream(door, {"authorization": f"Bearer {annas}"})
    await eventually(lambda: bool(stream.messages), "it has begun")
    async with asyncio.timeout(30):
        await door(annas, "GET", "/accounts/anna/balance")
    await stream.leave()
