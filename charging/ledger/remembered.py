"""Remembers ids made by callers from outside, after the archive has taken their lines: of a payment that a website
repeats, a correction, a fax. Such a caller may repeat an id after more than a month, and must not be charged or
credited twice.

The archive stores a document for each such line (a hash of its id, and its digest) until the line is
OUTSIDE_REMEMBERED_S old. Before the service acts under a key from outside, it looks here. There is no race: an archive
runs while no daemon does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from charging.clock import MICROSECONDS
from charging.ledger.documents import Document
from charging.ledger.model import JournalLine, Kind, Outcome, Transfer
from charging.ledger.port import Store

OUTSIDE_REMEMBERED_S = 400 * 24 * 3600
"""Seconds that an id from outside is remembered at least: a year and a month."""

COLLECTION = "archived-ids"
KEYED_SESSION = "fax-"
"""The prefix of session ids that are made of a caller's key."""
PAGE = 500

_FROM_PEOPLE = frozenset({Kind.TOP_UP, Kind.CORRECT})


async def remember(store: Store, archived: Iterable[JournalLine], now_us: int) -> None:
    """Keep the ids from outside among lines that are about to be taken out of the journal. Raises LedgerUnavailable."""
    for line in archived:
        until_us = line.at_us + OUTSIDE_REMEMBERED_S * MICROSECONDS
        if until_us <= now_us:
            continue
        if line.session is not None and line.session.startswith(KEYED_SESSION):
            first_attempt = KEYED_SESSION + line.session.removeprefix(KEYED_SESSION).partition("-")[0]
            await store.documents.put_document(COLLECTION, _place(line.account, first_attempt), "", until_us)
        elif line.session is None and line.kind in _FROM_PEOPLE:
            await store.documents.put_document(COLLECTION, _place(line.account, line.id), line.digest, until_us)


async def forget_old(store: Store, now_us: int) -> None:
    """Drop what was remembered long enough. Raises LedgerUnavailable."""
    while due := await store.documents.due_documents(COLLECTION, now_us, PAGE):
        for document in due:
            await store.documents.delete_document(document)


async def carried_out(store: Store, transfer: Transfer) -> Outcome | None:
    """EXISTS or DIFFERS if the transfer's line was archived; ``None``: ask the ledger. Raises LedgerUnavailable."""
    kept = await _kept(store, transfer.account, transfer.id)
    if kept is None:
        return None
    return Outcome.EXISTS if kept.body == transfer.digest else Outcome.DIFFERS


async def session_was_archived(store: Store, account: str, session: str) -> bool:
    """Whether a session (its first attempt's id) under a caller's key was archived. Raises LedgerUnavailable."""
    return await _kept(store, account, session) is not None


async def _kept(store: Store, account: str, id: str) -> Document | None:
    return await store.documents.get_document(COLLECTION, _place(account, id))


def _place(account: str, id: str) -> str:
    return f"{account}/{hashlib.sha256(id.encode()).hexdigest()[:32]}"
