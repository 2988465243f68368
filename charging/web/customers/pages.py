"""What a customer sees and sets."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from functools import partial

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from charging.errors import LedgerError
from charging.limits import Limits
from charging.service.refusal import Code, Refused
from charging.service.statement_csv import statement_csv
from charging.service.statement_page import STYLE, statement_page
from charging.web.asks import AskFailed, Asks, Document
from charging.web.browser import CONTENT_POLICY
from charging.web.customers.gate import CustomerGate, Page, Visit
from charging.web.customers.printing import Printing
from charging.web.customers.shown import Shown
from charging.web.customers.words import WORDS
from charging.web.limits import edits
from charging.web.untaken import Untaken

CALLS_SHOWN = 50
CALLS_RECENT = 5
CALL_DAYS = 31
MONTHS_SHOWN = 12
NUMBERS_SHOWN = 100
STATEMENTS_PER_MINUTE, PRINTS_PER_MINUTE = 20, 4
"""Of one account. One with thousands of calls takes some tenths of a second of this process, and as a PDF half a minute
of another."""
STREAMS_MAX = 200
"""At a time; each holds a connection. Who comes then is told to reload."""
STREAMS_MAX_EACH = 4
STREAM_S = 300
"""After which a stream ends; the browser asks for the next one."""
LOOK_S = 1
QUIET_S = 15
"""After so long without news a comment keeps the connection."""
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
STATEMENT_POLICY = CONTENT_POLICY.replace("style-src 'self'", f"style-src 'sha256-{_STYLE_HASH}'")
"""A statement has its style within."""


class Pages:
    """Each method is a page."""

    def __init__(self, asks: Asks, shown: Shown) -> None:
        self._asks = asks
        self._shown = shown
        self._streams: Counter[str] = Counter()
        self._statements, self._prints = Limits(STATEMENTS_PER_MINUTE), Limits(PRINTS_PER_MINUTE)
        self._edits = edits()
        self._printing = Printing(asks.service.clock)
        self._untaken = Untaken()

    async def overview(self, visit: Visit) -> Response:
        facts = {
            "stored": await visit.own.get(),
            "balance": await visit.own.balance(),
            "numbers": await self._numbers(visit),
            "cdrs": await visit.own.calls(self._now(), CALL_DAYS, CALLS_RECENT),
        }
        return self._shown.page(visit, "overview.html", facts)

    async def calls(self, visit: Visit) -> Response:
        cdrs = await visit.own.calls(self._now(), CALL_DAYS, CALLS_SHOWN)
        facts = {"cdrs": cdrs, "months": self._months((await visit.own.get())["created"]), "most": CALLS_SHOWN}
        return self._shown.page(visit, "calls.html", facts)

    async def statement(self, visit: Visit) -> Response:
        """A month's, as a page that prints well, as PDF or as CSV. Raises HTTPException (429: asked too often; 503: no
        PDF can be made now), AskFailed (there is no statement, or it is archived)."""
        form = visit.request.query_params.get("format")
        limit = self._prints if form == "pdf" else self._statements
        if wait_s := limit.take(visit.own.account, self._asks.service.clock.now().mono_us):
            raise HTTPException(429, headers={"Retry-After": str(wait_s)})
        self._ready_for(visit.own.account)
        month = visit.request.path_params["month"]
        if form == "pdf":
            return await self._pdf(visit, month)
        statement = await visit.own.statement(month)
        if isinstance(statement, Refused):
            raise _no_statement(statement)
        if form == "csv":
            name = f'attachment; filename="{statement.month}.csv"'
            told = await asyncio.to_thread(statement_csv, statement)
            return self._large(visit, told, "text/csv", {"Content-Disposition": name})
        page = await asyncio.to_thread(statement_page, statement)
        return self._large(visit, page, "text/html", {"Content-Security-Policy": STATEMENT_POLICY})

    async def _pdf(self, visit: Visit, month: str) -> Response:
        pdf = await self._printing.printed(visit.own.account, partial(visit.own.statement, month))
        if isinstance(pdf, Refused):
            if pdf.code is not Code.UNAVAILABLE:
                raise _no_statement(pdf)
            raise HTTPException(503, pdf.message, headers={"Retry-After": "30"})
        return self._large(visit, pdf, "application/pdf", {"Content-Disposition": f'inline; filename="{month}.pdf"'})

    def _large(self, visit: Visit, told: str | bytes, media: str, headers: Mapping[str, str]) -> Response:
        self._ready_for(visit.own.account)  # others may have been made meanwhile
        return self._untaken.answer(visit.own.account, told, media, headers)

    def _ready_for(self, account: str) -> None:
        if (hindrance := self._untaken.hindrance(account)) is not None:
            raise HTTPException(503, hindrance.message, headers={"Retry-After": "30"})

    async def settings(self, visit: Visit) -> Response:
        facts = {"numbers": await self._numbers(visit), "typed": {}, "wrong": {}}
        return self._shown.page(visit, "settings.html", facts)

    async def forward(self, visit: Visit) -> Response:
        """Where a number forwards to, set. Raises HTTPException (429: too often)."""
        if wait_s := self._edits.take(visit.own.account, self._asks.service.clock.now().mono_us):
            raise HTTPException(429, headers={"Retry-After": str(wait_s)})
        number, typed = str(visit.request.path_params["number"]), visit.form.get("forward_to", "").strip()[:40]
        t = WORDS[visit.language]
        try:
            made = await visit.own.forward(number, typed)
        except AskFailed as problem:
            if problem.status != 422:
                raise
            word = "bad_number" if problem.code == Code.INVALID else "bad_target"
            wrong = {number: t[word].format(value=typed)}
            facts = {"numbers": await self._numbers(visit), "typed": {number: typed}, "wrong": wrong}
            return self._shown.page(visit, "settings.html", facts, status=422)
        saved = t["saved"] if made["forward_to"] else t["saved_off"]
        visit.session.said.append(("good", saved.format(number=made["number"], forward_to=made["forward_to"])))
        return RedirectResponse("/settings", 303)

    async def _numbers(self, visit: Visit) -> list[Document]:
        plan = self._asks.service.tariff().plan((await visit.own.get())["plan"])
        numbers: list[Document] = (await visit.own.get("numbers", limit=NUMBERS_SHOWN))["items"]
        return [one | {"pays": plan is not None and plan.charges_voicemail(one["paid_voicemail"])} for one in numbers]

    def _now(self) -> datetime:
        return self._shown.moment_us(self._asks.service.clock.now().wall_us)

    def _months(self, created: str) -> list[str]:
        """The newest, from the account's first month on."""
        now, first = self._now(), self._shown.now_month(created)
        months = [divmod(now.year * 12 + now.month - 1 - back, 12) for back in range(MONTHS_SHOWN)]
        return [name for year, month in months if (name := f"{year}-{month + 1:02d}") >= first]

    # --- live ---------------------------------------------------------------------------------------------------

    def live(self, gate: CustomerGate) -> Page:
        """The balance, sent as it changes."""

        async def page(visit: Visit) -> Response:
            mine = self._streams[visit.own.account]
            if self._streams.total() >= STREAMS_MAX or mine >= STREAMS_MAX_EACH:
                return Response(status_code=204)  # by which a browser's EventSource asks no more
            return _Stream(self._told(gate, visit), self._streams, visit.own.account)

        return page

    async def _told(self, gate: CustomerGate, visit: Visit) -> AsyncIterator[str]:
        clock, before, quiet = self._asks.service.clock, "", 0
        end_us = clock.now().plus(STREAM_S).mono_us
        yield "retry: 3000\n\n"
        while clock.now().mono_us < end_us:
            if gate.is_over(visit.session, visit.request):
                yield "event: over\ndata: \n\n"
                return
            try:
                now = self._shown.part(visit, "balance.html", {"balance": await visit.own.balance()})
            except (LedgerError, AskFailed):  # the browser asks again
                return
            quiet = quiet + LOOK_S if now == before else 0
            if quiet == 0:
                yield f"event: balance\ndata: {json.dumps(now)}\n\n"
            elif quiet % QUIET_S == 0:
                yield ": nothing new\n\n"
            before = now
            await clock.sleep_until(clock.now().plus(LOOK_S).mono_us)


class _Stream(StreamingResponse):
    """Counts from before its first byte until its end, however that comes about."""

    def __init__(self, told: AsyncIterator[str], streams: Counter[str], account: str) -> None:
        super().__init__(told, media_type="text/event-stream")
        self._streams = streams
        self._account = account

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._streams[self._account] += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._streams -= Counter((self._account,))


def _no_statement(refused: Refused) -> AskFailed:
    status = 410 if refused.code is Code.ARCHIVED else 404
    return AskFailed(status, {"code": refused.code, "detail": refused.message})
