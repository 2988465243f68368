"""What ``/health`` and ``charging_ledger_up`` say is what the next call would meet, on both ports alike."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from charging.lab.ports import free_port
from tests.fakes.ami import eventually
from tests.integration.command import Command
from tests.integration.redis_servers import RedisServer
from tests.integration.test_api_daemon import is_served, place_with
from tests.integration.test_cli_run import daemon

NOTICED_S = 30
"""The ledger is probed every 5 s; the rest is for a busy machine."""


class Told:
    """What a daemon tells of its ledger."""

    def __init__(self, http: int, api: int, pid: int, token: str) -> None:
        self.pid = pid
        self._headers = {"Authorization": f"Bearer {token}"}
        self._http, self._api = f"http://127.0.0.1:{http}", f"http://127.0.0.1:{api}"

    async def now(self) -> tuple[bool, bool, bool]:
        """Whether the ledger is well: by ``/health`` for supervisors, ``/health`` of the API, and the metric."""
        async with httpx.AsyncClient(timeout=20) as client:
            health = (await client.get(f"{self._http}/health")).json()["ailing"]
            api = await client.get(f"{self._api}/health", headers=self._headers)
            metrics = (await client.get(f"{self._http}/metrics")).text
        assert api.status_code == 503, "there is no switch either"
        said = api.json()["detail"]
        return "ledger" not in health, "ledger" not in said and "ami: " in said, "charging_ledger_up 1.0" in metrics

    async def becomes(self, well: bool) -> None:
        """Wait until all three agree on it."""
        found: list[tuple[bool, bool, bool]] = []

        async def agreed() -> bool:
            found.append(await self.now())
            return found[-1] == (well, well, well)

        for _ in range(NOTICED_S * 2):
            if await agreed():
                return
            await asyncio.sleep(0.5)
        raise AssertionError(f"found {found[-1]}, expected that all say {well}")


@asynccontextmanager
async def told(folder: Path, capture: pytest.CaptureFixture[str], ledger: str = "") -> AsyncIterator[Told]:
    api = free_port()
    place = place_with(folder, f"api: {{port: {api}}}\n")
    if ledger:
        place.config.write_text(place.config.read_text().replace("sqlite:///ledger.db", ledger))
    http = int(place.config.read_text().partition("http: {port: ")[2].partition("}")[0])
    made = await Command(place, capture).beside("token", "add", "supervisor", "--scope", "read", "--json")
    async with daemon(place) as process:
        await eventually(lambda: is_served(http) and is_served(api), "both ports are served")
        yield Told(http, api, process.pid, made.json["token"])


@pytest.mark.parametrize("trouble", ["gone", "demoted"])
async def test_a_redis_that_is_gone_or_a_replica_is_told_and_that_it_is_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], trouble: str
) -> None:
    """A replica answers every read."""
    with RedisServer(tmp_path) as server:
        async with told(tmp_path, capsys, server.url) as ours:
            await ours.becomes(well=True)
            if trouble == "gone":
                server.kill()
            else:
                server.cli("replicaof", "127.0.0.1", "1")
            await ours.becomes(well=False)
            if trouble == "gone":
                server.start()
            else:
                server.cli("replicaof", "no", "one")
            await ours.becomes(well=True)


async def test_a_full_disk_is_told_and_that_there_is_room_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It answers every read, too."""
    async with told(tmp_path, capsys) as ours:
        await ours.becomes(well=True)
        limit_files(ours.pid, "4096")
        await ours.becomes(well=False)
        limit_files(ours.pid, "unlimited")
        await ours.becomes(well=True)


def limit_files(pid: int, most: str) -> None:
    """No file of the process can be written beyond so many bytes: to it the disk is full."""
    subprocess.run(["prlimit", "--pid", str(pid), f"--fsize={most}:unlimited"], check=True)
