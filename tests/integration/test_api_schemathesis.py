"""schemathesis asks the running interface whatever its OpenAPI document allows and forbids, and finds nothing."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import httpx

from tests.integration.api_process import ApiProcess, api_process
from tests.integration.command import REPOSITORY

BUDGET_S = 35
"""Of asking; starting the programs comes on top."""

SEED = 20261121


async def run_schemathesis(api: ApiProcess, folder: Path) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("schemathesis"),
        *("run", f"{api.url}/openapi.json", "--header", f"Authorization: {api.authorization}"),
        *(
            "--checks",
            "all",
            "--exclude-checks",
            "positive_data_acceptance",
        ),  # in its place: tests.integration.api_hooks
        *("--max-time", str(BUDGET_S), "--seed", str(SEED), "--generation-database", "none"),
        *("--suppress-health-check", "all", "--no-color"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=folder,
        env={
            **os.environ,
            "SCHEMATHESIS_HOOKS": "tests.integration.api_hooks",
            "PYTHONPATH": str(REPOSITORY),
            "COLUMNS": "200",
        },
    )
    async with asyncio.timeout(110):
        out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


async def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    async with api_process(tmp_path) as api:
        async with httpx.AsyncClient(base_url=api.url, headers={"Authorization": api.authorization}) as http:
            for account in ("anna", "0"):
                assert (await http.post("/accounts", json={"id": account, "plan": "pro"})).status_code == 201
            own = {"number": "+31201234567", "account": "anna"}
            assert (await http.post("/numbers", json=own)).status_code == 201
            paid = await http.post(
                "/accounts/anna/top-ups", json={"amount": "10"}, headers={"Idempotency-Key": "first"}
            )
            assert paid.status_code == 201
        code, said = await run_schemathesis(api, tmp_path)
    assert code == 0, said
    selected = re.search(r"Selected: (\d+)/(\d+)\s+Tested: (\d+)", said)
    assert selected is not None, said
    assert selected[1] == selected[2] == selected[3], said
    assert int(selected[1]) > 20, said
