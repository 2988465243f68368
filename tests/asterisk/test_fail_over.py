"""A call on a real Asterisk while the Redis that pays for it is lost and a replica takes over."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from charging.lab import CallState, Lab
from tests.asterisk.several import charged_once, site, talking
from tests.integration.redis_load import has_all, promoted
from tests.integration.redis_replicated import Cluster, Sentinels
from tests.integration.redis_servers import PROMOTED_S, wait_until

pytestmark = pytest.mark.asterisk


@pytest.fixture(params=["sentinels", "cluster"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sentinels | Cluster]:
    with Sentinels(tmp_path) if request.param == "sentinels" else Cluster(tmp_path, replicas=1) as servers:
        yield servers


async def test_call_goes_on_and_is_charged_once_when_a_fail_over_has_lost_its_last_ticks(
    lab: Lab, shared: Sentinels | Cluster, tmp_path: Path
) -> None:
    """The replica is cut off for two ticks, which nobody has when the master dies: their seconds are posted again."""
    async with (
        site(shared.url, tmp_path, policy={"horizon_s": PROMOTED_S + 30}) as place,
        place.daemon(lab, "one") as one,
    ):
        call = await talking(one)
        await one.heard("tick_posted", times=1)
        master, replica = await asyncio.to_thread(shared.master_and_replica, "anna")
        await asyncio.to_thread(wait_until, lambda: has_all(master), "the replica has not said that it has all")
        replica.freeze()
        master.cli("client", "kill", "type", "replica")  # else what follows waits for it in a socket's buffer
        ticks = len(one.daemon.events("tick_posted"))
        await one.heard("tick_posted", times=ticks + 2)
        master.kill()
        replica.thaw()
        await asyncio.to_thread(wait_until, lambda: promoted(replica), "the replica was not promoted", PROMOTED_S)
        ticks = len(one.daemon.events("tick_posted"))
        await one.heard("tick_posted", 40, times=ticks + 2)
        found = [one.daemon.events(event) for event in ("session_reasserted", "session_restored")]
        assert any(found), "posted again, or begun again from what is stored where the lease was lost for a moment"
        assert call.state is CallState.ANSWERED
        await charged_once(place, one, call)
