"""Copies of a mail that was handed in as a fax: whoever has one can hand it in again, with its signature."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from charging.cli.client import Client
from charging.cli.fax_mail import TRY_AGAIN
from charging.fax.mailed import REPLIES_MAX
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
    rig,
    submitted,
    submitted_to,
    unsigned,
    with_mail,
    zone,
)
from tests.unit.fax.test_fax_mail import letter, mail

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


def test_reply_that_did_not_leave_does_not_count(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    mailbox, given = Mailbox(at_rcpt={"Anna@Example.nl": "451 later"}), genuine()
    with mail_server(mailbox) as port:
        with_mail(command, port)
        for _ in range(REPLIES_MAX + 1):
            submitted(command, monkeypatch, given, "--reply-by", "smtp", code=TRY_AGAIN)
        mailbox.at_rcpt.clear()
        submitted(command, monkeypatch, given, "--reply-by", "smtp")
    assert len(mailbox.got) == 1
