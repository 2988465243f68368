"""Who may log in to the operator's console, and in which role."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from charging.clock import Clock
from charging.errors import LedgerCorrupt
from charging.ledger.documents import Document, Documents, Put
from charging.records import Codec
from charging.service.refusal import Code, Refused

COLLECTION = "operators"
OPERATORS_MAX = 1_000
TRIES_MAX = 20

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")
_HASH = re.compile(
    r"\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,2}),p=(\d{1,2})\$[A-Za-z0-9+/]{16,64}\$[A-Za-z0-9+/]{32,128}"
)
_MEMORY_KIB = range(19_456, 262_145)
_ROUNDS = range(1, 11)
_LANES = range(1, 9)


class Role(StrEnum):
    """What someone may do; each may do what those before it may."""

    VIEW = "view"
    """Look at everything."""
    SUPPORT = "support"
    """Top up, hang up, suspend and activate accounts, set where a number forwards to."""
    ADMIN = "admin"
    """Correct credit, and edit the tariff."""

    def includes(self, other: Role) -> bool:
        """Whether someone in this role may do what the other one may."""
        order = list(Role)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True, slots=True)
class Operator:
    """Someone who may log in."""

    name: str
    role: Role
    created_us: int
    password_hash: str = field(repr=False)
    """By argon2id."""
    changed_us: int = 0
    """When role or password were last changed: sessions begun before are over."""


_CODEC = Codec(Operator)


class Operators:
    """Those in the store."""

    def __init__(self, documents: Documents, clock: Clock) -> None:
        self._documents = documents
        self._clock = clock

    async def add(self, name: str, role: Role, password_hash: str) -> Operator | Refused:
        """Add an operator. ``password_hash`` is as `charging.service.passwords` makes it."""
        if not _NAME.fullmatch(name):
            expected = "up to 32 small letters, digits, dots, dashes and underscores, a letter or digit first"
            return Refused(Code.INVALID, f"found the name {name[:80]!r}, expected {expected}", at="#/name")
        if not _is_hash(password_hash):
            return _no_hash()
        if len(await self.all()) >= OPERATORS_MAX:
            return Refused(Code.NOT_ALLOWED, f"there are {OPERATORS_MAX} operators already", "remove those who left")
        now_us = self._clock.now().wall_us
        made = Operator(name, role, now_us, password_hash, now_us)
        if await self._documents.put_document(COLLECTION, name, _CODEC.dump(made)) is not Put.CREATED:
            return Refused(
                Code.EXISTS, f"there is an operator {name!r} already", "`charging console user set` edits one"
            )
        return made

    async def get(self, name: str) -> Operator | None:
        """Whoever is called so."""
        found = await self._document(name)
        return None if found is None else _stored(found)

    async def all(self) -> Sequence[Operator]:
        """Everyone, by name."""
        return [_stored(one) for one in await self._documents.list_documents(COLLECTION, limit=OPERATORS_MAX)]

    async def change(self, name: str, role: Role | None, password_hash: str | None) -> Operator | Refused:
        """Change an operator's role or password (``None``: keep it). All sessions of the operator end."""
        if password_hash is not None and not _is_hash(password_hash):
            return _no_hash()
        for _ in range(TRIES_MAX):
            if (found := await self._document(name)) is None:
                return _nobody(name)
            known = _stored(found)
            changed = replace(
                known,
                role=role or known.role,
                password_hash=password_hash or known.password_hash,
                changed_us=max(self._clock.now().wall_us, known.changed_us + 1),
            )
            if await self._documents.update_document(replace(found, body=_CODEC.dump(changed))):
                return changed
        return Refused(Code.CONFLICT, f"operator {name!r} is being changed by others", "try again")

    async def remove(self, name: str) -> Operator | Refused:
        """Remove an operator. All sessions of the operator end."""
        for _ in range(TRIES_MAX):
            if (found := await self._document(name)) is None:
                break
            if await self._documents.delete_document(found):
                return _stored(found)
        return _nobody(name)

    async def _document(self, name: str) -> Document | None:
        return await self._documents.get_document(COLLECTION, name) if _NAME.fullmatch(name) else None


def _is_hash(text: str) -> bool:
    """Whether `charging.service.passwords` could have made it: comparing takes neither too little nor for ever."""
    match = _HASH.fullmatch(text)
    if match is None:
        return False
    memory, rounds, lanes = map(int, match.groups())
    return memory in _MEMORY_KIB and rounds in _ROUNDS and lanes in _LANES


def _no_hash() -> Refused:
    return Refused(Code.INVALID, "found no hash of argon2id, expected that of a password", at="#/password_hash")


def _nobody(name: str) -> Refused:
    return Refused(Code.NOT_FOUND, f"there is no operator {name[:80]!r}", "`charging console user list` shows them")


def _stored(document: Document) -> Operator:
    try:
        return _CODEC.load(document.body)
    except (ValueError, TypeError, KeyError) as error:
        raise LedgerCorrupt(f"the stored operator {document.id} cannot be read") from error
