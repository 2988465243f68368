"""Who may see a page or do an act: login, session, role, and that a form comes from one of our own pages.

Failed logins are limited by address; a name's limit is so high that nobody keeps its owner from logging in by failing
from a few addresses. A stranger may have thousands (IPv6). So a browser in which its owner has logged in before has a
limit of its own for that name, in the place of these. Comparing a password is slow on purpose, so it is done beside the
loop, a few at a time, and so many in a minute.
"""

from __future__ import annotations

import asyncio
import hmac
import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import quote

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from charging.clock import Clock
from charging.errors import LedgerUnavailable
from charging.limits import Limits
from charging.log_limit import LogLimit
from charging.service.operators import Operator, Operators, Role
from charging.service.passwords import fits
from charging.sources import neighbourhood
from charging.web.browser import Form, FormSeal, cookie, is_click, must_lead_here, read_form, same, set_cookie
from charging.web.console.openid import ACTOR, NotLetIn, OpenId, ProviderAway
from charging.web.sessions import Session, Sessions
from charging.web.settings import Console

COOKIE = "__Host-charging"
"""Browsers take it only with ``Secure``, ``Path=/`` and no domain (RFC 6265bis, 4.1.3.2), so no other host of the
operator's can set it."""
BEFORE_LOGIN = "__Host-charging-login"
OPENID = "__Host-charging-openid"
"""While someone is at the login provider: sent when he comes back from there, so it is ``Lax``."""
KNOWN = "__Host-charging-known"
"""A browser in which someone has logged in by his password (OWASP's device cookie): for that name it has a limit of its
own, so that strangers who fail from ever more addresses do not keep him out."""
KNOWN_S = 90 * 86_400
OPENID_PER_MINUTE = 30
"""Logins by OpenID Connect that one address may begin; each asks the provider."""
SESSIONS_MAX = 1_000
SESSIONS_MAX_EACH = 20
"""Of them, of one name."""
NAME_TIMES = 20
"""How many times as many failed logins as one address may have, one name may have from all of them."""
FORM_BYTES_MAX = 1_000_000
"""Of someone who is logged in: a tariff is the largest."""
COMPARED_AT_ONCE = 2
REQUESTS_PER_MINUTE = 300
"""Of one login: some pages that ask every two seconds, and a person."""
COMPARED_PER_MINUTE = 600
"""Each is tens of milliseconds of a processor."""
_BROWSER = re.compile(r"[A-Za-z0-9_-]{22}\.[0-9a-f]{64}")
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Visit:
    """A request of someone who is logged in."""

    request: Request
    session: Session[Operator]
    form: Form
    """Empty, but for a POST."""

    @property
    def operator(self) -> Operator:
        return self.session.holder

    def may(self, role: Role | str) -> bool:
        """Whether this person may do what ``role`` may."""
        return self.operator.role.includes(Role(role))


Page = Callable[[Visit], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]


