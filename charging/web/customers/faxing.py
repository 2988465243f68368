"""Sending a fax from the page: the page shows the price, and the fax is sent once the customer confirms (R14).

Until then the document is kept in this process's memory, for this customer alone; a restart loses it. The daemon counts
the pages and checks the credit again when the fax is sent.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from charging.clock import MICROSECONDS, Clock
from charging.ledger.accounts import Language
from charging.limits import Limits
from charging.pricing.money import format_euro, parse_euro
from charging.service.fax_words import obstacle_in_words
from charging.service.refusal import Obstacle
from charging.web.asks import AskFailed, Document
from charging.web.customers.gate import CustomerGate, Visit
from charging.web.customers.shown import Shown
from charging.web.customers.words import WORDS
from charging.web.multipart import Document as Upload

DRAFTS_BYTES_MAX = 100_000_000
"""Of all customers' documents that wait."""
DRAFT_S = 900
CHECKS_PER_MINUTE = 6
"""Of one account: each may keep the program busy that reads documents."""
FAXES_SHOWN = 10
NUMBERS_SHOWN = 100


@dataclass(slots=True)
class Draft:
    """A document that waits for its customer's word."""

    account: str
    checked: Document
    """What it would cost."""
    name: str
    data: bytes
    made_mono_us: int
    id: str = field(default_factory=lambda: secrets.token_hex(16))
    """Also the key under which it is sent, so once."""
    sent: str = ""
    """The fax that it has become."""


class Drafts:
    """One of each login, and so many bytes in all."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[str, Draft] = {}
        """By login, the oldest first."""

    def keep(self, visit: Visit, checked: Document, document: Upload) -> Draft:
        """In the place of what the same login had before. If there is no room, the oldest of the account goes that has
        most, so that nobody drives out others by logging in again and again; not this one, for its customer looks at
        it next."""
        login, now_us = visit.session.csrf, self._clock.now().mono_us
        self._kept = {key: one for key, one in self._kept.items() if key != login and not self._is_old(one)}
        made = Draft(visit.own.account, checked, document.name, document.data, now_us)
        held = Counter({made.account: len(made.data)})
        for one in self._kept.values():
            held[one.account] += len(one.data)
        while self._kept and held.total() > DRAFTS_BYTES_MAX:
            goes = max(self._kept, key=lambda key: held[self._kept[key].account])
            held[self._kept[goes].account] -= len(self._kept.pop(goes).data)
        self._kept[login] = made
        return made

    def of(self, visit: Visit, id: str = "") -> Draft | None:
        """The login's own, if it is the one of this id."""
        found = self._kept.get(visit.session.csrf)
        if found is None or found.account != visit.own.account or id not in ("", found.id):
            return None
        return None if self._is_old(found) else found

    def _is_old(self, one: Draft) -> bool:
        return self._clock.now().mono_us - one.made_mono_us > DRAFT_S * MICROSECONDS


