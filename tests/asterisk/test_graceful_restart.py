"""Asterisk is restarted under a call: what each of its ways does to the call, and to its money."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from charging.lab import Call, Lab, LabError
from charging.lab.call import CallState
from tests.asterisk.engine import MEASURES_APART_S, SECOND, Engine, engine, is_as_long, number_of

pytestmark = pytest.mark.asterisk

HORIZON_S = 4
RESTARTED_WITHIN_S = 60
"""After its last call has ended; the machine may be busy."""
POLICY = {"tick_s": 2, "horizon_s": HORIZON_S, "warn_before_s": 2}


async def _told(lab: Lab, command: str) -> str:
    """What the console answers, "" if nothing. It answers an order to restart when that is done, or given up."""
    with contextlib.suppress(LabError, OSError):
        return await lab.switch.cli(command)
    return ""


@contextlib.asynccontextmanager
async def restarting(lab: Lab, how: str) -> AsyncIterator[None]:
    """Order it, and wait at the end until the new Asterisk is up. The console does not answer before that."""

    before = await lab.switch.action("CoreStatus")
    ordered = asyncio.create_task(_told(lab, how))
    yield
    try:
        async with asyncio.timeout(RESTARTED_WITHIN_S):
            while await _booted(lab) in ("", before["CoreStartupTime"]):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"no other Asterisk after {RESTARTED_WITHIN_S} s: {await _waits_for(lab)}") from None
    await ordered


async def _waits_for(lab: Lab) -> str:
    """The channels that are left, as far as the console tells, and the end of the switch's log."""
    left = await _told(lab, "core show channels concise") or "no channel, or the console does not answer"
    return f"{left}\n{lab.switch.log_tail()}"


async def _booted(lab: Lab) -> str:
    """When the Asterisk that has read its dialplan was started, or "". Its manager answers before it has read it."""
    if not (await _told(lab, "core waitfullybooted")).startswith("Asterisk has fully booted"):
        return ""
    try:
        return (await lab.switch.action("CoreStatus"))["CoreStartupTime"]
    except (LabError, OSError):
        return ""


def _states(live: Engine) -> list[str]:
    return [line["state"] for line in live.daemon.events("ami_link_changed")]


async def _talking(live: Engine, **how: float) -> Call:
    call = await live.call(**how)
    await call.wait_state(CallState.ANSWERED)
    await live.heard("tick_posted")
    return call


async def test_graceful_restart_cuts_at_the_horizon_and_charges_exactly(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path, policy=POLICY) as live:
        call = await _talking(live)
        async with restarting(lab, "core restart gracefully"):
            shutting = await live.heard("ami_link_changed", times=4)
            assert shutting["state"] == "shutting_down"
            assert "core abort shutdown" in shutting["advice"]
            await call.wait_end(HORIZON_S + 30)
        cdr = await live.cdr()
        await live.nothing_reserved()
        assert is_as_long(cdr, call.duration_s), cdr
        assert await live.posted() == 10_000_000 - cdr["billed_s"] * SECOND
        assert not {"wrong_secret", "forbidden"} & set(_states(live))


async def test_after_a_drain_a_graceful_restart_cuts_no_call_that_can_pay(lab: Lab, tmp_path: Path) -> None:
    """And one whose money ends is cut when it does, by the deadline that Asterisk was given before."""
    async with engine(lab, tmp_path, policy=POLICY, others=1, credit="20.00") as live:
        paid_s = 10
        await live.daemon.post("/accounts/other-1/corrections", {"amount": "-19.99", "reason": "test"}, "poor")
        rich = await _talking(live, hang_up_after_s=3 * HORIZON_S + 6)
        poor = await lab.place_call(number_of(1))
        await poor.wait_state(CallState.ANSWERED)
        await live.heard("bridge_joined", times=2)
        drained = await live.daemon.put("/drain", {"refuse_new": True})
        sessions = [one["session"] for one in live.daemon.events("bridge_joined")]
        assert sorted(drained["paid"]) == sorted(sessions)
        assert (drained["short_of_money"], drained["ringing"], drained["behind"]) == (sessions[1:], [], [])
        elsewhere = await lab.place_call(number_of(1))
        await elsewhere.wait_end()
        assert elsewhere.cause in (34, 42), "the carrier is told to try another way"
        async with restarting(lab, "core restart gracefully"):
            await live.heard("ami_link_changed", times=4)
            assert live.daemon.events("ami_link_changed")[-1]["state"] == "shutting_down"
            await poor.wait_end(paid_s + 30)
            assert abs(poor.duration_s - paid_s) < MEASURES_APART_S
            await rich.wait_end(3 * HORIZON_S + 30)
        assert rich.duration_s > 3 * HORIZON_S + 5.5, "it outlived its horizon by far"
        await live.nothing_reserved()
        billed = {cdr["account"]: cdr for cdr in await live.cdrs(2)}
        assert is_as_long(billed["anna"], rich.duration_s), billed
        assert await live.posted() == 20_000_000 - billed["anna"]["billed_s"] * SECOND
        assert (billed["other-1"]["billed_s"], billed["other-1"]["overrun_s"]) == (paid_s, 0)
        assert not (await live.daemon.get("/drain"))["on"], "Asterisk is another one now"


async def test_restart_when_convenient_lets_calls_live_as_long_as_their_money(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path, policy=POLICY) as live:
        call = await _talking(live, hang_up_after_s=HORIZON_S + 6)
        async with restarting(lab, "core restart when convenient"):
            await call.wait_end(HORIZON_S + 30)
        assert call.duration_s > HORIZON_S + 5.5
        cdr = await live.cdr()
        assert is_as_long(cdr, call.duration_s), cdr
        told = [line.get("state", line["event"]) for line in live.daemon.events()]
        assert "shutting_down" not in told[: told.index("call_settled")], "while there was a call"


@pytest.mark.parametrize(
    ("how", "daemon_restarts", "horizon_s"),
    [("core stop gracefully", False, 8), ("core restart gracefully", True, 14)],
)
async def test_a_shutdown_that_is_aborted_cuts_nobody(
    lab: Lab, tmp_path: Path, how: str, daemon_restarts: bool, horizon_s: int
) -> None:
    """As the daemon advises. One that is started meanwhile, within the horizon, waits for the link, and goes on."""
    async with engine(lab, tmp_path, policy={**POLICY, "horizon_s": horizon_s}) as live:
        call = await _talking(live)
        ordered = asyncio.create_task(_told(lab, how))
        await live.heard("ami_link_changed", times=4, deadline_s=20)
        assert _states(live)[-1] == "shutting_down"
        if daemon_restarts:
            await live.daemon.kill()
            await live.daemon.start(wait_for_switch=False)
        ticks = len(live.daemon.events("tick_posted"))
        await lab.switch.cli("core abort shutdown")
        await live.heard("tick_posted", times=ticks + horizon_s // POLICY["tick_s"], deadline_s=60)
        await call.mobile_hangs_up()
        await call.wait_end(15)
        cdr = await live.cdr()
        assert call.duration_s > horizon_s
        assert is_as_long(cdr, call.duration_s), cdr
        assert await live.posted() == 10_000_000 - cdr["billed_s"] * SECOND
        await ordered
