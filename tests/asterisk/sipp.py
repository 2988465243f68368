"""SIPp as a process: begun towards the switch, and ended with the block."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from charging.lab import Lab
from charging.lab.ports import free_port


@contextlib.asynccontextmanager
async def sipp(lab: Lab, folder: Path, scenario: str, *options: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """It plays the text of a scenario. ``folder`` is made if need be, and the files that options name lie there.

    Its port is its own: at SIP's usual one it would be told what switches of other labs repeat to the one before.

    What is left of the scenario is not played when the block is left.
    """
    program = shutil.which("sipp")
    if program is None:
        pytest.fail("raw SIP needs sipp: run `make test`, or as root `apt-get install sip-tester`")
    if "-p" not in options:
        options = (*options, "-p", str(free_port()))
    folder.mkdir(exist_ok=True)  # noqa: ASYNC240
    (folder / "scenario.xml").write_text(scenario)
    process = await asyncio.create_subprocess_exec(
        *(program, f"127.0.0.1:{lab.sip_port}", "-sf", "scenario.xml", "-i", "127.0.0.1", "-nostdin", *options),
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
