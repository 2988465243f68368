"""What the console shows."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol
from urllib.parse import quote

from starlette.responses import RedirectResponse, Response

from charging.clock import MICROSECONDS
from charging.errors import ChargingError
from charging.ledger.model import CREDIT
from charging.pricing.money import format_euro, parse_euro
from charging.service.refusal import Refused
from charging.service.tokens import Tokens
from charging.service.webhooks import Webhooks
from charging.web.asks import AskFailed, Asks, Document, path
from charging.web.browser import same
from charging.web.console import plots
from charging.web.console.figures import Figures, balance_over_time, journal_rows
from charging.web.console.gate import Visit
from charging.web.console.shown import Shown
from charging.web.console.tariff_file import TariffFile
from charging.web.routes.webhooks import WebhookOut, list_webhooks

ROWS = 25
JOURNAL_LINES = 1_000
CALL_DAYS = 31
DECISION_ROWS = 200
LOOKED_S = 10
"""A part of the health page that takes longer is said to be silent."""


class Mails(Protocol):
    """What is known of mails to subscribers."""

    async def of_account(self, account: str) -> Sequence[Mapping[str, Any]]:
        """``at``, ``kind``, ``state`` and ``why`` of each, newest first. Raises LedgerUnavailable."""

    async def health(self) -> tuple[bool, str]:
        """Whether mail leaves, and a sentence on it. Raises LedgerUnavailable."""


class Pages:
    """Each method is a page."""

    def __init__(
        self,
        asks: Asks,
        shown: Shown,
        mails: Mails,
        tariff: TariffFile,
        tokens: Tokens | None = None,
        hooks: Webhooks | None = None,
    ) -> None:
        """``tokens``: whose they are is shown beside what was done by them. ``hooks``: the operator's programs that are
        told what happens."""
        self._asks = asks
        self._shown = shown
        self._mails = mails
        self._tariff = tariff
        self._tokens = tokens
        self._hooks = hooks
        self._figures = Figures(asks.service)

    # --- overview -----------------------------------------------------------------------------------------------

    async def overview(self, visit: Visit) -> Response:
        today = await self._figures.today()
        facts = {
            "today": today,
            "answered": sum(today.calls),
            "charged": format_euro(sum(today.charged)),
            "calls_plot": plots.by_hour(today.calls, "calls"),
            "money_plot": plots.by_hour(today.charged, "charged", money=True),
            "calls": await self._running(),
            "health": await self._health(),
        }
        return self._shown.page(visit, "overview.html", facts)

    async def live(self, visit: Visit) -> Response:
        """The table of running calls, which the page asks for again and again."""
        return self._shown.page(visit, "live.html", {"calls": await self._running()})

    async def calls(self, visit: Visit) -> Response:
        return self._shown.page(visit, "calls.html", {"calls": await self._running()})

    async def _running(self) -> list[Document]:
        """Open calls, the first page; what a fax leaves short is followed."""
        found: list[Document] = []
        cursor = None
        for _ in range(10):
            page = await self._asks.recent("/calls", cursor=cursor, limit=100)
            found += page["items"]
            cursor = page["next"]
            if cursor is None or len(found) >= 100:
                break
        return found

    async def health(self, visit: Visit) -> Response:
        facts = {"health": await self._health(), "hooks": await _shown_hooks(self._hooks)}
        return self._shown.page(visit, "health.html", facts)

    async def _health(self) -> list[dict[str, str]]:
        """Each part: its name, its tone, what is said of it."""
        parts: list[dict[str, str]] = []
        try:
            facts = await self._asks.facts()
            ami = facts.get("ami", "unknown")
            ailing, calls = facts.get("ailing", ""), facts.get("calls", "?")
            told = "1 call" if calls == "1" else f"{calls} calls"
            parts += [
                _part("Switch", ami == "up", f"manager link {ami}, {told} looked after"),
                _part("Ledger", "ledger" not in ailing, ailing or "the daemon writes to it"),
            ]
        except AskFailed as problem:
            parts += [_part("Daemon", False, problem.detail)]
        try:
            async with asyncio.timeout(LOOKED_S):
                good, told = await self._mails.health()
            parts.append(_part("Mail", good, told))
        except (TimeoutError, ChargingError) as error:
            parts.append(_part("Mail", False, f"its queue cannot be read: {error}"))
        tariff = self._asks.service.tariff()
        said = "waits until someone accepts it" if tariff.waiting else "is refused"
        told = (
            f"the last edit {said}; {tariff.revision} stays in force"
            if tariff.refused
            else f"{tariff.revision} in force"
        )
        parts.append(_part("Tariff", not tariff.refused, told))
        parts.append(_part("Web", True, "this process reads and answers"))
        return parts

    # --- search and accounts ------------------------------------------------------------------------------------

    async def search(self, visit: Visit) -> Response:
        sought = visit.request.query_params.get("q", "").strip()[:100]
        if not sought:
            return RedirectResponse("/", 303)
        found = await self._figures.search(sought)
        only = {one.id for one in found.accounts} | {account for _, account in found.numbers}
        if len(only) == 1 and not found.calls:
            return RedirectResponse(f"/accounts/{quote(only.pop())}", 303)
        return self._shown.page(visit, "search.html", {"sought": sought, "found": found})

    async def account(self, visit: Visit) -> Response:
        account = str(visit.request.path_params["account"])
        service = self._asks.service
        balance = await self._asks.get(path("accounts", account, "balance"))
        found = await service.money.journal_page(account, None, JOURNAL_LINES)
        lines = [] if isinstance(found, Refused) else found
        posted = parse_euro(balance["credit"]["posted"])
        points = balance_over_time(lines, posted, service.clock.now().wall_us)
        facts = {
            "account": await self._asks.get(path("accounts", account)),
            "balance": balance,
            "drawn": plots.over_time(points, service.tariff().zone),
            "changes": len(points) - 1,
            "numbers": (await self._asks.get(path("accounts", account, "numbers")))["items"],
            "journal": journal_rows(lines, posted)[:ROWS],
            "cdrs": await self._figures.calls_of(account, CALL_DAYS),
            "mails": await self._mails.of_account(account),
            "done": await self._changes(account),
        }
        return self._shown.page(visit, "account.html", facts)

    async def balance(self, visit: Visit) -> Response:
        """The account's figures, which its page asks for again and again."""
        account = visit.request.path_params["account"]
        balance = await self._asks.recent(path("accounts", account, "balance"))
        return self._shown.page(visit, "balance.html", {"balance": balance})

    async def journal(self, visit: Visit) -> Response:
        account, asked = str(visit.request.path_params["account"]), visit.request.query_params
        balance = await self._asks.get(path("accounts", account, "balance"))
        before, credit = asked.get("before", ""), asked.get("credit", "")
        goes_on = same(asked.get("seal", ""), _seal(visit, account, before, credit))
        posted = int(credit) if goes_on else parse_euro(balance["credit"]["posted"])
        found = await self._asks.service.money.journal_page(account, int(before) if goes_on else None, JOURNAL_LINES)
        lines = [] if isinstance(found, Refused) else found
        oldest = lines[-1].number if len(lines) == JOURNAL_LINES else 1
        older = posted - sum(leg.posted for line in lines for leg in line.legs if leg.balance == CREDIT)
        facts = {
            "name": account,
            "journal": journal_rows(lines, posted),
            "following": oldest if oldest > 1 else None,
            "credit": older,
            "seal": _seal(visit, account, str(oldest), str(older)),
        }
        return self._shown.page(visit, "journal.html", facts)

    async def _changes(self, account: str) -> list[Document]:
        """Who did what to it, the newest first; of a month, or up to a bound."""
        now = datetime.fromtimestamp(self._asks.service.clock.now().wall_us / MICROSECONDS, self._shown.zone())
        since = (now - timedelta(days=CALL_DAYS)).isoformat(timespec="milliseconds")
        found: list[Document] = []
        cursor = None
        for _ in range(50):
            page = await self._asks.get("/changes", account=account, since=since, cursor=cursor, limit=1000)
            found = (found + page["items"])[-ROWS:]
            if (cursor := page["next"]) is None:
                break
        names = {actor: await _whose(self._tokens, actor) for actor in {one["actor"] for one in found}}
        return [one | {"whose": names[one["actor"]]} for one in found[::-1]]

    # --- calls and decisions ------------------------------------------------------------------------------------

    async def call(self, visit: Visit) -> Response:
        session, account = visit.request.path_params["session"], visit.request.query_params.get("account", "")
        running: Document | None = None
        try:
            running = await self._asks.get(path("calls", session))
            account = running["account"]
        except AskFailed as problem:
            if problem.status != 404:
                raise
        cdr = await self._figures.call(session, account) if running is None and account else None
        if running is None and cdr is None:
            raise AskFailed(
                404, {"detail": f"no call {session[:80]} is known", "advice": "look among the account's calls"}
            )
        began = (running or cdr or {}).get("set_up", "")
        decided = [one for one in await self._decided(account=account, about=began) if one["session"] == session]
        facts = {"session": session, "running": running, "cdr": cdr, "decisions": decided, "account": account}
        return self._shown.page(visit, "call.html", facts)

    async def decisions(self, visit: Visit) -> Response:
        asked = visit.request.query_params
        given = {name: asked.get(name, "").strip() for name in ("number", "account", "at")}
        try:
            if given["at"]:
                page = await self._asks.get("/decisions", **given, limit=DECISION_ROWS)
                found = page["items"]
            else:
                found = await self._decided(number=given["number"], account=given["account"])
            refused = ""
        except AskFailed as problem:
            if problem.status not in (404, 422):
                raise
            found, refused = [], problem.detail
        return self._shown.page(
            visit,
            "decisions.html",
            {"decisions": found[::-1], "asked": given, "refused": refused, "most": DECISION_ROWS},
        )

    async def _decided(self, *, number: str = "", account: str = "", about: str = "") -> list[Document]:
        """The newest decisions of the last day, or those about a time; the oldest first."""
        now = datetime.fromtimestamp(self._asks.service.clock.now().wall_us / MICROSECONDS, self._shown.zone())
        middle = datetime.fromisoformat(about) if about else now
        since = middle - (timedelta(minutes=2) if about else timedelta(days=1))
        until = middle + timedelta(minutes=2) if about else None
        found: list[Document] = []
        cursor = None
        for _ in range(50):
            page = await self._asks.get(
                "/decisions",
                number=number,
                account=account,
                since=since.isoformat(timespec="milliseconds"),
                until=until.isoformat(timespec="milliseconds") if until is not None else None,
                cursor=cursor,
                limit=1000,
            )
            found = (found + page["items"])[-DECISION_ROWS:]
            if (cursor := page["next"]) is None:
                break
        return found

    # --- the tariff ---------------------------------------------------------------------------------------------

    async def tariff(self, visit: Visit) -> Response:
        written = await self._tariff.read()
        facts = {
            "tariff": await self._asks.get("/tariff"),
            "problems": [str(one) for one in self._asks.service.tariff().refused],
            "waiting": self._asks.service.tariff().waiting,
            "written": None if isinstance(written, Refused) else written,
            "refused": written.message if isinstance(written, Refused) else "",
        }
        return self._shown.page(visit, "tariff.html", facts)


def _seal(visit: Visit, account: str, before: str, credit: str) -> str:
    """What proves that a page of this login has said how much credit there was: nobody's link makes up a balance."""
    said = f"{account} {before} {credit}".encode()
    return hmac.new(visit.session.csrf.encode(), said, "sha256").hexdigest()


async def _shown_hooks(hooks: Webhooks | None) -> Sequence[WebhookOut]:
    """Each webhook; none where the ledger cannot be read, as the other parts say."""
    if hooks is None:
        return ()
    try:
        async with asyncio.timeout(LOOKED_S):
            return (await list_webhooks(hooks)).items
    except (TimeoutError, ChargingError):
        return ()


def _part(name: str, good: bool, told: str) -> dict[str, str]:
    return {"name": name, "tone": "good" if good else "bad", "word": "well" if good else "ailing", "told": told}


async def _whose(tokens: Tokens | None, actor: str) -> str:
    """The name of a token; empty of anyone else, and of a token that was revoked since."""
    kind, _, id = actor.partition(":")
    return await tokens.name_of(id) if kind == "token" and tokens is not None else ""
