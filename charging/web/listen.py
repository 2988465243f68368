"""Serves an application inside the daemon, by uvicorn, on a Unix socket or a port.

By default uvicorn handles the process's signals and ends the process. Here it does neither: a server ends when its task
is cancelled, after requests in flight have had a moment to end.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import h11
import uvicorn
from fastapi import FastAPI
from h11._receivebuffer import ReceiveBuffer
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from charging.clock import SystemClock
from charging.door import BACKLOG, CannotServe, Door, Guest, Observer, listen
from charging.log_limit import LogLimit
from charging.sources import is_within
from charging.tasks import end
from charging.web.sockets import is_answered

GRACE_S = 2
"""For requests in flight when the server ends."""

_CHUNKS = b"transfer-encoding"
_LENGTHS = {b"content-length", _CHUNKS}

PACE = 10
"""200 connections a second, of which each costs up to half a millisecond."""

KEEP_ALIVE_NEVER_S = 3600
"""uvicorn's own limit of an idle connection, which any byte puts off: the deadline of HttpLimits is the one."""


TAKEN_BYTES_S = 32_000
"""What a client on a poor line takes of its answer. Who takes less holds memory and a place of others: the rest of an
answer lies here until he has it."""
HEAD_BYTES_MAX, HEAD_LINES_MAX = 24 * 1024, 100
"""Of a request before its body, and of what it may send behind one: a query of the longest name, and what browsers and
proxies send besides. Each line costs microseconds before anything of ours has looked at it: 12,000 short ones cost the
process 14 ms."""
CHUNKS_MIN, CHUNK_BYTES_MIN = 100, 256
"""A body of more chunks than that has so many bytes in each, one with another, wherever one begins to count. Each costs
microseconds, however short: 42,000 of one byte, which are a quarter of a megabyte on the line, cost the process 0.4 s.
"""
PIECE_BYTES = 1_000_000
"""Of an answer; more than a client has to take within `HttpLimits.standstill_s`."""
READ_BYTES_MAX = 64 * 1024
"""Of one connection in one turn of the loop, which others wait for."""
_HEAD_END, _HEAD_END_BYTES = re.compile(rb"(?:\A|\n)\r?\n"), 3


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """How many connections, and how long each may take; seconds."""

    connections: int = 50
    idle_s: float = 5.0
    """Until a request's header has arrived: the first one's, and that of each further one once it has begun."""
    kept_s: float = 75.0
    """In which a kept connection may say nothing: longer than the pools of most clients keep theirs. Who closes first
    may close on a request that is on its way (RFC 9112, 9.5), and no library sends a top-up twice."""
    body_s: float = 75.0
    """The same for its body; the public interface has a shorter limit of its own."""
    standstill_s: float = 20.0
    """In which a client has to take some of its answer: TAKEN_BYTES_S for each second, or all of it."""


LOOPBACK = ("127.0.0.0/8", "::1")


@dataclass(frozen=True, slots=True)
class Front:
    """What a listener shows the network."""

    name: str
    limits: HttpLimits = HttpLimits()
    proxies: tuple[str, ...] = ()
    """Addresses and networks whose ``X-Forwarded-For`` is believed."""
    observe: Observer = lambda turned: None
    always: frozenset[str] = frozenset()
    """Paths whose GET is answered however many connections ask for others: a quarter of the places is kept for it, and
    for who has yet to say what he wants. Those of PACE are let in at a time."""
    takes_bodies: bool = True
    """Else a request that has one is refused before it is read."""

    def is_proxy(self, peer: str) -> bool:
        """Whether others may speak to us by this address: one that is named, or a program of this machine."""
        return not peer or is_within(peer, (*LOOPBACK, *self.proxies))

    @property
    def reserve(self) -> int:
        """How many places are kept."""
        return self.limits.connections // 4 if self.always else 0


async def serve_unix(
    app: FastAPI, path: Path, ready: asyncio.Event | None = None, *, front: Front = Front("control")
) -> None:
    """Serve on a Unix socket that only our own user may open, until cancelled. ``ready`` is set when it answers.

    A socket file that nobody answers on is left from a daemon that was killed, and replaced. Raises CannotServe.
    """
    listener = _unix_listener(path)
    inode = _inode(path)
    try:
        await serve_on(app, [listener], front, ready)
    finally:
        _remove(path, inode)


