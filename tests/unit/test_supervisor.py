"""What a service manager is told, by a socket of its own kind."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from charging.supervisor import Supervisor
from tests.fakes.clock import FakeClock, settle


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(60)
        yield listener


def environment(listener: socket.socket, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": listener.getsockname(), **more}


def test_a_message_is_lines_of_names_and_values(heard: socket.socket) -> None:
    Supervisor(environment(heard)).tell(READY=1, STATUS="2 calls;\nall is well")
    assert heard.recv(1000) == b"READY=1\nSTATUS=2 calls; all is well"


def test_a_socket_without_a_file_is_reached(tmp_path: Path) -> None:
    name = f"\0charging-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name)
        listener.settimeout(60)
        Supervisor({"NOTIFY_SOCKET": name.replace("\0", "@")}).tell(STOPPING=1)
        assert listener.recv(1000) == b"STOPPING=1"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": "/nowhere/notify"}])
def test_nobody_who_listens_is_no_trouble(environ: dict[str, str]) -> None:
    Supervisor(environ).tell(READY=1)


@pytest.mark.parametrize(
    ("more", "watchdog_us"),
    [
        ({"WATCHDOG_USEC": "20000000"}, 20_000_000),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": str(os.getpid())}, 20_000_000),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "1"}, 0),
        ({"WATCHDOG_USEC": "soon"}, 0),
        ({}, 0),
    ],
)
def test_the_watchdog_is_ours_where_it_names_us_or_nobody(
    heard: socket.socket, more: dict[str, str], watchdog_us: int
) -> None:
    assert Supervisor(environment(heard, **more)).watchdog_us == watchdog_us


async def test_a_loop_that_turns_says_so_thrice_within_the_limit(heard: socket.socket) -> None:
    clock = FakeClock()
    supervisor = Supervisor(environment(heard, WATCHDOG_USEC="3000000"))
    living = asyncio.create_task(supervisor.stay_alive(clock, lambda: "1 call"))
    for _ in range(3):
        await settle()
        assert heard.recv(1000) == b"WATCHDOG=1\nSTATUS=1 call"
        await clock.advance(1.0)
    living.cancel()


# --- ports that it keeps while we are away ---------------------------------------------------------------------------


def listening() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def test_sockets_are_kept_in_the_place_of_what_was_kept_before(heard: socket.socket) -> None:
    supervisor, ours = Supervisor(environment(heard)), listening()
    supervisor.keep("agi", [ours])
    assert heard.recv(1000) == b"FDSTOREREMOVE=1\nFDNAME=agi"
    told, descriptors, _, _ = socket.recv_fds(heard, 1000, 8)
    assert told == b"FDSTORE=1\nFDNAME=agi\nFDPOLL=0"
    with ours, socket.socket(fileno=descriptors[0]) as kept:
        assert kept.getsockname() == ours.getsockname()
    assert len(descriptors) == 1


def test_nobody_who_keeps_sockets_is_no_trouble() -> None:
    with listening() as ours:
        Supervisor({}).keep("agi", [ours])
        assert ours.fileno() >= 0


@pytest.mark.parametrize("pid", ["", "1"])
def test_sockets_of_another_process_are_not_taken(pid: str) -> None:
    environ = {"LISTEN_PID": pid, "LISTEN_FDS": "1", "LISTEN_FDNAMES": "agi"}
    assert Supervisor(environ).handed == []
    assert environ == {}, "no child of ours is told either"


HANDED = """\
import os, sys
os.environ["LISTEN_PID"] = str(os.getpid())
from charging.supervisor import Supervisor
from charging.door import listen
supervisor = Supervisor()
first, other = supervisor.handed
host, port = first.getsockname()
(ours,) = listen(host, port, "agi", supervisor.handed)
supervisor.keep("agi", [ours])
print(ours is first, other.fileno(), os.get_inheritable(ours.fileno()), "LISTEN_FDS" in os.environ, supervisor.handed)
"""


def test_socket_that_is_handed_over_is_listened_on_and_others_are_closed() -> None:
    with listening() as first, listening() as other:
        moved = f"exec 3<&{first.fileno()} 4<&{other.fileno()}; exec '{sys.executable}' -c \"$PROGRAM\""
        shell = ["bash", "-c", moved]  # dash knows no descriptor of two digits
        env = {**os.environ, "PROGRAM": HANDED, "LISTEN_FDS": "2", "LISTEN_FDNAMES": "agi:old"}
        fds = (first.fileno(), other.fileno())
        ran = subprocess.run(shell, env=env, pass_fds=fds, capture_output=True, text=True, check=False)
    assert ran.stdout == "True -1 False False []\n", ran.stderr
