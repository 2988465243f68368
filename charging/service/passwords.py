"""Passwords of people: hashed by argon2id, which is slow on purpose.

Hashing takes tens of milliseconds of a processor and 64 MiB for a moment, so it is never done in the process that
decides calls: the command line hashes what is typed, the console's process compares.
"""

from __future__ import annotations

from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from charging.service.refusal import Code, Refused

LENGTH_MIN = 12
LENGTH_MAX = 200
"""Characters. (NIST SP 800-63B asks for a length, and for no mixture of signs.)"""
_HASHER = PasswordHasher()


def hashed(password: str) -> str | Refused:
    """What is stored of a password."""
    if not LENGTH_MIN <= len(password) <= LENGTH_MAX:
        found = f"found a password of {len(password)} characters"
        return Refused(
            Code.INVALID, f"{found}, expected {LENGTH_MIN} to {LENGTH_MAX}", "several words are easy to keep"
        )
    return _HASHER.hash(password)


@cache
def _nobodys() -> str:
    return _HASHER.hash("nobody's password, which takes as long to compare as anyone's")


def fits(hash: str | None, password: str) -> bool:
    """Whether ``password`` has this hash. ``None``: there is no such person; the answer takes as long, so that the time
    reveals nothing. Takes tens of milliseconds."""
    try:
        return _HASHER.verify(hash or _nobodys(), password[:LENGTH_MAX]) and hash is not None
    except (VerificationError, InvalidHashError):
        return False
