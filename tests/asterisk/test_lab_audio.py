"""The lab's ear, on sounds made here; no Asterisk needed."""

from __future__ import annotations

import math
import wave
from array import array
from pathlib import Path

import pytest

from charging.lab.audio import FULL_SCALE, RATE_HZ, SILENCE_DB, Sound, write_tone


def tone(seconds: float, **levels_db_by_hz: float) -> array[int]:
    """A sum of tones: ``tone(1, hz600=-10)``."""
    peaks = [(int(hz[2:]), FULL_SCALE * 10 ** (level / 20)) for hz, level in levels_db_by_hz.items()]
    return array(
        "h",
        (
            round(sum(peak * math.sin(2 * math.pi * hz * i / RATE_HZ) for hz, peak in peaks))
            for i in range(int(seconds * RATE_HZ))
        ),
    )


def test_a_tone_has_the_level_that_it_was_made_with(tmp_path: Path) -> None:
    write_tone(tmp_path / "t.wav", 600, 1, level_db=-10)
    sound = Sound.read(tmp_path / "t.wav")
    assert sound.seconds == 1.0
    assert sound.tone_db(600) == pytest.approx(-10, abs=0.01)


def test_tones_that_sound_together_are_told_apart() -> None:
    sound = Sound(tone(1, hz600=-10, hz1000=-30))
    assert sound.tone_db(600) == pytest.approx(-10, abs=0.1)
    assert sound.tone_db(1000) == pytest.approx(-30, abs=0.1)
    assert sound.tone_db(1500) < -60


def test_what_is_left_beside_the_tones_is_found() -> None:
    sound = Sound(tone(1, hz600=-10) + tone(1, hz600=-10, hz1500=-20))
    assert sound.seconds_of_rest(600, above_db=-30) == pytest.approx(1.0)
    assert sound.seconds_of_rest(600, 1500, above_db=-30) == 0.0


def test_a_gap_is_found_where_it_is_and_only_if_it_is_long_enough() -> None:
    sound = Sound(tone(0.5, hz600=-10) + tone(0.1) + tone(0.5, hz600=-10))
    assert sound.gaps(600, below_db=-20) == [pytest.approx((0.5, 0.6))]
    assert sound.gaps(600, below_db=-20, longer_than_s=0.11) == []
    assert sound.gaps(600, 0.62, 1.0, below_db=-20) == []


def test_presence_is_the_first_and_the_last_moment() -> None:
    sound = Sound(tone(0.2) + tone(0.2, hz1500=-10) + tone(0.2) + tone(0.2, hz1500=-10))
    assert sound.presence(1500, above_db=-20) == pytest.approx((0.2, 0.8))
    assert sound.seconds_of_tone(1500, above_db=-20) == pytest.approx(0.4)
    assert sound.presence(600, above_db=-20) is None


def test_silence_and_an_empty_recording_have_the_lowest_level() -> None:
    assert Sound(tone(1)).tone_db(600) == SILENCE_DB
    assert Sound(array("h")).tone_db(600) == SILENCE_DB
    assert Sound(array("h")).presence(600, above_db=-90) is None


def test_another_format_is_refused(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "t.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(b"\0" * 8)
    with pytest.raises(ValueError, match="not 8 kHz mono 16 bit"):
        Sound.read(tmp_path / "t.wav")
