"""What a decision is measured against: a FastAGI server of plain asyncio that always says the same, and knows nothing.

It reads the header, asks for the proof and sets the variables of an answer, in the very words of the daemon. Prints its
port.
"""

from __future__ import annotations

import asyncio

from agi.port import Answer
from agi.protocol import assigning, proof
from agi.routes import assignments

ANSWER = Answer(
    "forward", "credit", "19ac6fc4b2f-0123456789abcdef", 120, "+31201000000", 30, "nl", "31850000001", "asterisk"
)
COMMANDS = proof("0" * 32), assigning(assignments(ANSWER))


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\n\n")
    for line in COMMANDS:
        writer.write(line)
        await reader.readline()
    writer.close()


async def main() -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
