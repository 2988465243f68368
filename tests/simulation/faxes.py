"""Faxes of a simulated city: the switch's line, which dials what it is ordered to, and a website that sends the same
document with the same key until it knows what became of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from charging.call.events import BlackBoxRead
from charging.call.switch_events import ChannelEnded
from charging.engine.ports import FaxOrder
from charging.errors import ChargingError, LinkDown
from charging.fax.desk import FaxDesk, FaxSent, FaxWish
from charging.fax.sending import session_of
from charging.service.refusal import Code, Refused
from tests.fakes.fax_line import MAX_BYTES, Paperless
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
        await self._daemon.process.turn()
        if self._daemon.line.forgets():
            raise LinkDown


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

    async def _send(self, account: str, switch: int, wish: FaxWish, key: str) -> None:
        for _ in range(ASKED_MAX):
            answer = await self._ask(account, switch, wish, key)
            if isinstance(answer, FaxSent) or (isinstance(answer, Refused) and answer.code is not Code.UNAVAILABLE):
                if isinstance(answer, FaxSent) and answer.view.ended is None:
                    self.promised.add(answer.view.session)
                self._city.counts["fax taken" if isinstance(answer, FaxSent) else f"fax refused: {answer.code}"] += 1
                return
            await self._city.wait(ASKED_AGAIN_S)
        self._city.counts["fax given up"] += 1

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
