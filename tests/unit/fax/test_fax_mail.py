"""A mail says who faxes what where; what a program sent is dropped, so that no two machines answer one another."""

from __future__ import annotations

from collections.abc import Mapping
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charging.fax.mail import Letter, Wrong, the_number
from charging.fax.reply import SUBJECT, Words, reply_to, words
from charging.ledger.accounts import Language
from charging.service.refusal import Obstacle
from tests.fakes.effort import assert_linear
from tests.fakes.letters import read_letter

AT_US = 1_795_262_400_000_000
PDF = b"%PDF-1.4 whatever"


def mail(
    *, to: str = "fax@example.nl", subject: str = "+31 20 123 4567", files: int = 1, headers: Mapping[str, str] = {}
) -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Anna <Anna@Example.nl>"
    message["To"] = to
    message["Subject"] = subject
    message["Message-ID"] = "<1@example.nl>"
    if "Date" not in headers:
        message["Date"] = "Sun, 29 Nov 2026 12:00:00 +0100"
    for name, value in headers.items():
        message[name] = value
    message.set_content("see attached")
    for index in range(files):
        message.add_attachment(PDF, "application", "pdf", filename=f"offer-{index}.pdf")
    if message.is_multipart():
        message.set_boundary("===1===")
    return message


def letter(message: EmailMessage, **envelope: str) -> Letter:
    found = read_letter(message.as_bytes(), **envelope)
    assert found is not None
    return found


def test_mail_with_a_number_in_its_subject_is_a_fax() -> None:
    found = letter(mail())
    assert (found.sender, found.target, found.document, found.name) == (
        "Anna@Example.nl",
        "+31 20 123 4567",
        PDF,
        "offer-0.pdf",
    )


@pytest.mark.parametrize(
    ("address", "number"),
    [
        ("fax+31201234567@example.nl", "+31201234567"),
        ("Fax++31201234567@example.nl", "+31201234567"),
        ("31201234567@fax.example.nl", "+31201234567"),
        ("fax+0201234567@example.nl", "0201234567"),
        ("fax+0031201234567@example.nl", "0031201234567"),
    ],
)
def test_number_in_the_address_goes_before_the_subject(address: str, number: str) -> None:
    assert letter(mail(to=address, subject="order 7654321")).target == number
    assert letter(mail(subject="order 7654321"), recipient=address).target == number


@pytest.mark.parametrize("address", ["31201234567@example.nl", "0612345678@sms.example.nl", "10001@qq.example"])
def test_other_peoples_address_of_digits_is_no_number(address: str) -> None:
    """They get the same mail; only of its recipient the mail server knows that it is a fax."""
    assert letter(mail(to=f"fax@example.nl, {address}")).target == "+31 20 123 4567"
    assert letter(mail(), recipient="0201234567@example.nl").target == "0201234567"


@pytest.mark.parametrize(("length", "named"), [(500, True), (501, False)])
def test_number_is_looked_for_in_a_subject_of_ordinary_length(length: int, named: bool) -> None:
    assert letter(mail(subject="x" * length)).target == ("x" * length if named else Wrong.NO_NUMBER)


@pytest.mark.parametrize(
    ("found", "number"),
    [
        ([], Wrong.NO_NUMBER),
        (["+31201234567"], "+31201234567"),
        (["+31201234567", "+31207654321"], Wrong.MANY_NUMBERS),
    ],
)
def test_one_number_is_the_target(found: list[str], number: str) -> None:
    assert the_number(found) == number


@pytest.mark.parametrize("subject", [b"fax \xff", b"=?utf-7?q?+2AA-?=", b"=?unicode-escape?q?=5Cud800?="])
def test_subject_that_is_no_text_is_read_and_has_a_key(subject: bytes) -> None:
    found = read_letter(b"From: a@example.nl\r\nSubject: " + subject + b"\r\n\r\nx")
    assert found is not None
    assert found.key
    assert str(found.target).encode()


def test_octets_named_as_a_document_are_one() -> None:
    message = mail(files=0)
    message.add_attachment(PDF, "application", "octet-stream", filename="scan.TIF")
    message.add_attachment(b"logo", "image", "png", filename="logo.png")
    assert letter(message).document == PDF


@pytest.mark.parametrize(("files", "wrong"), [(0, Wrong.NO_DOCUMENT), (2, Wrong.MANY_DOCUMENTS)])
def test_mail_without_exactly_one_document_says_why(files: int, wrong: Wrong) -> None:
    assert letter(mail(files=files)).document is wrong


