"""What to do about what a Redis says, by the keys of charging.yaml. Pure."""

from __future__ import annotations

import re

from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import (
    AuthenticationError,
    ConnectionError,
    NoPermissionError,
    ReadOnlyError,
    TimeoutError,
)

_NOT_THERE = "is it running, and is ledger.url its address?"
_BY_TYPE: dict[type[Exception], str] = {
    MasterNotFoundError: "ledger.url ends with a name that its sentinels do not know: `SENTINEL MASTERS` lists theirs",
    AuthenticationError: "name its password by ledger.password_env or ledger.password_file, and the user, if it is not "
    "`default`, in ledger.url: redis://USER@HOST",
    NoPermissionError: "let its user do so: `ACL SETUSER USER ~PREFIX:* +@all`, with the prefix of ledger.url, at "
    "every server, then `CONFIG REWRITE` or `ACL SAVE` there, for a replica and a restart know nothing of it else",
    ReadOnlyError: "it is a replica: name the master in ledger.url, or its sentinels (redis+sentinel://)",
    FileNotFoundError: "look at ca_file in ledger.url",
    TimeoutError: f"{_NOT_THERE} With rediss:// or tls=yes it must speak TLS there",
    ConnectionError: _NOT_THERE,
    OSError: _NOT_THERE,
}
"""The first that fits counts."""
_BY_WORDS = (
    (re.compile(r"DB index is out of range"), "look at the number at the end of ledger.url"),
    (re.compile(r"unknown command '?SENTINEL"), "no sentinel answers there: they are mostly on port 26379"),
    (re.compile(r"unknown command"), "a sentinel, or no Redis, answers there: look at ledger.url (redis+sentinel://)"),
    (re.compile(r"No such file"), "look at ca_file in ledger.url"),
    (re.compile(r"cluster mode is not enabled", re.IGNORECASE), "it is no cluster: redis:// in ledger.url"),
    (re.compile(r"used memory > 'maxmemory'"), "raise it: `redis-cli config set maxmemory`, and in redis.conf"),
    (re.compile(r"slot not served|slots are not covered"), "its cluster is not whole: `redis-cli cluster info`"),
)


def cure_of(error: Exception) -> str:
    """What to do, behind a semicolon; empty if the words of the error say it, or nothing is known."""
    cure = next((cure for said, cure in _BY_WORDS if said.search(str(error))), "")
    cure = cure or next((cure for kind, cure in _BY_TYPE.items() if isinstance(error, kind)), "")
    return f"; {cure}" if cure else ""
