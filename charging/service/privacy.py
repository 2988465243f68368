"""Personal data that has outlived its use: the telephone numbers of others in old CDRs lose their last digits.

Money, durations and destinations stay, so that statements and audits are as they were. What is hidden already stays as
it is, so all of this may be repeated, and done by several daemons at once.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, NoReturn

import structlog

from charging.clock import MICROSECONDS, Clock
from charging.errors import LedgerError
from charging.ledger.model import CdrRow
from charging.ledger.port import Store

OTHERS_NUMBERS = ("caller", "target")
"""The members of a CDR that name other people; the customer's own ``number`` is not among them."""
HIDDEN = "xxxx"
PAGE_ROWS = 500
PAGE_REST_S = 0.2
"""Between two pages, so that calls never wait for this."""
ROUND_REST_S = 3600
DAY_US = 24 * 3600 * MICROSECONDS

log = structlog.get_logger(__name__)

Place = tuple[int, str]
"""A CDR's (ended_us, session)."""


def hidden(number: str) -> str:
    """The number without its last four digits; what is no telephone number is hidden whole."""
    if not number or number.endswith(HIDDEN):
        return number
    front, last = number[: -len(HIDDEN)], number[-len(HIDDEN) :]
    return (front if last.isdigit() else "") + HIDDEN


def without_numbers(document: str) -> str:
    """A CDR's JSON with the numbers of others hidden; a text that is no JSON object is left to the audit's reader."""
    try:
        cdr: Any = json.loads(document)
    except ValueError:
        return document
    if not isinstance(cdr, dict):
        return document
    shown = {name: cdr[name] for name in OTHERS_NUMBERS if isinstance(cdr.get(name), str)}
    kept = {name: hidden(number) for name, number in shown.items()}
    return document if kept == shown else json.dumps(cdr | kept, separators=(",", ":"))


async def hide_numbers(store: Store, before_us: int, after: Place | None = None) -> AsyncIterator[tuple[int, Place]]:
    """Hide the numbers in CDRs that ended before ``before_us``, page by page: how many of the page were changed, and
    its last place, from which another run may go on (``after``). Raises LedgerError."""
    while rows := await store.cdrs(until_us=before_us, after=after, limit=PAGE_ROWS):
        changed = [new for row in rows if (new := _hidden_row(row)) != row]
        await store.replace_cdrs(changed)
        after = rows[-1].ended_us, rows[-1].session
        yield len(changed), after


def _hidden_row(row: CdrRow) -> CdrRow:
    return replace(row, document=without_numbers(row.document))


class NumberHider:
    """The daemon's task: hides what has become older than the operator's number of days."""

    def __init__(self, store: Store, clock: Clock, days: int) -> None:
        """``days``: at least 1."""
        self._store = store
        self._clock = clock
        self._days = days
        self._done: Place | None = None
        """Where the next round goes on. A new daemon begins anew, and finds what was booked late."""

    async def run(self) -> NoReturn:
        """For ever."""
        while True:
            try:
                await self.round()
            except LedgerError as error:
                log.warning("numbers_not_hidden", why=str(error))
            await self._rest(ROUND_REST_S)

    async def round(self) -> None:
        """Everything that is due now. Raises LedgerError."""
        before_us = self._clock.now().wall_us - self._days * DAY_US
        total = 0
        async for changed, place in hide_numbers(self._store, before_us, self._done):
            self._done = place
            total += changed
            await self._rest(PAGE_REST_S)
        if total:
            log.info("numbers_hidden", cdrs=total)

    async def _rest(self, seconds: float) -> None:
        await self._clock.sleep_until(self._clock.now().plus(seconds).mono_us)
