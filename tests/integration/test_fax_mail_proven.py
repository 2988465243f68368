"""A customer's mail is proven by the machine that brought it (SPF) or by its signature, by a real name server."""

from __future__ import annotations

import asyncio
import zlib
from datetime import UTC, datetime, timedelta
from email import message_from_string
from email.policy import default
from email.utils import format_datetime
from typing import Any
from unittest.mock import Mock

import pytest

from charging.cli.client import Client
from charging.cli.failure import Refusal
from charging.cli.fax_mail import TRY_AGAIN, UNPROVEN_H, Drop, Payer, Proof, _payer
from charging.fax.mail import Letter
from charging.fax.reply import Words
from charging.fax.slow_domains import PAUSE_S, PUT_OFF_MAX, SLOW_S, Waited
from charging.service.refusal import Dropped
from tests.fakes.fax_line import TakesAll
from tests.fakes.rig import EURO, Rig
from tests.fakes.signing import DOMAIN, KEY_AT, signed
from tests.integration.command import Command
from tests.integration.dns_server import Zone
from tests.integration.test_fax_mail import (
    CLIENT,
    command,
    daemon,
    desk,
    gave_way,
    genuine,
    line,
    rig,
    submitted,
    unsigned,
    zone,
)
from tests.unit.fax.test_fax_mail import letter, mail

__all__ = ["command", "daemon", "desk", "gave_way", "line", "rig", "zone"]  # fixtures


@pytest.mark.parametrize(
    ("options", "record", "why_not"),
    [
        (("--client", CLIENT), f"v=spf1 ip4:{CLIENT} -all", ""),
        (("--client", f"::ffff:{CLIENT}"), f"v=spf1 ip4:{CLIENT} -all", ""),
        (("--client", "2001:500:2::c"), "v=spf1 ip6:2001:500:2::/48 -all", ""),
        (("--client", CLIENT, "--helo", "mx.x.nl"), "v=spf1 exists:%{i}.%{h}.%{d} -all", ""),
        (("--client", "198.41.0.5"), f"v=spf1 ip4:{CLIENT} -all", "SPF of 198.41.0.5 is fail"),
        (("--client", "198.41.0.5"), f"v=spf1 ip4:{CLIENT} ~all", "is softfail"),
        (("--client", CLIENT), "v=spf1 ?all", "is neutral"),
        (("--client", CLIENT), "v=spf1 +all", "SPF lets every machine send for it"),
        (("--client", CLIENT), f"v=spf1 include:all.{DOMAIN} -all", "SPF lets every machine send for it"),
        (("--client", CLIENT), "v=spf1 ip4:198.0.0.0/1 -all", "SPF lets every machine send for it"),
        (("--client", CLIENT), "v=spf1 ip4:198.0.0.0/5 -all", ""),
        (("--client", CLIENT), f"v=spf1 exists:{CLIENT}.mx.x.nl.{DOMAIN} -all", "SPF lets every machine send for it"),
        (("--client", "2001:500:2::c"), "v=spf1 ip6:2000::/3 -all", "SPF lets every machine send for it"),
        (("--client", CLIENT), "v=spf1 nonsense +all", "is permerror"),
        (("--client", CLIENT), "none", "is none"),
        ((), "v=spf1 +all", "--client does not tell it"),
        (("--client", "10.0.0.1"), "v=spf1 ip4:10.0.0.0/8 -all", "no address of the internet"),
        (("--client", "127.0.0.1"), "v=spf1 +all", "no address of the internet"),
        (("--client", "unknown"), "v=spf1 +all", "no address of the internet"),
        (("--client", CLIENT, "--sender", "me@evil.nl"), "v=spf1 +all", "sender is not its From"),
        (("--client", CLIENT, "--sender", "me@below.example.nl"), "v=spf1 +all", "sender is not its From"),
        (("--client", CLIENT, "--sender", "SRS0=a=b=example.nl=anna@forwards.nl"), "v=spf1 +all", "is not its From"),
        (("--client", CLIENT, "--sender", '"a) spf=pass"@example.nl'), "v=spf1 +all", "sender is not its From"),
    ],
)
def test_mail_is_proven_by_the_machine_that_brought_it(
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    zone: Zone,
    options: tuple[str, ...],
    record: str,
    why_not: str,
) -> None:
    """As of Microsoft 365, which signs no To."""
    zone.records[DOMAIN, "TXT"] = ["v=other", record]
    zone.records[f"all.{DOMAIN}", "TXT"] = ["v=spf1 all"]
    zone.records[f"{CLIENT}.mx.x.nl.{DOMAIN}", "A"] = ["127.0.0.2"]
    data = signed(unsigned(), covered=["From", "Date", "Subject", "Message-ID"], bits=2_048)
    out, why = submitted(command, monkeypatch, data, *options, "--recipient", "fax@example.nl")
    assert (out == "", why_not in why) == (why_not != "", True)


