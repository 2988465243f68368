"""A wheel, `charging init`, and the switch with exactly what that laid down: a call is charged."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from charging.lab import Lab, mobile
from charging.lab.daemon import free_port
from charging.lab.process import DIE_WITH_OWNER
from charging.pricing.money import parse_euro
from tests.asterisk.waiting import eventually
from tests.integration.wheels import ROOT, build_wheel, install

pytestmark = pytest.mark.asterisk

NUMBER = "+31850000001"


class Shop:
    """An operator with the command of the wheel and the folder that it has laid down."""

    def __init__(self, command: Path, folder: Path) -> None:
        self.command, self.folder = command, folder
        self.settings = folder / "charging.yaml"

    async def charging(self, *arguments: str) -> str:
        """What a command prints; it must do what it was asked."""
        process = await asyncio.create_subprocess_exec(
            *(self.command, "--config", self.settings, *arguments), stdout=asyncio.subprocess.PIPE, cwd="/"
        )
        printed, _ = await process.communicate()
        assert process.returncode == 0, printed.decode()
        return printed.decode()

    def edit(self, *edits: tuple[str, object]) -> None:
        """Put values for keys that stand there commented out or not, each by the line as it is."""
        text = self.settings.read_text()
        for line, value in edits:
            key = line.strip(" #").partition(":")[0]
            text, count = re.subn(rf"(?m)^( *){re.escape(line)}$", rf"\1{key}: {value}", text)
            assert count == 1, f"{count} lines {line!r}"
        self.settings.write_text(text)


async def test_a_call_is_charged_with_exactly_what_init_laid_down(tmp_path: Path) -> None:
    """Only ports, and where the lab's switch sees the prompts, are set as an operator would."""
    command = install(tmp_path / "venv", [build_wheel(ROOT, tmp_path)])
    shop, http_port = Shop(command, tmp_path / "shop"), free_port()
    await asyncio.to_thread(os.spawnv, os.P_WAIT, command, [str(command), "init", str(shop.folder)])
    secret = (shop.folder / "ami.secret").read_text().strip()
    async with Lab(config=shop.folder / "asterisk", prompts=shop.folder / "prompts") as lab:
        assert lab.switch.charging_ami.secret == secret
        shop.edit(
            ("#port: 5038", lab.switch.charging_ami.port),
            ("#port: 4573", lab.agi_port),
            ("#port: 9478", http_port),
            ("#port: 9479", free_port()),
            (f"prompts_dir_on_switch: {shop.folder}/prompts", lab.prompts_dir),
        )
        async with running(shop, tmp_path / "log"):
            await eventually(lambda: healthy(http_port), "the daemon to be healthy", 60)
            await charged_call(shop, lab)


@contextlib.asynccontextmanager
async def running(shop: Shop, log: Path) -> AsyncIterator[None]:
    with log.open("wb") as stream:
        daemon = await asyncio.create_subprocess_exec(
            *(*DIE_WITH_OWNER, str(os.getpid()), shop.command, "--config", shop.settings, "run"),
            stdout=stream,
            stderr=stream,
            cwd="/",
        )
        try:
            yield
        finally:
            daemon.terminate()
            await daemon.wait()


async def healthy(port: int) -> bool:
    async with httpx.AsyncClient() as client:
        try:
            return (await client.get(f"http://127.0.0.1:{port}/health")).is_success
        except httpx.TransportError:
            return False


async def charged_call(shop: Shop, lab: Lab) -> None:
    target = mobile.answers()
    await shop.charging("account", "add", "anna", "--plan", "voice_free")
    await shop.charging("number", "add", "anna", NUMBER, "--forward-to", target)
    await shop.charging("top-up", "anna", "10")
    call = await lab.place_call(NUMBER, hang_up_after_s=2)
    await call.wait_end(30)

    async def booked() -> bool:
        return bool(json.loads(await shop.charging("cdr", "list", "--json")))

    await eventually(booked, "the CDR", 30)
    (cdr,) = json.loads(await shop.charging("cdr", "list", "--json"))
    assert (cdr["proof"], cdr["target"]) == ("black_box", target)
    account = json.loads(await shop.charging("account", "show", "anna", "--json"))
    assert parse_euro(account["balance"]["credit"]["posted"]) == 10_000_000 - parse_euro(cdr["cost"]) < 10_000_000
    assert "the books are exact" in await shop.charging("ledger", "verify")
    live = await shop.charging("check", "--live")
    assert [line for line in live.splitlines() if line.startswith("problem")] == []
