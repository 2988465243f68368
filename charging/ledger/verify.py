"""Audit a whole store, running or not: ``charging ledger verify``.

Exact at any traffic, without stopping it: an account's CDRs are read first, then the snapshot
of what it has, then its journal up to the snapshot's last line. Lines are only ever appended, so those lines are what
the snapshot adds up to. A session that had left a CDR when the CDRs were read had closed before the snapshot was taken
(and never opens again), by a line that is among those. What begins later is not looked at.

Only archiving takes lines away (after their sessions' CDRs) and puts the line of their sum in their place. Where such a
line turns up that was not there at the beginning, the account is read anew.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from charging.errors import LedgerCorrupt
from charging.ledger.audit import AccountAudit, Fault, Finding
from charging.ledger.model import CdrRow, Kind
from charging.ledger.port import Store
from charging.ledger.unfinished import assert_whole

CDR_PAGE_ROWS = 1_000


async def verify(store: Store) -> AsyncIterator[Finding]:
    """Everything that does not fit, as it is found; an unreadable list ends the look at what it lists.

    Raises LedgerUnavailable, also where an import was broken off.
    """
    await assert_whole(store)
    for problem in await store.self_check():
        yield Finding(Fault.STORE_DAMAGED, "", "store", problem)
    known: set[str] = set()
    for look in (_accounts, _orphans):
        try:
            async for finding in look(store, known):
                yield finding
        except LedgerCorrupt as error:
            yield Finding(Fault.UNREADABLE, "", "a record", str(error))


async def _accounts(store: Store, known: set[str]) -> AsyncIterator[Finding]:
    async for account in store.accounts():
        known.add(account.id)
        for finding in await verify_account(store, account.id):
            yield finding


async def verify_account(store: Store, account: str) -> Sequence[Finding]:
    """Everything that does not fit in one account."""
    try:
        while (found := await _read_account(store, account)) is None:
            pass  # once more for each run of the archive that came in between
    except LedgerCorrupt as error:
        return [Finding(Fault.UNREADABLE, account, "a record", str(error))]
    return found


async def _read_account(store: Store, account: str) -> list[Finding] | None:
    """``None``: the archive came in between."""
    audit = AccountAudit(account)
    archived_to = await _archived_to(store, account)
    cdrs = [cdr async for cdr in all_cdrs(store, account)]
    snapshot = await store.snapshot(account)
    async for line in store.journal(account):
        if line.kind is Kind.OPENING and archived_to < line.number == await _archived_to(store, account):
            return None
        if line.number > snapshot.last_number:
            break
        audit.line(line)
    return audit.close(snapshot, cdrs)


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


async def _orphans(store: Store, known: set[str]) -> AsyncIterator[Finding]:
    """What names an account that is not there. One that is, and is not known, has been made since, or fell out of the
    list of accounts."""
    unlisted: set[str] = set()

    async def missing(account: str) -> bool:
        if account in known or account in unlisted:
            return False
        if (there := await store.account(account)) is not None:
            unlisted.add(account)
        return there is None

    for session in await store.sessions():
        if await missing(session.account):
            yield Finding(Fault.ORPHANED_SESSION, session.account, f"session {session.id}", "there is no such account")
    async for cdr in all_cdrs(store):
        if await missing(cdr.account):
            yield Finding(Fault.ORPHANED_CDR, cdr.account, f"session {cdr.session}", "there is no such account")
    for number in await store.numbers():
        if await missing(number.account):
            yield Finding(Fault.ORPHANED_NUMBER, number.account, f"number {number.number}", "there is no such account")
    listed = {account.id async for account in store.accounts()} if unlisted else set()
    for account in sorted(unlisted - listed):
        yield Finding(Fault.STORE_DAMAGED, account, "account", "it is missing from the list of accounts")
