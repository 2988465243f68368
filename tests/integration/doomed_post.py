"""Notices are mailed, in a process that may be killed in it."""

from __future__ import annotations

import asyncio
import json
from email.message import EmailMessage
from pathlib import Path

from charging.ledger.accounts import Account
from charging.ledger.port import Store
from charging.notify.outbox import CLAIM_S, Outbox
from charging.notify.render import Operator, Templates
from charging.notify.smtp import Fate, Smtp, Verdict
from charging.notify.worker import Worker
from tests.fakes.clock import START_WALL_US, FakeClock
from tests.fakes.killing_store import DOCUMENT_WRITES, Reaper, When
from tests.integration.killing_ground import watched
from tests.unit.notify.factories import make_mail, make_notice

REFUSED = "bert@example.nl"
HOURS = 6
"""Between two lives: longer than any claim."""
assert HOURS * 3600 > CLAIM_S


class Server(Smtp):
    """Writes what it has taken into a file, which outlives the sender."""

    def __init__(self, world: Path) -> None:
        self._world = world

    async def open(self) -> None:
        return

    async def send(self, message: EmailMessage) -> Verdict:
        to = str(message["To"])
        if to == REFUSED:
            return Verdict(Fate.NEVER, "550 no such user")
        with self._world.open("a") as file:
            file.write(f"{to}\n")
        return Verdict(Fate.SENT)

    async def close(self) -> None:
        return


class Nobody:
    """Hears what the worker tells its metrics."""

    def notice(self, kind: str, result: str) -> None:
        return

    def mail_server(self, up: bool) -> None:
        return


async def post(store: Store, world: Path, life: int = 0) -> None:
    """Take two notices in, unless they are in already, and mail all that is due."""
    for name in ("anna", "bert"):
        if await store.directory.account(name) is None:
            await store.directory.put_account(Account(name, "pro"))
    outbox, clock = Outbox(store.documents), FakeClock(wall_us=START_WALL_US + life * HOURS * 3_600_000_000)
    for name in ("anna", "bert"):
        await outbox.put(make_notice(account=name, address=f"{name}@example.nl"))
    words = Templates(Operator("Example", "https://www.voice.example/"), None)
    await Worker(outbox, words, make_mail(), lambda: Server(world), clock, Nobody()).turn()


def doomed_post(url: str, at_write: int, when: When, world: Path, told: Path) -> None:
    """One life."""
    reaper = Reaper(at_write, when)

    async def run() -> None:
        async with watched(url, reaper, DOCUMENT_WRITES) as killing:
            await killing.as_store.open()
            await post(killing.as_store, world)
            await killing.as_store.close()

    asyncio.run(run())
    told.write_text(json.dumps(reaper.writes))