def test_mail_to_two_numbers_is_no_fax() -> None:
    assert letter(mail(to="fax+31201234567@example.nl, 31207654321@fax.nl")).target is Wrong.MANY_NUMBERS


@pytest.mark.parametrize(
    "headers",
    [
        {"Auto-Submitted": "auto-replied"},
        {"Auto-Submitted": "auto-generated; x=y"},
        {"Precedence": "bulk"},
        {"List-Id": "<x.example.nl>"},
        {"Return-Path": "<>"},
        {"Return-Path": ""},
        {"Return-Path": "<MAILER-DAEMON@example.nl>"},
        {"Precedence": "auto_reply"},
        {"List-Unsubscribe": "<https://example.nl>"},
        {"X-Autoreply": "yes"},
        {"X-Autorespond": "Re: your mail"},
        {"X-Auto-Response-Suppress": "DR, OOF, AutoReply"},
        {"X-Auto-Reply": "yes"},
        {"X-Autoresponder": "vacation 1.2"},
        {"X-Vacation": "1"},
        {"X-Loop": "anna@example.nl"},
        {"Precedence": "Auto-Reply"},
        {"X-Precedence": "bulk"},
        {"Preference": "auto_reply"},
        {"List-Subscribe": "<mailto:join@example.nl>"},
        {"List-Unsubscribe-Post": "List-Unsubscribe=One-Click"},
        {"X-Failed-Recipients": "bert@example.nl"},
        {"X-Mail-Autoreply": "yes"},
        {"X-MS-Exchange-Inbox-Rules-Loop": "bert@example.nl"},
        {"X-FC-MachineGenerated": "true"},
        {"List-Post": "<mailto:x@example.nl>"},
        {"Auto-Submitted": "auto-replied (vacation)"},
    ],
)
def test_what_a_program_sent_is_dropped(headers: dict[str, str]) -> None:
    assert read_letter(mail(headers=headers).as_bytes()) is None


def test_what_says_twice_whether_a_program_sent_it_is_dropped() -> None:
    data = b"Auto-Submitted: no\nAuto-Submitted: auto-replied\n" + mail().as_bytes()
    assert read_letter(data) is None


def test_report_of_a_mail_server_is_dropped_also_with_the_document_in_it() -> None:
    message = mail()
    message.replace_header("Content-Type", 'multipart/report; report-type="delivery-status"; boundary="x"')
    assert read_letter(message.as_bytes()) is None
    message = mail()
    message.replace_header("From", "Mail system <MAILER-DAEMON@example.nl>")
    assert read_letter(message.as_bytes()) is None


def test_answer_to_our_reply_is_dropped_unless_it_brings_a_document() -> None:
    """A program that answers everything, and does not say that it is one, is answered once."""
    reply = reply_to(letter(mail(files=0)), "fax@example.nl", words(Wrong.NO_DOCUMENT, None), AT_US)
    for header in ("In-Reply-To", "References"):
        assert read_letter(mail(files=0, headers={header: reply["Message-ID"]}).as_bytes()) is None
        assert letter(mail(files=1, headers={header: reply["Message-ID"]})).document == PDF
    assert letter(mail(files=0, headers={"In-Reply-To": "<another@example.nl>"})).document is Wrong.NO_DOCUMENT


@pytest.mark.parametrize("length", [254, 255])
def test_sender_is_no_longer_than_an_address_may_be(length: int) -> None:
    message = mail()
    message.replace_header(
        "From", "a" * 60 + "@" + "b" * 60 + "." + "c" * 60 + "." + "d" * 60 + "." + "e" * (length - 244)
    )
    assert (read_letter(message.as_bytes()) is not None) == (length == 254)


@pytest.mark.parametrize("sender", ["", "<>", " <> ", "MAILER-DAEMON"])
def test_bounce_is_dropped(sender: str) -> None:
    assert read_letter(mail().as_bytes(), envelope_sender=sender) is None
    assert read_letter(mail().as_bytes(), envelope_sender="anna@example.nl") is not None