def test_operator_can_have_signatures_alone_prove_mails(
    command: Command, monkeypatch: pytest.MonkeyPatch, zone: Zone
) -> None:
    """Where customers' domains name the servers of a provider that lets one of its users write as another."""
    file = command.place.config
    file.write_text(file.read_text().replace("mail_from_counts: yes", "mail_from_counts: DKIM"))
    out, why = submitted(command, monkeypatch, unsigned(), "--client", CLIENT)
    assert (out, "SPF is not looked at" in why) == ("", True)
    assert (DOMAIN, "TXT") not in zone.asked
    assert submitted(command, monkeypatch, genuine(), "--client", CLIENT)[0] != ""
    zone.broken = {KEY_AT}
    submitted(command, monkeypatch, genuine(), "--client", CLIENT, code=TRY_AGAIN)


@pytest.mark.parametrize(
    ("counts", "more", "said", "told"),
    [
        ("dkim", 0, "meer dan één klant", ""),
        (
            "dkim",
            1,
            "",
            "is of another body; SPF is not looked at (fax.mail_from_counts: dkim); only a part of it was read",
        ),
        ("yes", 1, "met alles wat erbij zit is te groot", ""),
    ],
)
def test_of_a_mail_too_large_for_its_signature_the_operator_is_told_and_its_sender_if_it_is_proven_otherwise(
    command: Command, monkeypatch: pytest.MonkeyPatch, counts: str, more: int, said: str, told: str
) -> None:
    """To tell him in any case would tell whoever a stranger names."""
    file = command.place.config
    file.write_text(file.read_text().replace("mail_from_counts: yes", f"mail_from_counts: {counts}"))
    large = unsigned() + b"x" * 14_000_000
    data = signed(large + b"x" * (15_000_000 + more - len(signed(large, bits=2_048))), bits=2_048)
    assert len(data) == 15_000_000 + more
    out, why = submitted(command, monkeypatch, data, "--client", CLIENT)
    reply = message_from_string(out, policy=default).get_content()
    assert (bool(out), said in reply, told in why) == (bool(said), True, True)


def failing(monkeypatch: pytest.MonkeyPatch, where: str, fault: Exception) -> None:
    monkeypatch.setattr(f"charging.{where}", Mock(side_effect=fault))


@pytest.mark.parametrize(
    ("where", "fault"),
    [
        *(
            (where, fault)
            for where in ("cli.fax_mail.read_head", "fax.proven.why_unproven", "cli.fax_mail.with_document")
            for fault in (OSError("disk"), ImportError("is being replaced"))
        ),
        ("cli.fax_mail.read_head", MemoryError()),
        ("fax.proven.why_unproven", MemoryError()),
    ],
)
def test_mail_waits_where_the_machine_lacks_something(
    command: Command, monkeypatch: pytest.MonkeyPatch, where: str, fault: Exception
) -> None:
    failing(monkeypatch, where, fault)
    out, why = submitted(command, monkeypatch, genuine(), code=TRY_AGAIN)
    assert (out, f"a fault in the program ({type(fault).__name__}" in why) == ("", True)


