"""An account's own fax address, ``fax+SECRET@…``. A mail to it sends a fax at the account's cost; the secret is the
only proof that is asked for.

The secret has 128 random bits, in lower-case letters and digits, because mail servers may change the case of an
address. Only its SHA-256 is stored and looked up, so the time of a look-up reveals nothing about a secret. The account
names the digest of its own address. A document leads from the digest to the account; it is written before the account
names it and deleted after, so an interrupted change leaves at worst a document that leads nowhere.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import field, replace
from typing import Annotated, Any

from charging.clock import Clock
from charging.errors import LedgerCorrupt
from charging.ledger.accounts import Account, Status
from charging.ledger.documents import Document
from charging.ledger.port import Store
from charging.records import NEWER, Codec, dataclass
from charging.service.accounts import Accounts
from charging.service.refusal import Code, Refused
from charging.unguessable import digest_of

COLLECTION = "fax-addresses"
SECRET_BYTES = 16
NAME_PREFIX = "fax+"


@dataclass(frozen=True, slots=True)
class Owner:
    """What leads from a digest to its account, as it is stored."""

    account: str
    newer: Annotated[Mapping[str, Any], NEWER] = field(default_factory=dict)


_CODEC = Codec(Owner)


@dataclass(frozen=True, slots=True)
class FaxAddress:
    """What is known of an account's address: not the address."""

    account: str
    made_us: int


@dataclass(frozen=True, slots=True)
class NewFaxAddress(FaxAddress):
    """An address just made."""

    name: str = field(repr=False)
    """What stands before the ``@``; it cannot be shown again."""


class FaxAddresses:
    """The addresses of all accounts."""

    def __init__(self, store: Store, accounts: Accounts, clock: Clock) -> None:
        self._store = store
        self._accounts = accounts
        self._clock = clock

    async def renew(self, account: str) -> NewFaxAddress | Refused:
        """Make a new address; the one before stops working."""
        stored = await self._accounts.get(account)
        if isinstance(stored, Refused):
            return stored
        secret = base64.b32encode(secrets.token_bytes(SECRET_BYTES)).decode().rstrip("=").lower()
        digest, made_us = digest_of(secret), self._clock.now().wall_us
        await self._store.documents.put_document(COLLECTION, digest, _CODEC.dump(Owner(account)))
        before = ""

        def renewed(one: Account) -> Account:
            nonlocal before
            before = one.fax_address  # which another may have made since
            return replace(one, fax_address=digest, fax_address_us=made_us)

        changed = await self._accounts.edit(account, renewed)
        if isinstance(changed, Refused):
            await forget(self._store, digest)
            return changed
        await forget(self._store, before)
        return NewFaxAddress(account, made_us, NAME_PREFIX + secret)

    async def get(self, account: str) -> FaxAddress | Refused:
        """Since when there is one."""
        stored = await self._accounts.get(account)
        if isinstance(stored, Refused):
            return stored
        return _known(stored) or _none(account)

    async def withdraw(self, account: str) -> FaxAddress | Refused:
        """Take the address back: mails to it are dropped from now on. Answers what there was."""
        before: Account | None = None

        def withdrawn(one: Account) -> Account | Refused:
            nonlocal before
            before = one
            return replace(one, fax_address="", fax_address_us=0) if one.fax_address else _none(account)

        changed = await self._accounts.edit(account, withdrawn)
        if isinstance(changed, Refused):
            return changed
        assert before is not None
        await forget(self._store, before.fax_address)
        return FaxAddress(account, before.fax_address_us)

    async def owner(self, digest: str) -> Account | None:
        """The account whose address has this digest; ``None`` if there is none or it is closed. Raises LedgerError."""
        document = await self._store.documents.get_document(COLLECTION, digest)
        account = None if document is None else await self._store.directory.account(_stored(document).account)
        if account is None or account.status is Status.CLOSED:
            return None
        return account if hmac.compare_digest(account.fax_address, digest) else None


async def forget(store: Store, digest: str) -> None:
    """Delete what leads from a digest to its account, if there is any."""
    document = await store.documents.get_document(COLLECTION, digest) if digest else None
    if document is not None:
        await store.documents.delete_document(document)


def _stored(document: Document) -> Owner:
    try:
        return _CODEC.load(document.body)
    except ValueError as error:
        raise LedgerCorrupt("what leads from a fax address to its account cannot be read") from error


def _known(account: Account) -> FaxAddress | None:
    return FaxAddress(account.id, account.fax_address_us) if account.fax_address else None


def _none(account: str) -> Refused:
    advice = f"`charging fax address new {account}` makes one"
    return Refused(Code.NOT_FOUND, f"account {account!r} has no fax address of its own", advice)
