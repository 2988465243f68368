"""Sessions that wait have no task; of many that have something to do, those act first that would be cut first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from charging.call.events import Draining
from charging.engine import turns
from tests.fakes.rig import EURO, Rig, make_rig
from tests.fakes.switch import FakeCall

CALLS = 4


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with make_rig() as rig:
        await rig.subscriber(credit=100 * EURO)
        yield rig


@pytest.fixture
def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "AT_ONCE_MAX", 1)


def session_tasks() -> list[str]:
    names = {task.get_name() for task in asyncio.all_tasks()}
    return [name for name in names if name.startswith("session-") and name != "session-audit"]


async def test_a_call_that_only_talks_has_no_task(rig: Rig) -> None:
    call = await rig.talking()
    await rig.clock.advance(rig.policy.tick_s + 1)
    assert [task for task in session_tasks() if call.session in task] == []
    await rig.clock.advance(10)
    rig.switch.end(call.session)
    await rig.clock.advance(1)
    assert await rig.reserved() == {}


@pytest.mark.usefixtures("one_at_a_time")
async def test_the_call_that_would_be_cut_first_acts_first(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[FakeCall] = []
    for _ in range(CALLS):
        calls.append(await rig.talking())
        await rig.clock.advance(5)
    asked: list[str] = []
    balances = rig.store.balances

    async def noting(account: str) -> object:
        task = asyncio.current_task()
        assert task is not None
        asked.append(task.get_name().removeprefix("session-"))
        await asyncio.sleep(0)
        return await balances(account)

    monkeypatch.setattr(rig.store, "balances", noting)
    further = replace(rig.policy, drain_s=rig.policy.horizon_s + rig.policy.tick_s + 60)
    for call in reversed(calls):
        runner = rig.runner_of(call)
        runner.policy = further
        runner.offer(Draining())
    await rig.clock.advance(1)
    *sooner, last = [call.session for call in calls]
    assert asked == [last, *sooner], "who acts already is not interrupted"


@pytest.mark.usefixtures("one_at_a_time")
async def test_all_come_to_their_turn(rig: Rig) -> None:
    calls = [await rig.talking() for _ in range(CALLS)]
    await rig.clock.advance(2 * rig.policy.tick_s + 1)
    for call in calls:
        assert rig.session_of(call).fixed_s >= rig.policy.tick_s
        rig.switch.end(call.session)
    await rig.clock.advance(1)
    assert (await rig.reserved(), session_tasks()) == ({}, [])
