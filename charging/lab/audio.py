"""Measure what was heard: how loud a tone is, when it was there, and what else sounds beside it.

All in dB relative to a full-scale sine. Frequencies that are multiples of 50 Hz are exactly told apart, because every
window is 20 ms long and so holds whole periods of each.
"""

from __future__ import annotations

import math
import sys
import wave
from array import array
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

RATE_HZ = 8_000
WINDOW_S = 0.02
WINDOW = int(RATE_HZ * WINDOW_S)
FULL_SCALE = 32_767.0
SILENCE_DB = -96.0


@dataclass(frozen=True)
class Sound:
    """Mono 16-bit samples at 8 kHz."""

    samples: array[int]

    @classmethod
    def read(cls, path: Path) -> Sound:
        """Read a WAV file.

        Raises:
            ValueError: it is not 8 kHz, mono, 16 bit.
        """
        with wave.open(str(path)) as file:
            if (file.getframerate(), file.getnchannels(), file.getsampwidth()) != (RATE_HZ, 1, 2):
                raise ValueError(f"{path}: not 8 kHz mono 16 bit")
            samples = array("h", file.readframes(file.getnframes()))
        if sys.byteorder == "big":
            samples.byteswap()
        return cls(samples)

    @property
    def seconds(self) -> float:
        return len(self.samples) / RATE_HZ

    @cached_property
    def _windows(self) -> list[array[int]]:
        return [self.samples[i : i + WINDOW] for i in range(0, len(self.samples) - WINDOW + 1, WINDOW)]

    def tone_track(self, tone_hz: int) -> list[float]:
        """The level of a tone in each 20 ms window, in dB."""
        return [_db(_tone_power(window, tone_hz)) for window in self._windows]

    def rest_track(self, *tones_hz: int) -> list[float]:
        """The level of everything but these tones in each 20 ms window, in dB."""
        return [
            _db(max(0.0, _power(window) - sum(_tone_power(window, tone) for tone in tones_hz)))
            for window in self._windows
        ]

    def tone_db(self, tone_hz: int, start_s: float = 0.0, end_s: float | None = None) -> float:
        """The mean level of a tone between two moments of the recording, in dB."""
        part = self._part(start_s, end_s)
        return _db(sum(_tone_power(window, tone_hz) for window in part) / max(1, len(part)))

    def gaps(
        self,
        tone_hz: int,
        start_s: float = 0.0,
        end_s: float | None = None,
        *,
        below_db: float,
        longer_than_s: float = 0.0,
    ) -> list[tuple[float, float]]:
        """Where, between two moments, the tone was weaker than ``below_db`` for longer than ``longer_than_s``."""
        track = [_db(_tone_power(window, tone_hz)) for window in self._part(start_s, end_s)]
        runs = _runs([level < below_db for level in track])
        gaps = [(start_s + first * WINDOW_S, start_s + last * WINDOW_S) for first, last in runs]
        return [(first, last) for first, last in gaps if last - first > longer_than_s]

    def presence(self, tone_hz: int, *, above_db: float) -> tuple[float, float] | None:
        """The first and the last moment at which the tone was louder than ``above_db``, in s; ``None`` for never."""
        loud = [i for i, level in enumerate(self.tone_track(tone_hz)) if level > above_db]
        return (loud[0] * WINDOW_S, (loud[-1] + 1) * WINDOW_S) if loud else None

    def seconds_of_tone(self, tone_hz: int, *, above_db: float) -> float:
        """For how long altogether the tone was louder than ``above_db``."""
        return sum(level > above_db for level in self.tone_track(tone_hz)) * WINDOW_S

    def seconds_of_rest(self, *tones_hz: int, above_db: float) -> float:
        """For how long altogether something other than these tones was louder than ``above_db``."""
        return sum(level > above_db for level in self.rest_track(*tones_hz)) * WINDOW_S

    def _part(self, start_s: float, end_s: float | None) -> list[array[int]]:
        last = len(self._windows) if end_s is None else round(end_s / WINDOW_S)
        return self._windows[round(start_s / WINDOW_S) : last]


def write_tone(path: Path, tone_hz: int, seconds: int, level_db: float = -10.0) -> None:
    """Write a steady tone; whole seconds of a whole frequency, so that it can be played in a loop without a click."""
    peak = FULL_SCALE * 10 ** (level_db / 20)
    second = array("h", (round(peak * math.sin(2 * math.pi * tone_hz * i / RATE_HZ)) for i in range(RATE_HZ)))
    if sys.byteorder == "big":
        second.byteswap()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(second.tobytes() * seconds)


def _tone_power(window: array[int], tone_hz: int) -> float:
    """Goertzel: the power of one frequency, where a full-scale sine has 1."""
    coefficient = 2 * math.cos(2 * math.pi * tone_hz / RATE_HZ)
    before = last = 0.0
    for sample in window:
        before, last = last, sample + coefficient * last - before
    magnitude_squared = last * last + before * before - coefficient * last * before
    return magnitude_squared * 4 / (len(window) * FULL_SCALE) ** 2


def _power(window: array[int]) -> float:
    return 2 * sum(sample * sample for sample in window) / (len(window) * FULL_SCALE**2)


def _db(power: float) -> float:
    return max(SILENCE_DB, 10 * math.log10(power)) if power > 0 else SILENCE_DB


def _runs(flags: list[bool]) -> list[tuple[int, int]]:
    """The half-open index ranges in which the flag is set."""
    runs: list[tuple[int, int]] = []
    for i, flag in enumerate(flags):
        if flag and runs and runs[-1][1] == i:
            runs[-1] = (runs[-1][0], i + 1)
        elif flag:
            runs.append((i, i + 1))
    return runs