class ConsoleGate:
    """The checks before each page."""

    def __init__(self, operators: Operators, clock: Clock, settings: Console) -> None:
        self._operators = operators
        self._clock = clock
        self.sessions: Sessions[Operator] = Sessions(
            clock,
            settings.idle_min * 60,
            settings.session_h * 3600,
            SESSIONS_MAX,
            most_each=SESSIONS_MAX_EACH,
            whose=lambda one: one.name,
        )
        self._requests = Limits(REQUESTS_PER_MINUTE)
        of_name = Limits(NAME_TIMES * settings.failed_logins_per_minute)
        self._by = (Limits(settings.failed_logins_per_minute), of_name, Limits(COMPARED_PER_MINUTE))
        """Of an address, of a name, and of all."""
        self._log_limit = LogLimit(clock)
        self._by_browser = Limits(settings.failed_logins_per_minute)
        self._comparing = asyncio.Semaphore(COMPARED_AT_ONCE)
        self._comparing_known = asyncio.Semaphore(1)
        self._reading_known = asyncio.Semaphore(1)
        self._openid_begun = Limits(OPENID_PER_MINUTE)
        self.seal = FormSeal(BEFORE_LOGIN)

    def guarded(self, role: Role, page: Page) -> Endpoint:
        """A page for those in at least this role."""

        async def endpoint(request: Request) -> Response:
            must_lead_here(request)
            session = await self._session(request)
            if session is None:
                return to_login(request)
            form = await read_form(request, FORM_BYTES_MAX) if request.method == "POST" else {}
            if request.method == "POST" and not same(form.get("csrf", ""), session.csrf):
                raise HTTPException(403, "this form is not of your login: go back, reload the page, and send it again")
            visit = Visit(request, session, form)
            if not visit.may(role):
                raise HTTPException(403, f"your role is {visit.operator.role}; this needs {role}")
            response = await page(visit)
            if is_click(request) and (id := self.sessions.rotate(session)) is not None:
                set_cookie(response, COOKIE, id)
            return response

        return endpoint

    async def _session(self, request: Request) -> Session[Operator] | None:
        """Raises LedgerUnavailable."""
        session = self.sessions.find(cookie(request, COOKIE), by_click=is_click(request))
        if session is None:
            return None
        if wait_s := self._requests.take(session.csrf, self._clock.now().mono_us):
            raise HTTPException(429, f"too many requests: close some of your pages, or wait {wait_s} s")
        if session.holder.name.startswith(ACTOR):  # whom the provider knows, not we
            return session
        known = await self._operators.get(session.holder.name)
        if known is None or known.changed_us != session.holder.changed_us:
            self.sessions.close(session)
            return None
        return session

    # --- logging in ---------------------------------------------------------------------------------------------

    async def log_in(self, request: Request, form: Form) -> tuple[str, str, str]:
        """The new session's id, and what its browser is known by; or, last, why there is none. Raises
        LedgerUnavailable."""
        if not self.seal.is_ours(request, form):
            return "", "", "The form was too old. Please try again."
        name, now_us = form.get("name", "").strip().lower()[:100], self._clock.now().mono_us
        address = _address(request)
        browser = await self._known_browser(request, name)
        by = zip(self._by, (address, name, ""), strict=True) if not browser else ((self._by_browser, browser),)
        limits = tuple(by)
        if wait_s := max(limit.wait_s(key, now_us) for limit, key in limits):
            return "", "", f"Too many failed logins. Please wait {wait_s} seconds."
        for limit, key in limits:  # before anything is waited for, so that many at once count as many
            limit.take(key, now_us)
        try:
            operator = await self._operators.get(name)
        except LedgerUnavailable:  # no failure of whoever logs in
            for limit, key in limits:
                limit.forgive(key)
            raise
        async with self._comparing_known if browser else self._comparing:
            good = await asyncio.to_thread(
                fits, operator.password_hash if operator is not None else None, form.get("password", "")
            )
        if operator is None or not good:
            if (more := self._log_limit.more("console_login_failed")) is not None:
                log.warning("console_login_failed", address=address, more=more)
            return "", "", "Name or password is wrong."
        for limit, key in limits:
            limit.forgive(key)
        return self._entered(request, operator), browser or _browser_of(operator, secrets.token_urlsafe(16)), ""

    async def _known_browser(self, request: Request, name: str) -> str:
        """What a browser is known by in which this name has logged in, since it has its password; else empty. Nothing
        limits how often a stranger asks, so the same is done for each name: the time it takes tells no names."""
        told = cookie(request, KNOWN)
        if _BROWSER.fullmatch(told) is None:
            return ""
        async with self._reading_known:
            everyone = await self._operators.all()
        nonce = told.partition(".")[0]
        return told if name in [one.name for one in everyone if same(told, _browser_of(one, nonce))] else ""

    def _entered(self, request: Request, operator: Operator) -> str:
        if (old := self.sessions.find(cookie(request, COOKIE), by_click=False)) is not None:
            self.sessions.close(old)
        log.info("console_login", operator=operator.name, address=_address(request))
        return self.sessions.open(operator)

    async def to_provider(self, request: Request, openid: OpenId, place: str) -> tuple[str, str, str]:
        """Where the browser goes and what its cookie holds; or, last, why it does not."""
        if wait_s := self._openid_begun.take(_address(request), self._clock.now().mono_us):
            return "", "", f"Too many logins. Please wait {wait_s} seconds."
        try:
            return *await openid.begin(place), ""
        except ProviderAway as away:
            return "", "", self._away(away)

    async def from_provider(self, request: Request, openid: OpenId) -> tuple[str, str, str]:
        """The new session's id and the page to go on to; or, last, why there is none."""
        try:
            operator, place = await openid.come_back(request.query_params, cookie(request, OPENID))
        except ProviderAway as away:
            return "", "", self._away(away)
        except NotLetIn as why:
            if (more := self._log_limit.more("console_login_failed")) is not None:
                log.warning("console_login_failed", address=_address(request), openid=str(why), more=more)
            return "", "", "The login provider's answer does not let you in. Try again, or ask whoever gives out roles."
        return self._entered(request, operator), place, ""

    def _away(self, away: ProviderAway) -> str:
        if (more := self._log_limit.more("console_openid_away")) is not None:
            log.warning("console_openid_away", error=str(away), more=more)
        return "The login provider cannot be asked now. Try again, or log in by name and password."


def _browser_of(operator: Operator, nonce: str) -> str:
    """Made with the password's hash: it is good for nothing once the password has changed, whoever has the cookie."""
    mac = hmac.digest(operator.password_hash.encode(), f"{KNOWN} {operator.name} {nonce}".encode(), "sha256")
    return f"{nonce}.{mac.hex()}"


def _address(request: Request) -> str:
    return neighbourhood(request.client.host if request.client is not None else "unknown")


def to_login(request: Request) -> Response:
    """To the login form, and from there back."""
    query = request.scope["query_string"].decode("latin-1")
    back = request.scope["path"] + (f"?{query}" if query else "")
    place = "/login" if request.method != "GET" or not is_click(request) else f"/login?next={quote(back, safe='')}"
    if not is_click(request):
        return Response(status_code=204, headers={"HX-Redirect": place})
    return RedirectResponse(place, 303)
