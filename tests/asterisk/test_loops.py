"""R7: a phone that diverts back to the subscriber's own number makes one call, and one voicemail, of it.

The lab's world diverts as a mobile network does: by calling the number again.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agi import routes
from charging.lab import CallState, Lab, mobile
from charging.lab.ports import free_port
from tests.asterisk.engine import NUMBER, engine, number_of
from tests.asterisk.operator_setup import DIALPLAN, RING_GROUP, operator_setup
from tests.asterisk.parties import forward, leave_message, operator_sets
from tests.asterisk.raw_sip import stranger
from tests.asterisk.sip_steps import answers, calls, plays, subscriber
from tests.asterisk.stub_agi import serving

pytestmark = pytest.mark.asterisk

CREDIT = 10_000_000


@pytest.mark.parametrize("says_so", [False, True], ids=["by its caller", "by Diversion"])
@pytest.mark.parametrize(("plan", "cost"), [("voice_light", 0), ("voice_free", 150_000)])
async def test_r7_a_forward_that_comes_back_is_one_voicemail(
    lab: Lab, tmp_path: Path, plan: str, cost: int, says_so: bool
) -> None:
    target = mobile.diverts_back(0.5, says_so=says_so)
    async with engine(lab, tmp_path, plan=plan, forward_to=target) as live:
        call = await live.call()
        await call.wait_state(CallState.ANSWERED, 20)
        await leave_message(lab, call, seconds=3)
        await live.nothing_reserved()
        assert await live.posted() == CREDIT - cost
        reasons = [line["reason"] for line in live.daemon.events("call_decided")]
        assert reasons.count("came_back") == 1
        assert len([one for one in lab.world.stray_mobiles + call.mobiles if one.target == target]) == 1


PHONES = ("+31610000001", "+31610000002")
TO_EACH_OTHER = f"""
[trunk](+)
exten => {PHONES[0]},1,Goto(charging-incoming,{number_of(1)},1)
exten => {PHONES[1]},1,Goto(charging-incoming,{number_of(0)},1)
"""
"""Two subscribers' phones, each of which diverts to the other's number."""


async def test_r7_two_subscribers_whose_phones_divert_to_each_other_are_one_forward_and_one_message(
    lab: Lab, tmp_path: Path
) -> None:
    """Not as many of both as their plans let call at a time."""
    async with (
        operator_setup(lab, TO_EACH_OTHER),
        operator_sets(lab, "CHARGING_DIAL_PREFIX", "PJSIP/world/sip:"),
        operator_sets(lab, "CHARGING_DIAL_SUFFIX", f"@127.0.0.1:{lab.sip_port}"),
        engine(lab, tmp_path, plan="voice_free", forward_to=PHONES[0], others=1) as live,
    ):
        await live.daemon.patch(f"/numbers/{number_of(1)}", {"forward_to": PHONES[1]})
        call = await live.call()
        await call.wait_state(CallState.ANSWERED, 20)
        await leave_message(lab, call, seconds=3, mailbox=number_of(1).removeprefix("+"))
        forward, message = sorted(await live.cdrs(2), key=lambda cdr: str(cdr["service"]))
        assert [forward["account"], message["account"]] == ["anna", "other-1"]
        assert abs(forward["billed_s"] - call.duration_s) <= 1.5
        assert (message["messages"], message["cost"]) == (1, "0.15")
        reasons = [line["reason"] for line in live.daemon.events("call_decided")]
        assert reasons.count("came_back") == 1
        await live.nothing_reserved()


@pytest.mark.parametrize(("setting", "sent"), [("yes", NUMBER), ("no", "")])
async def test_a_forward_says_whose_number_it_was_diverted_from(
    lab: Lab, tmp_path: Path, setting: str, sent: str
) -> None:
    async with operator_sets(lab, "CHARGING_DIVERSION", setting), engine(lab, tmp_path) as live:
        call = await live.call()
        await call.wait_state(CallState.ANSWERED)
        assert call.mobile.diverted_from == sent
        await call.hang_up()
        await call.wait_end()


@pytest.mark.parametrize(
    ("headers", "numbers"),
    [
        (("Diversion: <sip:+31850000001@c.example>;reason=no-answer",), {"+31850000001"}),
        (("Diversion: <sip:0850000001@c.example>, <sip:+31612345678@c.example>",), {"0850000001", "+31612345678"}),
        (("Diversion: <tel:+31850000001>",), {"+31850000001"}),
        (("Diversion: <sip:x%0d%0aagi_arg_1%3a%20+31999@c.example>",), set()),
        (
            (
                *(f"Diversion: <sip:+3161234567{one}@c.example>" for one in (1, 2, 3)),
                *("Diversion: <tel:+31-85-000.0002>", "Diversion: <sip:%2B31850000001@c.example>"),
            ),
            {"+31612345671", "+31612345672", "+31612345673", "+31850000002", "+31850000001"},
        ),
        (('Diversion: "a, (b) ${EXTEN} ] \\" c" <sip:+31850000001@c.example>',), {"+31850000001"}),
        (("History-Info: <sip:+31850000001@c.example>;index=1",), set()),
        (
            (
                "History-Info: <sip:+31850000001@c.example>;index=1, <sip:+31612345678@c.example?Reason=SIP>;index=1.1",
                "History-Info: <sip:+31850000001@c.example>;index=1.1.1",
            ),
            {"+31850000001", "+31612345678"},
        ),
    ],
)
async def test_the_daemon_is_told_what_the_network_diverted(
    lab: Lab, tmp_path: Path, headers: tuple[str, ...], numbers: set[str]
) -> None:
    stub = forward(mobile.never_answers())
    async with serving(stub, lab.agi_port), stranger(lab, tmp_path, headers=headers) as call:
        await call.is_told(180)
    assert len(stub.requests[0].arguments) == 6
    assert set(routes.diverted(stub.requests[0].arguments[5])) == numbers


@pytest.mark.parametrize(("came_with", "goes_on_with"), [(70, "69"), (2, "1"), (1, "0"), (0, "0")])
async def test_forward_may_go_over_one_switch_less_than_its_call(
    lab: Lab, tmp_path: Path, came_with: int, goes_on_with: str
) -> None:
    """Max-Forwards (RFC 3261, 8.1.1.6): a loop over switches that know nothing of each other ends all the same."""
    agi = forward(mobile.answers())
    async with (
        serving(agi, lab.agi_port),
        subscriber(lab, tmp_path / "phone") as phone,
        plays(lab, tmp_path / "caller", calls(NUMBER, max_forwards=came_with)),
    ):
        await phone.heard("ACK")
        assert re.findall(r"^Max-Forwards: (\d+)", phone.trace.read_text(), re.MULTILINE)[0] == goes_on_with
        assert phone.trace.read_text().split("\n\n")[1].count("Max-Forwards") == 1


@pytest.mark.parametrize("through_local", [False, True], ids=["trunk", "outbound"])
async def test_hops_are_counted_through_the_operators_local_channels(
    lab: Lab, tmp_path: Path, through_local: bool
) -> None:
    """A ring group brings the call to us, and the operator's own dialplan takes the forward to the trunk."""
    port = free_port()
    to_the_phone = DIALPLAN.replace("${EXTEN}@world", f"world/sip:${{EXTEN}}@127.0.0.1:{port}")
    dials = ("Local/", "@outbound") if through_local else ("PJSIP/world/sip:", f"@127.0.0.1:{port}")
    async with (
        operator_setup(lab, to_the_phone),
        operator_sets(lab, "CHARGING_DIAL_PREFIX", dials[0]),
        operator_sets(lab, "CHARGING_DIAL_SUFFIX", dials[1]),
        serving(forward(mobile.answers()), lab.agi_port),
        plays(lab, tmp_path / "phone", answers(), port=port) as phone,
        plays(lab, tmp_path / "caller", calls(RING_GROUP, max_forwards=9)),
    ):
        await phone.heard("ACK")
        assert re.findall(r"^Max-Forwards: (\d+)", phone.trace.read_text(), re.MULTILINE)[0] == "8"
        await lab.reset()
