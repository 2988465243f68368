"""A call on a real Asterisk while the Redis that pays for it is lost and a replica takes over."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from charging.fax.tiff import page_count
from charging.lab import CallState, Lab, LabError, fax_machine
from tests.asterisk.engine import Engine
from tests.asterisk.several import charged_once, site, talking
from tests.asterisk.test_fax import CREDIT, PAGE, by_t38, over, running, send
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


PAGES = 6
"""They take longer than a fail-over."""


async def _sent_again(live: Engine, target: str) -> dict[str, Any]:
    """The answer to the same key, as soon as there is one."""
    found: dict[str, Any] = {}

    async def answered() -> bool:
        try:
            found.update(await send(live, target, PAGES))
        except LabError:  # the lease was lost with the rest, or the ledger has not moved yet
            return False
        return True

    await live.until(answered, "an answer to the same key", 60)
    return found


async def test_r9_fax_that_is_on_the_line_is_not_dialled_again_when_a_fail_over_has_lost_its_opening(
    lab: Lab, tmp_path: Path
) -> None:
    """The same key is asked again: it was delivered twice, and paid once."""
    target = fax_machine.asks_for_t38(808)
    paper = fax_machine.received(lab, target)
    paper.unlink(missing_ok=True)
    with Sentinels(tmp_path) as shared:
        async with (
            by_t38(lab),
            site(shared.url, tmp_path, policy={"horizon_s": PROMOTED_S + 30}) as place,
            place.daemon(lab, "one") as one,
        ):
            await one.heard("lease_gained")
            master, replica = await asyncio.to_thread(shared.master_and_replica, "anna")
            await asyncio.to_thread(wait_until, lambda: has_all(master), "the replica has not said that it has all")
            replica.freeze()
            master.cli("client", "kill", "type", "replica")
            first = await send(one, target, PAGES)
            await running(lab, "SendFAX")
            master.kill()
            replica.thaw()
            await asyncio.to_thread(wait_until, lambda: promoted(replica), "the replica was not promoted", PROMOTED_S)
            assert (await _sent_again(one, target))["session"] == first["session"]
            legs = [channel["Application"] for channel in await lab.switch.channels()]
            assert legs == ["SendFAX"], "it is on the line still, and nothing else is dialled"
            fax = await over(one, first["session"], 120)
            assert (fax["state"], fax["pages_sent"]) == ("sent", PAGES)
            assert page_count(paper.read_bytes()) == PAGES
            await one.nothing_reserved()
            assert await one.posted() == CREDIT - PAGES * PAGE
