"""The public interface: the control interface's resources behind bearer tokens, for the website and other programs.

What only an operator at the machine may do (tokens, the audit of the books, imports) is not here.
"""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import Depends, FastAPI

from charging import __version__
from charging.door import Observer
from charging.service.refusal import Refused
from charging.service.service import Service
from charging.service.tokens import Tokens
from charging.web.api_document import FAXES, complete
from charging.web.api_gate import Gate, Operations
from charging.web.control import health
from charging.web.listen import Front, HttpLimits, serve_port
from charging.web.parts import known_parameters
from charging.web.problem import handle_problems
from charging.web.routes import accounts, calls, fax, numbers, prices, statements
from charging.web.settings import Api

DOCUMENT_PATH = "/openapi.json"


def api_app(service: Service, tokens: Tokens, settings: Api) -> FastAPI:
    """The application. `charging.web.listen` serves it."""
    app = _Described(
        title="charging",
        version=__version__,
        summary="Prepaid call charging: accounts, balances, top-ups, numbers, calls, faxes.",
        openapi_url=DOCUMENT_PATH,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(known_parameters)],
    )
    app.state.service = service
    app.state.facts = dict
    documents = service.faxes.document_limit()
    handle_problems(app)
    for part in (accounts, statements, numbers, calls, fax, prices):
        app.include_router(part.router)
    app.get("/health", tags=["health"])(health)
    app.add_middleware(
        Gate,
        operations=Operations.of(app.openapi(), {} if isinstance(documents, Refused) else {FAXES: documents}),
        open_paths=(DOCUMENT_PATH,),
        tokens=tokens,
        clock=service.clock,
        limits=settings,
    )
    return app


async def serve_api(
    service: Service,
    tokens: Tokens,
    settings: Api,
    ready: asyncio.Event | None = None,
    *,
    turned: Observer = lambda why: None,
) -> None:
    """Serve the public interface until cancelled. Raises CannotServe."""
    front = Front("api", HttpLimits(settings.max_connections), settings.trusted_proxies, turned)
    await serve_port(api_app(service, tokens, settings), settings.host, settings.port, ready, front=front)


class _Described(FastAPI):
    """Its OpenAPI document says all that can happen."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            complete(super().openapi())
        assert self.openapi_schema is not None
        return self.openapi_schema
