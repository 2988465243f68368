"""Personal data: hides the last digits of other people's numbers in old CDRs, and exports or erases what is known of
one customer.

Money, durations and destinations stay, so that statements and audits are as they were. Data that is hidden already
stays as it is, so every operation may be repeated, and may run in several daemons at once. ``docs/privacy.md`` lists
what is kept, and for how long.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence, Set
from dataclasses import asdict, replace
from typing import Any, NoReturn

import structlog

from charging.clock import MICROSECONDS, Clock
from charging.engine.findings import COLLECTION as FINDINGS
from charging.errors import LedgerError
from charging.ledger.accounts import Account, Status
from charging.ledger.documents import Document
from charging.ledger.model import CdrRow
from charging.ledger.port import Store
from charging.records import dataclass
from charging.safe_text import HIDDEN, hidden
from charging.service import fax_address
from charging.service.actor import is_for_customer
from charging.service.changes import Act, Changes
from charging.service.decisions import Decisions
from charging.service.page_tokens import COLLECTION as PAGE_TOKENS
from charging.service.payments import COLLECTION as PAYMENTS
from charging.service.refusal import Code, Refused, unknown_account
from charging.service.tokens import COLLECTION as TOKENS
from charging.service.tokens import Tokens
from charging.service.trail import Trail

OTHERS_NUMBERS = ("caller", "target")
"""The members of a CDR that name other people; the customer's own ``number`` is not among them."""
PERSONAL = ("number", *OTHERS_NUMBERS, "document", "document_digest")
"""All members of a CDR that lead to a person; the last two are what the sender of a fax calls his document, and by
which someone who has it can tell that it was this one."""
PAGE_ROWS = 100
PAGE_REST_S = 0.05
"""Between two pages, so that calls never wait for this: a page takes some milliseconds."""
ROUND_REST_S = 3600
OWNED_COLLECTIONS = ("missed-calls", "notice-records", "notice-results", "notices")
"""Documents of an account have its id as their own, or ``ACCOUNT/…``."""
NAMING_COLLECTIONS = (FINDINGS, PAYMENTS, PAGE_TOKENS, TOKENS)
"""Their documents name their account, or a number, within themselves."""
TOLD_COLLECTIONS = (*OWNED_COLLECTIONS, *NAMING_COLLECTIONS)
ERASED_COLLECTIONS = ("missed-calls", "notice-results", "notices", PAGE_TOKENS)
"""A notice record holds times and ids of transfers only."""
HIDDEN_MEMBERS = {FINDINGS: ("number", HIDDEN), PAYMENTS: ("checkout", "")}
"""What leads to a person in documents that belong to the books, and what stands there instead. Where a payment is made
the provider shows who makes it."""
ERASED = "personal data erased"
TRIES_MAX = 20
"""Times that an edit is made again because someone else's came first."""
DAY_US = 24 * 3600 * MICROSECONDS

log = structlog.get_logger(__name__)

Place = tuple[int, str]
"""A CDR's (ended_us, session)."""


def cdr_shown(document: str) -> dict[str, Any] | None:
    """A CDR as the present actor may see it: customers do not see a caller who withheld the number. ``None`` if it
    cannot be read. Every CDR that leaves for a program goes through here."""
    cdr = _object(document)
    return for_customer(cdr) if cdr is not None and is_for_customer() else cdr


def _object(document: str) -> dict[str, Any] | None:
    try:
        cdr: Any = json.loads(document)
    except ValueError:
        return None
    return cdr if isinstance(cdr, dict) else None


def for_customer(cdr: dict[str, Any]) -> dict[str, Any]:
    """A CDR without a number that its caller has withheld; the operator may have kept it for his own eyes."""
    return {**cdr, "caller": ""} if cdr.get("withheld") else cdr


def without_numbers(document: str) -> str:
    """A CDR's JSON with the numbers of others hidden; a text that is no JSON object is left to the audit's reader."""
    if (cdr := _object(document)) is None:
        return document
    shown = {name: cdr[name] for name in OTHERS_NUMBERS if isinstance(cdr.get(name), str)}
    kept = {name: hidden(number) for name, number in shown.items()}
    return document if kept == shown else json.dumps(cdr | kept, separators=(",", ":"))


def without_people(document: str) -> str:
    """A CDR's JSON without anything that identifies a person."""
    if (cdr := _object(document)) is None:
        return document
    kept = cdr | {name: HIDDEN for name in PERSONAL if cdr.get(name)}
    return document if kept == cdr else json.dumps(kept, separators=(",", ":"))


