"""Whether a domain says that its mails come from a machine: SPF, check_host() of RFC 7208. Pure.

``exp=`` is never looked at: nobody is answered. The record of a domain decides only which names are asked for, and at
most so many; what a name answers is compared with the machine's address, and goes nowhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import NamedTuple
from urllib.parse import quote

from charging.fax.dns_lookup import Kind, Lookup, Unanswered

TERMS_MAX = 10
"""Of those that need the DNS (RFC 7208, 4.6.4)."""
VOIDS_MAX = 2
"""Look-ups that find nothing (the same)."""
NAMES_MAX = 10
"""That an ``mx`` may have, and of a ``ptr`` that are looked at (the same)."""
LOOKUPS_MAX = 50
"""In all, fewer than RFC 7208 allows: ten terms of eleven look-ups each are nobody's record."""
RECORD_MAX = 10_000
"""Characters of a record."""
NAME_MAX = 253
Address = IPv4Address | IPv6Address


class Result(StrEnum):
    """What SPF says (RFC 7208, 2.6). Its temperror is `charging.fax.dns_lookup.Unanswered`."""

    NONE = "none"
    NEUTRAL = "neutral"
    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    SOFTFAIL = "softfail"
    PERMERROR = "permerror"


_QUALIFIERS = {"": Result.PASS, "+": Result.PASS, "-": Result.FAIL, "~": Result.SOFTFAIL, "?": Result.NEUTRAL}
_RECORD = re.compile(r"v=spf1(?: |$)", re.IGNORECASE)
_MODIFIER = re.compile(r"([a-z][a-z0-9_.-]*)=(.*)", re.IGNORECASE | re.DOTALL)
_DIRECTIVE = re.compile(r"([+?~-]?)([a-z][a-z0-9_.-]*)(.*)", re.IGNORECASE | re.DOTALL)
_MACRO = r"%\{[slodiphv][0-9]{0,3}r?[.\-+,/_=]*\}|%[%_-]"
_MACRO_STRING = re.compile(rf"(?:[!-$&-~]|{_MACRO})*", re.IGNORECASE)
_ENDS_IN_MACRO = re.compile(rf"(?:{_MACRO})\Z", re.IGNORECASE)
_TOP_LABEL = re.compile(r"(?![0-9]*\Z)[0-9a-z](?:[0-9a-z-]*[0-9a-z])?", re.IGNORECASE)
_EXPLANATION = re.compile(r"%\{([slodiphvcrt])[0-9]{0,3}r?[.\-+,/_=]*\}|%[%_-]", re.IGNORECASE)
_PIECE = re.compile(r"%(?:\{([a-z])([0-9]{0,3})(r?)([.\-+,/_=]*)\}|([%_-]))", re.IGNORECASE)
_NET = re.compile(r":([^/]+)(?:/(0|[1-9][0-9]{0,2}))?")
_PREFIXES = re.compile(r"(?:/(0|[1-9][0-9]?))?(?://(0|[1-9][0-9]{0,2}))?\Z")
_ESCAPED = {"%": "%", "_": " ", "-": "%20"}
_HELO = re.compile(r"[a-z0-9._-]{1,253}", re.IGNORECASE)


class _Wrong(Exception):
    """The record is no SPF record, or asks for too much: permerror."""


class _Mechanism(NamedTuple):
    result: Result
    name: str
    spec: str
    """The domain or net, as it stands; empty: the current domain."""
    four: int
    """Bits of the prefix that must be the same."""
    six: int


@dataclass
class _Record:
    mechanisms: list[_Mechanism] = field(default_factory=list)
    redirect: str = ""


def check_host(client: Address, sender: str, helo: str, lookup: Lookup) -> Result:
    """Whether ``client`` may send mails with the envelope's ``sender`` (an address; with none SPF looks at HELO, which
    is not done here). ``helo`` only goes into macros. Raises Unanswered."""
    if isinstance(client, IPv6Address) and client.ipv4_mapped is not None:
        client = client.ipv4_mapped
    local, _, domain = sender.rpartition("@")
    helo = helo if _HELO.fullmatch(helo) else "unknown"
    check = _Check(client, local or "postmaster", domain, helo, lookup)
    try:
        return check.of(domain)
    except _Wrong:
        return Result.PERMERROR


