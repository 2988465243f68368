"""The application of the customers' page and of the balance widget."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from charging.errors import ChargingError
from charging.ledger.accounts import Language
from charging.web.asks import AskFailed, Asks
from charging.web.browser import Sealed, drop_cookie, read_form, set_cookie
from charging.web.console.shown import STATIC as LOOK
from charging.web.customers.buying import Buying
from charging.web.customers.faxing import Faxing
from charging.web.customers.gate import BEFORE_ENTRY, COOKIE, CustomerGate, Visit
from charging.web.customers.own import Watch
from charging.web.customers.pages import Pages
from charging.web.customers.shown import STATIC, Shown
from charging.web.customers.till import Till
from charging.web.customers.widget import widget_routes
from charging.web.routes import page_tokens, payments
from charging.web.settings import CustomerPage

PRIVATE = (page_tokens.private, payments.router)
"""What this page asks of the daemon beside the public interface's resources."""


def customers_app(
    asks: Asks,
    settings: CustomerPage,
    till: Till | None = None,
    *,
    fax_bytes_max: int | None = None,
    sandbox: bool = False,
    beside: Sequence[Route] = (),
) -> ASGIApp:
    """The application, for `charging.web.listen`. Without a ``till`` nothing is sold. ``fax_bytes_max``: of a document;
    ``None``: no faxes are sent. A ``sandbox`` says so, and has the payment
    provider that it plays ``beside``."""
    shown = Shown(
        lambda: asks.service.tariff().zone,
        settings.sign_in_url,
        sells=till is not None,
        faxes=fax_bytes_max is not None,
        sandbox=sandbox,
    )
    watch = Watch(asks)

    async def stranger(request: Request) -> Response:
        if request.scope["path"] == "/live":
            return Response(status_code=204)  # by which a browser's EventSource asks no more
        return shown.outside(request, "outside.html", {"word": "stranger"}, status=401)

    gate, pages = CustomerGate(asks, watch, settings, stranger), Pages(asks, shown)
    routes: list[Any] = [
        Route("/", gate.guarded(pages.overview)),
        Route("/calls", gate.guarded(pages.calls)),
        Route("/statements/{month}", gate.guarded(pages.statement, takes_long=True)),
        Route("/settings", gate.guarded(pages.settings)),
        Route("/numbers/{number}", gate.guarded(pages.forward), methods=["POST"]),
        Route("/live", gate.guarded(pages.live(gate), by_itself=True)),
        *_doors(gate, shown),
        *(Buying(till, shown).routes(gate) if till is not None else ()),
        *(Faxing(shown, asks.service.clock, fax_bytes_max).routes(gate) if fax_bytes_max is not None else ()),
        *widget_routes(asks, watch, settings.widget_origins),
        *beside,
        Mount("/look", StaticFiles(directory=LOOK)),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    app = Starlette(routes=routes, exception_handlers=_handlers(shown, gate))
    app.router.redirect_slashes = False  # it would lead to whatever host the request names
    return Sealed(app)


def _doors(gate: CustomerGate, shown: Shown) -> list[Route]:
    """Coming in by the website's link, going out, and in which language."""

    async def link(request: Request) -> Response:
        """Asks before it signs in: so nothing that only looks at links uses one up, and nobody is signed in to an
        account that is not his without seeing it."""
        token = request.query_params.get("token", "")
        account = await gate.whose(request, token)
        if account is None:
            return shown.outside(request, "outside.html", {"word": "old_link"}, status=403)
        random, seal = gate.seal.issue()
        response = shown.outside(request, "enter.html", {"account": account, "link": token, "token": seal})
        set_cookie(response, BEFORE_ENTRY, random, samesite="strict")
        return response

    async def enter(request: Request) -> Response:
        id = await gate.enter(request, await read_form(request))
        if id is None:
            return shown.outside(request, "outside.html", {"word": "old_link"}, status=403)
        response = RedirectResponse("/", 303)
        gate.keep(response, id)
        drop_cookie(response, BEFORE_ENTRY)
        return response

    async def leave(visit: Visit) -> Response:
        gate.sessions.close(visit.session)
        response = shown.left(visit)
        drop_cookie(response, COOKIE)
        return response

    async def language(visit: Visit) -> Response:
        chosen = visit.form.get("language", "")
        if chosen in set(Language):
            visit.session.holder.language = Language(chosen)
        return RedirectResponse("/", 303)

    return [
        Route("/enter", link),
        Route("/enter", enter, methods=["POST"]),
        Route("/leave", gate.guarded(leave), methods=["POST"]),
        Route("/language", gate.guarded(language), methods=["POST"]),
    ]


_WORDS = {404: "not_there", 405: "not_there", 410: "archived", 413: "fax_large", 403: "old_form", 429: "too_often"}


def _handlers(shown: Shown, gate: CustomerGate) -> dict[Any, Callable[[Request, Exception], Awaitable[Response]]]:
    """What is said in place of a page: in a customer's words, and nothing of what is behind it."""

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return told(request, error.status_code, error.headers)

    async def problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, AskFailed)
        return told(request, error.status)

    async def trouble(request: Request, error: Exception) -> Response:
        return told(request, 503)

    def told(request: Request, status: int, headers: Any = None) -> Response:
        word = _WORDS.get(status, "refused" if status < 500 else "later")
        language = gate.language_of(request)
        response = shown.outside(request, "problem.html", {"word": word}, status=status, language=language)
        response.headers.update(headers or {})
        return response

    return {HTTPException: http, AskFailed: problem, ChargingError: trouble}
