"""The mail of a simulated city: a server that can be down, put off what it is given, and take what it does not
acknowledge; and what arrived at the subscribers, the truth that the rules of notices (R13, R15, R16) are held to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.message import EmailMessage
from functools import cache
from typing import TYPE_CHECKING

from charging.app_notices import Notices
from charging.notify import render
from charging.notify.settings import Mail
from charging.notify.smtp import Fate, MailServerTrouble, Verdict
from tests.simulation.machine import Daemon

if TYPE_CHECKING:
    from tests.simulation.city import City

DOMAIN = "customer.example"
KINDS = {
    "missed call": re.compile(r"Missed call from"),
    "missed calls": re.compile(r"You missed [0-9]+ calls"),
    "low credit": re.compile(r"Your credit (has run out|is running low)"),
    "low free minutes": re.compile(r"Your free minutes (have run out|are running out)"),
    "credit expires": re.compile(r"Your credit of .* expires"),
    "subscription ends": re.compile(r"Your subscription is ending, and with it your credit"),
    "gift ends": re.compile(r".*: to be used"),
}
"""What a mail is about, by its subject."""


@cache
def templates(operator: render.Operator, _own: None) -> render.Templates:
    """One for all daemons: to compile them takes longer than to send a mail."""
    return render.Templates(operator)


@dataclass(frozen=True, slots=True)
class Arrived:
    """One mail in a subscriber's mailbox."""

    id: str
    """Its Message-ID."""
    account: str
    kind: str
    """One of KINDS."""
    subject: str
    text: str
    mono_us: int
    due_us: int
    """Its Date, wall clock: when it became due."""
    switch: int
    """Whose daemon sent it."""


class Post:
    """Everything about the city's mail."""

    def __init__(self, city: City) -> None:
        self._city = city
        self._daemons: dict[str, tuple[Daemon, int]] = {}
        self.is_down = False
        self.puts_off = 0.0
        """The share of mails that are to be sent again later."""
        self.forgets = 0.0
        """The share of mails that are taken, and whose acknowledgement is lost."""
        self.arrived: list[Arrived] = []
        self._unacknowledged: set[str] = set()
        """Message-IDs of mails whose sender has not heard that they were taken."""

    def notices(self, daemon: Daemon, switch: int) -> Notices:
        """What telling subscribers needs of a daemon that starts."""
        self._daemons[daemon.name] = daemon, switch
        mail = Mail(
            host=daemon.name,  # by which the carrier knows who sends
            sender_address="service@operator.example",
            sender_name="Operator",
            top_up_url="https://operator.example/credit",
        )
        store, clock = daemon.ledger.as_store, daemon.clock
        return Notices(mail, None, store, lambda: self._city.tariff, clock, alone=self._is_alone)

    @property
    def _is_alone(self) -> bool:
        return len(self._city.daemons) == 1

    def carrier(self, mail: Mail, _password: object = None) -> Carrier:
        """In the place of `charging.notify.smtp.Smtp`."""
        return Carrier(self, *self._daemons[mail.host])

    def is_doubtful(self, mail: Arrived) -> bool:
        """Whether its sender has to send it once more."""
        return mail.id in self._unacknowledged

    def unacknowledged(self, message: EmailMessage) -> None:
        """Nobody has heard that it was taken."""
        self._unacknowledged.add(message["Message-ID"])

    def take(self, message: EmailMessage, switch: int) -> None:
        """The server has it."""
        city, now = self._city, self._city.clock.now()
        body = message.get_body(("plain",))
        assert body is not None
        text = " ".join(body.get_content().split())
        due_us = round(message["Date"].datetime.timestamp()) * 1_000_000
        account = str(message["To"]).partition("@")[0]
        subject = " ".join(str(message["Subject"]).split())
        kind = next((name for name, pattern in KINDS.items() if pattern.match(subject)), "")
        assert kind, (subject, "is about nothing that is known")
        self.arrived.append(Arrived(message["Message-ID"], account, kind, subject, text, now.mono_us, due_us, switch))
        city.counts[f"mail: {kind}"] += 1


class Carrier:
    """A daemon's connection to the mail server, for one batch."""

    def __init__(self, post: Post, daemon: Daemon, switch: int) -> None:
        self._post = post
        self._daemon = daemon
        self._switch = switch

    async def open(self) -> None:
        await self._daemon.process.turn()
        if self._post.is_down:
            self._daemon.counts["mail server away"] += 1
            raise MailServerTrouble("it is down")

    async def send(self, message: EmailMessage) -> Verdict:
        await self._daemon.process.turn()
        if self._post.is_down:
            raise MailServerTrouble("it went down")
        chance = self._daemon.chance
        if self._post.puts_off and chance.random() < self._post.puts_off:
            self._daemon.counts["mail put off"] += 1
            return Verdict(Fate.LATER, "451 later")
        self._post.take(message, self._switch)
        await self._daemon.process.turn()
        if self._post.forgets and chance.random() < self._post.forgets:
            self._daemon.counts["mail acknowledgement lost"] += 1
            self._post.unacknowledged(message)
            raise MailServerTrouble("lost in mid-mail")
        return Verdict(Fate.SENT, "250 thanks")

    async def reopen(self) -> None:
        await self.open()

    async def close(self) -> None:
        return
