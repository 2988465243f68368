"""The balance widget: one script in the operator's own pages, which shows a customer what he has left (R5).

The script sends a token that is bound to one account and valid for minutes. There are no cookies: a site without that
token cannot ask in the customer's name. The answer is the balance, and nothing else. Browsers pass the answer only to
the sites that the settings list (CORS).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from charging.errors import LedgerError
from charging.limits import Limits
from charging.pricing.money import format_euro, parse_euro
from charging.service.page_tokens import Use
from charging.web.asks import AskFailed, Asks, Document
from charging.web.customers.own import Own, Watch
from charging.web.customers.shown import STATIC, cut_to_cents
from charging.web.guesses import Guesses

ASKED_PER_MINUTE = 60
"""By one account: the widget asks every CALLING_S during a call, so three of its pages may be open then."""
STRANGERS_PER_MINUTE = 60
"""From one address, with what is no token (any more)."""
CALLING_S, STILL_S = 3, 15
"""When the widget asks again."""


def widget_routes(asks: Asks, watch: Watch, origins: Sequence[str]) -> list[Route]:
    """Its script, and what that asks."""
    clock = asks.service.clock
    asked, strange = Limits(ASKED_PER_MINUTE), Guesses(clock, STRANGERS_PER_MINUTE)

    async def script(_request: Request) -> Response:
        headers = {"Cross-Origin-Resource-Policy": "cross-origin", "Cache-Control": "public, max-age=300"}
        return FileResponse(STATIC / "widget.js", media_type="text/javascript", headers=headers)

    async def balance(request: Request) -> Response:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        find = partial(asks.service.page_tokens.account_of, token.strip() if scheme == "Bearer" else "", Use.WIDGET)
        try:
            account, wait_s = await strange.looked(
                request.client.host if request.client is not None else "unknown", find
            )
            if account is None:
                return _refused(429 if wait_s else 401, wait_s)
            if wait_s := asked.take(account, clock.now().mono_us):
                return _refused(429, wait_s)
            return JSONResponse(_shown(await Own(asks, watch, account).balance()))
        except (LedgerError, AskFailed):
            return _refused(503, STILL_S)

    cors = Middleware(
        CORSMiddleware, allow_origins=list(origins), allow_methods=["GET"], allow_headers=["Authorization"], max_age=600
    )
    return [
        Route("/widget.js", script),
        Route("/widget/balance", balance, methods=["GET", "OPTIONS"], middleware=[cors]),
    ]


def _shown(balance: Document) -> Document:
    """All that he has: what was bought and what was given, the month's minutes and those of packs."""
    calls = len(balance["calls"])
    credit = sum(parse_euro(one["now"]) for one in (balance["credit"], *balance["promotional"]))
    free_s = sum(one["now"] for one in (balance["free_seconds"], *balance["packs"]))
    return {
        "credit": cut_to_cents(format_euro(credit)),
        "free_minutes": free_s // 60,
        "calls": calls,
        "again_s": CALLING_S if calls else STILL_S,
    }


def _refused(status: int, wait_s: int = 0) -> Response:
    headers = {"Retry-After": str(wait_s)} if wait_s else {}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="charging"'
    return JSONResponse({"again_s": wait_s or None}, status, headers=headers)
