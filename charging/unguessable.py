"""Names that nobody can guess, for what strangers must not be able to speak of: one question to the kernel for many."""

from __future__ import annotations

import hashlib
import os

_AT_A_TIME = 4096
"""Bytes asked for at once: a question to the kernel costs as much as sending a packet, and a decision takes four."""

_unused = bytearray()


def token(size: int) -> str:
    """``size`` random bytes (16 at most), in hexadecimal. As good as ``secrets.token_hex``; for one thread."""
    if len(_unused) < size:
        _unused[:] = os.urandom(_AT_A_TIME)
    taken = _unused[:size].hex()
    del _unused[:size]
    return taken


def digest_of(secret: str) -> str:
    """By which a secret that is part of a mail address is stored and looked up; in whatever case a mail server has
    written it. The SHA-256, in hexadecimal."""
    return hashlib.sha256(secret.lower().encode()).hexdigest()
