"""After an outage a call that is known to talk is paid ahead before the switch is asked about it again: thousands wait
for that. Nothing is charged by it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from charging.call.commands import AskSwitch, Command, Post, ReadBalances, SetDeadline
from charging.call.events import BalancesRead, DeadlineSet, Event, Posted, SwitchSaid, SwitchSilent, Woke
from charging.call.missed_steps import with_missed_steps
from charging.call.model import Context, Policy, Session, Short, from_json
from charging.call.paid_first import order_of, paid_first, reserved_first, waiting
from charging.clock import MICROSECONDS, Instant
from charging.engine.ports import Legs
from charging.engine.recovery import Recovery
from charging.errors import SwitchError
from charging.ledger.model import CREDIT, Applied, Balance, Outcome
from charging.ledger.port import Store
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.rig import EURO, Rig, make_rig, make_tariff, plan
from tests.fakes.switch import FakeCall
from tests.unit.call.test_clocks_that_differ import SECOND, cdr
from tests.unit.call.test_table import NOW, POLICY, leg, running, step

HERE = "this boot"
RICH = {CREDIT: Balance(10 * EURO, 120_000)}


def left_alone(for_s: float, boot: str = HERE, stepped_s: int = 0, **changes: object) -> tuple[Session, Instant]:
    """A call that was answered 10 s ago and is paid up to its 120th second, as a new process finds it so much later;
    the time of day was stepped, or the machine slept."""
    stored = replace(running(**changes).read_on(HERE, NOW), deadline_due=False)
    then = NOW.plus(for_s)
    now = Instant(then.mono_us, then.wall_us + stepped_s * MICROSECONDS)
    return with_missed_steps(from_json(stored.to_json(), now, 1, boot), (), now, boot, POLICY), now


def first_of(session: Session, now: Instant, policy: Policy = POLICY) -> tuple[Session, Command]:
    """What it does first, over a link that speaks."""
    after, (command,) = step(session, Woke(now.mono_us), now, policy)
    return after, command


def after(session: Session, now: Instant, *events: Event) -> tuple[Session, tuple[Command, ...]]:
    commands: tuple[Command, ...] = ()
    for event in events:
        session, commands = step(session, event, now, POLICY)
    return session, commands


def booked(session: Session) -> Posted:
    assert session.pending is not None
    return Posted(session.pending.transfer, Applied(Outcome.CREATED))


@pytest.mark.parametrize(("away_s", "goes_first"), [(49.9, False), (50.1, True), (109.9, True), (110.1, False)])
def test_only_a_call_with_less_than_a_horizon_and_with_a_second_left_is_paid_first(
    away_s: float, goes_first: bool
) -> None:
    _, command = first_of(*left_alone(away_s))
    assert isinstance(command, ReadBalances if goes_first else AskSwitch)


@pytest.mark.parametrize(
    ("boot", "stepped_s", "changes"),
    [
        ("another boot", 0, {}),
        (HERE, 3, {}),
        (HERE, -3, {}),
        (HERE, 0, {"confirmed": False}),
        (HERE, 0, {"technology": ""}),
        (HERE, 0, {"left": NOW}),
        (HERE, 0, {"cut_by": "operator"}),
        (HERE, 0, {"short": Short.MONEY}),
        (HERE, 0, {"held": {}}),
    ],
)
def test_switch_is_asked_first_of_a_call_that_is_not_known_to_talk_or_not_when_it_was_answered(
    boot: str, stepped_s: int, changes: dict[str, object]
) -> None:
    _, command = first_of(*left_alone(60, boot, stepped_s, **changes))
    assert isinstance(command, AskSwitch)


@pytest.mark.parametrize("proven_s", [None, -7])
def test_over_a_silent_link_nothing_is_reserved(proven_s: int | None) -> None:
    session, now = left_alone(60)
    proven_us = None if proven_s is None else now.plus(proven_s).mono_us
    _, (command,) = step(session, Woke(proven_us), now, POLICY)
    assert isinstance(command, AskSwitch)


def test_it_reserves_and_charges_nothing_moves_the_deadline_and_asks_the_switch_a_moment_later() -> None:
    session, now = left_alone(60)
    session, _ = first_of(session, now)
    session, (post,) = after(session, now, BalancesRead(RICH))
    assert isinstance(post, Post)
    (money,) = (one for one in post.transfer.legs if one.balance == CREDIT)
    assert (money.posted, money.reserved > 0) == (0, True)
    session, commands = after(session, now, booked(session))
    (order,) = (one for one in commands if isinstance(one, SetDeadline))
    assert (order.covered_s, order.at) == (190, session.at(190))
    session, _ = after(session, now, DeadlineSet(190))
    assert (session.enforced_s, session.confirmed) == (190, False)
    soon = now.plus(POLICY.retry_s)
    session, command = first_of(session, soon)
    assert isinstance(command, AskSwitch)
    said = SwitchSaid(soon.mono_us, None, leg("callee", left_ms=119_000), (), caller_asked=False)
    session, commands = after(session, soon, said)
    assert (session.confirmed, session.answered, commands) == (True, NOW.plus(-10), ())
    assert session.tick_mono_us == session.at(120).mono_us, "it ticks in its own time"


def test_call_whose_money_ends_is_asked_about_before_anything_is_booked() -> None:
    session, now = left_alone(60)
    session, _ = first_of(session, now)
    session, commands = after(session, now, BalancesRead({CREDIT: Balance(130_000, 120_000)}))
    assert (commands, session.pending) == ((), None)
    _, command = first_of(session, now)
    assert isinstance(command, AskSwitch)


def test_what_a_ledger_has_not_answered_is_asked_again_and_nothing_else_under_its_id() -> None:
    """It may have been carried out: another content of the same id would differ from the books."""
    session, now = left_alone(60)
    session, _ = first_of(session, now)
    session, (asked,) = after(session, now, BalancesRead(RICH))
    assert isinstance(asked, Post)
    session, _ = after(session, now, Posted(asked.transfer, None))
    for _ in range(3):
        now = now.plus(POLICY.retry_s)
        session, again = first_of(session, now)
        assert again == asked
        session, _ = after(session, now, Posted(asked.transfer, None))
        session, command = first_of(session, now)
        assert isinstance(command, AskSwitch)


def test_deadline_that_was_not_heard_of_is_ordered_again() -> None:
    session, now = left_alone(60)
    session, _ = first_of(session, now)
    session, _ = after(session, now, BalancesRead(RICH))
    session, _ = after(session, now, booked(session))
    session, _ = after(session, now, SwitchSilent("set_deadline"))
    _, command = first_of(session, now.plus(POLICY.retry_s))
    assert isinstance(command, SetDeadline)


@pytest.mark.parametrize(
    ("changes", "balances"),
    [
        ({}, RICH),
        ({"day_cap": 50 * EURO}, {**RICH, "day:2026-11-21": Balance(0, 120_000)}),
        ({"doubtful_s": (100, 110), "enforced_s": 110, "replans": 2}, RICH),
        ({"free_seconds": 600}, RICH),
        ({}, {**RICH, "promo:2027-01-01": Balance(EURO)}),
    ],
)
def test_what_is_done_in_one_is_what_the_steps_do(changes: dict[str, object], balances: dict[str, Balance]) -> None:
    session, now = left_alone(60, HERE, 0, **changes)
    by_steps, _ = first_of(session, now)
    by_steps, (post,) = after(by_steps, now, BalancesRead(balances))
    assert isinstance(post, Post)
    reserved = reserved_first(session, balances, Woke(now.mono_us), Context(now, POLICY))
    assert reserved is not None
    pending = reserved.pending
    assert (pending.transfer, pending.grants) == (post.transfer, post.grants)
    assert waiting(session, pending, Context(now, POLICY)) == by_steps
    by_steps, (_, order) = after(by_steps, now, booked(by_steps))
    assert order_of(reserved.after, POLICY) == order
    assert isinstance(order, SetDeadline)
    by_steps, _ = after(by_steps, now, DeadlineSet(order.covered_s))
    assert paid_first(reserved.after, order, Context(now, POLICY)) == by_steps


@pytest.mark.parametrize(
    ("changes", "balances"),
    [
        ({}, {CREDIT: Balance(130_000, 120_000)}),
        ({"held": {}}, RICH),
        ({"confirmed": False}, RICH),
        ({"warned": True}, RICH),
        ({"enforced_s": 190}, RICH),
    ],
)
def test_what_is_not_usual_takes_the_steps_one_by_one(changes: dict[str, object], balances: dict[str, Balance]) -> None:
    session, now = left_alone(60, HERE, 0, **changes)
    assert reserved_first(session, balances, Woke(now.mono_us), Context(now, POLICY)) is None


# --- on the rig -------------------------------------------------------------------------------------------------------


class Order:
    """In which order the switch is told of deadlines and asked about channels."""

    def __init__(self, rig: Rig) -> None:
        self.orders: list[str] = []
        self._switch = rig.switch
        self._set, self._look = rig.switch.set_deadlines, rig.switch.look_at
        rig.switch.set_deadlines, rig.switch.look_at = self.set, self.look  # type: ignore[method-assign]

    async def set(self, deadlines: Sequence[tuple[str, Instant]]) -> Sequence[SwitchError | None]:
        self.orders.append("deadlines")
        return await self._set(deadlines)

    async def look(self, asked: Sequence[tuple[str, Sequence[str]]]) -> Sequence[Legs | SwitchError]:
        self.orders.append("look")
        return await self._look(asked)


async def test_after_an_outage_a_ticked_call_is_paid_ahead_then_asked_about_and_charged_exactly() -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=10 * EURO)
        call = await rig.talking()
        await rig.clock.advance(62)
        await rig.kill_daemon()
        await rig.clock.advance(70)
        order, before = Order(rig), await rig.balance()
        await rig.start_daemon()
        await rig.clock.advance(0)
        assert order.orders == ["deadlines"]
        now = await rig.balance()
        assert (now.posted, now.reserved > before.reserved) == (before.posted, True)
        await rig.clock.advance(2)
        assert order.orders[:2] == ["deadlines", "look"]
        await rig.clock.advance(100)
        await rig.hang_up(call)
        await rig.clock.advance(10)
        booked = await cdr(rig)
        assert (booked["billed_s"], booked["proof"]) == (234, "black_box")
        assert (await rig.balance()).posted == 10 * EURO - 234 * SECOND


async def test_call_that_ended_during_the_outage_gets_back_what_was_reserved_before_anyone_knew() -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=10 * EURO)
        call = await rig.talking()
        await rig.clock.advance(62)
        await rig.kill_daemon()
        await rig.clock.advance(20)
        await rig.hang_up(call)
        await rig.clock.advance(50)
        await rig.start_daemon()
        await rig.clock.advance(10)
        assert (await cdr(rig))["billed_s"] == 82
        assert await rig.balance() == Balance(10 * EURO - 82 * SECOND)


@asynccontextmanager
async def an_outage(calls: int = 1, store: Store | None = None) -> AsyncIterator[tuple[Rig, list[FakeCall], Order]]:
    """A daemon that was killed under so many calls that have ticked, a second apart, and starts when the first has nine
    seconds left."""
    async with make_rig(tariff=plan(make_tariff(), "light", max_calls=calls), store=store) as rig:
        await rig.subscriber(credit=100 * EURO)
        made = []
        for _ in range(calls):
            made.append(await rig.talking())
            await rig.clock.advance(1)
        await rig.clock.advance(62)
        await rig.kill_daemon()
        await rig.clock.advance(180 - 9 - 62 - calls)
        yield rig, made, Order(rig)


def is_paid_ahead(rig: Rig, call: FakeCall) -> bool:
    """Whether the switch cuts it no earlier than in 100 seconds."""
    until_us = [at_us for uid, at_us in rig.switch.deadlines if uid == call.callee_uid]
    return bool(until_us) and until_us[-1] > rig.clock.now().plus(100).mono_us


async def test_many_are_paid_in_groups_the_first_to_be_cut_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charging.engine.paid_first.TOGETHER", 3)
    async with an_outage(11) as (rig, calls, order):
        rig.switch.deadlines.clear()
        await rig.start_daemon()
        await rig.clock.advance(0)
        assert order.orders == ["deadlines"] * 4
        callees = [uid for uid, _ in rig.switch.deadlines if uid.endswith("callee")]
        assert [sorted(callees[at : at + 3]) for at in range(0, 11, 3)] == [
            sorted(call.callee_uid for call in calls[at : at + 3]) for at in range(0, 11, 3)
        ]
        assert all(is_paid_ahead(rig, call) for call in calls)


async def test_start_waits_for_the_link_before_it_asks_about_calls_that_can_be_paid_first() -> None:
    async with an_outage() as (rig, (call,), order):
        reconciled, rig.switch.reconciled = rig.switch.reconciled, lambda: None  # type: ignore[method-assign]
        await rig.start_daemon()
        await rig.clock.advance(1)
        assert order.orders == []
        reconciled()
        await rig.clock.advance(0.1)
        assert order.orders == ["deadlines"]
        assert is_paid_ahead(rig, call)


async def test_where_the_link_is_not_proven_in_time_the_call_is_asked_about_first() -> None:
    async with an_outage() as (rig, _, order):
        rig.switch.reconciled = lambda: None  # type: ignore[method-assign]
        await rig.start_daemon()
        await rig.clock.advance(3.1)
        assert order.orders[:1] == ["look"]


async def test_call_that_ends_before_its_money_is_reserved_is_not_paid() -> None:
    async with an_outage() as (rig, (call,), order):
        reconciled, rig.switch.reconciled = rig.switch.reconciled, lambda: None  # type: ignore[method-assign]
        await rig.start_daemon()
        before = await rig.balance()
        rig.switch.end(call.session)
        reconciled()
        await rig.clock.advance(0.1)
        assert "deadlines" not in order.orders
        await rig.clock.advance(10)
        assert (await rig.balance()).reserved == 0
        assert before.reserved > 0


async def test_reservation_whose_answer_is_lost_is_asked_for_again_and_the_deadline_moved() -> None:
    store = FaultyStore(random.Random(0))
    async with an_outage(store=store) as (rig, (call,), order):
        store.lose_answers = 1
        await rig.start_daemon()
        await rig.clock.advance(0)
        assert order.orders == []
        await rig.clock.advance(2)
        assert order.orders[0] == "deadlines"
        assert is_paid_ahead(rig, call)
        await rig.clock.advance(60)
        await rig.hang_up(call)
        await rig.clock.advance(10)
        assert (await rig.balance()).reserved == 0


async def test_money_that_others_have_taken_meanwhile_is_not_reserved() -> None:
    store = FaultyStore(random.Random(0))
    async with an_outage(store=store) as (rig, (call,), _):
        store.theft = (await rig.balance()).available - 20 * SECOND
        await rig.start_daemon()
        await rig.clock.advance(3)
        assert (await rig.balance()).available == 0
        assert rig.session_of(call).short is Short.MONEY


async def test_deadline_that_the_switch_did_not_move_is_ordered_again() -> None:
    async with an_outage() as (rig, (call,), order):
        fails = iter([True, True])
        rig.switch.disobeys = lambda: order.orders == ["deadlines"] and next(fails, False)
        await rig.start_daemon()
        await rig.clock.advance(0)
        assert order.orders[:2] == ["deadlines", "deadlines"]
        assert is_paid_ahead(rig, call)


async def test_daemon_that_has_lost_its_lease_orders_nothing_and_lets_go() -> None:
    async with an_outage() as (rig, (call,), order):
        rig.switch.deadlines.clear()
        balances_of = rig.store.balances_of

        async def read(accounts: Sequence[str]) -> object:
            rig.registry.leads = lambda: False
            return await balances_of(accounts)

        rig.store.balances_of = read  # type: ignore[method-assign, assignment]
        await rig.start_daemon()
        await rig.clock.advance(1)
        await rig.recovery.stand_by()
        await rig.clock.advance(5)
        assert ("deadlines" in order.orders, rig.switch.deadlines) == (False, [])
        assert rig.registry.open.find(call.session) is None


async def test_calls_that_were_found_before_the_link_was_lost_again_are_paid_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A lost link breaks off the reconciliation, and the next one does not find them a second time."""
    reconcile = Recovery.reconcile

    async def broken_off_once(recovery: Recovery) -> None:
        monkeypatch.setattr(Recovery, "reconcile", reconcile)
        reconciling, found = asyncio.create_task(recovery.reconcile()), recovery.registry.open.runners
        async with asyncio.timeout(60):
            while not found:  # noqa: ASYNC110  the next turn of the loop would find the other
                await asyncio.sleep(0)
        reconciling.cancel()
        await asyncio.wait((reconciling,))
        assert (reconciling.cancelled(), len(found)) == (True, 1)
        await recovery.reconcile()

    async with an_outage(2) as (rig, calls, _):
        monkeypatch.setattr("charging.tasks.Breath.TURNS", 1)
        monkeypatch.setattr(Recovery, "reconcile", broken_off_once)
        rig.switch.deadlines.clear()
        await rig.start_daemon()
        await rig.clock.advance(0.1)
        assert [is_paid_ahead(rig, call) for call in calls] == [True, True]


async def test_call_that_never_ticked_is_asked_about_first() -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=10 * EURO)
        await rig.talking()
        await rig.clock.advance(30)
        await rig.kill_daemon()
        await rig.clock.advance(60)
        order = Order(rig)
        await rig.start_daemon()
        await rig.clock.advance(0)
        assert order.orders == ["look", "deadlines"]
