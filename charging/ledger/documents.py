"""Documents with a due time: the small part of a store that notices, tokens and other records need.

A *document* is a JSON text under an id within a collection, with the time at which something is to be done about it.
What every store promises:

1. **Identity.** ``(collection, id)`` is unique. Both are texts: a collection is ``[a-z][a-z0-9-]{0,31}``, an id has
   1 to 300 printable ASCII characters, a body at most 64 KiB of UTF-8, a due time
   at most 2^53 - 1 (exact in Redis, too). The store reads nothing of the body.
2. **put** creates a document with version 1, atomically and durably: when it answers CREATED, a power cut loses
   nothing. If the id exists it changes nothing and answers EXISTS, whatever the body says.
3. **update** replaces body and due time if the stored version is still ``document.version``, and increments the
   version; else it changes nothing and answers ``False`` (changed by another caller, or deleted). If several callers
   update the same version at the same time, exactly one gets ``True``: this is how daemons share work.
4. **delete** removes under the same condition on the version.
5. **due** lists, of one collection, documents with ``due_us <= now_us``, by ``(due_us, id)``, ``limit`` (1 to 1,000) at
   most. A document whose ``due_us`` is ``None`` is never due. Its cost depends on ``limit``, not on how many
   documents there are. The answer may be out of date when it arrives; rules 3 and 4 catch that.
6. **list** pages through a collection by id: those greater than ``after``, ``limit`` at most.
7. **One document at a time.** No operation spans two documents, or a document and the journal.
8. A store that cannot answer raises LedgerUnavailable; asking again is safe (a put that had happened answers EXISTS, an
   update or delete that had happened answers ``False``). Nothing else is raised.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from charging.records import dataclass

COLLECTIONS = (
    *("api-tokens", "archived-ids", "changes", "decisions", "fax-addresses", "findings", "mailed-faxes"),
    *("missed-calls", "notice-records", "notice-results", "notices", "operators", "packs", "page-tokens", "payments"),
    *("sandbox", "token-uses", "webhook-failures", "webhook-letters", "webhooks"),
)
"""Every collection that moves with a ledger: all but the note of the time (`charging.service.proven_time`), and which
switch a lease is of (`charging.engine.one_switch`)."""


class Put(StrEnum):
    """The answers to a put."""

    CREATED = "created"
    EXISTS = "exists"


@dataclass(frozen=True, slots=True)
class Document:
    """A document as it is stored."""

    collection: str
    id: str
    body: str
    due_us: int | None = None
    """Wall clock, microseconds."""
    version: int = 0
    """As read; 0 before it is stored."""


class Documents(Protocol):
    """What a store offers (rules 1 to 8)."""

    async def put_document(self, collection: str, id: str, body: str, due_us: int | None = None) -> Put:
        """Create a document, once."""

    async def get_document(self, collection: str, id: str) -> Document | None:
        """The document, or ``None``."""

    async def update_document(self, document: Document) -> bool:
        """Replace body and due time if the stored version is ``document.version``; else ``False``."""

    async def delete_document(self, document: Document) -> bool:
        """Remove the document if the stored version is ``document.version``; else ``False``."""

    async def due_documents(self, collection: str, now_us: int, limit: int) -> Sequence[Document]:
        """What is due, most overdue first."""

    async def list_documents(
        self, collection: str, after: str = "", limit: int = 1000, *, backwards: bool = False
    ) -> Sequence[Document]:
        """A page of a collection, by id, beyond ``after`` (empty: from the first). ``backwards``: those before it
        (empty: from the last), last first."""


def is_beyond(id: str, after: str, *, backwards: bool) -> bool:
    """Whether a page of what is listed by id goes on to this one from ``after`` (empty: from its beginning)."""
    return not after or (id < after if backwards else id > after)


class Written(Protocol):
    """Called with a document that was put (``is_new``) or updated."""

    def __call__(self, document: Document, *, is_new: bool) -> None: ...
