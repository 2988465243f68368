"""Serving on a Unix socket and a port, inside a daemon that can be cancelled."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from charging.door import CannotServe, listen
from charging.lab.ports import free_port
from charging.tasks import Tasks
from charging.web.listen import Front, serve_port, serve_unix
from charging.web.sockets import is_answered


def make_app() -> FastAPI:
    app = FastAPI()

    async def hello() -> str:
        return "hello"

    app.get("/hello")(hello)
    return app


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


@asynccontextmanager
async def served(path: Path) -> AsyncIterator[None]:
    ready = asyncio.Event()
    task = asyncio.create_task(serve_unix(make_app(), path, ready))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if task.done():
        await task
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def put(path: Path, text: str) -> None:
    """A file of this content instead of whatever is there."""
    path.unlink(missing_ok=True)
    path.write_text(text)


def content(path: Path) -> str:
    return path.read_text()


async def ask(path: Path) -> str:
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(path)), base_url="http://x") as http:
        return str((await http.get("/hello")).json())


async def test_the_socket_is_ours_alone_answers_and_is_removed_at_the_end(path: Path) -> None:
    async with served(path):
        assert mode_of(path) == 0o600
        assert await ask(path) == "hello"
        assert os.listdir(path.parent) == [path.name]
    assert os.listdir(path.parent) == []


async def test_a_socket_that_a_killed_daemon_left_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
        left.listen()
    assert not is_answered(path)
    async with served(path):
        assert await ask(path) == "hello"


async def test_a_socket_that_another_daemon_answers_on_is_left_alone(path: Path) -> None:
    async with served(path):
        with pytest.raises(CannotServe, match="another daemon answers"):
            await serve_unix(make_app(), path)
        assert await ask(path) == "hello"


async def test_something_else_in_its_place_is_left_alone(path: Path) -> None:
    put(path, "precious")
    with pytest.raises(CannotServe, match="something else"):
        await serve_unix(make_app(), path)
    assert content(path) == "precious"


async def test_a_folder_that_is_not_there_is_named(path: Path) -> None:
    with pytest.raises(CannotServe, match="there is no folder"):
        await serve_unix(make_app(), path.parent / "none" / "control.sock")


async def test_a_socket_that_another_has_put_in_our_place_is_not_removed(path: Path) -> None:
    async with served(path):
        put(path, "another's")
    assert content(path) == "another's"


async def test_the_daemon_keeps_its_signals(path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    async with served(path):
        await ask(path)
        assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


async def test_a_request_in_flight_is_answered_when_the_daemon_stops(path: Path) -> None:
    app, asked, answer = FastAPI(), asyncio.Event(), asyncio.Event()

    async def slow() -> str:
        asked.set()
        await answer.wait()
        return "late"

    app.get("/hello")(slow)
    ready = asyncio.Event()
    task = asyncio.create_task(serve_unix(app, path, ready))
    await ready.wait()
    request = asyncio.create_task(ask(path))
    await asked.wait()
    task.cancel()
    await asyncio.sleep(0)
    answer.set()
    assert await request == "late"
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_server_fails_loudly_within_a_group_of_tasks(path: Path) -> None:
    put(path, "precious")
    tasks = Tasks()
    tasks.begin(serve_unix(make_app(), path), "control")
    with pytest.raises(CannotServe):
        await tasks.failure()


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


async def test_a_port_that_is_taken_is_said_with_what_to_do(taken: int) -> None:
    with pytest.raises(CannotServe, match="choose another host or port under `api`"):
        await serve_port(make_app(), "127.0.0.1", taken, front=Front("api"))


async def test_a_port_is_served_until_cancelled() -> None:
    port = free_port()
    ready = asyncio.Event()
    task = asyncio.create_task(serve_port(make_app(), "127.0.0.1", port, ready))
    await ready.wait()
    async with httpx.AsyncClient() as http:
        assert (await http.get(f"http://127.0.0.1:{port}/hello")).json() == "hello"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for listener in listen("127.0.0.1", port, "test"):
        listener.close()
