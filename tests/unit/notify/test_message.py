"""A mail says what it must, once, and nothing can be smuggled into it."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage

import pytest

from charging.ledger.accounts import Language
from charging.notify.model import NoticeKind
from charging.notify.render import BadAddress, Operator, Rendered, Templates, message_id, message_of
from tests.unit.notify.factories import make_mail, make_notice

MAIL = make_mail()
WORDS = Rendered("Uw beltegoed is bijna op: nog €\N{NO-BREAK SPACE}2,50", "Nog € 2,50.\n-- \nx\n", "<p>Nog € 2,50.</p>")


def parsed(message: EmailMessage) -> EmailMessage:
    """As a receiver reads it."""
    found = email.message_from_bytes(message.as_bytes(), policy=email.policy.default)
    assert isinstance(found, EmailMessage)
    return found


def test_headers_say_from_whom_to_whom_and_that_no_person_wrote_it() -> None:
    found = parsed(message_of(make_notice(), WORDS, MAIL))
    assert found["From"] == "Example Voice <no-reply@voice.example>"
    assert found["To"] == "anna@example.nl"
    assert found["Subject"] == WORDS.subject
    assert found["Date"] == "Sat, 21 Nov 2026 12:00:00 +0000"
    assert found["Auto-Submitted"] == "auto-generated"
    assert found["Content-Language"] == "nl"


def test_text_comes_first_and_html_beside_it_in_utf8_and_seven_bits() -> None:
    message = message_of(make_notice(), WORDS, MAIL)
    raw = message.as_bytes()
    assert raw.isascii()
    assert max(map(len, raw.splitlines())) <= 78
    found = parsed(message)
    assert found.get_content_type() == "multipart/alternative"
    parts = list(found.iter_parts())
    assert [part.get_content_type() for part in parts] == ["text/plain", "text/html"]
    assert [part.get_content_charset() for part in parts] == ["utf-8", "utf-8"]
    text, html = (part.get_content() for part in parts)
    assert text.replace("\r\n", "\n") == WORDS.text
    assert html.strip() == WORDS.html


def test_the_same_notice_has_the_same_message_id_and_another_another() -> None:
    first = message_id(make_notice(), MAIL)
    assert message_id(make_notice(at_us=1, address="new@example.nl"), MAIL) == first
    assert message_id(make_notice(account="bob"), MAIL) != first
    assert message_id(make_notice("low-credit/top-up/2"), MAIL) != first
    assert first.endswith("@voice.example>")
    assert "anna" not in first


@pytest.mark.parametrize(
    "address",
    [
        *("", "anna", "@example.nl", "anna@", "a@b.nl, c@d.nl", "a@b.nl\r\nBcc: all@example.nl", "a@b.nl\nX: y"),
        *("Anna <a@b.nl>", "a b@c.nl", "a@b.nl\0", "a@b.nl>", '"a@b.nl'),
        *("zoë@b.nl, c@d.nl", "zoë", "zoë@b.nl\u2028c"),
    ],
)
def test_an_address_that_is_not_one_is_refused(address: str) -> None:
    with pytest.raises(BadAddress):
        message_of(make_notice(address=address), WORDS, MAIL)


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
def test_a_line_break_in_the_subject_is_refused_by_the_library_too(end: str) -> None:
    with pytest.raises(ValueError, match="linefeed"):
        message_of(make_notice(), Rendered(f"x{end}Bcc: all@example.nl", "x", "x"), MAIL)


def test_an_operators_name_may_hold_anything_that_is_one_line() -> None:
    mail = make_mail(sender_name='Bell & "Sons", <BV> €')
    found = parsed(message_of(make_notice(), WORDS, mail))
    (sender,) = found["From"].addresses
    assert (sender.display_name, sender.addr_spec) == (mail.sender_name, mail.sender_address)


def test_a_name_outside_ascii_in_the_address_is_kept() -> None:
    message = message_of(make_notice(address="zoë@example.nl"), WORDS, MAIL)
    assert message["To"].addresses[0].addr_spec == "zoë@example.nl"


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("kind", NoticeKind)
def test_every_kind_of_notice_makes_a_mail(kind: NoticeKind, language: Language) -> None:
    notice = make_notice(kind=kind, language=language)
    words = Templates(Operator("Example Voice", "https://www.voice.example/")).render(notice)
    found = parsed(message_of(notice, words, MAIL))
    assert found["Subject"] == words.subject
    assert not found.defects
