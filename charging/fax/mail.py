"""Reads a fax that was sent in by mail: the sender, the number and the document. Pure.

- **The number** stands in the address (``fax+31201234567@…`` or ``31201234567@fax…``), else in the subject;
  `charging.tariff.written_numbers` decides what counts as one. Address and subject count only if the sender wrote them
  in the mail itself: anyone who has a mail of his can send it here again, with its signature and another envelope
  (RFC 6376, 8.6).
- **The account's own address** (``fax+SECRET@…``) names the account instead of a number
  (`charging.service.fax_address`).
- **The document** is the one PDF or TIFF attached.
- **Mail of programs** (a bounce, an out-of-office notice, a list) is dropped without an answer, so that two machines
  never answer each other (RFC 3834). Some programs do not mark their mail; so a mail without a document that answers
  one of our replies is dropped too.

Addresses are read from the raw headers, not by the mail library: its time grows with the square of a header's length,
and it finds addresses in text that has none. A sender must write one plain address.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from email.header import decode_header, make_header
from email.message import EmailMessage, Message
from email.parser import BytesParser
from email.policy import SMTP, Compat32, Policy
from enum import StrEnum
from functools import partial
from itertools import islice
from typing import TypeVar

from charging.unguessable import digest_of

MAIL_BYTES_MAX = 50_000_000
ADDRESS_LENGTH_MAX = 254
SUBJECT_LENGTH_MAX = 500
"""Characters; in a longer one no number is looked for."""
HEADER_MAX = 20_000
"""Characters of a header that we read ourselves, in time that grows with them; a longer one counts as empty. White
space between words is one of them, however long: a signature may leave that open (RFC 6376, 3.4.2), and whoever has a
copy of a mail is not to choose by it what counts as empty."""
PART_HEADER_MAX = 1_000
"""The same of a ``Content-…`` header, which the mail library reads, in time that grows with their square."""
LINES_MAX = 1_000_000
"""A mail of more is dropped: a document of MAIL_BYTES_MAX has fewer. The mail library takes microseconds for each."""
HEAD_LINES_MAX = 10_000
"""The same of lines above its body: the mail library goes through all headers whenever one is asked for."""
PARTS_MAX = 200
"""Of a mail with more parts none is looked at: there is no document. Three bytes make one, which takes a thousand."""
HOLDERS_MAX = 20
"""The same for parts that hold others: the mail library compares each line with the end of every one it stands in."""
LOOKED_AT_MAX = 20
"""Of a mail with more parts that might be a document none is one: the mail library reads the headers of each, which
takes 20 ms where someone has made them for that."""
_MAY_NAME_ONE = re.compile(r"pdf|tif|=\?|\*|\\", re.IGNORECASE)
"""What stands in the header of every document; but for the types, a name may be in code."""
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
_ORIGINAL_TO = re.compile(rb"(?:From [^\n]*\n)?(?:Return-Path:[^\n]*\n)?X-Original-To: *([^\n]*?)\r?\n")
"""As Postfix' pipe(8) writes it, above all that came from outside."""
_HEAD_END = re.compile(rb"\n\r?\n")
_WHITE_SPACE = b" \t\r\n"
_SPACES, _BLANK = re.compile(rb"[ \t]+"), re.compile(rb"^[ \t]++(?=\r?$)", re.MULTILINE)
_SOFT_BREAK = re.compile(rb"=[ \t]++(?=\r?$)", re.MULTILINE)
_ENDS_A_PART = re.compile(rb"^--[^\r\n \t]*+(?: (?![ \t])[^\r\n \t]*+)*+[ \t][^\r\n]*+", re.MULTILINE)
"""If it has other white space than single spaces."""
_LINE_END = re.compile(r"[\r\n]")
_BARE_CR = re.compile(rb"\r(?!\n)")
_NO_HEADER = re.compile(rb"^(?![!-9;-~]+:|[ \t]|\AFrom (?![ \t]*:)|\r?$)", re.MULTILINE)
"""A line that is neither a header, nor goes on with one, nor begins a mail in a file of mails."""
_ONCE = ("From", "To", "Subject", "Date", "Message-ID")
_SAYS_AUTOMATIC = (
    *("X-Autoreply", "X-Auto-Reply", "X-Autorespond", "X-Autoresponder", "X-Auto-Response-Suppress"),
    *("X-Autogenerated", "X-Vacation", "X-Loop", "X-AutoReply-From", "X-AutoRespond-Subject", "X-Mail-Autoreply"),
    *("X-Failed-Recipients", "X-FC-MachineGenerated", "X-MS-Exchange-Inbox-Rules-Loop", "X-Cron-Env"),
)
_OF_LISTS = (
    *("List-Id", "List-Unsubscribe", "List-Unsubscribe-Post", "List-Post", "List-Help"),
    *("List-Subscribe", "List-Owner", "List-Archive"),
)
_BULK = frozenset(("bulk", "junk", "list", "auto_reply", "auto-reply"))
_PRECEDENCES = ("Precedence", "X-Precedence", "Preference")
_COMMENT = re.compile(r"\([^()]*\)")