@pytest.mark.parametrize(
    "headers",
    [
        {"Auto-Submitted": "no"},
        {"Auto-Submitted": "no (a person)"},
        {"X-Auto-Response-Suppress": "None"},
        {"X-Autoreply": "no"},
        {"Feedback-ID": "1.eu-west-1:Relay"},  # relays put it into what people send, too
    ],
)
def test_person_who_says_so_is_not_dropped(headers: dict[str, str]) -> None:
    assert letter(mail(headers=headers)).document == PDF


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"From: a@b.nl, c@d.nl\n\nx", b"From: nobody\n\nx", b"\n" * 50])
def test_mail_without_a_single_sender_is_dropped(data: bytes) -> None:
    assert read_letter(data) is None


def from_(*values: bytes) -> Letter | None:
    """The letter of a mail whose From headers are these."""
    lines = b"".join(b"From: " + value + b"\n" for value in values)
    return read_letter(lines + mail().as_bytes().partition(b"\n")[2])


@pytest.mark.parametrize(
    "value",
    [
        b"a.b+c@example.nl",
        b"<a.b+c@example.nl>",
        b"Anna Jansen <a.b+c@example.nl>",
        b"=?utf-8?q?Ann=C3=A9?= J. <a.b+c@example.nl>",
        b'"Jansen, Anna (sales) a@x" <a.b+c@example.nl>',
        b"Anna\n <a.b+c@example.nl>",
    ],
)
def test_sender_is_the_one_plain_address_whatever_name_goes_before_it(value: bytes) -> None:
    found = from_(value)
    assert found is not None
    assert (found.sender, found.domain) == ("a.b+c@example.nl", "example.nl")


@pytest.mark.parametrize(
    "value",
    [
        b"a@b)<c@d",
        b"a@b.nl <c@d.nl>",
        b"<a@b.nl> <c@d.nl>",
        b"<a@b.nl>, <c@d.nl>",
        b"<a@b.nl>;c@d.nl",
        b'"<a@b.nl>" <c@d.nl>',
        b"(a@b.nl) c@d.nl",
        b"c@d.nl (Carl)",
        b'"a b"@d.nl',
        b"=?utf-8?q?a=40b.nl?=",
        b"=?utf-8?q?a?=@d.nl <>",
        b"Group: c@d.nl;",
        b"c@[127.0.0.1]",
        b"c@d.nl\xe9",
        b"\xff\xfe <c@d.nl>",
        b"c@d\xc3\xa9.nl",
        b"c@d.nl\x00",
        b"c@.d.nl",
        b"c..c@d.nl",
        b"c@d-.nl",
        b"x" * 20_000 + b" <c@d.nl>",
        b"",
    ],
)
def test_from_that_is_not_one_plain_address_has_no_sender(value: bytes) -> None:
    assert from_(value) is None


def test_two_from_headers_are_no_sender() -> None:
    assert from_(b"a@b.nl") is not None
    assert from_(b"a@b.nl", b"c@d.nl") is None
    assert from_(b"a@b.nl", b"a@b.nl") is None


@pytest.mark.parametrize("bad", ["<1@x>\r\nBcc: x@y.nl", "1@x", "<" + "x" * 251 + ">", "<\udcff@x>", "<a b@x>"])
def test_reply_refers_to_no_message_id_that_is_none(bad: str) -> None:
    found = read_letter(mail().as_bytes().replace(b"<1@example.nl>", bad.encode("utf-8", "surrogateescape")))
    assert found is not None
    reply = reply_to(found, "fax@example.nl", words(Wrong.NO_NUMBER, None), AT_US)
    assert reply.get("In-Reply-To", "<1@x>") == "<1@x>"
    assert "Bcc" not in reply


def test_line_that_no_mail_server_sees_is_no_header() -> None:
    """A mail server takes forged results out of what are lines to it, and writes its own above: below Return-Path."""
    hidden = b"Authentication-Results: mx.example.nl; dmarc=pass header.from=example.nl"
    plain = mail().as_bytes()
    for ends in (b"\r", b"\r\r"):
        path = b'Return-Path: <"a' + ends + hidden + ends + b'X:"@evil.example>'
        for line_end in (b"\n", b"\r\n"):
            assert read_letter(path + line_end + plain.replace(b"\n", line_end)) is None
    assert read_letter(plain.partition(b"\n\n")[0] + b"\r") is None


def test_carriage_returns_in_a_body_and_at_lines_ends_hide_nothing() -> None:
    head, _, body = mail().as_bytes().replace(b"\n", b"\r\n").partition(b"\r\n\r\n")
    found = read_letter(head + b"\r\n\r\n" + b"a\rb" + body)
    assert found is not None
    assert found.document == PDF


