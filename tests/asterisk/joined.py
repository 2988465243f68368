"""A real Asterisk and thousands of played calls behind one manager address, as if all were on one switch.

Each connection of the daemon has one of its own to the real Asterisk behind it. Orders and questions go to whose
channel or record they name; what names none goes to the real one, and where it answers with a list the played ones are
put at the list's end. Events of both come as they happen.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

from charging.asterisk import variables
from charging.asterisk.message import AmiMessage
from charging.lab.ami import AmiAccess
from tests.benchmarks.played import PlayedAsterisk
from tests.fakes.ami import BANNER, block, listing

END = b"\r\n\r\n"
LINE_LIMIT_BYTES = 1 << 20
LISTS = {"Status": "StatusComplete", "DBGetTree": "DBGetTreeComplete"}
"""Actions that ask for everything, and what closes their lists."""


@dataclass
class _Beside:
    """One connection of the daemon, and the one behind it."""

    daemon: asyncio.StreamWriter
    real: asyncio.StreamWriter
    lists: dict[str, AmiMessage] = field(default_factory=dict)
    """Lists that the real one is about to close, by the id of their action."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """A manager connection is served in order: nothing is answered while a list is made."""


class JoinedAsterisk(PlayedAsterisk):
    """See the module. What is played is done as with a :class:`PlayedAsterisk`."""

    def __init__(self, real: AmiAccess) -> None:
        super().__init__()
        self._real = real
        self.secret = real.secret

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_real, to_real = await asyncio.open_connection(self._real.host, self._real.port, limit=LINE_LIMIT_BYTES)
        beside = _Beside(writer, to_real)
        passing = asyncio.create_task(self._pass_on(from_real, beside))
        try:
            writer.write(BANNER)
            while True:
                raw = await reader.readuntil(END)
                await self._obey(raw, beside)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            passing.cancel()
            self._waiting.pop(writer, None)
            to_real.transport.abort()
            writer.transport.abort()
            await asyncio.gather(passing, return_exceptions=True)

    async def _obey(self, raw: bytes, beside: _Beside) -> None:
        message = AmiMessage.parse(raw.decode())
        name = message.get("Action")
        if message.get("Channel") in self.calls or message.get("Key") in self.records:
            async with beside.turn:
                await self._handle(message, beside.daemon)
            return
        if name == "Login" and message.get("Events") != "off":
            self._waiting[beside.daemon] = None
        if name in LISTS and not message.get("Channel"):
            beside.lists[message.get("ActionID")] = message
        if name == "Originate" and message.get("Context") == variables.MAINTENANCE_CONTEXT:
            self._delete(message)  # it may name records of both
        beside.real.write(raw)

    async def _pass_on(self, reader: asyncio.StreamReader, beside: _Beside) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readline()  # its banner
            while True:
                raw = await reader.readuntil(END)
                asked = beside.lists.get(_header(raw, b"ActionID"))
                if asked is None or not _ends(raw, asked):
                    beside.daemon.write(raw)
                    continue
                del beside.lists[asked.get("ActionID")]
                async with beside.turn:
                    await self._add(raw, asked, beside.daemon)
        beside.daemon.transport.abort()

    async def _add(self, raw: bytes, asked: AmiMessage, writer: asyncio.StreamWriter) -> None:
        """The real one's list is at its end; ``raw`` is what would close it."""
        if asked.get("Action") == "Status":
            count = str(int(_header(raw, b"ListItems")) + await self._listed(asked, writer))
            end = ("EventList", "Complete"), ("ListItems", count), ("Items", count)
            writer.write(block(("Event", "StatusComplete"), ("ActionID", asked.get("ActionID")), *end))
            self._told(writer)
            return
        _begin, *entries, _end = self._tree(asked)
        if raw.startswith(b"Response: Error"):  # it has no record
            writer.write(raw if not entries else b"".join(self._tree(asked)))
            return
        count = str(int(_header(raw, b"ListItems")) + len(entries))
        (*_, end_of_both) = listing(asked, "DBGetTreeComplete", [])
        writer.write(b"".join(entries) + end_of_both.replace(b"ListItems: 0", f"ListItems: {count}".encode()))


def _ends(raw: bytes, asked: AmiMessage) -> bool:
    return raw.startswith((b"Response: Error", f"Event: {LISTS[asked.get('Action')]}\r\n".encode()))


def _header(raw: bytes, name: bytes) -> str:
    return raw.partition(b"\r\n" + name + b": ")[2].partition(b"\r\n")[0].decode()
