"""The public interface as a real process, started and asked by tests."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from charging.lab.ports import free_port
from tests.integration.command import REPOSITORY

START_S = 200
"""On a machine that many share."""


@dataclass
class ApiProcess:
    """A server that answers."""

    process: asyncio.subprocess.Process
    url: str
    tokens: dict[str, str]
    """By scope; ``all`` has every scope."""

    @property
    def authorization(self) -> str:
        return f"Bearer {self.tokens['all']}"

    def client(self) -> httpx.AsyncClient:
        """Asks with every scope."""
        limits = httpx.Limits(max_connections=20)
        return httpx.AsyncClient(
            base_url=self.url, headers={"Authorization": self.authorization}, limits=limits, timeout=200
        )

    async def kill(self) -> None:
        """As `kill -9` does."""
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def api_process(folder: Path, **settings: str) -> AsyncIterator[ApiProcess]:
    """A server on the ledger in ``folder``; it ends with the context, if it has not before."""
    port = free_port()
    chosen = {"requests_per_minute": "1000000", "failed_logins_per_minute": "10000"} | settings
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.integration.api_server", str(folder), str(port), json.dumps(chosen)),
        stdout=asyncio.subprocess.PIPE,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(START_S):
            line = await process.stdout.readline()
        yield ApiProcess(process, f"http://127.0.0.1:{port}", json.loads(line))
    finally:
        if process.returncode is None:
            process.terminate()
            async with asyncio.timeout(START_S):
                await process.wait()
