"""Applications, options and orders of Asterisk that an operator joins to a charged call, beside those of `test_swaps`.

Whatever it is, the forwarded leg is charged to the second that the mobile itself measured, or ended with a reason.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from charging.lab import CallState, Lab
from tests.asterisk.engine import NUMBER, SECOND, Engine, engine, is_as_long
from tests.asterisk.operator_setup import DIALPLAN, OTHER, STRAIGHT, operator_setup
from tests.asterisk.swapped import ENDS_S, Act, Swapped, talking
from tests.asterisk.waiting import eventually

pytestmark = pytest.mark.asterisk

FORWARD = f"Local/{NUMBER}@charging-incoming"
WAYS = {
    "include": [f"Goto(includes,{NUMBER},1)"],
    "switch to Loopback": [f"Goto(loops,{NUMBER},1)"],
    "Gosub": [f"Gosub(charging-incoming,{NUMBER},1)"],
    "RetryDial": [f"RetryDial(beep,1,1,{FORWARD})"],
    "rung for a second, then again": [f"Dial({FORWARD},1)", f"Dial({FORWARD})"],
    "Dial with a limit of its own": [f"Dial({FORWARD},,S(40)eu(prohib))"],
    "volume, jitter buffer and a recording": [
        "Set(VOLUME(TX)=2)",
        "Set(JITTERBUFFER(adaptive)=default)",
        "MixMonitor(combination.wav,b)",
        f"Goto(charging-incoming,{NUMBER},1)",
    ],
    "a handler and a deadline of his own": [
        "Set(CHANNEL(hangup_handler_push)=dawdles,s,1)",
        "Set(TIMEOUT(absolute)=3600)",
        f"Dial({FORWARD})",
    ],
    "queue that remembers": ["Ringing()", "Queue(remembers)"],
    "queue that announces": ["Answer()", "Queue(announces,rH)"],
}
MORE = """
[includes]
include => charging-incoming
exten => h,1,NoOp()
[loops]
switch => Loopback/${EXTEN}@charging-incoming
[dawdles]
exten => s,1,Wait(1)
 same => n,Return()
