"""The shipped dialplan obeys the daemon's decisions, and only valid ones."""

from __future__ import annotations

import re

import pytest

from charging.lab import CallState, Lab, mobile
from charging.lab.audio import Sound
from charging.lab.folder import CALLER_TONE_HZ, MOBILE_TONE_HZ
from tests.asterisk.stub_agi import StubAgi, serving

pytestmark = pytest.mark.asterisk

NUMBER = "+31850000001"
UNKNOWN = "+31859999999"


def forward(target: str, quota: str = "30", session: str = "s-1", **more: str) -> StubAgi:
    answer = {
        "__CHARGING_SESSION": session,
        "CHARGING_DECISION": "forward",
        "CHARGING_REASON": "credit",
        "CHARGING_QUOTA": quota,
        "CHARGING_TARGET": target,
        "CHARGING_RING_S": "20",
    }
    return StubAgi({"incoming": answer | more})


def record_fields(record: str) -> dict[str, str]:
    version, *fields = record.split("|")
    assert version == "v1"
    return dict(field.split("=", 1) for field in fields)


async def test_a_forwarded_call_carries_both_voices_without_a_gap(lab: Lab) -> None:
    async with serving(forward(mobile.answers()), lab.agi_port):
        call = await lab.place_call(NUMBER, hang_up_after_s=2)
        await call.wait_end()
    caller, callee = Sound.read(call.caller_heard), Sound.read(call.mobile_heard)
    assert caller.gaps(MOBILE_TONE_HZ, 0.2, 1.8, below_db=-16) == []
    assert callee.gaps(CALLER_TONE_HZ, 0.2, 1.8, below_db=-16) == []
    assert caller.tone_db(CALLER_TONE_HZ) < -40
    assert 1.98 <= call.duration_s <= 2.2


async def test_the_daemon_is_told_number_caller_and_channel(lab: Lab) -> None:
    stub = forward(mobile.busy())
    async with serving(stub, lab.agi_port):
        call = await lab.place_call(NUMBER, caller="+31201234567")
        await call.wait_state(CallState.RINGING)
    number, caller, unique_id, channel = stub.requests[0].arguments
    assert (stub.requests[0].route, number, caller) == ("incoming", NUMBER, "+31201234567")
    assert re.fullmatch(r"\d+\.\d+", unique_id)
    assert channel.startswith("PJSIP/world-")


@pytest.mark.parametrize("dialled", ["+31850000001", "31850000001", "0850000001"])
async def test_a_number_is_taken_with_and_without_plus(lab: Lab, dialled: str) -> None:
    stub = forward(mobile.answers())
    async with serving(stub, lab.agi_port):
        call = await lab.place_call(dialled)
        await call.wait_state(CallState.ANSWERED)
    assert stub.requests[0].arguments[0] == dialled


async def test_the_switch_cuts_at_the_quota_by_itself(lab: Lab) -> None:
    async with serving(forward(mobile.answers(), quota="2"), lab.agi_port):
        call = await lab.place_call(NUMBER)
        await call.wait_state(CallState.ANSWERED)
    await call.wait_end()
    assert 2.0 <= call.duration_s <= 2.2


@pytest.mark.parametrize("quota", ["", "0", "-5", "60x", "0060", "1e3", "999999", "60 60", "a}b)c"])
async def test_a_quota_that_is_no_number_of_seconds_is_never_dialled(lab: Lab, quota: str) -> None:
    async with serving(forward(mobile.answers(), quota=quota), lab.agi_port):
        call = await lab.place_call(NUMBER, hang_up_after_s=0.5)
        await call.wait_end()
    assert call.mobiles == []
    assert record_fields((await lab.switch.black_box())["s-1"])["phase"] == "fallback"


@pytest.mark.parametrize("target", ["", "31612345678", "+31x", "+"])
async def test_a_target_that_is_no_e164_number_is_never_dialled(lab: Lab, target: str) -> None:
    async with serving(forward(target), lab.agi_port):
        call = await lab.place_call(NUMBER, hang_up_after_s=0.5)
        await call.wait_end()
    assert call.mobiles == []


async def test_a_diversion_by_the_phone_is_not_followed(lab: Lab) -> None:
    async with serving(forward(mobile.diverts()), lab.agi_port):
        call = await lab.place_call(NUMBER, hang_up_after_s=0.5)
        await call.wait_end()
    assert [leg.target for leg in call.mobiles] == [mobile.diverts()]
    assert call.was_answered, "the voicemail fallback answered"


async def test_voicemail_answers_without_ringing_the_phone_and_stores_the_message(lab: Lab) -> None:
    answer = {"__CHARGING_SESSION": "s-vm", "CHARGING_DECISION": "voicemail", "CHARGING_LANGUAGE": "en"}
    async with serving(StubAgi({"incoming": answer}), lab.agi_port):
        call = await lab.place_call(NUMBER)
        await call.wait_state(CallState.ANSWERED)
        spool = lab.switch.folder / "spool/voicemail/charging/31850000001"
        await call.wait_for(lambda: any(spool.glob("tmp/*.wav")), "the recording to begin", 30)
        await lab.press_on_end(call, seconds=4)
    record = record_fields((await lab.switch.black_box())["s-vm"])
    assert call.mobiles == []
    assert (record["vm"], record["phase"], record["dial"]) == ("SUCCESS", "voicemail", "")
    message = lab.switch.folder / record["vmfile"]
    assert "category=s-vm" in message.with_suffix(".txt").read_text()


async def test_an_unknown_number_is_refused_at_once_with_its_own_cause(lab: Lab) -> None:
    answer = {"CHARGING_DECISION": "reject", "CHARGING_REASON": "unknown_number"}
    async with serving(StubAgi({"incoming": answer}), lab.agi_port):
        call = await lab.place_call(UNKNOWN)
        await call.wait_end()
    assert (call.was_answered, call.cause) == (False, 1)


async def test_a_rejected_caller_hears_it_ring_and_is_never_answered(lab: Lab) -> None:
    answer = {"CHARGING_DECISION": "reject", "CHARGING_REASON": "no_credit"}
    async with serving(StubAgi({"incoming": answer}), lab.agi_port):
        call = await lab.place_call(NUMBER)
        await call.wait_state(CallState.RINGING)
        await call.hang_up()
        await call.wait_end()
    assert not call.was_answered
    assert call.mobiles == []
