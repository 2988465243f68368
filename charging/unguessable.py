"""Names that nobody can guess, for what strangers must not be able to speak of: one question to the kernel for many."""

from __future__ import annotations

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
