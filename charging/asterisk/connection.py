"""One connection to the switch's manager interface, over panoramisk; used once, then thrown away.

panoramisk frames, parses and serialises. What it would do besides is taken from it here, because each of these
would cost money (ASTERISK.md §8): it re-sends unanswered actions after a reconnect, never times out, drops the
connection when a listener raises, tells lists and single answers apart by guessing, keeps what was never
answered, reconnects by itself and loses UTF-8 that is split between two segments.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import Future
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import structlog
from panoramisk.actions import Action
from panoramisk.ami_protocol import AMIProtocol
from panoramisk.manager import Manager
from panoramisk.message import Message

from charging.asterisk.message import AmiMessage
from charging.asterisk.reply import Fields, LinkSettings, Reply, check_sendable
from charging.errors import ActionRefused, ActionTimeout, LinkDown, LocalProtocolError

WIRE_ENCODING = "latin-1"
"""Maps every byte to one character, so nothing is lost between segments; values are read as UTF-8 afterwards."""
TEXT_ENCODING = "utf-8"
MAX_MESSAGE_BYTES = 1 << 20
"""An unfinished message larger than this is no AMI; the connection is dropped."""
MAX_LIST_EVENTS = 200_000
MAX_OUTSTANDING_ACTIONS = 2_000
PING = "Ping"
"""Never refused here: a link that is busy with our own orders is not half open."""
NO_HEADER = "content"
"""What panoramisk adds to every message for the output of CLI commands, which are never sent here."""
SUCCESSES = frozenset({"success", "follows", "goodbye", "pong"})

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Outstanding:
    """An action that waits for its answer."""

    name: str
    list_end: str | None
    future: Future[Reply]
    headers: AmiMessage | None = None
    events: list[AmiMessage] = field(default_factory=list)

    def wants(self, message: AmiMessage) -> bool:
        """Whether the message belongs to the answer; OriginateResponse carries the order's id and does not."""
        return not self.future.done() and (not message.event or self.list_end is not None)

    def add(self, message: AmiMessage) -> None:
        """Take one more message of the answer, and finish with the last one."""
        if not message.event:
            self._add_response(message)
        elif message.event == self.list_end:
            self.future.set_result(Reply(self.headers or message, tuple(self.events)))
        elif len(self.events) < MAX_LIST_EVENTS:
            self.events.append(message)
        else:
            self.future.set_exception(ActionRefused(f"{self.name}: more than {MAX_LIST_EVENTS} entries"))

    def _add_response(self, message: AmiMessage) -> None:
        if message.response.lower() not in SUCCESSES:
            self.future.set_exception(ActionRefused(f"{self.name}: {message.get('Message') or 'refused'}"))
        elif self.list_end is None:
            self.future.set_result(Reply(message))
        else:
            self.headers = message