@pytest.mark.parametrize(
    "fault", [ValueError("x"), TypeError("x"), zlib.error("x"), AssertionError(), RecursionError()]
)
@pytest.mark.parametrize(
    ("where", "begins"),
    [
        ("cli.fax_mail.read_head", "dropped a mail: a fault"),
        ("cli.fax_mail.with_document", "dropped a mail from Anna@Example.nl: a fault"),
        ("fax.proven.why_unproven", "dropped a mail that says to be from Anna@Example.nl: a fault"),
    ],
)
def test_mail_over_which_the_program_has_a_fault_comes_once(
    command: Command, monkeypatch: pytest.MonkeyPatch, where: str, begins: str, fault: Exception
) -> None:
    """It would come again for five days, and then be bounced to whoever its envelope names."""
    failing(monkeypatch, where, fault)
    out, why = submitted(command, monkeypatch, genuine())
    assert (out, why.startswith(f"charging: {begins} in the program ({type(fault).__name__}")) == ("", True)
    assert "at mock.py:" in why, "where it was"


def test_dns_that_does_not_answer_makes_a_mail_wait_and_what_it_does_not_know_does_not(
    command: Command, monkeypatch: pytest.MonkeyPatch, zone: Zone
) -> None:
    zone.broken |= {KEY_AT, DOMAIN}
    out, why = submitted(command, monkeypatch, genuine(), code=TRY_AGAIN)
    assert (out, "the DNS does not answer about k1._domainkey.example.nl" in why) == ("", True)
    zone.broken = {DOMAIN}
    assert submitted(command, monkeypatch, genuine(), "--client", CLIENT)[0] != "", "what is proven needs no more"
    zone.broken = {KEY_AT}
    assert submitted(command, monkeypatch, genuine(), "--client", CLIENT)[0] != ""
    zone.broken = set()
    zone.records.clear()
    out, why = submitted(command, monkeypatch, genuine(), "--client", CLIENT)
    assert (out, "no key at k1._domainkey.example.nl; SPF of" in why) == ("", True)


@pytest.mark.parametrize(
    "options",
    [
        ("--sender", "victim@innocent.example", "--client", CLIENT),
        ("--client", "10.0.0.1"),
        (),
    ],
)
def test_mail_that_the_dns_could_not_prove_is_dropped_without_a_question(
    command: Command, monkeypatch: pytest.MonkeyPatch, zone: Zone, options: tuple[str, ...]
) -> None:
    """However slow the domain is: kept in the queue, it would be bounced to whoever its envelope names."""
    zone.broken |= {KEY_AT, DOMAIN}
    out, why = submitted(command, monkeypatch, unsigned(), *options)
    assert (out, "dropped a mail that says to be from" in why) == ("", True)
    assert zone.asked == []


def received(hours: float) -> bytes:
    """A mail that our server took so long ago, whatever its sender says of others."""
    now = datetime.now(UTC)
    lines = [
        f"Received: from {one} (unknown [198.41.0.9])\r\n\tby fax.example (Postfix) with ESMTP id 4ABC; {at}\r\n"
        for one, at in (("us", format_datetime(now - timedelta(hours=hours))), ("him", format_datetime(now)))
    ]
    return "".join(lines).encode() + genuine()


@pytest.mark.parametrize(("hours", "code"), [(UNPROVEN_H - 0.1, TRY_AGAIN), (UNPROVEN_H, 0)])
def test_mail_that_stays_unproven_for_a_day_is_dropped(
    command: Command, monkeypatch: pytest.MonkeyPatch, zone: Zone, hours: float, code: int
) -> None:
    zone.broken |= {KEY_AT, DOMAIN}
    out, why = submitted(command, monkeypatch, received(hours), code=code)
    assert (out, "dropped" in why) == ("", code == 0)
    assert ("`charging fax address new`" in why) == (code == 0), "the operator can do something for him"
    zone.broken = set()
    assert submitted(command, monkeypatch, received(hours))[0] != "", "what is proven at last is good"


