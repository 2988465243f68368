"""Keeps every decision about a call for some days, also those to refuse it, so that people can look up the reason.

**Off the path of the call.** A decision is put into a queue in memory, and the call never waits for it. If the queue is
full, the decision is lost, with a log line and a metric. A task of the daemon writes the queue to the store about once
a second. So a daemon that is killed loses the decisions of its last second, and no money.

**In documents of some decisions each**, under ids in the order of time. One of a busy second holds up to
BATCH_DECISIONS, so a flood costs the store little, and a search reads few. What is kept is bounded by days and by
number. A search is cut into requests of a bounded number of documents: see :meth:`Decisions.page`.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Final, NoReturn

import structlog

from charging.call.decided import Decided, bodies, body, flood_of
from charging.clock import MICROSECONDS, Clock
from charging.errors import LedgerError
from charging.ledger.documents import Document, Documents
from charging.log_limit import LogLimit
from charging.records import dataclass, replace
from charging.safe_text import hidden

COLLECTION = "decisions"
QUEUE_MAX = 10_000
"""Decisions that wait to be written: some minutes of a store that is away, with busy calls."""
FLOODED_PER_MINUTE = 60
"""Of each kind of `charging.call.decided.flood_of` no more are kept: it could push the others out, and fill a disk
until it is pruned."""
BATCH_DECISIONS = 16
"""Of a document, at most: some 8 KiB, which is read in well below a millisecond, and at their longest half of what a
store takes."""
SPAN_S: Final = 60
"""Between the first decision of a document and its last, at most."""
GATHER_S = 1
"""After a decision came, before it is written with those that follow."""
RETRY_S = 10
REST_S = 3600
"""Nothing happens without the bell; also between two rounds of pruning."""
DRAIN_S = 3.0
"""How long a daemon that stops tries."""
PAGE_DOCUMENTS = 100
PAGE_REST_S = 0.05
"""After each page of a walk that nobody waits for."""
EXAMINED_MAX = 1000
"""Documents that one request looks into; the next one goes on from there."""
RECOUNT_ROUNDS = 24
"""Between two counts of all that is stored; in between a daemon adds what it has written itself."""
TRIES_MAX = 20

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Kept:
    """A decision that is stored."""

    id: str
    """Its document's (time, how many it held, daemon and serial), a dot, its place there."""
    decided: Decided


@dataclass(frozen=True, slots=True)
class Sought:
    """Which decisions are wanted."""

    number: str | None = None
    """E.164."""
    account: str | None = None
    since_us: int = 0
    until_us: int | None = None
    """Before it."""

    def may_be_in(self, text: str) -> bool:
        """Whether a document may hold a wanted decision, judged by its text without parsing it."""
        if self.account is not None and f'"account":"{self.account}"' not in text:
            return False
        return self.number is None or any(f'"number":"{one}"' in text for one in (self.number, hidden(self.number)))

    def fits(self, decided: Decided) -> bool:
        """Whether a decision is wanted. Numbers that belong to no account were stored masked."""
        return (
            (self.number is None or decided.number in (self.number, hidden(self.number)))
            and (self.account is None or decided.account == self.account)
            and self.since_us <= decided.at_us
            and (self.until_us is None or decided.at_us < self.until_us)
        )


