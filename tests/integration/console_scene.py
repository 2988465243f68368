"""The console over an engine with a played switch: customers, calls that are over, one that runs, decisions, notices.

The engine's clock stands still until it is moved; the browser's own is real.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from charging.app_api import MailsShown
from charging.ledger.accounts import Account, Language, Number
from charging.ledger.model import CREDIT, Kind, Leg, Transfer
from charging.notify.model import LowCredit, Notice, NoticeKind
from charging.notify.outbox import Outbox
from charging.service.decisions import DecisionKeeper
from charging.service.live import RegistryCalls
from charging.service.operators import Operator, Operators, Role
from charging.service.passwords import hashed
from charging.service.service import Service
from charging.tariff.accepted import Accepted
from charging.tariff.file import load_tariff
from charging.tasks import end
from charging.web.asks import Asks
from charging.web.console.app import console_app
from charging.web.console.openid import OpenId, client_of
from charging.web.console.tariff_file import TariffFile
from charging.web.control import control_app
from charging.web.listen import Front, serve_on
from charging.web.settings import Console
from tests.fakes.fax_line import TakesAll, fax_desk
from tests.fakes.openid import SECRET, Provider
from tests.fakes.rig import EURO, NUMBER, TARGET, Rig, make_rig
from tests.integration.command import REPOSITORY

PASSWORD = "correct horse battery"
HASH = hashed(PASSWORD)
FACTS = {"version": "test", "switch": "lab", "ami": "up", "calls": "1", "ailing": "", "tariff": "2026-11"}
PEOPLE = {"vera": Role.VIEW, "sam": Role.SUPPORT, "ada": Role.ADMIN}


@dataclass
class Scene:
    """What a test or a picture plays in."""

    rig: Rig
    service: Service
    operators: Operators
    keeper: DecisionKeeper
    url: str
    tariff: Path

    async def decided(self) -> None:
        """What was decided is kept, as a daemon does a second later."""
        while self.rig.decided:
            self.keeper.keep(self.rig.decided.pop(0))
        await self.keeper.write()


@asynccontextmanager
async def console_scene(folder: Path, provider: Provider | None = None) -> AsyncIterator[Scene]:
    """Served on a port of its own, over plain HTTP on loopback. With ``provider`` by the name localhost, which is
    another site than the provider's address: cookies are then as strict as between two hosts."""
    tariff = folder / "tariff.yaml"
    shutil.copytree(REPOSITORY / "config" / "decks", folder / "decks", dirs_exist_ok=True)
    shutil.copy(REPOSITORY / "config" / "tariff.yaml", tariff)
    async with make_rig(tariff=load_tariff(tariff)) as rig:
        service = Service(
            store=rig.store,
            tariff=lambda: rig.tariff,
            clock=rig.clock,
            funds_changed=rig.registry.funds_changed,
            live=RegistryCalls(rig.registry),
            fax=fax_desk(rig.registry, TakesAll(rig.switch)),
        )
        operators = Operators(rig.store.documents, rig.clock)
        for name, role in PEOPLE.items():
            assert isinstance(HASH, str)
            assert isinstance(await operators.add(name, role, HASH), Operator)
        daemon = httpx.AsyncClient(
            transport=httpx.ASGITransport(control_app(service, lambda: dict(FACTS), decides_calls=True))
        )
        file = TariffFile(tariff, Accepted(folder / "editions"))
        listener = bound()
        url = f"http://{'127.0.0.1' if provider is None else 'localhost'}:{listener.getsockname()[1]}"
        settings = Console() if provider is None else provider.known_to(url, rig.clock)
        openid = None if provider is None else OpenId(settings, SECRET, rig.clock, client_of(settings))
        mails = MailsShown(rig.store, True)
        app = console_app(Asks(service, daemon), operators, settings, mails, file, openid=openid)
        front = asyncio.create_task(serve_on(app, [listener], Front("console")))
        keeper = DecisionKeeper(rig.store.documents, rig.clock, daemon="lab")
        try:
            yield Scene(rig, service, operators, keeper, url, tariff)
        finally:
            await end((front,))
            await daemon.aclose()
            if openid is not None:
                await openid.close()


def bound() -> socket.socket:
    """A listening socket on a port that the system chooses."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    return listener


async def a_day(scene: Scene) -> None:
    """Anna's and others' day so far: seven calls, some refused, a top-up, a notice; one call runs."""
    rig = scene.rig
    await customer(rig, "anna", "voice_light", "anna@example.nl", NUMBER, TARGET)
    await customer(rig, "bakker", "voice_pro", "info@bakker.example", "+31201234568", "+31612345679")
    await customer(rig, "de-vries", "voice_free", "", "+31201234569", "+31612345670")
    await top_up(rig, "anna", 10)
    await top_up(rig, "bakker", 25)
    for minutes in (7, 3, 12, 1):
        await talk(rig, NUMBER, minutes * 60 - 13)
        await rig.clock.advance(1_100)
    await rig.ring("+31201234569")
    await talk(rig, "+31201234568", 754)
    await rig.clock.advance(600)
    await top_up(rig, "anna", 25)
    await talk(rig, NUMBER, 2_000)
    at_us = rig.clock.now().wall_us
    facts = LowCredit(900_000, 0, True, False)
    notice = Notice("low-credit/1", NoticeKind.LOW_CREDIT, "anna", Language.NL, "anna@example.nl", at_us, facts)
    await Outbox(rig.store.documents).put(notice)
    await rig.talking()
    await rig.clock.advance(83)
    await scene.decided()


async def customer(rig: Rig, account: str, plan: str, email: str, number: str, target: str) -> None:
    assert await rig.store.directory.put_account(
        Account(account, plan, email=email, created_us=rig.clock.now().wall_us)
    )
    assert await rig.store.directory.put_number(Number(number, account, forward_to=target))


async def top_up(rig: Rig, account: str, euro: int) -> None:
    now_us = rig.clock.now().wall_us
    await rig.store.apply(
        Transfer(f"top-up/{account}-{now_us}", account, Kind.TOP_UP, now_us, (Leg(CREDIT, euro * EURO),))
    )
    rig.registry.funds_changed(account)


async def talk(rig: Rig, number: str, seconds: float) -> None:
    """A call that is answered, and over after a while."""
    answer = await rig.ring(number)
    assert answer.session is not None, answer
    assert answer.quota_s is not None
    call = rig.switch.dial(answer.session, answer.quota_s, rig.caller_uid)
    await rig.clock.advance(6)
    rig.switch.answer(call.session)
    await rig.clock.advance(seconds)
    await rig.hang_up(call)
    await rig.clock.advance(1)
