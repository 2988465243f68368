"""The prompt is heard by the subscriber and not by the caller, and the conversation goes on.

The run's summary names the Asterisk: its issue #2134 reports broken whispering in 22.11, which was not seen.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator

import pytest

from charging.lab import Call, CallState, Lab, mobile
from charging.lab.ami import LabAmi
from charging.lab.audio import Sound
from charging.lab.folder import CALLER_TONE_HZ, MOBILE_TONE_HZ
from tests.asterisk.conftest import PROMPT_S, PROMPT_TONE_HZ
from tests.asterisk.counts import miscounted, stops_gracefully
from tests.asterisk.parties import NUMBER, forward
from tests.asterisk.stub_agi import serving
from tests.asterisk.waiting import eventually

pytestmark = pytest.mark.asterisk

VOICE_DB = -16.0
PROMPT_DB = -20.0
HEARD_BY_OTHERS_DB = -45.0
CALL_S = 5
serials = itertools.count(1)


@contextlib.asynccontextmanager
async def running_call(lab: Lab, *, talks: bool = True) -> AsyncIterator[tuple[Call, LabAmi, str]]:
    """A forwarded call, the daemon's AMI login with its least privilege, and the subscriber's channel by unique id."""
    ami = LabAmi(lab.switch.charging_ami)
    async with serving(forward(mobile.answers()), lab.agi_port):
        call = await lab.place_call(NUMBER, hang_up_after_s=CALL_S, talks=talks)
        await call.wait_state(CallState.ANSWERED)
        await ami.connect()
        try:
            yield call, ami, await _callee(ami)
        finally:
            await ami.close()


async def _callee(ami: LabAmi) -> str:
    legs = await ami.listing("Status", {"Variables": "CHARGING_LEG,CHARGING_SESSION"})
    return next(leg["Uniqueid"] for leg in legs if "CHARGING_LEG=callee" in leg["Variable"])


def whisper(spyee: str, prompt: str, channel_id: str) -> dict[str, str]:
    return {
        "Channel": "Local/spy@charging-whisper/n",
        "Context": "charging-prompt",
        "Exten": "s",
        "Priority": "1",
        "Async": "true",
        "Timeout": "5000",
        "ChannelId": channel_id,
        "OtherChannelId": f"{channel_id}-2",
        "Variable": f"__CHARGING_SPYEE={spyee}\n__CHARGING_PROMPT={prompt}",
    }


async def nothing_lives(lab: Lab) -> bool:
    return not await lab.switch.channels()


def assert_only_the_subscriber_heard_it(call: Call, version: str) -> None:
    callee, caller = Sound.read(call.mobile_heard), Sound.read(call.caller_heard)
    heard_s = callee.seconds_of_tone(PROMPT_TONE_HZ, above_db=PROMPT_DB)
    assert PROMPT_S * 0.9 <= heard_s <= PROMPT_S * 1.05, f"Asterisk {version}: the subscriber heard {heard_s} s of it"
    assert caller.presence(PROMPT_TONE_HZ, above_db=HEARD_BY_OTHERS_DB) is None, f"Asterisk {version}: leaked"


async def test_a_whispered_prompt_is_heard_by_the_subscriber_only_and_both_voices_go_on(
    lab: Lab, tone_prompt: str
) -> None:
    async with running_call(lab) as (call, ami, callee):
        await ami.action("Originate", whisper(callee, tone_prompt, f"w-{next(serials)}"))
        await call.wait_end()
    assert_only_the_subscriber_heard_it(call, lab.version)
    for sound, voice in (
        (Sound.read(call.mobile_heard), CALLER_TONE_HZ),
        (Sound.read(call.caller_heard), MOBILE_TONE_HZ),
    ):
        # What a whisper broke was the rest of the call. A busy machine may tear a tenth of a second here and there.
        gaps = sound.gaps(voice, 0.2, CALL_S - 0.5, below_db=VOICE_DB, longer_than_s=0.15)
        assert gaps == [], f"Asterisk {lab.version}: {voice} Hz was silent at {gaps}"
        assert sound.seconds_of_tone(voice, above_db=VOICE_DB) > (CALL_S - 0.5) * 0.9


async def test_the_first_word_of_a_whispered_prompt_is_not_clipped(lab: Lab, tone_prompt: str) -> None:
    async with running_call(lab) as (call, ami, callee):
        await ami.action("Originate", whisper(callee, tone_prompt, f"w-{next(serials)}"))
        await call.wait_end()
    track = Sound.read(call.mobile_heard).tone_track(PROMPT_TONE_HZ)
    first = next(i for i, level in enumerate(track) if level > PROMPT_DB)
    assert len([level for level in track[first : first + 100] if level > PROMPT_DB]) >= 90, lab.version


async def test_the_same_prompt_ordered_twice_sounds_once(lab: Lab, tone_prompt: str) -> None:
    async with running_call(lab) as (call, ami, callee):
        order = whisper(callee, tone_prompt, f"w-{next(serials)}")
        await ami.action("Originate", order)
        await ami.action("Originate", order)
        await call.wait_end()
    assert_only_the_subscriber_heard_it(call, lab.version)
    assert miscounted(lab.switch)
    await eventually(lambda: nothing_lives(lab), "no channel to be left")
    assert not await stops_gracefully(lab.switch, deadline_s=3)
    await lab.switch.kill()
    await lab.switch.start()
    assert not miscounted(lab.switch)


async def test_the_call_stays_on_the_bridge_that_bears_a_whisper(lab: Lab, tone_prompt: str) -> None:
    full_log = lab.switch.folder / "log" / "full"
    before = len(full_log.read_text())  # calls of other tests may have been bridged so, on purpose
    async with running_call(lab) as (call, ami, callee):
        await ami.action("Originate", whisper(callee, tone_prompt, f"w-{next(serials)}"))
        await call.wait_end()
    log = full_log.read_text()[before:]
    assert "joined 'simple_bridge'" in log
    assert "technology to native_rtp" not in log


async def test_the_feature_code_prompt_is_heard_by_the_subscriber_only(lab: Lab, tone_prompt: str) -> None:
    async with running_call(lab) as (call, ami, callee):
        await _press_feature_code(ami, callee, tone_prompt)
        await call.wait_end()
    assert_only_the_subscriber_heard_it(call, lab.version)
    after = Sound.read(call.mobile_heard).tone_db(CALLER_TONE_HZ, CALL_S - 1.0, CALL_S - 0.2)
    assert after > VOICE_DB, "the conversation goes on after it"


async def test_the_feature_code_prompt_sounds_also_when_the_caller_sends_no_audio(lab: Lab, tone_prompt: str) -> None:
    async with running_call(lab, talks=False) as (call, ami, callee):
        await _press_feature_code(ami, callee, tone_prompt)
        await call.wait_end()
    assert_only_the_subscriber_heard_it(call, lab.version)


async def _press_feature_code(ami: LabAmi, callee: str, prompt: str) -> None:
    await ami.action("Setvar", {"Channel": callee, "Variable": "CHARGING_PROMPT", "Value": prompt})
    for digit in "*99":
        await ami.action("PlayDTMF", {"Channel": callee, "Digit": digit, "Duration": "60", "Receive": "true"})


async def test_a_subscriber_who_dials_the_feature_code_hears_nothing_new(lab: Lab) -> None:
    async with running_call(lab) as (call, _ami, _callee_uid):
        await call.press("*99")
        await call.wait_end()
    callee = Sound.read(call.mobile_heard)
    assert callee.seconds_of_tone(CALLER_TONE_HZ, above_db=VOICE_DB) > (CALL_S - 0.5) * 0.9
