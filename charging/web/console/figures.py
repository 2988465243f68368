"""What the console counts and searches: reading in pages, up to a bound, in the process that decides no call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

from charging.clock import MICROSECONDS, iso
from charging.ledger.accounts import Account
from charging.ledger.balances import is_free_seconds, money_in
from charging.ledger.model import CREDIT, JournalLine
from charging.pricing.money import format_euro, parse_euro
from charging.service.money import reason_shown
from charging.service.privacy import cdr_shown
from charging.service.refusal import Refused
from charging.service.service import Service

PAGE_ROWS = 1_000
ROWS_MAX = 50_000
"""Looked into for one answer."""
FOUND_MAX = 50
CALLER_DAYS = 14
FRESH_US = 20 * MICROSECONDS
"""How long a day's figures are shown again as they are."""
HOURS = 24
HOUR_US = 3600 * MICROSECONDS


@dataclass(slots=True)
class Today:
    """From midnight on, by hour; money in micro-euro."""

    calls: list[int] = field(default_factory=lambda: [0] * HOURS)
    """Answered ones, that have ended."""
    charged: list[int] = field(default_factory=lambda: [0] * HOURS)
    seconds: int = 0
    missed: int = 0
    """Not answered by anyone."""
    others: int = 0
    """Messages and faxes."""
    complete: bool = True
    """``False``: there are more than were counted."""


@dataclass(slots=True)
class Found:
    """What a search has come upon."""

    accounts: list[Account] = field(default_factory=list)
    numbers: list[tuple[str, str]] = field(default_factory=list)
    """With their accounts."""
    calls: list[dict[str, Any]] = field(default_factory=list)
    """CDRs, the newest first."""
    complete: bool = True


