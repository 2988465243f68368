"""A whole ledger as lines of JSON: what `ledger export` writes and `ledger import` reads. Pure.

One record a line, as an array that begins with its kind::

    ["ledger", FORMAT]
    ["account", VERSION, {…}]                                       then all that is the account's:
    ["line", NUMBER, ID, KIND, AT_US, [[BALANCE, POSTED, RESERVED], …], SESSION, REASON, DIGEST]
    ["cdr", SESSION, ENDED_US, DOCUMENT]
    ["number", {…}]
    ["document", COLLECTION, ID, BODY, DUE_US]                      see charging/ledger/documents.py
    ["end", ACCOUNTS, LINES, CDRS, NUMBERS, DOCUMENTS]              without it, the file was cut short

Balances are not in it: they are the sum of the lines.
"""

from __future__ import annotations

from dataclasses import dataclass

from charging.errors import LedgerCorrupt
from charging.ledger.accounts import Account, Number
from charging.ledger.codec import dump, dump_account, dump_number, load, load_account, load_legs, load_number
from charging.ledger.documents import Document
from charging.ledger.model import CdrRow, JournalLine, Kind

FORMAT = 1


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


Record = Head | Account | JournalLine | CdrRow | Number | Document | Counts


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
            return dump([*head, record.session, record.reason, record.digest])
        case CdrRow():
            return dump(["cdr", record.session, record.ended_us, record.document])
        case Number():
            return dump(["number", load(dump_number(record))])
        case Document():
            return dump(["document", record.collection, record.id, record.body, record.due_us])
        case Counts():
            counted = [record.accounts, record.lines, record.cdrs, record.numbers, record.documents]
            return dump(["end", *counted])


def decode(text: str, account: str) -> Record:
    """The record of one line; ``account`` is the last one before it. Raises LedgerCorrupt."""
    match load(text):
        case ["ledger", int(version)]:
            return Head(version)
        case ["account", int(version), dict(fields)]:
            return load_account(dump(fields), version)
        case ["line", int(number), str(identity), kind, int(at_us), list(legs), session, str(reason), str(digest)]:
            if kind in set(Kind) and (session is None or isinstance(session, str)):
                return JournalLine(
                    number, identity, account, Kind(kind), at_us, load_legs(dump(legs)), session, reason, digest
                )
        case ["cdr", str(session), int(ended_us), str(document)]:
            return CdrRow(session, account, ended_us, document)
        case ["number", dict(fields)]:
            return load_number(dump(fields))
        case ["document", str(collection), str(identity), str(body), (int() | None) as due_us]:
            return Document(collection, identity, body, due_us)
        case ["end", int(accounts), int(lines), int(cdrs), int(numbers), int(documents)]:
            return Counts(accounts, lines, cdrs, numbers, documents)
    raise LedgerCorrupt(f"not a record of a ledger's export: {text[:100]}")
