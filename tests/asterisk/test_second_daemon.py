"""Two daemons at one switch, both known to the dialplan: calls are decided also while the first is dead or frozen."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from charging.lab import CallState, Lab, mobile
from charging.lab.daemon import DaemonProcess
from tests.asterisk.engine import NUMBER, Engine
from tests.asterisk.parties import leave_message, operator_sets
from tests.asterisk.several import Site, site
from tests.integration.redis_servers import RedisServer

pytestmark = pytest.mark.asterisk


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


@contextlib.asynccontextmanager
async def asked(lab: Lab, first: DaemonProcess, second: DaemonProcess) -> AsyncIterator[None]:
    """The dialplan asks these, in this order."""
    async with (
        operator_sets(lab, "CHARGING_AGI", f"127.0.0.1:{first.agi_port}"),
        operator_sets(lab, "CHARGING_AGI_2", f"127.0.0.1:{second.agi_port}"),
    ):
        yield


async def _charged_by(live: Engine, place: Site) -> None:
    """A new call is answered, ticked and booked, and nothing is left over."""
    call = await live.call()
    await call.wait_state(CallState.ANSWERED, 20)
    await live.heard("tick_posted", 30, times=2)
    await call.hang_up()
    await call.wait_end()
    await live.nothing_reserved(30)
    (cdr,) = await place.audited()
    assert cdr["proof"] == "black_box"
    assert abs(cdr["used_ms"] / 1000 - call.duration_s) < 1, "once; test_several_daemons.py measures finer"


async def test_new_call_is_decided_by_the_second_daemon_when_the_first_is_dead(
    lab: Lab, redis: RedisServer, tmp_path: Path
) -> None:
    async with site(redis.url, tmp_path) as place, place.pair(lab) as (one, two), asked(lab, one.daemon, two.daemon):
        await one.daemon.kill()
        await _charged_by(two, place)


async def test_new_call_is_decided_by_the_second_daemon_when_the_first_is_frozen(
    lab: Lab, redis: RedisServer, tmp_path: Path
) -> None:
    async with site(redis.url, tmp_path) as place, place.pair(lab) as (one, two), asked(lab, one.daemon, two.daemon):
        one.daemon.send(signal.SIGSTOP)
        try:
            await _charged_by(two, place)
        finally:
            one.daemon.send(signal.SIGCONT)
        # When it wakes it finds the question of a caller who has long been answered: unproven, it reserves nothing.
        await one.heard("lease_lost", 20)
        await two.nothing_reserved(60)
        assert sum(cdr["billed_s"] > 0 for cdr in await place.audited(besides=1)) == 1


async def test_r6_paid_voicemail_after_a_failed_forward_is_sold_by_the_daemon_that_leads(
    lab: Lab, redis: RedisServer, tmp_path: Path
) -> None:
    async with (
        site(redis.url, tmp_path, plan="voice_free") as place,
        place.pair(lab) as (one, two),
        asked(lab, two.daemon, one.daemon),
    ):
        await place.forward_to(mobile.busy())
        call = await two.call()
        await call.wait_state(CallState.ANSWERED, 20)
        await leave_message(lab, call, seconds=2)
        await call.wait_end(20)
        await one.nothing_reserved()
        await two.heard("agi_request_declined")
        (line,) = [line for line in await one.journal() if line["kind"] == "settle"]
        assert line["reason"] == "voicemail"
        assert NUMBER in str(await one.cdr())
