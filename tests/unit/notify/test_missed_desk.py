"""Missed calls between the store and the outbox: on the real notifier and the store in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from charging.call.decide import Cause
from charging.errors import LedgerUnavailable
from charging.ledger.accounts import Language, Number, Status
from charging.ledger.documents import Document
from charging.ledger.memory import MemoryDocuments, MemoryStore
from charging.ledger.model import CREDIT, Kind, Leg, Outcome, Transfer
from charging.notify.missed import QUIET_S, Call
from charging.notify.missed_desk import COLLECTION, POLL_S, TRIES_MAX, MissedDesk
from charging.notify.model import MissedCall, MissedCalls, MissedFrom, Notice
from charging.notify.notifier import Notifier
from charging.notify.outbox import Outbox
from charging.tasks import end
from tests.fakes.clock import FakeClock, settle
from tests.fakes.rig import EURO, NUMBER, TARGET
from tests.unit.notify.factories import ANNA, the_tariff

PAUSE_S = 900


class Killed(BaseException):
    """As kill -9."""


class House:
    """Anna's books, and the desk that takes her missed calls."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.store = MemoryStore(clock)
        self.documents = MemoryDocuments()
        self.outbox = Outbox(self.documents)
        self.woken = 0
        self.desk = self.another()
        self._calls = 0

    def another(self) -> MissedDesk:
        """One more daemon, or the same one after a restart."""
        notifier = Notifier(self.store, self.documents, self.outbox, the_tariff, self.clock, lambda _: None, self._wake)
        return MissedDesk(notifier, self.store, self.documents, the_tariff, self.clock, PAUSE_S)

    def _wake(self) -> None:
        self.woken += 1

    async def missed(self, caller: str = TARGET, id: str = "", desk: MissedDesk | None = None) -> None:
        self._calls += 1
        call = Call(id or f"call-{self._calls}", NUMBER, caller, self.clock.now().wall_us)
        await (desk or self.desk).record(ANNA, call)

    async def top_up(self) -> None:
        legs = (Leg(CREDIT, 10 * EURO),)
        transfer = Transfer("top-up/1", "anna", Kind.TOP_UP, self.clock.now().wall_us, legs)
        assert (await self.store.apply(transfer)).outcome is Outcome.CREATED

    async def take(self, micro: int) -> None:
        """A negative correction."""
        legs = (Leg(CREDIT, -micro),)
        transfer = Transfer("correct/1", "anna", Kind.CORRECT, self.clock.now().wall_us, legs)
        assert (await self.store.apply(transfer)).outcome is Outcome.CREATED

    async def edit(self, **changes: object) -> None:
        stored = await self.store.directory.account("anna")
        assert stored is not None
        assert await self.store.directory.put_account(replace(stored, **changes))  # type: ignore[arg-type]

    async def notices(self) -> list[Notice]:
        found = [entry.notice for entry in await self.outbox.entries()]
        return sorted(found, key=lambda notice: notice.at_us)

    async def kept(self) -> Document | None:
        return await self.documents.get_document(COLLECTION, "anna")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.desk.run(), name="missed-calls-told")
        await settle()
        try:
            yield
        finally:
            await end([task])


@pytest.fixture
async def house(clock: FakeClock) -> House:
    made = House(clock)
    assert await made.store.directory.put_account(ANNA)
    assert await made.store.directory.put_number(Number(NUMBER, "anna", TARGET))
    return made


async def test_r13_a_missed_call_is_told_at_once_in_the_accounts_words(house: House) -> None:
    await house.edit(language=Language.EN, email="new@example.nl")
    async with house.running():
        await house.missed()
        await settle()
        (notice,) = await house.notices()
    assert (notice.id, notice.language, notice.address) == ("missed-call/call-1", Language.EN, "new@example.nl")
    assert notice.facts == MissedCall(NUMBER, TARGET, "2026-11-21T13:00", 0)
    assert house.woken == 1