[leg]
exten => calls,1,Dial(Local/colleague@operator/n)
exten => waits,1,Queue(nobody)
exten => leaves,1,VoiceMail(200@default,s)
exten => parks,1,Park()
exten => again,1,Goto(charging-incoming,+31850000001,1)
"""
QUEUES = f"""
[remembers]
strategy = rrmemory
autofill = yes
ringinuse = no
timeout = 30
wrapuptime = 5
member => {FORWARD}
[announces]
strategy = linear
timeout = 30
announce-frequency = 2
announce-holdtime = yes
reportholdtime = yes
memberdelay = 1
member => {FORWARD}
"""
MODULES = ("pbx_loopback", "func_volume", "func_jitterbuffer")


def _number(index: int) -> str:
    return f"+318500001{index:02d}"


def _contexts() -> str:
    lines = ["[trunk](+)"]
    for index, (first, *more) in enumerate(WAYS.values()):
        lines += [f"exten => {_number(index)},1,{first}", *(f" same => n,{step}" for step in more)]
    return DIALPLAN + "\n".join(lines) + MORE


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared(session_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    """One daemon and one set-up for all of them."""
    async with operator_setup(session_lab, _contexts()):
        queues = session_lab.switch.folder / "etc" / "queues.conf"
        queues.write_text(queues.read_text() + QUEUES)
        await session_lab.switch.cli("module reload app_queue.so")
        for module in MODULES:
            await session_lab.switch.cli(f"module load {module}.so")
        async with engine(session_lab, tmp_path_factory.mktemp("more"), credit="1000.00", others=1) as live:
            yield live


@pytest.mark.parametrize("way", WAYS)
async def test_way_in_is_charged_exactly(lab: Lab, shared: Engine, way: str) -> None:
    one = await talking(shared, _number(list(WAYS).index(way)))
    await one.ticks()
    await one.call.mobile_hangs_up()
    cdr = await one.is_charged_exactly()
    assert cdr["hangup_reason"] == ""
    await one.call.hang_up()
    await one.call.wait_state(CallState.ENDED, ENDS_S)


def _redirected(leg: str, exten: str) -> Act:
    async def act(one: Swapped) -> None:
        where = {"Context": "leg", "Exten": exten, "Priority": "1"}
        await one.lab.switch.action("Redirect", {"Channel": await one.name(leg), **where})

    return act


def _deadline(seconds: str) -> Act:
    async def act(one: Swapped) -> None:
        order = {"Channel": await one.name("callee"), "Variable": "TIMEOUT(absolute)", "Value": seconds}
        await one.lab.switch.action("Setvar", order)

    return act


GOES_ON, ENDS, MOVED = "goes on", "ends", "moved"
ACTS: dict[str, tuple[Act, str]] = {
    "leg calls a colleague": (_redirected("callee", "calls"), GOES_ON),
    "leg waits in a queue": (_redirected("callee", "waits"), MOVED),
    "leg leaves a message": (_redirected("callee", "leaves"), MOVED),
    "leg parks itself": (_redirected("callee", "parks"), GOES_ON),
    "caller parks himself": (_redirected("caller", "parks"), ENDS),
    "caller calls a colleague": (_redirected("caller", "calls"), ENDS),
    "the leg's deadline is taken off": (_deadline("0"), GOES_ON),
    "the leg gets a later deadline": (_deadline("3600"), GOES_ON),
}


@pytest.mark.parametrize("what", ACTS)
async def test_call_goes_on_exactly_or_ends_with_a_reason(lab: Lab, shared: Engine, what: str) -> None:
    act, fate = ACTS[what]
    one = await talking(shared, STRAIGHT)
    await act(one)
    if fate == GOES_ON:
        await one.ticks()
        await one.call.mobile_hangs_up()
    cdr = await one.is_charged_exactly(may_be=["unpaid_channel_seen"])
    assert cdr["hangup_reason"] == (MOVED if fate == MOVED else "")
    await one.call.hang_up()


async def test_call_whose_handlers_are_taken_off_is_charged_by_its_events(lab: Lab, shared: Engine) -> None:
    """The black box is one witness of two."""
    one = await talking(shared, STRAIGHT)
    order = {"Channel": await one.name("callee"), "Variable": "CHANNEL(hangup_handler_pop)", "Value": ""}
    await lab.switch.action("Setvar", order)
    await one.ticks()
    await one.call.mobile_hangs_up()
    cdr = await one.cdr()
    assert cdr["proof"] == "events"
    assert is_as_long(cdr, one.call.mobile.connected_s)
    await shared.nothing_reserved()
    assert await shared.posted() == one.posted - cdr["billed_s"] * SECOND


async def test_caller_who_is_sent_to_us_once_more_makes_a_second_call(lab: Lab, shared: Engine) -> None:
    one = await talking(shared, STRAIGHT)
    await one.ticks()
    await _redirected("caller", "again")(one)
    first = await one.cdr()
    assert is_as_long(first, one.call.mobiles[0].connected_s)
    await one.call.wait_for(lambda: len(one.call.mobiles) == 2 and one.call.mobile.was_answered, "a second mobile")
    await one.ticks()
    await one.call.mobile_hangs_up()
    await shared.nothing_reserved()
    settled = one.told("call_settled")[-1]
    assert settled["session"] != first["session"]
    assert abs(settled["billed_s"] - one.call.mobile.connected_s) < 2
    assert await shared.posted() == one.posted - (first["billed_s"] + settled["billed_s"]) * SECOND


async def test_legs_of_two_calls_that_are_joined_are_charged_each(lab: Lab, shared: Engine) -> None:
    """Two subscribers talk with one another, and both callers are gone."""
    one = await talking(shared, STRAIGHT)
    heard = len(shared.daemon.events())
    call = await lab.place_call(OTHER)
    await call.wait_for(lambda: bool(call.mobiles) and call.mobile.was_answered, "the mobile's answer", ENDS_S)

    async def joined() -> str | None:
        lines = shared.daemon.events()[heard:]
        return next((line["session"] for line in lines if line["event"] == "bridge_joined"), None)

    other = Swapped(shared, call, await eventually(joined, "the bridge to be told", ENDS_S), 0, heard)
    legs = {"Channel1": await one.name("callee"), "Channel2": await other.name("callee")}
    await lab.switch.action("Bridge", legs)
    await one.ticks()
    await one.call.mobile_hangs_up()
    for each in (one, other):
        cdr = await each.cdr()
        mobile = each.call.mobile
        await each.call.wait_state(CallState.ENDED, ENDS_S)
        assert (cdr["proof"], cdr["hangup_reason"]) == ("black_box", "")
        assert is_as_long(cdr, mobile.connected_s), cdr
    await shared.nothing_reserved()
