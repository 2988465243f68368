"""The daemon as a process, started and stopped from outside, with no Asterisk to be found."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

import httpx
import pytest

from charging.descriptors import raise_limit
from charging.lab.ports import free_port
from charging.web.sockets import is_answered
from tests.fakes.agi_client import header
from tests.fakes.ami import eventually
from tests.integration.command import Command, Place

SETTINGS = """\
switch:
  ami: {{host: 127.0.0.1, port: 1, secret_env: TEST_AMI_SECRET}}
agi: {{port: {agi}}}
ledger: {{url: "sqlite:///ledger.db"}}
tariff: tariff.yaml
control: {{socket: control.sock}}
http: {{port: {http}}}
"""


@pytest.fixture
async def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.write()
    place.config.write_text(SETTINGS.format(agi=free_port(), http=free_port(), api=free_port()))
    return place


@asynccontextmanager
async def daemon(
    place: Place, log_name: str = "log", umask: int = -1, open_files: int = 0, socket: Path | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    program = [str(Path(sys.executable).with_name("charging")), "run", "--config", str(place.config)]
    if open_files:
        program = ["prlimit", f"--nofile={open_files}:{open_files}", *program]
    with (place.folder / log_name).open("wb") as log:
        env = {"TEST_AMI_SECRET": "x", **{name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}}
        process = await asyncio.create_subprocess_exec(*program, stderr=log, env=env, umask=umask)
    try:
        await eventually(
            lambda: is_answered(socket or place.socket) or process.returncode is not None, "the daemon answers"
        )
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_ledger_without_an_account_is_told_by_the_daemon_and_the_check(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """A disk that is not mounted, a Redis that has started empty: whatever comes would be booked in a new ledger."""
    charging, log = Command(place, capsys).beside, place.folder / "log"
    async with daemon(place):
        await eventually(lambda: '"ledger_without_accounts"' in log.read_text(), "it says so")
        assert "the running daemon answers; IT HAS NO ACCOUNT" in (await charging("check")).out
        await charging("account", "add", "anna", "--plan", "pro")
        assert "the running daemon answers\n" in (await charging("check")).out


async def test_a_way_in_without_its_secret_is_left_out_loudly_and_calls_go_on(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """Root wrote the file, which its own `charging check` could read; after the restart no call was decided."""
    charging, log, port = Command(place, capsys).beside, place.folder / "log", free_port()
    openid = 'openid_issuer: "https://id.example", openid_client_id: c, openid_url: "https://c.example"'
    lacking = f"openid_view: [staff], openid_client_secret_file: {place.folder}/none"
    place.config.write_text(place.config.read_text() + f"console: {{port: {port}, {openid}, {lacking}}}\n")
    async with daemon(place):
        told = "console: LEFT OUT until a restart: "
        await eventually(lambda: told in log.read_text(), "it says so")
        reloaded = await charging("reload")
        assert (reloaded.code, told in reloaded.err) == (1, True)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        checked = await charging("check")
        assert checked.code == 1
        assert "openid_client_secret_file: found" in checked.out


async def test_commands_reach_a_running_daemon_and_it_ends_when_told(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    charging = Command(place, capsys).beside
    tariff, deck = place.folder / "tariff.yaml", place.folder / "deck.csv"
    tariff.write_text(tariff.read_text().replace("standard:\n", "standard:\n    decks: [deck.csv]\n"))
    deck.write_text("prefix;price\n32;0.10\n33;0.10\n")
    async with daemon(place) as process:
        deck.write_text("prefix;price\n32;0.10\n33;0.90\n")
        reloaded = await charging("reload")
        assert (reloaded.code, "such as +33 from 0.10 to 0.90" in reloaded.err) == (1, True)
        quote = ("tariff", "quote", "+33123456789", "--plan", "light", "--json")
        assert (await charging(*quote)).json["total"] == "0.10"
        [digest] = set(re.findall("charging tariff accept ([0-9a-f]{16})", reloaded.err))
        assert (await charging("tariff", "accept", "0123456789abcdef")).code == 1
        assert (await charging("tariff", "accept", digest, "--reason", "agreed")).code == 0
        assert (await charging(*quote)).json["total"] == "0.90"
        (noted,) = (await charging("changes", "--json")).json
        assert (noted["act"], noted["after"]) == ("tariff.accepted", {"digest": digest, "reason": "agreed"})
        assert noted["actor"].startswith("cli:")
        assert (await charging("reload")).code == 0
        assert (await charging("account", "add", "anna", "--plan", "pro")).code == 0
        assert (await charging("top-up", "anna", "25", "--json")).json["available"] == "25.00"
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
        assert not place.socket.exists()
    # The same books, opened by the command itself.
    assert (await charging("account", "show", "anna", "--json")).json["balance"]["credit"]["now"] == "25.00"


async def test_books_and_socket_are_the_daemons_alone_whatever_the_umask(place: Place) -> None:
    """The folder that they lie in lets the switch's group through, to the faxes."""
    async with daemon(place, umask=0):
        modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in place.folder.iterdir()}
    assert modes.pop("accepted-tariff") == 0o700
    made = modes.keys() - {"log", "charging.yaml", "tariff.yaml"}
    assert made >= {"control.sock", "ledger.db", "ledger.db-wal", "ledger.db.lock"}
    assert {name: oct(modes[name]) for name in made if modes[name] != 0o600} == {}


