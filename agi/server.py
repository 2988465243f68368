"""The FastAGI server: one task a connection, everything bounded, so that no client harms another.

Whatever goes wrong here, nothing is set and the connection is closed: the dialplan then takes its own fallback.
A flood of connections cannot shut real calls out: Asterisk sends its header and answers its first command at once, so
when all places are taken the oldest connection that still owes them makes room (`charging.door`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NoReturn, Protocol

import structlog

from agi.port import Declined, Unproven
from agi.protocol import Request
from agi.session import AgiSession, CallerLeft
from charging.clock import Clock, Instant
from charging.door import Admits, Door, Guest, Sparing, Turned, listen
from charging.door import Observer as DoorObserver
from charging.errors import LocalProtocolError, RemoteProtocolError
from charging.tasks import end

log = structlog.get_logger(__name__)

UNKNOWN_ROUTE = "unknown"
"""The name under which requests are counted that asked for nothing that exists."""
CLOSE_DEADLINE_S = 1.0


@dataclass(frozen=True, slots=True)
class AgiLimits:
    """How much and how long; seconds."""

    connections: int = 500
    header_s: float = 2.0
    request_s: float = 5.0
    """The whole conversation; the dialplan's own guard is shorter."""
    reply_s: float = 1.5
    """The answer to one command."""


class AgiOutcome(Enum):
    """How one connection ended; what the metrics count."""

    ANSWERED = "answered"
    DECLINED = "declined"
    """Left to another daemon."""
    UNPROVEN = "unproven"
    """The switch, asked, knows of no such call."""
    CALLER_LEFT = "caller_left"
    HEADER_LATE = "header_late"
    FOREIGN_HEADER = "foreign_header"
    """Someone has put lines into the header, or it is not Asterisk who asks."""
    BAD_REQUEST = "bad_request"
    UNKNOWN_ROUTE = "unknown_route"
    DEADLINE = "deadline"
    FAILED = "failed"
    CROWDED_OUT = "crowded_out"
    STOPPED = "stopped"


class Route(Protocol):
    """What answers one kind of request."""

    async def __call__(self, request: Request, session: AgiSession) -> None: ...


Observer = Callable[[str, AgiOutcome, float], None]
"""Called at the end of every connection with its route (or ``unknown``), how it ended, how many seconds it took."""