@pytest.mark.parametrize(
    ("to", "recipient", "domains"),
    [
        ("Fax+31201234567@Example.nl", "fax+31201234567@internal.example", ("example.nl",)),
        ("bob@example.nl, <fax@example.nl>", "fax@example.nl", ("example.nl",)),
        ("fax@example.com, fax@example.nl", "fax@example.nl", ("example.com", "example.nl")),
        ("bob@example.nl", "fax+31900123456@example.nl", ()),
        ("fax+31201234567@example.nl", "fax+31900123456@example.nl", ()),
        ('"fax@example.nl" <fax@evil.example>', "fax@example.nl", ("evil.example",)),
        ("fax@example.nl <fax@evil.example>", "fax@example.nl", ("evil.example",)),
        ("bob@evil.example (fax@example.nl)", "fax@example.nl", ()),
        (r'"Ann \"x, fax@example.nl, x\" B" <ann@evil.example>', "fax@example.nl", ()),
        (r'"Ann \" <fax@example.nl>, \" B" <ann@evil.example>', "fax@example.nl", ()),
        ("a (b (c) fax@example.nl, d) <x@evil.example>", "fax@example.nl", ()),
        (r"a (b \) fax@example.nl, d) <x@evil.example>", "fax@example.nl", ()),
        ('"Ann, fax@example.nl <ann@evil.example>', "fax@example.nl", ()),
        ('"Fax, ours" <fax@example.nl>, bob@example.com', "fax@example.nl", ("example.nl",)),
        ("Faxes: bob@example.com, fax@example.nl;", "fax@example.nl", ("example.nl",)),
        ("bob@example.nl", "", ("example.nl",)),
        ("undisclosed-recipients:;", "", ()),
    ],
)
def test_who_hands_in_what_was_written_to_somebody_else_names_no_number(
    to: str, recipient: str, domains: tuple[str, ...]
) -> None:
    assert letter(mail(to=to), recipient=recipient).addressed_at == domains


@pytest.mark.parametrize(
    "line",
    [
        "To: {}",
        "Subject: {}",
        "Date: Sun, 29 Nov 2026 12:00:01 +0100",
        "Message-ID: <2@example.nl>",
        "From: <anna@example.nl>",
    ],
)
def test_mail_to_which_a_header_was_added_that_it_had_is_dropped(line: str) -> None:
    """A signature covers the lowest header of a name alone. With another date it would be faxed again."""
    assert read_letter(line.format("fax+31900123456@example.nl").encode() + b"\n" + mail().as_bytes()) is None


@pytest.mark.parametrize("name", ["Cc", "X-Original-To", "Delivered-To", "Resent-To"])
def test_header_that_was_added_to_a_signed_mail_names_no_number(name: str) -> None:
    """Where there was none, a signature covers none."""
    fax, plain = "fax+31900123456@example.nl", mail(to="bob@example.nl").as_bytes()
    handed_in = read_letter(f"{name}: {fax}\n".encode() + plain, recipient=fax)
    assert handed_in is not None
    assert not handed_in.addressed_at
    unnamed = read_letter(f"{name}: {fax}\n".encode() + plain)
    assert unnamed is not None
    assert unnamed.target == "+31 20 123 4567"


@given(st.binary(max_size=400))
def test_every_line_of_a_reply_is_a_header_of_ours_or_goes_on_with_a_space(noise: bytes) -> None:
    found = from_(noise)
    if found is not None:
        reply = reply_to(found, "fax@example.nl", words(Wrong.NO_NUMBER, None), AT_US)
        head = bytes(reply).partition(b"\r\n\r\n")[0]
        names = {line.partition(b":")[0] for line in head.split(b"\r\n") if not line.startswith((b" ", b"\t"))}
        ours = b"From To Subject Date Message-ID In-Reply-To References Auto-Submitted MIME-Version"
        assert names <= {*ours.split(), b"Content-Type", b"Content-Transfer-Encoding"}


