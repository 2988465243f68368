"""Mollie and Stripe, played: what their documentation says of a payment, and no more.

They keep payments in memory. Whoever looks at a checkout pays there, or does not, and it is told to the hook: by Mollie
as an id (docs.mollie.com/reference/webhooks), by Stripe as a signed event (docs.stripe.com/webhooks). A sandbox serves
them on the customers' page's own address, so that a top-up goes its whole way and no money moves.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlencode

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

PLAYED_MAX = 1_000
"""Payments that are kept; the oldest goes first."""
STRIPE_SESSIONS = {
    "paid": "complete",
    "processing": "complete",
    "failed": "complete",
    "canceled": "complete",
    "expired": "expired",
}
"""What has become of a session whose payment has become that; one that was tried in vain may be tried again."""
CHECKOUT = """\
<!doctype html><html lang="en"><head><title>Pay {amount} euro: nothing is paid</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/look/console.css"><link rel="stylesheet" href="/static/page.css"></head>
<body><main><h1>{name}, played</h1><p>{amount} euro. This is a sandbox: no money moves.</p>
<form method="post"><p><button name="as" value="paid">Pay</button>
<button name="as" value="paid-untold">Pay, and tell the hook nothing</button>
<button name="as" value="canceled">Cancel</button>
<button name="as" value="expired">Let it expire</button></p></form></main></body></html>
"""


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
    left: str = ""
    """Where who cancels is led, and may still pay; empty: he cannot any more, and is led back."""
    taken_back: bool = False


class Way(Protocol):
    """How one of the providers speaks."""

    name: str
    place: str
    """The path of its payments."""
    prefix: str
    """Of their references."""
    made: int
    """The status of the answer as one is made."""
    stranger: Mapping[str, Any]
    """What it says to a key that it does not know."""

    async def wanted(self, request: Request, stripe_hook: str) -> Kept:
        """What is asked for, without a reference yet."""

    def shown(self, one: Kept, checkout: str) -> dict[str, Any]:
        """A payment as it is answered."""

    def told(self, one: Kept, checkout: str, hook_secret: str, now_s: int) -> httpx.Request:
        """What is posted to the hook as something happens."""


@dataclass
class Double:
    """A provider that is played."""

    way: Way
    key: str
    """Of the operator: it takes no other."""
    hook_secret: str = ""
    """With which Stripe signs."""
    url: str = "https://provider.test"
    """Where browsers reach its checkout."""
    hook_url: str = "https://my.voice.example/hooks/stripe"
    """Where Stripe tells; Mollie is told with each payment."""
    http: httpx.AsyncClient | None = None
    """By which hooks are told; ``None``: they are not."""
    now_s: Callable[[], int] = lambda: 0
    """The wall clock, by which it signs."""
    payments: dict[str, Kept] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    down: bool = False
    made: int = 0

    @property
    def name(self) -> str:
        return self.way.name

    def only(self) -> Kept:
        (one,) = self.payments.values()
        return one

    def shown(self, one: Kept) -> dict[str, Any]:
        return self.way.shown(one, self._checkout_of(one))

    def told(self, one: Kept, now_s: int) -> httpx.Request:
        """What is posted to the hook as something happens."""
        return self.way.told(one, self._checkout_of(one), self.hook_secret, now_s)

    def _checkout_of(self, one: Kept) -> str:
        return f"{self.url}/checkout/{one.reference}"

    def app(self) -> Starlette:
        return Starlette(routes=self.routes())

    def routes(self) -> Sequence[Route]:
        """Its interface and its checkout."""
        return (
            Route(self.way.place, self.make, methods=["POST"]),
            Route(f"{self.way.place}/{{reference}}", self.look),
            Route("/v1/payment_intents/{intent}", self.look_at_intent),
            Route("/checkout/{reference}", self.checkout, methods=["GET", "POST"]),
        )

    async def make(self, request: Request) -> Response:
        """Make a payment; the same again for the same idempotency key."""
        if (refused := self._entered(request)) is not None:
            return refused
        wanted = await self.way.wanted(request, self.hook_url)
        ours = request.headers["idempotency-key"]
        kept = next((one for one in self.payments.values() if one.ours == ours), None)
        if kept is None:
            self.made += 1
            kept = replace(wanted, reference=f"{self.way.prefix}_{self.made:06d}")
            self.payments[kept.reference] = kept
            if len(self.payments) > PLAYED_MAX:
                del self.payments[next(iter(self.payments))]
        return JSONResponse(self.shown(kept), self.way.made)

    async def look(self, request: Request) -> Response:
        """How a payment stands."""
        if (refused := self._entered(request)) is not None:
            return refused
        one = self.payments.get(request.path_params["reference"])
        return JSONResponse({"status": 404, "error": {}}, 404) if one is None else JSONResponse(self.shown(one))

    async def look_at_intent(self, request: Request) -> Response:
        """Of Stripe alone: what of a payment is its own, and not its checkout's."""
        if (refused := self._entered(request)) is not None:
            return refused
        one = self.payments.get(request.path_params["intent"].removeprefix("pi_"))
        return JSONResponse({"error": {}}, 404) if one is None else JSONResponse(_intent(one))

    async def checkout(self, request: Request) -> Response:
        """Where a customer pays: by a button, which leads back."""
        one = self.payments.get(request.path_params["reference"])
        if one is None:
            return Response("there is no such payment (any more): a sandbox forgets them when it ends", 404)
        if request.method == "GET":
            return HTMLResponse(CHECKOUT.format(name=self.name.title(), amount=one.amount))
        chosen = dict(parse_qsl((await request.body()).decode("latin-1"))).get("as", "paid")
        status, _, untold = chosen.partition("-")
        if status == "canceled" and one.left:  # docs.stripe.com/payments/checkout/custom-success-page: it stays open
            return Response(status_code=303, headers={"Location": one.left})
        if one.status == "open" and status in ("paid", "canceled", "expired"):
            one.status = status
            if not untold and self.http is not None:
                with suppress(httpx.HTTPError):  # the customer's coming back makes the engine look, and so does time
                    await self.http.send(self.told(one, self.now_s()))
        return Response(status_code=303, headers={"Location": one.back})

    def _entered(self, request: Request) -> Response | None:
        self.asked.append(f"{request.method} {request.url.path}")
        del self.asked[:-PLAYED_MAX]
        if self.down:
            return JSONResponse({"error": "down"}, 503)
        if request.headers.get("authorization") != f"Bearer {self.key}":
            return JSONResponse(dict(self.way.stranger), 401)
        return None


