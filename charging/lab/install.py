"""Find an Asterisk, or install a private one into a cache folder.

Where an ``asterisk`` is on PATH it is used. Else, as root on a Debian-like machine, Debian testing's Asterisk is put
into a folder of its own with debootstrap and run there by chroot: about a minute and a half and 670 MB, once. On the
machine itself nothing is installed but debootstrap. There is no /proc in that folder, so there the dialplan cannot
read how long the machine has been up (``CHARGING_UPTIME``): ``up`` is empty in the lab's records.

An installation is built under a temporary name, gets its marker as the very last step and is then renamed, so an
interrupted one is never mistaken for a whole one: it is removed and done again. A file lock keeps two installers apart.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from charging.lab.errors import LabUnavailable
from charging.lab.progress import InstallProgress, show_progress

SUITE = "forky"
PACKAGES = ("asterisk", "asterisk-core-sounds-en-wav")
DAY_S = 24 * 3600
MARKER = "charging-lab-installed"
PARTIAL = ".partial-"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
BOOTSTRAP_SCRIPT = Path("/usr/share/debootstrap/scripts/sid")
NEEDED_TOOLS = ("setpriv",)
SUPPORTED = ("20", "22", "23")
"""Asterisk's branches that this runs on; tried with 20.20.1, 22.10.1, 22.11.0-rc1 and 23.4.1."""
RELEASE_DAYS_VARIABLE = "CHARGING_LAB_RELEASE_DAYS"
RELEASE_DAYS = 180
"""How old Debian's signed list of packages may be. A week is what Debian itself gives testing, and mirrors that follow
it seldom are older; without any limit someone between could hand out an old list for ever, with its known holes."""

_SUPPORTED_WORDS = f"{', '.join(SUPPORTED[:-1])} and {SUPPORTED[-1]}"

Say = Callable[[InstallProgress], None]


@dataclass(frozen=True, slots=True)
class AsteriskProgram:
    """How to start the Asterisk that was found."""

    command: tuple[str, ...]
    root: Path
    """The folder that Asterisk sees as ``/``."""
    version: str
    """For example ``22.10.1``, with whatever the packager added behind it."""

    @property
    def sees_proc(self) -> bool:
        """Whether it can read ``/proc/uptime``: in a chroot, where nothing is mounted, it cannot."""
        return self.command[0] != "chroot"


def cache_folder() -> Path:
    """``CHARGING_LAB_CACHE``, else ``charging-lab`` in the user's cache folder."""
    named = os.environ.get("CHARGING_LAB_CACHE")
    if named:
        return Path(named).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "charging-lab"


def find_asterisk(cache: Path | None = None) -> AsteriskProgram | None:
    """The machine's own Asterisk, else the one in the cache, else ``None``.

    Raises:
        LabUnavailable: it is there and does not run, is not of a SUPPORTED branch, or cannot be started safely.
    """
    for tool in NEEDED_TOOLS:
        if shutil.which(tool) is None:
            raise LabUnavailable(f"the lab needs {tool!r} (Debian package util-linux)")
    on_path = shutil.which("asterisk")
    if on_path is not None:
        return _program((on_path,), Path("/"))
    root = _root(cache)
    return _program(("chroot", str(root), "/usr/sbin/asterisk"), root) if _is_whole(root) else None


def ensure_asterisk(cache: Path | None = None, say: Say | None = None) -> AsteriskProgram:
    """Like :func:`find_asterisk`, and install one where there is none; ``say`` hears how far that is.

    Raises:
        LabUnavailable: none is to be had; the message says what to install.
    """
    found = find_asterisk(cache)
    if found is None:
        _refuse_where_impossible()
        with show_progress() if say is None else contextlib.nullcontext(say) as report:
            _install_once(_root(cache), report)
        found = find_asterisk(cache)
        assert found is not None, "an installation that ended well is found"
    return found


