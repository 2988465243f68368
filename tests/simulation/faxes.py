"""Faxes of a simulated city: the switch's line, which dials what it is ordered to; a website that sends the same
document with the same key until it knows what became of it; and a mail server that hands in a mail again until it
does."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP
from typing import TYPE_CHECKING

from charging.call.events import BlackBoxRead
from charging.call.switch_events import ChannelEnded
from charging.engine.ports import FaxOrder
from charging.errors import ChargingError, LinkDown
from charging.fax.desk import FaxDesk, FaxSent, FaxWish, TooLittle
from charging.fax.reply import Words, reply_to, too_little, words
from charging.fax.sending import session_of
from charging.ledger.accounts import Language
from charging.pricing.money import format_euro
from charging.service.refusal import Code, Obstacle, Refused
from tests.fakes.fax_line import MAX_BYTES, Paperless
from tests.fakes.letters import read_letter
from tests.fakes.switch import FakeCall
from tests.simulation.machine import Daemon

if TYPE_CHECKING:
    from tests.simulation.city import City

TARGET = "+31612345678"
PAGE_S = 30
ASKED_AGAIN_S = 5
ASKED_MAX = 40
"""So often does a website send a document again whose outcome it does not know."""


def first_attempt(session: str) -> str:
    """Of those that the same key made."""
    return "-".join(session.split("-")[:2])


@dataclass(slots=True)
class Sent:
    """One fax that a switch was ordered to dial: the truth that the books are held to."""

    session: str
    switch: int
    confirmed: int
    """Pages that the receiving machine will say to have."""
    dialled: bool = True
    """``False``: the order came too late."""
    lost: bool = False
    """Its switch died with it: nothing was noted."""
    over_us: int | None = None
    """Monotonic: when it had ended."""


@dataclass(slots=True)
class Mailed:
    """One fax that was handed in by mail."""

    session: str
    """Of its first attempt."""
    pages: int
    replies: list[EmailMessage] = field(default_factory=list)
    """What came back."""
    is_open: bool = True
    """Nobody has to answer: it was taken, or the mail server has not heard yet what became of it, or has given up."""


def _words(refused: Refused) -> Words:
    """What the reply to a mail says."""
    if not isinstance(refused, TooLittle):
        return words(refused.obstacle or Obstacle.TROUBLE, Language.EN)
    cost, credit = (f"€{format_euro(amount)}" for amount in (refused.needed, refused.available))
    return too_little(Language.EN, pages=f"{refused.pages} pages", cost=cost, credit=credit)


class Line:
    """A daemon's way to send: `charging.engine.ports.FaxLine`."""

    def __init__(self, office: Office, daemon: Daemon, switch: int) -> None:
        self.office = office
        self._daemon = daemon
        self._switch = switch

    @property
    def proven_mono_us(self) -> int | None:
        return self._daemon.line.proven_mono_us

    async def send_fax(self, order: FaxOrder) -> None:
        await self._daemon.line.reach()
        self.office.dial(order, self._switch)
        if self._switch in self.office.loses:
            self.office.lose(self._switch)
        await self._daemon.process.turn()
        if self._daemon.line.forgets():
            raise LinkDown

    async def is_sending(self, session: str) -> bool:
        return session in (await self._daemon.line.look()).legs


