"""Documents in Redis; see :mod:`charging.ledger.documents`. All of a collection is in one slot, so each script is one
step, and the indexes beside the documents are always right."""

from __future__ import annotations

from collections.abc import Sequence

from charging.errors import LedgerCorrupt
from charging.ledger.documents import Document, Put
from charging.ledger.feed import takes_place
from charging.ledger.redis.client import RedisClient, Script
from charging.ledger.redis.records import Keys
from charging.ledger.redis.url import RedisUrl


class RedisDocuments:
    """Part of the Redis store."""

    def __init__(self, client: RedisClient, keys: Keys, url: RedisUrl) -> None:
        self._client = client
        self._keys = keys
        self._url = url
        self._write_document = Script("write_document")
        self._mark_news = Script("mark_news")
        self._read_documents = Script("read_documents")

    async def put_document(self, collection: str, id: str, body: str, due_us: int | None = None) -> Put:
        created = await self._written("put", Document(collection, id, body, due_us))
        return Put.CREATED if created else Put.EXISTS

    async def get_document(self, collection: str, id: str) -> Document | None:
        record = await self._client.command("HGET", self._keys.documents(collection)[0], id)
        return _document(collection, id, record) if record is not None else None

    async def update_document(self, document: Document) -> bool:
        return await self._written("update", document)

    async def delete_document(self, document: Document) -> bool:
        return await self._written("delete", document)

    async def due_documents(self, collection: str, now_us: int, limit: int) -> Sequence[Document]:
        return await self._read(collection, "due", now_us, limit)

    async def list_documents(
        self, collection: str, after: str = "", limit: int = 1000, *, backwards: bool = False
    ) -> Sequence[Document]:
        end = "+" if backwards else "-"
        return await self._read(collection, "back" if backwards else "list", f"({after}" if after else end, limit)

    async def _written(self, what: str, document: Document) -> bool:
        due = "" if document.due_us is None else document.due_us
        news, mark = "", f"#{document.collection}/{document.id}"
        if what != "delete" and takes_place(document, is_new=what == "put"):
            if self._url.is_cluster:
                await self._client.script_acknowledged(self._mark_news, [self._keys.news], (mark,))
            else:
                news = self._keys.news
        arguments = (what, document.id, document.version, due, document.body, self._url.touch, news, mark)
        keys = self._keys.documents(document.collection)
        return bool(await self._client.script_acknowledged(self._write_document, keys, arguments))

    async def _read(self, collection: str, what: str, bound: str | int, limit: int) -> list[Document]:
        pairs = await self._client.script(self._read_documents, self._keys.documents(collection), (what, bound, limit))
        return [_document(collection, id.decode(), pair) for id, pair in zip(pairs[::2], pairs[1::2], strict=True)]


def _document(collection: str, id: str, record: bytes | None) -> Document:
    """The document of a record ``VERSION DUE_US BODY``; DUE_US is empty for never."""
    try:
        version, due_us, body = (record or b"").decode().split(" ", 2)
        return Document(collection, id, body, int(due_us) if due_us else None, int(version))
    except ValueError as error:
        raise LedgerCorrupt(f"{collection} {id}: not a document: {(record or b'')[:100]!r}") from error