T = TypeVar("T")


class Wrong(StrEnum):
    """Why a mail cannot be sent as a fax. The sender gets the reason by mail."""

    AMBIGUOUS_SENDER = "ambiguous_sender"
    NO_NUMBER = "no_number"
    MANY_NUMBERS = "many_numbers"
    NO_DOCUMENT = "no_document"
    MANY_DOCUMENTS = "many_documents"
    TOO_LARGE = "too_large"
    """The mail, with all that is attached; which document it has is not looked at."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """How a mail came here, by the mail server."""

    sender: str = ""
    """As ``MAIL FROM`` has it."""
    client: str = ""
    """The address of the machine that brought it; empty: not told."""
    helo: str = ""
    """What that machine calls itself. It only goes into names that an SPF record makes of it."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail from a person."""

    sender: str
    """The one plain address in its From, which anyone can write there: see `charging.fax.proven`."""
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
    date: str = ""
    """When it says that it was written, in its own words; empty: it does not say."""
    body: str = ""
    """A digest of its whole body without white space, which a signature may leave open (RFC 6376, 3.4.4)."""
    received: str = ""
    """When the last mail server took it, by the date in its ``Received``, which stands above all others; empty: it does
    not say."""
    answers_us: bool = False
    """Whether it answers a reply of ours."""

    @property
    def domain(self) -> str:
        """Of the sender."""
        return self.sender.rpartition("@")[2]

    @property
    def key(self) -> str:
        """The same mail delivered twice is the same fax. Made of what a signature covers only, so that whoever got a
        mail of a customer cannot hand it in as another: of the date, not of the Message-ID (RFC 6376, 5.4.1), and of
        the body as it stands, not of the document, which the headers of the mail may have read in another way."""
        sent = self.date or self.message_id
        parts = (self.sender.casefold(), sent, str(self.target), self.body)
        return _key("\n".join(parts))

    @property
    def note(self) -> str:
        """The key under which is noted what became of the mail (`charging.fax.mailed`). Each secret address has notes
        of its own: whoever hands a copy in to his own must not have the customer's mail taken for a copy of it."""
        return _key(f"{self.key}\n{digest_of(self.secret)}") if self.secret else self.key


def _key(text: str) -> str:
    return KEY_PREFIX + hashlib.sha256(text.encode()).hexdigest()[:32]


