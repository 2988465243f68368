"""Documents and the feed in a ledger's SQLite file; see :mod:`charging.ledger.documents` and `charging.ledger.feed`."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from charging.clock import Clock
from charging.ledger.documents import Document, Put
from charging.ledger.feed import FeedEntry, takes_place
from charging.ledger.model import AMOUNT_MAX
from charging.ledger.sqlite import rows as rows_of
from charging.ledger.sqlite.file import LAST, queries
from charging.ledger.sqlite.reader import KeyReader, Reader
from charging.ledger.sqlite.writer import Writer


class SqliteDocuments:
    """Part of the SQLite store. Writes share the commits of the transfers that wait beside them."""

    def __init__(self, writer: Writer, reader: Reader, by_key: KeyReader, clock: Clock) -> None:
        self._writer = writer
        self._reader = reader
        self._by_key = by_key
        self._clock = clock

    def _wall_us(self) -> int:
        return self._clock.now().wall_us

    async def put_document(self, collection: str, id: str, body: str, due_us: int | None = None) -> Put:
        created = await self._changed_document("put_document", Document(collection, id, body, due_us))
        return Put.CREATED if created else Put.EXISTS

    async def get_document(self, collection: str, id: str) -> Document | None:
        rows = await self._by_key.rows(queries()["document"], {"collection": collection, "id": id})
        return Document(*rows[0]) if rows else None

    async def update_document(self, document: Document) -> bool:
        return await self._changed_document("update_document", document)

    async def delete_document(self, document: Document) -> bool:
        return await self._changed_document("delete_document", document)

    async def due_documents(self, collection: str, now_us: int, limit: int) -> Sequence[Document]:
        return await self._documents("documents_due", {"collection": collection, "now": now_us, "limit": limit})

    async def list_documents(
        self, collection: str, after: str = "", limit: int = 1000, *, backwards: bool = False
    ) -> Sequence[Document]:
        bounds: dict[str, str | int] = {"collection": collection, "after": after, "limit": limit}
        if backwards:
            return await self._documents("documents_before", bounds | {"after": after or LAST})
        return await self._documents("documents_after", bounds)

    async def _documents(self, query: str, parameters: dict[str, str | int]) -> list[Document]:
        return [Document(*row) for row in await self._reader.rows(queries()[query], parameters)]

    async def _changed_document(self, query: str, document: Document) -> bool:
        """Carry out one statement; whether it changed a row."""
        names = ("collection", "id", "body", "due_us", "version")
        parameters = {name: getattr(document, name) for name in names}

        placed = query != "delete_document" and takes_place(document, is_new=query == "put_document")
        place = {"collection": document.collection, "id": document.id}

        def work(connection: sqlite3.Connection) -> bool:
            changed = connection.execute(queries()[query], parameters).rowcount > 0
            if changed and placed:
                connection.execute(queries()["place_document"], {"at": self._wall_us(), **place})
            return changed

        return await self._writer.submit(work)


class SqliteFeed:
    """Part of the SQLite store."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader

    async def read_feed(self, after: int, limit: int) -> Sequence[FeedEntry]:
        rows = await self._reader.rows(queries()["feed_after"], (after, limit))
        return [rows_of.feed_entry(row) for row in rows]

    async def last_place(self, up_to: int = AMOUNT_MAX) -> int:
        return int((await self._reader.rows(queries()["last_place"], (up_to,)))[0][0])

    async def clear_feed(self) -> None:
        await self._writer.changed(queries()["forget_places"], (AMOUNT_MAX,))

    async def restore_feed(self, entries: Sequence[FeedEntry]) -> None:
        rows = [(one.place, one.account or None, one.number or None, one.document or None) for one in entries]
        await self._writer.submit(lambda connection: connection.executemany(queries()["restore_place"], rows).rowcount)

    async def forget_feed(self, before: int) -> None:
        await self._writer.changed(queries()["forget_places"], (before,))
