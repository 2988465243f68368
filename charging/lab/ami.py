"""A small AMI client for the lab: it steers the world, and watches the switch from outside.

It shares no code with the daemon's link to the switch, which is under test.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from charging.lab.errors import LabError

REPLY_TIMEOUT_S = 20.0
LINE_LIMIT_BYTES = 1 << 20

Message = dict[str, str]


@dataclass(frozen=True, slots=True)
class AmiAccess:
    """Where and as whom to log in."""

    host: str
    port: int
    user: str
    secret: str


@dataclass(slots=True)
class _List:
    events: list[Message]
    complete: asyncio.Future[Message]


class LabAmi:
    """One AMI session; events go to ``on_event`` in their order."""

    def __init__(self, access: AmiAccess, on_event: Callable[[Message], None] | None = None) -> None:
        self.access = access
        self._on_event = on_event
        self._numbers = itertools.count(1)
        self._replies: dict[str, asyncio.Future[Message]] = {}
        self._lists: dict[str, _List] = {}
        self._reader_task: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def connect(self) -> None:
        """Connect and log in.

        Raises:
            OSError: nobody listens. LabError: refused.
        """
        reader, self._writer = await asyncio.open_connection(self.access.host, self.access.port, limit=LINE_LIMIT_BYTES)
        self._reader_task = asyncio.create_task(self._read(reader), name="lab-ami-reader")
        await self.action("Login", {"Username": self.access.user, "Secret": self.access.secret})

    async def close(self) -> None:
        if self._reader_task is not None:
            self._reader_task.cancel()
            await asyncio.gather(self._reader_task, return_exceptions=True)
        if self._writer is not None:
            self._writer.close()
            await asyncio.gather(self._writer.wait_closed(), return_exceptions=True)

    async def action(self, name: str, fields: Mapping[str, str] | None = None) -> Message:
        """Send an action and wait for its reply.

        Raises:
            LabError: the reply is an error, or there is none in time.
        """
        return await self._send(name, fields or {}, str(next(self._numbers)))

    async def listing(self, name: str, fields: Mapping[str, str] | None = None) -> list[Message]:
        """Send an action whose reply is a list of events; return them, without the one that closes the list.

        Raises:
            LabError: the reply is an error (an empty AstDB family is one), or the list does not end in time.
        """
        action_id = str(next(self._numbers))
        self._lists[action_id] = gathered = _List([], asyncio.get_running_loop().create_future())
        try:
            await self._send(name, fields or {}, action_id)
            await asyncio.wait_for(gathered.complete, REPLY_TIMEOUT_S)
        except TimeoutError as error:
            raise LabError(f"the list of AMI action {name} did not end in {REPLY_TIMEOUT_S} s") from error
        finally:
            del self._lists[action_id]
        return gathered.events

    async def _send(self, name: str, fields: Mapping[str, str], action_id: str) -> Message:
        assert self._writer is not None, "connect first"
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._replies[action_id] = future
        lines = [f"Action: {name}", f"ActionID: {action_id}"]
        for key, value in fields.items():
            lines += [f"{key}: {part}" for part in value.split("\n")]
        self._writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        try:
            reply = await asyncio.wait_for(future, REPLY_TIMEOUT_S)
        except TimeoutError as error:
            raise LabError(f"AMI action {name} got no reply in {REPLY_TIMEOUT_S} s") from error
        finally:
            self._replies.pop(action_id, None)
        if reply.get("Response") == "Error":
            raise LabError(f"AMI action {name} refused: {reply.get('Message')}")
        return reply

    async def _read(self, reader: asyncio.StreamReader) -> None:
        await reader.readline()  # the banner
        while True:
            try:
                block = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                self._fail_open_replies()
                return
            self._deliver(_parse(block))

    def _fail_open_replies(self) -> None:
        for future in [*self._replies.values(), *(gathered.complete for gathered in self._lists.values())]:
            if not future.done():
                future.set_exception(LabError("the AMI connection closed"))

    def _deliver(self, message: Message) -> None:
        action_id = message.get("ActionID", "")
        if "Response" in message:
            self._resolve(self._replies.get(action_id), message)
        elif action_id in self._lists:
            gathered = self._lists[action_id]
            if message.get("EventList") == "Complete":
                self._resolve(gathered.complete, message)
            else:
                gathered.events.append(message)
        elif "Event" in message and self._on_event is not None:
            self._on_event(message)

    @staticmethod
    def _resolve(future: asyncio.Future[Message] | None, message: Message) -> None:
        if future is not None and not future.done():
            future.set_result(message)


def _parse(block: bytes) -> Message:
    """Headers by name; of a repeated header all values, one a line."""
    message: Message = {}
    for line in block.decode("utf-8", "replace").split("\r\n"):
        key, colon, value = line.partition(":")
        if colon:
            value = value.strip()
            message[key] = f"{message[key]}\n{value}" if key in message else value
    return message
