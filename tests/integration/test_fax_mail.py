"""``charging fax submit-mail``: a mail in, nothing or a reply out, and never a bounce."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from dataclasses import replace
from email import message_from_string
from email.policy import default
from pathlib import Path

import httpx
import pytest

from charging.cli.client import Client, client
from charging.cli.failure import Refusal
from charging.cli.fax_mail import TRY_AGAIN, _submit
from charging.fax.mail import read_letter
from charging.lab.daemon import free_port
from charging.ledger.accounts import Account, Language, Number
from charging.ledger.memory import MemoryStore
from charging.notify.settings import Mail
from charging.service.fax_desk import FaxDesk
from charging.service.live import NoCalls
from charging.service.service import Service
from charging.session.model import Policy
from charging.web.control import control_app
from tests.fakes.clock import FakeClock
from tests.fakes.fax_line import FAX_TABLES, TakesAll, fax_desk
from tests.fakes.rig import Rig, make_tariff
from tests.fakes.switch import FakeSwitch
from tests.integration.command import Command, Place
from tests.integration.smtp_server import Mailbox, mail_server
from tests.unit.fax.test_fax_mail import letter, mail


@pytest.fixture
def rig() -> Rig:
    clock = FakeClock()
    return Rig(clock, MemoryStore(clock), FakeSwitch(clock), Policy(), replace(make_tariff(), tables=FAX_TABLES))


@pytest.fixture
def desk(rig: Rig) -> FaxDesk:
    return fax_desk(rig.registry, TakesAll(rig.switch))


@pytest.fixture
def daemon(rig: Rig, desk: FaxDesk) -> Iterator[Client]:
    """A client of a daemon whose customer anna has no credit."""
    store = rig.store

    async def fill() -> None:
        await store.put_account(Account("anna", "light", Language.EN, email="anna@example.nl"))
        await store.put_number(Number("+31201234567", "anna"))
        for twin in ("ben-1", "ben-2"):
            await store.put_account(Account(twin, "light", email="ben@example.nl"))

    asyncio.run(fill())
    service = Service(
        store=store,
        tariff=lambda: rig.tariff,
        clock=rig.clock,
        funds_changed=lambda account: None,
        live=NoCalls(),
        fax=desk,
    )
    with client(httpx.ASGITransport(control_app(service)), daemon=True) as found:
        yield found


def operator() -> Mail:
    return Mail(sender_address="fax@op.nl", sender_name="The Operator", top_up_url="https://op.nl/credit")


def test_r14_fax_by_mail_without_credit_gets_the_notice_in_the_customers_language(daemon: Client) -> None:
    answer = _submit(daemon, letter(mail(subject="+31612345678")), operator())
    assert answer is not None
    assert answer.subject == "Your fax to +31612345678 was not sent"
    text = answer.text
    assert "2\N{NO-BREAK SPACE}pages" in text
    assert "0.16" in text
    assert "https://op.nl/credit" in text
    assert "https://op.nl/credit" in answer.html


def test_r14_fax_by_mail_without_credit_is_answered_also_where_no_mail_is_set_up(daemon: Client) -> None:
    answer = _submit(daemon, letter(mail(subject="+31612345678")), None)
    assert answer is not None
    assert "2 pages at 0.08 cost 0.16 euro" in answer.text


@pytest.mark.parametrize(
    ("sender", "said"), [("ben@example.nl", "more than one customer"), ("eve@x.nl", "none of our")]
)
def test_sender_who_is_not_exactly_one_customer_is_told(daemon: Client, sender: str, said: str) -> None:
    message = mail(subject="+31612345678")
    message.replace_header("From", sender)
    answer = _submit(daemon, letter(message), None)
    assert answer is not None
    assert said in answer.text


@pytest.mark.parametrize("subject", ["Offerte 2026-11-22", "Factuur 12345678", "Invoice 2026112233"])
def test_dates_and_order_numbers_are_not_dialled(daemon: Client, subject: str) -> None:
    answer = _submit(daemon, letter(mail(subject=subject)), operator())
    assert answer is not None
    assert "no valid fax number" in answer.text
    answer = _submit(daemon, letter(mail(subject=f"{subject}: +31612345678, +31612345679")), operator())
    assert answer is not None
    assert "more than one number" in answer.text


def test_number_beside_a_date_is_dialled_with_the_country_of_the_tariff(daemon: Client) -> None:
    answer = _submit(daemon, letter(mail(subject="Fax to 06-12345678 d.d. 2026-11-22")), operator())
    assert answer is not None
    assert answer.subject == "Your fax to +31612345678 was not sent"


def submitted(
    command: Command, monkeypatch: pytest.MonkeyPatch, data: bytes, *options: str, code: int = 0
) -> tuple[str, str]:
    """What the command writes: a reply, and why."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    ran = command("fax", "submit-mail", *options)
    assert ran.code == code, ran
    return ran.out, ran.err