async def serve_port(
    app: FastAPI, host: str, port: int, ready: asyncio.Event | None = None, *, front: Front = Front("http")
) -> None:
    """Serve on a TCP port until cancelled; the front's name is that of its section in charging.yaml. Raises
    CannotServe with what to do."""
    await serve_on(app, listen(host, port, front.name), front, ready)


def _unix_listener(path: Path) -> socket.socket:
    """Bound beside its place and moved there when it listens: it is never there with another mode, or deaf."""
    check_place(path)
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
        raise _unwritable(path, error.strerror or str(error)) from error
    return listener


def _inode(path: Path) -> int:
    return path.stat().st_ino


def _remove(path: Path, inode: int) -> None:
    """Remove our socket, but not one that another has put in its place."""
    with suppress(FileNotFoundError):
        if _inode(path) == inode:
            path.unlink()


def _unwritable(path: Path, why: str) -> CannotServe:
    advice = "let the daemon's user write in its folder, or choose another path in charging.yaml"
    return CannotServe(f"control.socket: {path}: {why}; {advice}")


def check_place(path: Path) -> None:
    """Whether a control socket can be made there. Raises CannotServe with what to do."""
    if not os.path.isdir(path.parent):
        raise CannotServe(f"control.socket: {path}: there is no folder {path.parent}; make it")
    if os.statvfs(path.parent).f_flag & os.ST_RDONLY:
        raise CannotServe(f"control.socket: {path}: its folder is on a read-only file system; mount it for writing")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise _unwritable(path, "its folder may not be written")
    if not os.path.lexists(path):
        return
    if not path.is_socket():
        raise CannotServe(f"control.socket: {path}: something else is there; choose another path in charging.yaml")
    if is_answered(path):
        raise CannotServe(f"control.socket: {path}: another daemon answers on it; stop that one first")


def _logger(listener: str) -> logging.Logger:
    """Where uvicorn says what it has to say of a listener's connections: strangers can have it say a sentence on each
    request that cannot be read."""
    log_limit = LogLimit(SystemClock())

    def spare(record: logging.LogRecord) -> bool:
        more = log_limit.more(record.msg)
        record.msg = f"{listener}: {record.msg.strip()}" + (f" ({more} more)" if more else "")
        return more is not None

    logger = logging.getLogger(f"uvicorn.error.{listener}")
    logger.filters = [spare]
    return logger


_Event = h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]


class _BeyondLimits(h11.RemoteProtocolError):
    """A request that is well-formed; its words are for whoever sent it."""


class _Heads(ReceiveBuffer):
    """What has come and is not read yet. h11 takes from here the lines of a head, and of what follows a body. It asks
    for them at each piece that comes, of a byte perhaps: so what was looked at is not looked at again."""

    def __init__(self) -> None:
        super().__init__()
        self._looked_at = 0
        """Bytes, of those that are here: before them no empty line begins."""
        self._lines = 0
        """That end within them."""

    def maybe_extract_lines(self) -> list[bytearray] | None:
        """All up to the first empty line, or ``None`` if that has not come. Raises RemoteProtocolError."""
        if self._is_too_long():
            raise _BeyondLimits(f"expected {HEAD_LINES_MAX} lines and {HEAD_BYTES_MAX} bytes at most before the body")
        return super().maybe_extract_lines()

    def _is_too_long(self) -> bool:
        """Whether what has come has more up to its first empty line than the limits allow."""
        found = _HEAD_END.search(self._data, self._looked_at)
        end = max(self._looked_at, len(self._data) - _HEAD_END_BYTES) if found is None else found.start()
        self._lines += self._data.count(b"\n", self._looked_at, end)
        self._looked_at = end
        return end > HEAD_BYTES_MAX or self._lines >= HEAD_LINES_MAX

    def _extract(self, count: int) -> bytearray:
        self._looked_at = self._lines = 0
        return super()._extract(count)


