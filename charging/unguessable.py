"""Names that nobody can guess, for what strangers must not be able to speak of: one question to the kernel for many."""

from __future__ import annotations

import hashlib
import os
import re

_AT_A_TIME = 4096
"""Bytes asked for at once: a question to the kernel costs as much as sending a packet, and a decision takes four."""

_SESSION = re.compile(r"([0-9a-f]{8,12})-[0-9a-f]{16}")

_unused = bytearray()


def token(size: int) -> str:
    """``size`` random bytes (16 at most), in hexadecimal. As good as ``secrets.token_hex``; for one thread."""
    if len(_unused) < size:
        _unused[:] = os.urandom(_AT_A_TIME)
    taken = _unused[:size].hex()
    del _unused[:size]
    return taken


def session_id(opened_us: int) -> str:
    """Make the id of a session that opens at this wall-clock time: it sorts by time, is unique among daemons, and
    cannot be guessed. A client that knew one could try to report on the call in the switch's name."""
    return f"{opened_us // 1000:x}-{token(8)}"


def opened_us(session: str) -> int | None:
    """When a session opened, to the millisecond, by its id; ``None``: no daemon has made this text."""
    match = _SESSION.fullmatch(session)
    return None if match is None else int(match[1], 16) * 1000


def digest_of(secret: str) -> str:
    """By which a secret that is part of a mail address is stored and looked up; in whatever case a mail server has
    written it. The SHA-256, in hexadecimal."""
    return hashlib.sha256(secret.lower().encode()).hexdigest()
