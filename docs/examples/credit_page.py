"""A whole site in one file, written from docs/integrate.md: its customer logs in, sees his balance fall during a call,
buys credit, sends a fax and sees its price before, and what has happened, from signed webhooks.

    python credit_page.py charging-sandbox      # the folder of `charging run --sandbox`; then http://127.0.0.1:8080

It keeps everything in memory, and its payment provider is a double. What it asks of the engine is as it would be.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import sys
import time
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

CUSTOMERS = {"alice": ("secret", "demo")}
"""The site's own: name, password, and the account at the engine."""
COOKIE = "session"
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>My credit</title><main><h1>My credit</h1>%s</main>"""
LOGIN = """<form method="post" action="/login"><label>Name <input name="name" autocomplete="username"></label>
<label>Password <input name="password" type="password" autocomplete="current-password"></label>
<button>Log in</button></form>"""
CREDIT = """<p role="status">%s</p>
<p>You have <b id="now">…</b> euro<span id="running"></span>.</p>
<form method="post" action="/orders"><button name="amount" value="10.00">Buy 10 euro</button></form>
<form method="post" action="/faxes" enctype="multipart/form-data">
<label>Fax to <input name="target" value="+31201112222"></label>
<label>Document <input type="file" name="document" accept="application/pdf" required></label>
<button>What does it cost?</button></form>
<h2>What has happened</h2><ul id="events"></ul>
<script>
const asked = async path => (await fetch(path)).json();
const show = async () => {
  const told = await asked("/balance");
  if (told.credit) {
    now.textContent = told.credit.now.match(/^-?[0-9]+[.][0-9]{2}/)[0];  // it has up to six decimals: no floats
    running.textContent = told.calls.length ? ", and a call runs" : "";
  }
  events.replaceChildren(...(await asked("/happened")).map(one => {
    const item = document.createElement("li");
    item.textContent = one.type;
    return item;
  }));
};
show(); setInterval(show, 1000);
</script>"""


def verified(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Whether a request is the engine's, and new (the sample of docs/integrate.md)."""
    id, sent = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not sent.isdecimal() or abs(time.time() - int(sent)) > 300:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    ours = base64.b64encode(hmac.digest(key, f"{id}.{sent}.".encode() + body, hashlib.sha256)).decode()
    signatures = headers.get("webhook-signature", "").split()
    return any(hmac.compare_digest(f"v1,{ours}", one) for one in signatures if one.isascii())


