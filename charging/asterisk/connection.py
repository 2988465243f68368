"""One connection to the switch's manager interface, over panoramisk; used once, then thrown away.

panoramisk connects. What it would do besides is taken from it here, because each of these would
cost money (ASTERISK.md §8): it re-sends unanswered actions after a reconnect, never times out, drops the connection
when a listener raises, tells lists and single answers apart by guessing, keeps what was never answered, reconnects
by itself, loses UTF-8 that is split between two segments, and merges headers that come twice.

An answer is what names its action's id, which nobody can guess; what a stranger has written into an event or a list
(see `shape`) is told apart, counted, and never obeyed.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import Future
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, cast

import structlog
from panoramisk.ami_protocol import AMIProtocol
from panoramisk.manager import Manager

from charging.asterisk.far_end import Address
from charging.asterisk.message import AmiMessage
from charging.asterisk.numbers import whole
from charging.asterisk.reply import Each, Fields, LinkSettings, Order, Reply, check_sendable
from charging.asterisk.shape import LISTS, flaw
from charging.clock import Deadlines
from charging.errors import ActionRefused, ActionTimeout, LinkDown, LocalProtocolError, ShuttingDown, SwitchError
from charging.unguessable import token

ENCODING = "utf-8"
GREETING = b"Asterisk Call Manager/"
LINE_END = b"\r\n"
MESSAGE_END = b"\r\n\r\n"
READ_BYTES = 65_536
"""Of what the switch has sent, so much is told in a turn of the loop, and between two turns calls are decided. asyncio
hands over up to 256 KiB at once, with TLS and without it: some thousand messages, which take 50 ms. With much less, a
loaded loop would fall behind with the switch's words."""
MAX_MESSAGE_BYTES = 1 << 20
"""An unfinished message larger than this is no AMI; the connection is dropped."""
MAX_LIST_EVENTS = 200_000
MAX_OUTSTANDING_ACTIONS = 2_000
PATIENCE = 5
"""A Ping and a list are waited for as long as the switch goes on speaking, though for no more than so many deadlines:
what it says, and what we have to read, comes in order, and a long list takes its time. Who speaks is not half open."""
PING = "Ping"
"""Never refused here: a link that is busy with our own orders is not half open."""
SHUTTING_DOWN = "Asterisk is shutting down"
"""The answer to every action, Login and Ping too, from `core restart gracefully` on until the last call has ended."""
SUCCESSES = frozenset({"success", "follows", "goodbye", "pong"})

log = structlog.get_logger(__name__)


class _Together:
    """Actions whose answers are waited for together: one future for all of them."""

    def __init__(self, future: Future[None]) -> None:
        self.future = future
        self.left = 0
        """How many have no answer yet."""

    def come(self) -> None:
        """One more has its answer."""
        self.left -= 1
        if not self.left:
            self.end()

    def end(self) -> None:
        """Wait no longer."""
        if not self.future.done():
            self.future.set_result(None)


class _Part:
    """The answer to one of them: what is used of a future."""

    __slots__ = ("_answer", "_together")

    def __init__(self, together: _Together) -> None:
        self._together = together
        self._answer: Reply | BaseException | None = None

    def done(self) -> bool:
        return self._answer is not None

    def result(self) -> Reply:
        return cast(Reply, self._answer)

    def exception(self) -> BaseException | None:
        return self._answer if isinstance(self._answer, BaseException) else None

    def set_result(self, reply: Reply) -> None:
        self._answer = reply
        self._together.come()

    def set_exception(self, error: BaseException) -> None:
        self._answer = error
        self._together.come()


