"""The FastAGI server: one conversation a connection, all of it bounded, so that no client harms another.

If anything goes wrong here, no variable is set and the connection is closed: the dialplan then takes its own fallback.
Whoever has put lines into the header is turned away instead: no stranger chooses the fallback, whose message may be one
that nobody pays.
A flood of connections cannot shut real calls out. Asterisk sends its header and answers the first command at once; so
if all places are taken, the oldest connection that still owes these is dropped (`charging.door`). Only a conversation
that has delivered both gets a task, in which its route answers.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import NoReturn, Protocol

import structlog

from agi.port import Declined, Unproven
from agi.protocol import HungUp, Message, Receiver, Request, Result, assigning, check_assigned, check_proof, proof
from charging.asterisk import variables
from charging.clock import Clock, Deadlines
from charging.door import Admits, Door, DoorRefusal, Guest, listen
from charging.door import Observer as DoorObserver
from charging.errors import LocalProtocolError, RemoteProtocolError
from charging.log_limit import LogLimit
from charging.records import dataclass
from charging.tasks import end
from charging.unguessable import token

log = structlog.get_logger(__name__)

UNKNOWN_ROUTE = "unknown"
"""The name under which requests are counted that asked for nothing that exists."""
FOREIGN = ((variables.REASON, "foreign_header"), (variables.DECISION, "reject"))
"""What a call is told in whose header someone has written lines: it is not answered."""
TOLD_NAMES = 5
UNKNOWN_EVERY_S = 3600
"""A later Asterisk writes its new line into every call's header."""
READ_BYTES = 4096
"""Read in pieces so small that a flood cannot make one step long."""


@dataclass(frozen=True, slots=True)
class AgiLimits:
    """Limits of the server; times in seconds."""

    connections: int = 500
    header_s: float = 2.0
    """The header and the answer to the first command."""
    request_s: float = 5.0
    """From there to the last answer; the dialplan's own guard is shorter."""


class AgiOutcome(Enum):
    """How one connection ended, as the metrics count it."""

    ANSWERED = "answered"
    DECLINED = "declined"
    """Left to another daemon."""
    UNPROVEN = "unproven"
    """The switch, asked, knows of no such call."""
    CALLER_LEFT = "caller_left"
    HEADER_LATE = "header_late"
    FOREIGN_HEADER = "foreign_header"
    """Someone has put lines into the header, or it is not Asterisk who asks: turned away."""
    BAD_REQUEST = "bad_request"
    UNKNOWN_ROUTE = "unknown_route"
    DEADLINE = "deadline"
    FAILED = "failed"
    CROWDED_OUT = "crowded_out"
    STOPPED = "stopped"


class CallerLeft(RemoteProtocolError):
    """The connection ended before the conversation was over."""


class Route(Protocol):
    """Answers one kind of request."""

    async def __call__(self, request: Request, conversation: Conversation) -> None: ...


Observer = Callable[[str, AgiOutcome, float], None]
"""Called at the end of every connection with its route (or ``unknown``), how it ended, how many seconds it took."""