class _Protocol(AMIProtocol):  # type: ignore[misc]  # panoramisk is not typed
    """Framing by panoramisk; what to do with a message is ours."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.queue and len(self.queue[-1]) > MAX_MESSAGE_BYTES:
            log.error("ami_message_too_large")
            self.transport.abort()

    def handle_message(self, message: Message) -> None:
        if self.factory is not None:
            self.factory.received(message)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if self.factory is not None:
            self.factory.connection_lost(exc)


class _OneShotManager(Manager):  # type: ignore[misc]  # panoramisk is not typed
    """A panoramisk manager that connects once, sends nothing by itself and hands every message on."""

    def __init__(self, settings: LinkSettings, received: Callable[[Message], None]) -> None:
        super().__init__(
            host=settings.host,
            port=settings.port,
            ssl=settings.tls or False,
            encoding=WIRE_ENCODING,
            protocol_factory=_Protocol,
            log=logging.getLogger("panoramisk"),
        )
        self.received = received
        self.lost: Future[Exception | None] = asyncio.get_running_loop().create_future()

    def connection_made(self, task: asyncio.Task[Any]) -> None:
        """A failed or cancelled connect is reported by the task itself; panoramisk would try again."""
        if task.cancelled() or task.exception() is not None:
            return
        super().connection_made(task)
        if self.lost.done():  # given up in the very moment in which it succeeded
            self.protocol.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.pinger is not None:
            self.pinger.cancel()
        if not self.lost.done():
            self.lost.set_result(exc)

    def ping(self) -> None:
        """The link sends its own pings, with a deadline for the answer."""


class Connection:
    """Sends actions and delivers events, until it is lost. Nothing survives it."""

    def __init__(self, settings: LinkSettings, on_event: Callable[[AmiMessage], None]) -> None:
        self._settings = settings
        self._on_event = on_event
        self._manager = _OneShotManager(settings, self._received)
        self._outstanding: dict[str, _Outstanding] = {}
        self._manager.lost.add_done_callback(self._fail_outstanding)

    @property
    def outstanding(self) -> int:
        """How many actions wait for an answer."""
        return len(self._outstanding)

    @property
    def is_lost(self) -> bool:
        return self._manager.lost.done()

    async def open(self) -> None:
        """Connect. Raises OSError (``TimeoutError`` among them) when nobody is there."""
        task: asyncio.Task[Any] = self._manager.connect()
        async with asyncio.timeout(self._settings.connect_timeout_s):
            await task
        assert self._manager.protocol is not None  # the task's own callback was queued before we woke up

    async def wait_lost(self) -> None:
        """Return once the connection is gone."""
        await asyncio.shield(self._manager.lost)

    def abort(self) -> None:
        """Drop the connection now, without waiting for the other end to agree."""
        protocol = self._manager.protocol
        if protocol is not None and not protocol.closed:
            protocol.transport.abort()
        elif not self.is_lost:
            self._manager.connection_lost(None)

    async def action(self, name: str, fields: Fields, *, timeout_s: float, list_end: str | None = None) -> Reply:
        """Send one action and wait for its answer, or for the whole list that ends with event ``list_end``.

        Raises LocalProtocolError (not sent), LinkDown (not sent, or the outcome is unknown), ActionTimeout
        (the outcome is unknown), ActionRefused (the switch said no, in these words).
        """
        check_sendable(name, fields)
        if self.is_lost or self._manager.protocol is None:
            raise LinkDown
        if len(self._outstanding) >= MAX_OUTSTANDING_ACTIONS and name != PING:
            raise ActionTimeout(f"{name}: not sent, {MAX_OUTSTANDING_ACTIONS} actions wait for an answer")
        action = Action({"Action": name} | {key: _on_wire(value) for key, value in fields.items()})
        if action.id in self._outstanding:
            raise LocalProtocolError(f"{name}: an action with the id {action.id!r} waits for its answer")
        future: Future[Reply] = asyncio.get_running_loop().create_future()
        self._outstanding[action.id] = _Outstanding(name, list_end, future)
        try:
            self._manager.protocol.transport.write(str(action).encode(WIRE_ENCODING))
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError:
            raise ActionTimeout(f"{name}: no answer within {timeout_s:g} s") from None
        finally:
            self._outstanding.pop(action.id, None)

    def _received(self, raw: Message) -> None:
        """Deliver one message. Never raises: that would drop the connection with the rest of the segment."""
        try:
            message = read(raw)
            waiting = self._outstanding.get(message.get("ActionID"))
            if waiting is not None and waiting.wants(message):
                waiting.add(message)
            elif message.event:
                self._on_event(message)
        except Exception:
            log.exception("ami_message_failed")

    def _fail_outstanding(self, _: Future[Exception | None]) -> None:
        for waiting in self._outstanding.values():
            if not waiting.future.done():
                waiting.future.set_exception(LinkDown(f"{waiting.name}: the link was lost before the answer"))


def _on_wire(value: str | Any) -> str | list[str]:
    """Text → one character per UTF-8 byte, as panoramisk is going to encode them."""
    if isinstance(value, str):
        return value.encode(TEXT_ENCODING).decode(WIRE_ENCODING)
    return [text.encode(TEXT_ENCODING).decode(WIRE_ENCODING) for text in value]


def read(raw: Message) -> AmiMessage:
    """panoramisk's message, with its values read as UTF-8 and repeated headers kept apart."""
    return AmiMessage(
        tuple((name, _text(value)) for name, values in raw.items() if name != NO_HEADER for value in _each(values))
    )


def _each(values: str | list[str]) -> list[str]:
    return values if isinstance(values, list) else [values]


def _text(value: str) -> str:
    return value.encode(WIRE_ENCODING, "replace").decode(TEXT_ENCODING, "replace")
