"""Every port of the daemon against clients that connect and owe something: none takes the places of the others."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import closing
from dataclasses import replace
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response

from charging.clock import SystemClock
from charging.door import Door, DoorRefusal, Guest, listen
from charging.lab.ports import free_port
from charging.log_limit import LINES
from charging.metrics import Metrics
from charging.settings import Http
from charging.tasks import end
from charging.web import listen as listen_module
from charging.web.listen import (
    HEAD_BYTES_MAX,
    HEAD_LINES_MAX,
    PACE,
    Front,
    HttpLimits,
    serve_port,
    serve_unix,
)
from charging.web.server import serve_metrics
from tests.fakes.ami import eventually

LIMIT = 10
PATIENT = HttpLimits(LIMIT, idle_s=30, body_s=30, standstill_s=30)
"""Longer than a test takes; tests of one deadline shorten that one."""
LARGE_BYTES = 30_000_000
REQUEST = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"


def application() -> FastAPI:
    app = FastAPI()

    @app.get("/hello")
    async def hello(request: Request) -> str:
        return request.client.host if request.client is not None else ""

    @app.get("/large")
    async def large() -> Response:
        return Response(b"x" * LARGE_BYTES)

    @app.get("/fault")
    async def fault() -> None:
        raise AssertionError("a fault")

    @app.post("/body")
    async def body(request: Request) -> int:
        return len(await request.body())

    return app


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Place:
    """A listener that runs, and what its door has said."""

    def __init__(self, reach: Callable[[], Coroutine[Any, Any, Connection]], turned: list[DoorRefusal]) -> None:
        self._reach = reach
        self.port = 0
        """Where there is one."""
        self._writers: list[asyncio.StreamWriter] = []
        self.turned = turned

    async def connect(self) -> Connection:
        """A connection that lasts as long as the place, unless someone ends it."""
        reader, writer = await self._reach()
        self._writers.append(writer)
        return reader, writer

    async def answers(self) -> None:
        """Someone who has something to say is answered."""
        reader, writer = await self.connect()
        writer.write(REQUEST)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")

    def leave(self) -> None:
        """Every client goes."""
        for writer in self._writers:
            writer.transport.abort()


@contextlib.asynccontextmanager
async def served(kind: str, folder: Path, limits: HttpLimits = PATIENT, **front: Any) -> AsyncIterator[Place]:
    """The application on a port, or on a Unix socket."""
    turned: list[DoorRefusal] = []
    ready = asyncio.Event()
    shown = Front(kind, limits, observe=turned.append, **front)
    if kind == "control":
        path = folder / "socket"
        serving = asyncio.create_task(serve_unix(application(), path, ready, front=shown))
        place = Place(lambda: asyncio.open_unix_connection(path), turned)
    else:
        port = free_port()
        serving = asyncio.create_task(serve_port(application(), "127.0.0.1", port, ready, front=shown))
        place = Place(lambda: asyncio.open_connection("127.0.0.1", port), turned)
        place.port = port
    await ready.wait()
    try:
        yield place
    finally:
        place.leave()
        await end([serving])


@pytest.fixture(params=["http", "control"])
async def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def is_cut_off(reader: asyncio.StreamReader) -> bytes:
    """Wait until the other side ends the connection; what it said before."""
    said = b""
    async with asyncio.timeout(60):
        with contextlib.suppress(ConnectionError):  # also a pipe that breaks under what is still written
            while data := await reader.read(1000):
                said += data
    return said


UNREADABLE = {
    "no request": b"\x16\x03\x01\r\n\r\n",
    "no host": b"GET /hello HTTP/1.1\r\n\r\n",
    "a fault": b"GET /fault HTTP/1.1\r\nHost: x\r\n\r\n",
    "an upgrade": b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
}


@pytest.mark.parametrize("sent", UNREADABLE.values(), ids=UNREADABLE)
async def test_no_client_fills_a_disk_with_log_lines(
    sent: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """However often it sends what cannot be read; what is passed over is counted."""
    async with served("http", tmp_path) as place:
        for _ in range(3 * LINES):
            reader, writer = await place.connect()
            writer.write(sent)
            assert await reader.readline()
            writer.close()
        logged = [one for one in caplog.records if one.levelno >= logging.WARNING]
        assert len(logged) <= LINES
        assert all(one.getMessage().startswith("http: ") for one in logged)


@pytest.mark.parametrize("first", [b"", REQUEST])
@pytest.mark.parametrize(
    ("lines", "length", "is_read"),
    [
        (HEAD_LINES_MAX - 1, 1, True),
        (HEAD_LINES_MAX, 1, False),
        (2, HEAD_BYTES_MAX - 100, True),
        (2, HEAD_BYTES_MAX, False),
    ],
)
async def test_a_request_with_too_many_lines_or_bytes_before_its_body_is_not_read(
    kind: str, tmp_path: Path, lines: int, length: int, is_read: bool, first: bytes
) -> None:
    """Whether it comes alone or behind another. Host is one line more."""
    head = b"GET /hello HTTP/1.1\r\n" + b"a: %b\r\n" % (b"b" * length) * (lines - 1) + b"Host: x\r\n\r\n"
    async with served(kind, tmp_path) as place:
        reader, writer = await place.connect()
        writer.write(first + head)
        if first:
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            await reader.readexactly(len(b'"127.0.0.1"') if kind != "control" else len(b'""'))
        assert (await reader.readline()).startswith(b"HTTP/1.1 200" if is_read else b"HTTP/1.1 400")


@pytest.mark.parametrize("version", [b"1.0\r\nConnection: keep-alive", b"1.1\r\nContent-Length: 5"])
@pytest.mark.parametrize("path", [b"/body", b"/hello"])
async def test_a_request_that_tells_its_length_in_two_ways_is_refused_and_its_connection_ended(
    kind: str, tmp_path: Path, path: bytes, version: bytes
) -> None:
    """A proxy that goes by the other one, or is so old that it knows no chunks, would take the rest for a request of
    its next client (RFC 9112, 6.1)."""
    head = b"POST %b HTTP/%b\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" % (path, version)
    async with served(kind, tmp_path) as place:
        reader, writer = await place.connect()
        writer.write(head + b"0\r\n\r\n" + REQUEST)
        said = await is_cut_off(reader)
    assert said.startswith(b"HTTP/1.1 400 ")
    assert said.count(b"HTTP/1.1 ") == 1, "the request behind it was answered, too"


async def test_silent_clients_make_room_for_who_says_something(kind: str, tmp_path: Path) -> None:
    async with served(kind, tmp_path) as place:
        for _ in range(5 * LIMIT):
            await place.connect()
        await place.answers()
        assert place.turned.count(DoorRefusal.CROWDED_OUT) >= 4 * LIMIT


async def test_clients_that_are_idle_after_an_answer_make_room_too(kind: str, tmp_path: Path) -> None:
    async with served(kind, tmp_path) as place:
        for _ in range(3 * LIMIT):
            reader, writer = await place.connect()
            writer.write(REQUEST)
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        await place.answers()
        assert DoorRefusal.FULL not in place.turned


async def test_whoever_is_being_served_keeps_the_place_and_the_newcomer_is_turned_away(
    kind: str, tmp_path: Path
) -> None:
    async with served(kind, tmp_path) as place:
        served_ones = []
        for _ in range(LIMIT):
            reader, writer = await place.connect()
            writer.write(b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 100")
            served_ones.append((reader, writer))
        newcomer, _ = await place.connect()
        assert await is_cut_off(newcomer) == b""
        assert place.turned == [DoorRefusal.FULL]
        for reader, writer in served_ones:
            writer.write(b"hello")
            await reader.readline()
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")


LARGE = REQUEST.replace(b"hello", b"large")
BODY_OWED = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"


@pytest.mark.parametrize("owed", [BODY_OWED, LARGE, 3 * LARGE])
async def test_one_address_that_owes_something_on_all_places_makes_room_for_another(
    tmp_path: Path, owed: bytes
) -> None:
    """Bodies that do not come, and answers that are not taken, kept everyone else out for as long as their limits."""
    async with served("http", tmp_path) as place:
        for _ in range(LIMIT):
            reader, writer = await place.connect()
            writer.write(owed)
            assert (await reader.readline()).startswith(b"HTTP/1.1 ")
            writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport reads, too

        async def another(address: str) -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", place.port, local_addr=(address, 0))
            writer.write(REQUEST)
            said = b""
            with contextlib.suppress(ConnectionError):
                said = await reader.readline()
            writer.transport.abort()
            return said

        async with asyncio.timeout(60):
            while not (said := await another("127.0.0.2")):  # noqa: ASYNC110 - until the system holds no more answers
                await asyncio.sleep(0)
        assert said.startswith(b"HTTP/1.1 200")
        assert DoorRefusal.CROWDED_OUT in place.turned


async def test_of_two_addresses_that_owe_something_the_one_with_more_places_makes_room(tmp_path: Path) -> None:
    async with served("http", tmp_path) as place:
        readers = []
        for index in range(LIMIT):
            address = "127.0.0.2" if index == 0 else "127.0.0.3"
            reader, writer = await asyncio.open_connection("127.0.0.1", place.port, local_addr=(address, 0))
            writer.write(BODY_OWED)
            assert (await reader.readline()).startswith(b"HTTP/1.1 100")
            readers.append((reader, writer))
        await place.answers()
        assert place.turned == [DoorRefusal.CROWDED_OUT]
        (first, writes), (second, _) = readers[:2]
        assert await is_cut_off(second) == b"\r\n"
        writes.write(b"hello")
        await first.readline()
        assert (await first.readline()).startswith(b"HTTP/1.1 200"), "who came first and holds one place keeps it"
        for _, writer in readers:
            writer.transport.abort()


async def test_an_address_with_most_places_takes_none_from_who_has_yet_to_say_something(tmp_path: Path) -> None:
    """Who had come in was crowded out by the next of those who held all other places, before he was heard."""
    async with served("http", tmp_path) as place:
        for _ in range(LIMIT):
            reader, writer = await place.connect()
            writer.write(BODY_OWED)
            assert (await reader.readline()).startswith(b"HTTP/1.1 100")
        mine, writes = await asyncio.open_connection("127.0.0.1", place.port, local_addr=("127.0.0.2", 0))
        await eventually(lambda: place.turned == [DoorRefusal.CROWDED_OUT])
        for _ in range(3):
            newcomer, _ = await place.connect()
            assert await is_cut_off(newcomer) == b""
        writes.write(REQUEST)
        assert (await mine.readline()).startswith(b"HTTP/1.1 200")
        assert place.turned == [DoorRefusal.CROWDED_OUT] + 3 * [DoorRefusal.FULL]
        writes.transport.abort()


async def test_what_is_always_answered_has_places_that_nothing_else_takes(tmp_path: Path) -> None:
    asking = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    async with served("http", tmp_path, always=frozenset({"/hello"})) as place:
        kept = LIMIT // 4
        readers = []
        for _ in range(LIMIT):
            reader, writer = await place.connect()
            writer.write(asking)
            readers.append(reader)
        first = [await reader.readline() for reader in readers[: LIMIT - kept]]
        assert all(line.startswith(b"HTTP/1.1 100") for line in first)
        for reader in readers[LIMIT - kept :]:
            assert not (await is_cut_off(reader)).startswith(b"HTTP/1.1 2")
        assert place.turned == [DoorRefusal.FULL] * kept
        for _ in range(3):
            await place.answers()
        reader, writer = await place.connect()
        writer.write(REQUEST.replace(b"GET", b"POST"))
        assert await is_cut_off(reader) == b"", "the same path, and another request"


async def test_nobody_makes_room_whose_request_lies_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a turn of the loop takes: here the rest is over before the next one."""
    monkeypatch.setattr("charging.door.PACE_S", 0)
    async with served("http", tmp_path, replace(PATIENT, connections=PACE + 2), always=frozenset({"/hello"})) as place:
        with contextlib.ExitStack() as asking:
            asked = [socket.create_connection(("127.0.0.1", place.port)) for _ in range(5 * PACE)]
            for one in map(asking.enter_context, asked):
                one.sendall(REQUEST.replace(b"Host", b"Connection: close\r\nHost"))
            said = await asyncio.to_thread(lambda: [one.recv(1000)[:12] for one in asked])
        assert said == [b"HTTP/1.1 200"] * len(asked)
        assert place.turned == []


