"""From what the daemon observes to its outbox."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from charging.app_notices import RETRY_S, TOGETHER_MAX, Notices
from charging.call.decide import Cause, Decision
from charging.call.model import Proof, Short
from charging.call.told import CallSettled, TickPosted
from charging.clock import Clock
from charging.engine.desk import MissedCall
from charging.engine.told import CallDecided, LeftMessageCharged, Told
from charging.errors import LedgerUnavailable
from charging.lab.ports import free_port
from charging.ledger.accounts import Account
from charging.ledger.memory import MemoryStore
from charging.ledger.model import CREDIT, Kind, Leg, Transfer
from charging.notify import model
from charging.notify.missed import Call
from charging.notify.missed_desk import COLLECTION, MissedDesk
from charging.notify.model import MissedCalls
from charging.notify.notifier import GATHER_S
from charging.notify.outbox import Outbox
from charging.records import replace
from charging.tasks import end
from tests.fakes.clock import FakeClock, settle
from tests.fakes.rig import EURO, NUMBER, TARGET
from tests.unit.call.test_table import running
from tests.unit.notify.factories import ANNA, make_mail, the_tariff


class Desk:
    """Notices over books in memory; the mail server is not there."""

    def __init__(self, clock: Clock, *, alone: bool = False) -> None:
        self.store = MemoryStore(clock)
        mail = make_mail(host="127.0.0.1", port=free_port())
        self.notices = Notices(mail, None, self.store, the_tariff, clock, alone=alone)
        self.heard: list[Told] = []

    async def ids(self) -> list[str]:
        return [entry.notice.id for entry in await Outbox(self.store.documents).entries()]

    async def recorded(self) -> bool:
        """Whether the store has a missed call of anna's."""
        return await self.store.documents.get_document(COLLECTION, "anna") is not None

    def break_store(self, patched: pytest.MonkeyPatch, fault: Exception | None = None) -> None:
        """Let every look at what is recorded fail."""

        async def failing(*_given: object) -> object:
            raise fault or LedgerUnavailable

        patched.setattr(self.store.documents, "get_document", failing)

    def note_looks(self, patched: pytest.MonkeyPatch) -> list[str]:
        """The accounts that are looked at from now on."""
        accounts: list[str] = []
        read = self.store.directory.account

        async def noting(account: str) -> object:
            accounts.append(account)
            return await read(account)

        patched.setattr(self.store.directory, "account", noting)
        return accounts

    async def move(self, kind: Kind, micro: int) -> None:
        await self.store.apply(Transfer(f"{kind}/{micro}", "anna", kind, 1, (Leg(CREDIT, micro),)))


@pytest.fixture
async def desk(clock: FakeClock) -> AsyncIterator[Desk]:
    async with opened(Desk(clock)) as made:
        yield made


@asynccontextmanager
async def opened(made: Desk) -> AsyncIterator[Desk]:
    await made.store.directory.put_account(ANNA)
    duties = {"notices": made.notices.look_for_ever(), **made.notices.duties()}
    tasks = [asyncio.create_task(duty, name=name) for name, duty in duties.items()]
    await settle()
    yield made
    await end(tasks)


def missed(number: int = 1, cause: Cause = Cause.NO_CREDIT) -> MissedCall:
    return MissedCall(ANNA, NUMBER, TARGET, f"call-{number}", 1, cause)


async def test_r15_a_charge_is_noticed_and_observed_as_before(desk: Desk, clock: FakeClock) -> None:
    await desk.move(Kind.TOP_UP, 10 * EURO)
    await desk.move(Kind.SETTLE, -9 * EURO)
    observe = desk.notices.watching(lambda what, _session=None: desk.heard.append(what))
    told: list[Told] = [CallDecided(Decision.REJECT, "blocked"), LeftMessageCharged("anna", 1, 1)]
    observe(told[0])
    await clock.advance(GATHER_S)
    assert await desk.ids() == []
    observe(told[1])
    await clock.advance(GATHER_S)
    assert await desk.ids() == [f"low-credit/top_up/{10 * EURO}"]
    assert desk.heard == told


@pytest.mark.parametrize(("alone", "looks"), [(True, 1), (False, 2)])
async def test_r15_a_tick_is_looked_at_if_it_matters_or_if_other_daemons_may_charge(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch, alone: bool, looks: int
) -> None:
    """What the others take of an account this daemon does not hear of."""
    async with opened(Desk(clock, alone=alone)) as desk:
        await desk.move(Kind.TOP_UP, 10 * EURO)
        accounts = desk.note_looks(monkeypatch)
        observe = desk.notices.watching(lambda what, _session=None: desk.heard.append(what))
        for _ in range(2):
            observe(TickPosted({CREDIT: 1000}, 60, Short.NO), running(account="anna"))
            await clock.advance(GATHER_S)
        assert accounts == ["anna"] * looks


