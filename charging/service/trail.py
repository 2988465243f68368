"""The audit trail as it is read: pages of notes, what people see of one account, and what was left behind.

A note that a killed daemon left as *asked* is settled from what its change would have left: the changed record names
the note, and a transfer stands in the journal (`charging.service.changes`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, NoReturn

import structlog

from charging.clock import MICROSECONDS, Clock
from charging.errors import LedgerCorrupt, LedgerError
from charging.ledger.port import Store
from charging.records import dataclass
from charging.safe_text import HIDDEN
from charging.service.changes import CODEC, COLLECTION, SETTLE_S, Act, Change, Facts, finished, readable

TOKENS = "api-tokens"
"""The collection of `charging.service.tokens`."""
REST_S = 30
BATCH = 100
PAGE_DOCUMENTS = 100
PAGE_REST_S = 0.02
"""After each page of a search through all notes in the process that decides calls; a page takes some milliseconds."""
EXAMINED_MAX = 5_000
"""Notes that one request looks into; the next one goes on from there."""
LINES_PAGE = 1_000
"""Of a journal in which a transfer is looked for."""
TRIES_MAX = 20
PERSONAL = ("email", "forward_to", "mailbox", "name", "number", "status_reason", "reason")
"""A ``name`` is what a token is called: mostly whose it is."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Noted:
    """A note that is stored."""

    id: str
    change: Change


@dataclass(frozen=True, slots=True)
class Sought:
    """Which changes are wanted."""

    account: str | None = None
    actor: str | None = None
    """A whole one (``cli:alice``), or all of its kind (``cli``)."""
    since_us: int = 0
    until_us: int | None = None
    """Before it."""

    def fits(self, change: Change) -> bool:
        return (
            self.account in (None, change.account)
            and (self.actor is None or change.actor == self.actor or change.actor.startswith(self.actor + ":"))
            and self.since_us <= change.at_us
            and (self.until_us is None or change.at_us < self.until_us)
        )


