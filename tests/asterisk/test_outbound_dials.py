"""Forwards that leave by the operator's own dialplan (``CHARGING_DIAL_PREFIX = Local/``), and what his ``Dial`` may do.

The Local channel is the forwarded leg there. Whatever stands behind it, the call is charged as long as that leg talks,
to the second that the mobile itself measured, and nobody is left on the line behind it, paid by no one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from charging.lab import CallState, Lab
from tests.asterisk.engine import NUMBER, Engine, engine, is_as_long
from tests.asterisk.operator_setup import DIALPLAN, STRAIGHT, feature_codes, operator_setup, press_and_say
from tests.asterisk.parties import channels_gone, operator_sets
from tests.asterisk.swapped import ENDS_S, Swapped, talking

pytestmark = pytest.mark.asterisk

TRUNK = "PJSIP/${EXTEN}@world"
OUTBOUND = {
    "plain": f"Dial({TRUNK},60,b(charging-onward^s^1))",
    "rings, limits, hides": f"Dial({TRUNK},60,rL(300000:60000)eIu(prohib))",
    "asks its own subroutines": f"Dial({TRUNK},60,b(notes^s^1)B(notes^s^1)U(notes))",
    "goes on after": f"Dial({TRUNK},60,gF(out-joined^gone^1))",
    "forked": f"Dial({TRUNK}&Local/closed@operator,60,b(charging-onward^s^1))",
    "a Local channel more": "Dial(Local/${EXTEN}@out-plain)",
    "a queue": "Queue(outbound,r)",
    "parks": f"Dial({TRUNK},60,kK)",
    "transfers": f"Dial({TRUNK},60,tT)",
    "disconnects, records": f"Dial({TRUNK},60,hHxXwW)",
}
CONTEXTS = {name: f"out-{index}" for index, name in enumerate(OUTBOUND)} | {"plain": "out-plain"}


def _contexts() -> str:
    lines = [DIALPLAN]
    for name, application in OUTBOUND.items():
        lines += [f"[{CONTEXTS[name]}]", f"exten => _+X.,1,{application}"]
    return "\n".join(lines) + "\n[out-joined]\nexten => gone,1,Hangup()\n"


QUEUES = """
[outbound]
strategy = ringall
timeout = 60
member => Local/+31610000000@out-plain
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared(session_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    """One daemon and one set-up for all of them."""
    async with operator_setup(session_lab, _contexts()), feature_codes(session_lab):
        queues = session_lab.switch.folder / "etc" / "queues.conf"
        queues.write_text(queues.read_text() + QUEUES)
        await session_lab.switch.cli("module reload app_queue.so")
        async with (
            operator_sets(session_lab, "CHARGING_DIAL_PREFIX", "Local/"),
            engine(session_lab, tmp_path_factory.mktemp("outbound"), credit="1000.00") as live,
        ):
            yield live


async def _nobody_is_left(one: Swapped) -> None:
    await one.call.hang_up()
    await channels_gone(one.lab, ENDS_S)


@pytest.mark.parametrize("how", OUTBOUND)
async def test_forward_that_leaves_by_an_own_dial_is_charged_exactly(lab: Lab, shared: Engine, how: str) -> None:
    async with operator_sets(lab, "CHARGING_DIAL_SUFFIX", f"@{CONTEXTS[how]}"):
        one = await talking(shared, STRAIGHT)
        await one.ticks()
        await one.call.mobile_hangs_up()
        assert (await one.is_charged_exactly())["hangup_reason"] == ""
        await _nobody_is_left(one)


SEVERAL = {
    "a trunk, and one that rings": ("PJSIP/", "@world&Local/closed@operator"),
    "a trunk that fails, and an own context": ("PJSIP/", "@nowhere&Local/+31610000000@out-plain"),
    "an own context, and one that rings": ("Local/", "@out-plain&Local/closed@operator"),
}


@pytest.mark.parametrize("how", SEVERAL)
async def test_forward_that_rings_several_at_once_is_charged_for_who_answers(
    lab: Lab, shared: Engine, how: str
) -> None:
    prefix, suffix = SEVERAL[how]
    async with (
        operator_sets(lab, "CHARGING_DIAL_PREFIX", prefix),
        operator_sets(lab, "CHARGING_DIAL_SUFFIX", suffix),
    ):
        one = await talking(shared, STRAIGHT)
        await one.ticks(4)  # longer than its first deadline
        await one.call.mobile_hangs_up()
        assert (await one.is_charged_exactly())["hangup_reason"] == ""
        await _nobody_is_left(one)


CODES = {
    "caller parks": ("parks", "#7", False),
    "mobile parks": ("parks", "#7", True),
    "caller disconnects": ("disconnects, records", "*0", False),
    "mobile disconnects": ("disconnects, records", "*0", True),
    "caller records": ("disconnects, records", "*3", False),
}


@pytest.mark.parametrize("who", CODES)
async def test_code_that_such_a_dial_allows_keeps_nobody_on_the_line_unpaid(lab: Lab, shared: Engine, who: str) -> None:
    how, code, on_mobile = CODES[who]
    async with operator_sets(lab, "CHARGING_DIAL_SUFFIX", f"@{CONTEXTS[how]}"):
        one = await talking(shared, STRAIGHT)
        await one.ticks()
        await one.call.press(code, on_mobile=on_mobile)
        if "disconnects" in who:
            await one.call.wait_state(CallState.ENDED, ENDS_S)
        else:  # nothing becomes of it: they talk on
            await one.ticks(3)
            assert one.call.state is CallState.ANSWERED
            assert not await lab.switch.listing("ParkedCalls")
            await one.call.mobile_hangs_up()
        await one.is_charged_exactly()
        await _nobody_is_left(one)


@pytest.mark.parametrize("on_mobile", [False, True])
@pytest.mark.parametrize("code", ["#1", "*2"])
async def test_transfer_that_such_a_dial_allows_leads_nowhere(
    lab: Lab, shared: Engine, code: str, on_mobile: bool
) -> None:
    """Not to a colleague, and not to a subscriber's number: blindly the call ends, attended it goes on."""
    async with operator_sets(lab, "CHARGING_DIAL_SUFFIX", f"@{CONTEXTS['transfers']}"):
        one = await talking(shared, STRAIGHT)
        await one.ticks()
        await press_and_say(lab, one.call, code, f"{NUMBER.removeprefix('+')}#", on_mobile=on_mobile)
        if code == "*2":
            await one.ticks(2)
            await one.call.mobile_hangs_up()
        await one.is_charged_exactly()
        await _nobody_is_left(one)
    assert not one.told("call_decided")[1:]


@pytest.mark.parametrize("how", ["Redirect", "Park"])
async def test_forward_ends_exactly_where_the_operator_takes_away_what_is_behind_it(
    lab: Lab, shared: Engine, how: str
) -> None:
    """The channel to the phone is his own there: what he does with it then is no call of ours."""
    async with operator_sets(lab, "CHARGING_DIAL_SUFFIX", f"@{CONTEXTS['plain']}"):
        one = await talking(shared, STRAIGHT)
        await one.ticks()
        channels = await lab.switch.channels()
        behind = next(ch["Channel"] for ch in channels if ch["Application"] == "AppDial" and "PJSIP/" in ch["Channel"])
        if how == "Redirect":
            await one.redirect(behind, "elsewhere")
        else:
            await lab.switch.action("Park", {"Channel": behind, "Parkinglot": "default"})
        await one.call.wait_state(CallState.ENDED, ENDS_S)
        cdr = await one.cdr()
        assert (cdr["proof"], cdr["hangup_reason"]) == ("black_box", "")
        assert is_as_long(cdr, one.call.duration_s), cdr
        await shared.nothing_reserved()
        await one.call.mobile_hangs_up()
        await _nobody_is_left(one)
