"""The audit trail: a note for each change by a person, a program or the daemon, with actor, time, before and after.

**No change without its note, and no note without its change**, even if the daemon is killed. A note is written before
its change as *asked*, and is set to *done* after it. The changed record names its last note in the same write
(`Account.change`, `Number.change`), and a transfer stands in the journal with its time. So it can be found out later
whether the change of a note that was left as *asked* was made. The next change of a record first sets the note before
it to *done*.

The effect of a hang-up cannot be looked up later, and neither a hang-up nor the acceptance of a tariff waits for the
ledger. Their notes are written afterwards; if that fails, only the log has the change.

A note that cannot be read does not stop the others: it is logged. Members that only a newer version knows are kept as
they are.

Notes are documents, with ids in the order of time. They are never removed; erasing a customer hides what identifies
the person.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from enum import StrEnum
from typing import Annotated, Any

import structlog

from charging.clock import Clock, iso
from charging.errors import LedgerError
from charging.ledger.accounts import Account, Number
from charging.ledger.documents import Document
from charging.ledger.model import Transfer
from charging.ledger.port import Store
from charging.records import NEWER, Codec, dataclass
from charging.service.actor import actor

COLLECTION = "changes"
SETTLE_S = 60
"""Seconds after which no change can still be under way: longer than any store's time-out."""

log = structlog.get_logger(__name__)

Facts = Mapping[str, Any]


class Act(StrEnum):
    """What can be changed."""

    ACCOUNT_MADE = "account.made"
    ACCOUNT_EDITED = "account.edited"
    ACCOUNT_ERASED = "account.erased"
    NUMBER_ADDED = "number.added"
    NUMBER_EDITED = "number.edited"
    NUMBER_REMOVED = "number.removed"
    TOPPED_UP = "credit.topped_up"
    CORRECTED = "credit.corrected"
    EXPIRED = "credit.expired"
    PROMOTION = "credit.granted"
    MINUTES = "minutes.granted"
    PIECES = "pieces.granted"
    HUNG_UP = "call.hung_up"
    TOKEN_ADDED = "token.added"  # noqa: S105  a word
    TOKEN_REVOKED = "token.revoked"  # noqa: S105  a word
    TARIFF_ACCEPTED = "tariff.accepted"
    WEBHOOK_RESENT = "webhook.resent"
    WEBHOOK_DROPPED = "webhook.dropped"
    LEDGER_RESTORED = "ledger.restored"


@dataclass(frozen=True, slots=True)
class Change:
    """A note."""

    act: str
    actor: str
    at_us: int
    """Wall clock."""
    account: str = ""
    number: str = ""
    transfer: str = ""
    """The id of the journal's line, for what is one."""
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    """Only what changed."""
    done: bool = False
    newer: Annotated[Mapping[str, Any], NEWER] = field(default_factory=dict)


CODEC = Codec(Change)


class Changes:
    """The notes in the store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def asked(
        self, act: Act, *, account: str = "", number: str = "", before: Facts | None = None, after: Facts | None = None
    ) -> str:
        """Write the note of a change that is about to be made, and return its id. Raises LedgerUnavailable."""
        facts = dict(before or {}), dict(after or {})
        change = Change(act, actor(), self._clock.now().wall_us, account, number, before=facts[0], after=facts[1])
        return await self._put(change, self._clock.now().plus(SETTLE_S).wall_us)

    async def asked_by(self, transfer: Transfer, act: Act, after: Facts) -> str:
        """Write the note of a transfer that is about to be applied, and return its id. Raises LedgerUnavailable."""
        change = Change(act, transfer.actor, transfer.at_us, transfer.account, transfer=transfer.id, after=dict(after))
        return await self._put(change, self._clock.now().plus(SETTLE_S).wall_us)

    async def noted(self, act: Act, *, account: str = "", number: str = "", after: Facts | None = None) -> None:
        """Write the note of a change that was made and cannot be looked up later. Raises LedgerUnavailable."""
        at_us = self._clock.now().wall_us
        await self._put(Change(act, actor(), at_us, account, number, after=dict(after or {}), done=True), None)

    async def _put(self, change: Change, due_us: int | None) -> str:
        id = f"{change.at_us:016d}-{secrets.token_hex(4)}"
        await self._store.documents.put_document(COLLECTION, id, CODEC.dump(change), due_us)
        return id

    async def done(self, id: str, before: Facts | None = None, after: Facts | None = None) -> None:
        """Set a note to *done*, and add facts that are known only now. Does nothing if it is done already or cannot be
        read. Raises LedgerUnavailable."""
        document = await self._store.documents.get_document(COLLECTION, id) if id else None
        change = None if document is None else readable(document)
        if document is None or change is None or change.done:
            return
        told = replace(change, before={**change.before, **(before or {})}, after={**change.after, **(after or {})})
        await self._store.documents.update_document(finished(document, told))

    async def became(self, id: str, made: bool, before: Facts | None = None, after: Facts | None = None) -> None:
        """Finish the note of a change: set it to *done* if the change was ``made``, else delete it. A failure of the
        ledger is only logged, since the change itself stands: the note is finished later
        (`charging.service.trail`)."""
        try:
            if made:
                await self.done(id, before, after)
            else:
                await self._void(id)
        except LedgerError as error:
            log.warning("change_left_to_settle", change=id, made=made, why=str(error))

    async def _void(self, id: str) -> None:
        document = await self._store.documents.get_document(COLLECTION, id)
        change = None if document is None else readable(document)
        if document is not None and change is not None and not change.done:
            await self._store.documents.delete_document(document)


def finished(document: Document, change: Change) -> Document:
    """The document of a note that is set to *done*, to be stored."""
    return replace(document, body=CODEC.dump(replace(change, done=True)), due_us=None)


def readable(document: Document) -> Change | None:
    """``None``, and an error in the log: it is damaged, or a newer version's in a way that is not understood here."""
    try:
        return CODEC.load(document.body)
    except ValueError:  # which would tell what stands in it, of people too
        log.error("change_unreadable", change=document.id)
        return None


def account_facts(account: Account) -> dict[str, Any]:
    """What people change of an account."""
    return {
        "plan": account.plan,
        "language": account.language.value,
        "email": account.email,
        "status": account.status.value,
        "status_reason": account.status_reason,
        "paid_until": None if account.paid_until_us is None else iso(account.paid_until_us),
        "paid_at": None if account.paid_at_us is None else iso(account.paid_at_us),
        "fax_address": account.fax_address_us > 0,
    }


def number_facts(number: Number) -> dict[str, Any]:
    """What people change of a number."""
    facts = {"forward_to": number.forward_to, "paid_voicemail": number.paid_voicemail, "mailbox": number.mailbox}
    return {"account": number.account, **facts}


def differences(before: Facts, after: Facts) -> tuple[dict[str, Any], dict[str, Any]]:
    """The members of both that are not the same."""
    names: Sequence[str] = [name for name in after if before.get(name) != after[name]]
    return {name: before[name] for name in names if name in before}, {name: after[name] for name in names}
