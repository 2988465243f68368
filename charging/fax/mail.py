"""A fax handed in by mail: who wants what sent where, read from the message. Pure.

The number stands in the address (``fax+31201234567@…`` or ``31201234567@fax…``), else in the subject; what there is one
is for `charging.rating.written_numbers` to say. The document is the one PDF or TIFF attached. What a program has sent
(a bounce, an out-of-office notice, a list) is dropped without a word, so that two machines never answer one another
(RFC 3834); and since some programs do not say that they are, so is a mail without a document that answers one of our
replies.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage, Message
from email.parser import BytesParser
from email.policy import SMTP, Policy, compat32
from email.utils import getaddresses
from enum import StrEnum
from functools import partial
from typing import Any, TypeVar

MAIL_BYTES_MAX = 50_000_000
ADDRESS_LENGTH_MAX = 254
PLACES = ("X-Original-To", "Delivered-To", "To", "Cc")
SUBJECT_LENGTH_MAX = 500
"""Characters; in a longer one no number is looked for."""
_IN_ADDRESS = re.compile(r"(fax\+)?\+?([0-9]{6,20})", re.IGNORECASE)
_TYPES = ("application/pdf", "image/tiff")
_PROGRAMS = ("mailer-daemon", "mail-daemon")
KEY_PREFIX = "mail-"
_OUR_REPLY = re.compile(rf"<{KEY_PREFIX}[0-9a-f]{{32}}@")
_NAMES = re.compile(r".*\.(pdf|tiff?)", re.IGNORECASE)

T = TypeVar("T")


class Wrong(StrEnum):
    """What keeps a mail from being a fax; its sender is told."""

    UNKNOWN_SENDER = "unknown_sender"
    AMBIGUOUS_SENDER = "ambiguous_sender"
    NO_NUMBER = "no_number"
    MANY_NUMBERS = "many_numbers"
    NO_DOCUMENT = "no_document"
    MANY_DOCUMENTS = "many_documents"


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail from a person."""

    sender: str
    """The address in its From; whoever pipes mails to us has made sure that it is not forged."""
    message_id: str
    recipient: str
    """Where it was sent to; empty where that is not known."""
    target: str | Wrong
    """What names the number: the digits of an address, else the subject."""
    document: bytes | Wrong
    name: str = ""

    @property
    def key(self) -> str:
        """The same mail delivered twice is the same fax."""
        document = self.document if isinstance(self.document, bytes) else b""
        parts = (self.sender.casefold(), self.message_id, str(self.target), hashlib.sha256(document).hexdigest())
        return KEY_PREFIX + hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def read_letter(data: bytes, *, envelope_sender: str | None = None, recipient: str = "") -> Letter | None:
    """The mail that an MTA hands over; ``None``: drop it. ``envelope_sender`` and ``recipient`` are as the MTA knows
    them; ``<>`` or nothing as sender is a bounce."""
    message = _parsed(data)
    if message is None:
        return None
    senders = _addresses(message, "From")
    if _is_automatic(message, envelope_sender) or len(senders) != 1:
        return None
    recipients = [recipient] if recipient else [one for place in PLACES for one in _addresses(message, place)]
    documents = list(_documents(message))
    if not documents and _OUR_REPLY.search(_header(message, "In-Reply-To") + _header(message, "References")):
        return None
    name, document = documents[0] if len(documents) == 1 else ("", _count_wrong(len(documents)))
    return Letter(
        sender=senders[0],
        message_id=_header(message, "Message-ID"),
        recipient=recipients[0] if recipients else "",
        target=_target(recipients, _header(message, "Subject"), by_server=bool(recipient)),
        document=document,
        name=name,
    )


def _parsed(data: bytes) -> EmailMessage | None:
    """The mail. Where the library stumbles over the header of some part, its older way, which reads less, tells the
    parts apart; of parts nested without end there are only the mail's own headers, and no document."""
    for policy, headers_only in ((SMTP, False), (compat32, False), (compat32, True)):
        message = _tried(partial(_parsed_by, policy, headers_only, data), None)
        if message is not None:
            return message
    return None


