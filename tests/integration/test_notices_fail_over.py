"""What became of each notice is told once through a fail-over of Redis, and nothing that is not so."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from email.message import EmailMessage
from pathlib import Path

import pytest

from charging.errors import LedgerUnavailable
from charging.ledger.accounts import Account
from charging.ledger.port import Store
from charging.notify.outbox import CLAIM_S, Outbox
from charging.notify.render import Operator, Templates
from charging.notify.smtp import Fate, Smtp, Verdict
from charging.notify.worker import Worker
from charging.service.events import Event, Events, Place
from charging.service.refusal import Refused
from tests.fakes.clock import START_WALL_US, FakeClock
from tests.integration.doomed_post import Nobody
from tests.integration.redis_load import Opener, Webhook, kill_and_promote
from tests.integration.redis_replicated import Sentinels
from tests.unit.notify.factories import make_mail, make_notice

pytestmark = pytest.mark.timeout(300)

NAMES = [f"a{number:02d}" for number in range(60)]
REFUSED = frozenset(NAMES[::5])
"""Their mail server has no such user."""
DEADLINE_S = 90


class Server(Smtp):
    """Takes mails, and loses the ledger's master as it has taken some of them."""

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()
        self.at_twenty = asyncio.Event()

    async def open(self) -> None:
        return

    async def send(self, message: EmailMessage) -> Verdict:
        name = str(message["To"]).partition("@")[0]
        if name in REFUSED:
            return Verdict(Fate.NEVER, "550 no such user")
        self.taken[name] += 1
        if self.taken.total() == 20:
            self.at_twenty.set()
        return Verdict(Fate.SENT)

    async def close(self) -> None:
        return


async def insist_on_notices(store: Store) -> None:
    outbox = Outbox(store.documents)
    for name in NAMES:
        while True:
            try:
                if await store.directory.account(name) is None:
                    await store.directory.put_account(Account(name, "pro"))
                await outbox.put(make_notice(account=name, address=f"{name}@example.nl"))
                break
            except LedgerUnavailable:
                await asyncio.sleep(0.02)


async def mail(store: Store, server: Server) -> None:
    """Round by round, past the claims that were left behind, until nothing is left to send."""
    words, turns = Templates(Operator("Example", "https://www.voice.example/"), None), 0
    while not all(server.taken[one] or one in REFUSED for one in NAMES) or await due(store, turns):
        clock = FakeClock(wall_us=START_WALL_US + turns * (CLAIM_S + 60) * 1_000_000)
        try:
            await Worker(Outbox(store.documents), words, make_mail(), lambda: server, clock, Nobody()).turn()
            turns += 1
        except LedgerUnavailable:
            await asyncio.sleep(0.05)


async def due(store: Store, turns: int) -> bool:
    later_us = START_WALL_US + (turns + 2) * (CLAIM_S + 60) * 1_000_000
    try:
        return bool(await store.documents.due_documents("notices", later_us, 1))
    except LedgerUnavailable:
        return True


async def told(store: Store) -> Sequence[Event]:
    found: list[Event] = []
    place, before = Place(), Place(-1)
    while place != before:
        before, answer = place, await Events(store).of_all(place, 50)
        assert not isinstance(answer, Refused)
        page, place = answer
        found += page
    return found


async def test_each_notices_fate_is_told_once_through_a_fail_over(tmp_path: Path, opened: Opener) -> None:
    with Sentinels(tmp_path) as sentinels:
        store = await opened(sentinels.url + "&min_replicas_ack=1")
        webhook = Webhook(store, ["notice.sent", "notice.failed"], lambda data: str(data["account"]))
        await webhook.begin()
        await insist_on_notices(store)
        server = Server()
        async with asyncio.timeout(DEADLINE_S):
            mailing = asyncio.create_task(mail(store, server))
            await server.at_twenty.wait()
            master, replica = sentinels.master_and_replica()
            await kill_and_promote(master, replica)
            await asyncio.to_thread(master.start)  # comes back as the replica; until then nothing is acknowledged
            await mailing
        await webhook.has(set(NAMES))
        await webhook.end()
        found = await told(store)
        for what, whose in (("notice.sent", set(NAMES) - REFUSED), ("notice.failed", REFUSED)):
            accounts = [one.account for one in found if one.what.value == what]
            assert sorted(accounts) == sorted(whose), what
        assert set(server.taken) == set(NAMES) - REFUSED, "nothing is told as sent that was not"
        assert server.taken.total() <= len(server.taken) + 1, "at most the one whose mark was lost goes twice"
        queued = [one.account for one in found if one.what.value not in ("notice.sent", "notice.failed")]
        assert sorted(queued) == NAMES
        assert sorted(webhook.told.values()) == NAMES, "a program is told each under one id"
