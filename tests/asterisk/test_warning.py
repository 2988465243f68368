"""R17 with the real prompts: heard by the subscriber, not by the caller, and the conversation is unharmed."""

from __future__ import annotations

import contextlib
import signal
import wave
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from charging.lab import Call, CallState, Lab
from charging.lab.audio import Sound, write_tone
from charging.lab.call import MobileLeg
from charging.lab.folder import CALLER_TONE_HZ, MOBILE_TONE_HZ
from charging.ledger.accounts import Language
from tests.asterisk.engine import MEASURES_APART_S, NUMBER, engine, is_as_long
from tests.asterisk.operator_setup import operator_setup
from tests.asterisk.sip_steps import ON_HOLD, TALKING, calls, hears, pauses, plays, renegotiates, subscriber
from tests.asterisk.test_check_live import Edit
from tests.asterisk.test_check_live import edited as edited_files
from tests.asterisk.waiting import eventually

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


async def test_r23_a_call_is_cut_on_time_while_the_feature_plays(lab: Lab, tmp_path: Path) -> None:
    """A prompt of seven seconds, of which five are left."""
    async with (
        without_originate(lab),
        engine(lab, tmp_path, plan="voice_pro", credit="0.00", free_seconds=PAID_S) as live,
    ):
        call = await live.call()
        await live.heard("warning_due", deadline_s=20)
        await live.until(lambda: plays_on_the_leg(lab), "the prompt by feature code")
        await call.wait_end(20)
        assert abs(call.mobile.connected_s - PAID_S) < MEASURES_APART_S
        assert (await live.cdr())["billed_s"] == PAID_S
        await live.nothing_reserved()


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


@contextlib.contextmanager
def every_prompt_lasts(lab: Lab, seconds: float) -> Iterator[None]:
    files = {file: file.read_bytes() for file in (lab.switch.folder / "prompts").rglob("*.wav")}
    try:
        for file in files:
            with wave.open(str(file)) as whole:
                sound, rate = whole.getparams(), whole.getframerate()
                beginning = whole.readframes(round(seconds * rate))
            with wave.open(str(file), "wb") as short:
                short.setparams(sound)
                short.writeframes(beginning)
        yield
    finally:
        for file, content in files.items():
            file.write_bytes(content)


@pytest.mark.parametrize(
    ("whispers", "seconds"), [pytest.param(True, 0, marks=pytest.mark.long), (True, 0.2), (False, 0.2)]
)
async def test_r17_a_prompt_that_is_over_at_once_was_not_played(
    lab: Lab, tmp_path: Path, whispers: bool, seconds: float
) -> None:
    async with contextlib.AsyncExitStack() as operator:
        if not whispers:
            await operator.enter_async_context(without_originate(lab))
        live = await operator.enter_async_context(engine(lab, tmp_path, credit="0.010"))
        operator.enter_context(every_prompt_lasts(lab, seconds))
        call = await live.call()
        assert (await live.heard("prompt_played", deadline_s=20))["result"] == "failed"
        assert (await live.heard("prompt_not_played"))["level"] == "error"
        await call.wait_end(20)


WITH_OWN_FEATURES = "+31850000078"
OWN_FEATURES = f"""
[trunk](+)
exten => {WITH_OWN_FEATURES},1,Set(__DYNAMIC_FEATURES=mine)
 same => n,Dial(Local/{NUMBER}@charging-incoming/n)
"""


@pytest.mark.parametrize("way_in", [pytest.param(NUMBER, marks=pytest.mark.long), WITH_OWN_FEATURES])
async def test_r17_a_caller_who_sends_no_sound_keeps_nobody_from_hearing_it(
    lab: Lab, tmp_path: Path, way_in: str
) -> None:
    """He is muted: there is nothing that a whisper could be mixed into, also behind a Local channel that stays. The
    operator's own features, one of which begins as ours does, are his callers'."""
    mine = Edit("features.conf", "[applicationmap]", "[applicationmap]\nmine => *9,self,Playback(beep)")
    async with (
        edited_files(lab, mine),
        operator_setup(lab, OWN_FEATURES),
        engine(lab, tmp_path, credit="0.016", policy=LONG_WARNING) as live,
    ):
        call = await lab.place_call(way_in, talks=False)
        assert (await live.heard("prompt_played", deadline_s=25))["result"] == "fallback"
        await call.wait_end(25)
        assert speech_s(Sound.read(call.mobile_heard), CALLER_TONE_HZ) > 1.0


RING_GROUP, STAYING_LOCAL = "+31850000077", "+31850000076"
BEHIND_LOCAL = f"""
[trunk](+)
exten => {RING_GROUP},1,Dial(Local/{NUMBER}@charging-incoming)
exten => {STAYING_LOCAL},1,Dial(Local/{NUMBER}@charging-incoming/n)
"""


