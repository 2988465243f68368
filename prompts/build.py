"""Speak the sentences of ``script.yaml`` into the files that Asterisk plays.

Run by ``make prompts``. Needs espeak-ng and sox. The same versions of them give the same bytes, so a second
run changes nothing. ``--keep NAME`` takes NAME's files as they lie (a person's recording) into the manifest.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from charging.errors import ConfigError
from charging.yaml_text import read_document

FOLDER = Path(__file__).resolve().parent
SCRIPT = FOLDER / "script.yaml"
MANIFEST = FOLDER / "manifest.json"

LEAD_IN_S = "0.3"
TAIL_S = "0.2"
PEAK_DBFS = "-3"
# Telephone band; then the quiet syllables are raised, since a whisper competes with two voices.
EFFECTS = (
    "rate 8000 silence 1 0.01 0.5% reverse silence 1 0.01 0.5% reverse "
    "highpass 250 lowpass 3400 norm -6 "
    "compand 0.0005,0.05 6:-60,-35,-35,-14,-20,-12,0,-11.5 -3 -40 0.003 "
    f"norm {PEAK_DBFS} pad {LEAD_IN_S} {TAIL_S}"
).split()


def speak(sentence: str, voice: str, words_per_minute: str, target: Path) -> None:
    """Write ``sentence`` to ``target``: 8 kHz, mono, 16 bit. Raises CalledProcessError."""
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder, "raw.wav")
        espeak = ["espeak-ng", "-v", voice, "-s", words_per_minute, "-w", str(raw), "--", sentence]
        subprocess.run(espeak, check=True)  # noqa: S603  our own words, no shell
        # -R: the same dither each time, -D: none at all.
        sox = ["sox", "-R", "-D", str(raw), "-c", "1", "-b", "16", str(target), *EFFECTS]
        subprocess.run(sox, check=True)  # noqa: S603


def build(keep: set[str]) -> dict[str, dict[str, str]]:
    """Speak every sentence but those of the prompts in ``keep``; what was spoken, by file."""
    script = read_document(SCRIPT).root
    voices, prompts = script["voices"], script["prompts"]
    assert isinstance(voices, dict)
    assert isinstance(prompts, dict)
    spoken: dict[str, dict[str, str]] = {}
    for name, sentences in prompts.items():
        assert isinstance(sentences, dict)
        for language, sentence in sentences.items():
            target = FOLDER / language / f"{name}.wav"
            if name not in keep:
                target.parent.mkdir(exist_ok=True)
                voice = voices[language]
                assert isinstance(voice, dict)
                speak(str(sentence), str(voice["voice"]), str(voice["words_per_minute"]), target)
            digest = hashlib.sha256(target.read_bytes()).hexdigest()
            spoken[f"{language}/{name}.wav"] = {"sentence": str(sentence), "sha256": digest}
    return spoken


def main() -> int:
    """0: done; 1: the script or a tool is at fault, said on one line each."""
    parser = argparse.ArgumentParser(description="Speak the sentences of script.yaml.")
    parser.add_argument("--keep", action="append", default=[], metavar="NAME", help="leave this prompt's files")
    try:
        spoken = build(set(parser.parse_args().keep))
    except (ConfigError, OSError, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 1
    MANIFEST.write_text(json.dumps(spoken, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
    for file in sorted(spoken):
        print(f"{file}: {spoken[file]['sentence']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
