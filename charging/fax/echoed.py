"""Whether a mail has its receiving server write the sender's own words into ``Authentication-Results``. Pure.

A server repeats there what it has looked at: the envelope's sender, what the other machine calls itself (HELO), and
whose a signature says to be. Some repeat it as it stands, and the sender chooses it. Rspamd (seen: 3.4) puts the
envelope's sender into a comment, which a bracket in its quoted local part ends; what follows are results; and where it
cannot read that sender (``MAIL FROM:<a @ b>``, which Postfix can) it does the same with HELO. OpenDKIM (seen: 2.11)
decodes the signer's ``i=`` and writes it out, semicolons too, and OpenDMARC (seen: 1.4) believes what follows:
``dmarc=pass`` of any domain. So where one of them is more than a name, nothing that the server says counts.

OpenDMARC believes any ``Received-SPF`` too, by default: with one of the sender's own it says ``dmarc=pass`` of the
domain that he put into the envelope. So such a header that the receiving server has not stamped counts against a mail.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from charging.fax.mail import is_plain_address
from charging.fax.signed import tags_of

_DOMAIN = r"[\w.\ufffd-]+"
"""Letters beyond ASCII are a domain's in its own spelling (RFC 8616); bytes that are no text stand as U+FFFD."""
_REPEATED = {
    "a": re.compile(r"[\w-]+", re.ASCII),
    "b": re.compile(r"[\w+/= ]*", re.ASCII),
    "d": re.compile(_DOMAIN),
    "i": re.compile(rf"(?:[\w.!#$%&'*+/=?^`{{|}}~\ufffd-]*@)?{_DOMAIN}"),
    "s": re.compile(_DOMAIN),
}
"""What the tags of a signature may be that servers repeat; ``i`` is decoded (RFC 6376, 2.11). In ARC it is a number."""
_CODE = re.compile("=([0-9A-Fa-f]{2})")
_CALLED = re.compile(r"(?:^from |\bhelo[= ])(\S*)", re.IGNORECASE)
_MACHINE = re.compile(r"[\w.-]+|\[[\w.:]+\]", re.ASCII)
"""A domain or an address (RFC 5321, 4.1.3). Postfix writes ``?`` for what is neither."""


def why_unsafe(envelope_sender: str, seals: Sequence[str], received: str = "", claims: Sequence[str] = ()) -> str:
    """Why what the server says may be the sender's words; empty: it is the server's. ``envelope_sender`` is empty if it
    is not known; ``seals`` are all headers of `charging.fax.signed.SEALS`, unfolded, ``received`` is the topmost
    Received, and ``claims`` are the Received-SPF that the server has not stamped."""
    if not envelope_sender:
        return "neither --sender nor a Return-Path tells its envelope's sender"
    if not is_plain_address(envelope_sender):
        return "its envelope's sender is no plain address, so what the server says of it may be the sender's own words"
    if any(_MACHINE.fullmatch(name.rstrip(")")) is None for name in _CALLED.findall(received)):
        return "its HELO is no plain name, so what the server says of it may be the sender's own words"
    if claims:
        return "it came with a Received-SPF, which may be the sender's own words; have your mail server take that out"
    if any(map(_says_more, seals)):
        return "a signature in it is not of a plain name, so what the server says of it may be the sender's own words"
    return ""


def _says_more(seal: str) -> bool:
    if tags_of(seal) is None:
        return True
    pairs = (part.partition("=") for part in seal.split(";"))
    return any(_is_more(name.strip().lower(), value.strip()) for name, _, value in pairs)


def _is_more(name: str, value: str) -> bool:
    if name == "i":
        value = _CODE.sub(lambda code: chr(int(code[1], 16)), value)
    return name in _REPEATED and _REPEATED[name].fullmatch(value) is None