class Site:
    """The site, and what it remembers."""

    def __init__(self, engine: httpx.AsyncClient, secret: str) -> None:
        """``engine`` has the interface's address and a token; ``secret`` is the webhook's."""
        self._engine, self._secret = engine, secret
        self._sessions: dict[str, str] = {}
        self._orders: dict[str, tuple[str, str]] = {}
        """At the payment provider: account and amount."""
        self._faxes: dict[str, tuple[str, str, str, str, bytes]] = {}
        """That wait for the customer's word: account, number, name and document."""
        self._happened: dict[str, dict[str, Any]] = {}
        """By id, so that what is told again is shown once."""

    @property
    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/", self.home),
                Route("/login", self.login, methods=["POST"]),
                Route("/balance", self.balance),
                Route("/happened", self.happened),
                Route("/orders", self.order, methods=["POST"]),
                Route("/orders/{order}/paid", self.paid, methods=["POST"]),
                Route("/faxes", self.ask_price, methods=["POST"]),
                Route("/faxes/{fax}", self.send_fax, methods=["POST"]),
                Route("/hooks/charging", self.hook, methods=["POST"]),
            ]
        )

    async def home(self, request: Request) -> Response:
        told = escape(request.query_params.get("told", ""))
        return HTMLResponse(PAGE % (CREDIT % told if self._account(request) else LOGIN))

    async def login(self, request: Request) -> Response:
        form = await request.form()
        password, account = CUSTOMERS.get(str(form.get("name")), ("", ""))
        answer = RedirectResponse("/", 303)
        if account and hmac.compare_digest(password.encode(), str(form.get("password")).encode()):
            key = secrets.token_urlsafe()
            self._sessions[key] = account
            answer.set_cookie(COOKIE, key, httponly=True, samesite="lax")
        return answer

    async def balance(self, request: Request) -> Response:
        """The account is the one that the session says, never one from the request."""
        answer = await self._engine.get(f"/accounts/{self._account(request)}/balance")
        return Response(answer.content, answer.status_code, media_type=answer.headers["content-type"])

    async def happened(self, request: Request) -> Response:
        account = self._account(request)
        return JSONResponse([one for one in self._happened.values() if account and one["data"]["account"] == account])

    async def order(self, request: Request) -> Response:
        """Begin a payment: the double shows a page with one button."""
        form, order = await request.form(), secrets.token_hex(8)
        self._orders[order] = self._account(request), str(form["amount"])
        return HTMLResponse(PAGE % f'<form method="post" action="/orders/{order}/paid"><button>Pay</button></form>')

    async def paid(self, request: Request) -> Response:
        """The provider says that an order is paid, and as they do, more than once: the key makes it one top-up."""
        order = request.path_params["order"]
        account, amount = self._orders[order]
        for _ in range(2):
            answer = await self._engine.post(
                f"/accounts/{account}/top-ups", json={"amount": amount}, headers={"Idempotency-Key": f"order-{order}"}
            )
        return _told("Thank you" if answer.is_success else answer.json()["detail"])

    async def ask_price(self, request: Request) -> Response:
        form, account = await request.form(), self._account(request)
        target, document = str(form["target"]), form["document"]
        assert isinstance(document, UploadFile)
        name, content = document.filename or "document", await document.read()
        files = {"document": (name, content)}
        answer = await self._engine.post(f"/accounts/{account}/fax-checks", data={"target": target}, files=files)
        told = answer.json()
        if answer.is_error:
            return _told(told["detail"])
        price = f"{told['pages']} pages cost {told['cost']} euro."
        if not told["suffices"]:
            return _told(f"{price} You need {told['missing']} euro more.")
        fax = secrets.token_hex(8)
        self._faxes[fax] = account, target, told["cost"], name, content
        return HTMLResponse(
            PAGE % f'<p>{price}</p><form method="post" action="/faxes/{fax}"><button>Send</button></form>'
        )

    async def send_fax(self, request: Request) -> Response:
        """The same key however often he presses: it is sent once."""
        fax = request.path_params["fax"]
        account, target, cost, name, content = self._faxes[fax]
        answer = await self._engine.post(
            f"/accounts/{account}/faxes",
            data={"target": target, "cost_max": cost},
            files={"document": (name, content)},
            headers={"Idempotency-Key": f"fax-{fax}"},
        )
        return _told("It is being sent" if answer.is_success else answer.json()["detail"])

    async def hook(self, request: Request) -> Response:
        body = await request.body()
        if not verified(self._secret, request.headers, body):
            return Response(status_code=401)
        told = json.loads(body)
        if "account" in told["data"]:  # `webhook.test` has none
            self._happened[request.headers["webhook-id"]] = told
        return Response(status_code=204)

    def _account(self, request: Request) -> str:
        """Of whoever is logged in; else empty."""
        return self._sessions.get(request.cookies.get(COOKIE, ""), "")


def _told(text: str) -> Response:
    return RedirectResponse(f"/?{httpx.QueryParams(told=text)}", 303)


if __name__ == "__main__":
    folder, port, url = Path(sys.argv[1]), 8080, "http://127.0.0.1:9479/v1"
    if len(sys.argv) > 2:
        port, url = int(sys.argv[2]), sys.argv[3]
    token, secret = ((folder / name).read_text().strip() for name in ("token", "webhook-secret"))
    signed = {"Authorization": f"Bearer {token}"}
    engine = httpx.AsyncClient(base_url=url, headers=signed, timeout=60)  # a long document takes a while
    uvicorn.run(Site(engine, secret).app, port=port, log_level="warning")
