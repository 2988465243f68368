"""From a charge to the mail in the box, with the mail server away at first: money and notices go on without it."""

from __future__ import annotations

import asyncio

from charging.lab.ports import free_port
from charging.ledger.accounts import Number
from charging.ledger.memory import MemoryDocuments, MemoryStore
from charging.ledger.model import CREDIT, Kind, Leg, Outcome, Transfer
from charging.notify.notifier import Notifier
from charging.notify.outbox import Outbox
from charging.notify.render import Operator, Templates
from charging.notify.smtp import Smtp
from charging.notify.worker import Worker
from tests.fakes.clock import FakeClock, settle
from tests.fakes.rig import EURO, NUMBER, TARGET
from tests.integration.smtp_server import Mailbox, mail_server
from tests.unit.notify.factories import ANNA, make_mail, the_tariff

TURNS_MAX = 2_000


class Watch:
    """How often the mail server could not be used."""

    downs = 0

    def notice(self, kind: str, result: str) -> None:
        """Not asked for here."""

    def mail_server(self, up: bool) -> None:
        self.downs += not up


async def test_r15_a_mail_server_that_is_away_delays_the_mail_and_nothing_else(clock: FakeClock) -> None:
    store, outbox, mailbox = MemoryStore(clock), Outbox(MemoryDocuments()), Mailbox()
    mail = make_mail(host="127.0.0.1", port=free_port(), timeout_s="10")
    words = Templates(Operator("Example", "https://www.voice.example/"))
    watch = Watch()
    worker = Worker(outbox, words, mail, lambda: Smtp(mail), clock, watch)
    notifier = Notifier(store, MemoryDocuments(), outbox, the_tariff, clock, lambda _: None, worker.wake)
    tasks = [asyncio.create_task(one.run()) for one in (notifier, worker)]
    await store.directory.put_account(ANNA)
    await store.directory.put_number(Number(NUMBER, "anna", TARGET))
    try:
        for number, micro in enumerate((10 * EURO, -5 * EURO, -4 * EURO, -EURO // 2)):
            kind = Kind.TOP_UP if micro > 0 else Kind.SETTLE
            transfer = Transfer(f"t{number}", "anna", kind, clock.now().wall_us, (Leg(CREDIT, micro),))
            assert (await store.apply(transfer)).outcome is Outcome.CREATED
            notifier.touched("anna")
            await settle()
        assert (await store.balances("anna"))[CREDIT].available == EURO // 2
        await _until(clock, lambda: watch.downs >= 2)
        with mail_server(mailbox, port=mail.port):
            await _until(clock, lambda: bool(mailbox.got))
            await clock.advance(3600)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    (got,) = mailbox.got
    assert mailbox.recipients == ["anna@example.nl"]
    assert "bijna op: nog" in str(got["Subject"])


async def _until(clock: FakeClock, condition: object) -> None:
    """Let time pass, and real sockets their turn, until the condition holds."""
    assert callable(condition)
    for _ in range(TURNS_MAX):
        if condition():
            return
        await clock.advance(5)
        await asyncio.sleep(0.005)  # sockets answer in real time
    raise AssertionError("it never came")
