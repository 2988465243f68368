"""``charging fax submit-mail``: a mail in, nothing or a reply out, and never a bounce."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_string
from email.message import EmailMessage
from email.policy import default
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import httpx
import pytest

from charging.call.model import Policy
from charging.cli.client import Client, Params, client
from charging.cli.failure import Refusal, say
from charging.cli.fax_mail import TRY_AGAIN, Drop, Payer, Proof, _payer, _submit
from charging.engine.ports import FaxOrder
from charging.errors import ActionRefused, ActionTimeout
from charging.fax.desk import FaxDesk
from charging.fax.mail import Letter
from charging.fax.reply import Words
from charging.lab.ports import free_port
from charging.ledger.accounts import Account, Language, Number, Status
from charging.ledger.memory import MemoryStore
from charging.ledger.model import CREDIT, Kind, Leg, Transfer
from charging.notify.settings import Mail
from charging.service.live import NoCalls
from charging.service.service import Service
from charging.web.control import control_app
from tests.fakes.clock import FakeClock
from tests.fakes.fax_line import FAX_TABLES, MAX_BYTES, PAGE, TakesAll, fax_desk
from tests.fakes.letters import read_letter
from tests.fakes.rig import EURO, Rig, make_tariff
from tests.fakes.signing import DOMAIN, KEY_AT, key_record, signed
from tests.fakes.switch import FakeSwitch
from tests.integration.command import Command, Place
from tests.integration.dns_server import Zone, name_server
from tests.integration.smtp_server import Mailbox, mail_server
from tests.unit.fax.test_fax_mail import PDF, letter, mail

CLIENT = "198.41.0.4"
"""Of a machine from which example.nl sends (SPF). Nothing is sent to it."""


@pytest.fixture(autouse=True)
def gave_way(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How much of the mail had been read when the command stepped back behind the calls. Here it does not: for good,
    the tests' own process would."""
    places: list[int] = []
    monkeypatch.setattr("charging.cli.fax_mail.give_way", lambda: places.append(sys.stdin.buffer.tell()))
    monkeypatch.setattr("charging.cli.fax_mail.limit_memory", lambda _most: None)
    return places


@pytest.fixture
def rig() -> Rig:
    clock = FakeClock()
    return Rig(clock, MemoryStore(clock), FakeSwitch(clock), Policy(), replace(make_tariff(), tables=FAX_TABLES))


@pytest.fixture
def line(rig: Rig) -> TakesAll:
    return TakesAll(rig.switch)


@pytest.fixture
def desk(rig: Rig, line: TakesAll) -> FaxDesk:
    return fax_desk(rig.registry, line)


@pytest.fixture
def daemon(rig: Rig, desk: FaxDesk) -> Iterator[Client]:
    """A client of a daemon whose customers have credit for a page; anna alone reads English."""
    store = rig.store

    async def fill() -> None:
        await store.directory.put_account(Account("anna", "light", Language.EN, email="anna@example.nl"))
        await store.directory.put_number(Number("+31201234567", "anna"))
        for twin in ("ben-1", "ben-2"):
            await store.directory.put_account(Account(twin, "light", email="ben@example.nl"))
        for language in Language:
            await store.directory.put_account(Account(f"fay-{language}", "light", language, email="fay@example.nl"))
        await store.directory.put_account(Account("carl", "light", email="carl@example.nl", status=Status.CLOSED))
        await store.directory.put_account(Account("carl-2", "light", email="carl@example.nl"))
        await store.directory.put_number(Number("+31201234568", "carl-2"))
        await store.directory.put_account(Account("dora", "light", email="dora@example.nl", status=Status.SUSPENDED))
        await store.directory.put_account(Account("emil", "light", email="emil@example.nl"))
        for account in ("anna", "carl-2"):
            top_up = Transfer(f"top-up/{account}", account, Kind.TOP_UP, 0, (Leg(CREDIT, PAGE),))
            assert (await store.apply(top_up)).outcome.applied

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


def submitted_to(daemon: Client, letter: Letter, mail: Mail | None = None) -> Words | None:
    """What the sender is answered, whose From is proven."""
    payer = _payer(daemon, letter, Proof(frozenset(letter.addressed_at), lambda _letter, _waited: ""))
    assert not isinstance(payer, Drop)
    return payer.said or _submit(daemon, letter, payer, mail)


