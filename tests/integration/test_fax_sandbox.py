"""What reads strangers' documents reaches nothing of the daemon's: a document tries, and a program does.

Each attack is first made without the sandbox, to show that it is one.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from charging.cli import check_files
from charging.cli.check_results import Grade
from charging.fax import convert, sandbox
from charging.fax.convert import LEFT_BYTES, ROOM_BYTES, TIME_S, Room, _run
from charging.service.refusal import Code, Refused
from charging.settings import Fax
from tests.fakes.documents import pdf

SECRET = "CHARGING_API_SECRET"


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    """A room beside a ledger and a secret, in a daemon that has a secret in its environment."""
    monkeypatch.setenv(SECRET, "hunter2")
    (tmp_path / "ledger.db").write_text("money")
    (tmp_path / "ami.secret").write_text("hunter2")
    (tmp_path / "room").mkdir()
    return Room(tmp_path / "room")


# --- a document that tries --------------------------------------------------------------------------------------

TRIES = r"""%!PS
/out (OUTPUT/said) (w) file def
/try { exch out exch writestring stopped { (-) } { (+) } ifelse out exch writestring out (\n) writestring clear } def
(environment) { (SECRET) getenv not { stop } if pop } try
(passwd) { (/etc/passwd) (r) file 9 string readstring pop pop } try
(secret) { (BESIDE/ami.secret) (r) file 7 string readstring pop pop } try
(ledger) { (BESIDE/ledger.db) (r) file 5 string readstring pop pop } try
(overwrite) { (BESIDE/ledger.db) (a) file dup (x) writestring closefile } try
(new file) { (BESIDE/evil) (w) file closefile } try
(delete) { (BESIDE/victim) deletefile } try
(pipe) { (%pipe%echo ran > BESIDE/ran) (w) file closefile } try
(list) { /seen false def (BESIDE/*) { pop /seen true def } 200 string filenameforall seen not { stop } if } try
(own output) { (OUTPUT/own) (w) file closefile } try
out closefile
showpage
"""


def tries(room: Room) -> bytes:
    text = TRIES.replace("OUTPUT", str(room.output)).replace("BESIDE", str(room.folder.parent))
    return text.replace("SECRET", SECRET).encode()


def said(room: Room) -> dict[str, bool]:
    """What the document has managed to do."""
    lines = (room.output / "said").read_text().splitlines()
    return {line[:-1]: line.endswith("+") for line in lines}


def arguments(room: Room) -> list[str]:
    """Ghostscript without its own safety: a fault in it is what the sandbox is for."""
    options = ["-q", "-dBATCH", "-dNOPAUSE", "-dNOSAFER", "-sDEVICE=tiffg4"]
    return [*options, f"-sOutputFile={room.paper}", "-f", str(room.document)]


def test_a_document_is_ended_before_asterisk_where_memory_is_short(room: Room) -> None:
    """It would inherit what protects the daemon (OOMScoreAdjust)."""
    bounds = sandbox.Bounds(read=("/proc",), write=(), cpu_s=10, memory_bytes=10**9, file_bytes=0)
    line = sandbox.command(bounds, "cat", "/proc/self/oom_score_adj")
    told = subprocess.run(line, env=sandbox.environment(room.folder), capture_output=True, check=True, timeout=200)
    assert int(told.stdout) == sandbox.EXPENDABLE > 0


def test_document_that_tries_has_its_way_without_the_sandbox(room: Room) -> None:
    (room.folder.parent / "victim").touch()
    room.furnish(tries(room))
    subprocess.run(["gs", *arguments(room)], check=True, timeout=200)
    assert {what for what, done in said(room).items() if not done} == set()


async def test_document_that_tries_reaches_nothing(room: Room) -> None:
    beside = room.folder.parent
    (beside / "victim").touch()
    room.furnish(tries(room))
    assert await _run(room, 1_000_000, "gs", *arguments(room)) is None
    assert {what for what, done in said(room).items() if done} == {"own output"}
    assert sorted(os.listdir(beside)) == ["ami.secret", "ledger.db", "room", "victim"]
    assert (beside / "ledger.db").read_text() == "money"


# --- a program that tries: what a fault in Ghostscript or libtiff would let a stranger run -----------------------

PROGRAM = r"""
import ctypes, fcntl, json, mmap, os, signal, socket, struct, sys, threading
beside, port, daemon, secret = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
pipe, _ = os.pipe()
def connect():
    socket.create_connection(("127.0.0.1", port), 5).close()
def fork():
    if not os.fork():
        os._exit(0)
def trace():
    assert ctypes.CDLL(None).ptrace(16, daemon, 0, 0) == 0
def hide():
    assert ctypes.CDLL(None).prctl(4, 0, 0, 0, 0) == 0  # PR_SET_DUMPABLE: /proc/PID/io is root's then (proc(5))
def take():
    with open("taken", "wb") as one:  # FS_IOC_RESVSP64: what fallocate does, by another door
        fcntl.ioctl(one, 0x4030582A, struct.pack("hhxxxxqqIi4I", 0, 0, 0, 10_000, *[0] * 6))
def spawn():
    if not os.posix_spawn("/bin/sh", ["sh", "-c", "exit 0"], {}):
        raise OSError
acts = {
    "environment": lambda: os.environ[secret],
    "daemon's environment": lambda: open(f"/proc/{daemon}/environ").read(),
    "ledger": lambda: open(f"{beside}/ledger.db").read(),
    "list": lambda: os.listdir(beside),
    "truncate": lambda: os.truncate(f"{beside}/ledger.db", 0),
    "mode": lambda: os.chmod(f"{beside}/ledger.db", 0o777),
    "link": lambda: os.link(f"{beside}/ledger.db", f"{beside}/stolen"),
    "symbolic link": lambda: os.symlink(f"{beside}/ledger.db", f"{beside}/pointer"),
    "network": connect,
    "local socket": lambda: socket.socket(socket.AF_UNIX),
    "signal": lambda: os.kill(daemon, 0),
    "owner": lambda: fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getppid()),
    "owner's signal": lambda: fcntl.fcntl(pipe, fcntl.F_SETSIG, signal.SIGKILL),
    "owner of another kind": lambda: fcntl.fcntl(pipe, 15, bytes(8)),
    "processors": lambda: os.sched_setaffinity(daemon, os.sched_getaffinity(daemon)),
    "fork": fork,
    "spawn": spawn,
    "hide what it writes": hide,
    "room of the disk": take,
    "thread": lambda: threading.Thread(target=int).start(),
    "large file": lambda: open("large", "wb").write(bytes(2_000_000)),
    "much memory": lambda: mmap.mmap(-1, 2_000_000_000),
    "own output": lambda: open("own", "w").write("x"),
    "document": lambda: open(sys.argv[0]).read(),
}
done = []
for name, act in acts.items():
    try:
        act()
        done.append(name)
    except Exception:
        pass
open("done.json", "w").write(json.dumps(done))
"""


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def attack(room: Room, port: int, *, shut_in: bool) -> set[str]:
    """What a program could do."""
    room.furnish(PROGRAM.encode())
    python = os.path.realpath(sys.executable)
    words = ("-I", "-S", str(room.document), str(room.folder.parent), str(port), str(os.getpid()), SECRET)
    read = (str(room.document), sys.base_prefix)
    bounds = sandbox.Bounds(read, (str(room.output),), cpu_s=10, memory_bytes=10**9, file_bytes=10**6)
    if shut_in:
        line, variables = sandbox.command(bounds, python, *words), sandbox.environment(room.output)
    else:
        line, variables = [python, *words], dict(os.environ)
    subprocess.run(line, env=variables, cwd=room.output, check=True, timeout=200)
    return set(json.loads((room.output / "done.json").read_text()))


def test_program_can_do_it_all_without_the_sandbox(room: Room, listener: int) -> None:
    able = attack(room, listener, shut_in=False)
    assert {"environment", "ledger", "network", "fork", "spawn", "thread", "signal", "large file", "mode"} <= able
    assert {
        "room of the disk",
        "owner",
        "owner's signal",
        "owner of another kind",
        "processors",
        "hide what it writes",
    } <= able


def test_program_in_the_sandbox_has_its_document_and_its_output(room: Room, listener: int) -> None:
    assert attack(room, listener, shut_in=True) == {"own output", "document"}
    assert (room.folder.parent / "ledger.db").read_text() == "money"


FILLS = {
    "many files": "for n in itertools.count(): open(f'f{n}', 'wb').write(block)",
    "empty files": "for n in itertools.count(): open(f'f{n}', 'wb').close()",
    "files without a name": """
kept = []
for n in range(20):
    kept.append(open('f', 'wb'))
    os.unlink('f')
    for _ in range(10):
        kept[-1].write(block)
    os.fsync(kept[-1])
signal.pause()
""",
    "room that is taken and not written": """
for n in range(60):
    with open(f'f{n}', 'wb') as one:
        os.posix_fallocate(one.fileno(), 0, 100_000_000)
signal.pause()
""",
}
FILL = "import itertools, os, signal, sys\nos.chdir(sys.argv[1])\nblock = bytes(10_000_000)\n"


@pytest.mark.parametrize(("free", "begun"), [(ROOM_BYTES - 1, False), (ROOM_BYTES, True)])
async def test_no_document_is_begun_while_its_disk_is_nearly_full(
    room: Room, monkeypatch: pytest.MonkeyPatch, free: int, begun: bool
) -> None:
    """The ledger may be on it. It is to be sent again, and is not refused for good; and the check says so."""
    started: list[str] = []

    async def ended(command: list[str], there: Room) -> int:
        started.append(command[0])
        there.said.touch()
        return 1

    monkeypatch.setattr(convert, "_ended", ended)
    for asked in (convert, check_files):
        monkeypatch.setattr(asked, "free_bytes", lambda _path: free)
    room.furnish(pdf(1))
    answer = await convert.convert(room, 3)
    assert isinstance(answer, Refused)
    assert (answer.code is Code.UNAVAILABLE, bool(started)) == (not begun, begun)
    told = [one.text for one in check_files._fax_room(Fax(folder=room.folder))]
    assert ["no document is read" in one for one in told] == ([] if begun else [True])


async def test_program_is_ended_as_soon_as_too_little_is_left_of_the_disk(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small document may unpack to hundreds of megabytes."""
    frees = iter([ROOM_BYTES, LEFT_BYTES, LEFT_BYTES - 1])
    monkeypatch.setattr(convert, "free_bytes", lambda _path: next(frees))
    monkeypatch.setattr(convert, "_converted", lambda there, _most: convert._ended(["sleep", "60"], there))
    room.furnish(pdf(1))
    async with asyncio.timeout(30):
        answer = await convert.convert(room, 3)
    assert isinstance(answer, Refused)
    assert answer.code is Code.UNAVAILABLE


@pytest.mark.parametrize("how", FILLS)
async def test_program_that_a_stranger_has_taken_over_does_not_fill_the_disk(
    room: Room, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(convert, "WRITTEN_MAX", 100_000_000)
    room.output.mkdir()
    room.document.write_bytes(b"")
    begun_s = time.monotonic()
    with capture_logs() as logs:
        refused = await _run(room, 2 * 10**8, sys.executable, "-I", "-S", "-c", FILL + FILLS[how], str(room.output))
    assert isinstance(refused, Refused)
    assert time.monotonic() - begun_s < TIME_S / 2, "it was ended, and not by its time"
    names = os.listdir(room.output)
    assert len(names) < 50_000
    assert sum((room.output / one).stat().st_blocks * 512 for one in names) < 10**9
    if how != "room that is taken and not written":  # which it is refused
        assert "fax_document_fills_disk" in [one["event"] for one in logs]


def test_program_that_never_ends_is_ended_by_the_kernel(room: Room) -> None:
    room.furnish(b"while True: pass")
    bounds = sandbox.Bounds((str(room.document), sys.base_prefix), (), cpu_s=1, memory_bytes=10**9, file_bytes=0)
    line = sandbox.command(bounds, os.path.realpath(sys.executable), "-I", "-S", str(room.document))
    assert subprocess.run(line, env={}, timeout=200).returncode < 0


def test_sandbox_works_where_no_memory_may_be_written_and_run(room: Room) -> None:
    """The shipped unit says MemoryDenyWriteExecute=yes (prctl(2), PR_SET_MDWE, of Linux 6.3)."""
    bounds = sandbox.Bounds((), (str(room.folder),), cpu_s=10, memory_bytes=10**9, file_bytes=10**6)
    deny = "import ctypes, os, sys; ctypes.CDLL(None).prctl(65, 1, 0, 0, 0); os.execv(sys.argv[1], sys.argv[1:])"
    line = sandbox.command(bounds, shutil.which("gs") or "", "--version")
    assert subprocess.run([sys.executable, "-c", deny, *line], env={}, timeout=200).returncode == 0


# --- where there is none ------------------------------------------------------------------------------------------


@pytest.fixture
def old_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sandbox program that finds no Landlock."""
    text = Path(sandbox.__file__).read_text()
    assert "= 444, 445, 446" in text
    other = tmp_path / "sandbox.py"
    other.write_text(text.replace("= 444, 445, 446", "= 9_444, 9_445, 9_446"))
    monkeypatch.setattr(sandbox, "__file__", str(other))


@pytest.mark.usefixtures("old_kernel")
async def test_without_a_sandbox_no_document_is_read_and_the_log_says_why(room: Room) -> None:
    room.furnish(pdf())
    with capture_logs() as logs:
        answer = await _run(room, 1_000_000, "gs", "--version")
    assert isinstance(answer, Refused)
    assert (answer.code, answer.obstacle) == (Code.UNAVAILABLE, None), "it may be asked again when that is mended"
    assert [(one["event"], one["log_level"]) for one in logs] == [("fax_sandbox_missing", "error")]
    assert "5.13" in logs[0]["why"]


@pytest.mark.usefixtures("old_kernel")
async def test_operator_may_go_without_and_keeps_what_needs_no_landlock(room: Room) -> None:
    (room.folder.parent / "victim").touch()
    room.furnish(tries(room))
    lax = Room(room.folder, sandbox_required=False)
    assert await _run(lax, 1_000_000, "gs", *arguments(room)) is None
    assert {what for what, done in said(room).items() if not done} == {"environment", "pipe"}


@pytest.mark.parametrize(
    ("setting", "said"), [("required", "NO FAX IS SENT"), ("where_available", "PROGRAMS THAT SEE THE DAEMON'S FILES")]
)
@pytest.mark.usefixtures("old_kernel")
def test_check_says_loudly_what_stands_between_documents_and_the_daemon(setting: str, said: str) -> None:
    """A warning: the daemon starts after the check, and calls do without faxes."""
    (found,) = check_files._fax_sandbox(Fax.model_validate({"folder": "fax", "sandbox": setting}))
    assert (found.grade, said in found.text, "Linux 5.13" in found.text) == (Grade.WARNING, True, True)


def test_check_finds_the_sandbox_of_this_machine() -> None:
    (found,) = check_files._fax_sandbox(Fax.model_validate({"folder": "fax"}))
    assert found.grade is Grade.OK


FILTER = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None)
steps = [(0x20, 0, 0, 0), (0x15, 0, 1, 444), (6, 0, 0, 0x80000000), (6, 0, 0, 0x7FFF0000)]
program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in steps))
libc.prctl(38, 1, 0, 0, 0)
assert libc.prctl(22, 2, struct.pack("HxxxxxxP", len(steps), ctypes.addressof(program)), 0, 0) == 0
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def test_unit_of_an_earlier_version_ends_no_daemon_and_is_named() -> None:
    """Its filter kills what asks for Landlock: that must never be the daemon."""
    ask = "from charging.fax import sandbox; print(sandbox.missing())"
    line = [sys.executable, "-c", FILTER, "-c", ask]
    ran = subprocess.run(line, capture_output=True, text=True, timeout=200, check=True)
    assert "config/systemd/charging.service" in ran.stdout


def test_shipped_unit_lets_the_sandbox_be_made() -> None:
    unit = (Path(__file__).parents[2] / "config" / "systemd" / "charging.service").read_text()
    (allowed,) = (line for line in unit.splitlines() if line.startswith("SystemCallFilter="))
    assert {"landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"} <= set(allowed.split())