async def test_health_is_told_to_whoever_asks_beside_sixty_connections_that_ask_without_end() -> None:
    """Of the same address: a supervisor on the daemon's own machine, say. Two of twenty were answered."""
    port, ready = free_port(), asyncio.Event()
    ailing: dict[str, str] = {}
    serving = asyncio.create_task(serve_metrics(Http(port=port), Metrics("1"), lambda: ailing, ready))
    await ready.wait()

    async def without_end(path: bytes) -> None:
        while True:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path * 20)
                while await reader.read(65536):
                    pass
            except OSError:
                continue
            finally:
                writer.transport.abort()

    def health() -> int:
        """As a supervisor asks: its request is there with the connection. On this loop it would come some turns later,
        each of them as long as the flood's requests take, and who says nothing for so long makes room."""
        with closing(HTTPConnection("127.0.0.1", port, timeout=120)) as supervisor:
            supervisor.request("GET", "/health")
            return supervisor.getresponse().status

    flood = [asyncio.create_task(without_end(path)) for path in 25 * [b"/metrics"] + 25 * [b"/x"] + 10 * [b"/health"]]
    try:
        said = [await asyncio.to_thread(health) for _ in range(10)]
        ailing["ami"] = "lost"
        said.append(await asyncio.to_thread(health))
    finally:
        await end(flood)
        await end([serving])
    assert said == 10 * [200] + [503]


