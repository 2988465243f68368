"""Mollie and Stripe as test doubles: what their documentation says of a payment, and no more.

They keep payments, are paid by order of a test, and tell it to the hook: Mollie by an id
(docs.mollie.com/reference/webhooks), Stripe by a signed event (docs.stripe.com/webhooks).
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

KEY = "test_key_of_the_operator"
HOOK_SECRET = "whsec_of_the_operator"
STRIPE_SESSIONS = {
    "paid": "complete",
    "processing": "complete",
    "failed": "complete",
    "canceled": "complete",
    "expired": "expired",
}
"""What has become of a session whose payment has become that; one that was tried in vain may be tried again."""


@dataclass
class Kept:
    """A payment at the provider."""

    reference: str
    ours: str
    amount: str
    currency: str
    back: str
    hook: str
    status: str = "open"
    taken_back: bool = False


@dataclass
class Double:
    """What both have."""

    name = ""
    url: str = "https://provider.test"
    """Where browsers reach its checkout."""
    payments: dict[str, Kept] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    down: bool = False
    stranger: ClassVar[dict[str, Any]] = {"error": {"message": "Invalid API Key provided: sk_test_****"}}
    """What it says to a key that it does not know."""

    def only(self) -> Kept:
        (one,) = self.payments.values()
        return one

    def app(self) -> Starlette:
        raise NotImplementedError

    def told(self, one: Kept, now_s: int) -> httpx.Request:
        """What is posted to the hook as something happens."""
        raise NotImplementedError

    def _entered(self, request: Request) -> Response | None:
        self.asked.append(f"{request.method} {request.url.path}")
        if self.down:
            return JSONResponse({"error": "down"}, 503)
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return JSONResponse(self.stranger, 401)
        return None

    def _keep(self, prefix: str, ours: str, **facts: Any) -> Kept:
        """The same for the same idempotency key."""
        known = [one for one in self.payments.values() if one.ours == ours]
        kept = known[0] if known else Kept(f"{prefix}_{len(self.payments) + 1:06d}", ours, **facts)
        self.payments[kept.reference] = kept
        return kept

    async def checkout(self, request: Request) -> Response:
        """Where a customer pays: by a button, which pays and leads back."""
        one = self.payments[request.path_params["reference"]]
        if request.method == "POST":
            one.status = "paid"
            return Response(status_code=303, headers={"Location": one.back})
        return HTMLResponse('<!doctype html><title>Pay</title><form method="post"><button>Pay now</button></form>')

    def _routes(self) -> list[Route]:
        return [Route("/checkout/{reference}", self.checkout, methods=["GET", "POST"])]


class Mollie(Double):
    name = "mollie"
    stranger: ClassVar[dict[str, Any]] = {"status": 401, "detail": "failed to authenticate"}

    def app(self) -> Starlette:
        async def make(request: Request) -> Response:
            if (refused := self._entered(request)) is not None:
                return refused
            body = await request.json()
            whole, _, part = body["amount"]["value"].partition(".")
            assert whole.isdigit()
            assert len(part) == 2, "Mollie takes exactly two decimals"
            assert body["description"]
            kept = self._keep(
                "tr",
                request.headers["idempotency-key"],
                amount=body["amount"]["value"],
                currency=body["amount"]["currency"],
                back=body["redirectUrl"],
                hook=body["webhookUrl"],
            )
            kept.ours = body["metadata"]["payment"]
            return JSONResponse(self.shown(kept), 201)

        async def look(request: Request) -> Response:
            if (refused := self._entered(request)) is not None:
                return refused
            one = self.payments.get(request.path_params["reference"])
            return JSONResponse({"status": 404}, 404) if one is None else JSONResponse(self.shown(one))

        routes = [Route("/v2/payments", make, methods=["POST"]), Route("/v2/payments/{reference}", look)]
        return Starlette(routes=[*routes, *self._routes()])

    def shown(self, one: Kept) -> dict[str, Any]:
        amount = {"value": one.amount, "currency": one.currency}
        return {
            "resource": "payment",
            "id": one.reference,
            "mode": "test",
            "status": one.status,
            "amount": amount,
            "metadata": {"payment": one.ours},
            "_links": {"checkout": {"href": f"{self.url}/checkout/{one.reference}", "type": "text/html"}},
            **({"amountChargedBack": amount} if one.taken_back else {}),
        }

    def told(self, one: Kept, now_s: int) -> httpx.Request:
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return httpx.Request("POST", one.hook, content=urlencode({"id": one.reference}), headers=kind)


class Stripe(Double):
    name = "stripe"

    def app(self) -> Starlette:
        async def make(request: Request) -> Response:
            if (refused := self._entered(request)) is not None:
                return refused
            assert request.headers["stripe-version"] >= "2025-03-31", "else amounts may be in the customer's currency"
            form = dict(parse_qsl((await request.body()).decode()))
            assert form["adaptive_pricing[enabled]"] == "false"
            assert form["mode"] == "payment"
            cents = int(form["line_items[0][price_data][unit_amount]"]) * int(form["line_items[0][quantity]"])
            kept = self._keep(
                "cs_test",
                request.headers["idempotency-key"],
                amount=f"{cents // 100}.{cents % 100:02d}",
                currency=form["line_items[0][price_data][currency]"].upper(),
                back=form["success_url"],
                hook="https://my.voice.example/hooks/stripe",
            )
            kept.ours = form["metadata[payment]"]
            return JSONResponse(self.shown(kept))

        async def look(request: Request) -> Response:
            if (refused := self._entered(request)) is not None:
                return refused
            one = self.payments.get(request.path_params["reference"])
            return JSONResponse({"error": {}}, 404) if one is None else JSONResponse(self.shown(one))

        path = "/v1/checkout/sessions"
        routes = [Route(path, make, methods=["POST"]), Route(f"{path}/{{reference}}", look)]
        return Starlette(routes=[*routes, *self._routes()])

    def shown(self, one: Kept) -> dict[str, Any]:
        euro, cents = one.amount.split(".")
        paid = one.status == "paid"
        return {
            "id": one.reference,
            "object": "checkout.session",
            "status": STRIPE_SESSIONS.get(one.status, "open"),
            "payment_status": "paid" if paid else "unpaid",
            "amount_total": int(euro) * 100 + int(cents),
            "currency": one.currency.lower(),
            "metadata": {"payment": one.ours},
            "url": f"{self.url}/checkout/{one.reference}",
            "payment_intent": self._intent(one),
        }

    @staticmethod
    def _intent(one: Kept) -> dict[str, Any] | None:
        match one.status:
            case "paid":
                return {"status": "succeeded", "latest_charge": {"amount_refunded": 0, "disputed": one.taken_back}}
            case "failed" | "tried":
                return {"status": "requires_payment_method", "latest_charge": None}
            case "canceled" | "processing":
                return {"status": one.status, "latest_charge": None}
        return None

    def event(self, one: Kept) -> bytes:
        kind = "checkout.session.completed"
        event = {"id": "evt_1", "object": "event", "type": kind, "data": {"object": self.shown(one)}}
        return json.dumps(event).encode()

    def told(self, one: Kept, now_s: int) -> httpx.Request:
        body = self.event(one)
        return httpx.Request("POST", one.hook, content=body, headers=signed(body, now_s))


def signed(body: bytes, now_s: int, secret: str = HOOK_SECRET) -> Mapping[str, str]:
    """Stripe's header for a body."""
    signature = hmac.new(secret.encode(), f"{now_s}.".encode() + body, "sha256").hexdigest()
    return {"Stripe-Signature": f"t={now_s},v1={'0' * 64},v1={signature},v0=old"}
