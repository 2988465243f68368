"""Moving house: a whole ledger out of one store and into another, record by record."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable

from charging.errors import LedgerCorrupt, LedgerUnavailable
from charging.ledger.accounts import Account, Number
from charging.ledger.books.audit import AccountAudit
from charging.ledger.books.exclusive import alone
from charging.ledger.books.portable import FORMAT, Counts, End, Head, Record, Sum, decode, encode
from charging.ledger.books.verify import all_cdrs
from charging.ledger.documents import COLLECTIONS, Document
from charging.ledger.feed import FeedEntry
from charging.ledger.model import Balance, CdrRow, JournalLine, Snapshot
from charging.ledger.port import Store
from charging.ledger.unfinished import clear_mark, set_mark

BATCH_ROWS = 500


async def export_lines(store: Store, counts: Counts, owner: str = "export") -> AsyncGenerator[str, None]:
    """Yield every line of the export; ``counts`` shows the progress. No daemon gets a lease of the store until it is
    done; ``owner`` identifies this export. Raises LedgerUnavailable if the store is in use."""
    async with alone(store, owner) as sole:
        await sole.assert_idle()
        total = Sum()
        async for record in sole.over(_records(store, counts)):
            total.line(line := encode(record))
            yield line
        yield encode(End(counts, str(total)))


async def _records(store: Store, counts: Counts) -> AsyncIterator[Record]:
    yield Head(FORMAT)
    async for account in store.directory.accounts():
        counts.accounts += 1
        yield account
        async for line in store.journal(account.id):
            counts.lines += 1
            yield line
        async for cdr in all_cdrs(store, account.id):
            counts.cdrs += 1
            yield cdr
    for number in await store.directory.numbers():
        counts.numbers += 1
        yield number
    for collection in COLLECTIONS:
        async for document in _documents(store, collection):
            counts.documents += 1
            yield document
    place = 0
    while page := await store.feed.read_feed(place, BATCH_ROWS):
        for entry in page:
            yield entry
        place = page[-1].place


async def _documents(store: Store, collection: str) -> AsyncIterator[Document]:
    after = ""
    while page := await store.documents.list_documents(collection, after, BATCH_ROWS):
        for document in page:
            yield document
        after = page[-1].id


async def import_lines(store: Store, lines: Iterable[str], counts: Counts, owner: str = "import") -> None:
    """Fill an empty store; ``counts`` shows the progress. No daemon gets a lease of the store until it is done;
    ``owner`` identifies this import.

    Raises LedgerUnavailable if the store is in use or not empty, LedgerCorrupt (with the line, and what to do) if the
    file is damaged or cut short. If records had been written by then, the store stays marked as unfinished: no program
    opens it as a ledger.
    """
    async with alone(store, owner) as sole:
        await sole.assert_idle()
        await _assert_empty(store)
        incoming = _Import(store, counts)
        for number, text in enumerate(lines, 1):
            await sole.row()
            await _take(incoming, number, text)
        if not incoming.ended:
            raise LedgerCorrupt(f"the file was cut short: its last record is missing; {incoming.advice}")
        await sole.renew()
        await clear_mark(store.documents)


async def _assert_empty(store: Store) -> None:
    async for account in store.directory.accounts():
        raise LedgerUnavailable(f"the store is not empty, it has account {account.id}: import into an empty one")
    for collection in COLLECTIONS:
        for document in await store.documents.list_documents(collection, "", 1):
            raise LedgerUnavailable(
                f"the store is not empty, it has {document.id} of {collection}: import into an empty one"
            )


async def _take(incoming: _Import, number: int, text: str) -> None:
    try:
        await incoming.take(decode(text, incoming.account), text)
    except LedgerCorrupt as error:
        raise LedgerCorrupt(f"line {number}: {error}; {incoming.advice}") from error


class _Import:
    """Where an import stands."""

    def __init__(self, store: Store, counts: Counts) -> None:
        self.account = ""
        self.ended = False
        self._store = store
        self._counts = counts
        self._audit = AccountAudit("")
        self._last_number = 0
        self._balances: dict[str, Balance] = {}
        self._lines: list[JournalLine] = []
        self._cdrs: list[CdrRow] = []
        self._all_cdrs: list[CdrRow] = []
        self._feed: list[FeedEntry] = []
        self._has_feed = False
        self._sum = Sum()
        self._begun = False
        self._marked = False

    @property
    def advice(self) -> str:
        """What to do with the store if the file is damaged."""
        return "the store is no ledger now: empty it" if self._marked else "nothing was imported"

    async def take(self, record: Record, text: str) -> None:
        """The next record, and the line it stands in."""
        if self._begun == isinstance(record, Head) or self.ended:
            raise LedgerCorrupt("a record that is out of its place")
        if not (self._marked or isinstance(record, Head)):
            await set_mark(self._store.documents)
            self._marked = True
        match record:
            case Head():
                self._begin(record)
            case Account():
                await self._finish_account()
                await self._begin_account(record)
            case JournalLine():
                await self._take_line(record)
            case CdrRow():
                await self._take_cdr(record)
            case Number():
                await self._finish_account()
                if not await self._store.directory.put_number(record):
                    of = f"number {record.number} is of account {record.account}"
                    raise LedgerCorrupt(f"{of}, which is not there, or was there before")
                self._counts.numbers += 1
            case Document():
                await self._finish_account()
                await self._store.documents.put_document(record.collection, record.id, record.body, record.due_us)
                self._counts.documents += 1
            case FeedEntry():
                await self._finish_account()
                self._feed.append(record)
                if len(self._feed) >= BATCH_ROWS:
                    await self._flush_feed()
            case End():
                await self._finish_account()
                await self._flush_feed()
                self._end(record)
        self._sum.line(text)

    def _begin(self, head: Head) -> None:
        if head.format != FORMAT:
            raise LedgerCorrupt(f"format {head.format}, this program knows {FORMAT}: export again, by this version")
        self._begun = True

    def _end(self, end: End) -> None:
        if end.counts != self._counts:
            raise LedgerCorrupt(f"the file says {end.counts}, but there were {self._counts}")
        if end.sum != str(self._sum):
            raise LedgerCorrupt("the file is not as it was written: its sum is another")
        self.ended = True

    async def _begin_account(self, account: Account) -> None:
        self.account = account.id
        self._audit, self._last_number, self._balances, self._all_cdrs = AccountAudit(account.id), 0, {}, []
        self._counts.accounts += 1
        await self._store.directory.restore_account(account)

    async def _take_line(self, line: JournalLine) -> None:
        self._audit.line(line)
        self._last_number = line.number
        for leg in line.legs:
            before = self._balances.get(leg.balance, Balance())
            self._balances[leg.balance] = Balance(before.posted + leg.posted, before.reserved + leg.reserved)
        self._lines.append(line)
        self._counts.lines += 1
        if len(self._lines) >= BATCH_ROWS:
            await self._flush()

    async def _take_cdr(self, cdr: CdrRow) -> None:
        self._cdrs.append(cdr)
        self._all_cdrs.append(cdr)
        self._counts.cdrs += 1
        if len(self._cdrs) >= BATCH_ROWS:
            await self._flush()

    async def _finish_account(self) -> None:
        if not self.account:
            return
        await self._flush()
        if found := self._audit.close(Snapshot(self._last_number, self._balances), self._all_cdrs):
            raise LedgerCorrupt(str(found[0]))
        self.account = ""

    async def _flush_feed(self) -> None:
        if not self._has_feed:  # documents have taken places as they came
            await self._store.feed.clear_feed()
            self._has_feed = True
        await self._store.feed.restore_feed(self._feed)
        self._feed = []

    async def _flush(self) -> None:
        if self._lines:
            await self._store.restore_lines(self.account, self._lines, self._balances)
        if self._cdrs:
            await self._store.restore_cdrs(self._cdrs)
        self._lines, self._cdrs = [], []