async def test_who_comes_again_and_again_is_let_in_so_many_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each costs the process that decides calls, whatever it asks."""
    monkeypatch.setattr("charging.door.PACE_S", 3600)
    came: list[socket.socket] = []

    def receive(_guest: Guest, connection: socket.socket) -> None:
        came.append(connection)

    door = Door("test", listen("127.0.0.1", 0, "test"), SystemClock(), limit=LIMIT, pace=3)
    serving = asyncio.create_task(door.serve(receive))
    writers = [(await asyncio.open_connection("127.0.0.1", door.port))[1] for _ in range(5)]
    await eventually(lambda: len(came) == 3)
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(came) == 3
    for connection in came:
        connection.close()
    for writer in writers:
        writer.transport.abort()
    await end([serving])
    door.close()


async def test_what_receives_and_fails_brings_the_door_down_loudly() -> None:
    def receive(_guest: Guest, connection: socket.socket) -> None:
        connection.close()
        raise ValueError("a fault of the program")

    door = Door("test", listen("127.0.0.1", 0, "test"), SystemClock(), limit=LIMIT)
    serving = asyncio.create_task(door.serve(receive))
    with (
        socket.create_connection(("127.0.0.1", door.port)),
        pytest.raises(ValueError, match="a fault of the program"),
    ):
        await asyncio.wait_for(serving, 60)
    door.close()


async def test_who_has_to_make_room_before_he_is_open_is_cut_off_as_he_opens() -> None:
    guests: list[Guest] = []
    aborted: list[int] = []

    class Opened:
        def abort(self) -> None:
            aborted.append(1)

    door = Door("test", listen("127.0.0.1", 0, "test"), SystemClock(), limit=1)
    connections: list[socket.socket] = []

    def receive(guest: Guest, connection: socket.socket) -> None:
        guests.append(guest)
        connections.append(connection)

    serving = asyncio.create_task(door.serve(receive))
    with socket.create_connection(("127.0.0.1", door.port)), socket.create_connection(("127.0.0.1", door.port)):
        await eventually(lambda: len(guests) == 2)
        guests[0].came(Opened())
        guests[1].came(Opened())
        assert (aborted, guests[0].crowded_out, list(door.waiting)) == ([1], True, [guests[1]])
    for one in connections:
        one.close()
    await end([serving])
    door.close()


async def test_a_header_has_one_deadline_however_it_drips(kind: str, tmp_path: Path) -> None:
    async with served(kind, tmp_path, replace(PATIENT, idle_s=0.3)) as place:
        reader, writer = await place.connect()

        async def drip() -> None:
            for byte in REQUEST * 100:
                writer.write(bytes([byte | 0x20]))
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        assert await is_cut_off(reader) == b""
        await end([dripping])
        assert place.turned == [DoorRefusal.SILENT]


async def test_a_kept_connection_is_closed_when_nothing_more_comes(kind: str, tmp_path: Path) -> None:
    async with served(kind, tmp_path, replace(PATIENT, kept_s=0.3)) as place:
        reader, writer = await place.connect()
        writer.write(REQUEST)
        writer.write(REQUEST)
        said = await is_cut_off(reader)
        assert said.count(b"HTTP/1.1 200") == 2
        assert place.turned == []


@pytest.mark.parametrize("there_is_an_answer", [False, True])
async def test_a_further_header_that_has_begun_has_the_deadline_of_the_first(
    kind: str, tmp_path: Path, there_is_an_answer: bool
) -> None:
    async with served(kind, tmp_path, replace(PATIENT, idle_s=0.3)) as place:
        reader, writer = await place.connect()
        writer.write(REQUEST if there_is_an_answer else REQUEST + b"GET")
        if there_is_an_answer:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"GET")
        assert (await is_cut_off(reader)).count(b"HTTP/1.1 200") == (not there_is_an_answer)
        assert place.turned == [DoorRefusal.SILENT]


async def test_a_connection_is_kept_for_longer_than_clients_keep_theirs() -> None:
    """httpx keeps one for 5 s, nginx one to its upstream for 60 s."""
    assert HttpLimits().kept_s > 60


async def test_a_body_that_does_not_come_is_waited_for_so_long(kind: str, tmp_path: Path) -> None:
    async with served(kind, tmp_path, replace(PATIENT, body_s=0.3)) as place:
        reader, writer = await place.connect()
        writer.write(b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhell")
        assert await is_cut_off(reader) == b""
        assert place.turned == [DoorRefusal.SILENT]


async def test_a_client_that_takes_no_answer_is_cut_off(tmp_path: Path) -> None:
    async with served("http", tmp_path, replace(PATIENT, standstill_s=0.3)) as place:
        _, writer = await place.connect()
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport reads, too
        writer.write(REQUEST.replace(b"hello", b"large"))
        await eventually(lambda: DoorRefusal.SILENT in place.turned)


def lies_at_most(connection: listen_module._Guarded, size: int) -> bool:
    return connection.transport.get_write_buffer_size() <= size


@pytest.mark.parametrize(("taken", "is_cut"), [(3_000_000, False), (0, True)])
async def test_a_client_that_takes_its_answer_steadily_gets_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: int, is_cut: bool
) -> None:
    """However long that takes: a long statement comes to whoever has a poor line."""
    connections, begins = list[listen_module._Guarded](), listen_module._Guarded.pause_writing

    def seen(connection: listen_module._Guarded) -> None:
        connections.append(connection)
        begins(connection)

    monkeypatch.setattr(listen_module._Guarded, "pause_writing", seen)
    monkeypatch.setattr(listen_module, "PIECE_BYTES", LARGE_BYTES)  # a system holds more of one in its own buffers
    async with served("http", tmp_path) as place:
        reader, writer = await place.connect()
        writer.write(LARGE)
        await reader.readuntil(b"\r\n\r\n")
        for connection in connections * 3:
            wanted = connection.transport.get_write_buffer_size() - taken // 2
            await reader.readexactly(taken)
            await eventually(partial(lies_at_most, connection, wanted))
            connection._has_stood()  # as its timer does
            assert (DoorRefusal.SILENT in place.turned) == is_cut
        if not is_cut:
            await reader.readexactly(LARGE_BYTES - 3 * taken)


@pytest.mark.parametrize(
    ("proxies", "seen"), [((), "127.0.0.1"), (("127.0.0.1",), "192.0.2.7"), (("10.0.0.0/8",), "127.0.0.1")]
)
async def test_x_forwarded_for_is_believed_of_a_named_proxy_alone(
    tmp_path: Path, proxies: tuple[str, ...], seen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")  # uvicorn's own way to be told, which is not ours
    async with served("http", tmp_path, proxies=proxies) as place:
        reader, writer = await place.connect()
        writer.write(REQUEST.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 192.0.2.7\r\nConnection: close\r\n\r\n"))
        assert (await is_cut_off(reader)).endswith(f'"{seen}"'.encode())


async def test_an_http_client_is_served_on_one_connection(tmp_path: Path) -> None:
    """What the deadlines must not break."""
    async with served("control", tmp_path) as place:
        transport = httpx.AsyncHTTPTransport(uds=str(tmp_path / "socket"))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            for size in (0, 1, 1_000_000):
                assert (await client.post("/body", content=b"x" * size)).json() == size
        assert place.turned == []