def _parsed_by(policy: Policy[Any], headers_only: bool, data: bytes) -> EmailMessage:
    message = BytesParser(EmailMessage, policy=policy).parsebytes(data, headersonly=headers_only)
    assert isinstance(message, EmailMessage), "the policy's factory"
    for part in message.walk():
        part.policy = SMTP
    return message


def _tried(read: Callable[[], T], otherwise: T) -> T:
    """What the mail library reads, or ``otherwise``. Over malformed mail it raises IndexError, AttributeError,
    RecursionError and others that no documentation tells; what they end would come back to the sender as a bounce."""
    try:
        return read()
    except Exception:  # noqa: BLE001
        return otherwise


def _header(message: EmailMessage, name: str) -> str:
    """The header on one line; empty where it is absent or cannot be read."""
    return _tried(lambda: " ".join(str(message.get(name, "")).split()), "")


def _addresses(message: EmailMessage, name: str) -> list[str]:
    return [address for _, address in getaddresses([_header(message, name)]) if _is_address(address)]


def _is_address(text: str) -> bool:
    return len(text) <= ADDRESS_LENGTH_MAX and _tried(lambda: bool(Address(addr_spec=text).domain), False)


def _is_automatic(message: EmailMessage, envelope_sender: str | None) -> bool:
    """Whether a program sent it. An empty envelope sender, or Return-Path, is what a bounce has."""
    paths = [_header(message, "Return-Path")] if "Return-Path" in message else []
    paths += [] if envelope_sender is None else [envelope_sender]
    names = {path.strip().strip("<> ").partition("@")[0].lower() for path in paths}
    senders = {one.partition("@")[0].lower() for one in _addresses(message, "From")}
    submitted = _header(message, "Auto-Submitted").lower().partition(";")[0].strip()
    bulk = _header(message, "Precedence").lower() in ("bulk", "junk", "list", "auto_reply")
    listed = "List-Id" in message or "List-Unsubscribe" in message
    report = _type(message) == "multipart/report"
    own = submitted not in ("", "no") or bulk or listed or report
    return own or "" in names or not (names | senders).isdisjoint(_PROGRAMS)


def the_number(found: Sequence[str]) -> str | Wrong:
    """The one of the numbers that a letter's target was found to name."""
    if len(found) == 1:
        return found[0]
    return Wrong.MANY_NUMBERS if found else Wrong.NO_NUMBER


def _target(recipients: list[str], subject: str, *, by_server: bool) -> str | Wrong:
    """``by_server``: the mail server names the recipient, so that it is an address of ours."""
    found = {digits for one in recipients if (digits := _digits(one, by_server=by_server))}
    if len(found) > 1:
        return Wrong.MANY_NUMBERS
    if found:
        return found.pop()
    return subject if len(subject) <= SUBJECT_LENGTH_MAX else Wrong.NO_NUMBER


def _digits(address: str, *, by_server: bool) -> str:
    """The number that a fax's address is made of; empty: it is another address. Digits alone are one only where it is
    ours: other people's addresses are digits too, and get the same mail."""
    name, _, domain = address.rpartition("@")
    match = _IN_ADDRESS.fullmatch(name)
    if match is None or not (match[1] or by_server or domain.lower().startswith("fax")):
        return ""
    return _typed(match[2])


def _typed(digits: str) -> str:
    """Digits of an address: national ones begin with a zero, others are international."""
    return digits if digits.startswith("0") else f"+{digits}"


def _documents(message: EmailMessage) -> Iterator[tuple[str, bytes]]:
    parts: list[EmailMessage] = _tried(lambda: list(message.walk()), [])
    for part in parts:
        if part.is_multipart():
            continue
        name = _filename(part)
        if _type(part) in _TYPES or _NAMES.fullmatch(name):
            yield name, _content(part)


def _content(part: Message) -> bytes:
    """Empty where its encoding is malformed: what makes a fax of it will say that it is no document."""
    content: object = _tried(lambda: part.get_payload(decode=True), None)
    return content if isinstance(content, bytes) else b""


def _type(part: Message) -> str:
    """Empty where it is malformed."""
    return _tried(part.get_content_type, "")


def _filename(part: Message) -> str:
    """Empty where there is none, or a malformed one."""
    return _tried(part.get_filename, None) or ""


def _count_wrong(count: int) -> Wrong:
    return Wrong.MANY_DOCUMENTS if count else Wrong.NO_DOCUMENT
