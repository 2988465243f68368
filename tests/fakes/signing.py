"""A domain that signs mails (DKIM, relaxed/relaxed), for tests. Not by the program's own code; mails that dkimpy has
signed are in tests/data/signed."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cache

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

DOMAIN = "example.nl"
SELECTOR = "k1"
KEY_AT = f"{SELECTOR}._domainkey.{DOMAIN}"
COVERED = (
    *("From", "To", "Subject", "Date", "Message-ID"),
    *("MIME-Version", "Content-Type", "Content-Transfer-Encoding", "Content-Disposition"),
)


@cache
def private_key(bits: int) -> RSAPrivateKey:
    return generate_private_key(65_537, bits)


def key_record(bits: int = 1_024, head: str = "v=DKIM1; k=rsa") -> str:
    public = private_key(bits).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"{head}; p={base64.b64encode(public).decode()}"


def signed(
    data: bytes,
    *,
    domain: str = DOMAIN,
    covered: Sequence[str] = COVERED,
    tags: Mapping[str, str] = {},
    bits: int = 1_024,
) -> bytes:
    """The mail with a signature above it; ``tags`` go before the others, and in their place."""
    head, _, body = data.replace(b"\r\n", b"\n").partition(b"\n\n")
    headers = re.findall(rb"^([^\s:]+):((?:.*(?:\n[ \t].*)*))", head, re.MULTILINE)
    lines = [re.sub(rb"[ \t]+", b" ", line).rstrip(b" ") for line in body.split(b"\n")]
    text = b"\r\n".join(lines).rstrip(b"\r\n")
    digest = hashlib.sha256(text + b"\r\n" if text else b"").digest()
    said = {
        **{"v": "1", "a": "rsa-sha256", "c": "relaxed/relaxed", "d": domain, "s": SELECTOR},
        **{"h": ":".join(covered), "bh": base64.b64encode(digest).decode()},
        **tags,
    }
    header = " " + "; ".join(f"{name}={value}" for name, value in said.items() if value) + "; b="
    made, left = b"", [(name.lower(), value) for name, value in headers]
    for name in said["h"].lower().encode().split(b":"):
        place = next((at for at in reversed(range(len(left))) if left[at][0] == name.strip()), None)
        if place is not None:
            made += _relaxed(*left.pop(place)) + b"\r\n"
    made += _relaxed(b"dkim-signature", header.encode())
    hashed = SHA1() if "sha1" in said["a"] else SHA256()
    value = private_key(bits).sign(made, PKCS1v15(), hashed)
    return b"DKIM-Signature:" + header.encode() + base64.b64encode(value) + b"\n" + data


def _relaxed(name: bytes, value: bytes) -> bytes:
    return name + b":" + re.sub(rb"[ \t]+", b" ", value.replace(b"\n", b"")).strip(b" ")
