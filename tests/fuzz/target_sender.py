"""Who sent a mail, by DKIM and SPF: whatever the mail says and the DNS answers, a proven mail is one that its domain
signed, or was brought by a machine that the domain names; and few names are asked for.

An input is what the DNS has, a line for each record (``TXT example.nl v=spf1 -all``), an empty line, and the mail. Each
mail of the corpus that is signed was signed before; with what is found while fuzzing nobody can sign.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from ipaddress import ip_address
from typing import cast, get_args

from charging.fax.dns_lookup import Kind, Unanswered
from charging.fax.mail import Letter, parts_of
from charging.fax.signed import SIGNATURES_MAX, why_unsigned
from charging.fax.spf import LOOKUPS_MAX, NAME_MAX, Result, check_host
from tests.fakes.letters import read_letter
from tests.fuzz.target import entries

AT_US = 1_795_990_000_000_000
"""An hour and more after the corpus' mails were signed."""
SENDER = "anna@example.nl"
RECIPIENT = "fax@example.nl"
CLIENTS = ("198.41.0.4", "::ffff:198.41.0.4", "2001:500:2::c")
RECORDS_MAX = 100


class _Dns:
    """A `charging.fax.dns_lookup.Lookup` of an input's records; what has a value of ``?`` is not answered."""

    def __init__(self, records: Mapping[tuple[str, str], Sequence[str]]) -> None:
        self._records = records
        self.asked: list[str] = []

    def __call__(self, name: str, kind: Kind) -> Sequence[str]:
        assert name.isascii() and 0 < len(name) <= NAME_MAX, f"asked for {name!r}"
        assert kind in get_args(Kind)
        self.asked.append(name)
        found = self._records.get((kind, name.lower()), [])
        if "?" in found:
            raise Unanswered
        return found


def _split(data: bytes) -> tuple[dict[tuple[str, str], list[str]], bytes]:
    """What the DNS has, and the mail."""
    lines, _, mail = data.partition(b"\n\n")
    records: dict[tuple[str, str], list[str]] = {}
    for line in lines.decode("latin-1").split("\n")[:RECORDS_MAX]:
        kind, _, rest = line.partition(" ")
        name, _, value = rest.partition(" ")
        records.setdefault((kind, name.lower()), []).append(value)
    return records, mail


def read(data: bytes) -> None:
    records, mail = _split(data)
    with suppress(Unanswered):
        check_host(ip_address(CLIENTS[0]), SENDER, "mx.example.nl", _Dns(records))
    with suppress(Unanswered):
        _why(mail, _letter(mail), _Dns(records))


def check(data: bytes) -> None:
    records, mail = _split(data)
    told = []
    for client in CLIENTS:
        dns = _Dns(records)
        try:
            told.append(check_host(ip_address(client), SENDER, "mx.example.nl", dns))
        except Unanswered:
            told.append(cast(Result, "unanswered"))
        assert len(dns.asked) <= LOOKUPS_MAX
    assert told[0] == told[1], "the same machine"
    letter, dns = _letter(mail), _Dns(records)
    with suppress(Unanswered):
        if letter is not None and not _why(mail, letter, dns):
            assert letter.key in _signed(), f"proven, though nobody signed it: {letter}"
    assert len(dns.asked) <= SIGNATURES_MAX


def _letter(mail: bytes) -> Letter | None:
    return read_letter(mail, envelope_sender=SENDER, recipient=RECIPIENT)


def _why(mail: bytes, letter: Letter | None, lookup: _Dns) -> str:
    headers, body = parts_of(mail)
    domain, date = ("example.nl", "") if letter is None else (letter.domain, letter.date)
    return why_unsigned(headers, body, domain=domain, date=date, lookup=lookup, now_us=AT_US)


@cache
def _signed() -> frozenset[str]:
    """The keys of faxes that the corpus' signers signed."""
    mails = (_split(path.read_bytes())[1] for path in entries("sender") if path.name.startswith("signed-by"))
    return frozenset(letter.key for letter in map(_letter, mails) if letter is not None)
