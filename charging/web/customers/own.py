"""What a customer asks and orders: about his own account, and nothing else.

Every question goes through `Own`, which names the account itself and asks as that customer. So no page can show another
account, or a number that its caller withholds.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from charging.service.actor import acting
from charging.service.refusal import Refused
from charging.service.statements import Statement
from charging.web.asks import AskFailed, Asks, Document, path

CDRS_PAGE = 500
PAGES_MAX = 10
"""That are looked through for what a customer is shown: strangers can make any number of calls to him that he does not
answer, and each has a CDR."""
STILL_US = 60 * 1_000_000
"""So long a balance is shown again though nothing was booked: a month may have begun."""
KNOWN_MAX = 5_000


@dataclass(slots=True)
class _Known:
    """A balance as it was last asked."""

    line: int
    """The newest of the account's journal, before it was asked."""
    asked_mono_us: int
    balance: Document


class Watch:
    """Balances, for all who look at them. The daemon is asked only while a call runs, and after something was booked;
    that is read in the ledger, in this process."""

    def __init__(self, asks: Asks) -> None:
        self._asks = asks
        self._known: dict[str, _Known] = {}

    async def balance(self, account: str) -> Document:
        """What the account has, a second old at most. Raises AskFailed, LedgerError."""
        service = self._asks.service
        lines = await service.money.journal_page(account, None, 1)
        if isinstance(lines, Refused):
            raise AskFailed(404, {"detail": lines.message, "code": lines.code})
        line, now_us = lines[0].number if lines else 0, service.clock.now().mono_us
        known = self._known.get(account)
        if (
            known is not None
            and known.line == line
            and not known.balance["calls"]
            and now_us - known.asked_mono_us < STILL_US
        ):
            return known.balance
        balance = await self._asks.recent(path("accounts", account, "balance"))
        if len(self._known) >= KNOWN_MAX:
            self._known = {key: one for key, one in self._known.items() if now_us - one.asked_mono_us < STILL_US}
        self._known[account] = _Known(line, now_us, balance)
        return balance


class Own:
    """One customer's questions and orders."""

    def __init__(self, asks: Asks, watch: Watch, account: str) -> None:
        self._asks = asks
        self._watch = watch
        self.account = account
        self.actor = f"customer:{account}"

    async def get(self, *parts: str, **params: str | int | None) -> Document:
        """Something of the account. Raises AskFailed."""
        with acting(self.actor):
            return await self._asks.get(path("accounts", self.account, *parts), **params)

    async def balance(self) -> Document:
        """Raises AskFailed, LedgerError."""
        with acting(self.actor):
            return await self._watch.balance(self.account)

    async def calls(self, now: datetime, days: int, most: int) -> list[Document]:
        """The newest CDRs of so many days, the newest first; all who ask for them within a second are answered by one
        look. Raises AskFailed."""
        until = now.astimezone(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
        with acting(self.actor):
            return await self._newest(until - timedelta(days=days), until, most)

    async def faxes(self, most: int) -> list[Document]:
        """The newest faxes, the newest first, those on their way before all; likewise. Of an account that has had
        thousands of calls since there may be none. Raises AskFailed."""
        with acting(self.actor):
            page = await self._asks.recent(path("accounts", self.account, "faxes"), order="desc", limit=most)
            found: list[Document] = page["items"]
            return found[:most]

    async def _newest(self, since: datetime, until: datetime, most: int) -> list[Document]:
        bounds = {"since": since.isoformat(timespec="milliseconds"), "until": until.isoformat(timespec="milliseconds")}
        asked = {"account": self.account, "order": "desc", **bounds}
        found: list[Document] = []
        cursor: str | None = None
        for _ in range(PAGES_MAX):
            page = await self._asks.recent("/cdrs", limit=min(most, CDRS_PAGE), cursor=cursor, **asked)
            found += page["items"]
            cursor = page["next"]
            if len(found) >= most or cursor is None:
                break
        return found[:most]

    async def statement(self, month: str) -> Statement | Refused:
        """Raises LedgerError."""
        with acting(self.actor):
            return await self._asks.service.statements.of(self.account, month)

    async def order(self, method: str, body: Document | None, *parts: str, key: str = "", **params: str) -> Document:
        """A change of the account, at most once for each key. Raises AskFailed."""
        return await self._order(method, path("accounts", self.account, *parts), body, key, params)

    async def hand_in(self, document: bytes, *parts: str, key: str, **params: str) -> Document:
        """A document of the account's, at most once for each key. Raises AskFailed."""
        place = path("accounts", self.account, *parts)
        return await self._asks.hand_in(place, document, key, by=self.actor, params=params)

    async def forward(self, number: str, forward_to: str) -> Document:
        """Set where one of the account's numbers forwards to. Raises AskFailed, also for a number of someone else."""
        return await self._order("PATCH", path("numbers", number), {"forward_to": forward_to}, "", {})

    async def _order(
        self, method: str, place: str, body: Document | None, key: str, params: dict[str, str]
    ) -> Document:
        key = key or f"page-{secrets.token_hex(12)}"
        return await self._asks.order(method, place, body, key, by=self.actor, params=params)
