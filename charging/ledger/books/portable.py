"""A whole ledger as lines of JSON: what `ledger export` writes and `ledger import` reads. Pure.

One record a line, as an array that begins with its kind::

    ["ledger", FORMAT]
    ["account", VERSION, {…}]                                       then all that is the account's:
    ["line", NUMBER, ID, KIND, AT_US, [[BALANCE, POSTED, RESERVED], …], SESSION, REASON, DIGEST]    and ACTOR, if known
    ["cdr", SESSION, ENDED_US, DOCUMENT]
    ["number", {…}]
    ["document", COLLECTION, ID, BODY, DUE_US]                      see charging/ledger/documents.py
    ["told", PLACE, ACCOUNT, NUMBER, DOCUMENT]                      see charging/ledger/feed.py
    ["end", ACCOUNTS, LINES, CDRS, NUMBERS, DOCUMENTS, SHA256]      without it, the file was cut short

SHA256 is the digest of every line before the last (`Sum`): it detects any change. The file holds no balances: they are
the sum of the lines.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

from charging.errors import LedgerCorrupt
from charging.ledger.accounts import Account, Number
from charging.ledger.codec import dump, dump_account, dump_number, load, load_account, load_legs, load_number
from charging.ledger.documents import Document
from charging.ledger.feed import FeedEntry
from charging.ledger.model import ACTOR_LENGTH_MAX, AMOUNT_MAX, CdrRow, JournalLine, Kind

FORMAT = 2
"""1 had no sum."""


@dataclass(slots=True)
class Counts:
    """How much of each kind has gone by."""

    accounts: int = 0
    lines: int = 0
    cdrs: int = 0
    numbers: int = 0
    documents: int = 0


@dataclass(frozen=True, slots=True)
class Head:
    """The first record."""

    format: int


@dataclass(frozen=True, slots=True)
class End:
    """The last record: what was before it."""

    counts: Counts
    sum: str


Record = Head | Account | JournalLine | CdrRow | Number | Document | FeedEntry | End

DEPTH_MAX = 4
"""Of lists within lists; no record has more."""


class Sum:
    """Over the lines that have gone by."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def line(self, text: str) -> None:
        self._hash.update(text.encode("utf-8", "surrogatepass") + b"\n")

    def __str__(self) -> str:
        return self._hash.hexdigest()


def encode(record: Record) -> str:
    """One line, without its end."""
    match record:
        case Head():
            return dump(["ledger", record.format])
        case Account():
            return dump(["account", record.version, load(dump_account(record))])
        case JournalLine():
            legs = [[leg.balance, leg.posted, leg.reserved] for leg in record.legs]
            head = ["line", record.number, record.id, record.kind, record.at_us, legs]
            return dump([*head, record.session, record.reason, record.digest, *filter(None, [record.actor])])
        case CdrRow():
            return dump(["cdr", record.session, record.ended_us, record.document])
        case Number():
            return dump(["number", load(dump_number(record))])
        case Document():
            return dump(["document", record.collection, record.id, record.body, record.due_us])
        case FeedEntry():
            return dump(["told", record.place, record.account, record.number, record.document])
        case End():
            return dump(["end", *asdict(record.counts).values(), record.sum])


def decode(text: str, account: str) -> Record:
    """The record of one line; ``account`` is the last one before it. Raises LedgerCorrupt."""
    match _sane(load(text), text):
        case ["ledger", int(version)]:
            return Head(version)
        case ["account", int(version), {"id": str()} as fields]:
            return load_account(dump(fields), version)
        case ["line", int(number), str(id), str(kind), int(at_us), list(legs), session, str(reason), str(digest), *by]:
            if kind in set(Kind) and (session is None or isinstance(session, str)):
                told = load_legs(dump(legs)), session, reason, digest, _actor(by, text)
                return JournalLine(number, id, account, Kind(kind), at_us, *told)
        case ["cdr", str(session), int(ended_us), str(document)]:
            return CdrRow(session, account, ended_us, document)
        case ["number", {"number": str(), "account": str()} as fields]:
            return load_number(dump(fields))
        case ["document", str(collection), str(identity), str(body), (int() | None) as due_us]:
            return Document(collection, identity, body, due_us)
        case ["told", int(place), str(whose), int(number), str(named)] if bool(whose) != bool(named):
            return FeedEntry(place, whose, number, named)
        case ["end", int(accounts), int(lines), int(cdrs), int(numbers), int(documents), str(sha256)]:
            return End(Counts(accounts, lines, cdrs, numbers, documents), sha256)
    raise _no_record(text)


def _actor(by: list[Any], text: str) -> str:
    match by:
        case []:
            return ""
        case [str(actor)] if len(actor) <= ACTOR_LENGTH_MAX:
            return actor
    raise _no_record(text)


def _sane(value: Any, text: str, depth: int = DEPTH_MAX) -> Any:
    """The value, where every store can keep it: integers that are exact everywhere, text that has an encoding."""
    match value:
        case list() | dict() if depth == 0:
            raise _no_record(text)
        case list():
            for one in value:
                _sane(one, text, depth - 1)
        case dict():
            for one in (*value.keys(), *value.values()):
                _sane(one, text, depth - 1)
        case int() if abs(value) > AMOUNT_MAX:
            raise LedgerCorrupt(f"{str(value)[:30]} is beyond every limit")
        case str() if not value.isascii() and value.encode("utf-8", "replace").decode() != value:
            raise _no_record(text)
    return value


def _no_record(text: str) -> LedgerCorrupt:
    return LedgerCorrupt(f"not a record of a ledger's export: {text[:100]}")