class Trail:
    """The notes in the store, read."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def settle(self) -> int:
        """Finish the notes that were left as *asked*, and return how many there were. A note that cannot be read stays
        as it is, and is not due again. Raises LedgerUnavailable."""
        left = await self._store.documents.due_documents(COLLECTION, self._clock.now().wall_us, BATCH)
        for document in left:
            if (change := readable(document)) is None:
                await self._store.documents.update_document(replace(document, due_us=None))
                continue
            try:
                happened = await self._happened(document.id, change)
            except LedgerCorrupt as error:
                log.error("change_unclear", change=document.id, account=change.account, why=str(error))
                continue
            if happened:
                await self._store.documents.update_document(finished(document, change))
            else:
                await self._store.documents.delete_document(document)
            log.warning("change_settled", change=document.id, act=change.act, account=change.account)
        return len(left)

    async def run(self) -> NoReturn:
        """Settle what is left behind, for ever."""
        while True:
            try:
                await self.settle()
            except LedgerError as error:
                log.warning("changes_not_settled", why=str(error))
            await self._clock.sleep_until(self._clock.now().plus(REST_S).mono_us)

    async def page(
        self, sought: Sought, after: str | None, limit: int, *, backwards: bool = False
    ) -> tuple[list[Noted], str | None]:
        """Up to ``limit`` changes after the one with id ``after``, oldest first (``backwards``: before it, newest
        first), and the cursor of the next page (``None`` if there is none). A page may be short or empty though more
        follow. Notes that cannot be read are logged and left out. Raises LedgerUnavailable."""
        place = after or _begin(sought, backwards=backwards)
        found: list[Noted] = []
        for _ in range(EXAMINED_MAX // PAGE_DOCUMENTS):
            documents = await self._store.documents.list_documents(
                COLLECTION, place, PAGE_DOCUMENTS, backwards=backwards
            )
            for document in documents:
                if _is_past(document.id, sought, backwards=backwards):
                    return found, None
                change = readable(document)
                if change is not None and sought.fits(change) and await self._counts(document.id, change):
                    if len(found) == limit:
                        return found, place
                    found.append(Noted(document.id, change))
                place = document.id
            if len(documents) < PAGE_DOCUMENTS:
                return found, None
        return found, place

    async def of_account(self, account: str) -> AsyncIterator[Noted]:
        """Every change of one account. Raises LedgerError."""
        place: str | None = None
        while True:
            found, place = await self.page(Sought(account), place, PAGE_DOCUMENTS)
            for one in found:
                yield one
            if place is None:
                return

    async def hide(self, account: str) -> int:
        """Remove what identifies a person from an account's notes, and return how many were changed. May be repeated.
        It reads every note in the store, page by page, and rests after each, because the same process decides calls."""
        hidden, place = 0, ""
        while documents := await self._store.documents.list_documents(COLLECTION, place, PAGE_DOCUMENTS):
            for document in documents:
                if (change := readable(document)) is not None and change.account == account:
                    hidden += await self._hide(document.id)
            place = documents[-1].id
            if len(documents) == PAGE_DOCUMENTS:
                await self._clock.sleep_until(self._clock.now().plus(PAGE_REST_S).mono_us)
        return hidden

    async def _hide(self, id: str) -> bool:
        """Whether there was something to take out."""
        for _ in range(TRIES_MAX):
            document = await self._store.documents.get_document(COLLECTION, id)
            change = None if document is None else readable(document)
            if document is None or change is None or (new := _without_people(change)) == change:
                return False
            if await self._store.documents.update_document(replace(document, body=CODEC.dump(new))):
                return True
        return False

    async def _counts(self, id: str, change: Change) -> bool:
        """Whether a change was made. If that cannot be found out, it is logged."""
        try:
            return change.done or await self._happened(id, change)
        except LedgerCorrupt as error:
            log.error("change_unclear", change=id, account=change.account, why=str(error))
            return False

    async def _happened(self, id: str, change: Change) -> bool:
        """Whether the change of a note that is still *asked* was made. Raises LedgerCorrupt if its record is
        damaged."""
        if change.transfer:
            return await self._stands(change)
        if change.act in (Act.TOKEN_ADDED, Act.TOKEN_REVOKED):
            token = await self._store.documents.get_document(TOKENS, (change.before or change.after)["token"])
            return (token is not None) == (change.act == Act.TOKEN_ADDED)
        if not change.number:
            account = await self._store.directory.account(change.account)
            return account is not None and account.change == id
        number = await self._store.directory.number(change.number)
        if change.act != Act.NUMBER_REMOVED:
            return number is not None and number.change == id
        following = await self._following(id, change.number)
        return number is None if following is None else following.act == Act.NUMBER_ADDED

    async def _stands(self, change: Change) -> bool:
        """Whether a change's transfer stands in the journal, which is in the order of time but for what was booked
        late."""
        before, oldest_us = None, change.at_us - SETTLE_S * MICROSECONDS
        while lines := await self._store.journal_page(change.account, before, LINES_PAGE):
            if any((line.id, line.at_us) == (change.transfer, change.at_us) for line in lines):
                return True
            if max(line.at_us for line in lines) < oldest_us:
                return False
            before = lines[-1].number
        return False

    async def _following(self, id: str, number: str) -> Change | None:
        """What was done next to a number that should have been removed: only if that was to add it was it gone."""
        while documents := await self._store.documents.list_documents(COLLECTION, id, PAGE_DOCUMENTS):
            for document in documents:
                change, id = readable(document), document.id
                if change is None or change.number != number:
                    continue
                if change.done or (change.act != Act.NUMBER_REMOVED and await self._happened(id, change)):
                    return change
        return None


def _without_people(change: Change) -> Change:
    number = HIDDEN if change.number else ""
    # What only a newer version knows may lead to a person too.
    return replace(change, number=number, before=_hidden(change.before), after=_hidden(change.after), newer={})


def _hidden(facts: Facts) -> dict[str, Any]:
    return {name: HIDDEN if name in PERSONAL and value else value for name, value in facts.items()}


def _begin(sought: Sought, *, backwards: bool) -> str:
    """The place behind which the first page of notes begins."""
    if backwards:
        return "" if sought.until_us is None else f"{sought.until_us:016d}"
    return f"{max(0, sought.since_us - 1):016d}"


def _is_past(id: str, sought: Sought, *, backwards: bool) -> bool:
    """Whether neither this note nor any further one is of the time that is sought."""
    if backwards:
        return id < f"{sought.since_us:016d}"
    return sought.until_us is not None and id >= f"{sought.until_us:016d}"
