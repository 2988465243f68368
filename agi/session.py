"""One conversation with the dialplan: two commands out, a proof and the answer, each with a deadline for its reply."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

from agi.protocol import HungUp, Message, Receiver, Request, Result, assigning, check_assigned, check_proof, proof
from charging.errors import RemoteProtocolError
from charging.unguessable import token

READ_BYTES = 4096
"""Read in pieces so small that a flood cannot make one step long."""


class CallerLeft(RemoteProtocolError):
    """The connection ended, or the switch stopped answering, before the conversation was over."""


class AgiSession:
    """What a route can ask of the switch. Everything raises CallerLeft when the other end is gone."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, reply_deadline_s: float) -> None:
        self._reader = reader
        self._writer = writer
        self._reply_deadline_s = reply_deadline_s
        self._receiver = Receiver()
        self._messages: deque[Message] = deque()
        self.hung_up = False
        """Whether the channel was reported to be hung up."""
        self.secret = token(16)
        """What the switch notes on the channel whose conversation this is."""

    async def read_request(self) -> Request:
        """The header, proven to be all of it. Raises CallerLeft, RemoteProtocolError."""
        request = await self._next()
        assert isinstance(request, Request)  # the receiver begins with it
        if self._messages:
            raise RemoteProtocolError(f"something follows the header unasked: {self._messages[0]!r}")
        self._writer.write(proof(self.secret))
        check_proof(await self._result(), self.secret)
        return request

    async def set_variables(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Set channel variables, in this order, by one command. Raises LocalProtocolError (a value that cannot be
        written), RemoteProtocolError (not set, or only in part)."""
        if self._messages:
            raise RemoteProtocolError(f"an answer that nobody asked for: {self._messages[0]!r}")
        line = assigning(pairs)
        try:
            self._writer.write(line)
            async with asyncio.timeout(self._reply_deadline_s):
                await self._writer.drain()
                result = await self._result()
        except TimeoutError:
            raise CallerLeft(f"the variables: no answer within {self._reply_deadline_s:g} s") from None
        except ConnectionError as error:
            raise CallerLeft(f"the variables: {error}") from error
        check_assigned(result)

    async def _result(self) -> Result:
        while True:
            message = await self._next()
            if isinstance(message, Result):
                return message
            assert isinstance(message, HungUp)  # a receiver gives one request only
            self.hung_up = True

    async def _next(self) -> Message:
        while not self._messages:
            data = await self._reader.read(READ_BYTES)
            if not data:
                raise CallerLeft
            self._messages.extend(self._receiver.receive(data))
        return self._messages.popleft()