@dataclass(slots=True, eq=False)
class _Outstanding:
    """An action that waits for its answer."""

    name: str
    list_end: str | None
    future: Future[Reply] | _Part
    each: Each | None = None
    """Hears of a list's entries as they come; ``None``: they are in the reply."""
    come: int = 0
    """Entries of the list so far, and what is left of some."""
    headers: AmiMessage | None = None
    events: list[AmiMessage] = field(default_factory=list)
    suspects: list[AmiMessage] = field(default_factory=list)
    timer: asyncio.TimerHandle = field(init=False)
    """Of a Ping, and of a list that is asked for by itself."""

    def wants(self, message: AmiMessage) -> bool:
        """Whether the message belongs to the answer; OriginateResponse carries the order's id and does not."""
        return not self.future.done() and (not message.event or self.list_end is not None)

    @property
    def answer(self) -> Reply | SwitchError:
        """Return the answer when it is there."""
        error = self.future.exception()
        return self.future.result() if error is None else cast(SwitchError, error)

    def time_out(self, after_s: float) -> None:
        if not self.future.done():
            self.future.set_exception(ActionTimeout(f"{self.name}: no answer within {after_s:g} s"))

    def add(self, message: AmiMessage) -> None:
        """Take one more message of the answer; the last one completes it."""
        if message.response and not message.event:
            if self.headers is None:
                self._add_response(message)
            else:  # a list has one response: this is what is left of an entry
                self.add_suspect(message)
        elif message.event == self.list_end:
            self._close(message)
        else:
            self._keep(message, self.each or self.events.append)

    def add_suspect(self, message: AmiMessage) -> None:
        """Take a message that names this action and must not be believed. It is one entry of a list, or what is left of
        one; of any other answer, nothing is left to know."""
        if self.list_end is not None:
            self._keep(message, self.suspects.append)

    def _keep(self, message: AmiMessage, heard: Each) -> None:
        if self.come < MAX_LIST_EVENTS:
            heard(message)
            self.come += 1  # one that could not be read is missing, and spoils the list
        else:
            self.future.set_exception(ActionRefused(f"{self.name}: more than {MAX_LIST_EVENTS} entries"))

    def _close(self, message: AmiMessage) -> None:
        told = whole(message.get("ListItems"))
        if self.list_end in LISTS and told != self.come:
            self.future.set_exception(ActionRefused(f"{self.name}: {self.come} entries came of a list of {told}"))
        else:
            events, suspects = tuple(self.events), tuple(self.suspects)
            self.future.set_result(Reply(self.headers or message, events, suspects, message))

    def _add_response(self, message: AmiMessage) -> None:
        if message.response.lower() not in SUCCESSES:
            words = message.get("Message")
            kind = ShuttingDown if words == SHUTTING_DOWN else ActionRefused
            self.future.set_exception(kind(f"{self.name}: {words or 'refused'}"))
        elif self.list_end is None:
            self.future.set_result(Reply(message))
        else:
            self.headers = message