class AgiServer:
    """Listens, reads headers and runs routes."""

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
        """``admits`` says which addresses may ask; ``turned`` is given the reason for each that is not admitted."""
        self.routes = dict(routes)
        self.clock = clock
        self.limits = limits or AgiLimits()
        self.observer = observer
        self.open: set[Conversation] = set()
        self.to_prove: Deadlines[Conversation] = Deadlines(self.limits.header_s, Conversation.late)
        self.to_answer: Deadlines[Conversation] = Deadlines(self.limits.request_s, Conversation.late)
        self._log_limit = LogLimit(clock)
        self._unknown_limit = LogLimit(clock, lines=1, seconds=UNKNOWN_EVERY_S)
        self._admits = admits
        self._turned = turned
        self._door: Door | None = None
        self._doorman: asyncio.Task[NoReturn] | None = None

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self.open)

    @property
    def port(self) -> int:
        """The number of the port that it listens on; if it was started with port 0, the one that the system chose."""
        assert self._door is not None, "not started"
        return self._door.port

    async def start(self, host: str, port: int, handed: Sequence[socket.socket] = ()) -> Sequence[socket.socket]:
        """Begin to listen, by sockets that were ``handed`` to this process where they are on that address. Returns
        those that it listens on. Raises CannotServe if the address is taken."""
        listeners = listen(host, port, "agi", handed)
        limit = self.limits.connections
        self._door = Door("agi", listeners, self.clock, limit=limit, admits=self._admits, observe=self._turn)
        self._doorman = asyncio.create_task(self._door.serve(self._converse), name="agi-door")
        return listeners

    async def serve(self) -> None:
        """Return once the server is closed. Raises what ended its door: no call is let in from then on, and only a new
        process mends that."""
        assert self._doorman is not None, "not started"
        await asyncio.wait([self._doorman])
        if not self._doorman.cancelled():
            self._doorman.result()

    async def close(self) -> None:
        """Stop listening, end all conversations, and return when they have ended."""
        if self._doorman is not None and self._door is not None:
            await end([self._doorman])
            self._door.close()
        for one in [*self.open]:
            if one.task is None:  # else it could prove its request, and its route begin, while the others end
                one.end(AgiOutcome.STOPPED)
        await end([one.task for one in self.open if one.task is not None])
        for one in [*self.open]:  # it was stopped before its route began
            one.end(AgiOutcome.STOPPED)

    def say(self, level: str, event: str, **fields: object) -> None:
        """Log an event that any client can cause, sparingly; the metric counts each."""
        if (more := self._log_limit.more(event)) is not None:
            getattr(log, level)(event, **fields, more=more)

    def say_unknown(self, names: Sequence[str]) -> None:
        """Log which lines of a header have names that are not known, once an hour."""
        if (more := self._unknown_limit.more("agi_header_line_unknown")) is not None:
            log.warning("agi_header_line_unknown", names=names[:TOLD_NAMES], more=more)

    def _turn(self, why: DoorRefusal) -> None:
        if why is DoorRefusal.FULL:
            self.observer(UNKNOWN_ROUTE, AgiOutcome.CROWDED_OUT, 0.0)
        self._turned(why)

    def _converse(self, guest: Guest, connection: socket.socket) -> None:
        Conversation(self, guest, connection)


