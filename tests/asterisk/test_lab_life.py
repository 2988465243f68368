"""Labs side by side, and nothing left of them, however they end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from charging.lab import CallState, Lab, LabError, mobile
from tests.asterisk.parties import NUMBER, black_box_record, forward
from tests.asterisk.stub_agi import serving
from tests.asterisk.waiting import eventually

pytestmark = pytest.mark.asterisk

OWNER = """
import asyncio
from charging.lab import Lab

async def main():
    async with Lab() as lab:
        print(lab.switch.pid, lab.world.process.pid, lab.switch.folder.parent, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@contextlib.asynccontextmanager
async def owner_in_another_process() -> AsyncIterator[tuple[asyncio.subprocess.Process, list[int], Path]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        OWNER,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    try:
        switch, world, folder = (await asyncio.wait_for(process.stdout.readline(), 30)).split()
        yield process, [int(switch), int(world)], Path(folder.decode())
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def all_gone(pids: list[int]) -> bool:
    return not any(is_alive(pid) for pid in pids)


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def runs_in(folder: Path) -> list[str]:
    """Processes whose command line names the lab's folder."""
    commands = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            commands.append(process.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [command for command in commands if str(folder) in command]


def proc_file(name: str) -> str:
    return (Path("/proc") / name).read_text()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
async def test_nothing_runs_on_after_its_owner(how: signal.Signals) -> None:
    async with owner_in_another_process() as (process, pids, folder):
        assert len(runs_in(folder)) == 2
        process.send_signal(how)
        await process.wait()
        await eventually(lambda: all_gone(pids), f"the lab to end after {how.name}", 30)
        assert runs_in(folder) == []


async def test_ctrl_c_takes_the_files_away_too() -> None:
    async with owner_in_another_process() as (process, _pids, folder):
        inside = folder.resolve()
        process.send_signal(signal.SIGINT)
        await process.wait()
    assert not folder.is_symlink()
    assert not inside.exists()


async def test_the_files_of_a_killed_owner_are_taken_away_by_the_next_lab() -> None:
    async with owner_in_another_process() as (process, pids, folder):
        process.kill()
        await process.wait()
        await eventually(lambda: all_gone(pids), "the lab to end", 30)
    assert folder.exists()
    async with Lab() as other:
        assert not folder.exists()
        assert other.switch.folder.exists(), "a lab that lives is left alone"


async def test_labs_side_by_side_do_not_meet(lab: Lab) -> None:
    async with Lab() as other:
        async with (
            serving(forward(mobile.answers(), session="here"), lab.agi_port),
            serving(forward(mobile.answers(), session="there"), other.agi_port),
        ):
            here = await lab.place_call(NUMBER, hang_up_after_s=1)
            there = await other.place_call(NUMBER, hang_up_after_s=1)
            await asyncio.gather(here.wait_end(), there.wait_end())
        assert list(await lab.switch.black_box()) == ["here"]
        assert list(await other.switch.black_box()) == ["there"]


async def test_nothing_is_left_after_the_context() -> None:
    async with Lab() as lab:
        pids, folder = [lab.switch.pid, lab.world.process.pid], lab.switch.folder.parent
        inside = folder.resolve()
    assert await all_gone(pids)
    assert not folder.is_symlink()
    assert not inside.exists()


async def test_no_mount_is_made(lab: Lab) -> None:
    assert lab.switch.folder.parent.name not in proc_file("mounts")
    assert os.readlink(f"/proc/{lab.switch.pid}/ns/mnt") == os.readlink(f"/proc/{os.getpid()}/ns/mnt")


async def test_a_switch_that_does_not_start_says_why() -> None:
    async with Lab() as lab:
        await lab.switch.stop()
        with (lab.switch.folder / "etc" / "modules.conf").open("a") as modules:
            modules.write("require => no_such_module.so\n")
        with pytest.raises(LabError, match="no_such_module"):
            await lab.switch.start()


async def test_a_killed_switch_comes_back_with_its_black_box(lab: Lab) -> None:
    async with serving(forward(mobile.answers()), lab.agi_port):
        call = await lab.place_call(NUMBER, hang_up_after_s=0.2)
        await call.wait_end()
        await black_box_record(lab)
        running = await lab.place_call(NUMBER)
        await running.wait_state(CallState.ANSWERED)
    database = lab.switch.folder / "db" / "astdb.sqlite3"
    await eventually(lambda: _is_on_disk(database, b"s-1"), "AstDB to be written", 30)
    await lab.switch.kill()
    await lab.switch.start()
    assert "s-1" in await lab.switch.black_box()
    assert await lab.switch.channels() == []


async def _is_on_disk(database: Path, key: bytes) -> bool:
    return any(key in file.read_bytes() for file in database.parent.glob(f"{database.name}*"))


async def test_a_frozen_switch_answers_again_when_thawed(lab: Lab) -> None:
    lab.switch.freeze()
    try:
        state = proc_file(f"{lab.switch.pid}/stat").rpartition(")")[2].split()[0]
        assert state == "T"
    finally:
        lab.switch.thaw()
    assert "System uptime" in await lab.switch.cli("core show uptime")
