"""schemathesis asks the running daemon whatever its OpenAPI document allows and forbids, and finds nothing."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path

import httpx
import pytest

from charging.lab import CallState, Lab
from charging.lab.daemon import DaemonProcess
from charging.service.tokens import Scope
from tests.asterisk.engine import Engine, engine
from tests.integration.command import REPOSITORY

pytestmark = [pytest.mark.asterisk, pytest.mark.timeout(1200)]

EXAMPLES = 15
"""Of each operation, beside those that the document's own forms bring. Not a time: a busy machine asks as much."""

SEED = 20261121
ENDED_CALLS = 3


async def run_schemathesis(live: Engine, token: str, folder: Path) -> tuple[int, str]:
    document = f"http://127.0.0.1:{live.daemon.api_port}/openapi.json"
    async with httpx.AsyncClient(timeout=60) as asks:  # schemathesis waits for 10 s only
        (await asks.get(document)).raise_for_status()
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("schemathesis"),
        *("run", document, "--header", f"Authorization: Bearer {token}"),
        # In place of the first check that is excluded: tests.asterisk.api_hooks. The other takes it for a fault that a
        # new account has no fax address of its own (404).
        *("--checks", "all", "--exclude-checks", "positive_data_acceptance,ensure_resource_availability"),
        *("--max-examples", str(EXAMPLES), "--seed", str(SEED), "--generation-database", "none"),
        *("--suppress-health-check", "all", "--no-color"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=folder,
        env={
            **os.environ,
            "SCHEMATHESIS_HOOKS": "tests.asterisk.api_hooks",
            "PYTHONPATH": str(REPOSITORY),
            "COLUMNS": "200",
        },
    )
    async with asyncio.timeout(1100):  # three minutes alone; nine were seen beside all other tests
        out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


def lets_everybody_try(daemon: DaemonProcess) -> None:
    """Wrong tokens are told so, however often."""
    settings = daemon.settings.read_text()
    daemon.settings.write_text(settings.replace("\napi:\n", "\napi:\n  failed_logins_per_minute: 10000\n"))


async def test_schemathesis_finds_nothing(lab: Lab, tmp_path: Path) -> None:
    """On the books of an account that has called, calls, and sends the faxes that are asked for."""
    async with engine(lab, tmp_path, credit="100.00", prepare=lets_everybody_try) as live:
        for _ in range(ENDED_CALLS):
            ended = await live.call(hang_up_after_s=0.5)
            await ended.wait_end(20)
        await live.cdrs(ENDED_CALLS)
        call = await live.call()
        await call.wait_state(CallState.ANSWERED)
        await live.charging("account", "add", "0", "--plan", "voice_pro")
        scopes = [word for scope in Scope for word in ("--scope", scope.value)]
        token = json.loads(await live.charging("token", "add", "test", *scopes, "--json"))["token"]
        code, said = await run_schemathesis(live, token, tmp_path)
        await live.charging("ledger", "verify")
    assert code == 0, said
    selected = re.search(r"Selected: (\d+)/(\d+)\s+Tested: (\d+)", said)
    assert selected is not None, said
    assert selected[1] == selected[2] == selected[3], said
    assert int(selected[1]) > 20, said
