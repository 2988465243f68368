"""What sentinels know of a fail-over: one question serves all that wait, and one that is away holds up nobody."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from charging.ledger.redis import watch
from charging.ledger.redis.watch import Master, SentinelWatch
from tests.fakes.ami import eventually


class Sentinel:
    def __init__(self) -> None:
        self.epoch, self.flags = b"1", b"master"
        self.asked = 0
        self.error: Exception | None = None
        self.waits: asyncio.Event | None = None

    async def answer(self) -> list[Any]:
        self.asked += 1
        if self.waits is not None:
            await self.waits.wait()
        if self.error is not None:
            raise self.error
        return [[b"name", b"ledger", b"ip", b"192.0.2.1", b"config-epoch", self.epoch, b"flags", self.flags]]

    async def aclose(self) -> None:
        return


def watching(*sentinels: Sentinel) -> SentinelWatch:
    made = SentinelWatch(cast("list[Redis]", sentinels), lambda one: cast("Sentinel", one).answer())
    made.begin(1)
    return made


async def test_one_sentinel_that_knows_of_a_fail_over_is_enough() -> None:
    one, two = Sentinel(), Sentinel()
    seen = watching(one, two)
    assert await seen.look() is Master.LEADS
    two.flags = b"master,failover_in_progress"
    assert await seen.look() is Master.IN_DOUBT
    one.epoch = b"2"
    assert await seen.look() is Master.REPLACED
    two.flags = b"master"
    seen.begin(1)
    assert await seen.look() is Master.REPLACED, "chosen by one that has not heard of the fail-over yet"
    seen.begin(2)
    assert await seen.look() is Master.LEADS, "the one that was chosen since"


async def test_a_question_that_was_asked_before_serves_nobody_who_comes_later() -> None:
    """What it answers may be older than what is to be confirmed; but all who wait share the next."""
    one = Sentinel()
    seen = watching(one)
    one.waits = asyncio.Event()
    first = asyncio.create_task(seen.look())
    await eventually(lambda: one.asked, "the first is asked")
    later = [asyncio.create_task(seen.look()) for _ in range(10)]
    await asyncio.sleep(0)
    assert one.asked == 1
    one.flags = b"master,failover_in_progress"
    one.waits.set()
    assert await asyncio.gather(*later) == [Master.IN_DOUBT] * 10
    await first
    assert one.asked == 2


@pytest.mark.parametrize("error", [ConnectionError("away"), None])
async def test_a_sentinel_that_is_away_is_waited_for_once_and_asked_again_meanwhile(
    error: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "ANSWER_S", 0.05)
    one, two = Sentinel(), Sentinel()
    seen = watching(one, two)
    two.error, two.waits = error, asyncio.Event() if error is None else None
    assert await seen.look() is Master.LEADS
    monkeypatch.setattr(watch, "ANSWER_S", 60)
    async with asyncio.timeout(5):
        assert await seen.look() is Master.LEADS, "it is not waited for"
    two.error, two.flags = None, b"master,failover_in_progress"
    if two.waits is not None:
        two.waits.set()
    await seen.look()
    await eventually(lambda: 1 not in seen._away, "it is asked again by whoever looks")
    assert await seen.look() is Master.IN_DOUBT
    await seen.close()


async def test_a_sentinel_that_refuses_to_answer_confirms_as_before() -> None:
    class Refusing(Sentinel):
        async def answer(self) -> list[Any]:
            return [ResponseError("NOAUTH")]

    assert await watching(Refusing()).look() is Master.LEADS
    assert await watching().look() is Master.LEADS
