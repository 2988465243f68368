"""An operator's program at a webhook: it verifies by the standard's own library, and answers what a test says."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from standardwebhooks.webhooks import Webhook

from tests.integration.console_scene import bound

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""Of the standard's published example."""
HANG, CLOSE, DRIP = -1, -2, -3
"""Instead of a status: never answer, close the connection, answer without an end."""


@dataclass
class Told:
    """A request that was verified."""

    id: str
    message: dict[str, Any]

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = self.message["data"]
        return found


@dataclass
class Program:
    """The program; it is told more than once what it does not thank for."""

    port: int = 0
    told: list[Told] = field(default_factory=list)
    answer: Callable[[Told], int] = lambda _told: 200
    asked: list[str] = field(default_factory=list)
    """The first line of each request."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks"

    def of(self, account: str, what: str) -> list[Told]:
        return [one for one in self.told if one.data.get("account") == account and one.message["type"] == what]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while line := await reader.readline():
                self.asked.append(line.decode().strip())
                headers: dict[str, str] = {}
                while (line := await reader.readline()).strip():
                    name, _, value = line.decode().partition(":")
                    headers[name.lower()] = value.strip()
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                status = 405
                if headers.get("content-type") == "application/json":
                    told = Told(headers["webhook-id"], Webhook(SECRET).verify(body, headers))
                    self.told.append(told)
                    status = self.answer(told)
                if status == HANG:
                    await asyncio.Event().wait()
                if status == CLOSE:
                    break
                length = 1_000_000 if status == DRIP else 0
                reply = f"HTTP/1.1 {200 if status == DRIP else status} Said\r\nContent-Length: {length}\r\n\r\n"
                writer.write(reply.encode())
                await writer.drain()


@asynccontextmanager
async def program(tls: ssl.SSLContext | None = None) -> AsyncIterator[Program]:
    """One that listens on this machine."""
    made, listener = Program(), bound()
    made.port = listener.getsockname()[1]
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            await made.serve(reader, writer)
        finally:
            running.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    server = await asyncio.start_server(serve, sock=listener, ssl=tls)
    try:
        yield made
    finally:
        server.close()
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
