"""From what the daemon observes to its outbox."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from charging.app_notices import MISSED_MAX, RETRY_S, Notices
from charging.clock import Clock
from charging.errors import LedgerUnavailable
from charging.ledger.memory import MemoryStore
from charging.ledger.model import CREDIT, Kind, Leg, Transfer
from charging.notify.outbox import Outbox
from charging.session.desk import MissedCall
from charging.tasks import end
from tests.fakes.clock import FakeClock, settle
from tests.fakes.rig import EURO, NUMBER, TARGET
from tests.integration.smtp_server import free_port
from tests.unit.notify.factories import ANNA, make_mail, the_tariff


class Desk:
    """Notices over books in memory; the mail server is not there."""

    def __init__(self, clock: Clock) -> None:
        self.store = MemoryStore(clock)
        mail = make_mail(host="127.0.0.1", port=free_port())
        self.notices = Notices(mail, None, self.store, the_tariff, clock)
        self.heard: list[str] = []

    async def ids(self) -> list[str]:
        return [entry.notice.id for entry in await Outbox(self.store).entries()]

    async def move(self, kind: Kind, micro: int) -> None:
        await self.store.apply(Transfer(f"{kind}/{micro}", "anna", kind, 1, (Leg(CREDIT, micro),)))


@pytest.fixture
async def desk(clock: FakeClock) -> AsyncIterator[Desk]:
    made = Desk(clock)
    await made.store.put_account(ANNA)
    tasks = [asyncio.create_task(duty, name=name) for name, duty in made.notices.duties().items()]
    await settle()
    yield made
    await end(tasks)


def missed(number: int = 1) -> MissedCall:
    return MissedCall(ANNA, NUMBER, TARGET, f"call-{number}", 1)


async def test_r15_a_charge_is_noticed_and_observed_as_before(desk: Desk) -> None:
    await desk.move(Kind.TOP_UP, 10 * EURO)
    await desk.move(Kind.SETTLE, -9 * EURO)
    observe = desk.notices.watching(lambda what, _session, _fields: desk.heard.append(what))
    observe("call_decided", None, {})
    await settle()
    assert await desk.ids() == []
    observe("left_message_charged", None, {"account": "anna"})
    await settle()
    assert await desk.ids() == [f"low-credit/top_up/{10 * EURO}"]
    assert desk.heard == ["call_decided", "left_message_charged"]


async def test_r13_a_missed_call_is_put_into_the_outbox(desk: Desk) -> None:
    desk.notices.missed(missed())
    await settle()
    assert await desk.ids() == ["missed-call/call-1"]


async def test_r13_a_missed_call_waits_for_a_store_that_fails(
    desk: Desk, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(_account: str) -> object:
        raise LedgerUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(desk.store, "balances", failing)
        desk.notices.missed(missed())
        await settle()
        assert await desk.ids() == []
    await clock.advance(RETRY_S)
    assert await desk.ids() == ["missed-call/call-1"]


async def test_r13_more_missed_calls_than_can_wait_hold_nobody_up(clock: FakeClock) -> None:
    notices = Desk(clock).notices
    for number in range(MISSED_MAX + 1):
        notices.missed(missed(number))