async def hide_numbers(
    store: Store, clock: Clock, before_us: int, after: Place | None = None
) -> AsyncIterator[tuple[int, Place]]:
    """Hide other people's numbers in CDRs that ended before ``before_us`` (wall clock, µs), page by page, with a rest
    after each. Yields for each page how many CDRs were changed, and its last place, from which another run can go on
    (``after``). Raises LedgerError."""
    while rows := await store.cdrs(until_us=before_us, after=after, limit=PAGE_ROWS):
        changed = [new for row in rows if (new := _hidden_row(row)) != row]
        await store.replace_cdrs(changed)
        after = rows[-1].ended_us, rows[-1].session
        yield len(changed), after
        await clock.sleep_until(clock.now().plus(PAGE_REST_S).mono_us)


def _hidden_row(row: CdrRow) -> CdrRow:
    return replace(row, document=without_numbers(row.document))


@dataclass(frozen=True, slots=True)
class Erased:
    """What :meth:`People.erase` has changed."""

    cdrs: int
    numbers: int
    documents: int
    decisions: int
    left: str = ""
    """What the operator must do himself about the store's own files; empty: nothing."""


class People:
    """What is known of a customer."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._decisions = Decisions(store.documents, clock)
        self._changes = Changes(store, clock)
        self._trail = Trail(store, clock)
        self._tokens = Tokens(store, clock)

    async def known(self, account: str) -> AsyncIterator[dict[str, Any]] | Refused:
        """Everything known of a customer, record by record: ``{"account": …}``, ``number``, ``session``, ``journal``,
        ``cdr``, ``decision``,
        ``change``, ``document``."""
        stored = await self._store.directory.account(account)
        return unknown_account(account) if stored is None else self._pieces(stored)

    async def _pieces(self, account: Account) -> AsyncIterator[dict[str, Any]]:
        yield {"account": asdict(account)}
        for number in await self._store.directory.numbers(account.id):
            yield {"number": asdict(number)}
        for session in (await self._store.snapshot(account.id)).sessions:
            yield {"session": json.loads(session.state)}
        async for line in self._store.journal(account.id):
            yield {"journal": asdict(line)}
        async for rows in self._cdr_pages(account.id):
            for row in rows:
                yield {"cdr": json.loads(row.document)}
        async for decided in self._decisions.of_account(account.id):
            yield {"decision": decided.to_plain()}
        async for noted in self._trail.of_account(account.id):
            yield {"change": asdict(noted.change)}
        numbers = await self._numbers(account.id)
        for collection in TOLD_COLLECTIONS:
            for document in await self._documents(collection, account.id, numbers):
                yield {"document": json.loads(document.body), "collection": collection}

    async def erase(self, account: str) -> Erased | Refused:
        """Erase everything about a closed account that the books do not need: mail address, reason, numbers; callers,
        targets and names of documents in CDRs; notices, missed calls, decisions, tokens of its page, tokens bound to
        it; and what identifies a person in payments and notes of changes. The journal stays as it is. It may be
        repeated, and must be if it was interrupted. Raises LedgerError."""
        stored = await self._store.directory.account(account)
        if stored is None:
            return unknown_account(account)
        if stored.status is not Status.CLOSED:
            advice = f"close it first: charging account close {account} --reason …"
            return Refused(Code.NOT_ALLOWED, f"account {account!r} is {stored.status}, expected a closed one", advice)
        if running := (await self._store.snapshot(account)).sessions:
            return Refused(
                Code.CONFLICT, f"{len(running)} calls of account {account!r} are not booked yet", "try later"
            )
        numbers = await self._numbers(account) | await self._numbers_had(account)
        told = [one for name in HIDDEN_MEMBERS for one in await self._documents(name, account, numbers)]
        hidden = [one for one in told if await self._hide_member(one)]
        removed = await self._remove_numbers(account)
        if removed is None:
            return Refused(Code.CONFLICT, f"others keep editing the numbers of account {account!r}", "try again")
        documents = [one for name in ERASED_COLLECTIONS for one in await self._documents(name, account, frozenset())]
        for document in documents:
            await self._delete(document)
        for document in (bound := await self._documents(TOKENS, account, frozenset())):
            await self._tokens.revoke(document.id)
        cdrs = 0
        async for rows in self._cdr_pages(account):
            changed = [new for row in rows if (new := replace(row, document=without_people(row.document))) != row]
            await self._store.replace_cdrs(changed)
            cdrs += len(changed)
        decisions = await self._decisions.forget(account)
        notes = await self._trail.hide(account)
        await self._changes.noted(Act.ACCOUNT_ERASED, account=account)
        await fax_address.forget(self._store, stored.fax_address)
        if not await self._forget_address(stored):
            return Refused(Code.CONFLICT, f"others keep editing account {account!r}", "try again")
        gone = len(documents) + len(bound) + len(hidden) + notes
        erased = Erased(cdrs, removed, gone, decisions, await self._store.scrub())
        log.info("account_erased", account=account, cdrs=cdrs, numbers=removed, documents=erased.documents)
        return erased

    async def _numbers(self, account: str) -> set[str]:
        return {one.number for one in await self._store.directory.numbers(account)}

    async def _numbers_had(self, account: str) -> set[str]:
        """Those that were removed, and are nobody's now: of one that is another's, what is noted may be the other's."""
        had = {
            one.change.number async for one in self._trail.of_account(account) if one.change.act == Act.NUMBER_REMOVED
        }
        return {one for one in had if await self._store.directory.number(one) is None}

    async def _remove_numbers(self, account: str) -> int | None:
        """How many were removed; ``None``: some are there yet, for others keep editing them."""
        removed = 0
        for _ in range(TRIES_MAX):
            found = await self._store.directory.numbers(account)
            if not found:
                return removed
            for number in found:
                removed += await self._store.directory.remove_number(number)
        return None

    async def _forget_address(self, stored: Account) -> bool:
        for _ in range(TRIES_MAX):
            without = replace(stored, email="", status_reason=ERASED, fax_address="", fax_address_us=0)
            if without == stored or await self._store.directory.put_account(without):
                return True
            stored = await self._store.directory.account(stored.id) or stored
        return False

    async def _cdr_pages(self, account: str) -> AsyncIterator[Sequence[CdrRow]]:
        after: Place | None = None
        while rows := await self._store.cdrs(account=account, after=after, limit=PAGE_ROWS):
            yield rows
            after = rows[-1].ended_us, rows[-1].session
            await self._clock.sleep_until(self._clock.now().plus(PAGE_REST_S).mono_us)

    async def _documents(self, collection: str, account: str, numbers: Set[str]) -> list[Document]:
        naming = collection in NAMING_COLLECTIONS
        return await (self._naming(collection, account, numbers) if naming else self._owned(collection, account))

    async def _owned(self, collection: str, account: str) -> list[Document]:
        own = await self._store.documents.get_document(collection, account)
        found, after, prefix = [own] if own is not None else [], f"{account}/", f"{account}/"
        while page := await self._store.documents.list_documents(collection, after, PAGE_ROWS):
            mine = [one for one in page if one.id.startswith(prefix)]
            found += mine
            after = page[-1].id
            if len(mine) < len(page):
                break
        return found

    async def _naming(self, collection: str, account: str, numbers: Set[str]) -> list[Document]:
        """Those that name the account or one of its numbers. All are read, page by page, with a rest after each."""
        found, after = [], ""
        while page := await self._store.documents.list_documents(collection, after, PAGE_ROWS):
            for one in page:
                body = json.loads(one.body)
                if body.get("account") == account or body.get("number") in numbers:
                    found.append(one)
            after = page[-1].id
            if len(page) == PAGE_ROWS:
                await self._clock.sleep_until(self._clock.now().plus(PAGE_REST_S).mono_us)
        return found

    async def _hide_member(self, document: Document) -> bool:
        """What leads to a person in a document of the books, whose figures stay. Whether there was something."""
        name, instead = HIDDEN_MEMBERS[document.collection]
        current: Document | None = document
        while current is not None:
            body = json.loads(current.body)
            if body.get(name, "") in ("", instead):
                return False
            if await self._store.documents.update_document(replace(current, body=json.dumps(body | {name: instead}))):
                return True
            current = await self._store.documents.get_document(document.collection, document.id)
        return False

    async def _delete(self, document: Document) -> None:
        current: Document | None = document
        while current is not None and not await self._store.documents.delete_document(current):
            current = await self._store.documents.get_document(document.collection, document.id)


class NumberHider:
    """The daemon's task: hides what has become older than the operator's number of days."""

    def __init__(self, store: Store, clock: Clock, days: int) -> None:
        """``days``: at least 1."""
        self._store = store
        self._clock = clock
        self._days = days
        self._done: Place | None = None
        """Where the next round goes on. A new daemon begins again, and finds what was booked late."""

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
        async for changed, place in hide_numbers(self._store, self._clock, before_us, self._done):
            self._done = place
            total += changed
        if total:
            log.info("numbers_hidden", cdrs=total)

    async def _rest(self, seconds: float) -> None:
        await self._clock.sleep_until(self._clock.now().plus(seconds).mono_us)