class _Check:
    """One evaluation: it counts what was asked for."""

    def __init__(self, client: Address, local: str, domain: str, helo: str, lookup: Lookup) -> None:
        self._client = client
        self._local, self._domain, self._helo = local, domain, helo
        self._lookup = lookup
        self._terms = self._voids = self._lookups = 0

    def of(self, domain: str) -> Result:
        """Raises _Wrong and Unanswered."""
        if not _is_name(domain):
            return Result.NONE
        found = [text for text in self._ask(domain, "TXT") if _RECORD.match(text)]
        if not found:
            return Result.NONE
        if len(found) > 1 or len(found[0]) > RECORD_MAX or not found[0].isascii():
            raise _Wrong
        record = _parsed(found[0])
        for mechanism in record.mechanisms:
            if self._matches(mechanism, domain):
                return mechanism.result
        if not record.redirect:
            return Result.NEUTRAL
        self._count_term()
        result = self.of(self._expanded(record.redirect, domain))
        if result is Result.NONE:
            raise _Wrong
        return result

    def _matches(self, mechanism: _Mechanism, domain: str) -> bool:
        name, spec = mechanism.name, mechanism.spec
        if name == "all":
            return True
        if name in ("ip4", "ip6"):
            return self._is_in(spec, mechanism)
        self._count_term()
        target = self._expanded(spec, domain) if spec else domain
        if name == "include":
            result = self.of(target)
            if result is Result.NONE:
                raise _Wrong
            return result is Result.PASS
        if name == "exists":
            return bool(self._found(target, "A"))
        if name == "ptr":
            return bool(self._validated(target))
        if name == "a":
            return any(self._is_in(one, mechanism) for one in self._found(target, self._kind))
        hosts = self._found(target, "MX")
        if len(hosts) > NAMES_MAX:
            raise _Wrong
        return any(self._is_in(one, mechanism) for host in hosts for one in self._ask(host, self._kind))

    @property
    def _kind(self) -> Kind:
        return "A" if isinstance(self._client, IPv4Address) else "AAAA"

    def _is_in(self, address: str, mechanism: _Mechanism) -> bool:
        try:
            if isinstance(self._client, IPv4Address):
                return self._client in IPv4Network((address, mechanism.four), strict=False)
            return self._client in IPv6Network((address, mechanism.six), strict=False)
        except ValueError:  # of the other family
            return False

    def _count_term(self) -> None:
        self._terms += 1
        if self._terms > TERMS_MAX:
            raise _Wrong

    def _found(self, name: str, kind: Kind) -> list[str]:
        """Records that a term itself asks for: few of them may be missing."""
        found = self._ask(name, kind)
        if not found:
            self._voids += 1
            if self._voids > VOIDS_MAX:
                raise _Wrong
        return found

    def _ask(self, name: str, kind: Kind) -> list[str]:
        self._lookups += 1
        if self._lookups > LOOKUPS_MAX:
            raise _Wrong
        return list(self._lookup(name.removesuffix("."), kind)) if _is_askable(name) else []

    def _validated(self, domain: str) -> list[str]:
        """The names of the client's address that are the domain or below it, and have the address themselves (RFC 7208,
        5.5). The other names are not asked about: the client chooses them, and so the server that would be asked."""
        try:
            names = self._ask(f"{self._client.reverse_pointer}", "PTR")[:NAMES_MAX]
        except Unanswered:  # about the client, which says nothing of the domain
            return []
        below = [one.removesuffix(".") for one in names if _is_below(one.removesuffix("."), domain)]
        return [one for one in below if self._client in map(_address, self._answered(one))]

    def _answered(self, name: str) -> list[str]:
        """No answer about a name of the client's says nothing of the domain (the same)."""
        try:
            return self._ask(name, self._kind)
        except Unanswered:
            return []

    def _expanded(self, spec: str, domain: str) -> str:
        """With its macros replaced (RFC 7208, 7), as the name that it is."""
        text = _PIECE.sub(lambda found: self._piece(found, domain), spec).removesuffix(".")
        if len(text) > NAME_MAX:  # at once: label by label, a record of 10 kB took seconds
            return text[-NAME_MAX - 1 :].partition(".")[2]
        return text

    def _piece(self, found: re.Match[str], domain: str) -> str:
        letter, digits, reverse, delimiters, escaped = found.groups()
        if escaped:
            return _ESCAPED[escaped]
        parts = re.split(f"[{re.escape(delimiters or '.')}]", self._value(letter.lower(), domain))
        if reverse:
            parts.reverse()
        text = ".".join(parts[-int(digits) :] if digits else parts)
        return quote(text, safe="") if letter.isupper() else text

    def _value(self, letter: str, domain: str) -> str:
        if letter == "i":
            four = isinstance(self._client, IPv4Address)
            return str(self._client) if four else ".".join(self._client.exploded.replace(":", ""))
        if letter == "p":
            names = self._validated(domain)
            own = [one for one in names if one.lower() == domain.lower()]
            return next(iter([*own, *names]), "unknown")
        return {
            "s": f"{self._local}@{self._domain}",
            "l": self._local,
            "o": self._domain,
            "d": domain,
            "h": self._helo,
            "v": "in-addr" if isinstance(self._client, IPv4Address) else "ip6",
        }[letter]


