"""Finding an Asterisk and installing one, with stand-ins for debootstrap and chroot; the real one is what CI does."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from charging.lab import install
from charging.lab.errors import LabUnavailable
from charging.lab.install import MARKER, ensure_asterisk, find_asterisk
from charging.lab.progress import InstallProgress, show_progress
from tests.asterisk.waiting import eventually

REPOSITORY = Path(__file__).parents[2]

# Makes what the installer goes on to use, and notes that it was called.
DEBOOTSTRAP = """#!/bin/sh
for target; do case "$target" in /*.partial-*) break;; esac; done
echo call >> "$STAND_INS/calls"
echo "$*" >> "$STAND_INS/bootstrap"
if [ -e "$STAND_INS/fail" ]; then echo "E: no space left"; exit 1; fi
mkdir -p "$target/usr/sbin" "$target/tmp"
echo "I: Retrieving things"
if [ -e "$STAND_INS/hang" ]; then (sleep 60; : "$target"); fi
while [ -e "$STAND_INS/endless" ]; do echo "I: still at it"; sleep 0.05; done
if [ -e "$STAND_INS/slow" ]; then sleep 0.5; fi
exit 0
"""
CHROOT = """#!/bin/sh
case "$*" in *" -V") echo "Asterisk 22.10.1";; esac
"""


@pytest.fixture
def stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose ``debootstrap`` and ``chroot`` come first on PATH, on a machine without an asterisk."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, script in {"debootstrap": DEBOOTSTRAP, "chroot": CHROOT, "apt-get": "#!/bin/sh\n"}.items():
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    path = os.pathsep.join(part for part in os.environ["PATH"].split(":") if not Path(part, "asterisk").exists())
    monkeypatch.setenv("PATH", f"{folder}:{path}")
    monkeypatch.setenv("STAND_INS", str(folder))
    monkeypatch.setenv("CHARGING_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(install, "KEYRING", folder)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return folder


def calls(stand_ins: Path) -> int:
    file = stand_ins / "calls"
    return len(file.read_text().splitlines()) if file.exists() else 0


def processes() -> list[str]:
    return subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()


def silent(progress: InstallProgress) -> None:
    """Hears no progress."""


def test_an_asterisk_on_path_is_used_and_nothing_installed(stand_ins: Path) -> None:
    own = stand_ins / "asterisk"
    own.write_text("#!/bin/sh\necho Asterisk 20.9.3\n")
    own.chmod(0o755)
    program = ensure_asterisk()
    assert (program.command, program.version, program.root) == ((str(own),), "20.9.3", Path("/"))
    assert calls(stand_ins) == 0


def test_it_is_installed_once_and_then_found(stand_ins: Path, tmp_path: Path) -> None:
    assert find_asterisk() is None
    program = ensure_asterisk(say=silent)
    assert program.version == "22.10.1"
    assert (tmp_path / "cache/forky" / MARKER).exists()
    assert ensure_asterisk() == program
    assert calls(stand_ins) == 1


def test_an_interrupted_install_is_noticed_and_redone(stand_ins: Path, tmp_path: Path) -> None:
    (stand_ins / "hang").touch()
    cache = tmp_path / "cache"
    with subprocess.Popen([sys.executable, "-m", "charging.lab"], cwd=REPOSITORY, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 10
        while not list(cache.glob("forky.partial-*/tmp")) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    while [line for line in processes() if str(cache) in line]:
        assert time.monotonic() < deadline, "debootstrap must end with the installer"
        time.sleep(0.02)
    (stand_ins / "hang").unlink()
    assert find_asterisk() is None
    assert ensure_asterisk(say=silent).version == "22.10.1"
    assert calls(stand_ins) == 2
    assert sorted(path.name for path in cache.iterdir()) == ["forky", "install.lock"]


async def test_a_cancelled_task_stops_the_installation(stand_ins: Path, tmp_path: Path) -> None:
    (stand_ins / "endless").touch()
    task = asyncio.create_task(install.ensure_asterisk_async())

    async def has_begun() -> bool:
        return calls(stand_ins) == 1

    await eventually(has_begun, "debootstrap to be called")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    async def is_free() -> bool:
        with (tmp_path / "cache/install.lock").open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    await eventually(is_free, "the installer to stop")
    assert find_asterisk() is None


def test_a_folder_without_the_marker_is_not_taken_for_an_installation(stand_ins: Path, tmp_path: Path) -> None:
    (tmp_path / "cache/forky/usr/sbin").mkdir(parents=True)
    assert find_asterisk() is None
    ensure_asterisk(say=silent)
    assert calls(stand_ins) == 1