class Office:
    """Everything about the city's faxes."""

    def __init__(self, city: City) -> None:
        self._city = city
        self.sent: dict[str, Sent] = {}
        """By session."""
        self.promised: set[str] = set()
        """Sessions that the website was told are on their way."""
        self.forgotten: set[str] = set()
        """Those of which the ledger may have lost something, by their first attempts."""
        self.mailed: list[Mailed] = []
        self.loses: dict[int, float] = {}
        """Switches that die, and all their daemons, as soon as they have a fax to send; for how many seconds."""
        self._asking: set[str] = set()
        """Those that the website asks about now, in the same way."""
        self._keys = 0

    def forget(self, since_us: int) -> None:
        """The ledger has lost what came since."""
        self.forgotten |= self._asking
        for session, sent in self.sent.items():
            if sent.over_us is None or sent.over_us >= since_us:
                self.forgotten.add(first_attempt(session))

    def desk(self, daemon: Daemon, switch: int) -> FaxDesk:
        """What sending needs of a daemon that starts."""
        line = Line(self, daemon, switch)
        return FaxDesk(daemon.registry, line, Paperless(), f"s{switch}", "", 60, at_once=4, max_bytes=MAX_BYTES)

    def dial(self, order: FaxOrder, switch: int) -> None:
        """The switch carries out one order of a session."""
        if order.session in self.sent:
            return
        city = self._city
        pages = (order.send_s - 120) // 180
        sent = Sent(order.session, switch, city.chance.randint(0, pages))
        self.sent[order.session] = sent
        if city.clock.now().wall_us > order.dial_by_us:
            sent.dialled, sent.over_us = False, city.clock.now().mono_us
            city.counts["fax undialled"] += 1
            stamp = city.clock.now().wall_us
            city.switches[switch].records[order.session] = BlackBoxRead(True, undialled=True, ended_us=stamp)
            return
        uid = f"f-{order.session}"
        city.switches[switch].calls[order.session] = FakeCall(order.session, order.send_s, uid, f"{uid}-2")
        city.counts["fax dialled"] += 1
        city.live(self._transmit(sent, uid))

    async def _transmit(self, sent: Sent, uid: str) -> None:
        city = self._city
        await city.wait(PAGE_S * sent.confirmed + city.chance.choice((1, 20)))
        sent.over_us = city.clock.now().mono_us
        switch = city.switches[sent.switch]
        call = switch.calls.pop(sent.session)
        if not call.caller_alive:
            sent.lost = True
            return
        stamp = city.clock.now().wall_us
        record = BlackBoxRead(
            True, "ANSWER", fax_status="SUCCESS", fax_pages=sent.confirmed, ended_us=stamp, switch=f"s{sent.switch}"
        )
        switch.records[sent.session] = record
        switch.deliver(ChannelEnded(sent.session, f"{uid}-2", "PJSIP/x", "callee", 16, stamp))

    async def send(self, account: str, switch: int, pages: int) -> None:
        """A person hands in a document."""
        self._keys += 1
        key = f"fax-{self._keys}"
        self._asking.add(session_of(account, key))
        try:
            await self._send(account, switch, FaxWish(TARGET, bytes(10 * pages), "offer.pdf"), key)
        finally:
            self._asking.discard(session_of(account, key))

    async def lose_next(self, account: str, switch: int, pages: int, away_s: float) -> None:
        """A person hands in a document, and as it is dialled its switch dies with every daemon of it."""
        self.loses[switch] = away_s
        await self.send(account, switch, pages)
        self.loses.pop(switch, None)

    def lose(self, switch: int) -> None:
        """Now."""
        self._city.counts["switch and daemons lost with a fax"] += 1
        self._city.lose_machine(switch, self.loses.pop(switch))

    async def hand_in(self, account: str, switch: int, pages: int) -> None:
        """A person sends a mail with a document; its server may deliver it twice."""
        self._keys += 1
        mail = EmailMessage(policy=SMTP)
        mail["From"] = mail["Return-Path"] = f"{account}@customer.example"
        mail["To"] = f"fax{TARGET}@operator.example"
        mail["Date"] = f"Sun, 29 Nov 2026 10:00:{self._keys % 60:02} +0000"
        mail["Message-ID"] = f"<mail-{self._keys}@customer.example>"
        mail.set_content(f"Mail {self._keys}.")
        mail.add_attachment(bytes(10 * pages), maintype="application", subtype="pdf", filename="offer.pdf")
        mail.set_boundary(f"part-{self._keys}")
        letter = read_letter(mail.as_bytes())
        assert letter is not None
        assert isinstance(letter.document, bytes), letter
        wish = FaxWish(TARGET, letter.document, letter.name, by_mail=True)
        self.mailed.append(mailed := Mailed(session_of(account, letter.key), pages))
        self._asking.add(mailed.session)
        for _ in range(self._city.chance.choice((1, 1, 2))):
            answer = await self._send(account, switch, wish, letter.key)
            if isinstance(answer, Refused) and answer.code is not Code.KEY_REUSED:
                said = _words(answer)
                mailed.replies.append(reply_to(letter, "fax@operator.example", said, self._city.clock.now().wall_us))
                self._city.counts["mail: fax not sent"] += 1
            mailed.is_open = answer is None or isinstance(answer, FaxSent)
        self._asking.discard(mailed.session)
        self._city.counts["fax by mail"] += 1

    async def _send(self, account: str, switch: int, wish: FaxWish, key: str) -> FaxSent | Refused | None:
        """What was answered at last; ``None``: nothing that says whether it is sent."""
        for _ in range(ASKED_MAX):
            answer = await self._ask(account, switch, wish, key)
            if isinstance(answer, FaxSent) or (isinstance(answer, Refused) and answer.code is not Code.UNAVAILABLE):
                if isinstance(answer, FaxSent) and answer.view.ended is None:
                    self.promised.add(answer.view.session)
                self._city.counts["fax taken" if isinstance(answer, FaxSent) else f"fax refused: {answer.code}"] += 1
                return answer
            await self._city.wait(ASKED_AGAIN_S)
        self._city.counts["fax given up"] += 1
        return None

    async def _ask(self, account: str, switch: int, wish: FaxWish, key: str) -> FaxSent | Refused | None:
        """One daemon after the other; ``None``: no answer, so the outcome is unknown."""
        answer: FaxSent | Refused | None = None
        for daemon in self._city.of(switch):
            if daemon.process.is_frozen or daemon.process.dead:
                continue
            task = asyncio.create_task(daemon.service.faxes.send(account, wish, key))
            await asyncio.wait([task])
            if task.cancelled():
                return None
            if isinstance(error := task.exception(), ChargingError):
                return None
            if error is not None:
                raise error
            answer = task.result()
            if not (isinstance(answer, Refused) and answer.code is Code.UNAVAILABLE):
                return answer
        return answer
