"""Whether a mail is its From's: by a DKIM signature, or by SPF of the machine that brought it. Pure.

Nothing that stands in the mail about who sent it is believed: neither ``Authentication-Results`` nor ``Received-SPF``
nor ``Received``, whoever wrote them. A signature is verified here; of the machine the mail server tells the address.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

from charging.fax.dns_lookup import Lookup, Unanswered
from charging.fax.mail import Envelope, Letter, is_plain_address, parts_of
from charging.fax.signed import why_unsigned
from charging.fax.spf import Address, Result, check_host

_NOBODYS: dict[int, Address] = {4: IPv4Address("203.0.113.1"), 6: IPv6Address("2001:db8::1")}
"""Addresses from which no mail comes (RFC 5737, RFC 3849). A domain for which these may send names no machine: its
record says ``+all``, a net of half the internet, or a name that always has an address."""


def why_unproven(data: bytes, letter: Letter, envelope: Envelope | None, lookup: Lookup, now_us: int) -> str:
    """Why someone else than the From's domain may have written the mail or handed it in; empty: nobody did. Without an
    envelope only a signature counts. Raises Unanswered where only the DNS keeps it from being proven."""
    headers, body = parts_of(data)
    unanswered: Unanswered | None = None
    unsigned = unsent = ""
    try:
        unsigned = why_unsigned(headers, body, domain=letter.domain, date=letter.date, lookup=lookup, now_us=now_us)
        if not unsigned:
            return ""
    except Unanswered as error:
        unanswered = error
    try:
        unsent = _why_not_of_its_machines(letter.sender, envelope, lookup)
        if not unsent:
            return ""
    except Unanswered as error:
        unanswered = error
    if unanswered is not None:
        raise unanswered
    return f"{unsigned}; {unsent}"


def _why_not_of_its_machines(author: str, envelope: Envelope | None, lookup: Lookup) -> str:
    """By SPF of the envelope's sender, which must be the From's address itself: many servers let a user write any From
    in an envelope of his own, and one that passes on what it got from anyone puts a name of its own there (SRS). Raises
    Unanswered."""
    if envelope is None:
        return "SPF is not looked at (fax.mail_from_counts: dkim)"
    client = _public(envelope.client)
    if client is None:
        found = f"{envelope.client} is no address of the internet" if envelope.client else "--client does not tell it"
        return f"no SPF, since of the machine that brought it {found}"
    sender = envelope.sender.strip("<> ")
    if not is_plain_address(sender) or sender.lower() != author.lower():
        return "no SPF, since its envelope's sender is not its From"
    result = check_host(client, sender, envelope.helo, lookup)
    if result is not Result.PASS:
        return f"SPF of {client} is {result}"
    if check_host(_NOBODYS[client.version], sender, envelope.helo, lookup) is Result.PASS:
        return "SPF lets every machine send for it"
    return ""


def _public(client: str) -> Address | None:
    """``None`` where it is another: behind a machine of the operator's own every mail comes from there, and many
    domains let addresses of private networks send, which are other machines there."""
    try:
        address = ip_address(client)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address if address.is_global else None
