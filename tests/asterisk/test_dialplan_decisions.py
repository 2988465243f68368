"""The shipped dialplan obeys the daemon's decisions, and only valid ones."""

from __future__ import annotations

import re
import time

import pytest

from agi import routes
from charging.lab import CallState, Lab, mobile
from charging.lab.audio import Sound
from charging.lab.folder import CALLER_TONE_HZ, MOBILE_TONE_HZ
from tests.asterisk.engine import MEASURES_APART_S
from tests.asterisk.operator_setup import operator_setup
from tests.asterisk.parties import (
    NUMBER,
    NUMBER_WITHOUT_MAILBOX,
    answered_ms,
    black_box_record,
    decide,
    forward,
    leave_message,
    operator_sets,
)
from tests.asterisk.raw_call import raw_call
from tests.asterisk.stub_agi import StubAgi, serving
from tests.asterisk.waiting import eventually

pytestmark = pytest.mark.asterisk


async def test_a_forwarded_call_carries_both_voices(lab: Lab) -> None:
    async with serving(forward(mobile.answers()), lab.agi_port):
        call = await lab.place_call(NUMBER, hang_up_after_s=2)
        await call.wait_end()
    caller, callee = Sound.read(call.caller_heard), Sound.read(call.mobile_heard)
    assert caller.seconds_of_tone(MOBILE_TONE_HZ, above_db=-16) > 1.4
    assert callee.seconds_of_tone(CALLER_TONE_HZ, above_db=-16) > 1.4
    assert caller.tone_db(CALLER_TONE_HZ) < -40, "nobody hears himself"
    assert abs(call.duration_s - 2) < MEASURES_APART_S


async def test_the_daemon_is_told_number_caller_and_channel(lab: Lab) -> None:
    stub = forward(mobile.never_answers())
    async with serving(stub, lab.agi_port):
        call = await lab.place_call(NUMBER, caller="+31201234567")
        await call.wait_state(CallState.RINGING)
    number, caller, unique_id, channel, presentation, diverted = stub.requests[0].arguments
    assert (stub.requests[0].route, number, caller) == ("incoming", NUMBER, "+31201234567")
    assert (presentation, routes.diverted(diverted)) == ("allowed", ())
    assert re.fullmatch(r"\d+\.\d+", unique_id)
    assert channel.startswith("PJSIP/world-")


@pytest.mark.parametrize("dialled", ["+31850000001", "31850000001", "0850000001"])
async def test_a_number_is_taken_with_and_without_plus(lab: Lab, dialled: str) -> None:
    stub = forward(mobile.answers())
    async with serving(stub, lab.agi_port):
        call = await lab.place_call(dialled)
        await call.wait_state(CallState.ANSWERED)
    assert stub.requests[0].arguments[0] == dialled


async def test_the_session_is_inherited_by_the_subscribers_leg(lab: Lab) -> None:
    async with serving(forward(mobile.answers()), lab.agi_port):
        call = await lab.place_call(NUMBER)
        await call.wait_state(CallState.ANSWERED)
    channels = await lab.switch.listing("Status", {"Variables": "CHARGING_SESSION,CHARGING_LEG"})
    legs = sorted(channel["Variable"].split("\n") for channel in channels)
    assert legs == [
        ["CHARGING_SESSION=s-1", "CHARGING_LEG=callee"],
        ["CHARGING_SESSION=s-1", "CHARGING_LEG=caller"],
    ]


async def test_the_switch_cuts_at_the_quota_by_itself(lab: Lab) -> None:
    async with serving(forward(mobile.answers(), quota="2"), lab.agi_port):
        call = await lab.place_call(NUMBER)
        await call.wait_state(CallState.ANSWERED)
    await call.wait_end()
    assert abs(call.duration_s - 2) < MEASURES_APART_S
    # Its clock starts at the caller's answer, a moment after the subscriber's, from which the quota runs.
    assert 1.99 <= answered_ms(await black_box_record(lab)) / 1000 < 2 + MEASURES_APART_S


@pytest.mark.parametrize("quota", ["", "0", "-5", "60x", "0060", "1e3", "999999", "60 60", "a}b)c", "6$0"])
async def test_a_quota_that_is_no_number_of_seconds_is_never_dialled(lab: Lab, quota: str) -> None:
    async with serving(forward(mobile.answers(), quota=quota), lab.agi_port):
        call = await lab.place_call(NUMBER)
        await call.wait_state(CallState.ANSWERED)
        await call.hang_up()
        await call.wait_end()
    assert call.mobiles == [], "voicemail answered, not the mobile"
    assert (await black_box_record(lab))["phase"] == "fallback"


@pytest.mark.parametrize("quota", ["1", "99999"])
async def test_the_smallest_and_the_largest_quota_are_dialled(lab: Lab, quota: str) -> None:
    async with serving(forward(mobile.answers(), quota=quota), lab.agi_port):
        call = await lab.place_call(NUMBER)
        await call.wait_for(lambda: bool(call.mobiles), "the mobile to be rung")


