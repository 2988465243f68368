"""A stranger who only dials moves no money and ends no call: what he writes into SIP reaches AMI as line breaks.

The switch is real, the daemon is a process of its own, and the strangers are SIPp. The number ``+31850000098`` is the
operator's own (lab's dialplan): its calls never come to ours, so nothing has cleaned what stands in their channels.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from charging.lab import CallState, Lab, mobile
from tests.asterisk.engine import NUMBER, Engine, engine, number_of
from tests.asterisk.raw_call import raw_call
from tests.asterisk.raw_sip import stranger
from tests.fakes.relay import Relay

pytestmark = pytest.mark.asterisk

OPERATORS_OWN = "+31850000098"
CREDIT = 10_000_000
BREAK = "%0d%0a"
LONG_HORIZON = {"horizon_s": 45, "warn_before_s": 5}


def names(words: str) -> str:
    """A caller who writes ``words`` behind a line break. A plain colon would end the user part."""
    return f"<sip:x{BREAK}{words.replace(' ', '%20').replace(':', '%3a')}@carrier.example>"


async def link_made_anew(live: Engine, ami: Relay) -> None:
    """The daemon reads the switch's channels again, strangers' among them."""

    async def is_up_again() -> bool:
        return [one["state"] for one in live.daemon.events("ami_link_changed")].count("up") >= 2

    ami.cut()
    await live.until(is_up_again, "the link to be up again", 20)


@pytest.mark.parametrize(
    "words",
    [
        f"{BREAK}Event: StatusComplete",
        f"{BREAK}Event: StatusComplete{BREAK}EventList: Complete{BREAK}ListItems: 1{BREAK}X: ",
        f"{BREAK}Response: Error{BREAK}Message: no{BREAK}X: ",
        f"{BREAK}Response: Success{BREAK}ActionID: 1{BREAK}EventList: start{BREAK}X: ",
        f"{BREAK}Event: Shutdown{BREAK}Privilege: system,all{BREAK}Restart: False{BREAK}X: ",
    ],
)
async def test_a_stranger_who_rings_ends_no_call_of_others(lab: Lab, tmp_path: Path, words: str) -> None:
    async with (
        Relay(lab.switch.charging_ami.port) as ami,
        engine(lab, tmp_path, others=2, policy=LONG_HORIZON, ami_port=ami.port) as live,
        contextlib.AsyncExitStack() as strangers,
    ):
        calls = []
        for index in range(3):  # before, between and behind: the switch lists its channels in an order of its own
            calls.append(await lab.place_call(number_of(index)))
            await calls[-1].wait_state(CallState.ANSWERED)
            (tmp_path / f"stranger-{index}").mkdir()
            ringing = stranger(lab, tmp_path / f"stranger-{index}", OPERATORS_OWN, caller=names(words))
            await (await strangers.enter_async_context(ringing)).is_told(180)
        await live.heard("call_answered", times=3)
        await link_made_anew(live, ami)
        before = len(live.daemon.events("tick_posted"))
        await live.heard("tick_posted", times=before + 9, deadline_s=40)
        assert [call.state for call in calls] == [CallState.ANSWERED] * 3
        assert (await live.daemon.get("/cdrs"))["items"] == []
        for call in calls:
            await call.hang_up()
        for call in calls:
            await call.wait_end()
        cdrs = await live.cdrs(3)
        assert {cdr["proof"] for cdr in cdrs} == {"black_box"}


@pytest.mark.parametrize("words", ["BridgeID: x", f"BridgeID: x{BREAK}ChannelStateDesc: Up", "Uniqueid: 1.1"])
async def test_a_call_that_only_rings_is_never_answered_by_its_caller(lab: Lab, tmp_path: Path, words: str) -> None:
    async with (
        Relay(lab.switch.charging_ami.port) as ami,
        engine(lab, tmp_path, forward_to=mobile.never_answers(), ami_port=ami.port) as live,
        stranger(lab, tmp_path, NUMBER, caller=names(words)) as call,
    ):
        await call.is_told(180)
        await link_made_anew(live, ami)
        assert await live.posted() == CREDIT
        assert live.daemon.events("answer_inferred") == []


@pytest.mark.parametrize("words", ["ChanVariable: CHARGING_SESSION=z", f"ChanVariable: CHARGING_SESSION=z{BREAK}X: y"])
async def test_a_callers_words_make_no_second_of_his_call_free(lab: Lab, tmp_path: Path, words: str) -> None:
    async with (
        engine(lab, tmp_path, forward_to=mobile.hangs_up(6.5)) as live,
        stranger(lab, tmp_path, NUMBER, caller=names(words)) as call,
    ):
        await call.is_told(200)
        await live.heard("tick_posted", times=2)
        cdr = await live.cdr()
    assert cdr["billed_s"] in (6, 7)
    assert cdr["proof"] == "black_box"


async def test_no_number_that_a_stranger_dials_charges_a_message_that_nobody_left(lab: Lab, tmp_path: Path) -> None:
    """What he dials stands in the record of his call, whose fields have a "|" between."""
    digits = NUMBER.removeprefix("+")
    dialled = f"{digits})%3a0%3a1%7cvm=SUCCESS%7cvmfile=x%7cphase=fallback%7cnumber={digits}"

    async def nothing_is_noted() -> bool:
        return not await lab.switch.channels() and not await lab.switch.black_box()

    async with engine(lab, tmp_path, plan="voice_free") as live:
        async with raw_call(lab, dialled) as call:
            if await call.is_answered("INVITE", 180, 404) == 180:
                call.ask("CANCEL", number=1)
                await call.is_answered("INVITE", 487)
        await live.until(nothing_is_noted, "the daemon to have read what was noted", 60)
        assert await live.posted() == CREDIT
        assert [transfer["kind"] for transfer in await live.journal()] == ["top_up"]
