"""Arguments of the dialplan's requests, checked and bounded: their values come from the network. Pure."""

from __future__ import annotations

import re

from agi.protocol import Request
from charging.errors import RemoteProtocolError

MAX_TEXT_CHARACTERS = 80
MAX_CHANNEL_CHARACTERS = 160

_NUMBER = re.compile(r"\+?[0-9]{1,32}", re.ASCII)
_SESSION = re.compile(r"[a-z0-9-]{1,40}", re.ASCII)
_PRESENTATION = re.compile(r"allowed|withheld", re.ASCII)
_WORD = re.compile(r"[A-Z_]{0,32}", re.ASCII)
DIVERTED_MAX_CHARACTERS = 1000
"""As many as the dialplan gives, and of Diversion so many; the last may be in the middle of a number."""
DIVERSION_MAX_CHARACTERS = 500
_HISTORY = "|"
_PASSED = re.compile(r":((?:\+|%2[Bb])?[0-9]{3,32})(?=[@;>])", re.ASCII)


def exactly(request: Request, count: int) -> tuple[str, ...]:
    """Return the ``count`` arguments. Raises RemoteProtocolError if there are more or fewer: a comma in one shifts the
    others."""
    if len(request.arguments) != count:
        raise RemoteProtocolError(f"found {len(request.arguments)} arguments, expected {count}")
    return request.arguments


def same(text: str, said: str, what: str) -> str:
    """Return an argument that repeats a line of the header. Raises RemoteProtocolError if the two differ."""
    if text != said:
        raise RemoteProtocolError(f"found {what} {text[:80]!r} in the arguments and {said[:80]!r} in the header")
    return text


def number(text: str) -> str:
    """Read a dialled number: digits, with or without a leading ``+``. Raises RemoteProtocolError."""
    return _matching(_NUMBER, text, "a number")


def session_id(text: str) -> str:
    """Read a session's id, as the daemon makes them. Raises RemoteProtocolError."""
    return _matching(_SESSION, text, "a session's id")


def dial_status(text: str) -> str:
    """Read how the dialling ended: ``BUSY``, ``NOANSWER``…; may be empty. Raises RemoteProtocolError."""
    return _matching(_WORD, text, "a dial status")


def is_withheld(text: str) -> bool:
    """Whether the caller withholds his number: ``withheld`` or ``allowed``. Raises RemoteProtocolError."""
    return _matching(_PRESENTATION, text, "a presentation: is extensions_charging.conf this version's?") == "withheld"


def diverted(text: str) -> tuple[str, ...]:
    """Read the numbers that the call was diverted from: those of Diversion (RFC 5806) and, after a ``|``, those of
    History-Info (RFC 7044). The last number of History-Info is left out, with its repetitions: it is the number that is
    called now, and each proxy on the way may have added it again. Values that are no numbers are left out. A ``+`` may
    be written ``%2B``."""
    if _PASSED.search(text) is None:  # nearly always
        return ()
    diversion, _, history = text[:DIVERTED_MAX_CHARACTERS].partition(_HISTORY)
    passed = _numbers(history)
    while len(passed) > 1 and passed[-2] == passed[-1]:
        del passed[-1]
    return (*_numbers(diversion), *passed[:-1])


def _numbers(said: str) -> list[str]:
    return [f"+{one[3:]}" if one[0] == "%" else one for one in _PASSED.findall(said)]


def is_cut(text: str) -> bool:
    """Whether the argument may have been cut: the network may have named more numbers than it holds."""
    diversion = text.partition(_HISTORY)[0]
    return len(text) >= DIVERTED_MAX_CHARACTERS or len(diversion) >= DIVERSION_MAX_CHARACTERS


def printable(text: str, limit: int = MAX_TEXT_CHARACTERS) -> str:
    """Return the text without unprintable characters, cut to ``limit`` characters."""
    if not text.isprintable():
        text = "".join(character for character in text if character.isprintable())
    return text[:limit]


def _matching(pattern: re.Pattern[str], text: str, what: str) -> str:
    if not pattern.fullmatch(text):
        raise RemoteProtocolError(f"not {what}: {text[:80]!r}")
    return text