@pytest.mark.parametrize("target", ["", "31612345678", "+31x", "+", "+0612345678"])
async def test_a_target_that_is_no_e164_number_is_never_dialled(lab: Lab, target: str) -> None:
    async with serving(forward(target), lab.agi_port):
        call = await lab.place_call(NUMBER)
        await call.wait_state(CallState.ANSWERED)
        await call.hang_up()
        await call.wait_end()
    assert (await black_box_record(lab))["phase"] == "fallback"


@pytest.mark.parametrize("decision", ["", "forwards", "FORWARD", "voicemail forward"])
async def test_a_decision_that_is_none_of_the_three_is_the_fallback(lab: Lab, decision: str) -> None:
    stub = forward(mobile.answers(), CHARGING_DECISION=decision)
    async with serving(stub, lab.agi_port):
        call = await lab.place_call(NUMBER)
        await call.wait_state(CallState.ANSWERED)
        await call.hang_up()
        await call.wait_end()
    assert call.mobiles == []
    assert (await black_box_record(lab))["phase"] == "fallback"


async def test_a_diversion_by_the_phone_is_not_followed(lab: Lab) -> None:
    async with serving(forward(mobile.diverts()), lab.agi_port) as stub:
        call = await lab.place_call(NUMBER)
        await call.wait_state(CallState.ANSWERED)
        await call.hang_up()
        await call.wait_end()
    assert [leg.target for leg in call.mobiles] == [mobile.diverts()]
    assert [request.route for request in stub.requests] == ["incoming", "unanswered"]


async def test_a_diversion_by_the_phone_is_not_followed_by_the_operators_dialplan(lab: Lab) -> None:
    async with (
        operator_setup(lab),
        operator_sets(lab, "CHARGING_DIAL_PREFIX", "Local/"),
        operator_sets(lab, "CHARGING_DIAL_SUFFIX", "@outbound"),
        serving(forward(mobile.diverts()), lab.agi_port) as stub,
    ):
        call = await lab.place_call(NUMBER)
        await call.wait_state(CallState.ANSWERED, 20)
        await call.hang_up()
        await call.wait_end()
    assert [leg.target for leg in call.mobiles] == [mobile.diverts()]
    assert [request.route for request in stub.requests] == ["incoming", "unanswered"]


async def test_voicemail_answers_without_ringing_the_phone_and_stores_the_message(lab: Lab) -> None:
    async with serving(StubAgi({"incoming": decide("voicemail", session="s-vm")}), lab.agi_port):
        call = await lab.place_call(NUMBER)
        await call.wait_state(CallState.ANSWERED)
        await leave_message(lab, call, seconds=3)
    record = await black_box_record(lab, "s-vm")
    assert call.mobiles == []
    assert (record["vm"], record["phase"], record["dial"]) == ("SUCCESS", "voicemail", "")
    text = (lab.switch.folder / record["vmfile"]).with_suffix(".txt").read_text()
    assert "category=s-vm" in text


async def test_a_message_shorter_than_two_seconds_is_not_stored(lab: Lab) -> None:
    async with serving(StubAgi({"incoming": decide("voicemail", session="s-vm")}), lab.agi_port):
        call = await lab.place_call(NUMBER)
        await call.wait_state(CallState.ANSWERED)
        await leave_message(lab, call, seconds=0)
    record = await black_box_record(lab, "s-vm")
    assert (record["vm"], record["vmfile"]) == ("FAILED", "")


async def test_voicemail_for_a_number_without_mailbox_is_never_answered(lab: Lab) -> None:
    async with serving(StubAgi({"incoming": decide("voicemail")}), lab.agi_port):
        call = await lab.place_call(NUMBER_WITHOUT_MAILBOX)
        await call.wait_state(CallState.RINGING)
        await call.hang_up()
        await call.wait_end()
    assert not call.was_answered


async def test_an_unknown_number_is_refused_at_once_with_its_own_cause(lab: Lab) -> None:
    async with serving(StubAgi({"incoming": decide("reject", "unknown_number")}), lab.agi_port):
        call = await lab.place_call(NUMBER_WITHOUT_MAILBOX)
        await call.wait_end(deadline_s=15)
    assert (call.was_answered, call.cause) == (False, 1)


