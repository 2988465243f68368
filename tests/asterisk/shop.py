"""An operator with an installed `charging` and what it laid down: what he types, and his first charged call."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import httpx

from charging.lab import Lab, mobile
from charging.lab.ports import free_port
from charging.lab.process import DIE_WITH_OWNER
from charging.pricing.money import parse_euro
from tests.asterisk.waiting import eventually

NUMBER = "+31850000001"


class Shop:
    """``command`` runs `charging` with its settings; ``folder`` has these, as the tests see it."""

    def __init__(self, command: Sequence[str | Path], folder: Path) -> None:
        self.command = command
        self.settings = folder / "charging.yaml"
        self.http_port = free_port()

    async def charging(self, *arguments: str) -> str:
        """What a command prints; it must do what it was asked."""
        process = await asyncio.create_subprocess_exec(
            *self.command, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd="/"
        )
        printed, _ = await process.communicate()
        assert process.returncode == 0, printed.decode()
        return printed.decode()

    def fit(self, lab: Lab) -> None:
        """What an operator sets whose Asterisk is elsewhere: ports, and where it sees the prompts."""
        text = self.settings.read_text()
        for line, value in (
            ("#port: 5038", lab.switch.charging_ami.port),
            ("#port: 4573", lab.agi_port),
            ("#port: 9478", self.http_port),
            ("#port: 9479", free_port()),
            (r"prompts_dir_on_switch: \S+", lab.prompts_dir),
        ):
            key = line.strip("#").partition(":")[0]
            text, count = re.subn(rf"(?m)^( *){line}$", rf"\1{key}: {value}", text)
            assert count == 1, f"{count} lines {line!r}"
        self.settings.write_text(text)

    @contextlib.asynccontextmanager
    async def open(self, log: Path) -> AsyncIterator[None]:
        """The daemon runs, and is stopped as a supervisor does."""
        with log.open("wb") as stream:
            daemon = await asyncio.create_subprocess_exec(
                *(*DIE_WITH_OWNER, str(os.getpid()), *self.command, "run"), stdout=stream, stderr=stream, cwd="/"
            )
        try:
            await eventually(self._is_healthy, "the daemon to be healthy", 60)
            yield
        finally:
            daemon.terminate()
            await daemon.wait()

    async def _is_healthy(self) -> bool:
        async with httpx.AsyncClient() as client:
            try:
                return (await client.get(f"http://127.0.0.1:{self.http_port}/health")).is_success
            except httpx.TransportError:
                return False

    async def sell_a_call(self, lab: Lab) -> None:
        """A subscriber is made, called, charged once, and the books are exact."""
        target = mobile.answers()
        await self.charging("account", "add", "anna", "--plan", "voice_free")
        await self.charging("number", "add", "anna", NUMBER, "--forward-to", target)
        await self.charging("top-up", "anna", "10")
        call = await lab.place_call(NUMBER, hang_up_after_s=2)
        await call.wait_end(30)

        async def booked() -> list[dict[str, str]]:
            found: list[dict[str, str]] = json.loads(await self.charging("cdr", "list", "--json"))
            return found

        (cdr,) = await eventually(booked, "the CDR", 30)
        assert (cdr["proof"], cdr["target"]) == ("black_box", target)
        account = json.loads(await self.charging("account", "show", "anna", "--json"))
        posted = parse_euro(account["balance"]["credit"]["posted"])
        assert posted == 10_000_000 - parse_euro(cdr["cost"]) < 10_000_000
        assert "the books are exact" in await self.charging("ledger", "verify")
