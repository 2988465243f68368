"""Whether a mail was signed by its From's domain: DKIM (RFC 6376, 8301, 8463). Pure.

A signature stays good whoever hands the mail in (RFC 6376, 8.6), covers only the headers that it names, and with ``l=``
only the beginning of the body. So one counts only if it covers all that makes the fax, as often as it is there; and the
mail has to be recent, for which mails were faxed is not remembered for ever.

The headers that are verified are those that `charging.fax.mail` reads: nothing that ends a line for one and not for the
other gets here (`charging.fax.mail.parts_of`).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import cache

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key
from publicsuffixlist import PublicSuffixList

from charging.clock import MICROSECONDS
from charging.fax.dns_lookup import Lookup, Unanswered

SIGNATURES_MAX = 5
"""Of the From's domain that are looked at, from the top: each is a question to the DNS and a verification."""
KEYLESS_MAX = 2
"""Of them, whose key is not there: a stranger may name any number of keys, which no server has asked for yet."""
NO_KEY = "has no key"
SIGNATURE_MAX = 10_000
"""Bytes of a signature's header."""
KEY_MAX = 4_000
"""Characters of a key's record."""
KEY_BITS = range(1_024, 4_097)
"""Of RSA (RFC 8301, 3.2)."""
COVERED = (b"from", b"to", b"subject", b"date")
"""What decides about a fax: who pays, where it goes (address or subject), and which mail it is."""
COVERED_IF_THERE = (
    *(b"message-id", b"mime-version", b"content-type", b"content-transfer-encoding", b"content-disposition"),
)
"""And how its document is read."""
DAYS_MAX = 30
"""Between a mail's date and its arrival, either way. Mail servers give up after days; keys are remembered for more than
a year (`charging.ledger.remembered`)."""
_DAY_US = 86_400 * MICROSECONDS
_AHEAD_S = 3_600
"""By so much the signer's clock may be ahead."""
_TAG_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_WHITE_SPACE = re.compile(r"[ \t\r\n]+")
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_NAME = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*"
)
_SECONDS = re.compile(r"[0-9]{1,12}")
Header = tuple[bytes, bytes]
"""Its name, and what stands behind the colon, with ``\\n`` where a line ends, also at its end."""


def why_unsigned(headers: Sequence[Header], body: bytes, *, domain: str, date: str, lookup: Lookup, now_us: int) -> str:
    """Why no signature proves that a mail comes from ``domain`` (its From's) as it is; empty: one does. ``body`` has
    ``\\n`` where a line ends; ``date`` is the mail's. Raises Unanswered where the key decides and cannot be had."""
    signed = _Signed(headers, body)
    whys: list[str] = []
    keyless = 0
    unanswered: Unanswered | None = None
    own = [one for one in signed.signatures() if speaks_for(one.tags.get("d", "").lower(), domain)]
    for signature in own[:SIGNATURES_MAX]:
        try:
            why = _why_open(signature, signed, now_us) or _why_wrong(signature, signed, lookup)
        except Unanswered as error:
            unanswered = error
            continue
        if not why:
            return _why_old(date, now_us)
        whys.append(f"its DKIM signature {why}")
        keyless += why.startswith(NO_KEY)
        if keyless == KEYLESS_MAX:
            break
    if unanswered is not None:
        raise unanswered
    return whys[0] if whys else f"no DKIM signature of {domain}"


def speaks_for(signer: str, domain: str) -> bool:
    """Whether who is ``signer`` (in small letters) may say that a mail is of ``domain``: it is the same, or one above
    it of the same organisation (RFC 7489, 3.2): everyone can have a domain neither below it nor below one between."""
    domain = domain.lower()
    if signer == domain:
        return signer != ""
    own = _suffixes().privatesuffix(signer) if domain.endswith(f".{signer}") else None
    return own is not None and own == _suffixes().privatesuffix(domain)


@cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()


@dataclass(frozen=True, slots=True)
class _Signature:
    tags: dict[str, str]
    header: Header
    without_value: bytes
    """What stands behind its colon, the value of ``b=`` left out."""

    @property
    def names(self) -> list[bytes]:
        """Of the headers that it covers, in small letters, in their order."""
        return [one.strip().lower().encode() for one in self.tags.get("h", "").split(":")]