class AgiServer:
    """Listens, reads headers, calls routes."""

    def __init__(
        self,
        routes: Mapping[str, Route],
        clock: Clock,
        *,
        limits: AgiLimits | None = None,
        admits: Admits = lambda peer, own: True,
        observer: Observer = lambda route, outcome, seconds: None,
        turned: DoorObserver = lambda why: None,
    ) -> None:
        """``admits`` says which addresses may ask; ``turned`` is given the reason for each that is not
        admitted."""
        self._routes = dict(routes)
        self._clock = clock
        self._sparing = Sparing(clock)
        self._limits = limits or AgiLimits()
        self._observer = observer
        self._admits = admits
        self._turned = turned
        self._door: Door | None = None
        self._doorman: asyncio.Task[NoReturn] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def connections(self) -> int:
        """How many are open now."""
        return sum(not task.done() for task in self._tasks)

    @property
    def port(self) -> int:
        """Where it listens; the system's choice if it was started with port 0."""
        assert self._door is not None, "not started"
        return self._door.port

    async def start(self, host: str, port: int) -> None:
        """Begin to listen. Raises CannotServe where the address is taken."""
        listeners = listen(host, port, "agi")
        limit = self._limits.connections
        self._door = Door("agi", listeners, self._clock, limit=limit, admits=self._admits, observe=self._turn)
        self._doorman = asyncio.create_task(self._door.serve(self._protocol), name="agi-door")

    async def close(self) -> None:
        """Stop listening, break off what runs, and return once all of it has ended."""
        if self._doorman is not None and self._door is not None:
            await end([self._doorman])
            self._door.close()
        await end(self._tasks)

    def _turn(self, why: Turned) -> None:
        if why is Turned.FULL:
            self._observer(UNKNOWN_ROUTE, AgiOutcome.CROWDED_OUT, 0.0)
        self._turned(why)

    def _protocol(self, guest: Guest) -> asyncio.StreamReaderProtocol:
        def came(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            guest.came(writer.transport)  # type: ignore[arg-type]  # a socket's transport reads, too
            conversation = _Conversation(guest, writer, self._clock.now())
            task = asyncio.get_running_loop().create_task(self._serve(reader, conversation), name="agi")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(lambda _task: self._ended(conversation))

        return asyncio.StreamReaderProtocol(asyncio.StreamReader(), came)

    async def _serve(self, reader: asyncio.StreamReader, conversation: _Conversation) -> None:
        try:
            session = AgiSession(reader, conversation.writer, reply_deadline_s=self._limits.reply_s)
            conversation.outcome = await self._converse(conversation, session)
        finally:
            conversation.over = self._clock.now()
            await _close(conversation.writer)

    def _ended(self, conversation: _Conversation) -> None:
        """Also of a connection whose task was stopped before its first step, which has closed nothing."""
        conversation.writer.transport.abort()
        conversation.guest.left()
        outcome = AgiOutcome.CROWDED_OUT if conversation.guest.crowded_out else conversation.outcome
        over = conversation.over or self._clock.now()
        self._observer(conversation.route, outcome, conversation.began.seconds_until(over))

    async def _converse(self, conversation: _Conversation, session: AgiSession) -> AgiOutcome:
        try:
            async with asyncio.timeout(self._limits.header_s):
                request = await session.read_request()
        except TimeoutError:
            return AgiOutcome.HEADER_LATE
        except (CallerLeft, ConnectionError):
            return AgiOutcome.CALLER_LEFT
        except RemoteProtocolError as error:
            self._say("error", "agi_header_foreign", error=str(error), peer=_peer(conversation.writer))
            return AgiOutcome.FOREIGN_HEADER
        conversation.guest.is_served()
        route = self._routes.get(request.script)
        if route is None:
            self._say("warning", "agi_route_unknown", route=request.script[:80], known=sorted(self._routes))
            return AgiOutcome.UNKNOWN_ROUTE
        conversation.route = request.script
        return await self._answer(route, request, session)

    async def _answer(self, route: Route, request: Request, session: AgiSession) -> AgiOutcome:
        try:
            async with asyncio.timeout(self._limits.request_s):
                await route(request, session)
        except TimeoutError:
            self._say("error", "agi_deadline_passed", route=request.script, deadline_s=self._limits.request_s)
            return AgiOutcome.DEADLINE
        except Declined as error:
            self._say("info", "agi_request_declined", route=request.script, why=str(error))
            return AgiOutcome.DECLINED
        except Unproven as error:
            self._say("warning", "agi_call_unproven", route=request.script, error=str(error))
            return AgiOutcome.UNPROVEN
        except CallerLeft as error:
            self._say("info", "agi_caller_left", route=request.script, error=str(error))
            return AgiOutcome.CALLER_LEFT
        except (RemoteProtocolError, LocalProtocolError) as error:
            self._say("warning", "agi_request_refused", route=request.script, error=str(error))
            return AgiOutcome.BAD_REQUEST
        except Exception:
            log.exception("agi_route_failed", route=request.script)
            return AgiOutcome.FAILED
        return AgiOutcome.ANSWERED

    def _say(self, level: str, event: str, **fields: object) -> None:
        """Log what anyone who reaches the port can bring about. The metric counts every one."""
        if (more := self._sparing.more(event)) is not None:
            getattr(log, level)(event, **fields, more=more)


@dataclass(slots=True)
class _Conversation:
    """What is known so far of one connection."""

    guest: Guest
    writer: asyncio.StreamWriter
    began: Instant
    route: str = UNKNOWN_ROUTE
    outcome: AgiOutcome = AgiOutcome.STOPPED
    over: Instant | None = None
    """When there was nothing more to say; closing may take longer."""


def _peer(writer: asyncio.StreamWriter) -> str:
    return str(writer.get_extra_info("peername", ("unknown",))[0])


async def _close(writer: asyncio.StreamWriter) -> None:
    """Close politely; a client that does not read its last bytes is cut off."""
    writer.close()
    try:
        async with asyncio.timeout(CLOSE_DEADLINE_S):
            await writer.wait_closed()
    except (OSError, asyncio.CancelledError):
        writer.transport.abort()
