"""The audit trail: a note for each change by a person, a program or the daemon, with actor, time, before and after.

**No change without its note, and no note without its change**, even if the daemon is killed. A note is written before
its change as *asked*, and is set to *done* after it. The changed record names its last note in the same write
(`Account.change`, `Number.change`), and a transfer stands in the journal with its time. So it can be found out later
whether the change of a note that was left as *asked* was made. The next change of a record first sets the note before
it to *done*.

The effect of a hang-up cannot be looked up later, and neither a hang-up nor the acceptance of a tariff waits for the
ledger. Their notes are written afterwards; if that fails, only the log has the change.

A note that cannot be read does not stop the others: it is logged. Members that only a newer version knows are kept as
they are.

Notes are documents, with ids in the order of time. They are never removed; erasing a customer hides what identifies
the person.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Annotated, Any, NoReturn

import structlog

from charging.call.cdr import iso
from charging.clock import MICROSECONDS, Clock
from charging.errors import LedgerCorrupt, LedgerError
from charging.ledger.accounts import Account, Number
from charging.ledger.documents import Document
from charging.ledger.model import Transfer
from charging.ledger.port import Store
from charging.records import NEWER, Codec
from charging.service.actor import actor
from charging.shown import HIDDEN

COLLECTION = "changes"
TOKENS = "api-tokens"
"""The collection of `charging.service.tokens`."""
SETTLE_S = 60
"""Seconds after which no change can still be under way: longer than any store's time-out."""
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
PERSONAL = ("email", "forward_to", "mailbox", "number", "status_reason", "reason")

log = structlog.get_logger(__name__)

Facts = Mapping[str, Any]


class Act(StrEnum):
    """What can be changed."""

    ACCOUNT_MADE = "account.made"
    ACCOUNT_EDITED = "account.edited"
    ACCOUNT_ERASED = "account.erased"
    NUMBER_ADDED = "number.added"
    NUMBER_EDITED = "number.edited"
    NUMBER_REMOVED = "number.removed"
    TOPPED_UP = "credit.topped_up"
    CORRECTED = "credit.corrected"
    EXPIRED = "credit.expired"
    PROMOTION = "credit.granted"
    MINUTES = "minutes.granted"
    PIECES = "pieces.granted"
    HUNG_UP = "call.hung_up"
    TOKEN_ADDED = "token.added"  # noqa: S105  a word
    TOKEN_REVOKED = "token.revoked"  # noqa: S105  a word
    TARIFF_ACCEPTED = "tariff.accepted"
    WEBHOOK_RESENT = "webhook.resent"
    WEBHOOK_DROPPED = "webhook.dropped"


@dataclass(frozen=True, slots=True)
class Change:
    """A note."""

    act: str
    actor: str
    at_us: int
    """Wall clock."""
    account: str = ""
    number: str = ""
    transfer: str = ""
    """The id of the journal's line, for what is one."""
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    """Only what changed."""
    done: bool = False
    newer: Annotated[Mapping[str, Any], NEWER] = field(default_factory=dict)


_CODEC = Codec(Change)


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


