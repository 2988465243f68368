"""A machine with systemd, for the shipped units: the real thing as process 1, on an overlay of this machine's files."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from charging.lab.process import DIE_WITH_OWNER
from tests.integration.command import REPOSITORY

BOOT = Path(__file__).with_suffix(".sh")
BOOT_S = 60
SITE = Path(sys.prefix, "lib", f"python{sys.version_info.major}.{sys.version_info.minor}", "site-packages")


@dataclass(frozen=True)
class Machine:
    """One that has booted."""

    pid: int
    """Of its systemd, as seen from here."""

    def run(self, *command: str, text: str = "", check: bool = True) -> str:
        """What a command in there says, with all that it complains of."""
        inside = ["nsenter", "-t", str(self.pid), "--mount", "--pid", "--ipc", "--uts", "--cgroup", "--root"]
        at_root = ["sh", "-c", 'cd / && exec "$@"', "sh"]
        ran = subprocess.run(
            [*inside, *at_root, *command], input=text, capture_output=True, text=True, timeout=120, check=False
        )
        said = ran.stdout + ran.stderr
        assert not check or ran.returncode == 0, f"{command}: {ran.returncode}: {said}"
        return said

    def fails(self, *command: str) -> str:
        """The same of a command that must not succeed."""
        said = self.run("sh", "-c", '"$@" && echo IT-SUCCEEDED', "sh", *command, check=False)
        assert "IT-SUCCEEDED" not in said, f"{command}: {said}"
        return said

    def write(self, path: str, text: str) -> None:
        """Make or replace a file, and the folders above it."""
        self.run("sh", "-c", 'mkdir -p "$(dirname "$1")" && cat >"$1"', "sh", path, text=text)

    def drop_in(self, unit: str, text: str) -> None:
        """An operator's own settings of a unit; empty: none."""
        self.write(f"/etc/systemd/system/{unit}.d/test.conf", text)
        self.run("systemctl", "daemon-reload")

    def shows(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "--value", "-p", name, unit).strip()

    def journal(self, unit: str) -> str:
        """All that a unit has said."""
        self.run("journalctl", "--sync")
        return self.run("journalctl", "-q", "-o", "cat", "-u", unit)

    def until(self, unit: str, name: str, wanted: str, seconds: float = 60) -> None:
        """Wait until a unit's property is this."""
        end = time.monotonic() + seconds
        while (found := self.shows(unit, name)) != wanted:
            assert time.monotonic() < end, f"{unit}: {name} is {found}, not {wanted}: {self.journal(unit)[-3000:]}"
            time.sleep(0.1)


@contextmanager
def booted() -> Iterator[Machine]:
    """Boot it; it is gone afterwards with all that was written in it."""
    with tempfile.TemporaryDirectory(prefix="charging-systemd-") as work:
        owned = [*DIE_WITH_OWNER, str(os.getpid())]  # a test that is killed leaves no machine behind
        command = [*owned, "unshare", "--mount", str(BOOT), work, str(REPOSITORY), sys.base_prefix]
        with Path(work, "console").open("wb") as console, Path(work, "console").open() as said:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=console, stderr=console)
            try:
                machine = _waited_for(process, said.read)
                _install(machine)
                yield machine
            finally:
                process.kill()
                process.wait()
                _tidy(process.pid)


def _waited_for(process: subprocess.Popen[bytes], console: object) -> Machine:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    end = time.monotonic() + BOOT_S
    while time.monotonic() < end:
        said = console() if callable(console) else ""
        assert process.poll() is None, f"systemd does not boot here: {said}"
        pids = children.read_text().split()
        if pids:
            machine = Machine(int(pids[0]))
            if "running" in machine.run("systemctl", "is-system-running", check=False):
                return machine
        time.sleep(0.1)
    raise AssertionError("systemd does not come up here")


def _install(machine: Machine) -> None:
    """The program as an operator has it, on this checkout's code and packages."""
    venv = "/opt/charging/.venv"
    machine.run("/opt/python/bin/python3", "-m", "venv", "--without-pip", venv)
    packages = f"/opt/charging/source/{SITE.relative_to(REPOSITORY)}"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    machine.write(f"{venv}/lib/{version}/site-packages/here.pth", f"/opt/charging/source\n{packages}\n")
    machine.write(
        f"{venv}/bin/charging", f"#!{venv}/bin/python\nimport sys\nfrom charging.cli import main\nsys.exit(main())\n"
    )
    machine.run("chmod", "755", f"{venv}/bin/charging")


def _tidy(pid: int) -> None:
    """The cgroups of what has ended."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["mount", "-t", "cgroup2", "none", folder], check=True)
        try:
            for path in sorted(Path(folder).glob(f"charging-test-{pid}/**/"), reverse=True):
                end = time.monotonic() + 5
                while path.is_dir() and time.monotonic() < end:
                    try:
                        os.rmdir(path)
                    except OSError:
                        time.sleep(0.05)
        finally:
            subprocess.run(["umount", folder], check=True)
