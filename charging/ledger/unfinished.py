"""The mark of an unfinished import: a document in the store itself.

It is written before the first record and removed after the last. So the remains of an import that was interrupted or
killed are never taken for a ledger.
"""

from __future__ import annotations

from charging.errors import LedgerUnavailable
from charging.ledger.documents import Documents

MARK = ("imports", "unfinished")
"""Its collection, which no export holds, and its id."""


async def set_mark(store: Documents) -> None:
    """Mark the store as one into which an import is under way. Raises LedgerUnavailable."""
    await store.put_document(*MARK, "{}")


async def clear_mark(store: Documents) -> None:
    """The import is whole. Raises LedgerUnavailable."""
    if (mark := await store.get_document(*MARK)) is not None:
        await store.delete_document(mark)


async def assert_whole(store: Documents) -> None:
    """Raises LedgerUnavailable if the store has the mark of an unfinished import."""
    if await store.get_document(*MARK) is not None:
        raise LedgerUnavailable(
            "an import into this ledger was broken off, and what came in is no ledger: empty the store "
            "(remove the SQLite file, or the keys in the Redis) and import again"
        )
