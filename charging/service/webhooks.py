"""The delivery state of each webhook endpoint: how far events were delivered, and which ones its receiver has not
taken. Stored as documents, which only the daemon writes.

One process at a time sends to an endpoint: the one that holds the endpoint's *turn*. The turn lapses unless it is
renewed, so daemons on a shared ledger can take over from each other. Their clocks are not compared: a process that
waits takes the turn once it has seen no renewal for TURN_S by its own monotonic clock. The stored place is moved only
after the delivery. A sender that is killed in between delivers the event again, with the same id (at least once).

A *letter* is an event that the receiver has not taken. It is tried again at growing intervals. After its last try it is
*dead* and waits for an operator. Meanwhile later events of the same account become letters too, untried, so that each
account's events stay in order; other accounts go on. A letter names its event and has no copy of it. Of an account that
has many, the last stands for its event *and the rest*, all that follows it: so the account goes on having few letters
for as long as its events are refused.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace

import structlog

from charging.clock import MICROSECONDS, Clock
from charging.errors import LedgerCorrupt
from charging.ledger.documents import Document, Documents
from charging.ledger.port import Store
from charging.records import Codec
from charging.service.changes import Act, Changes
from charging.service.events import Place
from charging.service.refusal import Code, Refused

ENDPOINTS = "webhooks"
LETTERS = "webhook-letters"
FAILURES = "webhook-failures"
TURN_S = 60
"""After so long without a word from who has it, another takes the turn."""
BEHIND_S = 10
"""So old an event should be told by now."""
PAGE = 100


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What is remembered of one, by the name that the settings give it."""

    place: str
    """Behind what was delivered or has become a letter."""
    holder: str = ""
    until_us: int = 0
    """Wall clock of who has the turn: its end, for people. Nothing is judged by it."""
    off: bool = False
    """The receiver has said that it is gone (410). Nothing is sent until someone says so."""

    @property
    def begins(self) -> Place:
        """Where to go on."""
        place, _, part = self.place.partition(".")
        return Place(int(place), int(part or 0))


@dataclass(frozen=True, slots=True)
class Letter:
    """An event that was not taken."""

    event: str
    """Its id in the stream of all accounts."""
    account: str
    what: str
    at_us: int
    """When it happened."""
    why: str
    tries: int = 0
    next_us: int | None = 0
    """Wall clock: when it is tried again, once those before it of its account were taken; ``None``: it is dead."""
    rest: bool = False
    """It stands for all later events of its account, too. Once it is taken, one for the next takes its place."""
    skipped: bool = False
    """Of one for the rest: its own event was given up, and counts as taken."""


@dataclass(frozen=True, slots=True)
class Failing:
    """What people read about an endpoint whose last try has failed, by its name. Beside its `Endpoint`, which older
    programs read."""

    why: str
    next_us: int | None = None
    """Wall clock, µs: when the stream goes on that waits for the receiver; ``None``: it does not wait."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a sender has seen since its last report."""

    told_us: int
    """Wall clock, µs: all earlier events were delivered or have become letters."""
    waiting: int = 0
    """Letters that are tried again."""
    dead: int = 0
    taken: int = 0
    """Deliveries."""
    failed: int = 0
    """Tries that have failed."""
    why: str = ""
    """Why the last try has failed; empty: it has not."""
    next_us: int | None = None
    """As of `Failing`."""


log = structlog.get_logger(__name__)

Observe = Callable[[str, Endpoint | None, Report | None], None]
"""Told an endpoint's name and what became of it; no Endpoint: another daemon sends."""

_ENDPOINT = Codec(Endpoint)
_LETTER = Codec(Letter)
_FAILING = Codec(Failing)