class Faxing:
    """Each method is a page."""

    def __init__(self, shown: Shown, clock: Clock, document_bytes: int) -> None:
        """``document_bytes``: the largest document."""
        self._shown = shown
        self._clock = clock
        self._bytes = document_bytes
        self._drafts = Drafts(clock)
        self._checks = Limits(CHECKS_PER_MINUTE)

    def routes(self, gate: CustomerGate) -> Sequence[Route]:
        return (
            Route("/fax", gate.guarded(self.begin)),
            Route("/fax", gate.guarded(self.check, document_bytes=self._bytes), methods=["POST"]),
            Route("/fax/ready", gate.guarded(self.ready)),
            Route("/fax/ready", gate.guarded(self.send), methods=["POST"]),
            Route("/fax/sent/{session}", gate.guarded(self.sent)),
        )

    async def begin(self, visit: Visit) -> Response:
        """Which document, and where to."""
        return await self._form(visit, {}, "")

    async def check(self, visit: Visit) -> Response:
        """Read a document, and say what it would cost."""
        t, typed = WORDS[visit.language], {name: visit.form.get(name, "").strip()[:40] for name in ("target", "number")}
        if visit.document is None or not visit.document.data:
            return await self._form(visit, typed, t["fax_no_document"], status=422)
        if len(visit.document.data) > self._bytes:
            return await self._form(visit, typed, obstacle_in_words(Obstacle.TOO_LARGE, visit.language), status=422)
        if self._checks.take(visit.own.account, self._clock.now().mono_us):
            return await self._form(visit, typed, t["too_often"], status=429)
        try:
            checked = await visit.own.hand_in(visit.document.data, "fax-checks", key="", **typed)
        except AskFailed as problem:
            return await self._form(visit, typed, self._why(problem, visit.language), status=_status(problem))
        self._drafts.keep(visit, checked, visit.document)
        return RedirectResponse("/fax/ready", 303)

    async def ready(self, visit: Visit) -> Response:
        """Its pages, its price, and whether the credit suffices as it is now."""
        draft = self._drafts.of(visit)
        if draft is None:
            return RedirectResponse("/fax", 303)
        return await self._page(visit, draft, "")

    async def send(self, visit: Visit) -> Response:
        """Once, however often the button is pressed."""
        draft = self._drafts.of(visit, visit.form.get("draft", "-"))
        if draft is None:
            visit.session.said.append(("warn", WORDS[visit.language]["fax_gone"]))
            return RedirectResponse("/fax", 303)
        if not draft.sent:
            to, number, agreed = (draft.checked[name] for name in ("target", "number", "cost"))
            asked = {"target": to, "number": number, "name": draft.name[:500], "cost_max": agreed}
            try:
                made = await visit.own.hand_in(draft.data, "faxes", key=f"page-{draft.id}", **asked)
            except AskFailed as problem:
                if problem.obstacle == Obstacle.PRICE:
                    draft.checked = await visit.own.hand_in(draft.data, "fax-checks", key="", target=to, number=number)
                return await self._page(visit, draft, self._why(problem, visit.language), status=_status(problem))
            draft.sent = str(made["session"])
        return RedirectResponse(f"/fax/sent/{draft.sent}", 303)

    async def sent(self, visit: Visit) -> Response:
        """What became of it."""
        fax = await visit.own.get("faxes", visit.request.path_params["session"])
        return self._shown.page(visit, "fax_sent.html", {"fax": fax, "waits": fax["ended"] is None})

    async def _form(self, visit: Visit, typed: Mapping[str, str], wrong: str, *, status: int = 200) -> Response:
        facts = {
            "numbers": (await visit.own.get("numbers", limit=NUMBERS_SHOWN))["items"],
            "faxes": await visit.own.faxes(FAXES_SHOWN),
            "size": size(self._bytes),
            "typed": typed,
            "wrong": wrong,
        }
        return self._shown.page(visit, "fax.html", facts, status=status)

    async def _page(self, visit: Visit, draft: Draft, wrong: str, *, status: int = 200) -> Response:
        balance = await visit.own.balance()
        available = sum(parse_euro(one["available"]) for one in (balance["credit"], *balance["promotional"]))
        missing = max(0, parse_euro(draft.checked["cost"]) - available)
        facts: dict[str, Any] = {
            "draft": draft,
            "fax": draft.checked,
            "available": format_euro(available),
            "missing": format_euro(missing) if missing else "",
            "wrong": wrong,
        }
        return self._shown.page(visit, "fax_ready.html", facts, status=status)

    @staticmethod
    def _why(problem: AskFailed, language: Language) -> str:
        """What is wrong, in a customer's words."""
        if problem.obstacle in set(Obstacle):
            return obstacle_in_words(Obstacle(problem.obstacle), language)
        word = {402: "fax_short", 404: "not_there", 413: "fax_large"}.get(problem.status, "fax_later")
        return WORDS[language][word]


def _status(problem: AskFailed) -> int:
    return problem.status if problem.status < 500 else 503


def size(octets: int) -> str:
    """How large a document may be, in whole units that are not more than that: ``10 MB``, ``500 kB``."""
    return f"{octets // 1_000_000} MB" if octets % 1_000_000 == 0 or octets >= 10_000_000 else f"{octets // 1_000} kB"
