"""A Debian 12 of its own, with nothing of the project near: made once, copied for each test, entered by chroot."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from charging.lab.install import ensure_debian

PACKAGES = ("python3", "python3-venv", "adduser", "init-system-helpers")
"""What a server with Debian 12 has, or gets from Debian before our package."""
ENVIRONMENT = (
    *("env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/tmp"),
    *("LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"),
)


class CleanMachine:
    """One copy; what runs in it has no network but the loopback's, for it knows no name server."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def command(self, *words: str, user: str = "root") -> tuple[str, ...]:
        """How to run something in it as ``user``."""
        become = () if user == "root" else ("setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups")
        return ("chroot", str(self.root), *ENVIRONMENT, *become, *words)

    def run(self, *words: str, user: str = "root") -> str:
        """What it prints; it must succeed."""
        done = subprocess.run(self.command(*words, user=user), capture_output=True, text=True, check=False, cwd="/")
        assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def fails(self, *words: str, user: str = "root") -> str:
        """What it says; it must fail."""
        done = subprocess.run(self.command(*words, user=user), capture_output=True, text=True, check=False, cwd="/")
        assert done.returncode != 0, f"{' '.join(words)}: {done.stdout}"
        return done.stdout + done.stderr

    def put(self, folder: Path, pattern: str) -> list[str]:
        """Copy files into its /srv; their paths there."""
        files = sorted(folder.glob(pattern))
        for file in files:
            shutil.copy(file, self.root / "srv")
        return [f"/srv/{file.name}" for file in files]


@contextmanager
def clean_machine(folder: Path) -> Iterator[CleanMachine]:
    """A new one, gone afterwards. Raises LabUnavailable."""
    root = folder / "machine"
    subprocess.run(["cp", "-a", "--reflink=auto", ensure_debian("bookworm", PACKAGES), root], check=True)
    try:
        (root / "etc" / "resolv.conf").unlink(missing_ok=True)
        yield CleanMachine(root)
    finally:
        shutil.rmtree(root, ignore_errors=True)
