"""A wheel, `charging init`, and the switch with exactly what that laid down: a call is charged."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from charging.lab import Lab
from tests.asterisk.shop import Shop
from tests.integration.wheels import ROOT, build_wheel, install

pytestmark = [pytest.mark.asterisk, pytest.mark.timeout(400)]


async def test_a_call_is_charged_with_exactly_what_init_laid_down(tmp_path: Path) -> None:
    """Only ports, and where the lab's switch sees the prompts, are set as an operator would."""
    folder = tmp_path / "shop"
    command = install(tmp_path / "venv", [build_wheel(ROOT, tmp_path)])
    await asyncio.to_thread(lambda: subprocess.run([command, "init", folder], check=True, cwd="/"))
    shop = Shop((command, "--config", folder / "charging.yaml"), folder)
    async with Lab(config=folder / "asterisk", prompts=folder / "prompts") as lab:
        assert lab.switch.charging_ami.secret == (folder / "ami.secret").read_text().strip()
        shop.fit(lab)
        async with shop.open(tmp_path / "log"):
            await shop.sell_a_call(lab)
            live = await shop.charging("check", "--live")
        assert [line for line in live.splitlines() if line.startswith("problem")] == []
