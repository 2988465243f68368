"""R17 with the real prompts: heard by the subscriber, not by the caller, and the conversation is unharmed."""

from __future__ import annotations

from pathlib import Path

import pytest

from charging.lab import Call, Lab
from charging.lab.audio import Sound
from charging.lab.folder import CALLER_TONE_HZ, MOBILE_TONE_HZ
from charging.ledger.accounts import Language
from tests.asterisk.engine import engine

pytestmark = pytest.mark.asterisk

VOICE_DB = -16.0
SPEECH_DB = -35.0
"""Speech beside the other party's tone, in a window of 20 ms."""
LEAK_DB = -45.0
PAID_S = 10


def _speech_s(sound: Sound, voice_hz: int) -> float:
    """For how long something else sounded beside the other party's voice."""
    return sum(level > SPEECH_DB for level in sound.rest_track(voice_hz)) * 0.02


def _judge(call: Call, version: str) -> None:
    subscriber, caller = Sound.read(call.mobile_heard), Sound.read(call.caller_heard)
    assert _speech_s(subscriber, CALLER_TONE_HZ) > 1.0, f"Asterisk {version}: the subscriber heard no prompt"
    talking = caller.rest_track(MOBILE_TONE_HZ)[25 : (PAID_S - 1) * 50]
    assert sum(level > LEAK_DB for level in talking) <= 5, f"Asterisk {version}: the caller heard the prompt"
    for sound, voice in ((subscriber, CALLER_TONE_HZ), (caller, MOBILE_TONE_HZ)):
        gaps = sound.gaps(voice, 0.3, PAID_S - 0.7, below_db=VOICE_DB, longer_than_s=0.2)
        assert gaps == [], f"Asterisk {version}: {voice} Hz was silent at {gaps}"


@pytest.mark.parametrize("language", [Language.NL, Language.EN])
async def test_r17_subscriber_alone_hears_that_credit_is_low(lab: Lab, tmp_path: Path, language: Language) -> None:
    async with engine(lab, tmp_path, credit="0.010", language=language) as live:
        call = await live.call()
        played = await live.heard("prompt_played", deadline_s=20)
        assert (played["prompt"], played["result"]) == ("credit_low", "played")
        await call.wait_end(20)
        _judge(call, lab.version)
        assert (await live.cdr())["warnings"] == 1


async def test_r17_subscriber_hears_that_free_minutes_end_and_no_credit_follows(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path, plan="voice_pro", credit="0.00", free_seconds=PAID_S) as live:
        call = await live.call()
        played = await live.heard("prompt_played", deadline_s=20)
        assert (played["prompt"], played["result"]) == ("minutes_low", "played")
        await call.wait_end(20)
        _judge(call, lab.version)


async def test_r17_no_prompt_where_credit_follows_the_free_minutes(lab: Lab, tmp_path: Path) -> None:
    async with engine(lab, tmp_path, plan="voice_pro", free_seconds=4) as live:
        call = await live.call(hang_up_after_s=8)
        await call.wait_end(20)
        assert (await live.cdr())["warnings"] == 0
        assert _speech_s(Sound.read(call.mobile_heard), CALLER_TONE_HZ) < 0.2
