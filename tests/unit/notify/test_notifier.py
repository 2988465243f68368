"""From what happens to an account to what lies in its outbox: on the real service and the store in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import pytest

from charging.errors import LedgerUnavailable
from charging.ledger.accounts import Account, Number
from charging.ledger.balances import bundle
from charging.ledger.memory import MemoryDocuments, MemoryStore
from charging.ledger.model import CREDIT, Balance, Kind, Leg, Opened, Outcome, Transfer
from charging.notify import notifier
from charging.notify.model import Expiry, LowCredit, LowFreeMinutes, Notice, SubscriptionEnding
from charging.notify.notifier import CALM_S, COLLECTION, GATHER_S, LINES_UNSTORED_MAX, TOGETHER, Notifier
from charging.notify.outbox import Outbox
from charging.pricing.packs import pack_of
from tests.fakes.clock import START_MONO_US, FakeClock, running, settle
from tests.fakes.rig import EURO, NUMBER, TARGET, plan
from tests.unit.notify.factories import ANNA, PLAN, at, the_tariff


class Office:
    """An account, its books, and who watches them."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.store = MemoryStore(clock)
        self.documents = MemoryDocuments()
        self.outbox = Outbox(self.documents)
        self.tariff = the_tariff()
        self.paid_at_us: int | None = None
        self.woken = self.asked = 0
        self.notifier = self.another()
        self._moves = 0

    def another(self, documents: MemoryDocuments | None = None) -> Notifier:
        """One more daemon, or the same one after a restart; with other documents, one that has told nothing yet."""
        documents = documents or self.documents
        outbox = Outbox(documents)
        paid_at_us = self.paid_at_us_of
        return Notifier(self.store, documents, outbox, lambda: self.tariff, self.clock, paid_at_us, self.wake)

    def paid_at_us_of(self, _account: Account) -> int | None:
        return self.paid_at_us

    def wake(self) -> None:
        self.woken += 1

    async def open(self, account: Account = ANNA) -> None:
        assert await self.store.directory.put_account(account)

    async def forward(self) -> None:
        assert await self.store.directory.put_number(Number(NUMBER, "anna", TARGET, paid_voicemail=True))

    async def move(self, kind: Kind, *legs: Leg, account: str = "anna") -> str:
        self._moves += 1
        transfer = Transfer(f"{kind}/{self._moves}", account, kind, self.clock.now().wall_us, legs)
        assert (await self.store.apply(transfer)).outcome is Outcome.CREATED
        return transfer.id

    async def top_up(self, euro: int) -> str:
        return await self.move(Kind.TOP_UP, Leg(CREDIT, euro * EURO))

    async def spend(self, micro: int) -> None:
        await self.move(Kind.SETTLE, Leg(CREDIT, -micro))

    async def look(self) -> list[str]:
        return [notice.id for notice in await self.notifier.look("anna")]

    async def notices(self) -> list[Notice]:
        return [entry.notice for entry in await self.outbox.entries()]

    def running(self) -> AbstractAsyncContextManager[None]:
        return running(self.notifier.run(), "notifier")


@pytest.fixture
async def office(clock: FakeClock) -> Office:
    made = Office(clock)
    await made.open()
    return made