def operator() -> Mail:
    return Mail(sender_address="fax@op.nl", sender_name="The Operator", top_up_url="https://op.nl/credit")


def test_r14_fax_by_mail_without_enough_credit_gets_the_notice_in_the_customers_language(daemon: Client) -> None:
    answer = submitted_to(daemon, letter(mail(subject="+31612345678")), operator())
    assert answer is not None
    assert answer.subject == "Your fax to +31612345678 was not sent"
    text = answer.text
    assert "2\N{NO-BREAK SPACE}pages" in text
    assert "0.16" in text
    assert "https://op.nl/credit" in text
    assert "https://op.nl/credit" in answer.html


def replied(daemon: Client, sender: str, message: EmailMessage, settings: Mail | None = None) -> Words:
    """What the sender is answered."""
    message.replace_header("From", sender)
    answer = submitted_to(daemon, letter(message), settings)
    assert answer is not None
    return answer


@pytest.mark.parametrize(
    ("sender", "said"),
    [
        ("anna@example.nl", "the fax (2\xa0pages) costs €0.16 and you have €0.08"),
        ("carl@example.nl", "de fax (2\xa0pagina’s) kost €\xa00,16 en u heeft €\xa00,08"),
    ],
)
def test_r14_fax_by_mail_without_enough_credit_is_answered_also_where_no_mail_is_set_up(
    daemon: Client, sender: str, said: str
) -> None:
    assert said in replied(daemon, sender, mail(subject="+31612345678")).text


def test_document_is_named_in_the_reply_without_signs_that_turn_the_text(daemon: Client) -> None:
    message = mail(files=0, subject="+31612345678")
    message.add_attachment(PDF, "application", "pdf", filename="offer\u202egnp.pdf")
    assert 'fax "offergnp.pdf" to' in replied(daemon, "anna@example.nl", message, operator()).text


@pytest.mark.parametrize(
    ("sender", "said"),
    [
        ("ben@example.nl", ["meer dan één klant"]),
        ("fay@example.nl", ["meer dan één klant", "more than one customer"]),
    ],
)
def test_sender_who_is_not_exactly_one_customer_is_told(daemon: Client, sender: str, said: list[str]) -> None:
    answer = replied(daemon, sender, mail(subject="+31612345678"))
    assert [words for words in said if words in answer.text] == said
    assert len(answer.text.split("\n\n")) == len(said), "in the language that all of them have"


def test_customer_who_closed_an_account_faxes_from_the_one_he_opened_since(daemon: Client) -> None:
    answer = replied(daemon, "carl@example.nl", mail(subject="+31612345678"), operator())
    assert answer.subject == "Uw fax naar +31612345678 is niet verstuurd"
    assert "carl-2" in answer.text


@pytest.mark.parametrize(
    ("sender", "number", "said", "why"),
    [
        ("dora@example.nl", "+31612345678", "Uw account is opgeschort", "is suspended; activate it first"),
        ("emil@example.nl", "+31612345678", "nog geen telefoonnummer", "no number to send from; add a number first"),
        ("carl@example.nl", "+31900112233", "betaalde servicenummers", "it is a premium number"),
        ("carl@example.nl", "+31201112222", "deze bestemming", "the tariff has no fax price for it"),
    ],
)
def test_refusal_is_told_in_the_customers_words_and_to_the_mail_server_in_the_operators(
    daemon: Client, capsys: pytest.CaptureFixture[str], sender: str, number: str, said: str, why: str
) -> None:
    answer = replied(daemon, sender, mail(subject=number))
    assert answer.subject == "Uw fax is niet verstuurd"
    assert said in answer.text
    assert why not in answer.text
    assert why in capsys.readouterr().err


def test_document_that_is_too_large_is_told(daemon: Client) -> None:
    message = mail(files=0, subject="+31612345678")
    message.add_attachment(PDF + bytes(MAX_BYTES), "application", "pdf", filename="offer.pdf")
    assert "Het document is te groot" in replied(daemon, "carl@example.nl", message).text


