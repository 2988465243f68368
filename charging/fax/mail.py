"""A fax handed in by mail: who wants what sent where, read from the message. Pure.

The number stands in the address (``fax+31201234567@…`` or ``31201234567@fax…``), else in the subject; what there is one
is for `charging.tariff.written_numbers` to say. Both count only as the sender wrote them: whoever got a mail of his can
hand the same mail in here, with its signature and with another envelope (RFC 6376, 8.6). An account's own address
(``fax+SECRET@…``) names the account in place of a number (`charging.service.fax_address`). The document is the one PDF
or TIFF attached. What a program has sent (a bounce, an out-of-office notice, a list) is dropped without a word, so that
two machines never answer one another (RFC 3834); and since some programs do not say that they are, so is a mail without
a document that answers one of our replies.

The addresses are read from the headers as they stand, not by the mail library, whose reading takes time that grows with
the square of a header and finds addresses in what is none. Whoever wants his faxes sent writes one plain address.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from email.header import decode_header, make_header
from email.message import EmailMessage, Message
from email.parser import BytesParser
from email.policy import SMTP, Compat32, Policy
from enum import StrEnum
from functools import partial
from typing import TypeVar

from charging.fax.authentic import HEADER as AUTHENTICATION_RESULTS

MAIL_BYTES_MAX = 50_000_000
ADDRESS_LENGTH_MAX = 254
SUBJECT_LENGTH_MAX = 500
"""Characters; in a longer one no number is looked for."""
HEADER_MAX = 20_000
"""Characters of a header that we read ourselves, in time that grows with them; a longer one counts as empty."""
PART_HEADER_MAX = 1_000
"""Characters of a ``Content-…`` header, which the mail library reads, in time that grows with their square."""
LINES_MAX = 1_000_000
"""A mail of more is dropped: a document of MAIL_BYTES_MAX has fewer. The mail library takes microseconds for each."""
PARTS_MAX = 200
"""Of a mail with more parts none is looked at: there is no document. Three bytes make one, which takes a thousand."""
HOLDERS_MAX = 20
"""The same for parts that hold others: the mail library compares each line with the end of every one it stands in."""
_IN_ADDRESS = re.compile(r"(fax\+)?\+?([0-9]{6,20})", re.IGNORECASE)
_SECRET = re.compile(r"fax\+([a-z2-7]{26})", re.IGNORECASE)
_TYPES = ("application/pdf", "image/tiff")
_PROGRAMS = ("mailer-daemon", "mail-daemon")
KEY_PREFIX = "mail-"
_OUR_REPLY = re.compile(rf"<{KEY_PREFIX}[0-9a-f]{{32}}@")
_NAMES = re.compile(r".*\.(pdf|tiff?)", re.IGNORECASE)
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_ADDRESS = rf"{_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*"
_PLAIN = re.compile(_ADDRESS)
_MAILBOX = re.compile(rf"""(?:[^"<>@,;:()\[\]\\\x00-\x1f\x7f-\U0010ffff]|"[ -!#-;=?-\[\]-~]*")*<\s*({_ADDRESS})\s*>""")
"""What may stand before an address in angle brackets: words, and words in quotes that hold no brackets."""
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")
_NAMES_OR_COMMENTS = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?$)|\((?:[^()\\]|\\.)*(?:\)|(?=\()|\\?$)')
"""With what a backslash escapes in them (RFC 5322, 3.2.1)."""
_QUOTES = re.compile(r'["()]')
_ENTRIES = re.compile("[,;:]")
_ANGLE = re.compile("<([^<>]*)>")
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,250}>")
_HEAD_END = re.compile(rb"\n\r?\n")
_BARE_CR = re.compile(rb"\r(?!\n)")
_SPACED_FROM = re.compile(rb"^From[ \t]+:", re.MULTILINE)
_ONCE = ("From", "To", "Subject", "Message-ID")
_SAYS_AUTOMATIC = ("X-Autoreply", "X-Autorespond", "X-Auto-Response-Suppress")

T = TypeVar("T")


class Wrong(StrEnum):
    """What keeps a mail from being a fax; its sender is told."""

    AMBIGUOUS_SENDER = "ambiguous_sender"
    NO_NUMBER = "no_number"
    MANY_NUMBERS = "many_numbers"
    NO_DOCUMENT = "no_document"
    MANY_DOCUMENTS = "many_documents"


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail from a person."""

    sender: str
    """The one plain address in its From, which anyone can write there: see ``authentication``."""
    message_id: str
    recipient: str
    """Where it was sent to; empty where that is not known."""
    addressed_at: tuple[str, ...]
    """The domains at which its one ``To`` names the recipient, by what stands before the ``@``; in small letters. A
    ``Cc`` does not count: what a mail has not, no signature covers."""
    target: str | Wrong
    """What names the number: the digits of an address, else the subject."""
    document: bytes | Wrong
    name: str = ""
    secret: str = field(default="", repr=False)
    """Of the account's own fax address to which it was sent (``fax+SECRET@…``); empty: it was sent to another."""
    authentication: tuple[str, ...] = ()
    """Its ``Authentication-Results``, the topmost first: for `charging.fax.authentic`."""

    @property
    def domain(self) -> str:
        """Of the sender."""
        return self.sender.rpartition("@")[2]

    @property
    def key(self) -> str:
        """The same mail delivered twice is the same fax."""
        document = self.document if isinstance(self.document, bytes) else b""
        parts = (self.sender.casefold(), self.message_id, str(self.target), hashlib.sha256(document).hexdigest())
        return KEY_PREFIX + hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def read_letter(data: bytes, *, envelope_sender: str | None = None, recipient: str = "") -> Letter | None:
    """The mail that an MTA hands over; ``None``: drop it. ``envelope_sender`` and ``recipient`` are as the MTA knows
    them; ``<>`` or nothing as sender is a bounce."""
    message = None if data.count(b"\n") > LINES_MAX or _has_hidden_lines(data) else _parsed(data)
    if message is None:
        return None
    sender = _sender(message)
    if sender is None or _has_twice(message) or _is_automatic(message, sender, envelope_sender):
        return None
    written = _addresses(message, "To")
    recipients = [recipient] if recipient else written
    documents = list(_documents(message))
    if not documents and _OUR_REPLY.search(_header(message, "In-Reply-To") + _header(message, "References")):
        return None
    name, document = documents[0] if len(documents) == 1 else ("", _count_wrong(len(documents)))
    message_id = _header(message, "Message-ID")
    return Letter(
        sender=sender,
        message_id=message_id if _MESSAGE_ID.fullmatch(message_id) else "",
        recipient=recipients[0] if recipients else "",
        addressed_at=tuple(domain_of(one) for one in written if not recipient or _name(one) == _name(recipient)),
        target=_target(recipients, _subject(message), by_server=bool(recipient)),
        document=document,
        name=name,
        secret=_secret(recipients),
        authentication=tuple(_headers(message, AUTHENTICATION_RESULTS)),
    )


def _has_hidden_lines(data: bytes) -> bool:
    """Whether its headers are others to the mail library than to a mail server.

    A carriage return that ends no line (RFC 5322, 2.2, forbids it) begins one for the library only. So a sender could
    write a header that no server takes out, and above the server's own: within the quoted envelope sender that stands
    in ``Return-Path``. A From with a space before its colon is one for servers only; the library takes it for the line
    that begins a mail in a file of mails, and passes it over."""
    end = _HEAD_END.search(data)
    head = len(data) if end is None else end.end()
    return any(one.search(data, 0, head) is not None for one in (_BARE_CR, _SPACED_FROM))


class _Bounded(Compat32):
    """The mail library's older way, which reads least; it gets no more of a part's header than it reads in no time."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        name, value = super().header_source_parse(sourcelines)
        return name, value if len(value) <= PART_HEADER_MAX or not name.lower().startswith("content-") else ""


class _TooMany(Exception):
    """The mail has more parts than anyone sends."""


class _Parts:
    """Makes the mail's parts for the mail library, and ends its reading where there are too many."""

    def __init__(self) -> None:
        self._left = PARTS_MAX + 1  # the library makes one to try
        self._holders_left = HOLDERS_MAX

    def __call__(self, policy: Policy) -> EmailMessage:
        self._left -= 1
        if self._left < 0:
            raise _TooMany
        return _Part(policy, self)

    def one_holds_others(self) -> None:
        """Raises _TooMany."""
        self._holders_left -= 1
        if self._holders_left < 0:
            raise _TooMany


class _Part(EmailMessage):
    def __init__(self, policy: Policy, parts: _Parts) -> None:
        super().__init__(policy)
        self._parts = parts

    def get_boundary(self, failobj: T | None = None) -> T | str | None:  # type: ignore[override]
        """The library asks for it before it reads what the part holds."""
        self._parts.one_holds_others()
        return super().get_boundary(failobj)


def _parsed(data: bytes) -> EmailMessage | None:
    """The mail; of one with too many parts there are only its own headers, and no document."""
    for headers_only in (False, True):
        message = _tried(partial(_parsed_by, headers_only, data), None)
        if message is not None:
            return message
    return None


def _parsed_by(headers_only: bool, data: bytes) -> EmailMessage:
    parser = BytesParser(_Parts(), policy=_Bounded())  # type: ignore[arg-type]  # it is given the policy
    message = parser.parsebytes(data, headersonly=headers_only)
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


def _headers(message: EmailMessage, name: str) -> list[str]:
    """Every header of the name, from the top, each on one line and as it stands; empty where it is too long."""
    found = (value for one, value in message.raw_items() if one.lower() == name.lower())
    return [_storable(" ".join(value.split())) if len(value) <= HEADER_MAX else "" for value in map(str, found)]


def _header(message: EmailMessage, name: str) -> str:
    """The first of them; empty where there is none."""
    return next(iter(_headers(message, name)), "")


def _subject(message: EmailMessage) -> str:
    text = _header(message, "Subject")
    return _storable(_tried(lambda: str(make_header(decode_header(text))), ""))


def _storable(text: str) -> str:
    """The text without halves of characters, which no file, terminal or hash takes: the mail library reads a byte that
    is no UTF-8 as one, and some encodings of an encoded word have them."""
    return _HALF_CHARACTER.sub("\ufffd", text)


def is_plain_address(text: str) -> bool:
    """Whether it is a mail address as people write it: letters, digits and a few signs, none of which means anything to
    a mail server. No quotes, no comments, nothing but ASCII."""
    return len(text) <= ADDRESS_LENGTH_MAX and _PLAIN.fullmatch(text) is not None


def _sender(message: EmailMessage) -> str | None:
    """The one address in its From; ``None`` where there are more, or it is not plain."""
    header = _header(message, "From")
    named = _MAILBOX.fullmatch(header)
    address = named[1] if named is not None else header
    return address if is_plain_address(address) else None


def _has_twice(message: EmailMessage) -> bool:
    """Whether a header that a mail has once (RFC 5322, 3.6) is there again: a signature covers the lowest alone, so the
    one above it is someone else's."""
    return any(len(_headers(message, name)) > 1 for name in _ONCE)


def _addresses(message: EmailMessage, name: str) -> list[str]:
    """What is only called so is none: a mail program takes the name from the mail that it answers, whose sender may
    have called himself as he liked."""
    rest = _NAMES_OR_COMMENTS.sub(" ", _header(message, name))
    if _QUOTES.search(rest):  # comments in comments, quotes that do not end: what is an address is not sure
        return []
    entries = _ENTRIES.split(rest)
    words = (word for entry in entries for word in (_ANGLE.findall(entry) or [entry])[-1].split())
    return list(dict.fromkeys(word for word in words if is_plain_address(word)))


def _name(address: str) -> str:
    """What stands before its domain, which a mail server may rewrite."""
    return address.rpartition("@")[0].lower()


def domain_of(address: str) -> str:
    """In small letters; empty where it has none."""
    name, _, domain = address.rpartition("@")
    return domain.lower() if name else ""


def _is_automatic(message: EmailMessage, sender: str, envelope_sender: str | None) -> bool:
    """Whether a program sent it. An empty envelope sender, or Return-Path, is what a bounce has."""
    paths = _headers(message, "Return-Path") + ([] if envelope_sender is None else [envelope_sender])
    names = {path.strip().strip("<> ").partition("@")[0].lower() for path in paths}
    submitted = _header(message, "Auto-Submitted").lower().partition(";")[0].strip()
    bulk = _header(message, "Precedence").lower() in ("bulk", "junk", "list", "auto_reply")
    listed = "List-Id" in message or "List-Unsubscribe" in message
    says_so = any(one.lower() not in ("no", "none") for name in _SAYS_AUTOMATIC for one in _headers(message, name))
    own = submitted not in ("", "no") or bulk or listed or says_so or _type(message) == "multipart/report"
    return own or "" in names or not (names | {sender.partition("@")[0].lower()}).isdisjoint(_PROGRAMS)


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


def _secret(recipients: list[str]) -> str:
    """That of the one secret address among them."""
    found = {match[1].lower() for one in recipients if (match := _SECRET.fullmatch(one.rpartition("@")[0]))}
    return found.pop() if len(found) == 1 else ""


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
