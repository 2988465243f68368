"""The ledger's records as JSON text, the same in every store and in exports. Pure.

Text that cannot be read raises LedgerCorrupt: only a store that was damaged or edited by hand holds such text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any

from pydantic_core import from_json, to_json

from charging.errors import LedgerCorrupt
from charging.ledger.accounts import Account, Language, Number, Payment, Status
from charging.ledger.model import Balance, Leg
from charging.records import known_members

ACCOUNTS_REMEMBERED = 1_024


def _refuse_float(text: str) -> Any:
    raise ValueError(f"{text} is not an integer")


# Made once: json.dumps and json.loads make theirs again at every call that has options.
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
_DECODER = json.JSONDecoder(parse_float=_refuse_float, parse_constant=_refuse_float)


def dump(value: object) -> str:
    """Compact JSON text."""
    return _ENCODER.encode(value)


def dump_text(text: str | None) -> str:
    """JSON text of a string or ``None``; faster than :func:`dump`."""
    return "null" if text is None else json.encoder.encode_basestring(text)


def load(text: str) -> Any:
    """The JSON value; floats are refused, for nothing of ours is one. Raises LedgerCorrupt."""
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise LedgerCorrupt(f"not a record of this ledger: {text[:100]}") from error


def dump_legs(legs: Iterable[Leg]) -> str:
    """Floors are not kept. By hand, for speed: no name of a balance needs escaping."""
    moved = ",".join([f'["{leg.balance}",{leg.posted},{leg.reserved}]' for leg in legs])
    return f"[{moved}]"


def load_legs(text: str) -> tuple[Leg, ...]:
    """What :func:`dump_legs` wrote; floors are zero. Raises LedgerCorrupt."""
    try:
        return tuple(Leg(str(name), int(posted), int(reserved)) for name, posted, reserved in load(text))
    except (TypeError, ValueError) as error:
        raise LedgerCorrupt(f"not the legs of a transfer: {text[:100]}") from error


def dump_rows(rows: Sequence[Sequence[str | int | None]]) -> str:
    """JSON text of rows, for a statement for many: a third of what :func:`dump` takes. Raises ValueError for half a
    character."""
    return to_json(rows).decode()


def load_rows(text: str) -> Any:
    """What a statement made of columns of texts and whole numbers. Raises LedgerCorrupt."""
    try:
        return from_json(text)
    except ValueError as error:
        raise LedgerCorrupt(f"not rows of this ledger: {text[:100]}") from error


def load_balances(text: str) -> dict[str, Balance]:
    """Balances by name, of ``[[name, posted, reserved], …]``, which a store makes of columns of whole numbers. Raises
    LedgerCorrupt."""
    try:
        return _balances(from_json(text))
    except (TypeError, ValueError) as error:
        raise LedgerCorrupt(f"not balances: {text[:100]}") from error


def load_balances_of_many(text: str) -> list[dict[str, Balance]]:
    """The same of a list of such lists."""
    try:
        return [_balances(rows) for rows in from_json(text)]
    except (TypeError, ValueError) as error:
        raise LedgerCorrupt(f"not balances: {text[:100]}") from error


def _balances(rows: Any) -> dict[str, Balance]:
    return {name: Balance(posted, reserved) for name, posted, reserved in rows}


def dump_holds(holds: Mapping[str, int]) -> str:
    """What :func:`load_holds` reads. By hand, as :func:`dump_legs`."""
    held = ",".join([f'"{name}":{amount}' for name, amount in holds.items()])
    return f"{{{held}}}"


def load_holds(text: str) -> Mapping[str, int]:
    """What a session holds of each balance, in the balance's unit. Raises LedgerCorrupt."""
    try:
        return holds_of(load(text))
    except (AttributeError, TypeError, ValueError) as error:
        raise LedgerCorrupt(f"not what a session holds: {text[:100]}") from error


def holds_of(read: Any) -> Mapping[str, int]:
    """The same, in the balance's unit, where a store has read the text with others. Raises LedgerCorrupt."""
    if not isinstance(read, dict) or not all([type(amount) is int for amount in read.values()]):
        raise LedgerCorrupt(f"not what a session holds: {str(read)[:100]}")
    return read


def _members(kind: type, record: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a record. Members that this program does not know go under ``newer``: a newer program, which ran
    before or runs beside this one, has added them."""
    known = known_members(kind, record)
    if len(known) == len(record):
        return known
    return known | {"newer": {name: value for name, value in record.items() if name not in known}}


def dump_account(account: Account) -> str:
    """Without its version, which the store keeps beside it."""
    fields = asdict(account)
    del fields["version"]
    fields["payments"] = [[one.key, one.until] for one in account.payments]
    return dump(fields.pop("newer") | fields)


@lru_cache(ACCOUNTS_REMEMBERED)
def load_account(text: str, version: int) -> Account:
    """What :func:`dump_account` wrote, with the version that the store keeps beside it. Remembered, for who asks once
    asks again. Raises LedgerCorrupt."""
    try:
        fields = load(text)
        fields["language"] = Language(fields["language"])
        fields["status"] = Status(fields["status"])
        fields["payments"] = tuple(Payment(str(key), str(until)) for key, until in fields.get("payments", ()))
        return Account(**_members(Account, fields), version=version)
    except (TypeError, KeyError, ValueError) as error:
        raise LedgerCorrupt(f"not an account: {text[:100]}") from error


def dump_number(number: Number) -> str:
    """With what only a newer version knows."""
    fields = asdict(number)
    return dump(fields.pop("newer") | fields)


def load_number(text: str) -> Number:
    """What :func:`dump_number` wrote. Raises LedgerCorrupt."""
    try:
        return Number(**_members(Number, load(text)))
    except (AttributeError, TypeError) as error:
        raise LedgerCorrupt(f"not a number's record: {text[:100]}") from error