def test_switch_that_refuses_is_a_failure_of_ours_to_the_customer(
    daemon: Client, rig: Rig, desk: FaxDesk, capsys: pytest.CaptureFixture[str]
) -> None:
    class Refuses(TakesAll):
        async def send_fax(self, order: FaxOrder) -> None:
            raise ActionRefused("Permission denied")

    desk.line = Refuses(rig.switch)
    asyncio.run(rig.credit(EURO))
    answer = replied(daemon, "anna@example.nl", mail(subject="+31612345678"))
    told = "Through a failure of ours the fax was not sent. Nothing was charged. Please try again later.\n"
    assert answer.text == told
    assert "grant the AMI right `originate`" in capsys.readouterr().err


def test_mail_that_was_faxed_before_is_not_said_to_have_failed(daemon: Client, rig: Rig, line: TakesAll) -> None:
    asyncio.run(rig.credit(EURO))
    assert submitted_to(daemon, letter(mail(subject="+31612345678")), None) is None
    asyncio.run(rig.store.directory.put_number(Number("+31101234567", "anna")))
    assert submitted_to(daemon, letter(mail(subject="+31612345678")), None) is None
    assert len(line.orders) == 1


def test_mail_that_was_refused_is_looked_at_afresh_and_faxed_once(daemon: Client, rig: Rig, line: TakesAll) -> None:
    again = letter(mail(subject="+31612345678"))
    assert submitted_to(daemon, again) is not None, "too little credit"
    asyncio.run(rig.credit(EURO))
    assert [submitted_to(daemon, again) for _ in range(3)] == [None, None, None]
    assert len(line.orders) == 1


def test_mail_stays_with_the_mail_server_until_it_is_known_whether_its_fax_was_dialled(
    daemon: Client, rig: Rig, desk: FaxDesk, line: TakesAll
) -> None:
    """It ended with 0 and was gone; nobody had dialled."""

    class Unsure(TakesAll):
        async def send_fax(self, order: FaxOrder) -> None:
            raise ActionTimeout("no answer")

    asyncio.run(rig.credit(EURO))
    desk.line = Unsure(rig.switch)
    for _ in range(2):
        with pytest.raises(Refusal, match="not known yet"):
            submitted_to(daemon, letter(mail(subject="+31612345678")), None)
    assert line.orders == []


def test_the_daemon_reads_no_subject(daemon: Client) -> None:
    """That would be 50 ms of the process that decides calls, for whoever writes mails."""
    asked: list[str] = []
    get = daemon.get

    def noted(path: str, params: Params | None = None) -> Any:
        asked.append(f"{path} {params}")
        return get(path, params)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(daemon, "get", noted)
        assert submitted_to(daemon, letter(mail(subject="Fax to +31612345678")), operator()) is not None
    assert not any("612345678" in one for one in asked)