class Changes:
    """The notes in the store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def asked(
        self, act: Act, *, account: str = "", number: str = "", before: Facts | None = None, after: Facts | None = None
    ) -> str:
        """Write the note of a change that is about to be made, and return its id. Raises LedgerUnavailable."""
        facts = dict(before or {}), dict(after or {})
        change = Change(act, actor(), self._clock.now().wall_us, account, number, before=facts[0], after=facts[1])
        return await self._put(change, self._clock.now().plus(SETTLE_S).wall_us)

    async def asked_by(self, transfer: Transfer, act: Act, after: Facts) -> str:
        """Write the note of a transfer that is about to be applied, and return its id. Raises LedgerUnavailable."""
        change = Change(act, transfer.actor, transfer.at_us, transfer.account, transfer=transfer.id, after=dict(after))
        return await self._put(change, self._clock.now().plus(SETTLE_S).wall_us)

    async def noted(self, act: Act, *, account: str = "", number: str = "", after: Facts | None = None) -> None:
        """Write the note of a change that was made and cannot be looked up later. Raises LedgerUnavailable."""
        at_us = self._clock.now().wall_us
        await self._put(Change(act, actor(), at_us, account, number, after=dict(after or {}), done=True), None)

    async def _put(self, change: Change, due_us: int | None) -> str:
        id = f"{change.at_us:016d}-{secrets.token_hex(4)}"
        await self._store.documents.put_document(COLLECTION, id, _CODEC.dump(change), due_us)
        return id

    async def done(self, id: str, before: Facts | None = None, after: Facts | None = None) -> None:
        """Set a note to *done*, and add facts that are known only now. Does nothing if it is done already or cannot be
        read. Raises LedgerUnavailable."""
        document = await self._store.documents.get_document(COLLECTION, id) if id else None
        change = None if document is None else readable(document)
        if document is None or change is None or change.done:
            return
        told = replace(change, before={**change.before, **(before or {})}, after={**change.after, **(after or {})})
        await self._store.documents.update_document(_finished(document, told))

    async def became(self, id: str, made: bool, before: Facts | None = None, after: Facts | None = None) -> None:
        """Finish the note of a change: set it to *done* if the change was ``made``, else delete it. A failure of the
        ledger is only logged, since the change itself stands; :meth:`settle` finishes the note later."""
        try:
            if made:
                await self.done(id, before, after)
            else:
                await self._void(id)
        except LedgerError as error:
            log.warning("change_left_to_settle", change=id, made=made, why=str(error))

    async def _void(self, id: str) -> None:
        document = await self._store.documents.get_document(COLLECTION, id)
        change = None if document is None else readable(document)
        if document is not None and change is not None and not change.done:
            await self._store.documents.delete_document(document)

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
                await self._store.documents.update_document(_finished(document, change))
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
            if await self._store.documents.update_document(replace(document, body=_CODEC.dump(new))):
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


def _finished(document: Document, change: Change) -> Document:
    return replace(document, body=_CODEC.dump(replace(change, done=True)), due_us=None)


def readable(document: Document) -> Change | None:
    """``None``, and an error in the log: it is damaged, or a newer version's in a way that is not understood here."""
    try:
        return _CODEC.load(document.body)
    except ValueError:  # which would tell what stands in it, of people too
        log.error("change_unreadable", change=document.id)
        return None


def _without_people(change: Change) -> Change:
    number = HIDDEN if change.number else ""
    # What only a newer version knows may lead to a person too.
    return replace(change, number=number, before=_hidden(change.before), after=_hidden(change.after), newer={})


def _hidden(facts: Facts) -> dict[str, Any]:
    return {name: HIDDEN if name in PERSONAL and value else value for name, value in facts.items()}


def account_facts(account: Account) -> dict[str, Any]:
    """What people change of an account."""
    return {
        "plan": account.plan,
        "language": account.language.value,
        "email": account.email,
        "status": account.status.value,
        "status_reason": account.status_reason,
        "paid_until": None if account.paid_until_us is None else iso(account.paid_until_us),
        "paid_at": None if account.paid_at_us is None else iso(account.paid_at_us),
        "fax_address": account.fax_address_us > 0,
    }


def number_facts(number: Number) -> dict[str, Any]:
    """What people change of a number."""
    facts = {"forward_to": number.forward_to, "paid_voicemail": number.paid_voicemail, "mailbox": number.mailbox}
    return {"account": number.account, **facts}


def differences(before: Facts, after: Facts) -> tuple[dict[str, Any], dict[str, Any]]:
    """The members of both that are not the same."""
    names: Sequence[str] = [name for name in after if before.get(name) != after[name]]
    return {name: before[name] for name in names if name in before}, {name: after[name] for name in names}


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
