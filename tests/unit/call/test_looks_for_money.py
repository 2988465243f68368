"""A call that runs out looks for money that another daemon may have booked (R22): a look is a read, and books nothing
unless there is more than what is reserved."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from charging.call.model import Policy
from charging.ledger.model import CREDIT, Kind, Leg, Transfer
from tests.fakes.rig import EURO, Rig, make_rig, make_tariff, plan
from tests.unit.call.test_call import SECOND, last_cdr

ALONE = Policy(tick_s=1800, horizon_s=1800)
SHARED = Policy(tick_s=1800, horizon_s=1800, short_poll_s=1)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with make_rig(SHARED) as one:
        yield one


async def top_up_elsewhere(rig: Rig, amount: int) -> None:
    """By a daemon that cannot tell ours."""
    line = Transfer("top-up/elsewhere", "anna", Kind.TOP_UP, rig.clock.now().wall_us, (Leg(CREDIT, amount),))
    await rig.store.apply(line)


@pytest.mark.parametrize("talked_s", [10, 1700])
async def test_looks_for_money_book_nothing_while_there_is_none(talked_s: int) -> None:
    booked = []
    for policy in (ALONE, SHARED):
        async with make_rig(policy) as rig:
            await rig.subscriber(credit=1800 * SECOND)
            await rig.talking()
            await rig.clock.advance(talked_s)
            booked.append([line.id.split("/", 1)[1] async for line in rig.store.journal("anna")])
    assert booked[0] == booked[1]


async def test_r22_money_of_another_daemon_lets_a_call_go_on_within_a_look(rig: Rig) -> None:
    await rig.subscriber(credit=1800 * SECOND)
    call = await rig.talking()
    await rig.clock.advance(1795)
    await top_up_elsewhere(rig, 100 * SECOND)
    await rig.clock.advance(2)
    assert rig.session_of(call).covered_s == 1900
    await rig.clock.advance(98)
    assert call.caller_alive
    await rig.clock.advance(6)
    assert not call.caller_alive
    assert (await last_cdr(rig))["billed_s"] == 1900
    assert await rig.reserved() == {}


async def test_r22_a_call_whose_answer_was_inferred_looks_for_money_before_its_first_tick(rig: Rig) -> None:
    await rig.subscriber(credit=100 * SECOND)
    call = await rig.ringing()
    await rig.kill_daemon()
    await rig.clock.advance(3)
    rig.switch.answer(call.session)
    await rig.clock.advance(1)
    await rig.start_daemon()
    await rig.clock.advance(20)
    await top_up_elsewhere(rig, 50 * SECOND)
    await rig.clock.advance(2)
    assert rig.session_of(call).covered_s == 150
    await rig.clock.advance(100)
    assert call.caller_alive


async def test_r22_money_that_comes_again_is_found_again(rig: Rig) -> None:
    await rig.subscriber(credit=1800 * SECOND)
    call = await rig.talking()
    await rig.clock.advance(600)
    for number in range(3):
        amount = Leg(CREDIT, 10 * SECOND)
        await rig.store.apply(Transfer(f"top-up/{number}", "anna", Kind.TOP_UP, 0, (amount,)))
        await rig.clock.advance(2)
        assert rig.session_of(call).covered_s == 1800 + 10 * (number + 1)


async def test_a_look_over_a_silent_link_asks_nobody(rig: Rig) -> None:
    await rig.subscriber(credit=1800 * SECOND)
    call = await rig.talking()
    await rig.clock.advance(60)
    rig.switch.up = False
    await rig.clock.advance(10)
    await top_up_elsewhere(rig, EURO)
    await rig.clock.advance(60)
    assert rig.session_of(call).covered_s == 1800
    rig.switch.up = True
    await rig.recovery.reconcile()
    await rig.clock.advance(2)
    assert rig.session_of(call).covered_s == 1800 + 1000


async def test_no_look_where_no_money_moves_the_end() -> None:
    """The longest call ends where it ends."""
    tariff = plan(make_tariff(), "light", max_call_s=180)
    async with make_rig(Policy(short_poll_s=1), tariff) as rig:
        await rig.subscriber(credit=1000 * EURO)
        call = await rig.talking()
        await rig.clock.advance(150)
        assert str(rig.session_of(call).short) == "cap"
        assert rig.session_of(call).look_mono_us is None
