"""The public interface as the daemon serves it: where its section stands in the settings, with the store's tokens."""

from __future__ import annotations

import socket
from pathlib import Path

import httpx
import pytest

from charging.lab.daemon import free_port
from tests.fakes.ami import eventually
from tests.integration.command import Command, Place
from tests.integration.test_cli_run import SETTINGS, daemon


def place_with(folder: Path, more: str = "") -> Place:
    place = Place(folder)
    place.write()
    place.config.write_text(SETTINGS.format(agi=free_port(), http=free_port()) + more)
    return place


def is_served(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def ask(port: int, path: str, token: str = "") -> httpx.Response:
    await eventually(lambda: is_served(port), "the public interface is served")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        return await client.get(path, headers={"Authorization": f"Bearer {token}"} if token else {})


async def test_the_daemon_serves_who_has_a_token_also_after_a_restart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    place = place_with(tmp_path, f"api: {{port: {port}}}\n")
    charging = Command(place, capsys).beside
    early = (await charging("token", "add", "made before the daemon", "--scope", "read", "--json")).json["token"]
    async with daemon(place):
        assert (await charging("account", "add", "anna", "--plan", "pro")).code == 0
        made = (await charging("token", "add", "the website", "--scope", "read", "--json")).json
        assert (await ask(port, "/accounts/anna", early)).json()["id"] == "anna"
        assert (await ask(port, "/accounts/anna")).status_code == 401
    async with daemon(place):
        assert (await ask(port, "/accounts/anna", made["token"])).json()["id"] == "anna"
        assert (await charging("token", "revoke", made["id"])).code == 0
        assert (await ask(port, "/accounts/anna", made["token"])).status_code == 401


async def test_a_port_of_the_api_that_is_taken_is_told_with_its_section(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        place = place_with(tmp_path, f"api: {{port: {taken.getsockname()[1]}}}\n")
        async with daemon(place) as process:
            assert await process.wait() == 1
    assert "choose another host or port under `api` in charging.yaml" in (tmp_path / "log").read_text()
