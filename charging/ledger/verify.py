"""Audit a whole store, running or not: ``charging ledger verify``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from charging.errors import LedgerCorrupt, LedgerUnavailable
from charging.ledger.audit import AccountAudit, Fault, Finding
from charging.ledger.model import CdrRow
from charging.ledger.port import Store

READINGS_MAX = 20
"""Times that an account is read anew because it changed meanwhile."""

CDR_PAGE_ROWS = 1_000


async def verify(store: Store) -> AsyncIterator[Finding]:
    """Everything that does not fit, as it is found; an unreadable list ends the look at what it lists.

    Raises LedgerUnavailable.
    """
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
        for _ in range(READINGS_MAX):
            before = await _last_number(store, account)
            found = await _read_account(store, account)
            if not found or await _last_number(store, account) == before:
                return found
    except LedgerCorrupt as error:
        return [Finding(Fault.UNREADABLE, account, "a record", str(error))]
    raise LedgerUnavailable(f"account {account} changes faster than it can be read; verify it later")


async def _read_account(store: Store, account: str) -> list[Finding]:
    audit = AccountAudit(account)
    async for line in store.journal(account):
        audit.line(line)
    cdrs = [cdr async for cdr in all_cdrs(store, account)]
    return audit.close(await store.balances(account), await store.sessions(account=account), cdrs)


async def _last_number(store: Store, account: str) -> int:
    newest = await store.journal_page(account, None, 1)
    return newest[0].number if newest else 0


async def all_cdrs(store: Store, account: str | None = None) -> AsyncIterator[CdrRow]:
    """Every CDR of one account, or of all, page by page."""
    after: tuple[int, str] | None = None
    while rows := await store.cdrs(account=account, after=after, limit=CDR_PAGE_ROWS):
        for row in rows:
            yield row
        after = rows[-1].ended_us, rows[-1].session


async def _orphans(store: Store, known: set[str]) -> AsyncIterator[Finding]:
    for session in await store.sessions():
        if session.account not in known:
            yield Finding(Fault.ORPHANED_SESSION, session.account, f"session {session.id}", "there is no such account")
    async for cdr in all_cdrs(store):
        if cdr.account not in known:
            yield Finding(Fault.ORPHANED_CDR, cdr.account, f"session {cdr.session}", "there is no such account")
    for number in await store.numbers():
        if number.account not in known:
            yield Finding(Fault.ORPHANED_NUMBER, number.account, f"number {number.number}", "there is no such account")