class Conversation:
    """One connection. It sends two commands, a proof and the answer; one deadline counts at a time.

    It reads its socket itself, since each connection carries three short messages, and asyncio's transport would cost
    as much as all of them.
    """

    def __init__(self, server: AgiServer, guest: Guest, connection: socket.socket) -> None:
        self.secret = token(16)
        """What the switch notes on the channel whose conversation this is."""
        self.hung_up = False
        """Whether the channel was reported to be hung up."""
        self.has_answered = False
        """Whether any part of an answer was sent."""
        self.task: asyncio.Task[None] | None = None
        """In which the route answers, once the request is proven."""
        self._server = server
        self._guest = guest
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._receiver = Receiver()
        self._request: Request | None = None
        self._reply: asyncio.Future[Result] | None = None
        """What the switch answers to the command that was written last."""
        self._fault: RemoteProtocolError | None = None
        """Why nothing more is read: what was heard, or that the other end has gone."""
        self._route = UNKNOWN_ROUTE
        self._began = server.clock.now()
        self._is_late = False
        self._is_turned_away = False
        self._has_begun = False
        """Whether its route has: a task may be stopped before its first step."""
        self._is_over = False
        server.to_prove.begin(self)
        self._loop.add_reader(connection.fileno(), self._readable)
        server.open.add(self)
        guest.came(self)

    async def set_variables(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Set channel variables, in this order, by one command. Raises LocalProtocolError (a value cannot be written),
        CallerLeft, or RemoteProtocolError (nothing was set, or only a part)."""
        line = assigning(pairs)
        if self._fault is not None:
            raise self._fault
        self._reply = self._loop.create_future()
        self.has_answered = True
        self._write(line)
        check_assigned(await self._reply)

    def abort(self) -> None:
        """Make room for a newer connection."""
        self.end(AgiOutcome.CROWDED_OUT)

    def end(self, outcome: AgiOutcome) -> None:
        """Close the connection, once, and report its outcome."""
        if self._is_over:
            return
        self._is_over = True
        (self._server.to_prove if self.task is None else self._server.to_answer).end(self)
        if self._fault is None:
            self._loop.remove_reader(self._connection.fileno())
        self._connection.close()
        self._guest.left()
        self._server.open.discard(self)
        # A fault knows its frames, and these know this: only a search for garbage would free such a circle.
        self._fault = self._reply = None
        self._server.observer(self._route, outcome, self._began.seconds_until(self._server.clock.now()))

    # --- the socket -----------------------------------------------------------------------------------------------

    def _readable(self) -> None:
        try:
            data = self._connection.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._unheard(CallerLeft(str(error)))
            return
        if not data:
            self._unheard(CallerLeft("the connection was closed"))
            return
        if self._is_turned_away:
            return
        try:
            for message in self._receiver.receive(data):
                self._heard(message)
        except RemoteProtocolError as error:
            self._unheard(error)

    def _write(self, line: bytes) -> None:
        """Send one line. Raises CallerLeft: the socket takes so short a line at once, or the other end is gone."""
        try:
            sent = self._connection.send(line)
        except OSError as error:
            raise CallerLeft(str(error)) from error
        if sent < len(line):
            raise CallerLeft("the other end takes nothing")

    def _unheard(self, error: RemoteProtocolError) -> None:
        """Stop reading, for this reason."""
        if self._is_over:
            return
        if self._is_turned_away:
            self.end(AgiOutcome.FOREIGN_HEADER)
            return
        if self.task is None and not isinstance(error, CallerLeft):
            self._server.say("error", "agi_header_foreign", error=str(error), peer=self._peer())
            self._turn_away()
            return
        self._loop.remove_reader(self._connection.fileno())
        self._fault = error
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(error)
        elif self.task is None:
            self.end(AgiOutcome.CALLER_LEFT)

    def _turn_away(self) -> None:
        """Have the dialplan turn the caller away. Asterisk writes its whole header before it reads this, however long,
        so what it still says is let pass until it closes, or is late: were it closed on, it would read nothing."""
        self._is_turned_away = True
        try:
            self._write(assigning(FOREIGN))
            self._connection.shutdown(socket.SHUT_WR)
        except (CallerLeft, OSError):
            self.end(AgiOutcome.FOREIGN_HEADER)

    def _peer(self) -> str:
        try:
            return str(self._connection.getpeername()[0])
        except OSError:
            return "unknown"

    # --- what the switch says -------------------------------------------------------------------------------------

    def _heard(self, message: Message) -> None:
        if self._is_over:
            return
        if isinstance(message, HungUp):
            self.hung_up = True
        elif isinstance(message, Request):
            self._request = message
            self._write(proof(self.secret))
        elif self.task is None and self._request is not None:
            self._prove(self._request, message)
        elif self._reply is not None and not self._reply.done():
            self._reply.set_result(message)
        else:
            raise RemoteProtocolError(f"an answer that nobody asked for: {message!r}")

    def _prove(self, request: Request, answer: Result) -> None:
        """Check the first answer. If it is the proof's, the request was read to its end, and its route begins."""
        check_proof(answer, self.secret)
        server = self._server
        self._guest.is_served()
        if request.unknown:
            server.say_unknown(request.unknown)
        route = server.routes.get(request.script)
        if route is None:
            server.say("warning", "agi_route_unknown", route=request.script[:80], known=sorted(server.routes))
            self.end(AgiOutcome.UNKNOWN_ROUTE)
            return
        self._route = request.script
        server.to_prove.end(self)
        server.to_answer.begin(self)
        self.task = self._loop.create_task(self._answer(route, request), name="agi")

    def late(self) -> None:
        """Its deadline has passed."""
        self._is_late = True
        if self.task is None:
            self.end(AgiOutcome.FOREIGN_HEADER if self._is_turned_away else AgiOutcome.HEADER_LATE)
            return
        self.task.cancel()
        if not self._has_begun:
            self.end(AgiOutcome.STOPPED)

    # --- the answer -----------------------------------------------------------------------------------------------

    async def _answer(self, route: Route, request: Request) -> None:
        self._has_begun, outcome = True, AgiOutcome.STOPPED
        try:
            await route(request, self)
            outcome = AgiOutcome.ANSWERED
        except asyncio.CancelledError:
            if not self._is_late:
                raise
            outcome = AgiOutcome.DEADLINE
            deadline_s = self._server.limits.request_s
            self._server.say("error", "agi_deadline_passed", route=request.script, deadline_s=deadline_s)
        except Exception as error:  # noqa: BLE001  whatever it is, it is logged, and ends this conversation alone
            outcome = self._failed(request, error)
        finally:
            self.end(outcome)

    def _failed(self, request: Request, error: Exception) -> AgiOutcome:
        """Log why the route gave no answer."""
        say, script = self._server.say, request.script
        match error:
            case Declined():
                say("info", "agi_request_declined", route=script, why=str(error))
                return AgiOutcome.DECLINED
            case Unproven():
                say("warning", "agi_call_unproven", route=script, error=str(error))
                return AgiOutcome.UNPROVEN
            case CallerLeft():
                say("info", "agi_caller_left", route=script, error=str(error))
                return AgiOutcome.CALLER_LEFT
            case RemoteProtocolError() | LocalProtocolError():
                say("warning", "agi_request_refused", route=script, error=str(error))
                return AgiOutcome.BAD_REQUEST
            case _:
                log.error("agi_route_failed", route=script, exc_info=error)
                return AgiOutcome.FAILED
