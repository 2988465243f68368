"""Bearer tokens: who may ask the HTTP API, and for what.

A token is ``charging_ID_SECRET``. The secret has 256 random bits and cannot be guessed, so its plain SHA-256 is as safe
as a slow hash (those protect passwords that people choose). Only the digest is stored: a reader of the store cannot use
the API. The token itself is shown once, when it is made. A revoked token is deleted.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache

from charging.clock import MICROSECONDS, Clock
from charging.errors import LedgerCorrupt
from charging.ledger.documents import Document, Put
from charging.ledger.port import Store
from charging.service import text
from charging.service.changes import Act, Changes
from charging.service.refusal import Code, Refused

COLLECTION = "api-tokens"
LABEL = "charging"
TOKENS_MAX = 1_000
USES = "token-uses"
"""When a token was last used, apart from what it is: a revocation must never come too late for a use."""
USES_EVERY_S = 300
"""Uses are gathered for so long, and written once."""
LIST_EVERY_S = 1
"""How often unknown ids may have the store's tokens listed: a token just made is known of after this."""

_TOKEN = re.compile(rf"{LABEL}_([0-9a-f]{{12}})_([A-Za-z0-9_-]{{43}})")


class Scope(StrEnum):
    """What a token may do; a token has one or several. Only ``operate`` includes others, see :meth:`allowed_by`."""

    READ = "read"
    """Look at everything but who changed what."""
    AUDIT = "audit"
    """See who changed what."""
    CREDIT = "credit"
    """Top up, and record payments of subscriptions."""
    FAX = "fax"
    """Send faxes, which their accounts pay."""
    MINUTES = "minutes"
    """Give free minutes, and take them back."""
    NUMBERS = "numbers"
    """Set where a number forwards to."""
    ACCOUNTS = "accounts"
    """Make and edit accounts, give them numbers and take these back, set the voicemail of a number."""
    CORRECT = "correct"
    """Correct credit, give promotional credit, correct the end of what is paid of a subscription."""
    CALLS = "calls"
    """End running calls."""
    SIGN_IN = "sign_in"
    """Sign customers in on their page, and show them the balance widget."""
    OPERATE = "operate"
    """These four, and suspend and close accounts."""

    def allowed_by(self, scopes: Collection[Scope]) -> bool:
        """Whether someone with these scopes may do it."""
        return self in scopes or (self in OPERATED and Scope.OPERATE in scopes)


OPERATED = frozenset({Scope.NUMBERS, Scope.ACCOUNTS, Scope.CORRECT, Scope.CALLS})
"""What ``operate`` includes."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it is stored: without its secret."""

    id: str
    name: str
    """Whose it is, in a person's words."""
    scopes: frozenset[Scope]
    created_us: int
    account: str = ""
    """The only account that it can ask about and change; empty: every one."""
    expires_us: int | None = None
    """Wall clock from which on it is good for nothing; ``None``: never."""
    amount_max: int | None = None
    """Micro-euro, the largest top-up or correction (up or down) at a time; ``None``: what the tariff allows."""


class Unfit(StrEnum):
    """Why the text of a token lets nobody in."""

    UNKNOWN = "the token is not known (any more)"
    EXPIRED = "the token has expired"
    """Said only to whoever has its whole text."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a token to be made may not pass; see :class:`Token`."""

    account: str = ""
    expires_us: int | None = None
    amount_max: int | None = None