@pytest.mark.parametrize("alone", [True, False])
async def test_a_call_that_cost_nothing_is_no_reason_for_a_look(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch, alone: bool
) -> None:
    async with opened(Desk(clock, alone=alone)) as desk:
        accounts = desk.note_looks(monkeypatch)
        observe = desk.notices.watching(lambda what, _session=None: desk.heard.append(what))
        for settled, looked_at in (({}, []), ({CREDIT: 1}, ["anna"])):
            observe(CallSettled(0, Proof.NEVER_ANSWERED, settled), running(account="anna"))
            await clock.advance(GATHER_S)
            assert accounts == looked_at


async def test_r13_a_missed_call_is_put_into_the_outbox(desk: Desk) -> None:
    await desk.notices.missed(missed(cause=Cause.CREDIT_IN_USE))
    await settle()
    (entry,) = await Outbox(desk.store.documents).entries()
    assert entry.notice.id == "missed-call/call-1"
    assert isinstance(entry.notice.facts, model.MissedCall)
    assert entry.notice.facts.causes == (Cause.CREDIT_IN_USE,)


async def test_r13_a_missed_call_is_in_the_store_before_the_caller_is_turned_away_and_no_later(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charging.app_notices.RECORD_S", 3600)
    async with asyncio.timeout(60):
        await desk.notices.missed(missed())
    assert await desk.recorded()


async def test_r13_calls_that_are_missed_together_are_stored_together(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crowd's last call is not stored seconds after its first: a daemon that is killed meanwhile forgets none."""
    stored, record = list[int](), MissedDesk.record

    async def noting(self: MissedDesk, account: Account, *calls: Call) -> None:
        stored.append(len(calls))
        await record(self, account, *calls)

    monkeypatch.setattr(MissedDesk, "record", noting)
    other = replace(missed(99), account=replace(ANNA, id="bert"))
    await asyncio.gather(*(desk.notices.missed(one) for one in (missed(0), other, *map(missed, range(1, 30)))))
    assert (stored[:2], sum(stored)) == ([TOGETHER_MAX - 1, 1], 31)


async def test_r13_a_missed_call_waits_for_a_store_that_fails_and_its_caller_does_not(
    desk: Desk, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charging.app_notices.RECORD_S", 0.001)
    with monkeypatch.context() as patched:
        desk.break_store(patched)
        await desk.notices.missed(missed(1))
        await desk.notices.missed(missed(2))
        await settle()
    assert not await desk.recorded()
    await clock.advance(RETRY_S)
    assert await desk.ids() == ["missed-call/call-1"], "they are told together"
    (entry,) = await Outbox(desk.store.documents).entries()
    assert isinstance(entry.notice.facts, MissedCalls)
    assert entry.notice.facts.calls == 2


async def test_r13_more_missed_calls_than_can_wait_hold_nobody_up(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charging.app_notices.MISSED_MAX", 2)
    monkeypatch.setattr("charging.app_notices.RECORD_S", 0.001)
    desk = Desk(clock)
    await desk.store.directory.put_account(ANNA)
    with capture_logs() as logs:
        for number in range(3):
            await desk.notices.missed(missed(number))
    assert [(one["event"], one["account"]) for one in logs] == [("missed_call_not_told", "anna")]


async def test_r13_what_the_store_has_not_taken_yet_it_is_given_when_the_daemon_stops(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charging.app_notices.RECORD_S", 0.001)
    desk = Desk(clock)
    await desk.store.directory.put_account(ANNA)
    await desk.notices.missed(missed())
    assert not await desk.recorded()
    with monkeypatch.context() as patched, capture_logs() as logs:
        desk.break_store(patched)
        await desk.notices.drain()
    assert [one["event"] for one in logs] == ["missed_call_not_told"]
    await desk.notices.drain()
    assert await desk.recorded()


async def test_a_fault_of_ours_about_one_missed_call_stops_no_other(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched, capture_logs() as logs:
        desk.break_store(patched, ValueError("ours"))
        await desk.notices.missed(missed(1))
    assert [one["event"] for one in logs] == ["missed_call_not_told"]
    await desk.notices.missed(missed(2))
    await settle()
    assert await desk.ids() == ["missed-call/call-2"]
