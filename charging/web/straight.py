"""The balance, past the framework: what a website asks on every page costs more there than to answer.

Between the gate and the application. What is answered is what the route `show_balance` would answer, to the byte; that
one is in the interface's document, and answers whoever is not let through here.
"""

from __future__ import annotations

import re

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from charging.service.refusal import Refused
from charging.service.service import Service
from charging.web.models import BalanceOut
from charging.web.problem import refusal_response

_BALANCE = re.compile(r"/accounts/([^/]+)/balance")


class Straight:
    """The middleware."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = scope["type"] == "http" and scope["method"] == "GET" and not scope["query_string"]
        found = _BALANCE.fullmatch(scope["path"]) if asked else None
        if found is None:
            await self._app(scope, receive, send)
            return
        view = await self._service.balances.view(found[1])
        if isinstance(view, Refused):
            answer: Response = refusal_response(view)
        else:
            answer = Response(BalanceOut.of(view).model_dump_json(), media_type="application/json")
        await answer(scope, receive, send)
