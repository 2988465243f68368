"""The sockets of every port of the daemon: how they are set, and where the process has none left."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agi.server import AgiServer, Conversation
from charging.clock import SystemClock
from charging.door import NO_DESCRIPTOR_WAIT_S, Door, DoorRefusal, Guest, listen
from charging.tasks import end
from tests.fakes.ami import eventually
from tests.integration.test_listeners import LIMIT, served


@pytest.fixture
def accepted(monkeypatch: pytest.MonkeyPatch) -> list[socket.socket]:
    """The daemon's side of every connection that is let in."""
    sockets: list[socket.socket] = []
    came = Guest.came

    def watched(guest: Guest, connection: Any) -> None:
        is_agi = isinstance(connection, Conversation)
        sockets.append(connection._connection if is_agi else connection.get_extra_info("socket"))
        came(guest, connection)

    monkeypatch.setattr(Guest, "came", watched)
    return sockets


async def test_no_answer_waits_for_an_acknowledgement(accepted: list[socket.socket], tmp_path: Path) -> None:
    """TCP_NODELAY: without it each request of a kept connection costs 40 ms."""
    server = AgiServer({}, SystemClock())
    await server.start("localhost", 0)
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    async with served("http", tmp_path) as place:
        await place.answers()
        await eventually(lambda: len(accepted) == 2)
        assert [one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for one in accepted] == [1, 1]
    writer.transport.abort()
    await server.close()


@pytest.fixture
def no_descriptor_left() -> Iterator[Callable[[], None]]:
    """Take every descriptor that the process may have; what is taken is given back by calling it."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[socket.socket] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(before[0], 512), before[1]))
    with contextlib.suppress(OSError):
        while True:
            taken.append(socket.socket())

    def give_back() -> None:
        for one in taken:
            one.close()
        taken.clear()

    yield give_back
    give_back()
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_without_a_descriptor_left_a_door_waits_and_does_not_spin(request: pytest.FixtureRequest) -> None:
    turned: list[DoorRefusal] = []
    came: list[socket.socket] = []

    def receive(_guest: Guest, connection: socket.socket) -> None:
        came.append(connection)

    door = Door("test", listen("127.0.0.1", 0, "test"), SystemClock(), limit=LIMIT, observe=turned.append)
    with socket.create_connection(("127.0.0.1", door.port)):
        give_back = request.getfixturevalue("no_descriptor_left")
        serving = asyncio.create_task(door.serve(receive))
        await asyncio.sleep(5 * NO_DESCRIPTOR_WAIT_S)
        assert set(turned) == {DoorRefusal.NO_DESCRIPTOR}
        assert 2 <= len(turned) <= 6
        assert came == []
        give_back()
        await eventually(lambda: came)  # it has waited in the system's queue
    came.pop().close()
    await end([serving])
    door.close()
