"""The console's application: its pages, their roles, and what every answer carries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from charging.errors import ChargingError
from charging.service.operators import Operators, Role
from charging.service.tokens import Tokens
from charging.service.webhooks import Webhooks
from charging.web.asks import AskFailed, Asks
from charging.web.browser import Sealed, drop_cookie, is_click, local_place, read_form, set_cookie
from charging.web.console.acts import ACCOUNT_ACTS, CALL_ACTS, NUMBER_ACTS, Acts
from charging.web.console.gate import BEFORE_LOGIN, COOKIE, KNOWN, KNOWN_S, OPENID, ConsoleGate, Visit
from charging.web.console.openid import ACTOR, OpenId
from charging.web.console.pages import Mails, Pages
from charging.web.console.shown import STATIC, Shown
from charging.web.console.tariff_file import TariffFile
from charging.web.settings import OPENID_BACK, Console


def console_app(
    asks: Asks,
    operators: Operators,
    settings: Console,
    mails: Mails,
    tariff: TariffFile,
    *,
    openid: OpenId | None = None,
    tokens: Tokens | None = None,
    hooks: Webhooks | None = None,
    sandbox: bool = False,
) -> ASGIApp:
    """The application, for `charging.web.listen`."""
    shown = Shown(lambda: asks.service.tariff().zone, sandbox=sandbox)
    gate = ConsoleGate(operators, asks.service.clock, settings)
    pages, acts = Pages(asks, shown, mails, tariff, tokens, hooks), Acts(asks, shown, tariff)
    views: dict[str, Callable[[Visit], Awaitable[Response]]] = {
        "/": pages.overview,
        "/live": pages.live,
        "/calls": pages.calls,
        "/calls/{session}": pages.call,
        "/search": pages.search,
        "/accounts/{account}": pages.account,
        "/accounts/{account}/balance": pages.balance,
        "/accounts/{account}/journal": pages.journal,
        "/decisions": pages.decisions,
        "/tariff": pages.tariff,
        "/health": pages.health,
    }
    routes: list[Any] = [Route(place, gate.guarded(Role.VIEW, page)) for place, page in views.items()]
    for part, subject, all_acts in (
        ("accounts", "account", ACCOUNT_ACTS),
        ("numbers", "number", NUMBER_ACTS),
        ("calls", "session", CALL_ACTS),
    ):
        for act in all_acts:
            place = f"/{part}/{{{subject}}}/{act.name}"
            routes.append(Route(place, gate.guarded(act.role, acts.form(act, subject))))
            routes.append(Route(place, gate.guarded(act.role, acts.carried_out(act, subject)), methods=["POST"]))
    routes.append(Route("/tariff", gate.guarded(Role.ADMIN, acts.propose_tariff), methods=["POST"]))
    routes += _doors(gate, shown, openid)
    routes.append(Mount("/static", StaticFiles(directory=STATIC)))
    app = Starlette(routes=routes, exception_handlers=_handlers(shown))
    app.router.redirect_slashes = False  # it would lead to whatever host the request names
    return Sealed(app)


def _doors(gate: ConsoleGate, shown: Shown, openid: OpenId | None) -> list[Route]:
    """Logging in and out."""

    def form(request: Request, wrong: str = "", place: str = "", status: int = 200) -> Response:
        random, token = gate.seal.issue()
        facts = {"wrong": wrong, "token": token, "next": place, "openid": _name_of(openid)}
        response = shown.outside(request, "login.html", facts, status=status)
        set_cookie(response, BEFORE_LOGIN, random)
        return response

    async def login(request: Request) -> Response:
        if request.method != "POST":
            return form(request, place=request.query_params.get("next", ""))
        given = await read_form(request)
        id, browser, wrong = await gate.log_in(request, given)
        if wrong:
            return form(request, wrong, given.get("next", ""), 403)
        response = RedirectResponse(local_place(given.get("next", "")), 303)
        set_cookie(response, COOKIE, id)
        set_cookie(response, KNOWN, browser, lasts_s=KNOWN_S)
        drop_cookie(response, BEFORE_LOGIN)
        return response

    async def logout(visit: Visit) -> Response:
        gate.sessions.close(visit.session)
        response: Response = RedirectResponse("/login", 303)
        if openid is not None and visit.operator.name.startswith(ACTOR):
            facts = {"openid": _name_of(openid), "leaving": openid.leaving()}
            response = shown.outside(visit.request, "left.html", facts)
        drop_cookie(response, COOKIE)
        return response

    return [
        *(_openid_doors(gate, shown, openid, form) if openid is not None else ()),
        Route("/login", login, methods=["GET", "POST"]),
        Route("/logout", gate.guarded(Role.VIEW, logout), methods=["POST"]),
    ]


def _name_of(openid: OpenId | None) -> str:
    return "" if openid is None else urlsplit(openid.issuer).hostname or openid.issuer


def _openid_doors(gate: ConsoleGate, shown: Shown, openid: OpenId, form: Callable[..., Response]) -> list[Route]:
    """Logging in by a provider: to it, and back."""

    async def go(request: Request) -> Response:
        place = local_place(request.query_params.get("next", ""))
        there, kept, wrong = await gate.to_provider(request, openid, place)
        if wrong:
            return form(request, wrong, place, 503)
        response = RedirectResponse(there, 303)
        set_cookie(response, OPENID, kept, samesite="lax")
        return response

    async def back(request: Request) -> Response:
        id, place, wrong = await gate.from_provider(request, openid)
        if wrong:
            return form(request, wrong, status=403)
        # A page, no redirect: what another site has led to carries no Strict cookie (RFC 6265bis, 5.2).
        response = shown.outside(request, "entered.html", {"next": place})
        set_cookie(response, COOKIE, id)
        drop_cookie(response, OPENID)
        return response

    return [Route("/login/openid", go, methods=["GET"]), Route(OPENID_BACK, back, methods=["GET"])]


def _handlers(shown: Shown) -> dict[Any, Callable[[Request, Exception], Awaitable[Response]]]:
    """What is said in place of a page."""

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        told = {404: "there is no such page", 405: "that cannot be done to this page"}.get(
            error.status_code, str(error.detail)
        )
        return _told(request, error.status_code, told)

    async def problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, AskFailed)
        return _told(request, error.status, error.detail, error.advice)

    async def trouble(request: Request, error: Exception) -> Response:
        return _told(request, 503, f"this cannot be answered now: {error}", "look at the health page, and try again")

    def _told(request: Request, status: int, told: str, advice: str = "") -> Response:
        template = "problem.html" if is_click(request) else "problem_part.html"
        status = status if is_click(request) else 200  # a part shows it in its place, and goes on asking
        return shown.outside(request, template, {"told": told, "advice": advice}, status=status)

    return {HTTPException: http, AskFailed: problem, ChargingError: trouble}