def read_head(data: bytes, *, envelope_sender: str | None = None, recipient: str = "") -> Letter | None:
    """Read a mail that an MTA hands over, but for its document, which takes seconds to find in a mail that someone has
    made for that; ``None``: drop it. ``envelope_sender`` and ``recipient`` are those of the MTA's envelope; ``<>`` or
    an empty sender is a bounce."""
    if _has_too_many_lines(data) or _has_hidden_lines(data):
        return None
    message = _parsed(data[: _head_length(data)], headers_only=True)
    if message is None:
        return None
    sender = _sender(message)
    if sender is None or _has_twice(message) or _is_automatic(message, sender, envelope_sender):
        return None
    written = _addresses(message, "To")
    recipients = [recipient] if recipient else written
    message_id = _header(message, "Message-ID")
    return Letter(
        sender=sender,
        message_id=message_id if _MESSAGE_ID.fullmatch(message_id) else "",
        recipient=recipients[0] if recipients else "",
        addressed_at=tuple(domain_of(one) for one in written if not recipient or _name(one) == _name(recipient)),
        target=_target(recipients, _subject(message), by_server=bool(recipient)),
        document=Wrong.NO_DOCUMENT,
        secret=_secret(recipients),
        date=_header(message, "Date"),
        body=_body_digest(data),
        received=next(iter(_headers(message, "Received")), "").rpartition(";")[2].strip(),
        answers_us=_OUR_REPLY.search(_header(message, "In-Reply-To") + _header(message, "References")) is not None,
    )


def with_document(letter: Letter, data: bytes) -> Letter | None:
    """The letter of these bytes with its document; ``None``: drop it."""
    even = _evened(data)
    documents = _documents(even)
    if not documents and letter.answers_us:
        return None
    if len(documents) != 1:
        return replace(letter, name="", document=_count_wrong(len(documents)))
    (name, document), as_it_came = documents[0], [] if even == data else _documents(data)
    if len(as_it_came) == 1 and _without_space(as_it_came[0][1]) == _without_space(document):
        document = as_it_came[0][1]
    return replace(letter, name=name, document=document)


def _evened(data: bytes) -> bytes:
    """What tells which document a mail has: its bytes without white space in its body that a signature may leave open
    (RFC 6376, 3.4.4) and that would decide which parts it has: on lines that have nothing else, with which a part's
    headers end, more than one space between the words of a line that may end a part, and what stands behind a soft line
    break (``=``), which would be none by that. The document itself may have such lines (``7bit``, ``8bit``,
    ``binary``), and is not altered."""
    length = _head_length(data)
    body = _SOFT_BREAK.sub(b"=", _BLANK.sub(b"", data[length:]))
    body = _ENDS_A_PART.sub(_with_single_spaces, body)
    return data[:length] + body


def _with_single_spaces(line: re.Match[bytes]) -> bytes:
    """No further than what can end a part: that stands in a header."""
    return _SPACES.sub(b" ", line[0], count=PART_HEADER_MAX)


def original_recipient(data: bytes) -> str:
    """The recipient that Postfix' pipe has written above the mail (``flags=O``); empty: it has not. What stands further
    down may be anyone's."""
    found = _ORIGINAL_TO.match(data)
    return found[1].decode("latin-1") if found else ""


def _has_too_many_lines(data: bytes) -> bool:
    return data.count(b"\n") > LINES_MAX or data.count(b"\n", 0, _head_length(data)) > HEAD_LINES_MAX


def _has_hidden_lines(data: bytes) -> bool:
    """Whether its headers are others to the mail library than to a mail server.

    A carriage return that ends no line (RFC 5322, 2.2, forbids it) begins one for the library only. So a sender could
    write a header that no server takes out, and above the server's own: within the quoted envelope sender that stands
    in ``Return-Path``. A header with a space before its colon (RFC 5322, 4.5) is one for servers only: for the library
    the body begins there. So a stranger could keep what a signature covers, and the signature, from us, and write a To,
    Subject and Date of his own above. A From of that kind it takes for the line that begins a mail in a file of mails,
    and passes it over."""
    head = _head_length(data)
    return any(one.search(data, 0, head) is not None for one in (_BARE_CR, _NO_HEADER))