class _Connection(h11.Connection):
    """Reads requests, and refuses a body that costs far more than others of its size, or that nobody asks for."""

    def __init__(self, *, takes_bodies: bool) -> None:
        super().__init__(h11.SERVER, HEAD_BYTES_MAX + 2 * _HEAD_END_BYTES)  # ours comes first, and says more
        self._receive_buffer = _Heads()  # h11 has no door for it
        self._takes_bodies = takes_bodies
        self._spare_bytes = 0
        self.beyond = ""
        """Which limit the request was beyond."""

    def next_event(self) -> _Event:
        """As h11 does. Raises RemoteProtocolError."""
        try:
            return self._within_limits(super().next_event())
        except _BeyondLimits as error:
            self.beyond = str(error)
            raise

    def _within_limits(self, event: _Event) -> _Event:
        if isinstance(event, h11.Request):
            self._spare_bytes = CHUNKS_MIN * CHUNK_BYTES_MIN
            if not self._takes_bodies and _has_body(event):
                raise _BeyondLimits("found a body, expected none")
        elif isinstance(event, h11.Data):
            spare_bytes = self._spare_bytes + len(event.data) - event.chunk_end * CHUNK_BYTES_MIN
            self._spare_bytes = min(spare_bytes, CHUNKS_MIN * CHUNK_BYTES_MIN)
            if spare_bytes < 0:
                raise _BeyondLimits(f"found many short chunks, expected {CHUNK_BYTES_MIN} bytes in each at the mean")
        return event


def _has_body(request: h11.Request) -> bool:
    lengths = {name: value for name, value in request.headers if name in _LENGTHS}
    return lengths not in ({}, {b"content-length": b"0"})


class _Guarded(H11Protocol):
    """One connection, with a deadline for what its client owes: a request, its body, to take the answer, the next."""

    def __init__(self, guest: Guest, front: Front, logger: logging.Logger, **parts: Any) -> None:
        super().__init__(**parts)
        self.conn = self._connection = _Connection(takes_bodies=front.takes_bodies)
        self.logger = logger
        self._guest = guest
        self._limits = front.limits
        self._always = front.always
        self._owes = ""
        self._deadline: asyncio.TimerHandle | None = None
        self._standstill: asyncio.TimerHandle | None = None
        self._untaken = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.max_size = READ_BYTES_MAX  # type: ignore[attr-defined]  # asyncio's own default is four times as much
        self._guest.came(transport)
        self._look()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look()

    def send_400_response(self, msg: str) -> None:
        """As uvicorn does, if there is no answer yet, with the limit that was passed; else the connection only ends."""
        if self.cycle is not None:
            self.cycle.disconnected = True  # what is being answered has nobody to go to
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(self._connection.beyond or msg)
        else:
            self.transport.close()

    def _unsupported_upgrade_warning(self) -> None:
        """No word of a client that would rather speak something else: it is answered all the same (RFC 9110, 7.8)."""

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._deadline, self._standstill):
            if timer is not None:
                timer.cancel()
        self._guest.left()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._guest.owes()
        self._look_at_what_is_left()

    def _look_at_what_is_left(self) -> None:
        """Of a piece of an answer (`_InPieces`): writing goes on only when all but a little of it was taken."""
        self._untaken = self.transport.get_write_buffer_size()
        self._standstill = self.loop.call_later(self._limits.standstill_s, self._has_stood)

    def _has_stood(self) -> None:
        taken = self._untaken - self.transport.get_write_buffer_size()
        if taken < TAKEN_BYTES_S * self._limits.standstill_s:
            self._guest.was_silent()
        else:
            self._look_at_what_is_left()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._standstill is not None:
            self._standstill.cancel()
            self._standstill = None
        if self._owes != "body":
            self._guest.owes_nothing()

    def _look(self) -> None:
        """What the client owes now. A deadline begins with the debt, and no byte of it puts it off."""
        serves = self.cycle is not None and not self.cycle.response_complete
        if serves:
            owes = "body" if self.cycle.more_body else "nothing"
        else:
            owes = "next" if self.cycle is not None and not self.conn.trailing_data[0] else "request"
        if owes == self._owes or self.transport.is_closing():
            return
        self._owes = owes
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if owes in ("request", "next"):
            self._guest.idle()
        elif not self._guest.is_served(always=self.scope["method"] == "GET" and self.scope["path"] in self._always):
            return
        elif owes == "body" or self._standstill is not None:
            self._guest.owes()
        else:
            self._guest.owes_nothing()
        if owes != "nothing":
            limits_s = {"request": self._limits.idle_s, "next": self._limits.kept_s, "body": self._limits.body_s}
            self._deadline = self.loop.call_later(limits_s[owes], self._too_late)

    def _too_late(self) -> None:
        """An idle connection is closed; one that owes the rest of something was silent."""
        if self._owes == "next" and not self.transport.get_write_buffer_size():
            self.transport.close()
        else:
            self._guest.was_silent()