class Mollie:
    """Its Payments API, v2."""

    name = "mollie"
    place = "/v2/payments"
    prefix = "tr"
    made = 201
    stranger: Mapping[str, Any] = {"status": 401, "detail": "failed to authenticate"}

    async def wanted(self, request: Request, stripe_hook: str) -> Kept:
        body = await request.json()
        whole, _, part = body["amount"]["value"].partition(".")
        assert whole.isdigit()
        assert len(part) == 2, "Mollie takes exactly two decimals"
        assert body["description"]
        ours, amount = body["metadata"]["payment"], body["amount"]
        return Kept("", ours, amount["value"], amount["currency"], body["redirectUrl"], body["webhookUrl"])

    def shown(self, one: Kept, checkout: str) -> dict[str, Any]:
        amount = {"value": one.amount, "currency": one.currency}
        return {
            "resource": "payment",
            "id": one.reference,
            "mode": "test",
            "status": one.status,
            "amount": amount,
            "metadata": {"payment": one.ours},
            "_links": {"checkout": {"href": checkout, "type": "text/html"}},
            **({"amountChargedBack": amount} if one.taken_back else {}),
        }

    def told(self, one: Kept, checkout: str, hook_secret: str, now_s: int) -> httpx.Request:
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return httpx.Request("POST", one.hook, content=urlencode({"id": one.reference}), headers=kind)


class Stripe:
    """Its Checkout Sessions."""

    name = "stripe"
    place = "/v1/checkout/sessions"
    prefix = "cs_test"
    made = 200
    stranger: Mapping[str, Any] = {"error": {"message": "Invalid API Key provided: sk_test_****"}}

    async def wanted(self, request: Request, stripe_hook: str) -> Kept:
        assert request.headers["stripe-version"] >= "2025-03-31", "else amounts may be in the customer's currency"
        form = dict(parse_qsl((await request.body()).decode()))
        assert form["adaptive_pricing[enabled]"] == "false"
        assert form["mode"] == "payment"
        cents = int(form["line_items[0][price_data][unit_amount]"]) * int(form["line_items[0][quantity]"])
        currency = form["line_items[0][price_data][currency]"].upper()
        amount = f"{cents // 100}.{cents % 100:02d}"
        back, left = form["success_url"], form["cancel_url"]
        return Kept("", form["metadata[payment]"], amount, currency, back, stripe_hook, left=left)

    def shown(self, one: Kept, checkout: str) -> dict[str, Any]:
        euro, cents = one.amount.split(".")
        return {
            "id": one.reference,
            "object": "checkout.session",
            "status": STRIPE_SESSIONS.get(one.status, "open"),
            "payment_status": "paid" if one.status == "paid" else "unpaid",
            "amount_total": int(euro) * 100 + int(cents),
            "currency": one.currency.lower(),
            "metadata": {"payment": one.ours},
            "url": checkout,
            "payment_intent": _intent(one),
        }

    def told(self, one: Kept, checkout: str, hook_secret: str, now_s: int) -> httpx.Request:
        kind, about = "checkout.session.completed", self.shown(one, checkout)
        if one.taken_back:  # docs.stripe.com/api/disputes/object
            disputed = {"id": "du_1", "object": "dispute", "charge": "ch_1", "payment_intent": f"pi_{one.reference}"}
            kind, about = "charge.dispute.created", {**disputed, "metadata": {}}
        event = {"id": "evt_1", "object": "event", "type": kind, "data": {"object": about}}
        body = json.dumps(event).encode()
        return httpx.Request("POST", one.hook, content=body, headers=signed(body, now_s, hook_secret))


def _intent(one: Kept) -> dict[str, Any] | None:
    own = {"id": f"pi_{one.reference}", "object": "payment_intent", "metadata": {"payment": one.ours}}
    match one.status:
        case "paid":
            charge = {"amount_refunded": 0, "disputed": one.taken_back}
            return {**own, "status": "succeeded", "latest_charge": charge}
        case "failed" | "tried":
            return {**own, "status": "requires_payment_method", "latest_charge": None}
        case "canceled" | "processing":
            return {**own, "status": one.status, "latest_charge": None}
    return None


def signed(body: bytes, now_s: int, secret: str) -> Mapping[str, str]:
    """Stripe's header for a body."""
    signature = hmac.new(secret.encode(), f"{now_s}.".encode() + body, "sha256").hexdigest()
    return {"Stripe-Signature": f"t={now_s},v1={'0' * 64},v1={signature},v0=old"}
