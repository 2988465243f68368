"""A fax handed in by mail, and the reply: whatever the mail is, it has one plain sender or none, and a reply has the
headers that we write and no others."""

from __future__ import annotations

from email import message_from_bytes
from email.policy import SMTP

from charging.fax.dns_lookup import Kind
from charging.fax.mail import ADDRESS_LENGTH_MAX, KEY_PREFIX, Envelope, Letter, Wrong, is_plain_address
from charging.fax.proven import why_unproven
from charging.fax.reply import Words, reply_to, words
from charging.ledger.accounts import Language
from charging.service.refusal import Obstacle
from charging.tariff.written_numbers import written_numbers
from tests.fakes.letters import read_letter

AT_US = 1_795_262_400_000_000
OURS = "fax@fax.example.nl"
ENVELOPE = Envelope("a@example.nl", "198.41.0.4", "mx.example.nl")
KEY = """v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYtIxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB"""  # noqa: E501
"""Of RFC 6376's example; nobody here can sign with it."""
REPLY_HEADERS = {
    *("from", "to", "subject", "date", "message-id", "in-reply-to", "references", "auto-submitted"),
    *("content-type", "content-transfer-encoding", "mime-version"),
}


def read(data: bytes) -> None:
    letter = read_letter(data)
    if letter is not None:
        why_unproven(data, letter, ENVELOPE, _names, AT_US)
        if not isinstance(letter.target, Wrong):
            written_numbers(letter.target, "NL")
    read_letter(data, envelope_sender="a@example.nl", recipient="fax+31201234567@example.nl")


def _names(name: str, kind: Kind) -> list[str]:
    """Each domain has a key, and sends from nowhere."""
    return [KEY if "._domainkey." in name else "v=spf1 exists:%{l}.%{d} -all"] if kind == "TXT" else []


def check(data: bytes) -> None:
    for sender, recipient in (("", ""), ("a@example.nl", "fax+31201234567@example.nl")):
        letter = read_letter(data, envelope_sender=sender, recipient=recipient)
        if letter is not None:
            _check_letter(letter, data)
            assert why_unproven(data, letter, ENVELOPE, _names, AT_US), "proven by nothing"


def _check_letter(letter: Letter, data: bytes) -> None:
    local, _, domain = letter.sender.rpartition("@")
    assert is_plain_address(letter.sender) and letter.sender.encode() in data, letter.sender
    assert local and domain == letter.domain and len(letter.sender) <= ADDRESS_LENGTH_MAX
    assert not set(letter.sender) & set("\r\n\0 ,;()[]"), letter
    # An id may have a domain in brackets (RFC 5322, 3.6.4), and what nobody should write: it is handed back as it is.
    assert not set(letter.message_id) & set("\r\n\0 "), letter
    assert letter.key.startswith(KEY_PREFIX) and len(letter.key) == len(KEY_PREFIX) + 32
    if not isinstance(letter.target, Wrong):
        for found in written_numbers(letter.target, "NL"):
            assert found.startswith("+") and found[1:].isascii() and found[1:].isdigit(), found
    for text in (letter.recipient, str(letter.target), letter.name):
        assert text.encode().decode() == text
    wrong = next((one for one in (letter.document, letter.target) if isinstance(one, Wrong)), Obstacle.UNREADABLE)
    if (letter.sender, letter.message_id, wrong) not in _REPLIED:
        _REPLIED.add((letter.sender, letter.message_id, wrong))
        _check_reply(letter, words(wrong, None if letter.recipient else Language.NL))


_REPLIED: set[tuple[str, str, str]] = set()
"""Of what else is in a letter only a hash is in a reply."""


def _check_reply(letter: Letter, said: Words) -> None:
    sent = reply_to(letter, OURS, said, AT_US).as_bytes()
    read_again = message_from_bytes(sent, policy=SMTP)
    names = [name.lower() for name in read_again.keys()]  # noqa: SIM118  a name may come twice
    assert len(names) == len(set(names)) and set(names) <= REPLY_HEADERS, f"headers of a reply: {names}"
    assert read_again.defects == []
    (to,) = read_again["To"].addresses
    assert to.addr_spec == letter.sender, f"the reply to {letter.sender} goes to {to.addr_spec}"
    head = sent.partition(b"\r\n\r\n")[0]
    assert b"\n" not in head.replace(b"\r\n", b"") and b"\r" not in head.replace(b"\r\n", b"")
    assert all(
        line[:1] in b" \t" or line.partition(b":")[0].lower().decode() in REPLY_HEADERS for line in head.split(b"\r\n")
    )
    assert read_letter(sent) is None, "a reply is answered"