@pytest.mark.parametrize("header", ["From", "To", "Subject", "References", "Authentication-Results", "Content-Type"])
@pytest.mark.parametrize("piece", [b",", b";a=", b"(", b'"', b"a@b.nl, ", b"=?utf-8?q?x?= "])
def test_reading_a_header_costs_no_more_than_twice_for_twice_its_length(header: str, piece: bytes) -> None:
    """48 kB of commas took 38 s."""

    def of(length: int) -> bytes:
        first, _, rest = mail().as_bytes().partition(b"\n")
        value = header.encode() + b": " + piece * (length // len(piece)) + b"\n"
        return (value if header == "From" else first + b"\n" + value) + rest

    assert_linear(lambda length: read_letter(of(length)), 400, 9_000, 50_000)


def test_mail_with_a_from_that_a_server_sees_and_we_do_not_is_dropped() -> None:
    rest = b"From: anna@example.nl\nSubject: +31201234567\n\n"
    for strange, is_read in ((b"From \t: eve@example.nl\n", False), (b"From eve@example.nl Sat Nov 28\n", True)):
        assert (read_letter(strange + rest) is not None) is is_read
        assert read_letter(b"X: y\n" + strange + rest) is None
    assert read_letter(rest + b"From : a line of its text") is not None


@pytest.mark.parametrize("line", ["{} : {}", "{}\t: {}", "no header\n{}: {}", "\xe9: x\n{}: {}"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_mail_whose_headers_go_on_for_a_server_and_end_for_us_is_dropped(line: str, ends: str) -> None:
    """OpenDKIM takes "To :" for the To that is signed, and the signature "DKIM-Signature :" for good; so a stranger's
    own To, Subject and Date, above, would stay unseen by it, and the signature by us."""
    head, _, body = mail().as_bytes().partition(b"\n\n")
    assert read_letter(head + b"\n\n" + line.format("To", "x").encode() + body) is not None
    for name in ("To", "Subject", "Date", "DKIM-Signature", "From", "X-Other"):
        added = "\n" + line.format(name, "bob@other.example")
        data = head + added.encode("latin-1") + b"\n\n" + body
        assert read_letter(data.replace(b"\n", ends.encode())) is None


def test_mail_delivered_twice_has_one_key_and_another_mail_another() -> None:
    assert letter(mail()).key == letter(mail()).key
    assert letter(mail(subject="+31201234568")).key != letter(mail()).key
    later = letter(mail(headers={"Date": "Sun, 29 Nov 2026 12:00:01 +0100"}))
    assert later.key != letter(mail()).key, "who sends the same document again a second later wants it sent again"


def test_signed_mail_that_is_handed_in_again_with_another_message_id_is_the_same_fax() -> None:
    """Its signature need not cover the id, and whoever got a copy of it has the mail."""
    signed = mail().as_bytes()
    again = signed.replace(b"<1@example.nl>", b"<2@example.nl>")
    handed_in = [read_letter(one) for one in (signed, again, again.replace(b"Date: Sun,", b"Date:  Sun,\n"))]
    assert signed != again
    assert len({one.key for one in handed_in if one is not None}) == 1


def test_signed_mail_whose_headers_have_its_document_read_in_another_way_is_the_same_fax() -> None:
    """A signature may leave white space open, and the headers that say how a body is read."""
    head = b"From: anna@example.nl\nTo: fax@example.nl\nSubject: +31201234567\nDate: Sun, 29 Nov 2026 12:00:00 +0100\n"
    parts = head + b"Content-Type: multipart/mixed; boundary=a\n\n"
    part = b"Content-Type: application/pdf\n\n%PDF-1.4 1 0 obj <</Length 3>>\n"
    either = b"--a\n" + part + b"--b\n" + part.replace(b"Length 3", b"Length 4") + b"--b--\n--a--\n"
    plain = head + b"Content-Type: application/pdf\n\n%PDF-1.4 =31 0 obj\n"
    for signed, others in (
        (parts + either, [(b"boundary=a", b"boundary=b"), (b" 0 obj", b"   0 \tobj"), (b"obj <<", b"obj\n<<")]),
        (plain, [(b"/pdf", b"/pdf\nContent-Transfer-Encoding: quoted-printable"), (b" 0 obj", b" 0 obj \n\n")]),
    ):
        found = read_letter(signed)
        assert found is not None
        for one, another in others:
            again = read_letter(signed.replace(one, another))
            assert again is not None
            assert again.document != found.document
            assert again.key == found.key


@pytest.mark.parametrize(
    ("signed", "again"),
    [
        (b"pdf; name=a.pdf", b"pdf;" + b" " * 1_100 + b"name=a.pdf"),
        (b"pdf; name=b.pdf", b"pdf;" + b"\t" * 1_100 + b"name=b.pdf"),
        (b"message/rfc822\n\n", b"message/rfc822\n \t\n"),
        (b"--a b\n", b"--a  b\n"),
        (b"--a b\nContent-Type: message", b"--a \tb \nContent-Type: message"),
        (b"multipart/mixed; boundary", b"multipart/mixed;" + b" " * 1_100 + b"boundary"),
        (b"Fax to +31201234567", b"Fax" + b" " * 21_000 + b"to +31201234567"),
    ],
)
def test_white_space_that_a_signature_leaves_open_decides_nothing(signed: bytes, again: bytes) -> None:
    """Of two documents, of which none was faxed, whoever had a copy of the mail hid the one or the other."""
    head = b"From: anna@example.nl\nSubject: Fax to +31201234567\nDate: Sun, 29 Nov 2026 12:00:00 +0100\n"
    one, two = (b"Content-Type: application/pdf; name=%b.pdf\n\n%%PDF\n" % name for name in (b"a", b"b"))
    parts = b"--a b\n" + one + b"--a b\nContent-Type: message/rfc822\n\n" + two + b"--a b--\n"
    whole = head + b'Content-Type: multipart/mixed; boundary="a b"\n\n' + parts
    assert signed in whole
    before, after = (read_letter(mail) for mail in (whole, whole.replace(signed, again)))
    assert before is not None
    assert before.document is Wrong.MANY_DOCUMENTS
    assert after == before


LINES = b"%PDF-1.4\n \n--a  b c\n<x>\n" + b"          \n" * 20 + b"</x>\n--  0\t 1"


@pytest.mark.parametrize("encoding", ["7bit", "8bit", "binary", "quoted-printable"])
@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
def test_document_that_comes_as_it_is_keeps_its_white_space(encoding: str, ends: bytes) -> None:
    """A PDF of ASCII alone; its numbers say at which byte everything stands."""
    head = b"From: a@example.nl\nContent-Type: multipart/mixed; boundary=1\n\n--1\nContent-Type: application/pdf\n"
    head += b"Content-Transfer-Encoding: " + encoding.encode() + b"\n\n"
    found = read_letter((head + LINES + b"\n--1--\n").replace(b"\n", ends))
    assert found is not None
    assert found.document == LINES.replace(b"\n", ends)


def test_white_space_that_a_signature_leaves_open_does_not_lengthen_a_document() -> None:
    """As the mail was signed a line ended it; with another space there that line is its own, for who reads by bytes."""
    head = b'From: a@example.nl\nContent-Type: multipart/mixed; boundary="a b"\n\n'
    signed = head + b"--a b\nContent-Type: application/pdf\n\n%PDF 1\n--a b\n\n%PDF 2\n--a b--\n"
    again = signed.replace(b"1\n--a b", b"1\n--a  b")
    before, after = read_letter(signed), read_letter(again)
    assert before is not None
    assert (before.document, after) == (b"%PDF 1", before)


def test_of_mail_without_a_date_another_id_is_another_fax() -> None:
    message = mail()
    del message["Date"]
    before = letter(message).key
    message.replace_header("Message-ID", "<2@example.nl>")
    assert letter(message).key != before


def test_reply_is_one_that_no_program_answers() -> None:
    reply = reply_to(letter(mail()), "fax@example.nl", words(Wrong.NO_NUMBER, Language.NL), AT_US)
    assert read_letter(reply.as_bytes()) is None
    assert reply["Date"] == "Sat, 21 Nov 2026 12:00:00 +0000"
    assert (reply["To"], reply["In-Reply-To"], reply["Subject"]) == (
        "Anna@Example.nl",
        "<1@example.nl>",
        SUBJECT[Language.NL],
    )


MALFORMED = ("application/pdf; name*", ":;b.nl*", "multipart/mixed; boundary*", "text/plain; charset*0*", "(", ";=;*")
"""As Content-Type; the mail library raises IndexError over some."""


@pytest.mark.parametrize("kind", MALFORMED)
def test_malformed_type_of_a_mail_or_a_part_is_that_of_no_document(kind: str) -> None:
    whole = mail(files=0)
    whole.set_payload("%PDF-1")
    lines = whole.as_bytes().replace(b'text/plain; charset="utf-8"', kind.encode(), 1)
    assert kind.encode() in lines
    found = read_letter(lines)
    assert found is not None
    assert (found.sender, found.target, found.document) == ("Anna@Example.nl", "+31 20 123 4567", Wrong.NO_DOCUMENT)
    part = read_letter(mail().as_bytes().replace(b"application/pdf", kind.encode(), 1))
    assert part is not None
    assert part.sender == "Anna@Example.nl"


@pytest.mark.parametrize("kind", MALFORMED)
def test_malformed_part_of_a_report_does_not_make_it_a_letter(kind: str) -> None:
    message = mail()
    message.replace_header("Content-Type", 'multipart/report; report-type="delivery-status"; boundary="x"')
    assert read_letter(message.as_bytes().replace(b"application/pdf", kind.encode(), 1)) is None
    inner = b"--x\nContent-Type: message/rfc822\n\nContent-Type: " + kind.encode() + b"\n\nhello\n--x--\n"
    headers, _, _ = message.as_bytes().partition(b"\n\n")
    assert read_letter(headers + b"\n\n" + inner) is None


def test_document_beside_a_malformed_part_is_faxed() -> None:
    message = mail()
    message.add_attachment(b"logo", "image", "png")
    assert b"image/png" in message.as_bytes()
    found = read_letter(message.as_bytes().replace(b"image/png", b"image/png; name*"))
    assert found is not None
    assert (found.document, found.name) == (PDF, "offer-0.pdf")


def test_parts_within_parts_without_end_are_read_or_dropped() -> None:
    inner = b"".join(b"--%d\nContent-Type: multipart/mixed; boundary=%d\n\n" % (n, n + 1) for n in range(1000))
    found = read_letter(b"From: anna@example.nl\nContent-Type: multipart/mixed; boundary=0\n\n" + inner)
    assert found is not None
    assert (found.sender, found.document) == ("anna@example.nl", Wrong.NO_DOCUMENT)


def test_document_in_an_unreadable_encoding_is_no_fault() -> None:
    for encoding in ("=?utf-8?q?", "base64;*", '"', "\u00ff"):
        read_letter(mail().as_bytes().replace(b"Encoding: base64", b"Encoding: " + encoding.encode()))


PIECES = (
    rb"; = * *0* '' \" ( ) < @ : , %e9 =?utf-8?q? ?= name filename boundary=x charset= base64 a.nl application/pdf",
    b"multipart/mixed multipart/report message/rfc822 text/plain \xff \x00 \r\n\t",
)
NOISE = st.lists(st.sampled_from(b" ".join(PIECES).split(b" ")), max_size=8).map(b"".join)
HEADERS = ("Content-Type", "Content-Disposition", "Content-Transfer-Encoding", "Return-Path", "To", "Message-ID")


@given(
    st.sampled_from(HEADERS),
    NOISE,
    st.sampled_from(HEADERS[:3]),
    NOISE,
)
def test_mail_of_what_mails_are_made_of_is_read_or_dropped(outer: str, out: bytes, inner: str, in_: bytes) -> None:
    headers = {"From": b"a@b.nl", "Content-Type": b"multipart/mixed; boundary=x"}
    headers[outer] = out
    part = b"--x\r\n" + inner.encode() + b": " + in_ + b"\r\n\r\n%PDF-1\r\n--x--\r\n"
    lines = [name.encode() + b": " + value for name, value in headers.items()]
    read_letter(b"\r\n".join(lines) + b"\r\n\r\n" + part)


@given(st.binary(max_size=300), st.sampled_from(["Content-Type", "From", "To", "Subject", "Content-Disposition"]))
def test_mail_of_any_bytes_is_read_or_dropped(noise: bytes, header: str) -> None:
    before, after = mail().as_bytes().split(b"Subject: ", 1)
    read_letter(before + header.encode() + b": " + noise + b"\nSubject: " + after)
    read_letter(noise)


@pytest.mark.parametrize("wrong", [*Wrong, *Obstacle])
def test_words_are_in_both_languages_where_the_readers_is_not_known(wrong: Wrong | Obstacle) -> None:
    both = words(wrong, None).text
    for language in Language:
        assert words(wrong, language).text.strip() in both
    assert words(wrong, Language.NL).text != words(wrong, Language.EN).text


def test_sender_of_replies_that_is_no_address_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a mail address"):
        reply_to(letter(mail()), "no address\nBcc: x@y.nl", Words("s", "t"), AT_US)
