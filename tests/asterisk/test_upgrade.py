"""docs/operate.md, *Upgrade*: a new version comes, and goes again, while a call lives on the switch."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from charging.lab import Call, CallState, Lab, LabError
from charging.lab.daemon import DaemonProcess
from tests.asterisk.engine import SECOND, Engine, engine, is_as_long
from tests.asterisk.several import site
from tests.integration.redis_servers import RedisServer

pytestmark = [pytest.mark.asterisk, pytest.mark.long]

POLICY = {"horizon_s": 120}
"""The call lives so long on what it has reserved: a stop, a restore and two starts took 31 s on a busy machine."""

NEWER = """\
import sys
from charging.ledger.sqlite import file, upgrade
known = file.schema_versions()
scripts = known | {max(known) + 1: "CREATE TABLE newer (id TEXT PRIMARY KEY) STRICT;"}
file.schema_versions = upgrade.schema_versions = lambda: scripts
from charging.cli import main
sys.exit(main())
"""
"""The next version: this one, with a further schema."""


def newer(daemon: DaemonProcess) -> tuple[str, ...]:
    """The program of a daemon, as the next version."""
    behind = daemon.program[daemon.program.index("charging") + 1 :]
    return (sys.executable, "-c", NEWER, *behind)


async def restarted(live: Engine, program: tuple[str, ...] | None = None) -> None:
    """As `systemctl restart charging` does."""
    assert await live.daemon.stop() == 0
    live.daemon.program = program or live.daemon.program
    await live.daemon.start()


async def goes_on(live: Engine, call: Call) -> None:
    """The call is charged further by this daemon, and nobody has cut it."""
    await live.heard("tick_posted", 40, times=len(live.daemon.events("tick_posted")) + 2)
    assert call.state is CallState.ANSWERED


async def talking(live: Engine) -> Call:
    call = await live.call()
    await call.wait_state(CallState.ANSWERED, 20)
    await goes_on(live, call)
    return call


async def charged_once(live: Engine, call: Call) -> dict[str, Any]:
    """The CDR of the call, which was not cut."""
    await call.hang_up()
    await call.wait_end()
    await live.nothing_reserved(40)
    cdr = await live.cdr()
    assert is_as_long(cdr, call.duration_s), cdr
    assert await live.posted() == 10_000_000 - cdr["billed_s"] * SECOND
    return cdr


async def test_a_new_schema_comes_under_a_call_which_is_charged_exactly(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path, policy=POLICY) as live:
        call = await talking(live)
        await restarted(live, newer(live.daemon))
        await live.heard("ledger_upgrade_done")
        await goes_on(live, call)
        assert (await charged_once(live, call))["proof"] == "black_box"


async def test_the_way_back_cuts_no_call_and_charges_it_exactly(lab: Lab, tmp_path: Path) -> None:
    """The older daemon gets the copy back, which does not know what the newer one has added to the deadline at the
    switch. The leg itself says when it answered."""
    async with engine(lab, tmp_path, policy=POLICY) as live:
        daemon = live.daemon
        older = daemon.program
        call = await talking(live)
        await restarted(live, newer(daemon))
        await goes_on(live, call)
        (copy,) = daemon.folder.glob("ledger.db.schema-*")

        assert await daemon.stop() == 0
        daemon.program = older
        with pytest.raises(LabError, match="use the newer program"):
            await daemon.start()
        restoring = *older[:-1], "ledger", "restore", str(copy)
        restore = await asyncio.create_subprocess_exec(*restoring, env=daemon.environment)
        assert await asyncio.wait_for(restore.wait(), 60) == 0
        await daemon.start()
        await goes_on(live, call)
        assert not daemon.events("answer_moved")
        await charged_once(live, call)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


async def test_two_daemons_are_upgraded_one_after_the_other_without_a_cut_call(
    lab: Lab, redis: RedisServer, tmp_path: Path
) -> None:
    """First the one that stands by, then the holder; the call that the older one began is booked by the newer one."""
    async with site(redis.url, tmp_path, policy=POLICY) as place, place.pair(lab) as (one, two):
        call = await talking(one)
        await restarted(two, newer(two.daemon))
        await goes_on(one, call)
        await restarted(one, newer(one.daemon))
        await two.heard("lease_gained", 40)
        await goes_on(two, call)
        assert (await charged_once(two, call))["proof"] == "black_box"
        (cdr,) = await place.audited()
        assert cdr["overrun_s"] == 0
