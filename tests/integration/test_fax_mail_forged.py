"""Strangers have the mail server itself say that a mail is a customer's: it is no fax."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from tests.integration.command import Command
from tests.integration.test_fax_mail import SERVER, command, gave_way, genuine, submitted
from tests.unit.fax.test_fax_mail import mail

__all__ = ["command", "gave_way"]  # fixtures

DECODED = "a; dkim=pass header.d=example.nl header.i=y@evil.example"
SIGNER = "a=3B=20dkim=3Dpass=20header.d=3Dexample.nl=20header.i=3Dy@evil.example"
OPENDKIM = f"""Authentication-Results: {SERVER};
\tdkim=pass (2048-bit key) header.d=evil.example header.i={DECODED} header.a=rsa-sha256 header.s=s header.b=QTsyAUHX;
\tdkim-atps=neutral
Received: from mail.evil.example by {SERVER}
DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; d=evil.example; s=s; i={SIGNER}; h=from:to; bh=aa=; b=QTsyAUHX
"""
OPENDMARC = f"Authentication-Results: {SERVER}; dmarc=pass (p=reject dis=none) header.from=example.nl\n"
BRACKET = "a) ; spf=pass smtp.mailfrom=example.nl; x=y (b"
RSPAMD = f"""Authentication-Results: {SERVER}; dkim=pass header.d=%s header.s=s header.b=bIqTFFX3;
\tspf=pass ({SERVER}: domain of "{BRACKET}@evil.example" designates 192.0.2.1 as permitted sender)
\tsmtp.mailfrom="{BRACKET}@evil.example"; dmarc=%s
Received: from mail.evil.example by {SERVER}
DKIM-Signature: v=1; a=rsa-sha256; d=%s; s=s; h=From:Date:Subject:Message-ID; bh=aa=; b=bIqTFFX3
"""
HELO = "a) ; dkim=pass header.d=example.nl; x=y (b.evil.example"
RSPAMD_HELO = f"""Authentication-Results: {SERVER}; dkim=none;
\tspf=temperror ({SERVER}: error in processing during lookup of "{HELO}": DNS error) smtp.helo="{HELO}"; dmarc=none
"""
POSTFIX = f"""Received: from {"".join(sign if sign not in " <>()" + chr(92) + '";@' else "?" for sign in HELO)}
\t(unknown [192.0.2.1]) by {SERVER} (Postfix) with ESMTP id 1
"""
PLAIN = f"Received: from mail.evil.example (unknown [192.0.2.1]) by {SERVER} (Postfix) with ESMTP id 1\n"
ROUTED = f"{OPENDMARC}Authentication-Results: {SERVER}; spf=pass smtp.mailfrom=example.nl,@x:me@evil.example\n{PLAIN}"
"""As OpenDKIM 2.11, OpenDMARC 1.4 on top of it, and Rspamd 3.4 wrote them."""


@pytest.mark.parametrize(
    ("head", "sender"),
    [
        (OPENDKIM, "me@evil.example"),
        (OPENDMARC + OPENDKIM, "me@evil.example"),
        (RSPAMD % ("evil.example", "none", "evil.example"), f'"{BRACKET}"@evil.example'),
        (RSPAMD % ("example.nl", "pass header.from=example.nl", "example.nl"), f'"{BRACKET}"@evil.example'),
        (RSPAMD_HELO + POSTFIX, "me@evil.example"),
        (OPENDMARC + PLAIN + "Received-SPF: pass\n", "anna@example.nl"),
    ],
)
def test_what_a_sender_has_the_mail_server_write_proves_nothing(
    command: Command, monkeypatch: pytest.MonkeyPatch, head: str, sender: str
) -> None:
    """By the name of who signs, or the envelope's sender. The last: a mail that a customer wrote, handed in again."""
    sent = f"Date: {format_datetime(datetime.now(UTC))}".encode()
    data = head.encode() + mail().as_bytes().replace(b"Date: Sun, 29 Nov 2026 12:00:00 +0100", sent)
    out, why = submitted(command, monkeypatch, data, "--sender", sender, "--recipient", "fax@example.nl")
    assert (out, "may be the sender's own words" in why) == ("", True)
    assert "dropped a mail that says to be from Anna@Example.nl" in why


@pytest.mark.parametrize("head", [ROUTED, RSPAMD_HELO + PLAIN])
def test_where_the_server_repeats_more_than_names_nothing_that_it_says_counts(
    command: Command, monkeypatch: pytest.MonkeyPatch, head: str
) -> None:
    """``MAIL FROM:<@example.nl,@x:me@evil.example>``, of which Postfix hands on ``me@evil.example`` alone; and a HELO,
    where another machine has handed the mail on meanwhile."""
    data = head.encode() + mail().as_bytes()
    out, why = submitted(command, monkeypatch, data, "--sender", "me@evil.example", "--recipient", "fax@example.nl")
    assert (out, "repeats an envelope's sender or a HELO that is more than a name" in why) == ("", True)


@pytest.mark.parametrize(
    ("above", "is_known"), [(b"", False), (b"Return-Path: <anna@example.nl>\n", True), (b"Return-Path: <>\n", False)]
)
def test_where_nothing_tells_the_envelopes_sender_nothing_is_proven(
    command: Command, monkeypatch: pytest.MonkeyPatch, above: bytes, is_known: bool
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(above + genuine())))
    ran = command("fax", "submit-mail", "--recipient", "fax@example.nl")
    assert (ran.code, ran.out != "", "dropped" in ran.err) == (0, is_known, not is_known)