UNBOUND = Bounds()


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token just made."""

    token: Token
    secret: str
    """The whole text that goes into ``Authorization: Bearer …``; it cannot be shown again."""

    def __repr__(self) -> str:
        return f"NewToken({self.token!r})"


class Tokens:
    """The tokens in the store."""

    def __init__(self, documents: Store, clock: Clock) -> None:
        self._documents = documents
        self._clock = clock
        self._changes = Changes(documents, clock)
        self._digests: dict[str, str] = {}
        """Of the tokens when they were last listed."""
        self._listed_mono_us: int | None = None
        self._used: dict[str, int] = {}
        """By id, of those used since they were last taken."""

    async def add(self, name: str, scopes: Collection[Scope], bounds: Bounds = UNBOUND) -> NewToken | Refused:
        """Make a token."""
        now_us = self._clock.now().wall_us
        if (wrong := text.reason(name)) is not None:
            return Refused(wrong.code, f"found the name {name[:80]!r}, expected one line that says whose token it is")
        if not scopes:
            return Refused(Code.INVALID, "found no scope, expected one or more of " + ", ".join(Scope))
        if (wrong := _out_of_bounds(bounds, now_us)) is not None:
            return wrong
        if len(await self._documents.documents.list_documents(COLLECTION, limit=TOKENS_MAX)) >= TOKENS_MAX:
            return Refused(Code.NOT_ALLOWED, f"there are {TOKENS_MAX} tokens already", "revoke those nobody uses")
        limits = bounds.account, bounds.expires_us, bounds.amount_max
        token = Token(secrets.token_hex(6), name.strip(), frozenset(scopes), now_us, *limits)
        secret = secrets.token_urlsafe(32)
        note = await self._changes.asked(Act.TOKEN_ADDED, account=token.account, after=_facts(token))
        if await self._documents.documents.put_document(COLLECTION, token.id, _body(token, secret)) is not Put.CREATED:
            await self._changes.became(note, made=False)
            return Refused(Code.CONFLICT, f"there is a token {token.id} already", "try again")
        await self._changes.became(note, made=True)
        return NewToken(token, f"{LABEL}_{token.id}_{secret}")

    async def all(self) -> list[Token]:
        """Every token, by age."""
        found = await self._documents.documents.list_documents(COLLECTION, limit=TOKENS_MAX)
        return sorted((_stored(document)[0] for document in found), key=lambda one: (one.created_us, one.id))

    async def name_of(self, id: str) -> str:
        """Whose a token is; empty: there is none (any more)."""
        document = await self._documents.documents.get_document(COLLECTION, id) if _is_id(id) else None
        return _stored(document)[0].name if document is not None else ""

    async def revoke(self, id: str) -> Token | Refused:
        """Delete a token: it is refused from now on."""
        document = await self._documents.documents.get_document(COLLECTION, id) if _is_id(id) else None
        if document is None:
            return _no_token(id)
        token = _stored(document)[0]
        note = await self._changes.asked(Act.TOKEN_REVOKED, account=token.account, before=_facts(token))
        if not await self._documents.documents.delete_document(document):
            await self._changes.became(note, made=False)
            return _no_token(id)
        await self._changes.became(note, made=True)
        if (use := await self._documents.documents.get_document(USES, id)) is not None:
            await self._documents.documents.delete_document(use)
        return token

    def used(self, id: str) -> None:
        """A token was used just now. Returns at once."""
        self._used[id] = self._clock.now().wall_us

    def take_uses(self) -> dict[str, int]:
        """Return the uses noted since the last call of this method: wall clock (µs) of the last use, by token id."""
        taken, self._used = self._used, {}
        return taken

    async def note_uses(self, uses: Mapping[str, int]) -> None:
        """Store when tokens were last used, TOKENS_MAX of them at most. Raises LedgerUnavailable."""
        known = {one.id for one in await self._documents.documents.list_documents(COLLECTION, limit=TOKENS_MAX)}
        for id in known.intersection(uses):
            stored = await self._documents.documents.get_document(USES, id)
            if stored is None:
                await self._documents.documents.put_document(USES, id, str(uses[id]))
            elif int(stored.body) < uses[id]:
                await self._documents.documents.update_document(replace(stored, body=str(uses[id])))

    async def uses(self) -> dict[str, int]:
        """When each token was last used, wall clock in µs, to within USES_EVERY_S; without those that never were."""
        found = await self._documents.documents.list_documents(USES, limit=TOKENS_MAX)
        return {one.id: int(one.body) for one in found}

    async def authenticate(self, secret: str) -> Token | Unfit:
        """The stored token that the text ``secret`` belongs to, or why it lets nobody in. Raises LedgerError."""
        match = _TOKEN.fullmatch(secret)
        document = await self._documents.documents.get_document(COLLECTION, match[1]) if match is not None else None
        if match is None or document is None:
            self._digests.pop("" if match is None else match[1], None)
            return Unfit.UNKNOWN
        token, digest = _stored(document)
        is_owned = hmac.compare_digest(digest, _digest(match[2]))
        if self._has_expired(token):
            self._digests[token.id] = ""  # which no text has: over the limit of failures the store is not asked again
            return Unfit.EXPIRED if is_owned else Unfit.UNKNOWN
        return token if is_owned else Unfit.UNKNOWN

    async def stands(self, token: Token) -> bool:
        """Whether a token that was authenticated has neither expired nor been revoked since. Raises LedgerError."""
        is_there = await self._documents.documents.get_document(COLLECTION, token.id) is not None
        return is_there and not self._has_expired(token)

    def _has_expired(self, token: Token) -> bool:
        return token.expires_us is not None and self._clock.now().wall_us >= token.expires_us

    async def exists(self, id: str) -> bool:
        """Whether there is such a token. However often it is asked for ids that there are not, the store is asked at
        most once in LIST_EVERY_S."""
        now_us = self._clock.now().mono_us
        due_us = LIST_EVERY_S * MICROSECONDS
        if id not in self._digests and (self._listed_mono_us is None or now_us - self._listed_mono_us >= due_us):
            self._listed_mono_us = now_us
            found = await self._documents.documents.list_documents(COLLECTION, limit=TOKENS_MAX)
            self._digests = {one.id: _readable_digest(one) for one in found}
        return id in self._digests

    def fits(self, secret: str) -> bool:
        """Whether this is the text of a token that ``exists`` has found. Asks no store; a revoked one may fit."""
        match = _TOKEN.fullmatch(secret)
        return match is not None and hmac.compare_digest(self._digests.get(match[1], ""), _digest(match[2]))


def _no_token(id: str) -> Refused:
    return Refused(Code.NOT_FOUND, f"there is no token {id[:80]!r}", "`charging token list` shows their ids")


def _facts(token: Token) -> dict[str, object]:
    return {"token": token.id, "name": token.name, "scopes": sorted(token.scopes)}


def _out_of_bounds(bounds: Bounds, now_us: int) -> Refused | None:
    if bounds.account and (wrong := text.account_id(bounds.account)) is not None:
        return wrong
    if bounds.expires_us is not None and bounds.expires_us <= now_us:
        return Refused(Code.INVALID, "found an end that is over, expected one that is to come")
    if bounds.amount_max is not None and bounds.amount_max <= 0:
        return Refused(Code.INVALID, "found a largest amount of nothing, expected more than 0.00")
    return None


def _readable_digest(document: Document) -> str:
    """Empty, which no text of a token has, where the stored token cannot be read."""
    try:
        return _stored(document)[1]
    except LedgerCorrupt:
        return ""


def token_id(secret: str) -> str:
    """The id that the text of a token names, be it a good one or not; empty where it has not the form of one."""
    match = _TOKEN.fullmatch(secret)
    return match[1] if match is not None else ""


def secret_of(text: str) -> str:
    """The secret part of the text of a token, be it a good one or not; empty where it has not the form of one."""
    match = _TOKEN.fullmatch(text)
    return match[2] if match is not None else ""


def _is_id(id: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{12}", id) is not None


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _body(token: Token, secret: str) -> str:
    contents = {
        "name": token.name,
        "scopes": sorted(token.scopes),
        "created_us": token.created_us,
        "sha256": _digest(secret),
        "account": token.account,
        "expires_us": token.expires_us,
        "amount_max": token.amount_max,
    }
    return json.dumps(contents, separators=(",", ":"))


@lru_cache(TOKENS_MAX)
def _stored(document: Document) -> tuple[Token, str]:
    """The token and its secret's digest. Remembered, for who asks once asks again."""
    try:
        contents = json.loads(document.body)
        scopes = frozenset(map(Scope, contents["scopes"]))
        limits = contents.get("account", ""), contents.get("expires_us"), contents.get("amount_max")  # none before 0.2
        return Token(document.id, contents["name"], scopes, contents["created_us"], *limits), contents["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise LedgerCorrupt(f"the stored token {document.id} cannot be read") from error
