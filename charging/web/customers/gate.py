"""Who may see a page: a session that began with the website's link, and that a form comes from one of our own pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from charging.ledger.accounts import Language
from charging.limits import Limits
from charging.log_limit import LogLimit
from charging.service.page_tokens import Use
from charging.service.turns import QueueBounds, Turns
from charging.sources import neighbourhood
from charging.web.asks import AskFailed, Asks, path
from charging.web.browser import Form, FormSeal, cookie, must_lead_here, read_form, read_upload, same, set_cookie
from charging.web.customers.own import Own, Watch
from charging.web.guesses import Guesses
from charging.web.limits import Places
from charging.web.multipart import Document as Upload
from charging.web.sessions import Session, Sessions
from charging.web.settings import CustomerPage

COOKIE = "__Host-charging-customer"
"""Another than the console's: browsers keep cookies by host, whatever the port."""
BEFORE_ENTRY = "__Host-charging-entry"
SESSIONS_MAX = 20_000
SESSIONS_MAX_EACH = 100
"""Of them, of one account: a company's people, each with a telephone and a computer."""
REQUESTS_PER_MINUTE = 120
"""Of one session."""
UPLOADS_MAX = 8
"""Documents that are being taken in, of all customers."""
UPLOADS_MAX_EACH = 2
"""Of them, of one account."""
PAGES = QueueBounds(at_once=1_000, waiting=1_000, of_account=16, what="pages", advice="ask one after the other")
"""One of an account is made at a time, for it may have SESSIONS_MAX_EACH logins; however long, it keeps no others."""
BAD_LINKS_PER_MINUTE = 30
"""Of one address."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Customer:
    """Who is logged in."""

    account: str
    language: Language
    """Of the pages that he sees now."""


@dataclass(frozen=True, slots=True)
class Visit:
    """A request of someone who is logged in."""

    request: Request
    session: Session[Customer]
    own: Own
    form: Form
    """Empty, but for a POST."""
    document: Upload | None = None
    """Of a form that has one."""

    @property
    def language(self) -> Language:
        return self.session.holder.language


Page = Callable[[Visit], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]


class CustomerGate:
    """The checks before each page."""

    def __init__(self, asks: Asks, watch: Watch, settings: CustomerPage, stranger: Endpoint) -> None:
        """``stranger`` answers who is not logged in."""
        self._asks = asks
        self._watch = watch
        self._clock = asks.service.clock
        self._stranger = stranger
        self.sessions: Sessions[Customer] = Sessions(
            self._clock,
            settings.idle_min * 60,
            settings.session_h * 3600,
            SESSIONS_MAX,
            most_each=SESSIONS_MAX_EACH,
            whose=lambda one: one.account,
        )
        self.seal = FormSeal(BEFORE_ENTRY)
        self._requests = Limits(REQUESTS_PER_MINUTE, SESSIONS_MAX)
        self._turns = Turns(self._clock, PAGES)
        self._links = Guesses(self._clock, BAD_LINKS_PER_MINUTE)
        self._log_limit = LogLimit(self._clock)
        self._uploads = Places(self._clock, UPLOADS_MAX, UPLOADS_MAX_EACH)

    def guarded(
        self, page: Page, *, by_itself: bool = False, takes_long: bool = False, document_bytes: int = 0
    ) -> Endpoint:
        """A page for customers; ``by_itself``: their browsers ask for it without a click. Its form may have a document
        of up to ``document_bytes``. What ``takes_long`` (it has limits of its own) or changes something keeps no other
        page of the account waiting."""
        in_turn = not by_itself and not takes_long

        async def endpoint(request: Request) -> Response:
            must_lead_here(request)
            session = self.sessions.find(cookie(request, COOKIE), by_click=not by_itself)
            if session is None:
                return await self._stranger(request)
            if wait_s := self._requests.take(session.csrf, self._clock.now().mono_us):
                raise HTTPException(429, headers={"Retry-After": str(wait_s)})
            document = None
            if document_bytes:
                form, document = await self._uploaded(request, session.holder.account, document_bytes)
            else:
                form = await read_form(request) if request.method == "POST" else {}
            if request.method == "POST" and not same(form.get("csrf", ""), session.csrf):
                raise HTTPException(403)
            own = Own(self._asks, self._watch, session.holder.account)
            async with self._turn(own.account) if in_turn and request.method != "POST" else nullcontext():
                response = await page(Visit(request, session, own, form, document))
            if not by_itself and (id := self.sessions.rotate(session)) is not None:
                self.keep(response, id)
            return response

        return endpoint

    @asynccontextmanager
    async def _turn(self, account: str) -> AsyncIterator[None]:
        """The account's, to have a page made. Raises HTTPException (503)."""
        if self._turns.hindrance(account) is not None:
            raise HTTPException(503, headers={"Retry-After": "1"})
        async with self._turns.turn(account) as is_turn:
            if not is_turn:
                raise HTTPException(503, headers={"Retry-After": "1"})
            yield

    async def _uploaded(self, request: Request, account: str, most: int) -> tuple[Form, Upload | None]:
        """Only so many documents are in memory at a time."""
        if not self._uploads.has_room(account):
            raise HTTPException(503, headers={"Retry-After": "5"})
        with self._uploads.taken(account, request.receive) as place:
            parts = await read_upload(Request(request.scope, place.receive), most)
        return parts.fields, parts.document

    def is_over(self, session: Session[Customer], request: Request) -> bool:
        """Whether a session that was good for this request has ended since."""
        return self.sessions.find(cookie(request, COOKIE), by_click=False) is not session

    def language_of(self, request: Request) -> Language | None:
        """The one that whoever asks has chosen; ``None``: he is not logged in."""
        session = self.sessions.find(cookie(request, COOKIE), by_click=False)
        return None if session is None else session.holder.language

    def keep(self, response: Response, id: str) -> None:
        """Give the browser its session. ``Lax``, so that who comes back from paying is still logged in."""
        set_cookie(response, COOKIE, id, samesite="lax")

    # --- coming in ----------------------------------------------------------------------------------------------

    async def whose(self, request: Request, token: str) -> str | None:
        """The account that a link's token signs in to; it is not used yet. Raises LedgerError, and
        HTTPException (429) if this address has asked too often."""
        find = partial(self._asks.service.page_tokens.account_of, token, Use.PAGE)
        account, wait_s = await self._links.looked(self._address(request), find)
        if wait_s:
            raise HTTPException(429, headers={"Retry-After": str(wait_s)})
        if account is None and (more := self._log_limit.more("customer_link_refused")) is not None:
            log.warning("customer_link_refused", address=self._address(request), more=more)
        return account

    async def enter(self, request: Request, form: Form) -> str | None:
        """The id of the new session that a link's token begins; ``None``: it is good for nothing (any more). Raises
        AskFailed, LedgerError."""
        token = form.get("link", "")
        if not self.seal.is_ours(request, form) or await self.whose(request, token) is None:
            return None
        try:
            order = self._asks.order("POST", path("page-tokens", "spent"), {"token": token}, "", by="page", params={})
            account = str((await order)["account"])
        except AskFailed as problem:
            if problem.status != 404:  # else another browser was quicker
                raise
            return None
        if (old := self.sessions.find(cookie(request, COOKIE), by_click=False)) is not None:
            self.sessions.close(old)
        own = Own(self._asks, self._watch, account)
        language = Language((await own.get())["language"])
        log.info("customer_signed_in", account=account, address=self._address(request))
        return self.sessions.open(Customer(account, language))

    @staticmethod
    def _address(request: Request) -> str:
        return neighbourhood(request.client.host if request.client is not None else "unknown")
