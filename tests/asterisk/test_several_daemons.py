"""Several daemons share one Redis: at one switch one ticks and another takes over; at two switches a balance is one."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from charging.lab import CallState, Lab, mobile
from charging.ledger.model import Kept, Kind, Outcome, Transfer
from tests.asterisk.parties import operator_sets, records_gone
from tests.asterisk.several import POLICY, Site, charged_once, covered_s, site, talking, ticks_past
from tests.fakes.relay import Relay
from tests.integration.redis_servers import RedisServer

pytestmark = pytest.mark.asterisk


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def other_lab() -> AsyncIterator[Lab]:
    """A second switch with a world of its own."""
    async with Lab() as lab:
        yield lab


async def test_holder_killed_in_a_call_the_other_takes_over_within_the_horizon(
    lab: Lab, redis: RedisServer, tmp_path: Path
) -> None:
    async with site(redis.url, tmp_path) as place, place.pair(lab) as (one, two):
        call = await talking(one)
        await one.heard("tick_posted", times=2)
        assert two.daemon.events("lease_gained") == []
        await one.daemon.kill()
        paid_until_s = covered_s(one)
        await two.heard("session_restored", POLICY["horizon_s"])
        await ticks_past(two, paid_until_s)
        assert call.state is CallState.ANSWERED, "longer than its first daemon had paid for"
        await charged_once(place, two, call)
        await records_gone(lab)


async def test_holder_that_loses_its_ami_link_in_a_call_leaves_the_switch_to_the_other(
    lab: Lab, redis: RedisServer, tmp_path: Path
) -> None:
    async with (
        Relay(lab.switch.charging_ami.port) as ami,
        site(redis.url, tmp_path, policy={"horizon_s": 20}) as place,
        place.pair(lab, ami_port=ami.port) as (one, two),
    ):
        call = await talking(one)
        await one.heard("tick_posted", times=2)
        ami.refusing = True
        ami.cut()
        paid_until_s = covered_s(one)
        await one.heard("lease_lost", 20)
        await two.heard("session_restored", 20)
        await ticks_past(two, paid_until_s)
        assert call.state is CallState.ANSWERED, "longer than its first daemon had paid for"
        ami.refusing = False
        await charged_once(place, two, call)
        assert one.daemon.events("call_settled") == []


async def _refused_to(place: Site, epoch: int) -> list[Outcome]:
    """What the ledger answers to the writes that a former holder may still have on their way for the running call, when
    everything in them is right but the epoch."""
    async with place.store() as store:
        (session,) = await store.sessions()
        late = Kept(session.state, epoch, session.sequence)
        transfer = Transfer(
            "late/1/extend", "anna", Kind.EXTEND, time.time_ns() // 1000, session=session.id, change=late
        )
        return [await store.keep_session("anna", session.id, late), (await store.apply(transfer)).outcome]


async def test_holder_that_freezes_and_wakes_after_another_took_over_changes_nothing(
    lab: Lab, redis: RedisServer, tmp_path: Path
) -> None:
    """What it wakes up to do is refused several times over: by its own clock, which tells that its lease has ended; by
    its transfers' ids and numbers, which are taken; and by its epoch. Any one of them would do, so the test writes with
    the old epoch itself, in which nothing else is wrong. The ledger's part is proven in ``tests/contract``, the clock's
    in ``tests/unit/engine/test_leadership.py``."""
    async with site(redis.url, tmp_path) as place, place.pair(lab) as (one, two):
        call = await talking(one)
        # Posted, and the switch has answered: an answer that waits for it would be logged when it wakes.
        await one.heard("deadline_moved")
        one.daemon.send(signal.SIGSTOP)
        await two.heard("tick_posted", 30, times=2)
        (epoch, newer) = (live.daemon.events("lease_gained")[-1]["epoch"] for live in (one, two))
        assert epoch < newer
        assert await _refused_to(place, epoch) == [Outcome.FENCED, Outcome.FENCED]
        paid_until_s = covered_s(one)
        done = {event: len(one.daemon.events(event)) for event in ("tick_posted", "deadline_moved", "call_settled")}
        one.daemon.send(signal.SIGCONT)
        await one.heard("lease_lost", 20)
        await ticks_past(two, paid_until_s)
        assert call.state is CallState.ANSWERED
        await charged_once(place, two, call)
        assert {event: len(one.daemon.events(event)) for event in done} == done


async def test_call_that_the_standby_decided_is_ticked_and_booked_by_the_holder(
    lab: Lab, redis: RedisServer, tmp_path: Path
) -> None:
    async with (
        site(redis.url, tmp_path) as place,
        place.pair(lab) as (one, two),
        operator_sets(lab, "CHARGING_AGI", f"127.0.0.1:{two.daemon.agi_port}"),
    ):
        call = await talking(one)
        await two.heard("call_decided")
        await ticks_past(one, POLICY["horizon_s"])
        assert call.state is CallState.ANSWERED
        await charged_once(place, one, call)
        assert two.daemon.events("tick_posted") == []
        await records_gone(lab)


async def test_forward_that_fails_is_released_by_the_holder_when_the_standby_is_asked(
    lab: Lab, redis: RedisServer, tmp_path: Path
) -> None:
    async with (
        site(redis.url, tmp_path) as place,
        place.pair(lab) as (one, two),
        operator_sets(lab, "CHARGING_AGI", f"127.0.0.1:{two.daemon.agi_port}"),
    ):
        await place.forward_to(mobile.busy())
        call = await one.call(hang_up_after_s=2)
        await call.wait_end(20)
        assert call.was_answered, "by voicemail"
        await one.nothing_reserved()
        (cdr,) = await place.audited()
        assert (cdr["billed_s"], cdr["proof"]) == (0, "never_answered")
        await records_gone(lab)


async def test_calls_on_two_switches_share_one_balance_and_never_overspend_it(
    lab: Lab, other_lab: Lab, redis: RedisServer, tmp_path: Path
) -> None:
    policy = {"tick_s": 1, "horizon_s": 4, "warn_before_s": 2}
    async with (
        site(redis.url, tmp_path, credit="0.015", policy=policy, lease_s=2) as place,
        place.daemon(lab, "east", "east") as east,
        place.daemon(other_lab, "west", "west") as west,
    ):
        calls = await asyncio.gather(talking(east), talking(west))
        await asyncio.gather(*(call.wait_end(30) for call in calls))
        for live in (east, west):
            await live.nothing_reserved()
            assert await live.posted() == 0, "the same balance, wherever it is asked"
        cdrs = await place.audited(calls=2)
        assert sorted(cdr["switch"] for cdr in cdrs) == ["east", "west"]
        assert sum(cdr["billed_s"] for cdr in cdrs) == 15
        assert all(cdr["overrun_s"] == 0 for cdr in cdrs)


async def test_r22_top_up_at_another_switchs_daemon_reaches_a_call_that_runs_out_within_a_second(
    lab: Lab, other_lab: Lab, redis: RedisServer, tmp_path: Path
) -> None:
    policy = {"tick_s": 30, "horizon_s": 30, "warn_before_s": 4}
    async with (
        site(redis.url, tmp_path, credit="0.009", policy=policy) as place,
        place.daemon(lab, "east", "east") as east,
        place.daemon(other_lab, "west", "west") as west,
    ):
        call = await talking(east)
        await east.heard("warning_due")
        await west.top_up("1.00", "elsewhere")
        told = time.monotonic()
        await east.heard("warning_rearmed")
        assert time.monotonic() - told < 4, "a second, and the machine's own slowness; its money ends after that"
        assert covered_s(east) > 9
        answered_us = call.outside.answered_us or 0

        async def outlived() -> bool:
            return time.time_ns() // 1000 > answered_us + 9_500_000

        await east.until(outlived, "the end of the call's first money")
        assert call.state is CallState.ANSWERED
        await charged_once(place, east, call)


async def test_redis_killed_and_restarted_in_a_call_that_lives_on_its_reservation(
    lab: Lab, redis: RedisServer, tmp_path: Path
) -> None:
    async with site(redis.url, tmp_path, policy={"horizon_s": 30}) as place, place.daemon(lab, "one") as one:
        call = await talking(one)
        await one.heard("tick_posted", times=2)
        redis.kill()
        await one.heard("lease_lost", 20)
        assert call.state is CallState.ANSWERED
        ticks = len(one.daemon.events("tick_posted"))
        redis.start()
        await one.heard("tick_posted", 40, times=ticks + 3)
        assert call.state is CallState.ANSWERED
        await charged_once(place, one, call)
