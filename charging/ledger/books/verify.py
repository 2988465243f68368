"""Audits a whole store, in use or not: ``charging ledger verify``.

The audit is exact under traffic, without stopping it. It reads an account's CDRs first, then a snapshot of the account,
then its journal up to the snapshot's last line. Lines are only ever appended, so those lines add up to the snapshot. A
session whose CDR was read had closed before the snapshot, by one of those lines, and never opens again. Whatever
begins later is not audited.

The feed is read after all journals: by then each of their lines has its place.

Only archiving removes lines (after their sessions' CDRs), and puts an opening line with their sum in their place. If an
opening line turns up that was not there at the beginning, the account is read again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial

from charging.errors import LedgerCorrupt
from charging.ledger.books.audit import AccountAudit, Discrepancy, Fault
from charging.ledger.books.audit_calls import CallsAudit, Contents
from charging.ledger.books.audit_feed import FeedAudit, no_place
from charging.ledger.given_packs import GivenPacks
from charging.ledger.model import CdrRow, Kind
from charging.ledger.port import Store
from charging.ledger.unfinished import assert_whole

CDR_PAGE_ROWS = FEED_PAGE_ROWS = 1_000


async def verify(store: Store, contents: Contents | None = None) -> AsyncIterator[Discrepancy]:
    """Yield every finding as it is found. A damaged record is a finding, and the audit goes on with the others.
    ``contents`` reads session records and CDRs; without it they are not audited.

    Raises LedgerUnavailable, also where an import was broken off.
    """
    await assert_whole(store.documents)
    for problem in await store.self_check():
        yield Discrepancy(Fault.STORE_DAMAGED, "", "store", problem)
    known: set[str] = set()
    feed, rules = FeedAudit(), GivenPacks(store.documents)
    async for account in store.directory.account_ids():
        for finding in await _verify_record(store, account, known):
            yield finding
        for finding in await verify_account(store, account, contents, feed, rules):
            yield finding
    orphans = _Orphans(store, known)
    for look in (partial(_verify_feed, store, feed), orphans.sessions, orphans.cdrs, orphans.numbers, orphans.unlisted):
        try:
            async for finding in look():
                yield finding
        except LedgerCorrupt as error:
            yield Discrepancy(Fault.UNREADABLE, "", "a record", str(error))


async def _verify_record(store: Store, account: str, known: set[str]) -> Sequence[Discrepancy]:
    """The account's own record; one that is there is ``known``."""
    try:
        if await store.directory.account(account) is not None:
            known.add(account)
        # It never goes away: one that was not there yet when it was asked for is there once it has a line.
        elif await store.journal_page(account, None, 1) and await store.directory.account(account) is None:
            return [Discrepancy(Fault.STORE_DAMAGED, account, "account", "it has a journal, but its record is missing")]
    except LedgerCorrupt as error:
        known.add(account)
        return [Discrepancy(Fault.UNREADABLE, account, "account", str(error))]
    return []


async def verify_account(
    store: Store,
    account: str,
    contents: Contents | None = None,
    feed: FeedAudit | None = None,
    rules: GivenPacks | None = None,
) -> Sequence[Discrepancy]:
    """Every finding about one account. ``feed`` gets its lines; ``rules`` caches the rules of packs."""
    try:
        while (found := await _read_account(store, account, contents, feed or FeedAudit())) is None:
            pass  # once more for each run of the archive that came in between
        for name in await (rules or GivenPacks(store.documents)).lost(sorted(await store.balances(account))):
            found.append(
                Discrepancy(Fault.LOST_RULES, account, name, "the rules under which it was given are not kept")
            )
    except LedgerCorrupt as error:
        return [Discrepancy(Fault.UNREADABLE, account, "a record", str(error))]
    return found


