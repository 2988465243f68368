"""Whether a mail's DKIM signature leaves something open that decides about a fax. Pure.

A signature stays good whoever hands the mail in (RFC 6376, 8.6). It covers only the headers that it names, and with
``l=`` only the beginning of the body: whoever got such a mail from a customer could write another number into it, or
hand it in as often as he writes another date. So where nothing but a signature proves the sender, it has to cover all
that makes the fax, and the mail has to be recent: ids are not remembered for ever.

The mail server has checked the signatures; a stranger can add some that are wrong, but cannot take away the good one.
So each that may be the From's own is looked at, and one that leaves something open is enough to refuse.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime

from charging.clock import MICROSECONDS

HEADER = "DKIM-Signature"
SEALS = (HEADER, "ARC-Seal", "ARC-Message-Signature")
"""Each names who has signed something (RFC 6376, RFC 8617)."""
COVERED = ("from", "to", "subject", "date")
"""What decides about a fax: who pays, where it goes (address or subject), and which mail it is."""
DAYS_MAX = 30
"""Between a mail's date and its arrival, either way. Mail servers give up after days; keys are remembered for more than
a year (`charging.ledger.remembered`)."""
_DAY_US = 86_400 * MICROSECONDS


def why_open(signatures: Sequence[str], domain: str, date: str, now_us: int) -> str:
    """Why a stranger could have handed the mail in, or written a part of it; empty: he could not.

    ``signatures`` are all DKIM-Signature headers, unfolded; ``domain`` is that of the From, ``date`` the mail's Date.
    A mail without a signature of the domain was proven by its server's address (SPF): nothing is left open.
    """
    own = [tags for tags in map(tags_of, signatures) if tags is None or _may_be_aligned(tags.get("d", ""), domain)]
    if not own:
        return ""
    for tags in own:
        if (why := _left_open(tags)) is not None:
            return f"only a DKIM signature proves it, and {why}, so that another may have changed it"
    age_us = _age_us(date, now_us)
    if age_us is None or abs(age_us) > DAYS_MAX * _DAY_US:
        return f"only a DKIM signature proves it, and its Date is not within {DAYS_MAX} days"
    return ""


def _left_open(tags: dict[str, str] | None) -> str | None:
    if tags is None:
        return "one cannot be read"
    covered = {name.strip().lower() for name in tags.get("h", "").split(":")}
    missing = [name.capitalize() for name in COVERED if name not in covered]
    if missing:
        return f"one does not cover {', '.join(missing)}"
    return "one covers a part of the body (l=)" if "l" in tags else None


def tags_of(header: str) -> dict[str, str] | None:
    """The tags of a signature (RFC 6376, 3.2); ``None`` where it has another form, or a tag twice."""
    tags: dict[str, str] = {}
    for part in header.rstrip("; \t").split(";"):
        name, equals, value = part.partition("=")
        name = name.strip()
        if not equals or not name or name in tags:
            return None
        tags[name] = "".join(value.split())
    return tags


def _may_be_aligned(signer: str, domain: str) -> bool:
    """Whether a server may take both for the same organisation's (RFC 7489, 3.1.1), which has two labels at least. A
    signer in other letters than ASCII (RFC 8616) may be the From's in its other spelling (``xn--``)."""
    return not signer.isascii() or _last_labels(signer) == _last_labels(domain)


def _last_labels(domain: str) -> list[str]:
    return domain.lower().rstrip(".").split(".")[-2:]


def _age_us(date: str, now_us: int) -> int | None:
    """``None``: the date cannot be read."""
    try:
        written = parsedate_to_datetime(date)
        sent = written.replace(tzinfo=written.tzinfo or UTC).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return now_us - int(sent * MICROSECONDS)
