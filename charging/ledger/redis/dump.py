"""A Redis server's whole content, as it is at one moment, in a file: what a replica is given when it joins (``SYNC``).

The file is an ordinary ``dump.rdb``. The server makes it in a process that it forks, as for ``BGSAVE``; calls go on.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from redis.asyncio import Connection

from charging.errors import LedgerUnavailable

PIECE_BYTES = 1024 * 1024
BEGIN_S = 1800
"""Until the server has made its file."""
SILENCE_S = 60
MAGIC = b"REDIS"


async def dump(connection: Connection, path: Path) -> None:
    """Write it to the file. The connection is of no use afterwards. Raises LedgerUnavailable, and what the driver and
    the disk raise."""
    await connection.connect()  # type: ignore[no-untyped-call]
    await connection.send_packed_command(connection.pack_command("SYNC"))
    reader = connection._reader  # redis-py has no way to an answer that is no answer
    assert reader is not None, "connected"
    try:
        left = await _size(reader)
        with path.open("wb") as file:
            while left:
                async with asyncio.timeout(SILENCE_S):
                    piece = await reader.read(min(PIECE_BYTES, left))
                if not piece:
                    raise LedgerUnavailable("the Redis server hung up in the middle of its backup; ask again")
                await asyncio.to_thread(file.write, piece)
                left -= len(piece)
    finally:
        await connection.disconnect(nowait=True)
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise LedgerUnavailable("what the Redis server sent is no dump of its content")


async def _size(reader: asyncio.StreamReader) -> int:
    """Until the file is made the server sends empty lines."""
    async with asyncio.timeout(BEGIN_S):
        while not (line := (await reader.readline()).strip()):
            if reader.at_eof():
                raise LedgerUnavailable("the Redis server hung up before its backup; ask again")
    if not line.startswith(b"$") or not line[1:].isdigit():
        said = line.decode(errors="replace")[:200].lstrip("-")
        raise LedgerUnavailable(f"the Redis server gives no backup: {said}; its user needs the right +sync")
    return int(line[1:])
