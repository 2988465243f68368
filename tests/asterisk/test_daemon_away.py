"""The daemon dies, freezes or loses its link in a call: nobody who can pay is cut, nothing is lost or doubled."""

from __future__ import annotations

import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest

from charging.lab import Call, CallState, Lab
from tests.asterisk.engine import SECOND, Engine, engine, is_as_long
from tests.fakes.relay import Relay

pytestmark = pytest.mark.asterisk

CREDIT = 10_000_000
LONG_HORIZON = {"horizon_s": 45, "warn_before_s": 5}
"""A daemon's start takes seconds on a busy machine."""
MOVED_S = 40
"""The money of the beginning ends before, with the backstop's five seconds."""


async def _charged_once(live: Engine, call: Call, credit: int = CREDIT) -> None:
    """The one CDR is exact to the second by the parties' own measure, and the books agree with it."""
    cdr = await live.cdr()
    assert len((await live.daemon.get("/cdrs"))["items"]) == 1
    assert cdr["proof"] == "black_box"
    assert is_as_long(cdr, call.duration_s), cdr
    assert await live.posted() == credit - cdr["billed_s"] * SECOND
    await live.nothing_reserved()


async def test_daemon_killed_and_restarted_in_a_call_cuts_nobody_and_charges_once(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path, policy=LONG_HORIZON) as live:
        call = await live.call()
        await live.heard("tick_posted", times=2)
        await live.daemon.kill()
        await live.daemon.start()
        ticks = len(live.daemon.events("tick_posted"))
        await live.heard("tick_posted", times=ticks + 3, deadline_s=30)
        assert call.state is CallState.ANSWERED
        await call.hang_up()
        await call.wait_end()
        await _charged_once(live, call)


async def test_daemon_that_is_stopped_says_how_many_calls_live_on_and_until_when(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path) as live:
        call = await live.call()
        await live.heard("tick_posted", times=2)
        assert await live.daemon.stop() == 0
        assert call.state is CallState.ANSWERED
        (said,) = live.daemon.events("daemon_stopping")
        await call.wait_end(15)
        ended = datetime.now(UTC)
        assert said["calls"] == 1
        assert said["first_cut"] == said["last_cut"]
        assert abs((ended - datetime.fromisoformat(said["last_cut"])).total_seconds()) < 1
        await live.daemon.start()
        await _charged_once(live, call)


async def test_daemon_away_when_the_call_ends_charges_it_after_its_restart(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path) as live:
        call = await live.call(hang_up_after_s=4.5)
        await live.heard("call_answered")
        await live.daemon.kill()
        await call.wait_end(15)
        await live.daemon.start()
        await _charged_once(live, call)


async def test_daemon_killed_while_it_rings_finds_the_answer_when_it_comes_back(lab: Lab, tmp_path: Path) -> None:
    from charging.lab import mobile

    async with engine(lab, tmp_path, forward_to=mobile.answers(1.5), policy=LONG_HORIZON) as live:
        call = await live.call()
        await call.wait_state(CallState.RINGING)
        await live.daemon.kill()
        await call.wait_state(CallState.ANSWERED)
        await live.daemon.start()
        await live.heard("answer_inferred")
        await live.heard("tick_posted", times=2, deadline_s=20)
        await call.hang_up()
        await call.wait_end()
        await _charged_once(live, call)


async def test_ami_link_cut_and_restored_in_a_call(lab: Lab, tmp_path: Path) -> None:
    async with (
        Relay(lab.switch.charging_ami.port) as ami,
        engine(lab, tmp_path, policy=LONG_HORIZON, ami_port=ami.port) as live,
    ):
        call = await live.call()
        await live.heard("tick_posted", times=1)
        ami.refusing = True
        ami.cut()
        await live.heard("tick_postponed", deadline_s=20)
        ami.refusing = False
        ticks = len(live.daemon.events("tick_posted"))
        await live.heard("tick_posted", times=ticks + 3, deadline_s=30)
        assert call.state is CallState.ANSWERED
        await call.hang_up()
        await call.wait_end()
        await _charged_once(live, call)


class _SpoiltDeadlines:
    """Spoils each order for a deadline on one channel, so that the switch refuses it; counts the lists of all channels
    that are asked for meanwhile."""

    def __init__(self) -> None:
        self.of = ""
        """Its unique id; empty: nothing is spoilt."""
        self.spoilt = self.lists = 0
        self._action: list[str] = []

    def __call__(self, line: bytes) -> bytes:
        told = line.decode("latin-1").strip()
        if self.of and told.startswith("Timeout: ") and f"Channel: {self.of}" in self._action:
            self.spoilt += 1
            line = b"Timeout: none\r\n"
        self._action.append(told)
        if not told:
            is_list = "Action: Status" in self._action and not any(one.startswith("Channel: ") for one in self._action)
            self.lists += is_list and self.spoilt > 0
            self._action.clear()
        return line