class _Signed:
    """The mail, as signatures see it."""

    def __init__(self, headers: Sequence[Header], body: bytes) -> None:
        self._body = body
        self._digests: dict[str, bytes] = {}
        self._named: dict[bytes, list[Header]] = {}
        for one in headers:
            self._named.setdefault(one[0].lower(), []).append(one)

    def signatures(self) -> list[_Signature]:
        found = map(_signature, self._named.get(b"dkim-signature", []))
        return [one for one in found if one is not None]

    def count(self, name: bytes) -> int:
        return len(self._named.get(name, []))

    def body_digest(self, way: str) -> bytes:
        """By the canonicalization ``way`` (RFC 6376, 3.4)."""
        if way not in self._digests:
            body = self._body
            if way == "relaxed":
                body = _single_spaced(body).replace(b" \n", b"\n").removesuffix(b" ")
            body = body.rstrip(b"\n")
            ended = body + b"\n" if body or way == "simple" else body
            self._digests[way] = hashlib.sha256(ended.replace(b"\n", b"\r\n")).digest()
        return self._digests[way]

    def signed_by(self, signature: _Signature, way: str) -> bytes:
        """What the signature was made of: the headers, the lowest of a name first, and itself."""
        names = signature.names
        left = {name: list(self._named.get(name, [])) for name in set(names)}
        chosen = [left[name].pop() for name in names if left[name]]
        itself = _canonical((signature.header[0], signature.without_value), way).removesuffix(b"\r\n")
        return b"".join(_canonical(one, way) for one in chosen) + itself


def _canonical(header: Header, way: str) -> bytes:
    name, value = header
    if way == "simple":
        return name + b":" + value.replace(b"\n", b"\r\n")
    return name.lower() + b":" + _single_spaced(value.replace(b"\n", b"")).strip(b" ") + b"\r\n"


def _single_spaced(data: bytes) -> bytes:
    """With one space where there are several, or tabs. Not by a regular expression: that makes a list of all that
    stands between them, which takes seventy times the memory of a mail of words of two letters."""
    data = data.replace(b"\t", b" ")
    while b"  " in data:
        data = data.replace(b"  ", b" ")
    return data


def _signature(header: Header) -> _Signature | None:
    """``None`` where it is none."""
    _, value = header
    tags = _tags_of(value.decode("latin-1")) if len(value) <= SIGNATURE_MAX else None
    if tags is None:
        return None
    parts = value.split(b";")
    place = next((at for at, part in enumerate(parts) if part.partition(b"=")[0].strip() == b"b"), None)
    if place is None:
        return None
    parts[place] = parts[place].partition(b"=")[0] + b"="
    return _Signature(tags, header, b";".join(parts))


def _tags_of(text: str) -> dict[str, str] | None:
    """The tags of a signature or key (RFC 6376, 3.2), without white space at their ends; ``None`` where it has another
    form, a tag twice, or more than ASCII (which a domain is in its own letters: RFC 8616)."""
    if not text.isascii():
        return None
    tags: dict[str, str] = {}
    parts = text.split(";")
    if not parts[-1].strip():
        parts.pop()
    for part in parts:
        name, equals, value = part.partition("=")
        name = name.strip(" \t\r\n")
        if not equals or _TAG_NAME.fullmatch(name) is None or name in tags:
            return None
        tags[name] = value.strip(" \t\r\n")
    return tags


