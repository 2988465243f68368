"""What a Redis ledger's URL says. Pure."""

from __future__ import annotations

import re
from dataclasses import field
from urllib.parse import parse_qsl, unquote, urlsplit

from charging.records import dataclass

PORT = 6379
SENTINEL_PORT = 26379

EXPECTED = (
    "redis[s]://[USER:PASSWORD@]HOST[:PORT][/DB], "
    "redis+sentinel://[USER:PASSWORD@]HOST[:PORT],HOST[:PORT],…/MASTER[/DB] or "
    "redis+cluster://[USER:PASSWORD@]HOST[:PORT],…, "
    "each with ?prefix=, min_replicas_ack=, timeout_s=, tls=yes, ca_file= where wanted, "
    "that of sentinels with sentinel_user="
)

_ENDS_EARLY = re.compile(r"^[^:]*:(?!//)|://[^@]*[/?#].*@")
"""To a reader of URLs the part with the password ends at the first of these signs, and the rest of it is a path."""

_MODES = {"redis": "single", "rediss": "single", "redis+sentinel": "sentinel", "redis+cluster": "cluster"}
_OPTIONS = {"prefix", "min_replicas_ack", "timeout_s", "tls", "ca_file", "sentinel_user"}


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """Where the ledger is, and how it is spoken to."""

    mode: str
    """``single``, ``sentinel`` or ``cluster``."""
    hosts: tuple[tuple[str, int], ...]
    user: str = ""
    password: str = field(default="", repr=False)
    database: int = 0
    master: str = ""
    """The name under which the sentinels know the master."""
    sentinel_user: str = ""
    sentinel_password: str = field(default="", repr=False)
    """Those of the sentinels: what the Redis itself asks for is never told to them."""
    tls: bool = False
    """Also to the sentinels."""
    ca_file: str = ""
    """Empty: the system's certificate authorities."""
    prefix: str = "charging"
    """Begins every key, so that other programs may share the Redis."""
    min_replicas_ack: int = 0
    """How many replicas must have what was written before it is answered: money, sessions, accounts, numbers,
    documents; not leases, which are fenced."""
    timeout_s: float = 2.0
    """For one command; longer means LedgerUnavailable."""

    @property
    def is_cluster(self) -> bool:
        return self.mode == "cluster"

    @property
    def touch(self) -> str:
        """The argument of a script that writes something even where nothing changes, for WAIT to wait for."""
        return "1" if self.min_replicas_ack else ""


def parse(url: str) -> RedisUrl:
    """Raises ValueError with what is wrong, never with a piece of the password, however it is written."""
    if "@" in url and _ENDS_EARLY.search(url):
        raise ValueError(
            "a character of the password is not percent-encoded: write / as %2F, # as %23 and ? as %3F, or name the "
            "password by password_env or password_file"
        )
    parts = urlsplit(url)
    if parts.scheme not in _MODES:
        raise ValueError("unknown scheme")
    mode, options = _MODES[parts.scheme], _options(parts.query)
    tls = _tls(parts.scheme, options)
    if "sentinel_user" in options and mode != "sentinel":
        raise ValueError("sentinel_user is for redis+sentinel://")
    user, password, hosts = _split_authority(parts.netloc, SENTINEL_PORT if mode == "sentinel" else PORT)
    if mode == "single" and len(hosts) != 1:
        raise ValueError("one host expected")
    path = [part for part in parts.path.split("/") if part]
    master = path.pop(0) if mode == "sentinel" and path else ""
    if mode == "sentinel" and not master:
        raise ValueError("the master's name is missing")
    if len(path) > (0 if mode == "cluster" else 1):
        raise ValueError(f"unexpected path {parts.path}")
    return RedisUrl(
        mode,
        hosts,
        user,
        password,
        _natural(path[0] if path else "0", "database"),
        master,
        options.get("sentinel_user", ""),
        tls=tls,
        ca_file=options.get("ca_file", ""),
        prefix=_prefix(options.get("prefix", "charging")),
        min_replicas_ack=_natural(options.get("min_replicas_ack", "0"), "min_replicas_ack"),
        timeout_s=_seconds(options.get("timeout_s", "2")),
    )


def without_secrets(url: str) -> str:
    """A URL that is wrong, for a message: without all that stands before its last ``@``, and without the values of its
    options."""
    scheme, separator, rest = url.partition("://")
    shown = re.sub(r"(?<==)[^&]*", "…", rest.rpartition("@")[2] if separator else url.rpartition("@")[2])
    hidden = "…@" if "@" in url else ""
    return f"{scheme}://{hidden}{shown}" if separator and "@" not in scheme else f"{hidden}{shown}"


def _options(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, strict_parsing=True, keep_blank_values=True) if query else []
    except ValueError:
        raise ValueError("an option is not NAME=VALUE") from None
    options = dict(pairs)
    if unknown := options.keys() - _OPTIONS:
        raise ValueError(f"unknown option {min(unknown)}")
    if len(options) < len(pairs):
        raise ValueError("an option is given twice")
    if empty := [name for name, value in options.items() if not value]:
        raise ValueError(f"{empty[0]} is empty")
    return options


def _tls(scheme: str, options: dict[str, str]) -> bool:
    """Whether TLS is spoken: nothing that is meant to ask for it may pass for plain text."""
    if options.get("tls", "no") not in ("yes", "no"):
        raise ValueError("tls is neither yes nor no")
    tls = options.get("tls", "yes" if scheme == "rediss" else "no") == "yes"
    if scheme == "rediss" and not tls:
        raise ValueError("rediss:// is TLS, tls=no is none")
    if "ca_file" in options and not tls:
        raise ValueError("ca_file is for TLS: say tls=yes (or rediss://)")
    return tls


def _prefix(text: str) -> str:
    if "{" in text or "}" in text:
        raise ValueError("braces in prefix would choose the slots of a cluster")
    return text


def _split_authority(netloc: str, port: int) -> tuple[str, str, tuple[tuple[str, int], ...]]:
    credentials, _, hosts_text = netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    hosts = tuple(_host(text, port) for text in hosts_text.split(","))
    return unquote(user), unquote(password), hosts


def _host(text: str, port: int) -> tuple[str, int]:
    """``host``, ``host:port`` or ``[v6]:port``."""
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError("a host is missing")
    try:
        return parts.hostname, parts.port or port
    except ValueError:
        raise ValueError("a port is not a number up to 65535") from None


def _natural(text: str, what: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"{what} is not a whole number")
    return int(text)


def _seconds(text: str) -> float:
    seconds = float(text) if re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,9})?", text) else 0
    if not 0.05 <= seconds <= 60:
        raise ValueError("timeout_s is not between 0.05 and 60")
    return seconds
