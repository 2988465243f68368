"""The mark of an import that has not come to its end: a document of the store itself.

It is there from before the first record that comes in until after the last, so that what an import leaves behind that
was broken off or killed is never taken for a ledger.
"""

from __future__ import annotations

from charging.errors import LedgerUnavailable
from charging.ledger.documents import Documents

MARK = ("imports", "unfinished")
"""Its collection, which no export holds, and its id."""


async def set_mark(store: Documents) -> None:
    await store.put_document(*MARK, "{}")


async def clear_mark(store: Documents) -> None:
    if (mark := await store.get_document(*MARK)) is not None:
        await store.delete_document(mark)


async def assert_whole(store: Documents) -> None:
    """Raises LedgerUnavailable where an import did not come to its end."""
    if await store.get_document(*MARK) is not None:
        raise LedgerUnavailable(
            "an import into this ledger was broken off, and what came in is no ledger: empty the store "
            "(remove the SQLite file, or the keys in the Redis) and import again"
        )
