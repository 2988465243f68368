"""The control interface: the whole service as HTTP resources, for whoever may open the daemon's Unix socket.

There is no login here: the socket's mode (0600) is the permission. The command line speaks nothing else, with a
daemon over the socket, without one to the same application in its own process.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Set
from functools import cache
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request
from pydantic import BaseModel, ConfigDict, Field

from charging.engine.drain import Drain
from charging.sandbox.desk import Telephones
from charging.service.actor import actor
from charging.service.import_file import BYTES_MAX, PART_BYTES_MAX
from charging.service.operators import Operators
from charging.service.service import Service
from charging.service.tokens import Tokens
from charging.service.webhooks import Webhooks
from charging.web import operators as operator_routes
from charging.web import tokens as token_routes
from charging.web.actor import Acting
from charging.web.forms import DIGEST, OptionalReason, told
from charging.web.parts import known_parameters, small_pages
from charging.web.problem import ProblemDocument, handle_problems
from charging.web.routes import (
    accounts,
    calls,
    changes,
    fax,
    imports,
    ledger,
    numbers,
    page_tokens,
    payments,
    prices,
    rehearsal,
    sandbox,
    statements,
    webhooks,
)
from charging.web.routes import drain as drains
from charging.web.untaken import Untaken

PARTS = (accounts, numbers, calls, drains, rehearsal, prices, ledger, imports, fax, page_tokens, payments)
Facts = Callable[[], Mapping[str, str]]
"""What the process says of itself: small words, for people (``{"ami": "up", …}``)."""


Reload = Callable[[], Awaitable[list[str]]]
"""Read again what can be; what is wrong with it."""
Accept = Callable[[str, str, str], Awaitable[list[str]]]
"""Let the tariff on disk with this digest count, for this reason, by whom; what is wrong with that."""


class Reloaded(BaseModel):
    """The tariff in force, and what is wrong with what was read."""

    revision: str
    digest: str
    problems: list[str]


class Edition(BaseModel):
    """An edition that waits."""

    model_config = ConfigDict(extra="forbid")

    digest: Annotated[str, told(DIGEST, max_length=16, description="of the tariff that waits, as `check` tells it")]
    reason: OptionalReason = Field(default="", description="why it is meant so; for the log")


class Accepted(BaseModel):
    """The tariff in force; empty ``problems``: it is the one that was accepted."""

    revision: str
    digest: str
    problems: list[str]


class Health(BaseModel):
    """The process answers; this is what it says of itself."""

    status: str
    facts: dict[str, str]
    sandbox: bool = Field(False, description="a test mode: no Asterisk, and no money is real")


def control_app(
    service: Service,
    facts: Facts = dict,
    *,
    tokens: Tokens | None = None,
    operators: Operators | None = None,
    hooks: Webhooks | None = None,
    drain: Drain | None = None,
    version: str = "",
    decides_calls: bool = False,
    reload: Reload | None = None,
    accept: Accept | None = None,
) -> FastAPI:
    """The application. ``facts`` is asked for ``/health``; ``tokens`` are those of the public interface,
    ``operators`` the people of the console, ``hooks`` are the operator's programs that are told what happens, ``drain``
    is the running daemon's.
    ``decides_calls``: in the process that does, where nothing is answered whose cost has no bound: no statements, no
    audit, pages of few rows, and imports only in small parts. The command line does those in its own process."""
    rooms = {"tokens": tokens, "operators": operators, "webhooks": hooks, "reload": reload, "accept": accept}
    known = {name: room for name, room in rooms.items() if room is not None}
    app = FastAPI(
        routes=_routes(frozenset(known), decides_calls=decides_calls).routes,
        title="charging",
        version=version or "0",
        summary="Prepaid call charging: accounts, numbers, money, calls.",
        openapi_url=None if decides_calls else "/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        **_of_every_route(decides_calls=decides_calls),
    )
    app.state.service, app.state.ping, app.state.drain = service, service.ping, drain
    app.state.untaken = Untaken()
    app.state.facts, app.state.sandbox = facts, False
    handle_problems(app)
    app.add_middleware(Acting)
    app.state.import_bytes_max = PART_BYTES_MAX if decides_calls else BYTES_MAX
    for name, room in known.items():
        setattr(app.state, name, room)
    return app


def _of_every_route(*, decides_calls: bool) -> dict[str, Any]:
    return {
        "responses": {"default": {"model": ProblemDocument, "description": "a problem (RFC 9457)"}},
        "dependencies": [Depends(known_parameters), *([Depends(small_pages)] if decides_calls else [])],
    }


@cache
def _routes(known: Set[str], *, decides_calls: bool) -> APIRouter:
    """Made once in a process: to read all signatures takes FastAPI longer than what most commands ask. ``known``: what
    of the application's state can be there or not."""
    routes = APIRouter(**_of_every_route(decides_calls=decides_calls))
    parts = [page_tokens.private, fax.checks, *(one.router for one in PARTS)]
    parts += [fax.by_mail] if decides_calls else [fax.by_mail, statements.router, changes.router, ledger.audit]
    parts += [webhooks.lists] if "webhooks" in known and not decides_calls else []
    rooms = (("tokens", token_routes), ("operators", operator_routes), ("webhooks", webhooks))
    for router in (*parts, *(part.router for name, part in rooms if name in known)):
        routes.include_router(router)
    routes.get("/health", tags=["health"])(health)
    if "reload" in known:
        routes.post("/reloads", tags=["health"])(reloads)
    if "accept" in known:
        routes.post("/tariff/accepted", tags=["health"])(accept_tariff)
    return routes


def play(app: FastAPI, telephones: Telephones) -> None:
    """The application is that of a sandbox, whose people use these telephones."""
    app.state.sandbox, app.state.telephones = True, telephones
    app.include_router(sandbox.router)


async def accept_tariff(request: Request, body: Edition) -> Accepted:
    """Let a doubtful edition of a rate deck count, which waits on disk."""
    problems = await request.app.state.accept(body.digest, body.reason, actor())
    if not problems:
        await request.app.state.service.tariff_accepted(body.digest, body.reason)
    tariff = request.app.state.service.tariff()
    return Accepted(revision=tariff.revision, digest=tariff.digest, problems=problems)


async def reloads(request: Request) -> Reloaded:
    """Read tariff, decks, templates and prompts again, now."""
    problems = await request.app.state.reload()
    tariff = request.app.state.service.tariff()
    return Reloaded(revision=tariff.revision, digest=tariff.digest, problems=problems)


async def health(request: Request) -> Health:
    """What the process says of itself; 503 if the next call's money could not be written, and on the public interface
    also if calls cannot be forwarded for another reason, as on the port for supervisors."""
    await request.app.state.ping()
    state = request.app.state
    return Health(status="ok", facts=dict(state.facts()), sandbox=state.sandbox)