def test_old_mail_waits_for_a_daemon_that_does_not_answer(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a long outage all are old, and what kept them was not the DNS."""
    send = Client.send

    def goes(client: Client, method: str, path: str, *args: Any, **options: Any) -> Any:
        if path == "/name-server-waits":
            raise Refusal("the daemon has gone")
        return send(client, method, path, *args, **options)

    monkeypatch.setattr(Client, "send", goes)
    out, why = submitted(command, monkeypatch, received(UNPROVEN_H), code=TRY_AGAIN)
    assert (out, "the daemon has gone; to be tried again" in why) == ("", True)


def test_mails_of_a_domain_that_was_slow_wait(daemon: Client, rig: Rig, line: TakesAll) -> None:
    """Each holds a place of the mail server's while its owner's name server takes its time."""
    asyncio.run(rig.credit(EURO))
    takes_s = iter((SLOW_S, 0.0))

    def proof(letter: Letter, waited: Waited) -> str:
        waited.seconds += next(takes_s)
        return ""

    def payer(subject: str) -> Payer | Words | Drop:
        given = letter(mail(subject=subject))
        return _payer(daemon, given, Proof(frozenset(given.addressed_at), proof))

    assert isinstance(payer("+31612345678"), Payer)
    with pytest.raises(Refusal, match="the DNS is slow about example"):
        payer("+31612345679")
    asyncio.run(rig.clock.advance(PAUSE_S))
    assert isinstance(payer("+31612345679"), Payer)


def test_no_more_mails_of_a_slow_domain_wait_than_so_many_and_the_operator_is_told(daemon: Client, rig: Rig) -> None:
    """Each is tried again for a day: one machine could have them take all places of the mail server."""
    asyncio.run(rig.credit(EURO))
    daemon.send("POST", "/name-server-waits/ended", {"domain": "example.nl", "network": "198.41.0.9", "took_s": SLOW_S})

    def payer(subject: str, client: str = "198.41.0.9") -> Payer | Words | Drop:
        given = letter(mail(subject=subject))
        return _payer(daemon, given, Proof(frozenset(given.addressed_at), lambda *_: "", client=client))

    for number in range(PUT_OFF_MAX):
        with pytest.raises(Refusal, match="the DNS is slow about example"):
            payer(f"+3161234{number:04}")
    dropped = payer("+31612345679")
    assert isinstance(dropped, Drop)
    assert (dropped.reason, "too many mails of this domain" in dropped.why) == (Dropped.SLOW_DNS, True)
    assert isinstance(payer("+31612345679", "198.41.0.10"), Payer), "the customer's own mail server"


def test_nobody_looks_for_a_document_in_a_strangers_mail(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a megabyte of empty lines, within twenty parts, that takes two seconds of a processor."""
    failing(monkeypatch, "cli.fax_mail.with_document", AssertionError("looked for"))
    stranger = genuine().replace(b"Anna@Example.nl", b"eve@example.nl")
    assert "no customer of ours" in submitted(command, monkeypatch, stranger)[1]
    assert "no DKIM signature" in submitted(command, monkeypatch, unsigned())[1]
    assert "looked for" in submitted(command, monkeypatch, genuine())[1]


def test_strangers_have_nobody_asked(command: Command, monkeypatch: pytest.MonkeyPatch, zone: Zone) -> None:
    """Else each of their mails would be questions to whatever name servers they like."""
    zone.broken = {f"k1._domainkey.{DOMAIN}"}
    data = genuine().replace(b"Anna@Example.nl", b"eve@example.nl")
    assert "no customer of ours" in submitted(command, monkeypatch, data, "--client", CLIENT)[1]
    other = genuine().replace(b"To: fax@example.nl", b"To: fax@evil.nl")
    assert "its To does not name" in submitted(command, monkeypatch, other, "--client", CLIENT)[1]
    assert zone.asked == []
