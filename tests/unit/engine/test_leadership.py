"""Two daemons at one switch and one ledger: one ticks, the other takes over, and a late one changes nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from charging.call.events import HangupOrdered
from charging.call.model import Session
from charging.clock import MICROSECONDS
from charging.engine.leadership import LeaseKeeper
from charging.engine.looker import Looker
from charging.engine.recovery import AUDIT_S
from charging.engine.sessions import Rounds
from charging.errors import LedgerUnavailable
from charging.ledger.memory import MemoryStore
from charging.ledger.model import Kept, Kind, OpenSession, Outcome, Transfer
from charging.tasks import Tasks
from tests.fakes.clock import FakeClock
from tests.fakes.daemons import TTL_S, Daemon
from tests.fakes.rig import EURO, make_rig

SECOND = 1_000


async def test_only_the_holder_of_the_lease_ticks(pair: tuple[Daemon, Daemon]) -> None:
    one, two = pair
    await one.rig.subscriber(credit=10 * EURO)
    await one.rig.talking()
    await one.rig.clock.advance(130)
    assert len(one.rig.heard("tick_posted")) >= 2
    assert two.rig.heard("tick_posted") == []
    assert (one.keeper.holds, two.keeper.holds) == (True, False)


async def test_other_daemon_takes_over_before_the_horizon_ends_and_charges_once(pair: tuple[Daemon, Daemon]) -> None:
    one, two = pair
    await one.rig.subscriber(credit=10 * EURO)
    call = await one.rig.talking()
    await one.rig.clock.advance(70)
    await one.kill()
    await two.rig.clock.advance(150)
    assert two.rig.heard("session_restored")
    assert not call.ended.is_set()
    await two.rig.clock.advance(30.1)
    await two.rig.hang_up(call)
    assert (await two.rig.balance()).posted == 10 * EURO - 250 * SECOND
    assert await two.rig.reserved() == {}


async def test_daemon_that_no_longer_hears_the_switch_leaves_its_calls_to_the_other(
    pair: tuple[Daemon, Daemon],
) -> None:
    one, two = pair
    await one.rig.subscriber(credit=10 * EURO)
    call = await one.rig.talking()
    await one.rig.clock.advance(30)
    one.link.up = False
    await two.rig.clock.advance(70)
    decided_by_the_other = await two.rig.talking()
    await two.rig.clock.advance(300)
    assert (one.keeper.holds, two.keeper.holds) == (False, True)
    assert (call.ended.is_set(), decided_by_the_other.ended.is_set()) == (False, False), "they can pay"
    await two.rig.hang_up(call)
    await two.rig.hang_up(decided_by_the_other)
    assert (await two.rig.balance()).posted == 10 * EURO - 700 * SECOND
    assert await two.rig.reserved() == {}


async def test_only_daemon_takes_its_calls_up_again_as_soon_as_it_hears_the_switch(pair: tuple[Daemon, Daemon]) -> None:
    one, two = pair
    await two.kill()
    await one.rig.subscriber(credit=10 * EURO)
    call = await one.rig.talking()
    await one.rig.clock.advance(62)
    one.link.up = False
    await one.rig.clock.advance(40)
    assert not one.keeper.holds
    one.link.up = True
    await one.rig.clock.advance(0.11)
    assert one.keeper.holds
    await one.rig.clock.advance(100.99)
    assert not call.ended.is_set()
    await one.rig.hang_up(call)
    assert (await one.rig.balance()).posted == 10 * EURO - 203 * SECOND


@pytest.mark.parametrize("pause_s", [1, TTL_S - 1])
async def test_daemon_that_misses_the_switch_for_a_moment_keeps_its_lease(
    pair: tuple[Daemon, Daemon], pause_s: int
) -> None:
    one, _ = pair
    one.link.up = False
    await one.rig.clock.advance(pause_s)
    one.link.up = True
    await one.rig.clock.advance(TTL_S)
    assert not one.rig.heard("lease_lost")


async def test_lease_that_could_not_be_released_runs_out(
    pair: tuple[Daemon, Daemon], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = pair

    async def gone(*_: object) -> None:
        raise LedgerUnavailable("no Redis")

    monkeypatch.setattr(one.rig.store.leases, "release_lease", gone)
    one.link.up = False
    await one.rig.clock.advance(3 * TTL_S)
    assert one.rig.heard("lease_not_released")
    assert two.keeper.holds


async def test_daemon_that_loses_its_lease_while_it_looks_for_sessions_brings_none_to_life(
    pair: tuple[Daemon, Daemon], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = pair
    await one.rig.subscriber(credit=10 * EURO)
    await two.rig.ring()
    stored = one.rig.store.sessions

    async def slowly(*of: str | None, **named: str | None) -> Sequence[OpenSession]:
        found = await stored(*of, **named)
        monkeypatch.setattr(one.rig.registry, "leads", lambda: False)
        return found

    monkeypatch.setattr(one.rig.store, "sessions", slowly)
    await one.rig.recovery.reconcile()
    assert one.rig.registry.open.calls() == []


async def test_take_over_that_lasts_longer_than_a_lease_is_finished(
    pair: tuple[Daemon, Daemon], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = pair
    await one.rig.subscriber(credit=10 * EURO)
    call = await one.rig.talking()
    await one.rig.clock.advance(62)
    read = two.rig.store.sessions

    async def slowly(switch: str | None = None, account: str | None = None) -> Sequence[OpenSession]:
        clock = two.rig.clock
        await clock.sleep_until(clock.now().mono_us + 3 * TTL_S * MICROSECONDS)
        return await read(switch, account)

    monkeypatch.setattr(two.rig.store, "sessions", slowly)
    await one.kill()
    await two.rig.clock.advance(1.5 * TTL_S)
    assert (two.keeper.holds, two.rig.heard("session_restored")) == (True, []), "it is at it"
    await one.start()
    await two.rig.clock.advance(3 * TTL_S)
    assert [len(daemon.rig.heard("lease_gained")) for daemon in pair] == [1, 1], "nobody took it away"
    assert two.rig.heard("session_restored")
    await two.rig.hang_up(call)
    assert (await two.rig.balance()).posted == 10 * EURO - 107 * SECOND


async def test_take_over_ends_with_the_lease(pair: tuple[Daemon, Daemon], monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = pair
    await one.rig.subscriber(credit=10 * EURO)
    await one.rig.talking()
    await one.rig.clock.advance(62)
    never = asyncio.Event()
    monkeypatch.setattr(two.rig.switch, "look", never.wait)
    await one.kill()
    await two.rig.clock.advance(1.5 * TTL_S)
    assert two.keeper.holds

    async def taken(*_: object) -> None:
        return None

    monkeypatch.setattr(two.rig.store.leases, "renew_lease", taken)
    monkeypatch.setattr(two.rig.store.leases, "acquire_lease", taken)
    await two.rig.clock.advance(0.5 * TTL_S)
    assert two.rig.heard("lease_lost")
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "take-over"]


async def test_fault_of_a_take_over_is_told_though_the_lease_was_lost_meanwhile() -> None:
    clock = FakeClock()
    store = MemoryStore(clock)

    class Failing:
        async def lead(self, epoch: int) -> None:
            raise IndexError

        async def stand_by(self) -> None:
            pass

    keeper = LeaseKeeper(store.leases, clock, switch_id="test", owner="one", ttl_s=TTL_S, observe=lambda *_: None)
    await keeper.turn(Failing())
    await clock.advance(TTL_S + 1)
    assert await store.leases.acquire_lease("test", "two", TTL_S)
    with pytest.raises(IndexError):
        await keeper.turn(Failing())


async def test_whose_the_lease_is_is_known_once_the_ledger_has_said_it() -> None:
    clock = FakeClock()
    store = MemoryStore(clock)

    class Follows:
        async def lead(self, epoch: int) -> None:
            pass

        async def stand_by(self) -> None:
            pass

    one, two = (
        LeaseKeeper(store.leases, clock, switch_id="test", owner=owner, ttl_s=TTL_S, observe=lambda *_: None)
        for owner in ("one", "two")
    )
    assert not one.is_known
    await one.turn(Follows())
    assert (one.is_known, one.holds) == (True, True)
    await two.turn(Follows())
    assert (two.is_known, two.holds) == (True, False)


async def test_take_over_that_fails_brings_the_daemon_down(
    pair: tuple[Daemon, Daemon], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = pair
    monkeypatch.setattr(two.rig.recovery, "stand_by", lambda: [].pop())
    await one.kill()
    await two.rig.clock.advance(1.5 * TTL_S)
    with pytest.raises(IndexError):
        await two.kill()


async def test_r22_top_up_at_the_other_daemon_reaches_the_call_within_a_second(pair: tuple[Daemon, Daemon]) -> None:
    one, two = pair
    await one.rig.subscriber(credit=100 * SECOND)
    call = await one.rig.talking()
    await one.rig.clock.advance(98.5)
    await two.rig.credit(50 * SECOND, "elsewhere")
    await one.rig.clock.advance(40)
    assert not call.ended.is_set()
    await one.rig.clock.advance(12)
    assert call.ended.is_set()


async def test_r22_top_up_elsewhere_reaches_a_call_whose_money_ends_before_its_first_tick(
    pair: tuple[Daemon, Daemon],
) -> None:
    one, two = pair
    await one.rig.subscriber(credit=40 * SECOND)
    call = await one.rig.talking()
    await one.rig.clock.advance(38.5)
    await two.rig.credit(50 * SECOND, "elsewhere")
    await one.rig.clock.advance(51)
    assert not call.ended.is_set()
    await one.rig.clock.advance(1)
    assert call.ended.is_set()


async def test_holder_that_was_frozen_and_wakes_late_orders_and_books_nothing(pair: tuple[Daemon, Daemon]) -> None:
    one, two = pair
    await one.rig.subscriber(credit=10 * EURO)
    call = await one.rig.talking()
    await one.rig.clock.advance(61)
    frozen = one.rig.runner_of(call)
    await one.kill()
    await two.rig.clock.advance(100)
    assert not call.ended.is_set()
    deadlines = len(two.rig.switch.deadlines)
    tasks = Tasks()
    registry, rig = one.rig.registry, one.rig
    registry.rounds = Rounds(rig.store, rig.switch, Looker(rig.switch), rig.clock, rig.observe, registry.leads)
    woken = tasks.begin(registry.rounds.run(), "woken")
    assert isinstance(frozen.session, Session)
    frozen.session, frozen.alarm_us = replace(frozen.session, retry_mono_us=0, enforced_s=1), None
    frozen.wake()
    await two.rig.clock.advance(0.5)
    assert len(two.rig.switch.deadlines) == deadlines, "orders nothing"
    assert isinstance(frozen.session, Session)
    frozen.session = replace(frozen.session, tick_mono_us=0, retry_mono_us=None)
    frozen.wake()
    await two.rig.clock.advance(65)
    assert one.rig.heard("session_lost"), "and books nothing"
    assert not woken.done()
    await tasks.end()
    await two.rig.hang_up(call)
    rows = await two.rig.store.cdrs()
    assert [json.loads(row.document)["billed_s"] for row in rows] == [227]
    assert (await two.rig.balance()).posted == 10 * EURO - 227 * SECOND


async def test_daemon_that_was_frozen_hangs_nobody_up(
    pair: tuple[Daemon, Daemon], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call is another's by now, who may know better."""
    one, _ = pair
    await one.rig.subscriber(credit=10 * EURO)
    call = await one.rig.talking()
    monkeypatch.setattr(one.rig.registry, "leads", lambda: False)
    one.rig.runner_of(call).offer(HangupOrdered("fraud"))
    await one.rig.clock.advance(1)
    assert not call.ended.is_set()


