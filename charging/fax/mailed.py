"""What is remembered of a mail that was handed in as a fax, whatever becomes of its account: that it was faxed, so that
whoever has a copy of it cannot have it faxed again where its sender has another account by now; and how often it was
answered, so that copies do not fill his mailbox.

It stands under a digest that the mail alone leads to, with the secret address that it was sent to
(`charging.fax.mail.Letter.note`). Of the account
there is a digest too. Nothing in it leads to a person.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from charging.clock import MICROSECONDS, Clock
from charging.errors import LedgerCorrupt
from charging.ledger.documents import Document, Put
from charging.ledger.port import Store
from charging.records import NEWER, Codec
from charging.service.proven_time import dated, proven
from charging.service.refusal import Code, Refused

COLLECTION = "mailed-faxes"
KEPT_DAYS = 61
"""A signature proves a mail from 30 days before its date until 30 days after it (`charging.fax.signed`)."""
REPLIES_MAX = 3
"""Of one mail: its sender may hand it in again, once he has topped up, and whoever has a copy as often as he likes."""
SWEPT = 50
"""So many that are over are removed with each that is written: their number stays bounded."""
TRIES_MAX = 20


@dataclass(frozen=True, slots=True)
class Mailed:
    """What is stored of one mail."""

    fax: str = ""
    """The id of its fax, which is a digest of its account and its key; empty: it was not faxed."""
    replies: int = 0
    newer: Annotated[Mapping[str, Any], NEWER] = field(default_factory=dict)


_CODEC = Codec(Mailed)


class MailedFaxes:
    """All of them."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._documents = store.documents
        self._clock = clock

    async def hindrance(self, note: str, fax: str) -> Refused | None:
        """Refuse a mail that has become another fax than this one: that of another account. Raises LedgerError."""
        found = await self._documents.get_document(COLLECTION, note)
        if found is None or _stored(found).fax in ("", fax):
            return None
        return Refused(Code.KEY_REUSED, "this mail was faxed before, for another account of its sender's")

    async def faxed(self, note: str, fax: str) -> None:
        """Note that the mail was faxed, and as which fax. Raises LedgerError."""
        await self._change(note, lambda one: replace(one, fax=fax))

    async def may_be_answered(self, note: str) -> bool:
        """Whether it was answered less than `REPLIES_MAX` times. Raises LedgerError."""
        found = await self._documents.get_document(COLLECTION, note)
        return found is None or _stored(found).replies < REPLIES_MAX

    async def answered(self, note: str) -> None:
        """Count a reply. Raises LedgerError."""
        await self._change(note, lambda one: replace(one, replies=one.replies + 1))

    async def _change(self, note: str, changed: Callable[[Mailed], Mailed]) -> None:
        for one in await self._documents.due_documents(COLLECTION, await proven(self._store, self._clock), SWEPT):
            await self._documents.delete_document(one)
        due_us = await dated(self._store, self._clock) + KEPT_DAYS * 86_400 * MICROSECONDS
        for _ in range(TRIES_MAX):
            found = await self._documents.get_document(COLLECTION, note)
            before = Mailed() if found is None else _stored(found)
            if (after := changed(before)) == before:
                return
            body = _CODEC.dump(after)
            if found is None:
                if await self._documents.put_document(COLLECTION, note, body, due_us) is Put.CREATED:
                    return
            elif await self._documents.update_document(replace(found, body=body, due_us=due_us)):
                return


def _stored(document: Document) -> Mailed:
    try:
        return _CODEC.load(document.body)
    except ValueError as error:
        raise LedgerCorrupt(f"what is stored of the mail {document.id} cannot be read") from error