class _Stillness:
    """Of documents that others write: for how long they have not."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: dict[str, tuple[int, int]] = {}
        """By id: the version that was seen last, and since when (monotonic, µs)."""

    def lasts(self, stored: Document) -> bool:
        """Whether nothing was written for as long as a turn lasts, and we have seen it."""
        mono_us = self._clock.now().mono_us
        version, since_us = self._seen.get(stored.id, (0, 0))
        if version != stored.version:
            self._seen[stored.id] = stored.version, mono_us
            return False
        return mono_us - since_us >= TURN_S * MICROSECONDS


class _Failures:
    """Whether the last try has failed, by endpoint: written if it is another than before."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._written: dict[str, Failing | None] = {}

    def forget(self, name: str) -> None:
        """Another daemon may write it from now on."""
        self._written.pop(name, None)

    async def note(self, name: str, failing: Failing | None) -> None:
        """Store it. Raises LedgerError."""
        if name in self._written and self._written[name] == failing:
            return
        stored = await self._documents.get_document(FAILURES, name)
        if failing is None:
            if stored is not None:
                await self._documents.delete_document(stored)
        elif stored is None:
            await self._documents.put_document(FAILURES, name, _FAILING.dump(failing))
        else:
            await self._documents.update_document(replace(stored, body=_FAILING.dump(failing)))
        self._written[name] = failing


