"""FastAGI servers for the dialplan's tests: one that answers as told, and the ways in which a daemon can be broken."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field

READ_TIMEOUT_S = 5.0


@dataclass(slots=True)
class Request:
    """What the dialplan asked."""

    route: str
    arguments: list[str]


@dataclass(slots=True)
class StubAgi:
    """Answers each route with the variables given for it; commands other than variables are sent as they are."""

    variables: dict[str, Mapping[str, str]] = field(default_factory=dict)
    commands: dict[str, list[str]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    replies: list[str] = field(default_factory=list)
    hurt: Callable[[asyncio.StreamWriter], None] | None = None
    """Called in place of an answer."""
    is_silent: bool = False
    """Reads the request and never says a word."""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.requests.append(await _read_header(reader))
            if self.is_silent:
                await reader.read(-1)
            elif self.hurt is not None:
                self.hurt(writer)
            else:
                await self._answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the dialplan let go
        finally:
            writer.close()

    async def was_asked(self) -> bool:
        return bool(self.requests)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        route = self.requests[-1].route
        settings = [f'SET VARIABLE {name} "{value}"' for name, value in self.variables.get(route, {}).items()]
        for command in [*settings, *self.commands.get(route, [])]:
            writer.write(command.encode() + b"\n")
            self.replies.append((await reader.readuntil(b"\n")).decode().strip())


async def _read_header(reader: asyncio.StreamReader) -> Request:
    header = (await asyncio.wait_for(reader.readuntil(b"\n\n"), READ_TIMEOUT_S)).decode()
    fields = dict(line.split(": ", 1) for line in header.splitlines() if ": " in line)
    numbers = sorted(int(name.removeprefix("agi_arg_")) for name in fields if name.startswith("agi_arg_"))
    return Request(fields["agi_network_script"], [fields[f"agi_arg_{number}"] for number in numbers])


@contextlib.asynccontextmanager
async def serving(stub: StubAgi, port: int) -> AsyncIterator[StubAgi]:
    server = await asyncio.start_server(stub.handle, "127.0.0.1", port)
    try:
        yield stub
    finally:
        server.close()
        await server.wait_closed()


def close(writer: asyncio.StreamWriter) -> None:
    """Hang up without a word."""
    writer.close()


def reset(writer: asyncio.StreamWriter) -> None:
    """Hang up with a TCP reset, as the kernel does for a process that crashed with unread data."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