def _parsed(text: str) -> _Record:
    """Raises _Wrong for an error anywhere in it (RFC 7208, 4.6)."""
    record, seen = _Record(), set()
    for term in text[len("v=spf1") :].split(" "):
        if not term:
            continue
        if modifier := _MODIFIER.fullmatch(term):
            name, value = modifier[1].lower(), modifier[2]
            if name in ("redirect", "exp"):
                if name in seen:
                    raise _Wrong
                seen.add(name)
                _check_spec(value)
            elif _MACRO_STRING.fullmatch(_EXPLANATION.sub("", value)) is None:
                raise _Wrong
            if name == "redirect":
                record.redirect = value
        else:
            record.mechanisms.append(_mechanism(term))
    return record


def _mechanism(term: str) -> _Mechanism:
    directive = _DIRECTIVE.fullmatch(term)
    if directive is None:
        raise _Wrong
    result, name, rest = _QUALIFIERS[directive[1]], directive[2].lower(), directive[3]
    if name == "all" and not rest:
        return _Mechanism(result, name, "", 0, 0)
    if name in ("ip4", "ip6"):
        return _net(result, name, rest)
    if name in ("include", "exists") and rest[:1] == ":":
        return _Mechanism(result, name, _check_spec(rest[1:]), 0, 0)
    if name == "ptr" and (not rest or rest[0] == ":"):
        return _Mechanism(result, name, _check_spec(rest[1:]) if rest else "", 0, 0)
    if name not in ("a", "mx"):
        raise _Wrong
    prefixes = _PREFIXES.search(rest)
    assert prefixes is not None, "it matches the empty end"
    spec, four, six = rest[: prefixes.start()], int(prefixes[1] or 32), int(prefixes[2] or 128)
    if four > 32 or six > 128 or (spec and spec[0] != ":"):
        raise _Wrong
    return _Mechanism(result, name, _check_spec(spec[1:]) if spec else "", four, six)


def _net(result: Result, name: str, rest: str) -> _Mechanism:
    found = _NET.fullmatch(rest)
    bits = 32 if name == "ip4" else 128
    if found is None or int(found[2] or 0) > bits:
        raise _Wrong
    address = _address(found[1])
    if address is None or address.max_prefixlen != bits or "%" in found[1]:
        raise _Wrong
    prefix = int(found[2] or bits)
    return _Mechanism(result, name, found[1], prefix, prefix)


def _check_spec(spec: str) -> str:
    """The domain-spec (RFC 7208, 7.1). Raises _Wrong."""
    above, _, top = spec.removesuffix(".").rpartition(".")
    ends = _ENDS_IN_MACRO.search(spec) is not None or (above != "" and _TOP_LABEL.fullmatch(top) is not None)
    if _MACRO_STRING.fullmatch(spec) is None or not ends:
        raise _Wrong
    if any(piece[2] and int(piece[2]) == 0 for piece in _PIECE.finditer(spec)):
        raise _Wrong
    return spec


def _address(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _is_below(name: str, domain: str) -> bool:
    name, domain = name.lower().removesuffix("."), domain.lower().removesuffix(".")
    return name == domain or name.endswith(f".{domain}")


def _is_name(domain: str) -> bool:
    """Whether it can have a record (RFC 7208, 4.3)."""
    return _is_askable(domain) and "." in domain.removesuffix(".")


def _is_askable(name: str) -> bool:
    labels = name.removesuffix(".").split(".")
    return len(name) <= NAME_MAX + 1 and name.isascii() and all(0 < len(label) < 64 for label in labels)