async def test_r15_low_credit_is_told_once_and_again_after_a_top_up(office: Office) -> None:
    first = await office.top_up(10)
    assert await office.look() == []
    await office.spend(9 * EURO)
    assert await office.look() == [f"low-credit/{first}"]
    await office.spend(EURO // 2)
    assert await office.look() == []
    second = await office.top_up(10)
    assert await office.look() == []
    await office.spend(9 * EURO)
    assert await office.look() == [f"low-credit/{second}"]
    assert office.woken == 2


async def test_r15_the_plans_free_minutes_count_where_they_pay_calls_to_the_target(office: Office) -> None:
    await office.forward()
    await office.top_up(1)
    for destinations, seconds in ((frozenset({"elsewhere"}), 0), (None, 600)):
        plan = replace(PLAN, free_destinations=destinations)
        office.tariff = replace(the_tariff(), plans={"pro": plan})
        (notice,) = await office.another(MemoryDocuments()).look("anna")
        assert isinstance(notice.facts, LowCredit)
        assert notice.facts.free_seconds_left == seconds


@pytest.mark.parametrize(("euro", "told_again"), [(1, False), (2, True)])
async def test_r15_only_a_top_up_that_suffices_arms_it_again(office: Office, euro: int, told_again: bool) -> None:
    """Less than 2 euro is nearly gone, and 50 cents are left."""
    await office.top_up(10)
    await office.spend(10 * EURO - EURO // 2)
    assert len(await office.look()) == 1
    await office.top_up(euro)
    assert await office.look() == []
    await office.spend(EURO * 3 // 4)
    assert len(await office.look()) == told_again
    await office.top_up(10)
    await office.spend(10 * EURO)
    assert len(await office.look()) == 1, "there was enough in between, though nobody looked"


@pytest.fixture
def spent_meanwhile(office: Office, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """So much is spent between the two reads of each look, of journal and balances, until the patch is undone."""
    read = office.store.balances

    def spends(micro: int) -> None:
        async def balances(account: str) -> Mapping[str, Balance]:
            await office.spend(micro)
            return await read(account)

        monkeypatch.setattr(office.store, "balances", balances)

    return spends


async def test_r15_what_was_spent_while_it_was_looked_at_arms_nothing(
    office: Office, monkeypatch: pytest.MonkeyPatch, spent_meanwhile: Callable[[int], None]
) -> None:
    """2 euro are not nearly gone, 50 cents are."""
    await office.top_up(10)
    await office.spend(8 * EURO)
    spent_meanwhile(EURO * 3 // 2)
    told = await office.look()
    monkeypatch.undo()
    told += await office.look()
    assert len(told) == 1
    await office.top_up(1)
    assert await office.look() == [], "it had less than 2 euro all the time since"


async def test_an_account_that_changes_at_each_look_is_looked_at_again_later(
    office: Office, monkeypatch: pytest.MonkeyPatch, spent_meanwhile: Callable[[int], None]
) -> None:
    await office.top_up(10)
    await office.spend(9 * EURO)
    spent_meanwhile(1)
    assert await office.look() == []
    monkeypatch.undo()
    async with office.running():
        await office.clock.advance(GATHER_S)
    assert len(await office.notices()) == 1


async def test_r15_is_told_once_by_two_daemons_and_after_a_restart(office: Office) -> None:
    await office.top_up(10)
    await office.spend(9 * EURO)
    found = await asyncio.gather(*(office.another().look("anna") for _ in range(3)))
    assert sum(map(len, found)) == 1
    assert await office.another().look("anna") == []


async def test_r15_is_told_once_also_after_the_outbox_has_forgotten(office: Office) -> None:
    await office.top_up(10)
    await office.spend(9 * EURO)
    await office.look()
    for entry in await office.outbox.entries():
        await office.documents.delete_document(entry.document)
    assert await office.look() == []


async def test_r15_a_record_that_is_lost_is_folded_anew(office: Office) -> None:
    await office.top_up(10)
    await office.spend(9 * EURO)
    await office.look()
    record = await office.documents.get_document(COLLECTION, "anna")
    assert record is not None
    await office.documents.delete_document(record)
    assert await office.look() == [], "the outbox still knows"


async def test_r16_uses_the_numbers_and_the_months_bundle(office: Office) -> None:
    await office.forward()
    assert await office.look() == []
    await office.move(Kind.GRANT, Leg(bundle("2026-11"), 600))
    await office.move(Kind.SETTLE, Leg(bundle("2026-11"), -481))
    assert await office.look() == ["low-free-minutes/2026-11/never"]
    (notice,) = await office.notices()
    assert notice.facts == LowFreeMinutes("2026-11", 119, 0, paid_voicemail=True, message_price=PLAN.voicemail_price)


@pytest.mark.parametrize("paid", [True, False])
async def test_r16_knows_the_free_messages_that_take_calls_by_voicemail_where_those_are_paid(
    office: Office, paid: bool
) -> None:
    """Those of the month that nobody used yet, and those of packs; not where messages cost nothing."""
    office.tariff = plan(office.tariff, "pro", free_messages=2)
    assert await office.store.directory.put_number(Number(NUMBER, "anna", TARGET, paid_voicemail=paid))
    await office.move(Kind.GRANT, Leg(bundle("2026-11"), 600))
    await office.move(Kind.SETTLE, Leg(bundle("2026-11"), -481))
    await office.look()
    (notice,) = await office.notices()
    assert isinstance(notice.facts, LowFreeMinutes)
    assert notice.facts.free_messages == (2 if paid else 0)


@pytest.mark.parametrize(("micro", "told_again"), [(999, False), (1_000, True)])
async def test_r16_only_credit_for_a_call_arms_it_again_within_a_month(
    office: Office, micro: int, told_again: bool
) -> None:
    await office.forward()
    await office.move(Kind.GRANT, Leg(bundle("2026-11"), 600))
    await office.move(Kind.SETTLE, Leg(bundle("2026-11"), -481))
    assert await office.look() == ["low-free-minutes/2026-11/never"]
    await office.move(Kind.CORRECT, Leg(CREDIT, micro))
    found = await office.look()
    await office.spend(micro)
    found += await office.look()
    assert sum(notice.startswith("low-free-minutes/") for notice in found) == told_again
    await office.clock.advance(15 * 86_400)
    assert await office.look() == []
    await office.move(Kind.GRANT, Leg(bundle("2026-12"), 600))
    await office.move(Kind.SETTLE, Leg(bundle("2026-12"), -481))
    (notice,) = await office.look()
    assert notice.startswith("low-free-minutes/2026-12/")


async def test_r20_expiry_counts_from_the_journal(office: Office) -> None:
    await office.top_up(10)
    await office.clock.advance((365 - 30) * 86_400)
    assert await office.look() == ["expiry/2027-11-21/30"]
    await office.spend(EURO)
    assert await office.look() == []


async def test_r20_a_running_call_paid_by_credit_postpones_expiry(office: Office) -> None:
    await office.top_up(10)
    await office.clock.advance((365 - 30) * 86_400)
    opened = Transfer("s/0/reserve", "anna", Kind.RESERVE, 0, (Leg(CREDIT, 0, EURO),), "s", Opened("asterisk", "{}"))
    assert (await office.store.apply(opened)).outcome is Outcome.CREATED
    assert await office.look() == []


async def test_r20_the_subscriptions_payment_counts(office: Office) -> None:
    await office.top_up(10)
    stored = await office.store.directory.account("anna")
    assert stored is not None
    await office.store.directory.put_account(replace(stored, paid_until_us=at("2027-12-01T00:00")))
    await office.clock.advance((365 - 5) * 86_400)
    assert await office.look() == ["expiry/2027-11-30/30"]
    (notice,) = await office.notices()
    assert isinstance(notice.facts, SubscriptionEnding)
    office.paid_at_us = office.clock.now().wall_us
    await office.clock.advance(10 * 86_400)
    assert await office.look() == []


async def test_a_look_reads_only_new_lines_and_does_not_write_at_each(office: Office) -> None:
    await office.top_up(100)
    await office.look()
    first = await office.documents.get_document(COLLECTION, "anna")
    assert first is not None
    for _ in range(LINES_UNSTORED_MAX - 1):
        await office.spend(1000)
    await office.look()
    assert await office.documents.get_document(COLLECTION, "anna") == first
    await office.spend(1000)
    await office.look()
    assert await office.documents.get_document(COLLECTION, "anna") != first


async def test_nobody_is_told_about_an_account_that_is_not_there(office: Office) -> None:
    assert await office.notifier.look("nobody") == []


# --- as a task ------------------------------------------------------------------------------------------------


async def test_what_is_touched_is_looked_at_soon(office: Office) -> None:
    async with office.running():
        await office.top_up(10)
        await office.spend(9 * EURO)
        office.notifier.touched("anna")
        await office.clock.advance(GATHER_S)
        assert len(await office.notices()) == 1


async def test_accounts_are_looked_at_together(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of many calls brings a look with its first charge: alone it would cost more than the charge."""
    names = [f"n{nth}" for nth in range(2 * TOGETHER)]
    at_once: list[int] = []
    asked, answered = 0, asyncio.Event()

    async def account(_name: str) -> None:
        nonlocal asked
        asked += 1
        await answered.wait()

    async with office.running():
        await settle()
        monkeypatch.setattr(office.store.directory, "account", account)
        for name in names:
            office.notifier.touched(name)
        await office.clock.advance(GATHER_S - 0.1)
        at_once.append(asked)
        await office.clock.advance(0.1)
        at_once.append(asked)
        answered.set()
        await settle()
        at_once.append(asked)
    assert at_once == [0, TOGETHER, 2 * TOGETHER]


async def test_touched_during_a_look_means_another_look(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[str] = []
    look = office.notifier.look

    async def slow(account: str) -> list[Notice]:
        if not looks:
            office.notifier.touched(account)
        looks.append(account)
        return await look(account)

    monkeypatch.setattr(office.notifier, "look", slow)
    async with office.running():
        office.notifier.touched("anna")
        await office.clock.advance(GATHER_S)
    assert looks.count("anna") >= 2


async def test_every_account_is_looked_at_once_a_day_in_the_morning() -> None:
    """It is 05:00 in Amsterdam (summer time) when the daemon starts, 60 days before the end."""
    office = Office(FakeClock(START_MONO_US, at("2026-11-21T04:00")))
    await office.open()
    await office.top_up(10)
    await office.clock.advance((365 - 60) * 86_400)
    async with office.running():
        await office.clock.advance(4 * 3600 - 61)
        assert await office.notices() == []
        await office.clock.advance(121)
        (notice,) = await office.notices()
        assert notice.facts == Expiry(10 * EURO, "2027-11-21", 60)
    await office.clock.advance(30 * 86_400 - 10 * 3600)
    async with office.running():
        assert len(await office.notices()) == 1, "the day before"
        await office.clock.advance(10 * 3600)
        assert [one.id for one in await office.notices()] == ["expiry/2027-11-21/30", "expiry/2027-11-21/60"]


async def test_it_outlives_a_store_that_fails_and_loses_nobody(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    faults: list[Exception] = [LedgerUnavailable()]
    balances = office.store.balances

    async def failing(account: str) -> object:
        if faults:
            raise faults.pop()
        return await balances(account)

    async with office.running():
        await office.top_up(10)
        await office.spend(9 * EURO)
        monkeypatch.setattr(office.store, "balances", failing)
        office.notifier.touched("anna")
        await office.clock.advance(GATHER_S)
        assert await office.notices() == []
        await office.clock.advance(60)
        assert len(await office.notices()) == 1


async def test_a_fault_about_one_account_stops_no_other(office: Office) -> None:
    await office.open(replace(ANNA, id="bob"))
    await office.documents.put_document(COLLECTION, "anna", "damaged")
    await office.move(Kind.TOP_UP, Leg(CREDIT, 10 * EURO), account="bob")
    await office.move(Kind.SETTLE, Leg(CREDIT, -9 * EURO), account="bob")
    async with office.running():
        office.notifier.touched("anna")
        office.notifier.touched("bob")
        await office.clock.advance(GATHER_S)
        assert [notice.account for notice in await office.notices()] == ["bob"]


async def test_all_accounts_are_looked_at_once_a_day_only(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    sweeps: list[int] = []
    sweep = office.notifier.sweep

    async def counted() -> int:
        sweeps.append(office.clock.now().wall_us)
        return await sweep()

    monkeypatch.setattr(office.notifier, "sweep", counted)
    async with office.running():
        await office.clock.advance(10 * 3600)
        assert len(sweeps) == 1, "at the start, as it was past nine"
        await office.clock.advance(10 * 3600 + 120)
        assert len(sweeps) == 2


async def looked(office: Office) -> int:
    """How often the account has been looked at since this was last asked."""
    await office.clock.advance(GATHER_S)
    asked, office.asked = office.asked, 0
    return asked


@pytest.fixture
async def watched(office: Office, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Office]:
    """Ten euro and 300 free seconds, looked at just now; a notice is due below 2 euro, or below 120 s without credit
    for a call."""
    look = office.notifier.look

    async def counting(account: str) -> list[Notice]:
        office.asked += 1
        return await look(account)

    monkeypatch.setattr(office.notifier, "look", counting)
    await office.top_up(10)
    await office.move(Kind.GRANT, Leg(bundle("2026-11"), 300))
    async with office.running():
        office.notifier.touched("anna")
        await looked(office)
        yield office


async def test_a_tick_that_cannot_bring_a_notice_about_is_no_reason_to_look(watched: Office) -> None:
    for _ in range(20):
        watched.notifier.charged("anna", {CREDIT: EURO // 10})
    assert await looked(watched) == 0


@pytest.mark.parametrize(("last", "looks"), [(3 * EURO, 0), (3 * EURO + 1, 1)])
async def test_r15_the_tick_that_crosses_the_edge_is_looked_at(watched: Office, last: int, looks: int) -> None:
    """Two euro are enough, a millionth less is nearly gone; other ticks have come before."""
    watched.notifier.charged("anna", {CREDIT: 5 * EURO})
    watched.notifier.charged("anna", {CREDIT: last})
    assert await looked(watched) == looks


@pytest.mark.parametrize("balance", [bundle("2026-11"), pack_of("a", "2026-12-31")])
@pytest.mark.parametrize(("seconds", "looks"), [(180, 0), (181, 1)])
async def test_r16_so_is_the_one_that_crosses_the_edge_of_free_minutes(
    watched: Office, balance: str, seconds: int, looks: int
) -> None:
    watched.notifier.charged("anna", {balance: seconds})
    assert await looked(watched) == looks


async def test_what_may_come_of_time_or_of_another_change_is_looked_at(watched: Office) -> None:
    """Prices change by the time of day, settings by an edit."""
    await watched.clock.advance(CALM_S - 1)
    watched.notifier.charged("anna", {CREDIT: 1})
    assert await looked(watched) == 0
    await watched.clock.advance(1)
    watched.notifier.charged("anna", {CREDIT: 1})
    assert await looked(watched) == 1
    watched.notifier.touched("anna")
    watched.notifier.charged("anna", {CREDIT: 1})
    assert await looked(watched) == 1, "both are one look"
    watched.notifier.charged("bert", {CREDIT: 1})
    assert await looked(watched) == 1, "of whom nothing is known"


async def test_what_was_touched_while_there_was_no_room_is_looked_at_with_its_next_charge(
    watched: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However small that is: nobody knows what has become of the account meanwhile."""
    monkeypatch.setattr(notifier, "TOUCHED_MAX", 1)
    watched.notifier.touched("bert")
    watched.notifier.touched("anna")
    assert await looked(watched) == 1, "of bert"
    watched.notifier.charged("anna", {CREDIT: 1})
    assert await looked(watched) == 1


async def test_a_charge_during_the_look_that_a_touch_during_a_look_meant_means_one_more(
    watched: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the first look found is not known any more."""
    looks: list[str] = []
    look = watched.notifier.look

    async def slow(account: str) -> list[Notice]:
        looks.append(account)
        if len(looks) == 1:
            watched.notifier.touched(account)
        elif len(looks) == 2:
            watched.notifier.charged(account, {CREDIT: 1})
        return await look(account)

    monkeypatch.setattr(watched.notifier, "look", slow)
    watched.notifier.touched("anna")
    await watched.clock.advance(3 * GATHER_S)
    assert looks == ["anna"] * 3


async def test_below_one_edge_the_next_one_counts(watched: Office) -> None:
    """R15: who was told is not looked at with each tick; when nothing is left he is."""
    await watched.spend(9 * EURO)
    watched.notifier.charged("anna", {CREDIT: 9 * EURO})
    assert await looked(watched) == 1
    assert len(await watched.notices()) == 1
    watched.notifier.charged("anna", {CREDIT: EURO // 2})
    assert await looked(watched) == 0
    watched.notifier.charged("anna", {CREDIT: EURO // 2 + 1})
    assert await looked(watched) == 1
