"""Checks that a mail comes from the domain of its From, by the receiving mail server's ``Authentication-Results``
header (RFC 8601). Pure.

Only the topmost header of the named server counts. The server must remove such headers from the mail that it receives,
or a sender could write his own, and must put its own on top. A malformed header proves nothing.

No library does this strictly: authres (1.2.0, of 2019, its last release) accepts headers that RFC 8601 does not allow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

HEADER = "Authentication-Results"
HEADER_MAX = 8_192
"""Characters; a longer one proves nothing."""

_ATOM = r'[^\s"();=\\]'
_ADDRESS = rf"(?<==){_ATOM}[^\s\"();\\@]{{0,254}}@{_ATOM}+"
"""Of a property: its local part may hold ``=`` (RFC 8601, 2.2), and does where a server made it, as SRS and BATV do."""
_TOKEN = re.compile(rf'"((?:[^"\\]|\\.)*)"|({_ADDRESS}|{_ATOM}+)|([;=(])|(\s+)', re.DOTALL)
_METHOD = re.compile(r"([a-z0-9-]+)(?:/[0-9]+)?")
_MAIL_FROM, _SIGNER = "smtp.mailfrom", "header.d"
"""The property that must name the From's own domain, of SPF and of DKIM."""
_REPEATS_MORE = re.compile(
    r"""mailfrom\s*=\s*(?!("?)[\w.!\#$%&'*+/=?^`{|}~@-]{0,320}\1(?:[;\s]|$))"""
    r"""|helo\s*=\s*(?!("?)[\w.:\[\]-]{0,320}\2(?:[;)\s]|$))""",
    re.IGNORECASE,
)
"""An envelope's sender or a HELO that is more than a name, wherever it stands: the sender's words go on in what follows
or stands before (`charging.fax.echoed`)."""


@dataclass(frozen=True, slots=True)
class Result:
    """What one method came to."""

    method: str
    outcome: str
    properties: Mapping[str, str]
    """In small letters; of a property that is an address, its domain alone."""


def why_not(headers: Sequence[str], server: str, domain: str) -> str:
    """Why a mail is not proven to come from ``domain``; empty if it is proven.

    ``headers`` are all ``Authentication-Results``, unfolded, the topmost first; ``server`` is the authserv-id of the
    server that we trust. DMARC must pass for the domain; where the server tells no DMARC, SPF or DKIM must pass for
    this very domain (what RFC 7489 calls strict alignment). Where one of the server's headers, not the topmost alone,
    repeats more than a name, none counts: OpenDMARC judges by it, and tells it in another header than its judgement.
    """
    if any(_REPEATS_MORE.search(one) and server.lower() in one.lower() for one in headers):
        return f"{server} repeats an envelope's sender or a HELO that is more than a name"
    found = next((parsed for one in headers if (parsed := _parsed(one, server)) is not None), None)
    if found is None:
        return f"no {HEADER} of {server}"
    domain = domain.lower()
    dmarc = [one for one in found if one.method == "dmarc"]
    if [one.outcome for one in dmarc] not in ([], ["none"]):  # "none" and another contradict each other
        passed = all(one.outcome == "pass" and one.properties.get("header.from") == domain for one in dmarc)
        return "" if passed else f"DMARC does not pass for {domain}"
    signers = [one.properties.get(_SIGNER) for one in found if (one.method, one.outcome) == ("dkim", "pass")]
    if domain in signers or _envelope(found) == domain:
        return ""
    return f"neither DMARC nor an SPF or DKIM of {domain} itself passes"


def came_from_its_server(stamped: Sequence[str], server: str, domain: str) -> bool:
    """Whether ``server`` says that a mail of ``domain``, which is proven, came from a machine of that domain (SPF), so
    that nobody else handed it in.

    ``stamped`` are the Authentication-Results that only the receiving server writes, for SPF and DMARC are told in
    headers of their own by some. The envelope's domain may be one below or above the From's (RFC 7489, 3.1.2).
    """
    return _are_related(_envelope([one for header in stamped for one in _parsed(header, server) or ()]), domain)


def _envelope(results: Sequence[Result]) -> str:
    """The domain of the envelope's sender if SPF passes for it. Empty where it is told in two ways: the mail has one
    such sender, so one of them is his own word."""
    told = {(one.outcome, one.properties[_MAIL_FROM]) for one in results if _is_of_envelope(one)}
    ((outcome, domain),) = told if len(told) == 1 else (("", ""),)
    return domain if outcome == "pass" else ""


def _is_of_envelope(one: Result) -> bool:
    return one.method == "spf" and _MAIL_FROM in one.properties


def _are_related(envelope: str, domain: str) -> bool:
    domain = domain.lower()
    above = "." in envelope and domain.endswith(f".{envelope}")
    return envelope == domain or envelope.endswith(f".{domain}") or above


def _parsed(header: str, server: str) -> tuple[Result, ...] | None:
    """The results of a header that is the server's; none where it is malformed. ``None``: it is another server's."""
    parts = _statements(header[: HEADER_MAX + 1])
    if parts is None or not parts[0]:
        # Whose it is cannot be told (it may have been too long to be handed on). Taken for the server's, so that what
        # lies below it does not count instead.
        return ()
    (head, *rest) = parts
    if head[0].lower() != server.lower():
        return None
    if len(header) > HEADER_MAX or len(head) > 2:
        return ()
    results = tuple(_result(one) for one in rest if one)
    return tuple(one for one in results if one is not None) if None not in results else ()


def _statements(header: str) -> list[list[str]] | None:
    """The words between the semicolons, ``=`` being a word of its own, comments left out; ``None`` for no such text."""
    statements: list[list[str]] = [[]]
    for word, is_sign in _words(header):
        if word is None:
            return None
        if is_sign and word == ";":
            statements.append([])
        else:
            statements[-1].append(word)
    return statements


def _words(header: str) -> Iterator[tuple[str | None, bool]]:
    """Each word, and whether it is a sign; ``None`` for what is no word, and that is the last."""
    place = 0
    while place < len(header):
        match = _TOKEN.match(header, place)
        if match is None:
            yield None, False
            return
        quoted, atom, sign, _ = match.groups()
        place = match.end()
        if sign == "(":
            end = _comment_end(header, place)
            if end is None:
                yield None, False
                return
            place = end
        elif quoted is not None:
            yield re.sub(r"\\(.)", r"\1", quoted), False
        elif atom is not None or sign is not None:
            yield atom or sign, sign is not None


def _comment_end(header: str, place: int) -> int | None:
    """Behind the comment that begins before ``place``; ``None`` where it has no end."""
    depth = 1
    while place < len(header):
        sign = header[place]
        depth += (sign == "(") - (sign == ")")
        place += 2 if sign == "\\" else 1
        if depth == 0:
            return place
    return None


def _result(words: Sequence[str]) -> Result | None:
    """``method=outcome`` and then ``property=value``…; ``None`` where it has another form, or says a thing twice."""
    if words == ["none"]:
        return Result("none", "none", {})
    pairs = [words[place : place + 3] for place in range(0, len(words), 3)]
    if any(len(pair) != 3 or pair[1] != "=" for pair in pairs):
        return None
    method = _METHOD.fullmatch(pairs[0][0].lower())
    if method is None:
        return None
    properties: dict[str, str] = {}
    for name, _, value in pairs[1:]:
        if name.lower() in properties:
            return None
        properties[name.lower()] = value.rpartition("@")[2].lower()
    return Result(method[1], pairs[0][2].lower(), properties)
