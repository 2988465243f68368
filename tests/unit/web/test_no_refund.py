"""R21: credit is never refunded. Every operation of both interfaces is tried on an account with credit; one that is new
must be tried here, too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from charging.ledger.model import CREDIT, Balance, Kind
from charging.service.tokens import NewToken, Scope
from charging.service.webhooks import Webhooks
from charging.web.control import control_app
from tests.fakes.rig import EURO
from tests.unit.service.conftest import NUMBER, Shop
from tests.unit.web.door import Door

MINUS = {"amount": "-25"}
LETTER = {"event": "1", "account": "anna", "what": "x.y", "at_us": 1, "why": "x", "tries": 1, "next_us": None}
REPORT = {"told_us": 1, "waiting": 0, "dead": 0, "taken": 0, "failed": 0}
SEEN = {"place": "1", "off": False, "report": REPORT}
TRIED: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {
    ("POST", "/accounts/{account}/top-ups"): ("/accounts/anna/top-ups", {"json": MINUS}),
    ("POST", "/accounts/{account}/minute-grants"): (
        "/accounts/anna/minute-grants",
        {"json": {"minutes": -1, "reason": "paid out"}},
    ),
    ("POST", "/accounts/{account}/credit-grants"): (
        "/accounts/anna/credit-grants",
        {"json": {**MINUS, "last_day": "2099-01-01", "reason": "paid out"}},
    ),
    ("POST", "/accounts/{account}/pack-grants"): (
        "/accounts/anna/pack-grants",
        {"json": {"pack": "addon", "minutes": -1, "reason": "paid out"}},
    ),
    ("POST", "/accounts"): ("/accounts", {"json": {"id": "anna", "plan": "light"}}),
    ("POST", "/numbers"): ("/numbers", {"json": {"number": NUMBER, "account": "anna"}}),
    ("PATCH", "/numbers/{number}"): (f"/numbers/{NUMBER}", {"json": {"forward_to": ""}}),
    ("DELETE", "/numbers/{number}"): (f"/numbers/{NUMBER}", {}),
    ("DELETE", "/calls/{session}"): ("/calls/none", {}),
    ("POST", "/accounts/{account}/faxes"): ("/accounts/anna/faxes", {"content": b"%PDF-1.4"}),
    ("POST", "/accounts/{account}/fax-checks"): ("/accounts/anna/fax-checks", {"content": b"%PDF-1.4"}),
    ("POST", "/accounts/{account}/faxes/{session}/cancellation"): ("/accounts/anna/faxes/none/cancellation", {}),
    ("POST", "/accounts/{account}/page-tokens"): ("/accounts/anna/page-tokens", {"json": {"use": "page"}}),
    ("POST", "/accounts/{account}/payments"): (
        "/accounts/anna/payments",
        {"json": {"amount": "-25", "provider": "mollie"}},
    ),
    ("PATCH", "/payments/{payment}"): (
        f"/payments/{'0' * 32}",
        {"json": {"reference": "tr_1", "checkout": "https://provider.test"}},
    ),
    ("POST", "/payments/{payment}/delays"): (f"/payments/{'0' * 32}/delays", {}),
    ("POST", "/payments/{payment}/outcomes"): (
        f"/payments/{'0' * 32}/outcomes",
        {
            "json": {
                "reference": "tr_1",
                "paid": True,
                "over": True,
                "amount": "-25",
                "currency": "EUR",
                "taken_back": True,
            }
        },
    ),
    ("POST", "/webhooks/{webhook}/resends"): ("/webhooks/site/resends", {}),
    ("DELETE", "/webhooks/{webhook}/letters/{event}"): ("/webhooks/site/letters/1", {}),
    ("DELETE", "/webhooks/{webhook}"): ("/webhooks/former", {}),
    ("POST", "/webhooks/{webhook}/turns"): ("/webhooks/site/turns", {}),
    ("POST", "/webhooks/{webhook}/places"): (
        "/webhooks/site/places",
        {"json": SEEN},
    ),
    ("POST", "/webhooks/{webhook}/letters"): ("/webhooks/site/letters", {"json": LETTER}),
    ("PUT", "/webhooks/{webhook}/letters"): ("/webhooks/site/letters", {"json": LETTER}),
    ("POST", "/webhooks/{webhook}/deliveries"): ("/webhooks/site/deliveries", {"json": {"event": "1"}}),
    ("POST", "/page-tokens/spent"): ("/page-tokens/spent", {"json": {"token": "none"}}),
    ("POST", "/accounts/{account}/fax-address"): ("/accounts/anna/fax-address", {}),
    ("DELETE", "/accounts/{account}/fax-address"): ("/accounts/anna/fax-address", {}),
    ("POST", "/accounts/{account}/mailed-faxes"): ("/accounts/anna/mailed-faxes", {"content": b"%PDF-1.4"}),
    ("POST", "/mailed-faxes/{key}/replies"): (f"/mailed-faxes/mail-{'0' * 32}/replies?account=anna", {}),
    ("POST", "/name-server-waits"): ("/name-server-waits", {"json": {"domain": "example.nl"}}),
    ("POST", "/name-server-waits/ended"): ("/name-server-waits/ended", {"json": {"domain": "example.nl", "took_s": 9}}),
    ("POST", "/dropped-fax-mails"): ("/dropped-fax-mails", {"json": {"reason": "stranger"}}),
    ("POST", "/ledger/time-confirmations"): ("/ledger/time-confirmations", {}),
    ("POST", "/ledger/redactions"): ("/ledger/redactions", {"json": {"before": "2026-01-01"}}),
    ("POST", "/ledger/contradictions/acknowledgements"): (
        "/ledger/contradictions/acknowledgements",
        {"json": {"id": "none/record_without_booking", "reason": "give it back"}},
    ),
    ("POST", "/ledger/people/{account}/erasures"): ("/ledger/people/anna/erasures", {}),
    ("PUT", "/drain"): ("/drain", {"json": {}}),
    ("DELETE", "/drain"): ("/drain", {}),
    ("PUT", "/rehearsal"): (
        "/rehearsal",
        {"json": {"number": NUMBER, "plan": "light", "target": "+31612345678", "amount": "0.02"}},
    ),
    ("DELETE", "/rehearsal"): ("/rehearsal", {}),
    ("POST", "/imports/accounts"): ("/imports/accounts", {"content": b"account,plan\nanna,light\n"}),
    ("POST", "/tokens"): ("/tokens", {"json": {"name": "website", "scopes": ["credit"]}}),
    ("DELETE", "/tokens/{token}"): ("/tokens/0123456789ab", {}),
    ("POST", "/accounts/{account}/subscription-payments"): (
        "/accounts/anna/subscription-payments",
        {"json": {"until": "2020-01-01"}},
    ),
    ("POST", "/tokens/uses"): ("/tokens/uses", {"json": {"uses": {}}}),
    ("POST", "/accounts/{account}/subscription-corrections"): (
        "/accounts/anna/subscription-corrections",
        {"json": {"until": "2020-01-01"}},
    ),
    ("PATCH", "/accounts/{account}"): ("/accounts/anna", {"json": {"plan": "free"}}),
    ("PUT", "/accounts/{account}/status"): (
        "/accounts/anna/status",
        {"json": {"status": "closed", "reason": "cancelled by the customer"}},
    ),
}
"""The request of each operation that comes nearest to getting money back; cancelling comes last."""
CORRECTIONS = ("POST", "/accounts/{account}/corrections")


@dataclass
class Front:
    """One of the interfaces, and a token that may do everything there."""

    app: FastAPI
    secret: str

    async def __call__(self, method: str, path: str, **request: Any) -> httpx.Response:
        headers = {"Idempotency-Key": f"{method}{path}", "Authorization": f"Bearer {self.secret}"}
        transport = httpx.ASGITransport(self.app, client=("192.0.2.1", 1), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            return await http.request(method, path, headers=headers, **request)

    @property
    def changes(self) -> set[tuple[str, str]]:
        """Every operation that is not a question."""
        paths = self.app.openapi()["paths"]
        return {(method.upper(), path) for path, methods in paths.items() for method in methods if method != "get"}


@pytest.fixture(params=["public", "control"])
async def front(shop: Shop, request: pytest.FixtureRequest) -> Front:
    await shop.anna("pro")
    await shop.service.money.top_up("anna", 25 * EURO, "order-1")
    door = Door(shop.service)
    token = await door.tokens.add("all", list(Scope))
    assert isinstance(token, NewToken)
    hooks = Webhooks(shop.store, shop.clock, ["site"])
    control = control_app(shop.service, tokens=door.tokens, hooks=hooks)
    return Front(door.app if request.param == "public" else control, token.secret)


async def test_r21_no_operation_of_the_web_gives_money_back(front: Front, shop: Shop) -> None:
    offered = front.changes
    assert offered - TRIED.keys() == {CORRECTIONS}, "a new operation has to be tried here"
    before = [line async for line in shop.store.journal("anna")]
    for operation, (path, request) in TRIED.items():
        if operation in offered:
            response = await front(operation[0], path, **request)
            assert response.status_code not in (401, 403, 405, 429), (operation, response.text)
    stored = await shop.store.directory.account("anna")
    assert stored is not None
    assert stored.status == "closed", "the account was cancelled"
    after = [line async for line in shop.store.journal("anna")]
    of_money = [line for line in after if any(leg.balance == CREDIT for leg in line.legs)]
    assert of_money == before, "what else there is are free minutes (R11)"
    assert (await shop.store.balances("anna"))[CREDIT] == Balance(25 * EURO)


async def test_r21_a_closed_account_takes_no_money_and_gives_none(front: Front, shop: Shop) -> None:
    await shop.service.accounts.close("anna", "cancelled by the customer")
    for body in ({"amount": "25"}, MINUS):
        assert (await front("POST", "/accounts/anna/top-ups", json=body)).status_code in (409, 422)
    assert (await shop.store.balances("anna"))[CREDIT] == Balance(25 * EURO)


async def test_r21_what_a_correction_takes_has_its_reason_in_the_journal(front: Front, shop: Shop) -> None:
    """For a payment that was charged back: the one way down that is not use or expiry, and no word of paying out."""
    assert (await front("POST", "/accounts/anna/corrections", json=MINUS)).status_code == 422
    body = {**MINUS, "reason": "order-1 was charged back"}
    assert (await front("POST", "/accounts/anna/corrections", json=body)).status_code == 201
    last = [line async for line in shop.store.journal("anna")][-1]
    assert (last.kind, last.reason) == (Kind.CORRECT, "order-1 was charged back")
    assert (await front("POST", "/accounts/anna/corrections", json=body)).status_code == 200, "once"