@pytest.mark.parametrize("dies", [False, True], ids=["the daemon lives", "it dies between the two orders"])
async def test_r22_callers_leg_gets_its_deadline_however_late_the_switch_takes_the_order(
    lab: Lab, tmp_path: Path, dies: bool
) -> None:
    """Else he would be cut where the money of the beginning ended. The deadline of the subscriber's leg was moved, and
    no tick comes that would give the orders again."""
    orders, whole = _SpoiltDeadlines(), {"tick_s": 60, "horizon_s": 60, "warn_before_s": 1, "ring_s": 3}
    async with Relay(lab.switch.charging_ami.port) as ami:
        ami.rewrite_asked = orders
        async with engine(lab, tmp_path, credit="0.03", policy=whole, ami_port=ami.port) as live:
            call = await live.call()
            await live.heard("bridge_joined")

            async def variable(channel: str, name: str) -> str:
                return (await lab.switch.action("Getvar", {"Channel": channel, "Variable": name}))["Value"]

            (orders.of,) = [
                one["Uniqueid"]
                for one in await lab.switch.channels()
                if await variable(one["Uniqueid"], "CHARGING_LEG") == "caller"
            ]
            caller = orders.of
            await live.top_up("0.05", "more")

            async def is_listed() -> bool:
                return orders.lists > 0

            async def is_moved() -> bool:
                return float(await variable(caller, "TIMEOUT(absolute)")) > MOVED_S

            async def is_refused() -> bool:
                return orders.spoilt > 0

            await live.until(is_refused if dies else is_listed, "a refused order, and a list of all channels after it")
            if dies:
                await live.daemon.kill()
            orders.of = ""
            if dies:
                await live.daemon.start()
            await live.until(is_moved, "the later deadline on the caller's leg", 20)
            await call.hang_up()
            await _charged_once(live, call, credit=80_000)


async def test_call_that_ends_while_the_ami_link_is_cut_is_charged_exactly(lab: Lab, tmp_path: Path) -> None:
    async with Relay(lab.switch.charging_ami.port) as ami, engine(lab, tmp_path, ami_port=ami.port) as live:
        call = await live.call(hang_up_after_s=4)
        await live.heard("call_answered")
        ami.refusing = True
        ami.cut()
        await call.wait_end(15)
        ami.refusing = False
        await _charged_once(live, call)


async def test_half_open_ami_link_is_noticed_and_nothing_is_charged_blind(lab: Lab, tmp_path: Path) -> None:
    async with (
        Relay(lab.switch.charging_ami.port) as ami,
        engine(lab, tmp_path, policy={"horizon_s": 20, "warn_before_s": 5}, ami_port=ami.port) as live,
    ):
        call = await live.call()
        await live.heard("tick_posted", times=1)
        ami.freeze()
        await live.heard("tick_postponed", deadline_s=20)
        blind = await live.posted()
        await live.heard("tick_postponed", times=4)
        changed = [line for line in live.daemon.events("ami_link_changed") if line["state"] == "lost"]
        assert changed, "noticed"
        assert await live.posted() == blind
        ami.cut()
        ami.thaw()
        ticks = len(live.daemon.events("tick_posted"))
        await live.heard("tick_posted", times=ticks + 2, deadline_s=30)
        assert call.state is CallState.ANSWERED
        await call.hang_up()
        await call.wait_end()
        await _charged_once(live, call)


async def test_frozen_daemon_that_wakes_up_goes_on_and_charges_once(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path, policy=LONG_HORIZON) as live:
        call = await live.call(hang_up_after_s=6)
        await live.heard("tick_posted", times=1)
        live.daemon.send(signal.SIGSTOP)
        await call.wait_end(20)
        live.daemon.send(signal.SIGCONT)
        await _charged_once(live, call)


async def test_asterisk_killed_in_a_call_is_charged_to_the_last_proven_second(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path) as live:
        await live.call()
        await live.heard("tick_posted", times=3)
        await lab.switch.kill()
        await lab.switch.start()
        cdr = await live.cdr()
        assert cdr["proof"] == "unproven"
        assert 0 < cdr["billed_s"] <= 12
        assert await live.posted() == CREDIT - cdr["billed_s"] * SECOND
        await live.nothing_reserved()
