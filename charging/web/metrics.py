"""The little application for machines that watch: ``/metrics`` for Prometheus, ``/health`` for supervisors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

Ailing = Callable[[], Mapping[str, str]]
"""What is wrong now, by part (``{"ami": "wrong secret"}``); empty: all is well."""

HEALTH = "/health"
"""Answered at once, on a connection that ends with it: the door bounds how many come (`charging.web.listen.Front`)."""
PAUSE_S = 0.05
"""Before each other request. An answer takes milliseconds of the process that decides calls, and no token is asked
for."""


def metrics_app(
    render: Callable[[], bytes], content_type: str, ailing: Ailing = dict, *, sandbox: bool = False
) -> FastAPI:
    """``render`` gives the text of ``/metrics`` (`charging.metrics.Metrics.render`). A ``sandbox`` says so."""
    app = FastAPI(title="charging metrics", docs_url=None, redoc_url=None, openapi_url=None)

    async def metrics() -> Response:
        return Response(render(), media_type=content_type)

    async def health() -> JSONResponse:
        parts = dict(ailing())
        told = {"status": "ailing" if parts else "ok", "ailing": parts, "sandbox": sandbox}
        return JSONResponse(told, 503 if parts else 200, {"connection": "close"})

    app.get("/metrics")(metrics)
    app.get(HEALTH)(health)
    app.add_middleware(InTurn)
    return app


class InTurn:
    """Requests but GET of HEALTH begin one after the other, with a pause before each. So whoever asks without end, on
    however many connections, takes a small share of the process, and others come in their turn. Who has gone by then
    has none."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._turn = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not (scope["path"] == HEALTH and scope["method"] == "GET"):
            gone = asyncio.create_task(_gone(receive))
            try:
                async with self._turn:
                    if not gone.done():
                        await asyncio.sleep(PAUSE_S)
                if gone.done():
                    return
            finally:
                gone.cancel()
        await self._app(scope, receive, send)


async def _gone(receive: Receive) -> None:
    """Return when the client has. A body, for which nothing here asks, is left where it is."""
    if (await receive()).get("more_body"):
        await asyncio.Event().wait()
    await receive()
