"""What is remembered of a mail that was handed in as a fax, whatever becomes of its account: that it was faxed, so that
whoever has a copy of it cannot have it faxed again where its sender has another account by now; and how often it was
answered, so that copies do not fill his mailbox.

It stands under a digest that the mail alone leads to, with the secret address that it was sent to
(`charging.fax.mail.Letter.note`). Of the account
there is a digest too. Nothing in it leads to a person.

How many replies an account got on one day stands there like a mail, under a digest of the account and the day: whoever
knows its secret address would else have us fill its mailbox, by as many mails as he likes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Annotated, Any

from charging.clock import MICROSECONDS, Clock
from charging.errors import LedgerCorrupt
from charging.fax.mail import KEY_PREFIX
from charging.ledger.documents import Document, Put
from charging.ledger.port import Store
from charging.records import NEWER, Codec
from charging.service.proven_time import dated, proven
from charging.service.refusal import Code, Refused
from charging.unguessable import digest_of

COLLECTION = "mailed-faxes"
KEPT_DAYS = 61
"""A signature proves a mail from 30 days before its date until 30 days after it (`charging.fax.signed`)."""
REPLIES_MAX = 3
"""Of one mail: its sender may hand it in again, once he has topped up, and whoever has a copy as often as he likes."""
REPLIES_A_DAY = 20
"""To one account, on a day by UTC; then one more, which says that there will be no further one."""
SWEPT = 50
"""So many that are over are removed with each that is written: their number stays bounded."""
TRIES_MAX = 20
DAY_US = 86_400 * MICROSECONDS


@dataclass(frozen=True, slots=True)
class Mailed:
    """What is stored of one mail."""

    fax: str = ""
    """The id of its fax, which is a digest of its account and its key; empty: it was not faxed."""
    replies: int = 0
    """Of an account's day: to all its mails."""
    newer: Annotated[Mapping[str, Any], NEWER] = field(default_factory=dict)


_CODEC = Codec(Mailed)


class Answer(StrEnum):
    """Whether a mail may be answered."""

    REPLY = "reply"
    NO_MORE_TODAY = "no_more_today"
    """By one that says that there will be none until tomorrow."""
    NONE = "none"


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

    async def answer(self, note: str, account: str) -> Answer:
        """What the mail may be answered that the account pays for. Raises LedgerError."""
        today = await self._replies(await self._day(account))
        if await self._replies(note) >= REPLIES_MAX or today > REPLIES_A_DAY:
            return Answer.NONE
        return Answer.REPLY if today < REPLIES_A_DAY else Answer.NO_MORE_TODAY

    async def answered(self, note: str, account: str) -> None:
        """Count a reply. Raises LedgerError."""
        for one in (note, await self._day(account)):
            await self._change(one, lambda mailed: replace(mailed, replies=mailed.replies + 1))

    async def _replies(self, note: str) -> int:
        found = await self._documents.get_document(COLLECTION, note)
        return 0 if found is None else _stored(found).replies

    async def _day(self, account: str) -> str:
        """Under what the account's replies of today are noted."""
        day = await dated(self._store, self._clock) // DAY_US
        return KEY_PREFIX + digest_of(f"replies\n{account}\n{day}")[:32]

    async def _change(self, note: str, changed: Callable[[Mailed], Mailed]) -> None:
        for one in await self._documents.due_documents(COLLECTION, await proven(self._store, self._clock), SWEPT):
            await self._documents.delete_document(one)
        due_us = await dated(self._store, self._clock) + KEPT_DAYS * DAY_US
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