async def test_r13_those_that_follow_are_told_together_when_the_pause_ends(house: House) -> None:
    async with house.running():
        await house.missed()
        await house.clock.advance(60)
        await house.missed()
        await house.missed()
        await house.clock.advance(60)
        await house.missed(caller="")
        await house.clock.advance(PAUSE_S - 120 - 1)
        assert len(await house.notices()) == 1
        await house.clock.advance(POLL_S + 1)
        _, several = await house.notices()
    assert several.id == "missed-call/call-2"
    assert several.facts == MissedCalls(
        calls=3,
        first="2026-11-21T13:01",
        last="2026-11-21T13:02",
        callers=(MissedFrom(NUMBER, "", 1, "2026-11-21T13:02"), MissedFrom(NUMBER, TARGET, 2, "2026-11-21T13:01")),
        others=0,
        credit=0,
    )


@pytest.mark.parametrize(("after_s", "topped_up"), [(-1, False), (1, True)])
async def test_r13_who_topped_up_since_the_last_call_is_told_so(house: House, after_s: int, topped_up: bool) -> None:
    async with house.running():
        await house.missed()
        await house.clock.advance(60)
        if after_s < 0:
            await house.top_up()
        await house.clock.advance(1)
        await house.missed()
        await house.clock.advance(1)
        if after_s > 0:
            await house.top_up()
        await house.clock.advance(PAUSE_S)
        _, notice = await house.notices()
    assert isinstance(notice.facts, MissedCall)
    assert (notice.facts.credit, notice.facts.topped_up) == (10 * EURO, topped_up)


@pytest.mark.parametrize(("left", "enough"), [(1_000, True), (999, False), (0, False)])
async def test_r13_who_topped_up_is_told_so_only_where_it_still_pays_a_call(
    house: House, left: int, enough: bool
) -> None:
    """A second of a call costs 1,000."""
    await house.missed()
    await house.clock.advance(1)
    await house.top_up()
    await house.take(10 * EURO - left)
    await house.desk.tell_due()
    (notice,) = await house.notices()
    assert isinstance(notice.facts, MissedCall)
    assert (notice.facts.credit, notice.facts.topped_up, notice.facts.suffices) == (left, enough, enough)


async def test_r13_the_mail_knows_why_each_call_was_missed(house: House) -> None:
    await house.desk.record(ANNA, Call("call-1", NUMBER, TARGET, house.clock.now().wall_us, Cause.TOO_MANY_CALLS))
    await house.desk.tell_due()
    for id, cause in (("call-2", Cause.CREDIT_IN_USE), ("call-3", Cause.NO_CREDIT)):
        await house.desk.record(ANNA, Call(id, NUMBER, TARGET, house.clock.now().wall_us, cause))
    await house.clock.advance(PAUSE_S)
    await house.desk.tell_due()
    first, others = await house.notices()
    assert isinstance(first.facts, MissedCall)
    assert isinstance(others.facts, MissedCalls)
    assert first.facts.causes == (Cause.TOO_MANY_CALLS,)
    assert others.facts.causes == (Cause.NO_CREDIT, Cause.CREDIT_IN_USE)


async def test_r13_the_same_call_is_told_once_also_by_two_daemons_at_once(house: House) -> None:
    for desk in (house.desk, house.another(), house.another()):
        await house.missed(id="call-7", desk=desk)
    await asyncio.gather(*(house.another().tell_due() for _ in range(3)))
    assert [notice.id for notice in await house.notices()] == ["missed-call/call-7"]
    await house.missed(id="call-7")
    await house.clock.advance(PAUSE_S)
    await house.desk.tell_due()
    assert len(await house.notices()) == 1


