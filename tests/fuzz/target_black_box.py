"""Records of ended calls, as they stand in Asterisk's database: numbers are exact or malformed, never guessed.

The first line is the key, the rest the record; both decoded as AMI's are.
"""

from __future__ import annotations

from dataclasses import replace

from charging.asterisk.black_box import (
    FORGET_CHARACTERS_MAX,
    SEPARATOR,
    BlackBoxRecord,
    is_key,
    packed,
    parse_record,
)
from charging.asterisk.message import AmiMessage
from charging.asterisk.variables import FORGET_SEPARATOR

INT64_MAX = 2**63 - 1
FIELDS = ("dial", "answered", "answered_ms", "ended", "cause", "pages", "vm", "vmfile", "fax", "switch", "decision")


def read(data: bytes) -> None:
    key, text = _parts(data)
    parse_record(key, text)
    list(packed(part for part in text.split(SEPARATOR) if is_key(part)))


def check(data: bytes) -> None:
    key, text = _parts(data)
    _check_keys([key, *text.split(SEPARATOR)])
    record = parse_record(key, text)
    version, *parts = text.split(SEPARATOR)
    names = [part.partition("=")[0] for part in parts]
    assert (record is None) == (version not in ("v1", "v2") or len(set(names)) < len(names))
    if record is None:
        return
    _check_numbers(record, text)
    known = _fields(record)
    assert _same(parse_record(key, "|".join([record_version(record), *known])), record)
    if "later" not in names:
        assert parse_record(key, text + "|later=1") == record, "fields of a later dialplan change nothing"
    entry = AmiMessage.parse(f"Event: DBGetTreeResponse\r\nKey: /charging/{key}\r\nVal: {text}")
    if entry.get("Val") == text:
        assert parse_record(key, entry.get("Val")) == record


def record_version(record: BlackBoxRecord) -> str:
    return "v2" if record.by_leg else "v1"


def _parts(data: bytes) -> tuple[str, str]:
    key, _, text = data.decode("utf-8", "replace").partition("\n")
    return key, text


def _check_numbers(record: BlackBoxRecord, text: str) -> None:
    for value in (record.answered_ms, record.ended_at_us, record.cause, record.fax_pages, record.conversation_ms):
        assert value is None or (type(value) is int and 0 <= value <= INT64_MAX)
    written = dict(part.partition("=")[::2] for part in text.split(SEPARATOR)[1:])
    for name, value in (("cause", record.cause), ("pages", record.fax_pages)):
        assert value == (int(written.get(name, "")) if _is_number(written.get(name, "")) else None)
        assert (name in record.malformed) == (value is None and bool(written.get(name)))
    if record.dial_status != "ANSWER":
        assert record.conversation_ms == 0
    if record.voicemail_stored:
        assert written["vm"] == "SUCCESS" and written["vmfile"]
    assert (record.session is None) == record.key.startswith("nosession-")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18


def _fields(record: BlackBoxRecord) -> list[str]:
    """The record as the dialplan would write it."""
    ended = "" if record.ended_at_us is None else _seconds(record.ended_at_us)
    begun = ""
    if record.by_leg and record.answered_ms is not None and record.ended_at_us is not None:
        begun = _seconds(record.ended_at_us - record.answered_ms * 1000)
    return [
        f"dial={record.dial_status}",
        f"answered={begun}" if record.by_leg else f"answered_ms={_text(record.answered_ms)}",
        f"ended={ended}",
        f"cause={_text(record.cause)}",
        f"decision={record.decision}",
        f"phase={record.phase}",
        f"number={record.number}",
        f"caller={record.caller}",
        f"vm={record.voicemail_status}",
        f"vmfile={record.voicemail_file}",
        f"fax={record.fax_status}",
        f"pages={_text(record.fax_pages)}",
        f"switch={record.switch}",
    ]


def _seconds(at_us: int) -> str:
    return f"{at_us // 1_000_000}.{at_us % 1_000_000:06d}"


def _text(value: int | None) -> str:
    return "" if value is None else str(value)


def _same(again: BlackBoxRecord | None, record: BlackBoxRecord) -> bool:
    return again is not None and again == replace(record, malformed=())


def _check_keys(words: list[str]) -> None:
    """What is named to the switch to be deleted is a key, and each is named once, whole."""
    keys = [word for word in words if is_key(word)]
    packs = list(packed(keys))
    assert FORGET_SEPARATOR.join(packs).split(FORGET_SEPARATOR) == (keys or [""])
    assert all(len(pack) <= FORGET_CHARACTERS_MAX for pack in packs)
    for word in set(words) - set(keys):
        try:
            list(packed([word]))
        except ValueError:
            continue
        raise AssertionError(f"{word!r} is no key and would be named to the switch")
