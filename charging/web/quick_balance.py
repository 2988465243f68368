"""The balance, past the framework: what a website asks on every page costs more there than to answer.

Between the gate and the application. What is answered is what the route `show_balance` would answer, to the byte; that
one is in the interface's document, and answers whoever is not let through here.

The ledger is asked each time. The answer is written again only if it would be another one.
"""

from __future__ import annotations

import re

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from charging.service.balance import Stored
from charging.service.refusal import Refused
from charging.service.service import Service
from charging.web.models import BalanceOut
from charging.web.problem import refusal_response

_BALANCE = re.compile(r"/accounts/([^/]+)/balance")
REMEMBERED = 1_000
"""Accounts whose answer is remembered, of up to a kilobyte each."""


class QuickBalance:
    """The middleware."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service
        self._written: dict[str, tuple[object, bytes]] = {}
        """By account, each answer with what it follows from; the one written longest ago comes first."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = scope["type"] == "http" and scope["method"] == "GET" and not scope["query_string"]
        found = _BALANCE.fullmatch(scope["path"]) if asked else None
        if found is None:
            await self._app(scope, receive, send)
            return
        stored = await self._service.balances.stored(found[1])
        if isinstance(stored, Refused):
            answer: Response = refusal_response(stored)
        else:
            answer = Response(self._answer(stored), media_type="application/json")
        await answer(scope, receive, send)

    def _answer(self, stored: Stored) -> bytes:
        account = stored.account.id
        follows_from = self._service.balances.follows_from(stored)
        if follows_from is None:
            return self._write(stored)
        known = self._written.get(account)
        if known is not None and known[0] == follows_from:
            return known[1]
        written = self._write(stored)
        self._written.pop(account, None)
        self._written[account] = follows_from, written
        if len(self._written) > REMEMBERED:
            del self._written[next(iter(self._written))]
        return written

    def _write(self, stored: Stored) -> bytes:
        return BalanceOut.of(self._service.balances.view_of(stored)).model_dump_json().encode()
