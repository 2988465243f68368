"""Notices on their way: kept in the store until they are out, and remembered for a while after.

Each notice is one document of the collection :data:`COLLECTION`; its due time is when something is to be done about it:

=========  ==================================  =========================================
state      due                                 then
=========  ==================================  =========================================
waiting    its next attempt                    it is claimed and sent
claimed    when the claim ends                 as waiting: whoever claimed it has died
sent       KEPT_S after it was sent            it is purged
given up   KEPT_S after that                   it is purged
=========  ==================================  =========================================

A claim is an update of the version that was read, so only one of several daemons sends. If a daemon dies between the
server's "250" and the mark, its claim ends and the notice is sent a second time, with the same Message-ID. That is the
only way to a double mail, and better than none. Putting is idempotent by the notice's key for as long as the notice is
remembered; after that, the account's record of what was sent keeps it from being due again.

The result of a notice is a document of its own (:data:`RESULTS`), from which other programs get it as an event. It is
put before the mark. So a daemon that is killed in between loses no result, and repeats none, for putting is idempotent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from enum import StrEnum
from typing import Annotated, Any

import structlog

from charging.clock import MICROSECONDS
from charging.ledger.documents import Document, Documents, Put
from charging.notify.model import Notice
from charging.records import NEWER, Codec, dataclass
from charging.service.events import NOTICE_RESULT, NoticeResult

COLLECTION = "notices"
RESULTS = "notice-results"
FAILED = "/failed"
"""Behind the key of one that was given up: another daemon may send it yet."""
KEPT_S = 90 * 86_400
"""How long a notice that is out is remembered."""
CLAIM_S = 600
"""How long a claim holds; longer than a batch may take."""
UNREADABLE_AGAIN_S = 86_400
"""After which a document that this version cannot read is looked at again; meanwhile it is in nobody's way."""
WHY_LENGTH_MAX = 500

log = structlog.get_logger(__name__)


class State(StrEnum):
    """Where a notice is."""

    WAITING = "waiting"
    SENT = "sent"
    GIVEN_UP = "given_up"


@dataclass(frozen=True, slots=True)
class Stored:
    """A notice in the outbox, as it is stored."""

    state: State
    attempts: int
    why: str
    notice: str
    """Its JSON text."""
    newer: Annotated[Mapping[str, Any], NEWER] = field(default_factory=dict)


_CODEC = Codec(Stored)


@dataclass(frozen=True, slots=True)
class Entry:
    """A notice in the outbox."""

    notice: Notice
    state: State
    attempts: int
    """Made so far."""
    why: str
    """What the last failed attempt said; empty where none has failed."""
    document: Document
    """As it is stored; its version is what a mark must still find."""


class Outbox:
    """Puts, claims, marks, purges. Raises LedgerUnavailable where the store does."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    async def put(self, notice: Notice) -> bool:
        """Take a notice in, to be sent at once; ``False``: it was taken in before."""
        body = _body(notice, State.WAITING, 0, "")
        return await self._documents.put_document(COLLECTION, notice.key, body, notice.at_us) is Put.CREATED

    async def claim(self, now_us: int, limit: int) -> list[Entry]:
        """The ``limit`` most overdue notices that wait, claimed: until the claim ends nobody else gets them."""
        claimed = []
        for document in await self._documents.due_documents(COLLECTION, now_us, limit):
            entry = _entry(document)
            if entry is None:
                log.error("notice_unreadable", notice=document.id)
                later_us = now_us + UNREADABLE_AGAIN_S * MICROSECONDS
                await self._documents.update_document(replace(document, due_us=later_us))
            elif entry.state is State.WAITING:
                kept = await self._keep(entry, now_us + CLAIM_S * MICROSECONDS)
                if kept is not None:
                    claimed.append(kept)
        return claimed

    async def sent(self, entry: Entry, now_us: int) -> bool:
        """It is out. Like the other marks: ``False`` where the claim had ended and another daemon went on with it."""
        await self._tell(entry.notice, now_us, sent=True)
        return await self._done(replace(entry, state=State.SENT, attempts=entry.attempts + 1, why=""), now_us)

    async def failed(self, entry: Entry, next_attempt_us: int, why: str) -> bool:
        """An attempt failed; try again at ``next_attempt_us``."""
        failed = replace(entry, attempts=entry.attempts + 1, why=why[:WHY_LENGTH_MAX])
        return await self._keep(failed, next_attempt_us) is not None

    async def let_go(self, entry: Entry, next_attempt_us: int) -> bool:
        """No attempt was made; it waits until ``next_attempt_us``."""
        return await self._keep(entry, next_attempt_us) is not None

    async def give_up(self, entry: Entry, now_us: int, why: str) -> bool:
        """It cannot be sent, ever."""
        await self._tell(entry.notice, now_us, sent=False)
        given_up = replace(entry, state=State.GIVEN_UP, attempts=entry.attempts + 1, why=why[:WHY_LENGTH_MAX])
        return await self._done(given_up, now_us)

    async def purge(self, now_us: int, limit: int) -> int:
        """Forget what has been out long enough, and its result: how many documents, ``limit`` of each kind at most."""
        due = await self._documents.due_documents(COLLECTION, now_us, limit)
        out = [one for one in due if (entry := _entry(one)) is not None and entry.state is not State.WAITING]
        out += await self._documents.due_documents(RESULTS, now_us, limit)
        return sum([await self._documents.delete_document(one) for one in out])

    async def entries(self, after: str = "") -> Sequence[Entry]:
        """A page of everything that is kept, by key."""
        found = map(_entry, await self._documents.list_documents(COLLECTION, after))
        return [entry for entry in found if entry is not None]

    async def of_account(self, account: str) -> Sequence[Entry]:
        """What is kept of one account, by key."""
        first = f"{account}/"
        found = await self._documents.list_documents(COLLECTION, first)
        entries = [_entry(one) for one in found if one.id.startswith(first)]
        return [entry for entry in entries if entry is not None]

    async def _tell(self, notice: Notice, now_us: int, *, sent: bool) -> None:
        told = NoticeResult(notice.account, notice.id, notice.kind, now_us, sent)
        id = notice.key if sent else f"{notice.key}{FAILED}"
        due_us = now_us + KEPT_S * MICROSECONDS
        await self._documents.put_document(RESULTS, id, NOTICE_RESULT.dump(told), due_us)

    async def _done(self, entry: Entry, now_us: int) -> bool:
        return await self._keep(entry, now_us + KEPT_S * MICROSECONDS) is not None

    async def _keep(self, entry: Entry, due_us: int) -> Entry | None:
        """Store the entry, due again; ``None`` where someone else has changed it."""
        body = _body(entry.notice, entry.state, entry.attempts, entry.why)
        document = replace(entry.document, body=body, due_us=due_us)
        if not await self._documents.update_document(document):
            return None
        return replace(entry, document=replace(document, version=document.version + 1))


def _body(notice: Notice, state: State, attempts: int, why: str) -> str:
    return _CODEC.dump(Stored(state, attempts, why, notice.to_json()))


def _entry(document: Document) -> Entry | None:
    """``None``: written by a version that knows more than this one, or damaged."""
    try:
        stored = _CODEC.load(document.body)
        return Entry(Notice.from_json(stored.notice), stored.state, stored.attempts, stored.why, document)
    except (KeyError, TypeError, ValueError):
        return None
