"""Serving an application inside the daemon: by uvicorn, on a Unix socket or a port, as something to await.

uvicorn is a program of its own by habit: it takes the signals and ends the process. Here it does neither. A server
ends when its task is cancelled, after giving requests in flight a moment to end.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from charging.errors import ChargingError
from charging.web.sockets import is_answered

GRACE_S = 2
"""For requests in flight when the server ends."""

BACKLOG = 128
KEEP_ALIVE_S = 5


class CannotServe(ChargingError):
    """The address to serve on cannot be had."""


async def serve_unix(app: FastAPI, path: Path, ready: asyncio.Event | None = None) -> None:
    """Serve on a Unix socket that only our own user may open, until cancelled. ``ready`` is set when it answers.

    A socket file that nobody answers on is left from a daemon that was killed, and replaced. Raises CannotServe.
    """
    listener = _unix_listener(path)
    inode = _inode(path)
    try:
        await _serve(app, listener, ready)
    finally:
        _remove(path, inode)


async def serve_port(
    app: FastAPI, host: str, port: int, ready: asyncio.Event | None = None, *, section: str = "http"
) -> None:
    """Serve on a TCP port until cancelled; ``section`` of charging.yaml names it. Raises CannotServe."""
    await _serve(app, port_listener(host, port, section), ready)


def port_listener(host: str, port: int, section: str) -> socket.socket:
    """A listening socket. Raises CannotServe with what to do."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        advice = f"free it, or choose another host or port under `{section}` in charging.yaml"
        raise CannotServe(f"cannot listen on {host}:{port}: {error.strerror or error}; {advice}") from error
    return listener


def _unix_listener(path: Path) -> socket.socket:
    """Bound beside its place and moved there when it listens: it is never there with another mode, or deaf."""
    _check_place(path)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with suppress(FileNotFoundError):
            temporary.unlink()
        listener.bind(str(temporary))
        temporary.chmod(0o600)
        listener.listen(BACKLOG)
        temporary.replace(path)
    except OSError as error:
        listener.close()
        with suppress(OSError):
            temporary.unlink()
        raise CannotServe(f"control socket {path}: {error.strerror or error}; mend its folder") from error
    return listener


def _inode(path: Path) -> int:
    return path.stat().st_ino


def _remove(path: Path, inode: int) -> None:
    """Remove our socket, but not one that another has put in its place."""
    with suppress(FileNotFoundError):
        if _inode(path) == inode:
            path.unlink()


def _check_place(path: Path) -> None:
    if not path.parent.is_dir():
        raise CannotServe(f"control socket {path}: there is no folder {path.parent}; make it")
    if not os.path.lexists(path):
        return
    if not path.is_socket():
        raise CannotServe(f"control socket {path}: something else is there; choose another path in charging.yaml")
    if is_answered(path):
        raise CannotServe(f"control socket {path}: another daemon answers on it; stop that one first")


class _Server(uvicorn.Server):
    """Leaves the signals to the daemon."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.ready is not None:
            self.ready.set()

    ready: asyncio.Event | None = None


async def _serve(app: FastAPI, listener: socket.socket, ready: asyncio.Event | None) -> None:
    config = uvicorn.Config(
        app,
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )
    server = _Server(config)
    server.ready = ready
    task = asyncio.create_task(server.serve([listener]), name="http-server")
    try:
        await asyncio.shield(task)
    finally:
        server.should_exit = True
        await asyncio.wait([task])
        listener.close()
