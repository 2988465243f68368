"""Between a daemon and its Redis, in the daemon's own process: sees each command on the wire, and may die at it.

Commands go on one at a time, so that those of one pipeline can be told apart: a process that is killed while it sends a
pipeline has sent any part of it.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from charging.ledger.redis.client import Script
from tests.fakes.killing_store import Reaper

READING = set(
    "EXISTS GET HGET HMGET HGETALL SMEMBERS ZRANGEBYSCORE ZRANGEBYLEX PING SELECT CLIENT INFO CLUSTER COMMAND".split()
)
TOLD_CHARACTERS = 160


class KillingRelay:
    """Listens at ``port`` of the loopback and passes commands on to the Redis at ``to_port``."""

    def __init__(self, to_port: int, reaper: Reaper) -> None:
        self.port = 0
        self._to_port = to_port
        self._reaper = reaper
        self._read_only = {Script("journal").digest.encode(), Script("journal").text.encode()}

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1")
        self.port = self._server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", self._to_port)
        # The node of a cluster tells its clients where it is to be found; elsewhere this changes nothing.
        writer.write(f"CONFIG SET cluster-announce-port {self.port}\r\n".encode())
        assert await _message(reader) == b"+OK\r\n"
        writer.close()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", self._to_port)

        async def carry_out() -> bytes:
            behind_writer.write(command)
            return await _message(behind_reader)

        try:
            while True:
                command = await _message(reader)
                words = command.split(b"\r\n")[2::2]
                writes = words[0].decode().upper() not in READING and words[1] not in self._read_only
                told = b" ".join(words).decode(errors="backslashreplace")[:TOLD_CHARACTERS]
                writer.write(await (self._reaper.write(told, carry_out) if writes else carry_out()))
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the daemon has closed its connection, or the whole life is over
        finally:
            writer.close()
            behind_writer.close()


async def _message(reader: asyncio.StreamReader) -> bytes:
    """One whole command or answer (RESP 2), as it is. Raises IncompleteReadError at the end."""
    line = await reader.readuntil(b"\r\n")
    size = int(line[1:]) if line[:1] in b"$*" else 0
    if line[:1] == b"$" and size >= 0:
        return line + await reader.readexactly(size + 2)
    if line[:1] == b"*":
        return line + b"".join([await _message(reader) for _ in range(size)])
    return line