class Webhooks:
    """What is written of them."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        names: Sequence[str] = (),
        holder: str = "",
        observe: Observe = lambda _name, _endpoint, _report: None,
    ) -> None:
        """``names`` are the endpoints that the settings have, ``holder`` is this daemon among those that share the
        ledger."""
        self.store = store
        self.clock = clock
        self.names = tuple(names)
        self._holder = holder
        self._observe = observe
        self._changes = Changes(store, clock)
        self._unreadable: set[str] = set()
        self._failures = _Failures(store.documents)
        self._others = _Stillness(clock)

    async def take(self, name: str) -> Endpoint | Refused:
        """Take the turn, or keep it. A new endpoint gets the events from now on. Raises LedgerError."""
        if name not in self.names:
            return _unknown(name)
        while (stored := await self.store.documents.get_document(ENDPOINTS, name)) is None:
            first = Endpoint(str(await self.store.feed.last_place()))
            await self.store.documents.put_document(ENDPOINTS, name, _ENDPOINT.dump(first))
        endpoint = _endpoint(stored)
        if endpoint.holder not in ("", self._holder) and not self._others.lasts(stored):
            return self._lost(name)
        mine = replace(endpoint, holder=self._holder, until_us=self.clock.now().wall_us + TURN_S * MICROSECONDS)
        return await self._write(name, stored, mine, None)

    async def move(self, name: str, place: str, report: Report, *, off: bool = False) -> Endpoint | Refused:
        """Store how far events were delivered, and keep the turn. Refused if another has taken it. Raises
        LedgerError."""
        stored = await self.store.documents.get_document(ENDPOINTS, name)
        if stored is None or (endpoint := _endpoint(stored)).holder != self._holder:
            return self._lost(name)
        until_us = self.clock.now().wall_us + TURN_S * MICROSECONDS
        moved = replace(endpoint, place=place, until_us=until_us, off=endpoint.off or off)
        answer = await self._write(name, stored, moved, report)
        if not isinstance(answer, Refused):
            await self._failures.note(name, Failing(report.why, report.next_us) if report.why else None)
        return answer

    async def bury(self, name: str, letter: Letter) -> None:
        """Store a letter; one that is stored already stays as it is. Raises LedgerError."""
        await self.store.documents.put_document(LETTERS, _letter_id(name, letter.event), _LETTER.dump(letter))

    async def failed(self, name: str, letter: Letter) -> None:
        """Note that a letter was tried again without success, unless its event was given up meanwhile. Raises
        LedgerError."""
        if (stored := await self.store.documents.get_document(LETTERS, _letter_id(name, letter.event))) is None:
            return
        if (kept := _readable(stored, self._unreadable)) is None or not kept.skipped:
            await self.store.documents.update_document(replace(stored, body=_LETTER.dump(letter)))

    async def taken(self, name: str, event: str) -> None:
        """Delete a letter that the receiver has taken. Raises LedgerError."""
        if (stored := await self.store.documents.get_document(LETTERS, _letter_id(name, event))) is not None:
            await self.store.documents.delete_document(stored)

    async def letters(self, name: str) -> AsyncIterator[Letter]:
        """An endpoint's letters, in the order of their events. Raises LedgerError."""
        after: str | None = ""
        while after is not None:
            found, after = await self.page(name, after, PAGE)
            for one in found:
                yield one

    async def page(self, name: str, after: str, limit: int) -> tuple[list[Letter], str | None]:
        """Up to ``limit`` letters after the one of the event ``after`` (empty: from the first), and the cursor of the
        next page (``None`` if there is none). Raises LedgerError."""
        found = await _letters(self.store.documents, name, after, limit)
        letters = [letter for one in found if (letter := _readable(one, self._unreadable)) is not None]
        return letters, _event_of(found[-1]) if len(found) == limit else None

    async def state(self, name: str) -> Endpoint | Refused | None:
        """The stored state of an endpoint; ``None`` if nothing was sent to it yet. Raises LedgerError."""
        stored = await self.store.documents.get_document(ENDPOINTS, name)
        if stored is None:
            return None if name in self.names else _unknown(name)
        return _endpoint(stored)

    async def former(self) -> Sequence[str]:
        """Endpoints that the settings have no longer, and of which something is remembered. Raises LedgerError."""
        found, after = [], ""
        while page := await self.store.documents.list_documents(ENDPOINTS, after, PAGE):
            found += [one.id for one in page if one.id not in self.names]
            after = page[-1].id
        return found

    async def forget(self, name: str, after: str) -> tuple[int, str | None] | Refused:
        """Delete letters of an endpoint that is no longer in the settings, page by page; with the last page its state
        too. Returns how many letters, and the cursor of the next page as `page`. Raises LedgerError."""
        if name in self.names:
            advice = "take it out of the settings first; charging webhook drop gives a single letter up"
            return Refused(Code.CONFLICT, f"the settings have webhook {name}", advice)
        if (endpoint := await self.store.documents.get_document(ENDPOINTS, name)) is None:
            return _unknown(name)
        if not after:
            await self._changes.noted(Act.WEBHOOK_DROPPED, after={"webhook": name})
        found = await _letters(self.store.documents, name, after, PAGE)
        for one in found:
            await self.store.documents.delete_document(one)
        if len(found) == PAGE:
            return len(found), _event_of(found[-1])
        await self._failures.note(name, None)
        await self.store.documents.delete_document(endpoint)
        return len(found), None

    async def resend(self, name: str, after: str, limit: int) -> tuple[int, str | None] | Refused:
        """Have letters tried again now, dead ones too, and switch the endpoint on. Returns how many letters, and the
        cursor of the next page as `page`. Raises LedgerError."""
        if name not in self.names:
            is_former = await self.store.documents.get_document(ENDPOINTS, name) is not None
            return _former(name) if is_former else _unknown(name)
        if not after:
            await self._changes.noted(Act.WEBHOOK_RESENT, after={"webhook": name})
        found = await _letters(self.store.documents, name, after, limit)
        count = 0
        for one in found:
            if (letter := _readable(one, self._unreadable)) is not None:
                again = _LETTER.dump(replace(letter, tries=0, next_us=0))
                count += await self.store.documents.update_document(replace(one, body=again))
        # Its sender may write meanwhile; so it is asked again until it is on.
        while (stored := await self.store.documents.get_document(ENDPOINTS, name)) is not None:
            if not (endpoint := _endpoint(stored)).off:
                break
            on = _ENDPOINT.dump(replace(endpoint, off=False))
            await self.store.documents.update_document(replace(stored, body=on))
        return count, _event_of(found[-1]) if len(found) == limit else None

    async def drop(self, name: str, event: str, *, rest: bool = False) -> Letter | Refused:
        """Delete a letter undelivered, so that its account goes on; of one for the rest its own event alone is given
        up, unless ``rest`` says that all that followed is, too. Raises LedgerError."""
        if isinstance(unknown := await self.state(name), Refused):
            return unknown
        documents, place = self.store.documents, _letter_id(name, event)
        stored = await documents.get_document(LETTERS, place)
        letter = None if stored is None else _readable(stored, self._unreadable)
        if stored is None or letter is None:
            return Refused(Code.NOT_FOUND, f"there is no letter of {event} to webhook {name}")
        facts = {"webhook": name, "event": event, "type": letter.what}
        await self._changes.noted(Act.WEBHOOK_DROPPED, account=letter.account, after=facts)
        if letter.rest and not rest:
            body = _LETTER.dump(replace(letter, skipped=True, tries=0, next_us=0))
            while not await documents.update_document(replace(stored, body=body)):  # its sender has written meanwhile
                if (stored := await documents.get_document(LETTERS, place)) is None:
                    break
        else:
            await documents.delete_document(stored)
        return letter

    async def _write(
        self, name: str, stored: Document, endpoint: Endpoint, report: Report | None
    ) -> Endpoint | Refused:
        if not await self.store.documents.update_document(replace(stored, body=_ENDPOINT.dump(endpoint))):
            return self._lost(name)
        self._observe(name, endpoint, report)
        return endpoint

    def _lost(self, name: str) -> Refused:
        self._failures.forget(name)
        self._observe(name, None, None)
        return Refused(Code.CONFLICT, f"another daemon sends to webhook {name}")


