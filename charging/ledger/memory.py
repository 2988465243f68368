"""The ledger in memory: the executable specification of the port, and the fake for every test above it.

Nothing here awaits, so each operation is atomic by itself. It forgets everything when the process ends.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from charging.clock import MICROSECONDS, Clock, SystemClock
from charging.errors import LedgerError, LedgerUnavailable
from charging.ledger.accounts import Account, Number, folded
from charging.ledger.documents import Document, Put, Written, is_beyond
from charging.ledger.feed import FeedEntry, takes_place
from charging.ledger.model import (
    AMOUNT_MAX,
    Applied,
    Balance,
    Called,
    CdrRow,
    Decision,
    JournalLine,
    Kept,
    Leg,
    OpenSession,
    Outcome,
    Snapshot,
    Transfer,
    View,
    check_request,
    decide,
    decide_keep,
)
from charging.ledger.port import SOLE, Wanted
from charging.ledger.unfinished import MARK, assert_whole


@dataclass(slots=True)
class _Books:
    """Everything of one account."""

    account: Account
    journal: list[JournalLine] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    balances: dict[str, Balance] = field(default_factory=dict)
    sessions: dict[str, OpenSession] = field(default_factory=dict)
    cdrs: dict[str, CdrRow] = field(default_factory=dict)

    def view(self, session: str | None) -> View:
        return View(
            True,
            self.digests,
            self.balances,
            self.sessions.get(session) if session is not None else None,
            session in self.cdrs,
        )

    @property
    def last_number(self) -> int:
        return self.journal[-1].number if self.journal else 0

    def from_number(self, number: int) -> int:
        """Where in the list the line of that number stands, or would: archived lines are gone from its head."""
        return max(0, number - self.journal[0].number) if self.journal else 0

    def carry_out(self, decision: Decision) -> None:
        for line in decision.lines:
            written = _journal_line(self.last_number + 1, line)
            self.digests[line.id] = written.digest
            self.journal.append(written)
        self.balances.update(decision.balances)
        if decision.session is not None:
            self.sessions[decision.session.id] = decision.session
        if decision.closes:
            self.sessions.pop(decision.lines[-1].session or "", None)
        if decision.cdr is not None:
            self.cdrs[decision.cdr.session] = decision.cdr


@dataclass(slots=True)
class _Lease:
    owner: str
    epoch: int
    until_us: int
    """Monotonic."""


_NO_ACCOUNT = View(account_exists=False, digests={}, balances={}, session=None, has_cdr=False)


class MemoryStore:
    """See the port; ``memory:`` opens it."""

    def __init__(self, clock: Clock | None = None) -> None:
        clock = clock or SystemClock()
        documents: dict[tuple[str, str], Document] = {}
        self._books: dict[str, _Books] = {}
        self.directory = MemoryDirectory(self._books)
        self.leases = MemoryLeases(clock, documents)
        self.feed = MemoryFeed(clock, self._books, documents)
        self.documents = MemoryDocuments(documents, self.feed.place_document)

    async def open(self) -> None:
        await assert_whole(self.documents)

    async def close(self) -> None:
        return

    async def ping(self) -> None:
        return

    async def wall_us(self) -> int | None:
        return None

    async def self_check(self) -> Sequence[str]:
        return []

    async def backup(self, path: Path) -> None:
        raise LedgerUnavailable("a ledger in memory is not backed up: it ends with the daemon")

    async def scrub(self) -> str:
        return ""

    async def warnings(self) -> Sequence[str]:
        return ["memory: forgets all money when the daemon ends; use sqlite:/// or redis://"]

    # -- ledger

    async def apply(self, transfer: Transfer, grants: Sequence[Transfer] = ()) -> Applied:
        check_request(transfer, grants)
        books = self._books.get(transfer.account)
        view = books.view(transfer.session) if books is not None else _NO_ACCOUNT
        decision = decide(transfer, grants, view)
        if books is not None:
            number = books.last_number
            books.carry_out(decision)
            for line in (one for one in books.journal[books.from_number(number + 1) :] if one.kind.has_place):
                self.feed.take_place(account=line.account, number=line.number)
        return decision.applied

    async def apply_all(self, wanted: Sequence[Wanted]) -> Sequence[Applied | LedgerError]:
        return [await self.apply(transfer, grants) for transfer, grants in wanted]

    async def keep_session(self, account: str, session: str, kept: Kept) -> Outcome:
        books = self._books.get(account)
        outcome, record = decide_keep(books.sessions.get(session) if books else None, kept)
        if books is not None and record is not None:
            books.sessions[session] = record
        return outcome

    async def balances(self, account: str) -> Mapping[str, Balance]:
        books = self._books.get(account)
        return dict(books.balances) if books else {}

    async def balances_of(self, accounts: Sequence[str]) -> Sequence[Mapping[str, Balance] | LedgerError]:
        return [await self.balances(account) for account in accounts]

    async def drop_balances(self, account: str, names: Sequence[str]) -> None:
        balances = self._books[account].balances
        for name in names:
            if balances.get(name) == Balance():
                del balances[name]

    async def sessions(self, switch: str | None = None, account: str | None = None) -> Sequence[OpenSession]:
        found = [
            session
            for books in self._books.values()
            for session in books.sessions.values()
            if switch in (None, session.switch) and account in (None, session.account)
        ]
        return sorted(found, key=lambda session: (session.opened_us, session.id, session.account))

    async def sessions_page(self, after: str, limit: int, *, backwards: bool = False) -> Sequence[OpenSession]:
        found = (one for one in await self.sessions() if is_beyond(one.id, after, backwards=backwards))
        return sorted(found, key=lambda one: one.id, reverse=backwards)[:limit]

    async def session(self, session: str, switch: str | None = None) -> OpenSession | None:
        found = (books.sessions[session] for books in self._books.values() if session in books.sessions)
        return next((one for one in found if switch in (None, one.switch)), None)

    async def snapshot(self, account: str) -> Snapshot:
        books = self._books.get(account)
        return (
            Snapshot(books.last_number, dict(books.balances), tuple(books.sessions.values())) if books else Snapshot()
        )

    async def journal(self, account: str, after: int = 0) -> AsyncIterator[JournalLine]:
        books = self._books.get(account)
        for line in books.journal[books.from_number(after + 1) :] if books else []:
            yield line

    async def journal_page(self, account: str, before: int | None, limit: int) -> Sequence[JournalLine]:
        books = self._books.get(account)
        if books is None:
            return []
        end = books.from_number(before) if before is not None else len(books.journal)
        return books.journal[:end][::-1][:limit]

    async def cdrs(
        self,
        *,
        account: str | None = None,
        since_us: int = 0,
        until_us: int | None = None,
        after: tuple[int, str] | None = None,
        limit: int = 100,
        backwards: bool = False,
    ) -> Sequence[CdrRow]:
        rows = sorted(
            (row for books in self._books.values() for row in books.cdrs.values()),
            key=lambda row: (row.ended_us, row.session, row.account),
            reverse=backwards,
        )
        found = [
            row
            for row in rows
            if account in (None, row.account)
            and row.ended_us >= since_us
            and (until_us is None or row.ended_us < until_us)
            and (after is None or _is_behind((row.ended_us, row.session), after, backwards=backwards))
        ]
        return found[:limit]

    async def cdr(self, account: str, session: str) -> CdrRow | None:
        books = self._books.get(account)
        return books.cdrs.get(session) if books else None

    # -- restoring

    async def restore_lines(self, account: str, lines: Sequence[JournalLine], balances: Mapping[str, Balance]) -> None:
        books = self._books[account]
        books.journal += lines
        books.digests |= {line.id: line.digest for line in lines}
        books.balances |= balances

    async def restore_cdrs(self, cdrs: Sequence[CdrRow]) -> None:
        for cdr in cdrs:
            self._books[cdr.account].cdrs[cdr.session] = cdr

    # -- archiving

    async def replace_head(self, opening: JournalLine, archived: Sequence[JournalLine]) -> bool:
        books = self._books[opening.account]
        if not books.journal or books.journal[0].number != archived[0].number:
            return False
        for line in archived:
            del books.digests[line.id]
        books.digests[opening.id] = opening.digest
        books.journal[: len(archived)] = [opening]
        return True

    async def replace_cdrs(self, cdrs: Sequence[CdrRow]) -> None:
        for cdr in cdrs:
            if cdr.session in self._books[cdr.account].cdrs:
                self._books[cdr.account].cdrs[cdr.session] = cdr

    async def forget_cdrs(self, cdrs: Sequence[CdrRow]) -> None:
        for cdr in cdrs:
            self._books[cdr.account].cdrs.pop(cdr.session, None)


class MemoryDirectory:
    """Part of the store."""

    def __init__(self, books: dict[str, _Books]) -> None:
        self._books = books
        self._by_mail: dict[str, set[str]] = defaultdict(set)
        self._numbers: dict[str, Number] = {}

    async def account(self, account: str) -> Account | None:
        books = self._books.get(account)
        return books.account if books else None

    async def put_account(self, account: Account) -> bool:
        books = self._books.get(account.id)
        if (books.account.version if books else 0) != account.version:
            return False
        stored = replace(account, version=account.version + 1)
        if books is None:
            self._books[account.id] = _Books(stored)
        else:
            self._by_mail[books.account.found_by].discard(account.id)
            books.account = stored
        self._by_mail[stored.found_by].add(account.id)
        return True

    async def accounts(self) -> AsyncIterator[Account]:
        for account in sorted(self._books):
            yield self._books[account].account

    async def account_ids(self) -> AsyncIterator[str]:
        for account in sorted(self._books):
            yield account

    async def accounts_page(self, after: str, limit: int, *, backwards: bool = False) -> Sequence[Account]:
        found = (one for one in self._books if is_beyond(one, after, backwards=backwards))
        return [self._books[one].account for one in sorted(found, reverse=backwards)[:limit]]

    async def accounts_of_mail(self, address: str, limit: int) -> Sequence[Account]:
        found = self._by_mail.get(folded(address), set()) if address else set()
        return [self._books[one].account for one in sorted(found)[:limit]]

    async def number(self, number: str) -> Number | None:
        return self._numbers.get(number)

    async def called(self, numbers: Sequence[str]) -> Called | None:
        for one in numbers:
            if (number := await self.number(one)) is not None:
                books = self._books.get(number.account)
                account, balances = (
                    await self.account(number.account),
                    dict(books.balances) if books is not None else {},
                )
                ours = await self.number(number.forward_to)
                return Called(number, account, balances, bool(number.forward_to) and ours is not None)
        return None

    async def put_number(self, number: Number, expected: Number | None = None) -> bool:
        known = self._numbers.get(number.number)
        if number.account not in self._books or known != expected:
            return False
        if known is not None and known.account != number.account:
            return False
        self._numbers[number.number] = number
        return True

    async def remove_number(self, expected: Number) -> bool:
        if self._numbers.get(expected.number) != expected:
            return False
        del self._numbers[expected.number]
        return True

    async def numbers(self, account: str | None = None) -> Sequence[Number]:
        return [self._numbers[key] for key in sorted(self._numbers) if account in (None, self._numbers[key].account)]

    async def number_ids(self) -> AsyncIterator[str]:
        for number in sorted(self._numbers):
            yield number

    async def numbers_page(
        self, after: str, limit: int, account: str | None = None, *, backwards: bool = False
    ) -> Sequence[Number]:
        found = [one for one in await self.numbers(account) if is_beyond(one.number, after, backwards=backwards)]
        return (found[::-1] if backwards else found)[:limit]

    async def restore_account(self, account: Account) -> None:
        self._books[account.id] = _Books(account)
        self._by_mail[account.found_by].add(account.id)


class MemoryDocuments:
    """See `charging.ledger.documents`."""

    def __init__(
        self,
        stored: dict[tuple[str, str], Document] | None = None,
        written: Written = lambda _document, *, is_new: None,
    ) -> None:
        """``stored``: where they are kept, by collection and id; ``written``: called with each that was written."""
        self._stored = {} if stored is None else stored
        self._written = written

    async def put_document(self, collection: str, id: str, body: str, due_us: int | None = None) -> Put:
        if (collection, id) in self._stored:
            return Put.EXISTS
        self._stored[collection, id] = document = Document(collection, id, body, due_us, version=1)
        self._written(document, is_new=True)
        return Put.CREATED

    async def get_document(self, collection: str, id: str) -> Document | None:
        return self._stored.get((collection, id))

    async def update_document(self, document: Document) -> bool:
        if not self._is_current(document):
            return False
        self._stored[document.collection, document.id] = replace(document, version=document.version + 1)
        self._written(document, is_new=False)
        return True

    async def delete_document(self, document: Document) -> bool:
        if not self._is_current(document):
            return False
        del self._stored[document.collection, document.id]
        return True

    async def due_documents(self, collection: str, now_us: int, limit: int) -> Sequence[Document]:
        found = [(one.due_us, one.id, one) for one in self._of(collection) if one.due_us is not None]
        return [one for due_us, _, one in sorted(found, key=lambda entry: entry[:2]) if due_us <= now_us][:limit]

    async def list_documents(
        self, collection: str, after: str = "", limit: int = 1000, *, backwards: bool = False
    ) -> Sequence[Document]:
        found = (one for one in self._of(collection) if is_beyond(one.id, after, backwards=backwards))
        return sorted(found, key=lambda one: one.id, reverse=backwards)[:limit]

    def _is_current(self, document: Document) -> bool:
        stored = self._stored.get((document.collection, document.id))
        return stored is not None and stored.version == document.version

    def _of(self, collection: str) -> list[Document]:
        return [one for one in self._stored.values() if one.collection == collection]


class MemoryLeases:
    """Part of the store."""

    def __init__(self, clock: Clock, documents: Mapping[tuple[str, str], Document]) -> None:
        self._clock = clock
        self._documents = documents
        self._leases: dict[str, _Lease] = {}

    async def acquire_lease(self, switch: str, owner: str, ttl_s: float) -> int | None:
        now_us = self._clock.now().mono_us
        lease = self._leases.get(switch)
        sole = self._leases.get(SOLE)
        if any(one is not None and one.until_us > now_us and one.owner != owner for one in (lease, sole)):
            return None
        if switch != SOLE and MARK in self._documents:
            return None
        epoch = lease.epoch + 1 if lease is not None else 1
        self._leases[switch] = _Lease(owner, epoch, now_us + round(ttl_s * MICROSECONDS))
        return epoch

    async def renew_lease(self, switch: str, owner: str, epoch: int, ttl_s: float) -> bool:
        now_us = self._clock.now().mono_us
        lease = self._leases.get(switch)
        if lease is None or (lease.owner, lease.epoch) != (owner, epoch) or lease.until_us <= now_us:
            return False
        lease.until_us = now_us + round(ttl_s * MICROSECONDS)
        return True

    async def release_lease(self, switch: str, owner: str, epoch: int) -> None:
        lease = self._leases.get(switch)
        if lease is not None and (lease.owner, lease.epoch) == (owner, epoch):
            lease.until_us = 0

    async def held_leases(self) -> Sequence[str]:
        now_us = self._clock.now().mono_us
        return [f"switch {switch} by {one.owner}" for switch, one in self._leases.items() if one.until_us > now_us]


class MemoryFeed:
    """Part of the store."""

    def __init__(
        self, clock: Clock, books: Mapping[str, _Books], documents: Mapping[tuple[str, str], Document]
    ) -> None:
        self._clock = clock
        self._books = books
        self._documents = documents
        self._entries: list[FeedEntry] = []

    def take_place(self, account: str = "", number: int = 0, document: str = "") -> None:
        """The next place is a line's, or a document's."""
        place = max(self._clock.now().wall_us, self._entries[-1].place + 1 if self._entries else 1)
        self._entries.append(FeedEntry(place, account, number, document))

    def place_document(self, document: Document, *, is_new: bool) -> None:
        """A document was written."""
        name = f"{document.collection}/{document.id}"
        if takes_place(document, is_new=is_new) and all(entry.document != name for entry in self._entries):
            self.take_place(document=name)

    async def read_feed(self, after: int, limit: int) -> Sequence[FeedEntry]:
        first = bisect_right(self._entries, after, key=lambda entry: entry.place)
        return [replace(entry, found=self._told(entry)) for entry in self._entries[first : first + limit]]

    def _told(self, entry: FeedEntry) -> JournalLine | Document | None:
        if entry.document:
            collection, _, id = entry.document.partition("/")
            return self._documents.get((collection, id))
        journal = self._books[entry.account].journal
        place = entry.number - (journal[0].number if journal else 0)
        line = journal[place] if 0 <= place < len(journal) else None
        return line if line is not None and line.kind.has_place else None

    async def last_place(self, up_to: int = AMOUNT_MAX) -> int:
        return max((entry.place for entry in self._entries if entry.place <= up_to), default=0)

    async def clear_feed(self) -> None:
        self._entries = []

    async def restore_feed(self, entries: Sequence[FeedEntry]) -> None:
        self._entries += [replace(entry, found=None) for entry in entries]

    async def forget_feed(self, before: int) -> None:
        self._entries = [entry for entry in self._entries if entry.place >= before]


def _journal_line(number: int, line: Transfer) -> JournalLine:
    legs = tuple([Leg(leg.balance, leg.posted, leg.reserved) for leg in line.legs])
    return JournalLine(
        number, line.id, line.account, line.kind, line.at_us, legs, line.session, line.reason, line.digest, line.actor
    )


def _is_behind(place: tuple[int, str], after: tuple[int, str], *, backwards: bool) -> bool:
    return place < after if backwards else place > after