async def test_a_second_daemon_on_the_same_books_says_why_it_can_not_start(place: Place) -> None:
    async with daemon(place), daemon(place, "second.log") as second:
        assert await second.wait() == 1
        last = (place.folder / "second.log").read_text().splitlines()[-1]
        assert last.startswith("charging: a daemon has this ledger open")


def is_reached(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Manager:
    """A service manager that keeps what it is given (FDSTORE), and hands it to the next process."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self.kept: list[int] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._socket.setblocking(False)

    def close(self) -> None:
        self._socket.close()
        for one in self.kept:
            os.close(one)

    def is_told(self, word: bytes) -> bool:
        """Whether some message since the last time says this; what is given is kept."""
        found = False
        with contextlib.suppress(BlockingIOError):
            while True:
                text, descriptors, _, _ = socket.recv_fds(self._socket, 4096, 8)
                found = found or word in text
                self.kept += descriptors
        return found

    def starts(self, place: Place, log: BinaryIO) -> subprocess.Popen[bytes]:
        """The daemon, with what is kept as its descriptors from 3 on."""
        handed = "".join(f" {number}<&{one}" for number, one in enumerate(self.kept, 3))
        program = f"{Path(sys.executable).with_name('charging')} run --config {place.config}"
        script = f"exec{handed}; LISTEN_PID=$$ LISTEN_FDS={len(self.kept)} LISTEN_FDNAMES=agi exec {program}"
        env = {"TEST_AMI_SECRET": "x", "NOTIFY_SOCKET": str(self.path), **os.environ}
        return subprocess.Popen(["bash", "-c", script], env=env, stderr=log, pass_fds=self.kept)


async def test_nobody_can_take_fastagis_port_while_the_daemon_is_started_again(place: Place) -> None:
    """Whoever listened there would play the daemon to all callers: free calls to any number."""
    manager, port = Manager(place.folder), int(re.findall(r"agi: {port: (\d+)", place.config.read_text())[0])
    with contextlib.closing(manager), (place.folder / "log").open("wb") as log:
        first = manager.starts(place, log)
        await eventually(lambda: manager.is_told(b"READY=1"), "the daemon is ready")
        first.kill()
        first.wait()
        with socket.socket() as squatter:
            squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with pytest.raises(OSError, match="in use"):
                squatter.bind(("127.0.0.1", port))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(header("incoming", "+31850000001", "", "u-1", "PJSIP/x-1", "allowed", ""))
        second = manager.starts(place, log)
        try:
            assert await asyncio.wait_for(reader.read(1000), 60), "who came meanwhile is heard"
        finally:
            second.terminate()
            second.wait()
            writer.close()


async def test_who_has_fastagis_port_is_named(place: Place) -> None:
    port = int(re.findall(r"agi: {port: (\d+)", place.config.read_text())[0])
    with socket.create_server(("127.0.0.1", port)):
        async with daemon(place) as process:
            assert await process.wait() == 1
    last = (place.folder / "log").read_text().splitlines()[-1]
    assert f"cannot listen on 127.0.0.1:{port}" in last
    assert f"user {pwd.getpwuid(os.getuid()).pw_name!r} has it" in last


async def test_silent_connections_leave_fastagi_control_and_health_alive(place: Place) -> None:
    """1,100 of them at each port, with the usual limit of 1,024 open files: FastAGI, the control socket and `/health`
    had been dead for as long as they stood."""
    with place.config.open("a") as settings:
        settings.write(f"api: {{port: {free_port()}}}\n")
    ports = {name: int(port) for name, port in re.findall(r"(agi|http|api): {port: (\d+)", place.config.read_text())}
    silent: list[socket.socket] = []
    raise_limit(4096)  # the test's own process holds the other ends
    async with daemon(place, open_files=1024):
        try:
            await eventually(lambda: all(map(is_reached, ports.values())), "every port is listened on")
            for _ in range(1100):
                silent += [socket.create_connection(("127.0.0.1", port)) for port in ports.values()]
            async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(place.socket))) as client:
                assert (await client.get("http://x/health")).status_code == 200
            async with httpx.AsyncClient() as client:
                answer = await client.get(f"http://127.0.0.1:{ports['http']}/health")
                assert answer.json()["ailing"] == {"ami": "unreachable"}
            reader, writer = await asyncio.open_connection("127.0.0.1", ports["agi"])
            writer.write(header("incoming", "+31850000001", "", "1795262400.1", "PJSIP/trunk-1"))
            assert (await reader.readline()).startswith(b"GET FULL VARIABLE")
            writer.transport.abort()
        finally:
            for one in silent:
                one.close()
