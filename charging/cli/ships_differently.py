"""What ships differently now than when a folder was laid down, and which of that its owner has edited. Pure.

Three versions of each file are compared: as it was laid down, as it ships now, and as it is. Differences are shown
between the first two alone: what an operator wrote, a secret maybe, is never shown.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

_KEY = re.compile(r"( *)(?:- )?#?([a-z][a-z0-9_]*):(?: |$)")
"""A key of the shipped settings, also one that is commented out (a `#` with no blank behind it) with its default."""


class Kind(StrEnum):
    """What became of a file."""

    CHANGED = "changed"
    """It ships differently, and is as it was laid down."""
    BOTH = "edited"
    """It ships differently, and its owner has edited it."""
    NEW = "new"
    """It was not laid down then."""
    ENDED = "ended"
    """It ships no more."""
    UNKNOWN = "unknown"
    """It is not what ships, and nothing tells what was laid down."""


@dataclass(frozen=True, slots=True)
class Change:
    """One file that ships differently."""

    path: str
    kind: Kind
    then: bytes
    """As it was laid down; empty where it was not."""
    now: bytes
    """As it ships; empty where it does no more."""


def changes(then: Mapping[str, bytes], now: Mapping[str, bytes], here: Mapping[str, bytes]) -> list[Change]:
    """Every difference that is not settled. Files that are as they ship now, or that their owner has removed, are."""
    found = []
    for path in sorted(then.keys() | now.keys()):
        kind = _kind(then.get(path), now.get(path), here.get(path), recorded=bool(then))
        if kind is not None:
            found.append(Change(path, kind, then.get(path, b""), now.get(path, b"")))
    return found


def _kind(then: bytes | None, now: bytes | None, here: bytes | None, *, recorded: bool) -> Kind | None:
    if here == now or then == now:
        return None
    if then is None:
        return Kind.NEW if here is None or recorded else Kind.UNKNOWN
    if here is None:
        return None
    if now is None:
        return Kind.ENDED
    return Kind.CHANGED if here == then else Kind.BOTH


def edited(then: Mapping[str, bytes], now: Mapping[str, bytes], here: Mapping[str, bytes]) -> list[str]:
    """Files that their owner has edited and that ship as they did."""
    return sorted(path for path in then if now.get(path) == then[path] and here.get(path) not in (None, then[path]))


def new_keys(then: bytes, now: bytes) -> list[str]:
    """Keys of settings that there are now and were not, as ``section.key``."""
    known = set(_keys(then.decode()))
    return [key for key in _keys(now.decode()) if key not in known]


def _keys(text: str) -> Iterator[str]:
    above: list[tuple[int, str]] = []
    for line in text.splitlines():
        if found := _KEY.match(line):
            indent = len(found[1])
            above = [*(one for one in above if one[0] < indent), (indent, found[2])]
            yield ".".join(name for _, name in above)


def patch(change: Change) -> str:
    """The change as ``patch -p1`` takes it; of what is no text, one line that says so."""
    try:
        then, now = change.then.decode(), change.now.decode()
    except UnicodeDecodeError:
        return f"Binary file {change.path} ships differently\n"
    if "\0" in then or "\0" in now:
        return f"Binary file {change.path} ships differently\n"
    before = "/dev/null" if change.kind is Kind.NEW else f"a/{change.path}"
    after = "/dev/null" if change.kind is Kind.ENDED else f"b/{change.path}"
    lines = difflib.unified_diff(then.splitlines(keepends=True), now.splitlines(keepends=True), before, after)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