async def ensure_asterisk_async() -> AsteriskProgram:
    """:func:`ensure_asterisk` in a thread; a task that is cancelled meanwhile stops the installation.

    Raises:
        LabUnavailable: none is to be had.
    """
    stop = threading.Event()
    with show_progress() as show:

        def say(progress: InstallProgress) -> None:
            if stop.is_set():
                raise LabUnavailable("the installation of Asterisk was stopped")
            show(progress)

        try:
            return await asyncio.to_thread(ensure_asterisk, None, say)
        finally:
            stop.set()


def ensure_debian(suite: str, packages: Sequence[str]) -> Path:
    """A Debian in a folder of the cache, made once, to be copied by who wants a clean machine.

    Raises:
        LabUnavailable: none is to be had.
    """
    root = cache_folder() / suite
    if not _is_whole(root):
        _refuse_where_impossible()
        with show_progress() as report:
            _install_once(root, report, suite, packages)
    return root


def _root(cache: Path | None) -> Path:
    return (cache or cache_folder()) / SUITE


def _program(command: tuple[str, ...], root: Path) -> AsteriskProgram:
    printed = subprocess.run([*command, "-V"], capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    version = re.search(r"Asterisk (?:certified/)?(\S+)", printed.stdout)
    if version is None:
        raise LabUnavailable(
            f"{' '.join(command)} does not run ({printed.stderr.strip()[-200:]}); "
            f"remove {root if root != Path('/') else command[0]} and try again"
        )
    branch = re.match(r"(?:GIT-)?(\d+)", version[1])
    if branch is None or branch[1] not in SUPPORTED:
        raise LabUnavailable(
            f"{' '.join(command)} is Asterisk {version[1]}; this runs on {_SUPPORTED_WORDS} only. Install one of them, "
            "or take this one off PATH, so that a private one is installed"
        )
    return AsteriskProgram(command, root, version[1])


def _is_whole(root: Path) -> bool:
    return (root / MARKER).exists()


def _refuse_where_impossible() -> None:
    """Say in one message what a machine lacks that can not have a private Asterisk."""
    if os.geteuid() != 0:
        why = "installing a private one needs root"
    elif shutil.which("apt-get") is None:
        why = "a private one can be installed on Debian-like machines only"
    else:
        return
    raise LabUnavailable(
        f"no asterisk on PATH, and {why}. Install Asterisk 22 (package asterisk, with app_voicemail, res_agi and "
        "chan_pjsip), or run this as root on Debian or Ubuntu."
    )


def _install_once(root: Path, say: Say, suite: str = SUITE, packages: Sequence[str] = PACKAGES) -> None:
    root.parent.mkdir(parents=True, exist_ok=True)
    with _install_lock(root.parent / "install.lock", say):
        if _is_whole(root):
            return
        _remove_leftovers(root)
        partial = Path(tempfile.mkdtemp(prefix=f"{root.name}{PARTIAL}", dir=root.parent))
        started = time.monotonic()
        try:
            _install(partial, say, suite, packages)
        except (subprocess.CalledProcessError, OSError) as error:
            _remove_tree(partial)
            raise LabUnavailable(_failure(error)) from error
        partial.chmod(0o755)
        partial.rename(root)
        say(InstallProgress(f"{packages[0]} installed in {time.monotonic() - started:.0f} s", 1.0))


@contextlib.contextmanager
def _install_lock(path: Path, say: Say) -> Iterator[None]:
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(InstallProgress("another process is installing; waiting for it", 0.0))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _remove_leftovers(root: Path) -> None:
    for folder in (root, *root.parent.glob(f"{root.name}{PARTIAL}*")):
        _remove_tree(folder)


def _remove_tree(folder: Path) -> None:
    """Remove a folder, and first what an interrupted debootstrap left mounted in it."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((m for m in mounts if m.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", mount], check=False)  # noqa: S603, S607
    shutil.rmtree(folder, ignore_errors=True)


def _install(partial: Path, say: Say, suite: str, packages: Sequence[str]) -> None:
    if shutil.which("debootstrap") is None or not KEYRING.exists():
        say(InstallProgress("installing debootstrap", 0.0))
        _run(["apt-get", "-qq", "update"], say, 0.0, 0.0)
        _run(["apt-get", "-qq", "-y", "install", "debootstrap", "debian-archive-keyring"], say, 0.0, 0.0)
    bootstrap = [
        "debootstrap",
        "--variant=minbase",
        "--force-check-gpg",
        "--include=ca-certificates",
        f"--keyring={KEYRING}",
    ]
    # An empty mirror means debootstrap's own default; Debian 12's debootstrap knows forky's recipe as sid's only.
    _run([*bootstrap, suite, str(partial), "", str(BOOTSTRAP_SCRIPT)], say, 0.02, 0.6)
    # Nothing that the packages bring may be started, on whatever machine this is.
    policy = partial / "usr" / "sbin" / "policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    inside = ["chroot", str(partial), "env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C", "apt-get"]
    # debootstrap has checked the same list's signature, and cannot check its age; nothing is kept if apt refuses it.
    _run([*inside, "-o", f"Acquire::Min-ValidTime={_release_days() * DAY_S}", "update"], say, 0.6, 0.65)
    _run([*inside, "install", "-y", "--no-install-recommends", *packages], say, 0.65, 0.98)
    _run([*inside, "clean"], say, 0.98, 0.99)
    (partial / MARKER).write_text(f"{suite}\n")


def _release_days() -> int:
    text = os.environ.get(RELEASE_DAYS_VARIABLE, str(RELEASE_DAYS))
    if not re.fullmatch(r"[0-9]{1,5}", text):
        raise LabUnavailable(f"{RELEASE_DAYS_VARIABLE}: found {text!r}, expected a number of days")
    return int(text)


def _ends_with_us() -> list[str]:
    """How to start a step so that a killed installer leaves neither a process nor a mount of it behind.

    With namespaces of its own every descendant ends with the step; where they are not allowed, only the step itself.
    """
    command = ["setpriv", "--pdeathsig", "KILL"]
    apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    if shutil.which("unshare") and subprocess.run([*apart, "true"], check=False, capture_output=True).returncode == 0:  # noqa: S603
        command += apart
    return command


def _run(command: list[str], say: Say, start: float, end: float) -> None:
    """Run a step; each line that it prints moves the progress on, ever more slowly, between ``start`` and ``end``.

    Raises:
        subprocess.CalledProcessError: it failed; carries its last lines.
    """
    done, tail = start, [""]
    with subprocess.Popen(  # noqa: S603 - our own commands, no shell
        [*_ends_with_us(), *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                tail = [*tail[-4:], line.strip()]
                done += (end - done) * 0.008
                say(InstallProgress(_describe(line), done))
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command, output=" / ".join(tail))


def _describe(line: str) -> str:
    """A line of debootstrap or apt as a person wants to read it."""
    return line.strip().removeprefix("I: ")[:70]


def _failure(error: subprocess.CalledProcessError | OSError) -> str:
    what = f"{error.cmd[0]} failed: {error.output}" if isinstance(error, subprocess.CalledProcessError) else str(error)
    if "is expired" in what:
        return (
            f"Debian's list of packages is signed, but older than {_release_days()} days: {what}. Is this machine's "
            "clock right, and the mirror kept up to date? To take an older one all the same: "
            f"{RELEASE_DAYS_VARIABLE}=DAYS"
        )
    if "is not valid yet" in what:
        return f"Debian's list of packages is of a time to come: {what}. Set this machine's clock"
    return (
        f"no asterisk on PATH, and a private one could not be installed ({what}). Install Asterisk 22 "
        "(package asterisk), or give this machine root and Debian's package archive."
    )
