"""The wall clock is stepped somewhere in a call, and the daemon is there, away or frozen: what is billed (R3)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from inspect import isawaitable

import pytest

from charging.call.model import Policy
from charging.call.switch_events import SwitchEvent
from tests.fakes.rig import EURO, Rig, make_rig

ANSWERED_S, ENDED_S = 20, 144
TALKED_S = ENDED_S - ANSWERED_S
STEPPED_S = {"while it rings": 15, "as it begins": 25, "in its midst": 80, "as it ends": 139, "after its end": 149}
AWAY_S = {"short": (-3, 3), "long": (-10, 10), "afterwards": (2, 12)}
"""From when until when the daemon is away, in seconds after the step."""
ABSENCES = [
    *[(how, away) for how in ("frozen", "without the lease", "without the link") for away in AWAY_S],
    *[(how, away) for how in ("killed", "moved") for away in AWAY_S],
]
"""One that is killed and started again on the same machine finds the step by what its record knows of the clocks. On
another machine, or on one that was booted again, nothing tells it but the switch's own record."""


@dataclass
class Absence:
    """The daemon is not there for a while."""

    rig: Rig
    how: str
    frozen: bool = False
    held: list[SwitchEvent] = field(default_factory=list)

    async def begin(self) -> None:
        rig = self.rig
        match self.how:
            case "frozen":
                self.frozen, rig.switch.deliver = True, self.held.append
            case "killed" | "moved":
                await rig.kill_daemon()
            case "without the lease":
                rig.registry.leads = lambda: False
                await rig.recovery.stand_by()
            case "without the link":
                rig.switch.up = False

    async def end(self) -> None:
        rig = self.rig
        match self.how:
            case "frozen":
                self.frozen, rig.switch.deliver = False, rig.registry.deliver
                for event in self.held:
                    rig.registry.deliver(event)
            case "killed":
                await rig.start_daemon()
            case "moved":
                rig.clock.boot = "another boot"
                await rig.start_daemon()
            case "without the lease":
                rig.registry.leads = lambda: True
                await rig.recovery.lead(1)
            case "without the link":
                rig.switch.up = True
                await rig.recovery.reconcile()

    async def wait(self, seconds: float) -> None:
        if self.frozen:
            self.rig.clock.pass_unseen(seconds)
        else:
            await self.rig.clock.advance(seconds)


@pytest.mark.parametrize("tells_since", [True, False], ids=["since", ""])
@pytest.mark.parametrize("step_s", [-30, 5])
@pytest.mark.parametrize("at", STEPPED_S)
@pytest.mark.parametrize(("how", "away"), ABSENCES)
async def test_no_step_is_billed_and_none_cuts_who_can_pay(
    how: str, at: str, away: str, step_s: int, *, tells_since: bool
) -> None:
    """Less than what was talked may be billed: the step, and what an answer may be known wrong by."""
    async with make_rig(Policy(short_poll_s=1)) as rig:
        rig.switch.tells_since, rig.switch.notes_uptime = tells_since, how == "moved"
        await rig.subscriber(credit=10 * EURO)
        call = await rig.ringing()
        absence, stepped_s = Absence(rig, how), STEPPED_S[at]
        begins_s, ends_s = AWAY_S[away]
        happens: list[tuple[float, Callable[[], object]]] = [
            (ANSWERED_S, lambda: rig.switch.answer(call.session)),
            (ENDED_S + 0.1, lambda: rig.switch.end(call.session)),
            (stepped_s, lambda: rig.switch.step_clock(step_s)),
            (stepped_s + begins_s, absence.begin),
            (stepped_s + ends_s, absence.end),
        ]
        now_s = 0.0
        for at_s, what in sorted(happens, key=lambda one: one[0]):
            await absence.wait(at_s - now_s)
            now_s = at_s
            if isawaitable(done := what()):
                await done
            await absence.wait(0)
        await rig.clock.advance(60)
        assert call.true_ms == TALKED_S * 1000 + 100, "nobody cuts it"
        (row,) = await rig.store.cdrs()
        booked = json.loads(row.document)
        assert TALKED_S - abs(step_s) - 2 <= booked["billed_s"] <= TALKED_S
        assert booked["overrun_s"] == 0
        assert await rig.reserved() == {}


@pytest.mark.parametrize("step_s", [-30, -3, 3, 30])
@pytest.mark.parametrize("first", ["the step", "the answer"])
@pytest.mark.parametrize("how", ["frozen", "without the lease", "without the link", "killed"])
async def test_r23_who_answers_while_nobody_watches_is_cut_where_his_money_ends_though_the_clock_is_stepped(
    how: str, first: str, step_s: int
) -> None:
    """The switch notes how long its machine was up as the leg was answered: so it is known which came first."""
    async with make_rig() as rig:
        await rig.subscriber(credit=1 * EURO)
        call = await rig.ringing()
        absence = Absence(rig, how)
        await rig.clock.advance(5)
        await absence.begin()
        for what in ("the step", "the answer") if first == "the step" else ("the answer", "the step"):
            await absence.wait(10)
            if what == "the step":
                rig.switch.step_clock(step_s)
            else:
                rig.switch.answer(call.session)
        await absence.wait(10)
        await absence.end()
        await rig.clock.advance(20)
        assert call.answered is not None
        assert call.deadline_mono_us is not None
        (stored,) = await rig.store.sessions()
        paid_s = json.loads(stored.state)["funding"][-1][1]
        held_s = (call.deadline_mono_us - call.answered.mono_us) / 1_000_000
        assert paid_s - 0.5 <= held_s <= paid_s + 1
        await rig.clock.advance(3600)
        (row,) = await rig.store.cdrs()
        booked = json.loads(row.document)
        assert call.true_ms // 1000 - abs(step_s) - 1 <= booked["billed_s"] <= -(-call.true_ms // 1000)
        assert booked["overrun_s"] == 0


async def test_an_end_that_was_heard_of_a_little_late_is_not_billed_so_where_the_clock_was_stepped() -> None:
    async with make_rig() as rig:
        await rig.subscriber(credit=10 * EURO)
        call = await rig.talking()
        await rig.clock.advance(10)
        rig.switch.step_clock(40)
        await rig.clock.advance(30.1)
        held: list[SwitchEvent] = []
        rig.switch.deliver = held.append
        rig.switch.end(call.session)
        await rig.clock.advance(1.9)
        rig.switch.deliver = rig.registry.deliver
        for event in held:
            rig.registry.deliver(event)
        await rig.clock.advance(60)
        (row,) = await rig.store.cdrs()
        assert json.loads(row.document)["billed_s"] == 40
