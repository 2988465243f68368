"""The public interface: the control interface's resources behind bearer tokens, for the website and other programs.

What only an operator at the machine may do (tokens, the audit of the books, imports) is not here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import httpx
from fastapi import APIRouter, Depends, FastAPI, Response

from charging import __version__
from charging.service.service import Service
from charging.service.tokens import Tokens
from charging.web.api_document import FAX_CHECKS, FAXES, complete
from charging.web.api_gate import Gate, Operations
from charging.web.control import health
from charging.web.forward import Forward, ping
from charging.web.multipart import Unfolded
from charging.web.parts import known_parameters
from charging.web.problem import handle_problems
from charging.web.public import VERSION, Public
from charging.web.quick_balance import QuickBalance
from charging.web.routes import accounts, calls, changes, events, fax, numbers, page_tokens, prices, statements
from charging.web.routes import sandbox as played
from charging.web.settings import Api
from charging.web.untaken import Untaken

DOCUMENT_PATH = "/openapi.json"


def api_app(
    service: Service,
    tokens: Tokens,
    settings: Api,
    *,
    fax_bytes_max: int | None = None,
    daemon: httpx.AsyncClient | None = None,
    sandbox: bool = False,
) -> FastAPI:
    """The application, for `charging.web.listen`. ``fax_bytes_max``: of a document; ``None``: no faxes are sent.
    ``daemon`` is asked for changes; ``None``: ``service`` makes them. In a ``sandbox`` calls come by request."""
    app = resources(service, daemon, [played.router] if sandbox else ())
    app.state.sandbox = sandbox
    described = json.dumps(app.openapi()).encode()

    async def document() -> Response:
        return Response(described, media_type="application/json")

    app.get(DOCUMENT_PATH, include_in_schema=False)(document)
    large = {} if fax_bytes_max is None else {FAXES: fax_bytes_max, FAX_CHECKS: fax_bytes_max}
    app.add_middleware(QuickBalance, service=service)
    app.add_middleware(Unfolded)
    app.add_middleware(
        Gate,
        operations=Operations.of(app.openapi(), large),
        open_paths=(DOCUMENT_PATH,),
        tokens=tokens,
        service=service,
        limits=settings,
    )
    app.add_middleware(Public, sandbox=sandbox)
    return app


def resources(service: Service, daemon: httpx.AsyncClient | None = None, private: Sequence[APIRouter] = ()) -> FastAPI:
    """What can be asked, without anyone who asks who asks: for what is put before it. ``private``: what only that may
    ask."""
    app = _described()
    for router in private:
        app.include_router(router)
    app.state.service, app.state.untaken = service, Untaken()
    app.state.facts = dict
    app.state.ping = service.ping if daemon is None else partial(ping, daemon)
    handle_problems(app)
    app.state.sandbox = False
    if daemon is not None:
        app.add_middleware(Forward, daemon=daemon)
    return app


def _described() -> _Described:
    return _Described(
        routes=_routes().routes,
        title="charging",
        version=__version__,
        summary="Prepaid call charging: accounts, balances, top-ups, numbers, calls, faxes.",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        servers=[{"url": VERSION, "description": "this version; its paths without the prefix mean the same"}],
        **_OF_EVERY_ROUTE,
    )


_OF_EVERY_ROUTE: dict[str, Any] = {
    "generate_unique_id_function": lambda route: route.name,
    "dependencies": [Depends(known_parameters)],
}


@cache
def _routes() -> APIRouter:
    """Made once in a process: to read all signatures takes FastAPI longer than what most processes are asked."""
    public = APIRouter(**_OF_EVERY_ROUTE)
    public.include_router(events.of_all)
    for part in (accounts, statements, numbers, calls, changes, events, fax, prices, page_tokens):
        public.include_router(part.router)
    public.include_router(fax.checks)
    public.get("/health", tags=["health"])(health)
    return public


@cache
def _document(*, sandbox: bool) -> dict[str, Any]:
    app = _described()
    if sandbox:
        app.include_router(played.router)
    return complete(FastAPI.openapi(app))


class _Described(FastAPI):
    """Its OpenAPI document says all that can happen."""

    def openapi(self) -> dict[str, Any]:
        """Made once in a process, for all."""
        return _document(sandbox=self.state.sandbox)
