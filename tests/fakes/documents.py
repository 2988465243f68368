"""Documents in memory: what the stores are asked for."""

from __future__ import annotations

from collections.abc import Sequence


class MemoryDocuments:
    """See `charging.service.tokens.Documents`."""

    def __init__(self) -> None:
        self.stored: dict[tuple[str, str], str] = {}

    async def put_document(self, collection: str, id: str, document: str, due_us: int | None = None) -> bool:
        if (collection, id) in self.stored:
            return False
        self.stored[collection, id] = document
        return True

    async def get_document(self, collection: str, id: str) -> str | None:
        return self.stored.get((collection, id))

    async def list_documents(self, collection: str, after: str = "", limit: int = 100) -> Sequence[tuple[str, str]]:
        found = sorted((id, text) for (kept, id), text in self.stored.items() if kept == collection and id > after)
        return found[:limit]

    async def delete_document(self, collection: str, id: str) -> bool:
        return self.stored.pop((collection, id), None) is not None