def test_two_installers_at_once_install_once(stand_ins: Path) -> None:
    (stand_ins / "slow").touch()
    versions: list[str] = []
    threads = [threading.Thread(target=lambda: versions.append(ensure_asterisk(say=silent).version)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert versions == ["22.10.1", "22.10.1"]
    assert calls(stand_ins) == 1


def test_a_failed_install_says_what_failed_and_what_to_do_and_leaves_nothing(stand_ins: Path, tmp_path: Path) -> None:
    (stand_ins / "fail").touch()
    with pytest.raises(LabUnavailable, match=r"no space left.*Install Asterisk 22"):
        ensure_asterisk(say=silent)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["install.lock"]


def test_without_root_the_message_says_what_to_install(stand_ins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabUnavailable, match=r"no asterisk on PATH, and .*needs root.*Install Asterisk 22"):
        ensure_asterisk(say=silent)
    assert calls(stand_ins) == 0


def test_without_apt_the_message_says_what_to_install(stand_ins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (stand_ins / "apt-get").unlink()
    (stand_ins / "setpriv").write_text("#!/bin/sh\n")
    (stand_ins / "setpriv").chmod(0o755)
    monkeypatch.setenv("PATH", str(stand_ins))
    with pytest.raises(LabUnavailable, match="Debian-like machines only"):
        ensure_asterisk(say=silent)


def own_asterisk(stand_ins: Path, version: str) -> None:
    own = stand_ins / "asterisk"
    own.write_text(f"#!/bin/sh\necho Asterisk {version}\n")
    own.chmod(0o755)


@pytest.mark.parametrize(
    "version", ["20.20.1", "22.10.1~dfsg+~cs6-1", "22.11.0-rc1", "23.4.1", "certified/20.7-cert3", "GIT-22-1a2b3c"]
)
def test_asterisk_20_22_and_23_are_taken_as_they_are(stand_ins: Path, version: str) -> None:
    own_asterisk(stand_ins, version)
    assert ensure_asterisk().version == version.removeprefix("certified/")


@pytest.mark.parametrize("version", ["18.26.4", "19.8.1", "21.12.2", "24.0.0", "2.0.1", "220.1", "GIT-master-1a2b3c"])
def test_another_asterisk_is_refused_and_named(stand_ins: Path, version: str) -> None:
    own_asterisk(stand_ins, version)
    with pytest.raises(LabUnavailable, match=rf"is Asterisk {re.escape(version)}; this runs on 20, 22 and 23 only"):
        ensure_asterisk()


# --- the age of what is installed -----------------------------------------------------------------------------

EXPIRED = "E: Release file for http://host/InRelease is expired (invalid since 22d). Updates will not be applied."


def apt_in_the_chroot(stand_ins: Path, prints: str, code: int) -> None:
    """Let `chroot … apt-get … update` note its arguments, print this and end so."""
    script = f"""#!/bin/sh
case "$*" in
*" -V") echo "Asterisk 22.10.1";;
*" update") echo "$*" >> "$STAND_INS/updates"; echo "{prints}"; exit {code};;
esac
"""
    (stand_ins / "chroot").write_text(script)


@pytest.mark.parametrize(("days", "seconds"), [(None, 180 * 86_400), ("7", 7 * 86_400), ("0", 0)])
def test_apt_checks_signature_and_age(
    stand_ins: Path, monkeypatch: pytest.MonkeyPatch, days: str | None, seconds: int
) -> None:
    if days is not None:
        monkeypatch.setenv("CHARGING_LAB_RELEASE_DAYS", days)
    apt_in_the_chroot(stand_ins, "fine", 0)
    ensure_asterisk(say=silent)
    asked = (stand_ins / "updates").read_text()
    assert f"Acquire::Min-ValidTime={seconds} " in asked
    assert "Check-Valid-Until" not in asked
    assert "--force-check-gpg" in (stand_ins / "bootstrap").read_text()


def test_a_list_that_is_too_old_is_refused_with_what_to_do_and_nothing_is_kept(stand_ins: Path, tmp_path: Path) -> None:
    apt_in_the_chroot(stand_ins, EXPIRED, 100)
    with pytest.raises(LabUnavailable, match=r"older than 180 days.*clock right.*CHARGING_LAB_RELEASE_DAYS=DAYS"):
        ensure_asterisk(say=silent)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["install.lock"]


def test_a_list_of_a_time_to_come_is_the_clocks_fault(stand_ins: Path) -> None:
    apt_in_the_chroot(stand_ins, "E: Release file for http://host/InRelease is not valid yet (invalid for 2h)", 100)
    with pytest.raises(LabUnavailable, match="Set this machine's clock"):
        ensure_asterisk(say=silent)


def test_an_age_that_is_no_number_is_refused(stand_ins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARGING_LAB_RELEASE_DAYS", "never")
    with pytest.raises(LabUnavailable, match="found 'never', expected a number of days"):
        ensure_asterisk(say=silent)


def test_progress_without_a_terminal_is_a_few_plain_lines(capfd: pytest.CaptureFixture[str]) -> None:
    with show_progress() as say:
        for step in range(1, 1000):
            say(InstallProgress(f"step {step}", step / 1000))
        say(InstallProgress("done", 1.0))
    lines = capfd.readouterr().err.splitlines()
    assert 9 <= len(lines) <= 12
    assert lines[-1] == "private Asterisk: 100% done"
