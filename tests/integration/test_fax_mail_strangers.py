"""What a mail costs before it is known to be a customer's, and how long it is waited for."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import httpx
import pytest

from charging.cli.client import _reads_much, client
from charging.cli.fax_mail import READY_MAX_S, Payer, _submit
from charging.fax.convert import DOCUMENT_S
from charging.fax.mail import Wrong, original_recipient
from charging.ledger.accounts import Language
from charging.service.turns import IMPATIENT_S
from tests.unit.fax.test_fax_mail import letter, mail


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
