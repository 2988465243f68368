"""Copies of a mail that was handed in as a fax: whoever has one can hand it in again, with its signature."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime

import pytest

from charging.cli.client import Client, Params
from charging.cli.fax_mail import TRY_AGAIN, Payer, _payer, _submit
from charging.fax.mailed import COLLECTION, REPLIES_A_DAY, REPLIES_MAX
from charging.fax.reply import Words
from charging.ledger.accounts import Account, Language, Number, Status
from charging.ledger.model import CREDIT, Kind, Leg, Transfer
from tests.fakes.fax_line import TakesAll
from tests.fakes.rig import EURO, Rig
from tests.fakes.signing import signed
from tests.integration.command import Command
from tests.integration.smtp_server import Mailbox, mail_server
from tests.integration.test_fax_mail import (
    command,
    daemon,
    desk,
    gave_way,
    genuine,
    line,
    new_address,
    rig,
    submitted,
    submitted_to,
    unsigned,
    with_mail,
    zone,
)
from tests.unit.fax.test_fax_mail import PDF, letter, mail

__all__ = ["command", "daemon", "desk", "gave_way", "line", "rig", "zone"]


def test_mail_that_was_faxed_is_not_faxed_again_where_its_sender_has_another_account(
    daemon: Client, rig: Rig, line: TakesAll
) -> None:
    """Whoever has a copy hands it in, after the customer has closed his account and opened another."""

    async def move() -> None:
        before = await rig.store.directory.account("anna")
        assert before is not None
        await rig.store.directory.put_account(replace(before, status=Status.CLOSED))
        after = Account("anna-2", "light", Language.EN, email="anna@example.nl")
        await rig.store.directory.put_account(after)
        await rig.store.directory.put_number(Number("+31101234567", "anna-2"))
        top_up = Transfer("top-up/2", "anna-2", Kind.TOP_UP, 0, (Leg(CREDIT, 5 * EURO),))
        assert (await rig.store.apply(top_up)).outcome.applied

    copied, refused = (letter(mail(subject=f"+3161234567{last}")) for last in (8, 9))
    assert submitted_to(daemon, refused) is not None, "too little credit"
    asyncio.run(rig.credit(EURO))
    assert submitted_to(daemon, copied) is None
    asyncio.run(move())
    assert submitted_to(daemon, copied) is None
    assert len(line.orders) == 1
    assert submitted_to(daemon, refused) is None
    assert len(line.orders) == 2, "what was not faxed may be"


def own_address(daemon: Client, account: str) -> str:
    return f"{daemon.send('POST', f'/accounts/{account}/fax-address')['name']}@fax.example"


def faxed_from(daemon: Client, address: str, message: EmailMessage) -> Words | None:
    """What the owner of a secret address is answered."""
    found = letter(message, recipient=address)
    payer = _payer(daemon, found, None)
    assert isinstance(payer, Payer)
    return _submit(daemon, found, payer, None)


@pytest.mark.parametrize("own", [False, True])
def test_copy_that_another_customer_hands_in_to_his_own_address_takes_nothing_from_the_mails_sender(
    daemon: Client, rig: Rig, line: TakesAll, own: bool
) -> None:
    """His own mail was taken for a copy of that fax: it was not sent, and nobody told him. ``own``: he writes to his
    own secret address, too."""
    for account in ("anna", "carl-2"):
        top_up = Transfer(f"top-up/1/{account}", account, Kind.TOP_UP, 0, (Leg(CREDIT, EURO),))
        assert asyncio.run(rig.store.apply(top_up)).outcome.applied
    message = mail(subject="+31612345678")
    his, anothers = own_address(daemon, "anna"), own_address(daemon, "carl-2")
    assert faxed_from(daemon, anothers, message) is None
    for _ in range(2):
        assert (faxed_from(daemon, his, message) if own else submitted_to(daemon, letter(message))) is None
    assert [order.number for order in line.orders] == ["+31201234568", "+31201234567"]


def test_copies_that_another_customer_has_answered_take_no_reply_from_the_mails_sender(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    his, anothers = new_address(command, "anna-1"), new_address(command, "anna-2")
    given = mail(subject="no number").as_bytes()
    answered = [
        submitted(command, monkeypatch, given, "--recipient", address)[0] != ""
        for address in (*[anothers] * (REPLIES_MAX + 1), his, "fax@example.nl")
    ]
    assert answered == [True, True, True, False, True, False], "the last one is nobody's: it is not proven"


def test_mail_that_was_faxed_before_an_upgrade_is_not_faxed_again_after_it(
    daemon: Client, rig: Rig, line: TakesAll
) -> None:
    """What is stored of it has the key that it always had, of a secret address too."""
    asyncio.run(rig.credit(EURO))
    message, address = mail(subject="+31612345678"), own_address(daemon, "anna")
    key = "mail-895b1b86c17026ffe1794437dc22e8ff"
    params: Params = {"target": "+31612345678", "name": "offer-0.pdf"}
    daemon.send("POST", "/accounts/anna/mailed-faxes", params=params, content=PDF, key=key)  # as version 1 asked
    documents = asyncio.run(rig.store.documents.list_documents(COLLECTION))
    assert [(one.id, one.body) for one in documents] == [(key, '{"fax":"fax-4e261e39c343bd616b60f7e9","replies":0}')]
    assert faxed_from(daemon, address, message) is None
    assert submitted_to(daemon, letter(message)) is None
    assert len(line.orders) == 1


def test_copies_of_a_mail_are_answered_three_times(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has a copy of a signed mail can hand it in as often as he likes."""
    mailbox, given = Mailbox(), genuine()
    with mail_server(mailbox) as port:
        with_mail(command, port)
        for _ in range(5):
            submitted(command, monkeypatch, given, "--reply-by", "smtp")
        assert len(mailbox.got) == REPLIES_MAX == 3
        another = signed(unsigned(Date=format_datetime(datetime.now(UTC) - timedelta(hours=1))), bits=2_048)
        submitted(command, monkeypatch, another, "--reply-by", "smtp")
    assert len(mailbox.got) == REPLIES_MAX + 1


def test_who_knows_a_secret_address_does_not_fill_its_customers_mailbox(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each mail that was another got a reply."""
    mailbox, address = Mailbox(), new_address(command, "anna-1")
    with mail_server(mailbox) as port:
        with_mail(command, port)
        told = [
            submitted(
                command,
                monkeypatch,
                mail(subject=f"no number, for the time no. {'I' * nth}").as_bytes(),
                *("--recipient", address, "--sender", "eve@evil.example", "--reply-by", "smtp", "--syslog", "/none"),
            )
            for nth in range(REPLIES_A_DAY + 3)
        ]
    assert len(mailbox.got) == REPLIES_A_DAY + 1
    assert "iemand anders het: vraag" in mailbox.got[-1].get_content()
    assert not any("geheim faxadres" in one.get_content() for one in mailbox.got[:-1])
    assert told == [("", "")] * (REPLIES_A_DAY + 3)


def test_reply_that_did_not_leave_does_not_count(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    mailbox, given = Mailbox(at_rcpt={"Anna@Example.nl": "451 later"}), genuine()
    with mail_server(mailbox) as port:
        with_mail(command, port)
        for _ in range(REPLIES_MAX + 1):
            submitted(command, monkeypatch, given, "--reply-by", "smtp", code=TRY_AGAIN)
        mailbox.at_rcpt.clear()
        submitted(command, monkeypatch, given, "--reply-by", "smtp")
    assert len(mailbox.got) == 1