def test_customer_is_told_of_a_subject_over_which_the_program_has_a_fault(
    daemon: Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("charging.tariff.written_numbers.written_numbers", Mock(side_effect=TypeError("x")))
    answer = submitted_to(daemon, letter(mail(subject="+31612345678")), operator())
    assert answer is not None
    assert "no valid fax number" in answer.text
    assert "a fault in the program (TypeError: x)" in capsys.readouterr().err


@pytest.mark.parametrize("subject", ["Offerte 2026-11-22", "Factuur 12345678", "Invoice 2026112233"])
def test_dates_and_order_numbers_are_not_dialled(daemon: Client, subject: str) -> None:
    answer = submitted_to(daemon, letter(mail(subject=subject)), operator())
    assert answer is not None
    assert "no valid fax number" in answer.text
    answer = submitted_to(daemon, letter(mail(subject=f"{subject}: +31612345678, +31612345679")), operator())
    assert answer is not None
    assert "more than one number" in answer.text


def test_number_beside_a_date_is_dialled_with_the_country_of_the_tariff(daemon: Client) -> None:
    answer = submitted_to(daemon, letter(mail(subject="Fax to 06-12345678 d.d. 2026-11-22")), operator())
    assert answer is not None
    assert answer.subject == "Your fax to +31612345678 was not sent"


def submitted(
    command: Command, monkeypatch: pytest.MonkeyPatch, data: bytes, *options: str, code: int = 0
) -> tuple[str, str]:
    """What the command writes: a reply, and why. The envelope's sender is Anna, unless the options say otherwise."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    ran = command("fax", "submit-mail", *(() if "--sender" in options else ("--sender", "anna@example.nl")), *options)
    assert ran.code == code, ran
    return ran.out, ran.err


@pytest.fixture
def zone() -> Zone:
    """What the name server knows: the key of example.nl, and from where it sends."""
    return Zone({(KEY_AT, "TXT"): [key_record(2_048)], (DOMAIN, "TXT"): [f"v=spf1 ip4:{CLIENT} -all"]})


@pytest.fixture
def command(tmp_path: Path, capfd: pytest.CaptureFixture[str], zone: Zone) -> Iterator[Command]:
    """Beside settings and a ledger, without a daemon; with a real name server."""
    made = Command(Place(tmp_path), capfd)
    made.place.write()
    with name_server(zone) as port:
        counts = f"mail_from_counts: yes, mail_dns: '127.0.0.1:{port}'"
        add_settings(made, f"fax: {{folder: fax, {counts}, mail_domains: [Example.nl]}}\n")
        for twin in ("anna-1", "anna-2"):
            assert made("account", "add", twin, "--plan", "pro", "--email", "anna@example.nl").code == 0
        yield made


def add_settings(command: Command, text: str) -> None:
    file = command.place.config
    file.write_text(file.read_text() + text)


def unsigned(**headers: str) -> bytes:
    """A mail of now."""
    return mail(headers={"Date": format_datetime(datetime.now(UTC)), **headers}).as_bytes()


def genuine() -> bytes:
    """The same, signed by its domain."""
    return signed(unsigned(), bits=2_048)


def test_r14_customer_is_answered_also_where_no_daemon_runs(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    out, _ = submitted(command, monkeypatch, genuine())
    reply = message_from_string(out, policy=default)
    told = (reply["To"], reply["From"], reply["Auto-Submitted"])
    assert told == ("Anna@Example.nl", "fax@example.nl", "auto-replied")
    assert "meer dan één klant" in reply.get_content()


@pytest.mark.parametrize(
    "data",
    [
        unsigned(),
        signed(unsigned(), domain="evil.nl", bits=2_048),
        signed(unsigned(), bits=1_024),
        genuine().replace(b"see attached", b"see below"),
        genuine().replace(b"31 20 123", b"31 90 123"),
    ],
)
def test_mail_whose_from_is_not_proven_is_dropped_without_a_word_to_anybody(
    command: Command, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    out, why = submitted(command, monkeypatch, data)
    assert out == ""
    assert "dropped a mail that says to be from Anna@Example.nl" in why


def test_mail_that_a_customer_wrote_to_somebody_else_is_no_fax_of_his(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its signature stays good, whoever hands it in, and for whatever number."""
    out, why = submitted(command, monkeypatch, genuine(), "--recipient", "fax+31900123456@fax.example")
    assert (out, "its To does not name this address" in why) == ("", True)


def addressed(to: str) -> bytes:
    """A mail that its domain signed, to another address."""
    return signed(unsigned().replace(b"To: fax@example.nl", f"To: {to}".encode()), bits=2_048)


@pytest.mark.parametrize("domains", ["", ", mail_domains: [fax.voice.example, Fax.Other.Example]"])
@pytest.mark.parametrize(
    ("to", "is_ours"),
    [
        ("fax@other-domain.example", False),
        ("fax@fax.voice.example.other-domain.example", False),
        ("fax@voice.example", False),
        ("bob@fax.voice.example, fax@other-domain.example", False),
        ("fax@Fax.voice.example", True),
        ("bob@x.example, fax@fax.voice.example", True),
    ],
)
def test_mail_that_a_customer_wrote_to_anothers_fax_service_is_no_fax_of_ours(
    command: Command, monkeypatch: pytest.MonkeyPatch, to: str, is_ours: bool, domains: str
) -> None:
    """Its signature stays good, and the number stands in its subject. Without the setting the envelope's domain is
    ours."""
    given = addressed(to)
    text = command.place.config.read_text()
    command.place.config.write_text(text.replace(", mail_domains: [Example.nl]", domains))
    _, why = submitted(command, monkeypatch, given, "--recipient", "fax@fax.voice.example")
    assert ("dropped" in why) is not is_ours
    assert ("its To does not name this address" in why) is not is_ours


@pytest.mark.parametrize(("domain", "is_ours"), [("other.example", True), ("fax.voice.example", False)])
def test_where_the_server_writes_recipients_anew_the_settings_name_the_domain(
    command: Command, monkeypatch: pytest.MonkeyPatch, domain: str, is_ours: bool
) -> None:
    text = command.place.config.read_text()
    command.place.config.write_text(text.replace("[Example.nl]", "[other.example]"))
    given = addressed(f"fax@{domain}")
    _, why = submitted(command, monkeypatch, given, "--recipient", "fax@fax.voice.example")
    assert ("dropped" in why) is not is_ours


def test_where_neither_envelope_nor_settings_tell_the_domain_nothing_is_faxed(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = command.place.config.read_text()
    command.place.config.write_text(text.replace(", mail_domains: [Example.nl]", ""))
    out, why = submitted(command, monkeypatch, genuine())
    assert (out, "neither --recipient nor fax.mail_domains" in why) == ("", True)


def test_the_command_steps_behind_the_calls_before_it_reads_a_mail(
    command: Command, monkeypatch: pytest.MonkeyPatch, gave_way: list[int]
) -> None:
    submitted(command, monkeypatch, genuine())
    assert gave_way == [0]


def test_stranger_is_never_answered(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    data = genuine().replace(b"Anna@Example.nl", b"eve@x.nl")
    out, why = submitted(command, monkeypatch, data)
    assert (out, why) == ("", "charging: dropped a mail from eve@x.nl: no customer of ours has this address\n")


def only_secret_addresses(command: Command) -> None:
    text = command.place.config.read_text()
    command.place.config.write_text(text.replace("mail_from_counts: yes", "mail_from_counts: no"))


def test_mail_is_dropped_and_not_bounced_where_only_secret_addresses_are_taken(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mail server gives up what is deferred for days, and tells the From, which may be anyone's."""
    only_secret_addresses(command)
    assert "only those sent to an account's own address are faxed" in command("check").out
    out, why = submitted(command, monkeypatch, genuine())
    assert (out, "fax.mail_from_counts" in why) == ("", True)


def new_address(command: Command, account: str) -> str:
    made = command("fax", "address", "new", account, "--json")
    assert made.code == 0, made
    name: str = json.loads(made.out)["name"]
    return f"{name}@fax.example"


@pytest.mark.parametrize("written", [str, str.upper])
def test_r14_secret_address_says_whose_fax_it_is_and_its_customer_is_answered(
    command: Command, monkeypatch: pytest.MonkeyPatch, written: Callable[[str], str]
) -> None:
    """Whoever sends it, from wherever; who wrote the From is answered nothing."""
    only_secret_addresses(command)
    address = written(new_address(command, "anna-2"))
    data = mail(subject="no number").as_bytes().replace(b"Anna@Example.nl", b"scanner@office.example")
    out, why = submitted(command, monkeypatch, data, "--recipient", address)
    reply = message_from_string(out, policy=default)
    assert (reply["To"], reply["From"]) == ("anna@example.nl", "fax@localhost")
    assert "geen bestaand faxnummer" in reply.get_content()
    assert address.partition("@")[0][4:].lower() not in (out + why).lower(), "a reply and a log are read by others"


def test_secret_address_that_is_no_more_is_nobodys(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    old = new_address(command, "anna-1")
    new = new_address(command, "anna-1")
    assert "made" in command("fax", "address", "show", "anna-1").out
    told = []
    for address in (old, new, "fax+" + "a" * 26 + "@fax.example"):
        out, why = submitted(command, monkeypatch, mail(subject="?").as_bytes(), "--recipient", address)
        told.append((bool(out), "nobody's (any more)" in why))
        assert address.partition("@")[0][4:] not in why
    assert told == [(False, True), (True, False), (False, True)]
    assert command("fax", "address", "withdraw", "anna-1").code == 0
    out, why = submitted(command, monkeypatch, genuine(), "--recipient", new)
    assert (out, "nobody's (any more)" in why) == ("", True)
    assert "has no fax address of its own" in command("fax", "address", "show", "anna-1").err


def test_customer_without_a_mail_address_is_not_answered(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    address = new_address(command, "anna-1")
    assert command("account", "set", "anna-1", "--email", "").code == 0
    out, why = submitted(command, monkeypatch, mail(subject="?").as_bytes(), "--recipient", address)
    assert (out, "the account has no mail address" in why) == ("", True)


def test_r14_fax_by_a_secret_address_is_sent_for_its_account(daemon: Client, rig: Rig, line: TakesAll) -> None:
    asyncio.run(rig.credit(EURO))
    name = daemon.send("POST", "/accounts/anna/fax-address")["name"]
    message = mail(subject="+31612345678")
    message.replace_header("From", "scanner@office.example")
    found = letter(message, recipient=f"{name}@fax.example")
    payer = _payer(daemon, found, None)
    assert payer == Payer("anna", Language.EN, "anna@example.nl")
    assert _submit(daemon, found, payer, None) is None
    assert [order.target for order in line.orders] == ["+31612345678"]


def test_several_recipients_are_not_bounced(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """So comes a mail where the mail server's limit of recipients is not set."""
    recipients = ("fax+31201234567@fax.example", "fax+31201234568@fax.example")
    out, why = submitted(command, monkeypatch, genuine(), "--recipient", *recipients, code=TRY_AGAIN)
    assert (out, "chargingfax_destination_recipient_limit = 1" in why) == ("", True)


def test_mail_waits_at_the_mail_server_where_no_settings_or_no_daemon_are(
    command: Command, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = Command(Place(tmp_path / "nowhere"), capfd)
    assert submitted(nowhere, monkeypatch, genuine(), code=TRY_AGAIN)[0] == ""
    assert command("account", "close", "anna-2", "--reason", "test").code == 0
    out, why = submitted(command, monkeypatch, genuine(), code=TRY_AGAIN)
    assert (out, "start the daemon" in why) == ("", True)


def test_what_was_not_decided_is_answered_by_nothing(daemon: Client, desk: FaxDesk) -> None:
    desk.at_once = 0
    with pytest.raises(Refusal, match="all lines are busy"):
        submitted_to(daemon, letter(mail(subject="+31612345678")), None)


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
    add_settings(command, MAIL.format(port=port))


def test_r14_reply_is_sent_by_the_mail_server_of_the_settings(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    mailbox = Mailbox()
    with mail_server(mailbox) as port:
        with_mail(command, port)
        out, _ = submitted(command, monkeypatch, genuine(), "--reply-by", "smtp")
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
    mailbox, given = Mailbox(), genuine()
    with mail_server(mailbox) as port:
        with_mail(command, port)
        for _ in range(2):
            submitted(command, monkeypatch, given, "--reply-by", "smtp")
    assert len({reply["Message-ID"] for reply in mailbox.got}) == 1


@pytest.mark.parametrize(("answer", "code"), [("451 later", TRY_AGAIN), ("550 no such user", 0)])
def test_reply_that_is_refused_for_now_is_tried_again_and_for_good_is_not(
    command: Command, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    monkeypatch.setattr("charging.cli.fax_mail._by_syslog", lambda _: say)
    with mail_server(Mailbox(at_rcpt={"Anna@Example.nl": answer})) as port:
        with_mail(command, port)
        _, why = submitted(command, monkeypatch, genuine(), "--reply-by", "smtp", code=code)
    assert answer in why


def test_reply_without_a_mail_server_is_tried_again(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charging.cli.fax_mail._by_syslog", lambda _: say)
    _, why = submitted(command, monkeypatch, genuine(), "--reply-by", "smtp", code=TRY_AGAIN)
    assert "needs a section `mail`" in why
    with_mail(command, free_port())
    submitted(command, monkeypatch, genuine(), "--reply-by", "smtp", code=TRY_AGAIN)