async def _read_account(
    store: Store, account: str, contents: Contents | None, feed: FeedAudit
) -> list[Discrepancy] | None:
    """``None``: the archive came in between."""
    audit = AccountAudit(account)
    feed.begin(account)
    calls = CallsAudit(account, contents) if contents is not None else None
    archived_to = await _archived_to(store, account)
    cdrs = [cdr async for cdr in all_cdrs(store, account)]
    snapshot = await store.snapshot(account)
    async for line in store.journal(account):
        if line.kind is Kind.OPENING and archived_to < line.number == await _archived_to(store, account):
            return None
        if line.number > snapshot.last_number:
            break
        audit.line(line)
        feed.line(line)
        if calls is not None:
            calls.line(line)
    found = audit.close(snapshot, cdrs)
    if calls is not None:
        of_calls = calls.close(snapshot.sessions, cdrs)
        if any(finding.fault is Fault.MISSING_CDR for finding in of_calls):  # it may have ended since they were read
            of_calls = calls.close(snapshot.sessions, [cdr async for cdr in all_cdrs(store, account)])
        found += of_calls
    return found


async def _verify_feed(store: Store, audit: FeedAudit) -> AsyncIterator[Discrepancy]:
    """Every place up to the last that there is now, and the lines that have none and were not archived since."""
    last, after = await store.feed.last_place(), 0
    while after < last and (page := await store.feed.read_feed(after, FEED_PAGE_ROWS)):
        for entry in page:
            for finding in audit.entry(entry):
                yield finding
        after = page[-1].place
    for account, number in audit.missing():
        page_of_it = await store.journal_page(account, number + 1, 1)
        if page_of_it and page_of_it[0].number == number and page_of_it[0].kind.has_place:
            yield no_place(account, number)


async def _archived_to(store: Store, account: str) -> int:
    """The number of the opening line that stands for archived ones; 0: the account has its whole journal."""
    async for first in store.journal(account):
        return first.number if first.kind is Kind.OPENING else 0
    return 0


async def all_cdrs(store: Store, account: str | None = None) -> AsyncIterator[CdrRow]:
    """Every CDR of one account, or of all, page by page, up to a page that is not full: traffic cannot outrun it."""
    after: tuple[int, str] | None = None
    more = True
    while more:
        rows = await store.cdrs(account=account, after=after, limit=CDR_PAGE_ROWS)
        for row in rows:
            yield row
            after = row.ended_us, row.session
        more = len(rows) == CDR_PAGE_ROWS


class _Orphans:
    """What names an account that is not there. One that is, and is not known, has been made since, or fell out of the
    list of accounts."""

    def __init__(self, store: Store, known: set[str]) -> None:
        self._store = store
        self._known = known
        self._unlisted: set[str] = set()

    async def _missing(self, account: str) -> bool:
        if account in self._known or account in self._unlisted:
            return False
        if (there := await self._store.directory.account(account)) is not None:
            self._unlisted.add(account)
        return there is None

    async def sessions(self) -> AsyncIterator[Discrepancy]:
        for one in await self._store.sessions():
            if await self._missing(one.account):
                yield Discrepancy(Fault.ORPHANED_SESSION, one.account, f"session {one.id}", "there is no such account")

    async def cdrs(self) -> AsyncIterator[Discrepancy]:
        async for one in all_cdrs(self._store):
            if await self._missing(one.account):
                yield Discrepancy(Fault.ORPHANED_CDR, one.account, f"session {one.session}", "there is no such account")

    async def numbers(self) -> AsyncIterator[Discrepancy]:
        async for number in self._store.directory.number_ids():
            try:
                one = await self._store.directory.number(number)
                if one is not None and await self._missing(one.account):
                    yield Discrepancy(
                        Fault.ORPHANED_NUMBER, one.account, f"number {number}", "there is no such account"
                    )
            except LedgerCorrupt as error:
                yield Discrepancy(Fault.UNREADABLE, "", f"number {number}", str(error))

    async def unlisted(self) -> AsyncIterator[Discrepancy]:
        listed = {account async for account in self._store.directory.account_ids()} if self._unlisted else set()
        for account in sorted(self._unlisted - listed):
            yield Discrepancy(Fault.STORE_DAMAGED, account, "account", "it is missing from the list of accounts")
