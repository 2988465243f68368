"""What a customer's or a stranger's own slow servers hold of fax by mail, whose few places all customers share."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from charging.cli.client import Client
from charging.cli.failure import Refusal
from charging.cli.fax_mail import Reply, _reply, _Unreached
from charging.errors import ChargingError
from charging.fax import dns_lookup, slow_domains
from charging.fax.dns_lookup import Dns, Unanswered
from charging.fax.mailed import REPLIES_MAX, Answer
from charging.fax.reply import Words
from charging.fax.slow_domains import PAUSE_S
from charging.lab.ports import free_port
from charging.notify.settings import Mail
from charging.notify.smtp import MailServerTrouble
from tests.fakes.rig import Rig
from tests.integration.dns_server import Zone, name_server
from tests.integration.smtp_server import Mailbox, mail_server
from tests.integration.test_fax_mail import daemon, desk, line, rig
from tests.unit.fax.test_fax_mail import letter, mail
from tests.unit.notify.factories import make_mail

__all__ = ["daemon", "desk", "line", "rig"]  # fixtures

SLOW = "anna@slow.example"
POINTER = "4.0.41.198.in-addr.arpa"


def reply_to(address: str, nth: int = 0) -> Reply:
    read = replace(letter(mail()), sender=address)
    return Reply(Words("Not sent", "It was not sent.", ""), read, "fax@localhost", note(nth), "anna")


def note(nth: int = 0) -> str:
    return f"mail-{nth:032x}"


def may_be_answered(daemon: Client, of: str) -> str:
    return str(daemon.get(f"/mailed-faxes/{of}", {"account": "anna"})["answer"])


def by(port: int) -> Mail:
    return make_mail(host="127.0.0.1", port=port, timeout_s="20")


def answer(daemon: Client, reply: Reply, port: int) -> list[str]:
    told: list[str] = []
    _reply(daemon, reply, "fax@op.nl", by(port), told.append)
    return told


def test_replies_to_a_domain_that_the_mail_server_waits_for_are_made_one_at_a_time_and_with_pauses(
    daemon: Client, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each held a place for half a minute, and came again for five days."""
    monkeypatch.setattr(slow_domains, "SLOW_S", 0.000_1)
    mailbox = Mailbox(at_rcpt={SLOW: "drop"})
    with mail_server(mailbox) as port:
        for nth in range(REPLIES_MAX):
            with pytest.raises(_Unreached):
                answer(daemon, reply_to(SLOW), port)
            with pytest.raises(Refusal, match=r"the DNS is slow about replies to slow\.example"):
                answer(daemon, reply_to("ben@SLOW.example", 20 + nth), port)
            answer(daemon, reply_to("carl@example.nl", 30 + nth), port)
            asyncio.run(rig.clock.advance(PAUSE_S))
    assert mailbox.recipients == ["carl@example.nl"] * REPLIES_MAX
    assert may_be_answered(daemon, note()) == Answer.NONE, "it comes no more"
    assert may_be_answered(daemon, note(20)) == Answer.REPLY


class TakesItsTime(Mailbox):
    """As a server that looks into each mail before it takes it."""

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        await asyncio.sleep(0.5)
        return await super().handle_DATA(server, session, envelope)


def test_what_a_mail_server_takes_for_each_mail_counts_against_no_domain(
    daemon: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slow_domains, "SLOW_S", 0.4)
    mailbox = TakesItsTime()
    with mail_server(mailbox) as port:
        for nth in range(2):
            _reply(daemon, reply_to("anna@example.nl", nth), "fax@op.nl", by(port), print)
    assert mailbox.recipients == ["anna@example.nl"] * 2
    assert daemon.send("POST", "/name-server-waits", {"domain": "example.nl"})["may_begin"]


def test_who_is_proven_slowly_has_his_reply(daemon: Client) -> None:
    daemon.send("POST", "/name-server-waits/ended", {"domain": "slow.example", "took_s": slow_domains.SLOW_S})
    assert not daemon.send("POST", "/name-server-waits", {"domain": "slow.example"})["may_begin"]
    mailbox = Mailbox()
    with mail_server(mailbox) as port:
        answer(daemon, reply_to(SLOW), port)
    assert mailbox.recipients == [SLOW]


class RefusesLate(Mailbox):
    """As a server does whose look-ups fail slowly."""

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        await asyncio.sleep(0.5)
        return await super().handle_RCPT(server, session, envelope, address, options)


@pytest.mark.parametrize(("slow_s", "is_counted"), [(0.4, True), (60, False)])
def test_reply_that_a_mail_server_puts_off_late_counts_as_one_that_it_waits_over(
    daemon: Client, rig: Rig, monkeypatch: pytest.MonkeyPatch, slow_s: float, is_counted: bool
) -> None:
    """It held a place for half a minute, too; one that it puts off at once is tried again for days."""
    monkeypatch.setattr(slow_domains, "SLOW_S", slow_s)
    with mail_server(RefusesLate(at_rcpt={SLOW: "450 4.1.2 domain not found"})) as port:
        for _ in range(REPLIES_MAX):
            with pytest.raises(ChargingError, match="domain not found"):
                answer(daemon, reply_to(SLOW), port)
            assert (
                daemon.send("POST", "/name-server-waits", {"domain": "replies to slow.example"})["may_begin"]
                != is_counted
            )
            asyncio.run(rig.clock.advance(PAUSE_S))
    assert may_be_answered(daemon, note()) == (Answer.NONE if is_counted else Answer.REPLY)


def test_reply_that_a_mail_server_does_not_take_since_it_is_gone_is_the_servers_and_does_not_count(
    daemon: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slow_domains, "SLOW_S", 0.01)
    reply = reply_to(SLOW)
    for _ in range(REPLIES_MAX):
        with pytest.raises(MailServerTrouble):
            answer(daemon, reply, free_port())
    assert may_be_answered(daemon, note()) == Answer.REPLY


def test_name_server_of_the_address_that_brought_a_mail_is_asked_once_and_counts_against_no_domain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A stranger chooses it, and the From's domain would be waited over one mail at a time."""
    monkeypatch.setattr(dns_lookup, "PTR_SECONDS_MAX", 0.3)
    zone = Zone({("example.nl", "TXT"): ["v=spf1 ptr ptr:isp.nl -all"]}, silent={POINTER})
    with name_server(zone) as port:
        dns = Dns(("127.0.0.1", port))
        dns("example.nl", "TXT")
        for _ in range(5):
            with pytest.raises(Unanswered):
                dns(POINTER, "PTR")
        assert dns.waited_s < 0.3
        assert zone.asked.count((POINTER, "PTR")) <= 2, "the library asks again by itself"


def test_what_a_domains_own_name_server_takes_counts_against_it() -> None:
    zone = Zone(silent={"example.nl"})
    with name_server(zone) as port:
        dns = Dns(("127.0.0.1", port), seconds=0.4)
        with pytest.raises(Unanswered):
            dns("example.nl", "TXT")
    assert dns.waited_s >= 0.3
