"""A wake-up that is due does something: a session that is woken in vain would be woken again at once, for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import pytest

from charging.call.events import Woke
from charging.call.model import Duration, Means, Pending, Policy, Proof, Session, Short, State
from charging.call.storage import Record
from charging.call.table import step, wake_at
from charging.call.voicemail import Voicemail, turn_from
from charging.clock import Instant
from charging.errors import LinkDown
from charging.ledger.model import Kind, Transfer
from tests.fakes.rig import EURO, make_rig

POLICY = Policy()
WOKEN_MAX = 6
"""A wake-up does one thing at a time, of at most as many as there are."""


async def test_call_that_ends_with_the_link_away_and_its_deadline_unset_waits_in_peace() -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=10 * EURO)
        call = await rig.talking()
        await rig.clock.advance(59)
        set_deadline = rig.switch.set_deadline

        async def loses_the_link(uid: str, at: Instant) -> None:
            rig.switch.up = False
            await set_deadline(uid, at)

        rig.switch.set_deadline = loses_the_link  # type: ignore[method-assign]
        await rig.clock.advance(1.2)
        assert not rig.switch.up
        rig.switch.up = True
        rig.switch.end(call.session)
        rig.switch.up = False
        await rig.clock.advance(30)
        assert len(rig.heard("switch_failed")) <= 40, "it asks once a second"
        rig.switch.up = True
        await rig.clock.advance(10)
        assert rig.registry.open.calls() == []
        assert await rig.reserved() == {}


async def test_order_that_fails_is_told_once_the_other_of_its_call_is_over_too() -> None:
    """Left under way, it might overtake the one that is given next."""
    async with make_rig() as rig:
        await rig.subscriber(credit=10 * EURO)
        call = await rig.talking()
        await rig.clock.advance(59)
        answered = asyncio.Event()

        async def one_fails(uid: str, _at: Instant) -> None:
            if uid == call.callee_uid:
                raise LinkDown
            await answered.wait()

        rig.switch.set_deadline = one_fails  # type: ignore[method-assign, assignment]
        await rig.clock.advance(1.2)
        assert not rig.heard("switch_failed")
        answered.set()
        await rig.clock.advance(0.1)
        assert rig.heard("switch_failed")


def sessions(running: Session, now: Instant) -> Iterator[Session]:
    """A call in every state, with every wish unset or overdue, with and without a transfer of unknown outcome."""
    past = now.mono_us - 1
    transfer = Transfer("x", running.account, Kind.EXTEND, now.wall_us, ())
    pending = Pending(transfer, (), running.funding, 0, Short.MONEY, past)
    states = [state for state in State if state is not State.CLOSED]
    for state, check, tick, retry, waits, turns, anchored, short in product(
        states, (None, past), (None, past), (None, past), (None, pending), (None, transfer), (True, False), Short
    ):
        yield replace(
            running,
            state=state,
            check_mono_us=check,
            tick_mono_us=tick,
            retry_mono_us=retry,
            pending=waits,
            turning=turns,
            anchored=anchored,
            short=short,
            ended=now,
            duration=Duration(1, 1, 0, Proof.EVENTS, now.wall_us),
        )


def woken_in_vain(record: Record, now: Instant) -> bool:
    """Whether it goes on asking to be woken now, though nothing else happens."""
    for _ in range(WOKEN_MAX):
        wish = wake_at(record, POLICY)
        if wish is None or wish > now.mono_us:
            return False
        record, _ = step(record, Woke(now.mono_us), now, POLICY)
    return True


async def test_no_call_is_woken_in_vain() -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=10 * EURO)
        running = rig.session_of(await rig.talking())
        now = rig.clock.now().plus(90)
        assert [one for one in sessions(running, now) if woken_in_vain(one, now)] == []


@pytest.mark.parametrize("state", [state for state in State if state is not State.CLOSED])
async def test_no_voicemail_is_woken_in_vain(state: State) -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=10 * EURO)
        now = rig.clock.now()
        voicemail, transfer = turn_from(rig.session_of(await rig.talking()), 1, Means(), "BUSY", now)
        past = now.mono_us - 1
        for check, retry, pending in product((None, past), (None, past), (None, transfer)):
            one: Voicemail = replace(
                voicemail, state=state, ended=now, check_mono_us=check, retry_mono_us=retry, pending=pending
            )
            assert not woken_in_vain(one, now), one