@pytest.mark.parametrize(
    ("way_in", "daemon"),
    [
        (NUMBER, "alive"),
        (NUMBER, "dead"),
        pytest.param(NUMBER, "frozen", marks=pytest.mark.long),
        (RING_GROUP, "alive"),
        (RING_GROUP, "dead"),
        pytest.param(STAYING_LOCAL, "dead", marks=pytest.mark.long),
    ],
)
async def test_r17_a_caller_who_hangs_up_while_the_feature_plays_ends_the_call_at_once(
    lab: Lab, tmp_path: Path, way_in: str, daemon: str
) -> None:
    """Asterisk would keep the subscriber's leg until the prompt is over, and each second of it would be paid for. Also
    where the caller's channel is not ours (a Local channel was optimised away), and where no daemon sees it."""
    async with (
        operator_setup(lab, BEHIND_LOCAL),
        engine(lab, tmp_path, credit="0.016", policy=LONG_WARNING) as live,
    ):
        call = await lab.place_call(way_in, talks=False)
        await live.heard("warning_due", deadline_s=20)
        await live.until(lambda: plays_on_the_leg(lab), "the prompt by feature code")
        if daemon == "dead":
            await live.daemon.kill()
        elif daemon == "frozen":
            live.daemon.send(signal.SIGSTOP)
        await call.hang_up()
        await call.wait_end()
        if daemon == "dead":
            await live.daemon.start()
        elif daemon == "frozen":
            live.daemon.send(signal.SIGCONT)
        cdr = await live.cdr()
        assert cdr["proof"] == "black_box"
        assert is_as_long(cdr, call.outside.connected_s), cdr


async def plays_on_the_leg(lab: Lab) -> bool:
    playing = [one["Channel"] for one in await lab.switch.channels() if one["Application"] == "Playback"]
    return any(name.startswith("PJSIP/") for name in playing)


@pytest.mark.parametrize(("held_s", "result"), [(7, "played"), pytest.param(60, "unheard", marks=pytest.mark.long)])
async def test_r17_it_waits_while_the_subscriber_has_his_caller_on_hold(
    lab: Lab, tmp_path: Path, held_s: int, result: str
) -> None:
    """His phone plays nothing then. The warning is due five seconds before the end, at the eleventh."""
    holds = (pauses(5), renegotiates(ON_HOLD, cseq=2), pauses(held_s), renegotiates(TALKING, cseq=3), hears("BYE"))
    async with (
        engine(lab, tmp_path, credit="0.016") as live,
        subscriber(lab, tmp_path / "phone", *holds) as phone,
    ):
        call = await live.call()
        await live.heard("warning_due", deadline_s=40)
        assert (await live.heard("prompt_played", deadline_s=40))["result"] == result
        back = [one for one in phone.messages() if one.was_sent and one.first_line.startswith("INVITE ")]
        assert len(back) == (2 if result == "played" else 1), "it is played once he is back"
        await phone.heard("BYE", deadline_s=30)
        await call.wait_end(20)
        cdr = await live.cdr()
        assert cdr["billed_s"] == 16
        assert is_as_long(cdr, phone.connected_s), cdr


@contextlib.asynccontextmanager
async def music(lab: Lab) -> AsyncIterator[None]:
    """The operator's music on hold: the tone that callers of the lab talk in."""
    etc, folder = lab.switch.folder / "etc", lab.switch.folder / "moh"
    folder.mkdir(exist_ok=True)
    write_tone(folder / "tone.wav", CALLER_TONE_HZ, 10, level_db=-10.0)
    file = etc / "musiconhold.conf"
    before = file.read_text()
    file.write_text(f"[default]\nmode = files\ndirectory = {folder}\n")
    await lab.switch.cli("moh reload")
    try:
        yield
    finally:
        file.write_text(before)
        await lab.switch.cli("moh reload")


@pytest.mark.parametrize(("plays_music", "result"), [(True, "played"), (False, "fallback")])
async def test_r17_a_caller_who_has_the_subscriber_on_hold_keeps_nobody_from_hearing_it(
    lab: Lab, tmp_path: Path, plays_music: bool, result: str
) -> None:
    """He hears the operator's music then, or nothing at all."""
    holds = (calls(NUMBER), pauses(2), renegotiates(ON_HOLD, cseq=2), hears("BYE"))
    async with (
        music(lab) if plays_music else contextlib.nullcontext(),
        engine(lab, tmp_path, credit="0.016", policy=LONG_WARNING) as live,
        plays(lab, tmp_path / "caller", *holds) as caller,
    ):
        assert (await live.heard("prompt_played", deadline_s=40))["result"] == result
        await caller.heard("BYE", deadline_s=30)
        leg = lab.world.stray_mobiles.pop()
        await eventually(lambda: is_recorded(leg), "the recordings to be whole")
        assert speech_s(Sound.read(leg.heard), CALLER_TONE_HZ) > 1.0


async def is_recorded(leg: MobileLeg) -> bool:
    return leg.is_recorded


async def test_r17_a_subscriber_who_is_parked_hears_it(lab: Lab, tmp_path: Path) -> None:
    async with operator_setup(lab), engine(lab, tmp_path, credit="0.016", policy=LONG_WARNING) as live:
        call = await live.call()
        await live.heard("bridge_joined", deadline_s=30)
        await call.wait_state(CallState.ANSWERED)
        caller, leg = sorted(one["Channel"] for one in await lab.switch.channels())
        await lab.switch.action("Park", {"Channel": leg, "TimeoutChannel": caller, "Timeout": "60000"})
        assert (await live.heard("prompt_played", deadline_s=40))["result"] == "played"
        await call.wait_for(lambda: call.mobile.ended_us is not None, "the mobile's end", 40)
        await eventually(lambda: is_recorded(call.mobile), "the recordings to be whole")
        assert speech_s(Sound.read(call.mobile_heard), CALLER_TONE_HZ) > 1.0
        await live.cdr()
