"""On a machine that can have no Asterisk its tests are skipped with one message; with CI=true they fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
NEEDS_ASTERISK = "tests/asterisk/test_dialplan_decisions.py::test_a_forwarded_call_carries_both_voices"
NEEDS_NONE = "tests/asterisk/test_lab_audio.py::test_tones_that_sound_together_are_told_apart"
PLUGINS = ("-p", "pytest_asyncio.plugin", "-p", "pytest_timeout")
MESSAGE = "no asterisk on PATH, and a private one can be installed on Debian-like machines only. Install Asterisk 22"


def run_without_asterisk(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run both tests on a machine that has no asterisk and no apt-get."""
    setpriv = shutil.which("setpriv")
    assert setpriv is not None
    (folder / "setpriv").symlink_to(setpriv)
    kept = {name: value for name, value in os.environ.items() if name != "CI" and not name.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-rs", *PLUGINS, NEEDS_ASTERISK, NEEDS_NONE],
        cwd=REPOSITORY,
        env=kept
        | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PATH": str(folder), "CHARGING_LAB_CACHE": str(folder / "none")}
        | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_they_are_skipped_with_the_one_message(tmp_path: Path) -> None:
    run = run_without_asterisk(tmp_path)
    assert "1 passed, 1 skipped" in run.stdout
    assert MESSAGE in run.stdout


def test_in_ci_they_fail_with_the_same_message(tmp_path: Path) -> None:
    run = run_without_asterisk(tmp_path, CI="true")
    assert "1 passed, 1 error" in run.stdout
    assert MESSAGE in run.stdout
