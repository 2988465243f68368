"""`charging demo`, as someone without a terminal runs it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tests.asterisk.waiting import eventually

pytestmark = pytest.mark.asterisk

ENDS_WITHIN_S = 110
MARK = "CHARGING_DEMO_TEST"


@asynccontextmanager
async def demo(folder: Path, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The demo as a process, whose descendants can be told by MARK."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "charging", "demo", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {MARK: str(folder)},
    )
    try:
        yield process
    finally:
        for pid in left_running(folder):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await process.wait()


def left_running(folder: Path) -> dict[int, str]:
    """The demo of ``folder`` and everything that it has started and that runs: the command line by process id."""
    mark = f"{MARK}={folder}\0".encode()
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            if mark in (process / "environ").read_bytes():
                found[int(process.name)] = (process / "cmdline").read_text().replace("\0", " ")
    return found


def names_in(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


async def test_demo_shows_a_whole_call_and_ends_by_itself(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    async with demo(tmp_path, "--language", "nl", "--keep", str(kept)) as process:
        printed, errors = await asyncio.wait_for(process.communicate(), ENDS_WITHIN_S)
        assert left_running(tmp_path) == {}
    text = printed.decode()
    assert process.returncode == 0, text + errors.decode()
    assert "NOT SO" not in text
    assert text.rstrip().endswith("All of it was as promised.")
    assert "Uw beltegoed raakt op" in text
    assert "the books are exact" in text
    assert "\x1b" not in text, "no terminal, no colours"
    assert max(len(line) for line in text.splitlines()) <= 100
    assert names_in(kept) == {
        "charging.yaml", "tariff.yaml", "ledger.db", "daemon.log", "heard-by-anna.wav", "heard-by-the-caller.wav",
    }  # fmt: skip


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
async def test_stopped_demo_says_so_and_leaves_nothing_running(tmp_path: Path, stop: signal.Signals) -> None:
    async with demo(tmp_path) as process:

        async def daemon_runs() -> bool:
            return any("charging.yaml run" in command for command in left_running(tmp_path).values())

        await eventually(daemon_runs, "the daemon to be started", 60)
        process.send_signal(stop)
        _, errors = await asyncio.wait_for(process.communicate(), 30)
        assert left_running(tmp_path) == {}
    assert process.returncode == 130
    assert errors.decode() == "charging: the demo was stopped; nothing of it is left running\n"


async def test_demo_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    async with demo(tmp_path, "--keep", str(tmp_path)) as process:
        printed, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 1
    assert (printed, errors.count(b"\n")) == (b"", 1)
    assert b"choose a new or an empty folder" in errors
    assert names_in(tmp_path) == {"mine.txt"}