class _Protocol(AMIProtocol):  # type: ignore[misc]  # panoramisk is not typed
    """Bytes in, messages out. What to do with a message is not decided here."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._unread = bytearray()
        self._looked_at = 0
        self._is_greeted = False
        self._rests = False

    def data_received(self, data: bytes) -> None:
        self._unread += data
        if not self._is_greeted:
            self._skip_greeting()
        if not self._rests:
            self._read_on()

    def _read_on(self) -> None:
        """Tell READ_BYTES of what has come, with a rest until the loop's next turn if there is more; nothing further
        is taken from the network until all is told."""
        rested, self._rests, read = self._rests, False, 0
        while (end := self._unread.find(MESSAGE_END, self._looked_at)) >= 0:
            if read >= READ_BYTES:
                self._rests = True
                self.transport.pause_reading()
                asyncio.get_running_loop().call_soon(self._read_on)
                return
            block = bytes(self._unread[:end])
            del self._unread[: end + len(MESSAGE_END)]
            self._looked_at = 0
            read += end + len(MESSAGE_END)
            self._tell(block.strip(LINE_END).decode(ENCODING, "replace"))
        if rested:
            self.transport.resume_reading()
        self._looked_at = max(0, len(self._unread) - len(MESSAGE_END) + 1)
        if len(self._unread) > MAX_MESSAGE_BYTES:
            log.error("ami_message_too_large")
            self.transport.abort()

    def _skip_greeting(self) -> None:
        """Skip the greeting: it stands before the first message, without an empty line between."""
        line, end, _ = self._unread.partition(LINE_END)
        if end:
            self._is_greeted = True
            if line.startswith(GREETING):
                del self._unread[: len(line) + len(end)]
                self._looked_at = 0

    def _tell(self, text: str) -> None:
        if text and self.factory is not None:
            self.factory.received(AmiMessage.parse(text))

    def connection_lost(self, exc: Exception | None) -> None:
        while self._rests:  # what has come is told before the end
            self._read_on()
        self.closed = True
        if self.factory is not None:
            self.factory.connection_lost(exc)


class _OneShotManager(Manager):  # type: ignore[misc]  # panoramisk is not typed
    """A panoramisk manager that connects once, sends nothing by itself, and hands on every message."""

    def __init__(self, settings: LinkSettings, received: Callable[[AmiMessage], None]) -> None:
        super().__init__(
            host=settings.host,
            port=settings.port,
            ssl=settings.tls or False,
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
    """Sends actions and delivers events until it is lost. Nothing outlives it."""

    def __init__(
        self,
        settings: LinkSettings,
        on_event: Callable[[AmiMessage], None],
        on_suspect: Callable[[AmiMessage, str], None],
    ) -> None:
        """``on_suspect`` is given each message that is not obeyed, with what is wrong with it."""
        self._settings = settings
        self._on_event = on_event
        self._on_suspect = on_suspect
        self._manager = _OneShotManager(settings, self._received)
        self._outstanding: dict[str, _Outstanding] = {}
        self._unsent: list[bytes] = []
        """What was ordered in this turn of the loop: it is written at its end, by one call of the kernel."""
        self._heard = 0
        """Messages that the switch has sent."""
        self._deadlines = cache(_deadlines_of)
        """Of actions that are sent by themselves, by their length in seconds."""
        self._manager.lost.add_done_callback(self._fail_outstanding)

    @property
    def outstanding(self) -> int:
        """The number of actions that wait for an answer."""
        return len(self._outstanding)

    @property
    def is_lost(self) -> bool:
        return self._manager.lost.done()

    async def open(self) -> None:
        """Connect. Raises OSError (TimeoutError among them) if no switch answers."""
        task: asyncio.Task[Any] = self._manager.connect()
        async with asyncio.timeout(self._settings.connect_timeout_s):
            await task
        assert self._manager.protocol is not None  # the task's own callback was queued before we woke up

    async def wait_lost(self) -> None:
        """Return when the connection is lost."""
        await asyncio.shield(self._manager.lost)

    def abort(self) -> None:
        """Drop the connection now, without waiting for the other end."""
        protocol = self._manager.protocol
        if protocol is not None and not protocol.closed:
            protocol.transport.abort()
        elif not self.is_lost:
            self._manager.connection_lost(None)

    async def action(
        self, name: str, fields: Fields, *, timeout_s: float, list_end: str | None = None, each: Each | None = None
    ) -> Reply:
        """Send one action and wait for its answer, or for the whole list that ends with event ``list_end``. ``each``
        hears of the entries as they come; they are then not in the reply.

        Raises LocalProtocolError (not sent), LinkDown (not sent, or the outcome is unknown), ActionTimeout
        (the outcome is unknown), ActionRefused (the switch said no, in these words).
        """
        loop = asyncio.get_running_loop()
        future: Future[Reply] = loop.create_future()
        identity, waiting = self._begin(name, fields, list_end, future, loop)
        waiting.each = each
        is_patient = name == PING or list_end is not None
        deadlines = self._deadlines(timeout_s)
        if is_patient:
            waiting.timer = loop.call_later(timeout_s, self._late, waiting, timeout_s, PATIENCE, self._heard)
        else:
            deadlines.begin(waiting)
        try:
            return await future
        finally:
            if is_patient:
                waiting.timer.cancel()
            deadlines.end(waiting)
            self._outstanding.pop(identity, None)

    def _late(self, waiting: _Outstanding, timeout_s: float, patience: int, heard: int) -> None:
        """Its deadline has passed: give it another one, if the switch has said anything meanwhile."""
        if patience and self._heard > heard:
            loop, again = asyncio.get_running_loop(), (waiting, timeout_s, patience - 1, self._heard)
            waiting.timer = loop.call_later(timeout_s, self._late, *again)
        else:
            waiting.time_out(timeout_s)

    async def actions(
        self, orders: Sequence[Order], *, timeout_s: float, list_end: str | None = None
    ) -> list[Reply | SwitchError]:
        """Send several actions in one write, with one deadline for all. Returns each one's answer, or the error that
        :meth:`action` would have raised for it, in their order."""
        loop = asyncio.get_running_loop()
        together = _Together(loop.create_future())
        begun: list[tuple[str, _Outstanding] | SwitchError] = []
        for name, fields in orders:
            try:
                begun.append(self._begin(name, fields, list_end, _Part(together), loop))
            except SwitchError as error:
                begun.append(error)
            except LocalProtocolError as error:  # a fault of this order alone
                begun.append(ActionRefused(str(error)))
        sent = [one for one in begun if isinstance(one, tuple)]
        together.left = len(sent)
        timer = loop.call_later(timeout_s, together.end)
        try:
            if sent:
                await together.future
        finally:
            timer.cancel()
            for identity, waiting in sent:
                del self._outstanding[identity]
                waiting.time_out(timeout_s)
        return [one if isinstance(one, SwitchError) else one[1].answer for one in begun]

    def _begin(
        self,
        name: str,
        fields: Fields,
        list_end: str | None,
        future: Future[Reply] | _Part,
        loop: asyncio.AbstractEventLoop,
    ) -> tuple[str, _Outstanding]:
        """Write an action, and note that it waits for an answer."""
        check_sendable(name, fields)
        if self.is_lost or self._manager.protocol is None:
            raise LinkDown
        if len(self._outstanding) >= MAX_OUTSTANDING_ACTIONS and name != PING:
            raise ActionTimeout(f"{name}: not sent, {MAX_OUTSTANDING_ACTIONS} actions wait for an answer")
        headers = {"Action": name, "ActionID": token(16), **fields}
        identity = str(headers["ActionID"])
        if identity in self._outstanding:
            raise LocalProtocolError(f"{name}: an action with the id {identity!r} waits for its answer")
        order = _on_wire(name, headers)
        waiting = self._outstanding[identity] = _Outstanding(name, list_end, future)
        self._write(order, loop)
        return identity, waiting

    def _write(self, order: bytes, loop: asyncio.AbstractEventLoop) -> None:
        if not self._unsent:
            loop.call_soon(self._flush)
        self._unsent.append(order)

    def _flush(self) -> None:
        orders, self._unsent = b"".join(self._unsent), []
        if not self.is_lost:
            self._manager.protocol.transport.write(orders)

    def _received(self, message: AmiMessage) -> None:
        """Deliver one message. Never raises: an error would drop the connection with the rest of the segment."""
        try:
            self._heard += 1
            waiting = self._waiting_for(message)
            if wrong := flaw(message, None if waiting is None else waiting.list_end):
                if waiting is not None:
                    waiting.add_suspect(message)
                self._on_suspect(message, wrong)
            elif waiting is not None:
                waiting.add(message)
            elif message.event:
                self._on_event(message)
        except Exception:
            log.exception("ami_message_failed")

    def _waiting_for(self, message: AmiMessage) -> _Outstanding | None:
        """Find the action that this message names, even if a stranger wrote another action's id before it."""
        for identity in message.all("ActionID"):
            waiting = self._outstanding.get(identity)
            if waiting is not None and waiting.wants(message):
                return waiting
        return None

    def _fail_outstanding(self, _: Future[Exception | None]) -> None:
        for waiting in self._outstanding.values():
            if not waiting.future.done():
                waiting.future.set_exception(LinkDown(f"{waiting.name}: the link was lost before the answer"))


def _deadlines_of(seconds: float) -> Deadlines[_Outstanding]:
    return Deadlines(seconds, lambda waiting: waiting.time_out(seconds))


def _on_wire(name: str, headers: Fields) -> bytes:
    """A header for each value; an empty line ends them. Raises LocalProtocolError where a value is no text that can be
    sent: that ends this order alone, none of those that are written with it."""
    lines = [
        f"{name}: {value}\r\n"
        for name, values in headers.items()
        for value in ((values,) if isinstance(values, str) else values)
    ]
    try:
        return f"{''.join(lines)}\r\n".encode(ENCODING)
    except UnicodeEncodeError as error:
        raise LocalProtocolError(f"action {name!r}: it holds half a character") from error


def ends_of(connection: Connection) -> tuple[Address, Address] | None:
    """Our end and the other one; ``None`` where it is not connected, or has none."""
    protocol = connection._manager.protocol
    told = None if protocol is None else protocol.transport.get_extra_info
    ours, theirs = (None, None) if told is None else (told("sockname"), told("peername"))
    return (ours[:2], theirs[:2]) if ours and theirs else None