class DecisionKeeper:
    """Takes the daemon's decisions in, writes them, and forgets the old ones."""

    def __init__(
        self,
        documents: Documents,
        clock: Clock,
        lost: Callable[[str], None] = lambda _why: None,
        *,
        daemon: str = "",
        days: int = 14,
        most: int = 200_000,
    ) -> None:
        """``lost(why)`` is called for each decision that is not kept; it must not wait. ``daemon`` tells this process
        from others in what it keeps; ``days`` and ``most`` bound that by age and by number."""
        self._documents = documents
        self._clock = clock
        self._lost = lost
        self._daemon = daemon
        self._days = days
        self._most = most
        self._queue: deque[Decided] = deque()
        self._came = asyncio.Event()
        self._pending: Document | None = None
        """What was tried to be written; whether the store has it may be unknown, so it stays as it is."""
        self._pending_decisions = 0
        self._token = secrets.token_hex(4)
        self._serial = 0
        self._dropped = 0
        self._log_limit = LogLimit(clock, FLOODED_PER_MINUTE)
        self._total = 0
        """About how many are stored."""
        self._rounds = 0

    def keep(self, decided: Decided) -> None:
        """Queue a decision for writing. Returns at once."""
        flood = flood_of(decided.outcome, decided.reason, decided.number)
        if flood is not None and self._log_limit.more(flood) is None:
            self._lost(decided.reason)
        elif len(self._queue) >= QUEUE_MAX:
            self._dropped += 1
            self._lost("full")
        else:
            self._queue.append(decided)
            self._came.set()

    async def run(self) -> NoReturn:
        """Write what comes, for ever."""
        while True:
            await self._came.wait()
            await self._rest(GATHER_S)
            self._came.clear()
            try:
                await self.write()
            except LedgerError as error:
                log.warning("decisions_delayed", waiting=len(self._queue), why=str(error))
                await self._rest(RETRY_S)
                self._came.set()

    async def write(self) -> None:
        """Write all queued decisions to the store, oldest first. Raises LedgerError; the rest then stays queued."""
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            log.error("decisions_lost", decisions=dropped, waiting=len(self._queue))
        while self._pending is not None or self._queue:
            document = self._pending or self._batch()
            await self._documents.put_document(document.collection, document.id, document.body)
            self._total += self._pending_decisions
            self._pending = None

    async def drain(self) -> None:
        """Write what still waits. For a daemon that stops, after its tasks have ended."""
        with suppress(LedgerError, TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await self.write()
        if waiting := len(self._queue) + (self._pending is not None and self._pending_decisions):
            log.error("decisions_lost", decisions=waiting, waiting=waiting)

    async def prune_for_ever(self) -> NoReturn:
        """Forget what is too old or too much, now and every hour."""
        while True:
            try:
                await self.prune()
            except LedgerError as error:
                log.warning("decisions_not_pruned", why=str(error))
            await self._rest(REST_S)

    async def prune(self) -> None:
        """One round. Raises LedgerError."""
        if self._rounds % RECOUNT_ROUNDS == 0:
            self._total = 0
            async for document in walk(self._documents, self._clock):
                self._total += _count(document.id)
        self._rounds += 1
        before_us = self._clock.now().wall_us - self._days * 24 * 3600 * MICROSECONDS
        pruned = 0
        async for document in walk(self._documents, self._clock):
            if _time(document.id) >= before_us and self._total <= self._most:
                break
            if await self._documents.delete_document(document):
                pruned += _count(document.id)
            self._total -= _count(document.id)
        if pruned:
            log.info("decisions_pruned", decisions=pruned, left=self._total)

    def _batch(self) -> Document:
        first = self._queue[0]
        batch: list[Decided] = []
        while self._queue and len(batch) < BATCH_DECISIONS and _is_near(first, self._queue[0]):
            batch.append(replace(self._queue.popleft().masked(), daemon=self._daemon))
        self._serial += 1
        earliest_us = min(one.at_us for one in batch)
        id = f"{earliest_us:016d}-{len(batch):02d}-{self._token}{self._serial:04x}"
        self._pending, self._pending_decisions = Document(COLLECTION, id, body(batch)), len(batch)
        return self._pending

    async def _rest(self, seconds: float) -> None:
        await self._clock.sleep_until(self._clock.now().plus(seconds).mono_us)


class Decisions:
    """What is kept, as people ask for it."""

    def __init__(self, documents: Documents, clock: Clock) -> None:
        self._documents = documents
        self._clock = clock

    async def page(
        self, sought: Sought, after: str | None, limit: int, *, backwards: bool = False
    ) -> tuple[list[Kept], str | None]:
        """Up to ``limit`` decisions after the one with id ``after``, and the cursor of the next page (``None`` if there
        is none). They come in the order of writing, oldest first; those of one document stand together. ``backwards``:
        those before it, newest first. A page may be short or empty though more follow, since one request reads at most
        EXAMINED_MAX documents. Raises LedgerError."""
        begun, done = (after.rpartition(".")[0], int(after.rpartition(".")[2])) if after is not None else ("", -1)
        found: list[Kept] = []
        examined, place = 0, after
        start = (_start_back if backwards else _start)(sought, begun)
        async for document in walk(self._documents, None, start, backwards=backwards):
            if begun and (document.id > begun if backwards else document.id < begun):
                continue
            if _is_past(document.id, sought, backwards=backwards):
                break
            if examined == EXAMINED_MAX:
                return found, place
            examined += 1
            numbered = list(enumerate(await _read(document, sought)))
            for number, decided in reversed(numbered) if backwards else numbered:
                is_seen = document.id == begun and (number >= done if backwards else number <= done)
                if is_seen or not sought.fits(decided):
                    continue
                if len(found) == limit:
                    return found, found[-1].id
                found.append(Kept(f"{document.id}.{number}", decided))
            place = f"{document.id}.{0 if backwards else max(_count(document.id) - 1, 0)}"
        return found, None

    async def of_account(self, account: str) -> AsyncIterator[Decided]:
        """Every decision about one account; it rests between pages. Raises LedgerError."""
        async for document in walk(self._documents, self._clock):
            for decided in await _read(document, sought := Sought(account=account)):
                if sought.fits(decided):
                    yield decided

    async def forget(self, account: str) -> int:
        """Delete every decision about one account, and return how many. May be repeated. Raises LedgerError."""
        forgotten = 0
        async for document in walk(self._documents, self._clock):
            forgotten += await self._without(document, account)
        return forgotten

    async def _without(self, document: Document, account: str) -> int:
        current: Document | None = document
        for _ in range(TRIES_MAX):
            if current is None:
                break
            decisions = await _read(current, Sought(account=account))
            rest = [one for one in decisions if one.account != account]
            if len(rest) == len(decisions) or await self._replaced(current, rest):
                return len(decisions) - len(rest)
            current = await self._documents.get_document(COLLECTION, document.id)
        return 0

    async def _replaced(self, document: Document, rest: list[Decided]) -> bool:
        if not rest:
            return await self._documents.delete_document(document)
        return await self._documents.update_document(replace(document, body=body(rest)))


async def walk(
    documents: Documents, rests_by: Clock | None, after: str = "", *, backwards: bool = False
) -> AsyncIterator[Document]:
    """Every document of decisions, in order, or from the last on; with a clock, it rests after each page. Raises
    LedgerError."""
    while page := await documents.list_documents(COLLECTION, after, PAGE_DOCUMENTS, backwards=backwards):
        for document in page:
            yield document
        after = page[-1].id
        if rests_by is not None:
            await rests_by.sleep_until(rests_by.now().plus(PAGE_REST_S).mono_us)


async def _read(document: Document, sought: Sought) -> Sequence[Decided]:
    """Those of a document that may hold what is sought. Calls come first: they have the loop before each."""
    if not sought.may_be_in(document.body):
        return ()
    await asyncio.sleep(0)
    try:
        return bodies(document.body)
    except (AttributeError, KeyError, TypeError, ValueError):
        log.error("decisions_unreadable", document=document.id)
        return ()


def _is_near(first: Decided, other: Decided) -> bool:
    return abs(other.at_us - first.at_us) < SPAN_S * MICROSECONDS // 2


def _time(id: str) -> int:
    """Wall clock of the first decision in a document; 0 where the id is none of ours."""
    return int(id[:16]) if id[:16].isdigit() else 0


def _count(id: str) -> int:
    return int(id[17:19]) if id[17:19].isdigit() else 1


def _start(sought: Sought, begun: str) -> str:
    """A place before the first document that can hold what is sought, or of the one that was ``begun``."""
    return begun[:-1] or f"{max(0, sought.since_us - SPAN_S * MICROSECONDS):016d}"


def _start_back(sought: Sought, begun: str) -> str:
    """The same behind the last such document; empty: behind all."""
    if begun:
        return begun + "~"
    return "" if sought.until_us is None else f"{sought.until_us:016d}"


def _is_past(id: str, sought: Sought, *, backwards: bool) -> bool:
    """Whether neither this document nor any further one can hold what is sought."""
    if backwards:
        return _time(id) < sought.since_us - SPAN_S * MICROSECONDS
    return sought.until_us is not None and _time(id) >= sought.until_us