@pytest.mark.parametrize("steps", range(6))
async def test_r13_a_daemon_killed_between_any_two_writes_loses_and_doubles_no_call(
    house: House, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    left = [steps]

    def dying(write: object) -> object:
        async def stepped(*given: object) -> object:
            if not left[0]:
                raise Killed
            left[0] -= 1
            return await write(*given)  # type: ignore[operator]

        return stepped

    with monkeypatch.context() as patched:
        for name in ("put_document", "update_document"):
            patched.setattr(house.documents, name, dying(getattr(house.documents, name)))
        told = False
        try:
            await house.missed(id="call-1")
            told = True
            await house.desk.tell_due()
        except Killed:
            pass
    after = house.another()
    await house.missed(id="call-2", desk=after)
    for _ in range(2):
        await house.clock.advance(PAUSE_S)
        await after.tell_due()
    notices = await house.notices()
    assert sum(getattr(one.facts, "calls", 1) for one in notices) == 1 + told
    assert len({one.id for one in notices}) == len(notices)


async def test_r13_a_daemon_that_was_frozen_in_mid_mail_does_not_take_the_next_one_for_told(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    thaw = asyncio.Event()
    put = house.outbox.put

    async def freezing(notice: Notice) -> bool:
        if notice.id == "missed-call/call-1":
            await thaw.wait()
        return await put(notice)

    await house.missed()
    monkeypatch.setattr(house.outbox, "put", freezing)
    frozen = asyncio.create_task(house.desk.tell_due(), name="frozen")
    await settle()
    monkeypatch.setattr(house.outbox, "put", put)
    other = house.another()
    await other.tell_due()
    await house.clock.advance(PAUSE_S)
    await house.missed()
    now_us = house.clock.now().wall_us
    await other._change("anna", lambda missed: missed.with_frozen(now_us, PAUSE_S))  # and then it was killed
    thaw.set()
    await frozen
    await house.another().tell_due()
    assert [notice.id for notice in await house.notices()] == ["missed-call/call-1", "missed-call/call-2"]


async def test_nothing_is_kept_of_who_misses_no_more_calls(house: House) -> None:
    await house.missed()
    await house.desk.tell_due()
    await house.clock.advance(PAUSE_S + QUIET_S - 1)
    await house.desk.tell_due()
    assert await house.kept() is not None
    await house.clock.advance(1)
    await house.desk.tell_due()
    assert await house.kept() is None


async def test_nobody_is_told_without_an_address_or_after_closing(house: House) -> None:
    await house.desk.record(replace(ANNA, email=""), Call("call-0", NUMBER, TARGET, 1))
    assert await house.kept() is None
    await house.missed()
    await house.edit(status=Status.CLOSED)
    await house.desk.tell_due()
    assert await house.notices() == []


async def test_what_a_caller_calls_himself_is_one_bounded_line(house: House) -> None:
    await house.missed(caller="x\r\nBcc: all@example.nl" + "y" * 500)
    await house.desk.tell_due()
    (notice,) = await house.notices()
    assert isinstance(notice.facts, MissedCall)
    assert notice.facts.caller.isprintable()
    assert len(notice.facts.caller) == 200


async def test_a_damaged_document_is_in_nobodys_way(house: House) -> None:
    await house.documents.put_document(COLLECTION, "anna", "damaged", 1)
    await house.desk.tell_due()
    assert await house.kept() is None
    await house.documents.put_document(COLLECTION, "anna", "damaged", 1)
    await house.missed()
    await house.desk.tell_due()
    assert len(await house.notices()) == 1


async def test_a_change_that_others_always_forestall_is_given_up_and_can_be_repeated(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    async def forestalled(_document: Document) -> bool:
        tries.append(1)
        return False

    await house.missed()
    with monkeypatch.context() as patched:
        patched.setattr(house.documents, "update_document", forestalled)
        with pytest.raises(LedgerUnavailable):
            await house.missed(id="call-9")
    assert len(tries) == TRIES_MAX
    await house.missed(id="call-9")
    await house.desk.tell_due()
    (notice,) = await house.notices()
    assert isinstance(notice.facts, MissedCalls)
    assert notice.facts.calls == 2


async def test_it_outlives_a_store_that_fails_and_a_fault_about_one_account(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults: list[Exception] = [ValueError("ours"), LedgerUnavailable()]
    account = house.store.directory.account

    async def failing(name: str) -> object:
        if faults:
            raise faults.pop()
        return await account(name)

    monkeypatch.setattr(house.store.directory, "account", failing)
    async with house.running():
        await house.missed()
        await settle()
        for rounds in range(2):
            assert await house.notices() == [], rounds
            await house.clock.advance(POLL_S)
        assert len(await house.notices()) == 1


async def test_r13_a_call_that_stands_there_already_is_stored_again_for_what_is_read_may_be_lost(house: House) -> None:
    """By a fail-over, where the master had lost its replicas when it was stored: it answered nothing then."""
    await house.missed(id="call-1")
    before = await house.kept()
    await house.missed(id="call-1")
    after = await house.kept()
    assert before is not None
    assert after == replace(before, version=before.version + 1), "written, and not only read"
