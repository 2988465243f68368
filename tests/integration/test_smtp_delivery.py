"""Mails over real connections: what arrives, what a server says about one mail, TLS and passwords."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from charging.errors import ConfigError
from charging.ledger.accounts import Language
from charging.notify.model import Notice, NoticeKind
from charging.notify.render import Operator, Templates, message_id, message_of
from charging.notify.smtp import Fate, MailServerTrouble, Smtp, Verdict
from tests.integration.smtp_server import PASSWORD, USER, Certificate, Mailbox, mail_server, raw_server
from tests.unit.notify.factories import make_mail, make_notice

TEMPLATES = Templates(Operator("Example Voice", "https://www.voice.example/top-up"))
TIMEOUT_S = "10"


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def port(mailbox: Mailbox) -> Iterator[int]:
    with mail_server(mailbox) as port:
        yield port


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate.made(tmp_path_factory.mktemp("tls"))


async def deliver(smtp: Smtp, *notices: Notice) -> list[Verdict]:
    await smtp.open()
    try:
        return [await smtp.send(message_of(one, TEMPLATES.render(one), make_mail())) for one in notices]
    finally:
        await smtp.close()


def client(port: int, password: str | None = None, **more: object) -> Smtp:
    settings = {"host": "127.0.0.1", "port": port, "timeout_s": TIMEOUT_S, **more}
    return Smtp(make_mail(**settings), SecretStr(password) if password else None)


# --- what arrives ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", Language)
async def test_every_kind_arrives_as_it_was_worded_over_one_connection(
    port: int, mailbox: Mailbox, language: Language
) -> None:
    notices = [make_notice(f"x/{kind}", kind, language=language) for kind in NoticeKind]
    verdicts = await deliver(client(port), *notices)
    assert verdicts == [Verdict(Fate.SENT)] * len(notices)
    assert mailbox.greetings == 1
    for notice, got in zip(notices, mailbox.got, strict=True):
        words = TEMPLATES.render(notice)
        assert got["Subject"] == words.subject
        assert got["Message-ID"] == message_id(notice, make_mail())
        assert got["Auto-Submitted"] == "auto-generated"
        text, html = (part.get_content().replace("\r\n", "\n") for part in got.iter_parts())
        assert (text, html) == (words.text, words.html)
        assert not got.defects


async def test_a_line_with_a_single_dot_arrives(port: int, mailbox: Mailbox, tmp_path: Path) -> None:
    (tmp_path / "nl").mkdir()
    (tmp_path / "nl/low-credit.txt").write_text("Subject: x\n\none\n.\n..two\n")
    templates = Templates(Operator("Example", "https://www.voice.example/"), tmp_path)
    smtp = client(port)
    await smtp.open()
    await smtp.send(message_of(make_notice(), templates.render(make_notice()), make_mail()))
    await smtp.close()
    text = next(iter(mailbox.got[0].iter_parts())).get_content()
    assert text.split() == ["one", ".", "..two"]


async def test_a_name_outside_ascii_goes_to_a_server_that_can(mailbox: Mailbox) -> None:
    notice = make_notice(address="zoë@example.nl")
    with mail_server(mailbox, utf8=False) as port:
        (verdict,) = await deliver(client(port), notice)
    assert verdict.fate is Fate.NEVER
    assert "SMTPUTF8" in verdict.why
    with mail_server(mailbox, utf8=True) as port:
        assert await deliver(client(port), notice) == [Verdict(Fate.SENT)]
    assert mailbox.recipients == ["zoë@example.nl"]
    assert mailbox.got[0]["To"] == "zoë@example.nl"


# --- what a server says about one mail ------------------------------------------------------------------------

SAID = [
    ("451 4.3.0 try later", Fate.LATER),
    ("450 greylisted", Fate.LATER),
    ("452 4.2.2 mailbox full", Fate.LATER),
    ("550 5.1.1 no such user", Fate.NEVER),
    ("552 5.2.2 mailbox full for good", Fate.NEVER),
    ("554 5.7.1 relaying denied", Fate.LATER),
    ("550 5.7.26 sender not authenticated", Fate.LATER),
]


@pytest.mark.parametrize("step", ["at_rcpt", "at_data"])
@pytest.mark.parametrize(("said", "fate"), SAID)
async def test_a_refused_mail_does_not_keep_the_next_from_leaving(
    port: int, mailbox: Mailbox, step: str, said: str, fate: Fate
) -> None:
    getattr(mailbox, step)["bad@example.nl"] = said
    bad, good = make_notice("a/1", address="bad@example.nl"), make_notice("a/2", address="good@example.nl")
    verdicts = await deliver(client(port), bad, good)
    assert verdicts == [Verdict(fate, said), Verdict(Fate.SENT)]
    assert (mailbox.recipients, mailbox.greetings) == (["good@example.nl"], 1)


async def test_a_sender_that_is_put_off_waits_and_one_that_is_refused_is_trouble(port: int, mailbox: Mailbox) -> None:
    mailbox.at_sender = "451 busy"
    assert await deliver(client(port), make_notice()) == [Verdict(Fate.LATER, "451 busy")]
    mailbox.at_sender = "553 5.1.8 not from here"
    with pytest.raises(MailServerTrouble, match=r"no-reply@voice\.example is refused: 553"):
        await deliver(client(port), make_notice())


# --- TLS and passwords ----------------------------------------------------------------------------------------


async def test_starttls(mailbox: Mailbox, certificate: Certificate) -> None:
    with mail_server(mailbox, starttls=certificate.context()) as port:
        smtp = client(port, tls="starttls", ca_file=certificate.cert)
        assert await deliver(smtp, make_notice()) == [Verdict(Fate.SENT)]
    assert mailbox.secured == [True]


async def test_implicit_tls(mailbox: Mailbox, certificate: Certificate) -> None:
    with mail_server(mailbox, implicit=certificate.context()) as port:
        smtp = client(port, tls="implicit", ca_file=certificate.cert)
        assert await deliver(smtp, make_notice()) == [Verdict(Fate.SENT)]
    assert len(mailbox.got) == 1


@pytest.mark.parametrize("mode", ["starttls", "implicit"])
async def test_a_certificate_that_nobody_vouches_for_is_trouble(
    mailbox: Mailbox, certificate: Certificate, mode: str
) -> None:
    context = certificate.context()
    server = mail_server(mailbox, starttls=context) if mode == "starttls" else mail_server(mailbox, implicit=context)
    with server as port, pytest.raises(MailServerTrouble, match="certificate"):
        await deliver(client(port, tls=mode), make_notice())
    assert mailbox.got == []


async def test_a_certificate_for_another_name_is_trouble(mailbox: Mailbox, certificate: Certificate) -> None:
    with mail_server(mailbox, implicit=certificate.context()) as port:
        smtp = client(port, tls="implicit", ca_file=certificate.cert, host="localhost")
        with pytest.raises(MailServerTrouble, match=f"localhost:{port}"):
            await deliver(smtp, make_notice())
    assert mailbox.got == []


async def test_a_server_without_starttls_gets_nothing_in_the_clear(port: int, mailbox: Mailbox) -> None:
    with pytest.raises(MailServerTrouble, match=f"127.0.0.1:{port} \\(starttls\\)"):
        await deliver(client(port, tls="starttls"), make_notice())
    assert mailbox.got == []


async def test_a_password_is_given_and_a_wrong_one_is_said(mailbox: Mailbox, certificate: Certificate) -> None:
    secured = {"tls": "starttls", "ca_file": certificate.cert, "user": USER, "password_env": "X"}
    with mail_server(mailbox, starttls=certificate.context(), auth=True) as port:
        assert await deliver(client(port, PASSWORD, **secured), make_notice()) == [Verdict(Fate.SENT)]
        with pytest.raises(MailServerTrouble, match="535") as caught:
            await deliver(client(port, "wrong-one", **secured), make_notice())
    assert "wrong-one" not in str(caught.value)
    assert set(mailbox.logins) == {USER}


def test_an_authority_that_cannot_be_read_is_said_at_the_start(tmp_path: Path) -> None:
    for file in (tmp_path / "none.pem", tmp_path):
        with pytest.raises(ConfigError, match=r"certificates in PEM"):
            client(25, tls="implicit", ca_file=file)
    (tmp_path / "bad.pem").write_text("nothing")
    with pytest.raises(ConfigError, match=r"bad\.pem.*certificates in PEM"):
        client(25, tls="implicit", ca_file=tmp_path / "bad.pem")


# --- servers that are none ------------------------------------------------------------------------------------


async def test_nobody_listens(mailbox: Mailbox) -> None:
    with mail_server(mailbox) as port:
        pass
    with pytest.raises(MailServerTrouble, match=f"127.0.0.1:{port}"):
        await deliver(client(port), make_notice())


@pytest.mark.parametrize(
    "greeting", [None, b"HTTP/1.1 400 Bad Request\r\n\r\n", b"554 go away\r\n", b"220", b"220 x\r\n"]
)
@pytest.mark.parametrize("then_close", [True, False])
async def test_something_else_answers(greeting: bytes | None, then_close: bool) -> None:
    with raw_server(greeting, then_close=then_close) as port, pytest.raises(MailServerTrouble, match=str(port)):
        await deliver(client(port, timeout_s="0.5"), make_notice())
