"""Short-lived tokens for one account, which the operator's website passes to its customer's browser. One kind signs the
customer in on the customers' page, once; the other lets the balance widget ask for the balance until it expires.

A token allows nothing but its use, for its own account. The secret has 256 random bits; only its SHA-256 is stored and
looked up. The service keeps no passwords of customers: the website knows who its customer is.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from typing import Annotated, Any

from charging.clock import MICROSECONDS, Clock
from charging.errors import LedgerCorrupt
from charging.ledger.accounts import REHEARSAL
from charging.ledger.documents import Document
from charging.ledger.port import Store
from charging.records import NEWER, Codec, dataclass
from charging.service.refusal import Code, Refused, unknown_account

COLLECTION = "page-tokens"
SWEPT = 50
"""So many that are over are removed with each that is made: their number stays bounded."""
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")


class Use(StrEnum):
    """What a token is good for."""

    PAGE = "page"
    """Signing in on the customer's page, once."""
    WIDGET = "widget"
    """Asking for the balance, until it is over."""


@dataclass(frozen=True, slots=True)
class PageToken:
    """A token as it is stored, under the digest of its secret."""

    account: str
    use: str
    """One of `Use`, or what only a newer version knows."""
    newer: Annotated[Mapping[str, Any], NEWER] = field(default_factory=dict)


_CODEC = Codec(PageToken)


@dataclass(frozen=True, slots=True)
class PagePlace:
    """What the settings say of the customer's page."""

    url: str
    """Where browsers reach it, without a path."""
    link_s: int
    """Seconds for which a token of :attr:`Use.PAGE` is good."""
    widget_s: int


@dataclass(frozen=True, slots=True)
class NewPageToken:
    """A token just made."""

    account: str
    use: Use
    expires_us: int
    secret: str = field(repr=False)
    url: str = field(repr=False)
    """Of the page: the link that signs in. Of the widget: its script."""


class PageTokens:
    """All of them."""

    def __init__(self, store: Store, clock: Clock, place: PagePlace | None) -> None:
        """``place``: ``None`` where no customer's page is served."""
        self._store = store
        self._clock = clock
        self._place = place

    async def make(self, account: str, use: Use) -> NewPageToken | Refused:
        """A token for an account, also for one that is closed: its history stays to be seen (R21)."""
        place, now_us = self._place, self._clock.now().wall_us
        if place is None:
            advice = "a section `customer_page` in charging.yaml serves it; restart the daemon then"
            return Refused(Code.NOT_ALLOWED, "no customer's page is served", advice)
        if account == REHEARSAL or await self._store.directory.account(account) is None:
            return unknown_account(account)
        for one in await self._store.documents.due_documents(COLLECTION, now_us, SWEPT):
            await self._store.documents.delete_document(one)
        lasts_s, secret = place.link_s if use is Use.PAGE else place.widget_s, secrets.token_urlsafe(32)
        expires_us = now_us + lasts_s * MICROSECONDS
        body = _CODEC.dump(PageToken(account, use))
        await self._store.documents.put_document(COLLECTION, _digest(secret), body, expires_us)
        url = f"{place.url}/enter?token={secret}" if use is Use.PAGE else f"{place.url}/widget.js"
        return NewPageToken(account, use, expires_us, secret, url)

    async def account_of(self, secret: str, use: Use) -> str | None:
        """The account of a token; ``None`` if it is unknown, expired, used, or for another use. Raises LedgerError."""
        found = await self._find(secret, use)
        return None if found is None else _stored(found).account

    async def spend(self, secret: str) -> str | None:
        """The account of a token that signs in, which is used up by that. If several requests come at once, one gets
        the account. Raises LedgerError."""
        found = await self._find(secret, Use.PAGE)
        if found is None or not await self._store.documents.delete_document(found):
            return None
        return _stored(found).account

    async def _find(self, secret: str, use: Use) -> Document | None:
        if not _SECRET.fullmatch(secret):
            return None
        found = await self._store.documents.get_document(COLLECTION, _digest(secret))
        if found is None or found.due_us is None or self._clock.now().wall_us >= found.due_us:
            return None
        return found if _stored(found).use == use else None


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _stored(document: Document) -> PageToken:
    try:
        return _CODEC.load(document.body)
    except ValueError as error:
        raise LedgerCorrupt("a stored token of the customer's page cannot be read") from error