def _why_open(signature: _Signature, signed: _Signed, now_us: int) -> str:
    """What the signature leaves open by its own words, or the body; nothing is asked for that."""
    tags = signature.tags
    signer, selector = tags["d"].lower(), tags.get("s", "").lower()
    if tags.get("v") != "1" or tags.get("q", "dns/txt") != "dns/txt":
        return "is of another version"
    if tags.get("a") not in ("rsa-sha256", "ed25519-sha256"):
        return f"is made by {tags.get('a', 'nothing')[:20]!r}"
    if _NAME.fullmatch(signer) is None or _NAME.fullmatch(selector) is None:
        return "names no key"
    identity = tags.get("i", f"@{signer}").lower().rpartition("@")[2]
    if identity != signer and not identity.endswith(f".{signer}"):
        return "is of another's identity (i=)"
    if "l" in tags:
        return "covers a part of the body (l=)"
    names = Counter(signature.names)
    must = [*COVERED, *(name for name in COVERED_IF_THERE if signed.count(name))]
    if missing := [name.decode() for name in must if names[name] < max(signed.count(name), 1)]:
        return f"does not cover {', '.join(missing)}"
    if why := _why_out_of_time(tags, now_us // MICROSECONDS):
        return why
    ways = _ways(tags)
    if ways is None:
        return "is made in an unknown way (c=)"
    return "" if signed.body_digest(ways[1]) == _decoded(tags.get("bh", "")) else "is of another body"


def _why_out_of_time(tags: dict[str, str], now_s: int) -> str:
    if any(_SECONDS.fullmatch(tags.get(name, "0")) is None for name in "tx"):
        return "has no times that can be read"
    if int(tags.get("t", "0")) > now_s + _AHEAD_S:
        return "is of the future"
    if "x" in tags and int(tags["x"]) <= max(now_s, int(tags.get("t", "0"))):
        return "has expired"
    return ""


def _ways(tags: dict[str, str]) -> tuple[str, str] | None:
    head, _, body = tags.get("c", "simple").partition("/")
    ways = head, body or "simple"
    return ways if {*ways} <= {"simple", "relaxed"} else None


def _decoded(text: str) -> bytes | None:
    text = _WHITE_SPACE.sub("", text)
    if _BASE64.fullmatch(text) is None:
        return None
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return None


def _why_wrong(signature: _Signature, signed: _Signed, lookup: Lookup) -> str:
    """Why its key does not prove it. Raises Unanswered."""
    tags = signature.tags
    name = f"{tags['s']}._domainkey.{tags['d']}".lower()
    records = lookup(name, "TXT")
    if len(records) != 1:
        return f"{'has several keys' if records else NO_KEY} at {name}"
    key = _tags_of(records[0]) if len(records[0]) <= KEY_MAX else None
    if key is None:
        return f"has a key that cannot be read, at {name}"
    if why := _why_no_key(key, tags):
        return f"has a key that {why}, at {name}"
    decoded, value = _decoded(key["p"]), _decoded(tags["b"])
    if decoded is None or value is None:
        return f"or its key at {name} is no base64"
    ways = _ways(tags)
    assert ways is not None, "looked at before"
    return _why_not_made_by(decoded, value, signed.signed_by(signature, ways[0]), tags["a"])


def _why_no_key(key: dict[str, str], tags: dict[str, str]) -> str:
    """Why a key proves no mail (RFC 6376, 3.6.1)."""
    flags = {one.strip() for one in key.get("t", "").split(":")}
    if key.get("v", "DKIM1") != "DKIM1" or ("v" in key and next(iter(key)) != "v"):
        return "is of another version"
    if not key.get("p"):
        return "is revoked"
    if key.get("k", "rsa") != tags["a"].partition("-")[0]:
        return "is of another kind"
    if "h" in key and "sha256" not in {one.strip() for one in key["h"].split(":")}:
        return "is not for SHA-256"
    if {"*", "email"}.isdisjoint(one.strip() for one in key.get("s", "*").split(":")):
        return "is not for mail (s=)"
    if "y" in flags:
        return "is only tested (t=y)"
    if "s" in flags and tags.get("i", f"@{tags['d']}").rpartition("@")[2].lower() != tags["d"].lower():
        return "is not for names below (t=s)"
    return ""


def _why_not_made_by(key: bytes, value: bytes, data: bytes, algorithm: str) -> str:
    try:
        if algorithm == "ed25519-sha256":
            Ed25519PublicKey.from_public_bytes(key).verify(value, hashlib.sha256(data).digest())
            return ""
        public = load_der_public_key(key)
        if not isinstance(public, RSAPublicKey) or public.key_size not in KEY_BITS:
            return f"is made with a key that is not RSA of {KEY_BITS[0]} to {KEY_BITS[-1]} bits"
        public.verify(value, data, PKCS1v15(), SHA256())
    except (ValueError, UnsupportedAlgorithm):
        return "is made with a key that is none"
    except InvalidSignature:
        return "is not its key's: a header was changed, or it is forged"
    return ""


def _why_old(date: str, now_us: int) -> str:
    age_us = _age_us(date, now_us)
    if age_us is None or abs(age_us) > DAYS_MAX * _DAY_US:
        return f"only a DKIM signature proves it, and its Date is not within {DAYS_MAX} days"
    return ""


def _age_us(date: str, now_us: int) -> int | None:
    """``None``: the date cannot be read."""
    try:
        written = parsedate_to_datetime(date)
        sent = written.replace(tzinfo=written.tzinfo or UTC).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return now_us - int(sent * MICROSECONDS)
