"""After an outage a call that is known to talk is paid ahead before the switch is asked about it again: thousands wait
for that. Nothing is charged by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from charging.call.commands import AskSwitch, Command, Post, ReadBalances, SetDeadline
from charging.call.events import BalancesRead, DeadlineSet, Event, Posted, SwitchSaid, SwitchSilent, Woke
from charging.call.missed_steps import with_missed_steps
from charging.call.model import Policy, Session, Short, from_json
from charging.clock import MICROSECONDS, Instant
from charging.engine.ports import Legs
from charging.errors import SwitchError
from charging.ledger.model import CREDIT, Applied, Balance, Outcome
from tests.fakes.rig import EURO, Rig, make_rig
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
