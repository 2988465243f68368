"""The prompts: what the script says is what the files hold, and a subscriber can hear all of it."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import wave
from array import array
from pathlib import Path

import pytest

from charging.metrics import Metrics
from charging.yaml_text import read_document

PROMPTS = Path(__file__).parents[1] / "prompts"
LANGUAGES = {"nl", "en"}
RATE = 8000
FULL_SCALE = 32768
FILES = sorted(path.relative_to(PROMPTS).as_posix() for path in PROMPTS.glob("*/*.wav"))


def script() -> dict[str, dict[str, str]]:
    prompts = read_document(PROMPTS / "script.yaml").root["prompts"]
    assert isinstance(prompts, dict)
    return prompts  # type: ignore[return-value]  # the tests below check its leaves


def samples_of(file: str) -> array[int]:
    with wave.open(str(PROMPTS / file)) as audio:
        samples = array("h")
        samples.frombytes(audio.readframes(audio.getnframes()))
    return samples


def dbfs(value: float) -> float:
    return 20 * math.log10(max(value, 1) / FULL_SCALE)


def rms(samples: array[int]) -> float:
    return math.sqrt(sum(one * one for one in samples) / len(samples))


def test_every_prompt_is_written_in_every_language() -> None:
    for name, sentences in script().items():
        assert sentences.keys() == LANGUAGES, name
        assert all(sentence and sentence.strip() for sentence in sentences.values()), name


def test_every_sentence_has_its_file_and_every_file_its_sentence() -> None:
    assert sorted(f"{language}/{name}.wav" for name in script() for language in LANGUAGES) == FILES


def test_files_were_made_from_the_sentences_as_they_are_now() -> None:
    manifest = json.loads((PROMPTS / "manifest.json").read_text())
    now = {
        f"{language}/{name}.wav": {
            "sentence": sentence,
            "sha256": hashlib.sha256((PROMPTS / language / f"{name}.wav").read_bytes()).hexdigest(),
        }
        for name, sentences in script().items()
        for language, sentence in sentences.items()
    }
    assert manifest == now, "run `make prompts`"


def test_metrics_know_every_prompt() -> None:
    collected = {
        sample.labels["prompt"]
        for family in Metrics().registry.collect()
        if family.name == "charging_prompts"
        for sample in family.samples
    }
    assert collected == set(script())


@pytest.mark.parametrize("file", FILES)
def test_file_is_what_asterisk_plays_without_converting(file: str) -> None:
    with wave.open(str(PROMPTS / file)) as audio:
        form = (audio.getframerate(), audio.getnchannels(), audio.getsampwidth(), audio.getcomptype())
        seconds = audio.getnframes() / RATE
    assert form == (RATE, 1, 2, "NONE")
    assert 2 <= seconds <= 10


@pytest.mark.parametrize("file", FILES)
def test_file_is_loud_and_not_clipped(file: str) -> None:
    samples = samples_of(file)
    peak = max(abs(one) for one in samples)
    assert -3.5 <= dbfs(peak) <= -2.5
    assert dbfs(rms(samples)) >= -20
    flat = sum(a == b and abs(a) == peak for a, b in itertools.pairwise(samples))
    assert flat == 0, "tops cut off"


@pytest.mark.parametrize("file", FILES)
def test_first_word_comes_after_a_silence_in_which_the_switch_attaches(file: str) -> None:
    samples = samples_of(file)
    lead_in, first_second = samples[: int(0.3 * RATE)], samples[int(0.3 * RATE) : RATE]
    assert dbfs(max(abs(one) for one in lead_in)) < -60
    assert dbfs(rms(first_second)) > -30, "the lead-in is far longer than it should be"


@pytest.mark.parametrize("file", FILES)
def test_last_word_is_not_cut_off(file: str) -> None:
    tail = samples_of(file)[-int(0.1 * RATE) :]
    assert dbfs(max(abs(one) for one in tail)) < -60
