"""What a mail says of its own genuineness proves nothing, whoever wrote it there: it is no fax.

Each of these has been believed by a mail server, or by this program while it believed that server."""

from __future__ import annotations

import pytest

from tests.integration.command import Command
from tests.integration.test_fax_mail import CLIENT, command, gave_way, genuine, submitted, unsigned, zone

__all__ = ["command", "gave_way", "zone"]  # fixtures
SERVER = "mx.voice.example"

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


@pytest.mark.parametrize("sender", ["me@evil.example", "anna@example.nl", f'"{BRACKET}"@evil.example'])
@pytest.mark.parametrize(
    "head",
    [
        OPENDKIM,
        OPENDMARC + OPENDKIM,
        RSPAMD % ("evil.example", "none", "evil.example"),
        RSPAMD % ("example.nl", "pass header.from=example.nl", "example.nl"),
        RSPAMD_HELO + POSTFIX,
        OPENDMARC + PLAIN + "Received-SPF: pass\n",
        ROUTED,
        RSPAMD_HELO + PLAIN,
        f"Received-SPF: pass (mx: domain of anna@example.nl designates {CLIENT}) client-ip={CLIENT}\n" + PLAIN,
        "ARC-Authentication-Results: i=1; mx.google.com; dkim=pass header.d=example.nl; dmarc=pass\n",
        f"X-Originating-IP: {CLIENT}\nX-Forwarded-For: {CLIENT}\nReturn-Path: <anna@example.nl>\n",
    ],
)
def test_what_a_mail_says_of_its_sender_proves_nothing(
    command: Command, monkeypatch: pytest.MonkeyPatch, head: str, sender: str
) -> None:
    """By headers of a mail server's, or like them, above a mail that nothing proves."""
    envelope = ("--sender", sender, "--recipient", "fax@example.nl", "--client", "198.41.0.5", "--helo", HELO)
    out, why = submitted(command, monkeypatch, head.encode() + unsigned(), *envelope)
    assert (out, "dropped a mail that says to be from Anna@Example.nl: " in why) == ("", True)
    assert "DKIM signature" in why


def test_what_stands_above_a_mail_that_is_proven_takes_nothing_from_it(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = f"Authentication-Results: {SERVER}; dmarc=fail\nReceived-SPF: fail\nReceived: from x by {SERVER}\n"
    assert submitted(command, monkeypatch, head.encode() + genuine())[0] != ""


@pytest.mark.parametrize("above", [b"Return-Path: <>\n", b"Auto-Submitted: auto-replied\n"])
def test_mail_of_a_program_is_dropped_though_it_is_signed(
    command: Command, monkeypatch: pytest.MonkeyPatch, above: bytes
) -> None:
    assert submitted(command, monkeypatch, above + genuine())[0] == ""