async def failing(documents: Documents, name: str) -> Failing | None:
    """Why the last try to send to an endpoint has failed; ``None``: it has not. Raises LedgerUnavailable,
    LedgerCorrupt."""
    stored = await documents.get_document(FAILURES, name)
    try:
        return None if stored is None else _FAILING.load(stored.body)
    except ValueError as error:
        raise LedgerCorrupt(f"{FAILURES}/{name} cannot be read") from error


async def behind_us(webhooks: Webhooks, endpoint: Endpoint) -> int | None:
    """When the first event happened that an endpoint was not told yet (wall clock, µs); ``None`` if it was told all, or
    it has just happened. Raises LedgerError."""
    untold = await webhooks.store.feed.read_feed(endpoint.begins.place, 1)
    late_us = webhooks.clock.now().wall_us - BEHIND_S * MICROSECONDS
    return untold[0].place if untold and untold[0].place <= late_us else None


async def _letters(documents: Documents, name: str, after: str, limit: int) -> list[Document]:
    first, last = _letter_id(name, after) if after else f"{name}/", f"{name}0"  # "0" comes behind "/"
    return [one for one in await documents.list_documents(LETTERS, first, limit) if one.id < last]


def _readable(stored: Document, known: set[str]) -> Letter | None:
    """One that cannot be read hides none of the others; it is logged if it is not ``known``, and is from then on."""
    try:
        return _LETTER.load(stored.body)
    except ValueError as error:
        if stored.id not in known:
            known.add(stored.id)
            log.error("webhook_letter_unreadable", letter=stored.id, why=str(error))
        return None


def _unknown(name: str) -> Refused:
    return Refused(Code.NOT_FOUND, f"the settings have no webhook {name[:40]!r}")


def _former(name: str) -> Refused:
    advice = f"put it back, or drop what it has not taken: charging webhook forget {name}"
    return Refused(Code.CONFLICT, f"the settings have webhook {name} no longer, so nothing is sent to it", advice)


def _letter_id(name: str, event: str) -> str:
    """So that they are listed in the order of their events: places have up to 16 digits (2^53)."""
    place, _, part = event.partition(".")
    return f"{name}/{int(place):016d}.{int(part or 0):06d}"


def _event_of(stored: Document) -> str:
    place, _, part = stored.id.partition("/")[2].partition(".")
    return f"{int(place)}.{int(part)}" if int(part) else str(int(place))


def _endpoint(stored: Document) -> Endpoint:
    try:
        return _ENDPOINT.load(stored.body)
    except ValueError as error:
        raise LedgerCorrupt(f"{stored.collection}/{stored.id} cannot be read") from error