class Figures:
    """Over a service that only reads."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._today: tuple[int, Today] | None = None
        self._counting = asyncio.Lock()

    async def today(self) -> Today:
        """At most FRESH_US old, counted once for all who ask. Raises LedgerUnavailable."""
        async with self._counting:
            now_us = self._service.clock.now().wall_us
            if self._today is None or not 0 <= now_us - self._today[0] < FRESH_US:
                counted = await self._count(now_us)
                self._today = (self._service.clock.now().wall_us, counted)
            return self._today[1]

    async def _count(self, now_us: int) -> Today:
        tariff = self._service.tariff()
        zone, counted, rows = ZoneInfo(tariff.zone), Today(), 0
        midnight = datetime.combine(tariff.day_of(now_us), time(), zone)
        async for ended_us, cdr in self._cdrs(round(midnight.timestamp()) * MICROSECONDS):
            rows += 1
            hour = datetime.fromtimestamp(ended_us / MICROSECONDS, zone).hour
            counted.charged[hour] += _micro(cdr)
            if cdr.get("service", "forward") != "forward":
                counted.others += 1
            elif cdr.get("answered"):
                counted.calls[hour] += 1
                counted.seconds += int(cdr.get("charged_s") or 0)
            else:
                counted.missed += 1
        counted.complete = rows < ROWS_MAX
        return counted

    async def _cdrs(
        self, since_us: int, account: str | None = None, until_us: int | None = None
    ) -> AsyncIterator[tuple[int, dict[str, Any]]]:
        """Up to ROWS_MAX, the oldest first."""
        after: tuple[int, str] | None = None
        for _ in range(ROWS_MAX // PAGE_ROWS):
            page = await self._service.cdrs(
                account=account, since_us=since_us, until_us=until_us, after=after, limit=PAGE_ROWS
            )
            if isinstance(page, Refused) or not page:
                return
            for row in page:
                if (cdr := cdr_shown(row.document)) is not None:
                    yield row.ended_us, cdr
            after = page[-1].ended_us, page[-1].session

    async def calls_of(self, account: str, days: int) -> list[dict[str, Any]]:
        """The account's newest CDRs of so many days, the newest first: in spans that double, for a store reads the
        oldest of a span first."""
        now_us, found = self._service.clock.now().wall_us, list[dict[str, Any]]()
        first_us = now_us - days * 86_400 * MICROSECONDS
        until_us, span_us = now_us + HOUR_US, 2 * HOUR_US
        while until_us > first_us and len(found) < FOUND_MAX:
            since_us = max(first_us, until_us - span_us)
            found += [cdr async for _, cdr in self._cdrs(since_us, account, until_us)][::-1]
            until_us, span_us = since_us, 2 * span_us
        return found[:FOUND_MAX]

    async def call(self, session: str, account: str) -> dict[str, Any] | None:
        """The CDR of a call that is over; ``None``: there is none that can be read."""
        row = await self._service.cdr(account, session)
        return None if isinstance(row, Refused) else cdr_shown(row.document)

    async def search(self, sought: str) -> Found:
        """Accounts by id (or how it begins) or mail address, numbers, and calls of a caller. Raises LedgerError."""
        found = Found()
        text = sought.strip()
        lower = text.lower()
        if "@" in text:
            await self._by_email(lower, found)
            return found
        exact = await self._service.accounts.get(lower)
        if not isinstance(exact, Refused):
            found.accounts.append(exact)
        beginning = await self._service.accounts.page(lower, FOUND_MAX)
        found.accounts += [one for one in beginning if one.id.startswith(lower)]
        normal = self._service.tariff().normalise(text) if any(sign.isdigit() for sign in text) else None
        if normal is not None:
            known = await self._service.numbers.get(normal)
            if not isinstance(known, Refused):
                found.numbers.append((known.number, known.account))
            await self._by_caller(normal, found)
        return found

    async def _by_email(self, address: str, found: Found) -> None:
        after, rows = "", 0
        while page := await self._service.accounts.page(after, PAGE_ROWS):
            found.accounts += [one for one in page if address in one.email.lower()]
            after, rows = page[-1].id, rows + len(page)
            if len(found.accounts) >= FOUND_MAX or rows >= ROWS_MAX:
                found.complete = len(page) < PAGE_ROWS
                return

    async def _by_caller(self, caller: str, found: Found) -> None:
        """Hour by hour, the newest first: a store reads the oldest of a span first."""
        until_us, rows = self._service.clock.now().wall_us + HOUR_US, 0
        for _ in range(CALLER_DAYS * HOURS + 1):
            of_hour = []
            async for _, cdr in self._cdrs(until_us - HOUR_US, until_us=until_us):
                rows += 1
                if cdr.get("caller") == caller and not cdr.get("withheld"):
                    of_hour.append(cdr)
            found.calls += of_hour[::-1]
            until_us -= HOUR_US
            if rows >= ROWS_MAX or len(found.calls) >= FOUND_MAX:
                found.complete = False
                break
        del found.calls[FOUND_MAX:]


@dataclass(frozen=True, slots=True)
class JournalRow:
    """A line of a journal, or all lines of one call that follow one another."""

    first: int
    last: int
    at: str
    """Of the last of them."""
    kind: str
    credit: str
    promotional: str
    """Empty: none."""
    free_seconds: int
    after: str
    """Posted credit after it."""
    reason: str
    session: str
    id: str
    actor: str


def journal_rows(lines: Sequence[JournalLine], posted: int) -> list[JournalRow]:
    """``lines`` newest first, ``posted`` is the credit after them. Pure."""
    rows: list[JournalRow] = []
    for _, group in groupby(lines, key=lambda line: line.session or line.id):
        of_one = list(group)
        newest, legs = of_one[0], [leg for line in of_one for leg in line.legs]
        credit = sum(leg.posted for leg in legs if leg.balance == CREDIT)
        given = money_in(legs) - credit
        free = sum(leg.posted for leg in legs if is_free_seconds(leg.balance))
        kind = "charged" if newest.session else newest.kind
        reason = next((told for line in of_one if (told := reason_shown(line))), "")
        at, after = iso(newest.at_us), format_euro(posted)
        first, euro = of_one[-1].number, format_euro(credit)
        session, promotional = newest.session or "", format_euro(given) if given else ""
        amounts = euro, promotional, free, after
        rows.append(JournalRow(first, newest.number, at, kind, *amounts, reason, session, newest.id, newest.actor))
        posted -= credit
    return rows


def _micro(cdr: dict[str, Any]) -> int:
    try:
        return parse_euro(str(cdr.get("cost", "0")))
    except ValueError:
        return 0


def balance_over_time(lines: Sequence[JournalLine], posted: int, now_us: int) -> list[tuple[int, int]]:
    """Posted credit (micro-euro) at each change, oldest first: ``lines`` are the newest of a journal, newest first,
    ``posted`` is the credit after them. Pure."""
    points = [(now_us, posted)]
    for line in lines:
        change = sum(leg.posted for leg in line.legs if leg.balance == CREDIT)
        if change:
            points.append((min(line.at_us, points[-1][0]), posted))
            posted -= change
    return points[::-1]
