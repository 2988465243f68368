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
from charging.cli.fax_mail import _submit
from charging.ledger.accounts import Account, Language, Number
from charging.ledger.memory import MemoryStore
from charging.notify.settings import Mail
from charging.service.live import NoCalls
from charging.service.service import Service
from charging.session.model import Policy
from charging.web.control import control_app
from tests.fakes.clock import FakeClock
from tests.fakes.fax_line import FAX_TABLES, TakesAll, fax_desk
from tests.fakes.rig import Rig, make_tariff
from tests.fakes.switch import FakeSwitch
from tests.integration.command import Command, Place
from tests.unit.fax.test_fax_mail import letter, mail


@pytest.fixture
def daemon() -> Iterator[Client]:
    """A client of a daemon whose customer anna has no credit."""
    clock = FakeClock()
    store, switch = MemoryStore(clock), FakeSwitch(clock)
    rig = Rig(clock, store, switch, Policy(), replace(make_tariff(), tables=FAX_TABLES))

    async def fill() -> None:
        await store.put_account(Account("anna", "light", Language.EN, email="anna@example.nl"))
        await store.put_number(Number("+31201234567", "anna"))
        for twin in ("ben-1", "ben-2"):
            await store.put_account(Account(twin, "light", email="ben@example.nl"))

    asyncio.run(fill())
    service = Service(
        store=store,
        tariff=lambda: rig.tariff,
        clock=clock,
        funds_changed=lambda account: None,
        live=NoCalls(),
        fax=fax_desk(rig.registry, TakesAll(switch)),
    )
    with client(httpx.ASGITransport(control_app(service)), daemon=True) as found:
        yield found


def operator() -> Mail:
    return Mail(sender_address="fax@op.nl", sender_name="The Operator", top_up_url="https://op.nl/credit")


def test_r14_fax_by_mail_without_credit_gets_the_notice_in_the_customers_language(daemon: Client) -> None:
    answer = _submit(daemon, letter(mail(subject="+31612345678")), operator())
    assert answer is not None
    subject, text = answer
    assert subject == "Your fax to +31612345678 was not sent"
    assert "2\N{NO-BREAK SPACE}pages" in text
    assert "0.16" in text
    assert "https://op.nl/credit" in text


def test_r14_fax_by_mail_without_credit_is_answered_also_where_no_mail_is_set_up(daemon: Client) -> None:
    answer = _submit(daemon, letter(mail(subject="+31612345678")), None)
    assert answer is not None
    assert "2 pages at 0.08 cost 0.16 euro" in answer[1]


@pytest.mark.parametrize(
    ("sender", "said"), [("ben@example.nl", "more than one customer"), ("eve@x.nl", "none of our")]
)
def test_sender_who_is_not_exactly_one_customer_is_told(daemon: Client, sender: str, said: str) -> None:
    message = mail(subject="+31612345678")
    message.replace_header("From", sender)
    answer = _submit(daemon, letter(message), None)
    assert answer is not None
    assert said in answer[1]


def submitted(command: Command, monkeypatch: pytest.MonkeyPatch, data: bytes, *options: str) -> str:
    """What the command writes; its exit code is 0, whatever is wrong."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    ran = command("fax", "submit-mail", *options)
    assert ran.code == 0, ran
    return ran.out


def test_mail_is_answered_also_where_no_daemon_and_not_even_settings_are(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = Command(Place(tmp_path), capfd)
    reply = message_from_string(submitted(command, monkeypatch, mail().as_bytes()), policy=default)
    assert (reply["To"], reply["From"], reply["Auto-Submitted"]) == (
        "Anna@Example.nl",
        "fax@example.nl",
        "auto-replied",
    )
    command.place.write()
    reply = message_from_string(submitted(command, monkeypatch, mail().as_bytes()), policy=default)
    assert "none of our customers" in reply.get_content()


def test_bounce_is_answered_by_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert submitted(Command(Place(tmp_path), capfd), monkeypatch, mail().as_bytes(), "--sender", "<>") == ""