class _InPieces:
    """Hands a large answer over piece by piece, each once all but a little of the one before was taken. So who sends it
    knows when it was taken, and it does not lie in the connection as well."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            body = message.get("body", b"")
            for at in range(0, len(body) - PIECE_BYTES, PIECE_BYTES):
                await send({**message, "body": body[at : at + PIECE_BYTES], "more_body": True})
            if len(body) > PIECE_BYTES:
                message = {**message, "body": body[-(len(body) % PIECE_BYTES or PIECE_BYTES) :]}
            await send(message)

        await self._app(scope, receive, sent)


class _OneLength:
    """Refuses a request that tells its length in two ways, or in chunks by HTTP/1.0, whatever it asks: a proxy that
    goes by the other of the two, or knows no chunks, would take the rest of the body for a request of the next client
    on its connection (RFC 9112, 6.1)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        said = _doubtful_length(scope) if scope["type"] == "http" else ""
        if said:
            await PlainTextResponse(said, 400, {"Connection": "close"})(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _doubtful_length(scope: Scope) -> str:
    """Why another may take a body for longer or shorter than we do; empty: nobody does."""
    names = {name for name, _ in scope["headers"]}
    if names >= _LENGTHS:
        return "found both Content-Length and Transfer-Encoding, expected one of them\n"
    if _CHUNKS in names and scope["http_version"] != "1.1":
        return "found Transfer-Encoding in HTTP/1.0, expected Content-Length\n"
    return ""


class _Server(uvicorn.Server):
    """Leaves the signals to the daemon, and the listening to the door."""

    def __init__(self, config: uvicorn.Config, front: Front) -> None:
        super().__init__(config)
        self.is_up = asyncio.Event()
        self._front = front
        self._logger = _logger(front.name)
        self._coming: set[asyncio.Task[Any]] = set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self.lifespan.startup()
        self.servers: list[asyncio.Server] = []
        self.started = True
        self.is_up.set()

    def receive(self, guest: Guest, connection: socket.socket) -> None:
        """Serve one connection."""
        loop = asyncio.get_running_loop()
        task = loop.create_task(loop.connect_accepted_socket(partial(self._protocol, guest), connection))
        self._coming.add(task)
        task.add_done_callback(partial(self._came, guest))

    def _came(self, guest: Guest, task: asyncio.Task[Any]) -> None:
        self._coming.discard(task)
        if task.cancelled() or task.exception() is not None:
            guest.left()

    def _protocol(self, guest: Guest) -> asyncio.BaseProtocol:
        state = self.lifespan.state
        parts = {"config": self.config, "server_state": self.server_state, "app_state": state}
        return _Guarded(guest, self._front, self._logger, **parts)


async def serve_on(
    app: ASGIApp, listeners: Sequence[socket.socket], front: Front, ready: asyncio.Event | None = None
) -> None:
    """Serve on listening sockets until cancelled, and close them."""
    config = uvicorn.Config(
        _OneLength(_InPieces(app)),
        http="h11",
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(front.proxies),
        forwarded_allow_ips=list(front.proxies),
        timeout_keep_alive=KEEP_ALIVE_NEVER_S,
        timeout_graceful_shutdown=GRACE_S,
    )
    server = _Server(config, front)
    door = Door(
        front.name,
        listeners,
        SystemClock(),
        limit=front.limits.connections,
        reserve=front.reserve,
        pace=PACE if front.always else 0,
        observe=front.observe,
    )
    door.stands_for_many = front.is_proxy
    serving = asyncio.create_task(server.serve(), name=f"{front.name}-server")
    serving.add_done_callback(lambda _: server.is_up.set())
    letting_in: asyncio.Task[NoReturn] | None = None
    try:
        await server.is_up.wait()
        letting_in = asyncio.create_task(door.serve(server.receive), name=f"{front.name}-door")
        if ready is not None:
            ready.set()
        ended, _ = await asyncio.wait((serving, letting_in), return_when=asyncio.FIRST_COMPLETED)
        ended.pop().result()
    finally:
        await end([] if letting_in is None else [letting_in])
        door.close()
        server.should_exit = True
        await asyncio.wait([serving])