async def test_r13_a_rejected_caller_hears_it_ring_and_is_never_answered(lab: Lab) -> None:
    async with (
        operator_sets(lab, "CHARGING_NO_ANSWER_S", "1"),
        serving(StubAgi({"incoming": decide("reject", "no_credit")}), lab.agi_port),
    ):
        call = await lab.place_call(NUMBER)
        await call.wait_state(CallState.RINGING)
        await call.wait_end()
    assert (call.was_answered, call.cause, call.mobiles) == (False, 19, [])


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (mobile.busy(), "BUSY"),
        (mobile.declines(), "CHANUNAVAIL"),
        (mobile.does_not_exist(), "CHANUNAVAIL"),
        (mobile.unreachable(), "CONGESTION"),
        (mobile.early_media(0.3), "BUSY"),
    ],
)
async def test_a_forward_that_fails_is_asked_about_again_and_goes_to_voicemail(
    lab: Lab, target: str, status: str
) -> None:
    stub = forward(target)
    stub.variables["unanswered"] = {"CHARGING_DECISION": "voicemail", "CHARGING_REASON": "busy"}
    async with serving(stub, lab.agi_port):
        call = await lab.place_call(NUMBER)
        await call.wait_state(CallState.ANSWERED)
        await leave_message(lab, call, seconds=3)
    assert (stub.requests[1].route, stub.requests[1].arguments) == ("unanswered", ["s-1", status])
    record = await black_box_record(lab)
    assert (record["dial"], record.get("answered"), record["vm"]) == (status, None, "SUCCESS")
    assert (record["decision"], record["phase"]) == ("voicemail", "voicemail")


async def test_a_phone_that_is_not_picked_up_rings_as_long_as_the_daemon_said(lab: Lab) -> None:
    stub = forward(mobile.never_answers(), CHARGING_RING_S="2")
    stub.variables["unanswered"] = {"CHARGING_DECISION": "reject", "CHARGING_REASON": "no_credit"}
    async with operator_sets(lab, "CHARGING_NO_ANSWER_S", "0"), serving(stub, lab.agi_port):
        call = await lab.place_call(NUMBER)
        await call.wait_end()
    assert (call.was_answered, call.cause) == (False, 19)
    assert stub.requests[1].arguments == ["s-1", "NOANSWER"]


@pytest.mark.parametrize(("wait_s", "least_s"), [("3", 3), ("", 0), ("0", 0), ("3,0", 0)])
async def test_a_caller_who_is_held_back_hears_it_ring_before_anyone_is_dialled(
    lab: Lab, wait_s: str, least_s: int
) -> None:
    began = time.monotonic()
    async with serving(forward(mobile.answers(), CHARGING_WAIT_S=wait_s), lab.agi_port):
        call = await lab.place_call(NUMBER)
        await call.wait_state(CallState.RINGING)
        if least_s:
            assert call.mobiles == []
        await call.wait_state(CallState.ANSWERED)
        assert time.monotonic() - began >= least_s
        await call.hang_up()
        await call.wait_end()
    assert (await black_box_record(lab))["dial"] == "ANSWER"


async def test_a_caller_who_is_held_back_and_gives_up_has_nobody_dialled(lab: Lab) -> None:
    async with serving(forward(mobile.answers(), CHARGING_WAIT_S="60"), lab.agi_port):
        call = await lab.place_call(NUMBER)
        await call.wait_state(CallState.RINGING)
        await call.hang_up()
        await call.wait_end()
    assert call.mobiles == []
    assert await lab.switch.black_box() == {}


async def test_the_second_answer_can_not_forward(lab: Lab) -> None:
    stub = forward(mobile.busy())
    stub.variables["unanswered"] = forward(mobile.answers()).variables["incoming"]
    async with serving(stub, lab.agi_port):
        call = await lab.place_call(NUMBER)
        await call.wait_state(CallState.ANSWERED)
        await call.hang_up()
        await call.wait_end()
    assert len(call.mobiles) == 1
    assert (await black_box_record(lab))["phase"] == "fallback"


async def test_a_message_that_was_left_before_the_call_came_to_us_is_none_of_its_own(lab: Lab) -> None:
    """In the operator's own voicemail, for example, out of which he dialled the subscriber's number."""
    left = {"VMSTATUS": "SUCCESS", "VM_MESSAGEFILE": "/nowhere/msg0000"}
    order = {
        "Channel": f"Local/{NUMBER_WITHOUT_MAILBOX}@charging-incoming/n",
        "Application": "Wait",
        "Data": "30",
        "Variable": ",".join(f"__{name}={value}" for name, value in left.items()),
        "Async": "true",
    }
    answer = decide("voicemail")
    async with serving(StubAgi({"incoming": answer}), lab.agi_port) as stub:
        await lab.switch.action("Originate", order)

        async def is_decided() -> bool:
            return len(stub.replies) == len(answer)

        await eventually(is_decided, "the decision", 20)
        await lab.switch.cli("channel request hangup all")
        record = await black_box_record(lab)
    assert (record["vm"], record["vmfile"]) == ("", "")


@pytest.mark.parametrize("reason", ["too_many_messages", "too_many_given_up"])
async def test_who_comes_too_often_finds_it_busy(lab: Lab, reason: str) -> None:
    stub = StubAgi({"incoming": decide("reject", reason)})
    async with serving(stub, lab.agi_port), raw_call(lab, NUMBER) as call:
        assert await call.is_answered("INVITE", 180, 200, 486) == 486
