"""R17 with the real prompts: heard by the subscriber, not by the caller, and the conversation is unharmed."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
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
LONG_WARNING = {"horizon_s": 12, "warn_before_s": 12}


def speech_s(sound: Sound, voice_hz: int) -> float:
    """For how long something else sounded beside the other party's voice."""
    return sum(level > SPEECH_DB for level in sound.rest_track(voice_hz)) * 0.02


def _judge(call: Call, version: str) -> None:
    subscriber, caller = Sound.read(call.mobile_heard), Sound.read(call.caller_heard)
    assert speech_s(subscriber, CALLER_TONE_HZ) > 1.0, f"Asterisk {version}: the subscriber heard no prompt"
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
        assert speech_s(Sound.read(call.mobile_heard), CALLER_TONE_HZ) < 0.2


@contextlib.asynccontextmanager
async def edited(lab: Lab, file: str, old: str, new: str, reload: str) -> AsyncIterator[None]:
    """The operator's part of Asterisk with one line changed."""
    path = lab.switch.folder / "etc" / "charging" / file
    shipped = path.read_text()
    assert shipped.count(old) == 1
    path.write_text(shipped.replace(old, new))
    await lab.switch.cli(reload)
    try:
        yield
    finally:
        path.write_text(shipped)
        await lab.switch.cli(reload)


def without_feature(lab: Lab) -> contextlib.AbstractAsyncContextManager[None]:
    return edited(lab, "features_charging.conf", "chgkeep =>", ";chgkeep =>", "module reload features")


def without_originate(lab: Lab) -> contextlib.AbstractAsyncContextManager[None]:
    rights = "write = call,reporting"
    return edited(lab, "manager_charging.conf", f"\n{rights},originate", f"\n{rights}", "manager reload")


def _caller_is_heard_again(call: Call, after_s: float) -> None:
    sound = Sound.read(call.mobile_heard)
    gaps = sound.gaps(CALLER_TONE_HZ, after_s, call.duration_s - 0.7, below_db=VOICE_DB, longer_than_s=0.2)
    assert gaps == [], f"the subscriber heard nothing of the caller at {gaps}"


@pytest.mark.parametrize("whispers", [True, False])
async def test_r17_nothing_is_played_without_the_feature_and_the_conversation_goes_on(
    lab: Lab, tmp_path: Path, whispers: bool
) -> None:
    """Whispering takes the bridge from native RTP and gives it back: the subscriber then often hears nothing more."""
    async with contextlib.AsyncExitStack() as operator:
        await operator.enter_async_context(without_feature(lab))
        if not whispers:
            await operator.enter_async_context(without_originate(lab))
        async with engine(lab, tmp_path, credit="0.010") as live:
            call = await live.call()
            played = await live.heard("prompt_played", deadline_s=20)
            assert played["result"] == "failed"
            assert (await live.heard("prompt_not_played"))["why"] == "the bridge is native_rtp"
            await call.wait_end(20)
            _caller_is_heard_again(call, after_s=0.3)


async def test_r17_way_b_says_that_it_was_heard_once_it_was_and_the_conversation_comes_back(
    lab: Lab, tmp_path: Path
) -> None:
    async with without_originate(lab), engine(lab, tmp_path, credit="0.016", policy=LONG_WARNING) as live:
        call = await live.call()
        played = await live.heard("prompt_played", deadline_s=20)
        assert played["result"] == "fallback"
        await call.wait_end(20)
        subscriber = Sound.read(call.mobile_heard)
        assert speech_s(subscriber, CALLER_TONE_HZ) > 1.0
        _caller_is_heard_again(call, after_s=PAID_S + 3)


@pytest.mark.parametrize("whispers", [True, False])
async def test_r17_a_prompt_that_is_not_on_the_switch_was_not_played(lab: Lab, tmp_path: Path, whispers: bool) -> None:
    """And the conversation goes on."""
    prompts = lab.switch.folder / "prompts"
    gone = lab.switch.folder / "prompts.gone"
    async with contextlib.AsyncExitStack() as operator:
        if not whispers:
            await operator.enter_async_context(without_originate(lab))
        live = await operator.enter_async_context(engine(lab, tmp_path, credit="0.010"))
        prompts.rename(gone)
        operator.callback(gone.rename, prompts)
        call = await live.call()
        played = await live.heard("prompt_played", deadline_s=20)
        assert played["result"] == "failed"
        await call.wait_end(20)
        _caller_is_heard_again(call, after_s=PAID_S - 2)
