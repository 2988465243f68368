"""What the two ends of the call received, measured in their recordings.

The parties "talk" in steady tones, so whatever else is loud in a recording is the prompt.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from charging.lab import Call
from charging.lab.audio import SILENCE_DB, WINDOW_S, Sound
from charging.lab.folder import CALLER_TONE_HZ, MOBILE_TONE_HZ

SPEECH_DB = -35.0
VOICE_DB = -16.0


@dataclass(frozen=True, slots=True)
class Ear:
    """One end of the call."""

    recording: Path
    seconds: float
    other_voice_s: float
    """For how long the other party's voice was there."""
    speech_s: float
    """For how long something else was."""
    speech_db: float
    """How loud that was while the prompt was spoken."""


@dataclass(frozen=True, slots=True)
class Ears:
    subscriber: Ear
    caller: Ear
    prompt_s: float
    """So much of a prompt's file is loud."""


def listen(call: Call, prompt: Path) -> Ears:
    """Measure both recordings of a call that is over."""
    subscriber, caller = Sound.read(call.mobile_heard), Sound.read(call.caller_heard)
    since = call.mobile.recording_since_us or 0
    shift = round((since - (call.outside.recording_since_us or since)) / 1e6 / WINDOW_S)
    there = subscriber.rest_track(CALLER_TONE_HZ, MOBILE_TONE_HZ)
    here = caller.rest_track(CALLER_TONE_HZ, MOBILE_TONE_HZ)
    spoken = [index for index, level in enumerate(there) if level > SPEECH_DB]
    same = [index + shift for index in spoken if 0 <= index + shift < len(here)]
    return Ears(
        _ear(call.mobile_heard, subscriber, CALLER_TONE_HZ, _mean_db([there[index] for index in spoken])),
        _ear(call.caller_heard, caller, MOBILE_TONE_HZ, _mean_db([here[index] for index in same])),
        Sound.read(prompt).seconds_of_rest(CALLER_TONE_HZ, MOBILE_TONE_HZ, above_db=SPEECH_DB),
    )


def _ear(path: Path, sound: Sound, other_hz: int, speech_db: float) -> Ear:
    return Ear(
        path,
        sound.seconds,
        sound.seconds_of_tone(other_hz, above_db=VOICE_DB),
        sound.seconds_of_rest(CALLER_TONE_HZ, MOBILE_TONE_HZ, above_db=SPEECH_DB),
        speech_db,
    )


def _mean_db(levels: list[float]) -> float:
    if not levels:
        return SILENCE_DB
    return 10 * math.log10(sum(10 ** (level / 10) for level in levels) / len(levels))
