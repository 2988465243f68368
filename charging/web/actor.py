"""Says who makes a request that one process sends to another: a header on the control socket, for its owner alone."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from charging.service.actor import acting

HEADER = "x-charging-actor"
CUSTOMER = "x-charging-customer"
"""There: the account of the customer who asks."""


class Acting:
    """The control interface's middleware: what a request does is done by whom it names."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        who = headers.get(HEADER.encode(), b"").decode("latin-1")
        with acting(who, customer=headers.get(CUSTOMER.encode(), b"").decode("latin-1")):
            await self._app(scope, receive, send)