@pytest.fixture
def command(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Command:
    """Beside settings and a ledger, without a daemon."""
    made = Command(Place(tmp_path), capfd)
    made.place.write()
    return made


def test_stranger_is_answered_also_where_no_daemon_runs(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    out, _ = submitted(command, monkeypatch, mail().as_bytes())
    reply = message_from_string(out, policy=default)
    told = (reply["To"], reply["From"], reply["Auto-Submitted"])
    assert told == ("Anna@Example.nl", "fax@example.nl", "auto-replied")
    assert "none of our customers" in reply.get_content()


def test_mail_waits_at_the_mail_server_where_no_settings_or_no_daemon_are(
    command: Command, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = Command(Place(tmp_path / "nowhere"), capfd)
    assert submitted(nowhere, monkeypatch, mail().as_bytes(), code=TRY_AGAIN)[0] == ""
    assert command("account", "add", "anna", "--plan", "pro", "--email", "anna@example.nl").code == 0
    out, why = submitted(command, monkeypatch, mail().as_bytes(), code=TRY_AGAIN)
    assert (out, "start the daemon" in why) == ("", True)


def test_what_was_not_decided_is_answered_by_nothing(daemon: Client, desk: FaxDesk) -> None:
    desk.at_once = 0
    with pytest.raises(Refusal, match="all lines are busy"):
        _submit(daemon, letter(mail(subject="+31612345678")), None)


@pytest.mark.parametrize("sender", ["<>", ""])
def test_bounce_is_answered_by_nothing(command: Command, monkeypatch: pytest.MonkeyPatch, sender: str) -> None:
    assert submitted(command, monkeypatch, mail().as_bytes(), "--sender", sender)[0] == ""


# --- replies by the mail server that the settings name ---------------------------------------------------------------


MAIL = """
mail:
  port: {port}
  sender_address: no-reply@op.nl
  sender_name: The Operator
  top_up_url: https://op.nl/credit
"""


def with_mail(command: Command, port: int) -> None:
    file = command.place.config
    file.write_text(file.read_text() + MAIL.format(port=port))


def test_r14_reply_is_sent_by_the_mail_server_of_the_settings(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    mailbox = Mailbox()
    with mail_server(mailbox) as port:
        with_mail(command, port)
        out, _ = submitted(command, monkeypatch, mail().as_bytes(), "--reply-by", "smtp")
    assert out == ""
    (reply,) = mailbox.got
    assert mailbox.recipients == ["Anna@Example.nl"]
    assert (reply["From"], reply["Auto-Submitted"], reply["In-Reply-To"]) == (
        "no-reply@op.nl",
        "auto-replied",
        "<1@example.nl>",
    )
    assert read_letter(bytes(reply)) is None, "it starts no loop"


def test_same_mail_handed_over_twice_has_the_same_reply(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    mailbox = Mailbox()
    with mail_server(mailbox) as port:
        with_mail(command, port)
        for _ in range(2):
            submitted(command, monkeypatch, mail().as_bytes(), "--reply-by", "smtp")
    assert len({reply["Message-ID"] for reply in mailbox.got}) == 1


@pytest.mark.parametrize(("answer", "code"), [("451 later", TRY_AGAIN), ("550 no such user", 0)])
def test_reply_that_is_refused_for_now_is_tried_again_and_for_good_is_not(
    command: Command, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    with mail_server(Mailbox(at_rcpt={"Anna@Example.nl": answer})) as port:
        with_mail(command, port)
        _, why = submitted(command, monkeypatch, mail().as_bytes(), "--reply-by", "smtp", code=code)
    assert answer in why


def test_reply_without_a_mail_server_is_tried_again(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    _, why = submitted(command, monkeypatch, mail().as_bytes(), "--reply-by", "smtp", code=TRY_AGAIN)
    assert "needs a section `mail`" in why
    with_mail(command, free_port())
    submitted(command, monkeypatch, mail().as_bytes(), "--reply-by", "smtp", code=TRY_AGAIN)