async def test_who_was_taken_over_can_book_nothing_any_more(pair: tuple[Daemon, Daemon]) -> None:
    one, two = pair
    await one.rig.subscriber(credit=10 * EURO)
    call = await one.rig.talking()
    await one.rig.clock.advance(70)
    (before,) = await one.rig.store.sessions()
    await one.kill()
    await two.rig.clock.advance(150)
    late = Transfer(f"{call.session}/late", "anna", Kind.EXTEND, 1, (), call.session, Kept("", before.epoch, 99))
    assert (await two.rig.store.apply(late)).outcome is Outcome.FENCED


async def test_stored_sessions_that_could_not_be_read_as_the_link_came_up_are_read_at_the_next_audit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with make_rig() as rig:
        await rig.clock.advance(3 * AUDIT_S)
        reads, sessions = list[int](), rig.store.sessions

        async def away_once(switch: str | None = None) -> Sequence[OpenSession]:
            reads.append(1)
            if len(reads) == 1:
                raise LedgerUnavailable("away")
            return await sessions(switch=switch)

        monkeypatch.setattr(rig.store, "sessions", away_once)
        await rig.recovery.reconcile()
        assert len(reads) == 1
        await rig.clock.advance(2 * AUDIT_S)
        assert len(reads) == 2


async def test_call_decided_in_the_moment_in_which_the_lease_is_gained_is_ticked_and_booked(
    pair: tuple[Daemon, Daemon],
) -> None:
    """The take-over stops its task before that has taken a step, so nothing within the task can clear up after it."""
    one, two = pair
    await two.kill()
    await one.rig.subscriber(credit=10_000 * SECOND)
    taking_over = asyncio.create_task(one.rig.recovery.lead(one.rig.registry.epoch))
    answer = await one.rig.ring()
    assert answer.session is not None
    assert one.rig.registry.open.find(answer.session) is not None
    await taking_over
    call = one.rig.switch.dial(answer.session, answer.quota_s or 0, "u1")
    one.rig.switch.answer(call.session)
    await one.rig.clock.advance(200.1)
    assert not call.ended.is_set(), "it can pay"
    await one.rig.hang_up(call)
    await one.rig.clock.advance(10)
    assert (await one.rig.balance()).posted == 9_800 * SECOND
    assert await one.rig.reserved() == {}
    assert one.rig.registry.open.calls() == []