def parts_of(data: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """The headers and the body of a mail that is a `Letter`, as they stand: of each header its name, and what stands
    behind the colon; with ``\\n`` where a line ends. What a signature is made of (RFC 6376, 3.4)."""
    length = _head_length(data)
    headers: list[tuple[bytes, list[bytes]]] = []
    for line in data[:length].replace(b"\r\n", b"\n").rstrip(b"\n").split(b"\n"):
        name, colon, value = line.partition(b":")
        if line[:1] in (b" ", b"\t"):
            if headers:
                headers[-1][1].append(line)
        elif colon and not line.startswith(b"From "):
            headers.append((name, [value]))
    body = data[length:].replace(b"\r\n", b"\n")
    return [(name, b"\n".join(lines) + b"\n") for name, lines in headers], body


class _Bounded(Compat32):
    """The mail library's older way, which reads least; it gets no more of a part's header than it reads in no time."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        name, value = super().header_source_parse(sourcelines)
        if not name.lower().startswith("content-"):
            return name, value
        value = " ".join(value.split())
        return name, value if len(value) <= PART_HEADER_MAX else ""


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


def _parsed(data: bytes, *, headers_only: bool) -> EmailMessage | None:
    """The mail; ``None`` of one with too many parts."""
    return _tried(partial(_parsed_by, headers_only, data), None)


def _parsed_by(headers_only: bool, data: bytes) -> EmailMessage:
    parser = BytesParser(_Parts(), policy=_Bounded())  # type: ignore[arg-type]  # it is given the policy
    message = parser.parsebytes(data, headersonly=headers_only)
    assert isinstance(message, EmailMessage), "the policy's factory"
    for part in message.walk():
        part.policy = SMTP
    return message


def _tried(read: Callable[[], T], otherwise: T) -> T:
    """What the mail library reads, or ``otherwise``. Over malformed mail it raises IndexError, AttributeError,
    RecursionError and others that no documentation tells; what they end would come back to the sender as a bounce.
    Raises MemoryError: half of a mail says nothing of the rest."""
    try:
        return read()
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001
        return otherwise


def _headers(message: EmailMessage, name: str) -> list[str]:
    """Every header of the name, from the top, each on one line and as it stands; empty where it is too long."""
    found = (" ".join(str(value).split()) for one, value in message.raw_items() if one.lower() == name.lower())
    return [_storable(value) if len(value) <= HEADER_MAX else "" for value in found]


def _header(message: EmailMessage, name: str) -> str:
    """The first of them; empty where there is none."""
    return next(iter(_headers(message, name)), "")


def _body_digest(data: bytes) -> str:
    return hashlib.sha256(_without_space(data[_head_length(data) :])).hexdigest()


def _without_space(data: bytes) -> bytes:
    return data.translate(None, _WHITE_SPACE)


def _head_length(data: bytes) -> int:
    """With the empty line that ends it."""
    end = _HEAD_END.search(data)
    return len(data) if end is None else end.end()


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
    words = (_COMMENT.sub("", one).lower().partition(";")[0].strip() for one in _headers(message, "Auto-Submitted"))
    submitted = any(one not in ("", "no") for one in words)
    bulk = any(one.strip().lower() in _BULK for name in _PRECEDENCES for one in _headers(message, name))
    listed = any(name in message for name in _OF_LISTS)
    says_so = any(one.lower() not in ("no", "none") for name in _SAYS_AUTOMATIC for one in _headers(message, name))
    own = submitted or bulk or listed or says_so or _type(message) == "multipart/report"
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


def _documents(data: bytes) -> list[tuple[str, bytes]]:
    """Those in the mail, two at most."""
    message = _parsed(data, headers_only=False)
    if message is None:
        return []
    parts: list[EmailMessage] = _tried(lambda: list(message.walk()), [])
    may_be = [part for part in parts if not part.is_multipart() and _may_be_document(part)]
    found = list(islice(_found(may_be[:LOOKED_AT_MAX]), 2))
    return found if len(found) == 2 or len(may_be) <= LOOKED_AT_MAX else []


def _may_be_document(part: EmailMessage) -> bool:
    """By its headers as they stand: quick."""
    named = (value for name, value in part.raw_items() if name.lower() in ("content-type", "content-disposition"))
    return any(_MAY_NAME_ONE.search(_LINE_END.sub("", str(value))) for value in named)


def _found(parts: Sequence[EmailMessage]) -> Iterator[tuple[str, bytes]]:
    for part in parts:
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
