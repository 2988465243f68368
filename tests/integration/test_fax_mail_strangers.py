"""What a mail costs before it is known to be a customer's, and how long it is waited for."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from email import message_from_string
from email.policy import default
from unittest.mock import Mock

import httpx
import pytest

from charging.cli.client import _reads_much, client
from charging.cli.fax_mail import READY_MAX_S, Payer, _submit
from charging.fax.convert import DOCUMENT_S
from charging.fax.mail import Wrong, original_recipient
from charging.ledger.accounts import Language
from charging.service.turns import IMPATIENT_S
from tests.integration.command import Command
from tests.integration.test_fax_mail import command, gave_way, new_address, submitted, zone
from tests.unit.fax.test_fax_mail import letter, mail

__all__ = ["command", "gave_way", "zone"]  # fixtures


def test_stranger_costs_little_before_he_is_known_to_be_one() -> None:
    """Anyone can send mails: what proves, words and sends is loaded for a customer's alone."""
    asks = "import charging.cli.fax, charging.settings, sys; print(*{one.partition('.')[0] for one in sys.modules})"
    loaded = subprocess.run(
        [sys.executable, "-c", asks], capture_output=True, timeout=200, check=True, text=True
    ).stdout
    assert {"typer", "httpx"} <= set(loaded.split())
    assert not {"dns", "cryptography", "publicsuffixlist", "phonenumbers", "fastapi", "jinja2"} & set(loaded.split())


def test_daemon_itself_says_whose_a_mail_address_is() -> None:
    """A look-up by index; for each stranger's mail the whole service was loaded beside it."""
    assert not _reads_much(httpx.Request("GET", "http://charging/fax-senders?email=a%40b.nl"))
    assert _reads_much(httpx.Request("GET", "http://charging/accounts"))


def test_document_is_waited_for_longer_than_it_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the mail comes again, and its document is made ready again, for five days."""
    waits: list[object] = []

    def seen(request: httpx.Request) -> httpx.Response:
        waits.append(request.extensions["timeout"]["read"])
        return httpx.Response(201, json={})

    payer = Payer("anna", Language.EN, "anna@example.nl")
    with client(httpx.MockTransport(seen), daemon=True) as daemon:
        _submit(daemon, replace(letter(mail()), target=Wrong.NO_NUMBER), payer, None)
        assert waits == [], "nothing to send"
        monkeypatch.setattr("charging.cli.fax_mail._number", lambda *_: "+31612345678")
        assert _submit(daemon, letter(mail()), payer, None) is None
    assert waits == [READY_MAX_S]
    assert READY_MAX_S > DOCUMENT_S + IMPATIENT_S + 30


WORST = {
    "bytes that are no ASCII": b"\xff" * 14_000_000,
    "lines with white space that decides nothing": (b"--  " + b"\xff" * 10 + b"\n  \n") * 490_000,
    "a line of spaces that may end a part": b"--" + b"x  " * 4_600_000,
    "lines of them": (b"\xff" * 13 + b"\n") * 990_000,
}


@pytest.mark.parametrize("body", WORST.values(), ids=WORST)
def test_the_largest_mail_is_read_within_the_memory_that_the_command_has(command: Command, body: bytes) -> None:
    """As a program of its own: for good, the tests' process would have no more than that."""
    head = mail(files=0, subject="no number").as_bytes().partition(b"Content-T")[0]
    kind = b"Content-Type: application/pdf; name=a.pdf\nContent-Transfer-Encoding: 8bit\n\n"
    charging = (sys.executable, "-P", "-m", "charging", "--config", str(command.place.config))
    asked = (*charging, "fax", "submit-mail", "--sender", "eve@evil.example", "--recipient")
    ran = subprocess.run(
        [*asked, new_address(command, "anna-1")], input=head + kind + body, capture_output=True, timeout=200
    )
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert b"geen bestaand faxnummer" in ran.stdout


def test_a_program_gets_no_more_memory_than_it_is_given() -> None:
    tries = "from charging.priority import limit_memory; limit_memory(100_000_000); print(len(bytes({})))"
    codes = [
        subprocess.run([sys.executable, "-c", tries.format(size)], capture_output=True, timeout=200).returncode
        for size in (10_000_000, 200_000_000)
    ]
    assert codes == [0, 1]


def test_a_mail_over_which_memory_ends_is_answered_and_comes_no_more(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each try, for five days; and at their end a bounce would go to whoever the envelope names."""
    monkeypatch.setattr("charging.cli.fax_mail.with_document", Mock(side_effect=MemoryError))
    given = mail(subject="no number").as_bytes()
    reply, _ = submitted(command, monkeypatch, given, "--recipient", new_address(command, "anna-1"))
    assert "De e-mail met alles wat erbij zit is te groot" in message_from_string(reply, policy=default).get_content()


@pytest.mark.parametrize(
    ("more", "said"), [(0, "geen bestaand faxnummer"), (1, "De e-mail met alles wat erbij zit is te groot")]
)
def test_a_mail_that_is_larger_than_any_document_is_read_no_further_and_answered(
    command: Command, monkeypatch: pytest.MonkeyPatch, more: int, said: str
) -> None:
    """To the mail server it is read to its end: a command that is not would have failed, and the mail come again."""
    given = mail(subject="no number").as_bytes()
    given += b"x" * (15_000_000 + more - len(given))
    reply, _ = submitted(command, monkeypatch, given, "--recipient", new_address(command, "anna-1"))
    assert said in message_from_string(reply, policy=default).get_content()
    assert sys.stdin.buffer.read() == b""


ORIGINAL = b"X-Original-To: fax+31612345678@fax.nl\n"


@pytest.mark.parametrize(
    ("above", "found"),
    [
        (ORIGINAL, "fax+31612345678@fax.nl"),
        (b"Return-Path: <a@b.nl>\n" + ORIGINAL, "fax+31612345678@fax.nl"),
        (b"From a@b.nl  Mon Nov 30 00:00:00 2026\nReturn-Path: <a@b.nl>\r\n" + ORIGINAL, "fax+31612345678@fax.nl"),
        (b"Received: x\n" + ORIGINAL, ""),
        (b"X: y\nReturn-Path: <a@b.nl>\n" + ORIGINAL, ""),
        (b"", ""),
    ],
)
def test_recipient_above_the_mail_counts_where_the_mail_server_writes_it_alone(above: bytes, found: str) -> None:
    assert original_recipient(above + b"From: a@b.nl\n\nx") == found
