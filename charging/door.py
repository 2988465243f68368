"""The door of a listener: who comes in, how many at a time, and who makes room.

Every port of the daemon has one, so that nobody who connects and says nothing takes the descriptors of the others:

- connections are accepted one at a time and counted; a listener never holds more than its limit (and the sum of all
  limits fits into the process: `charging.descriptors`);
- with all places taken, the one that has been idle for longest makes room for the newcomer: who has something to say
  says it at once. If none is idle, one that owes the rest of a request, or to take its answer, makes room for a
  newcomer whose address holds fewer places. An address that holds many takes none from one that holds few;
- a listener can keep places for those who have yet to say what they want, and for what must be answered always; and let
  in so many at a time, so that who comes again and again costs the process a small share;
- addresses that have no business here are turned away before they cost anything;
- without a descriptor left, accepting waits a moment and tries again. Callers stay in the system's queue meanwhile.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from enum import Enum
from itertools import chain
from typing import NoReturn, Protocol

import structlog

from charging import tcp_table
from charging.clock import Clock
from charging.errors import ChargingError
from charging.log_limit import LogLimit
from charging.sources import neighbourhood

log = structlog.get_logger(__name__)

BACKLOG = 1024
"""Connections that wait in the system's queue; it shortens this to its own limit."""
NO_DESCRIPTOR_WAIT_S = 0.1
AT_ONCE_MAX = 16
"""Let in in one turn of the loop: a flood must not hold it."""
ANY = ("0.0.0.0", "::")  # noqa: S104  what a listener is on that takes every address of the machine
PACE_S = 0.05
"""The rest after as many as are let in at a time."""
TURNS = 5
"""Of the loop, which a rest lasts too: in the first four whoever was let in is opened, and what he has said is read. On
a busy machine one may take longer than the rest, and he would make room for the next ones with his request unread."""
SHARE = 4
"""An address with more than such a part of the places takes none from an address with fewer."""
LOG_EVERY_S = 10
"""Each kind of refusal is logged at most so often; the metric counts every one."""

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class CannotServe(ChargingError):
    """The address to serve on cannot be had."""


class DoorRefusal(Enum):
    """Why someone is not, or no longer, let in; what the metric counts."""

    SOURCE = "source"
    """An address that has no business here."""
    FULL = "full"
    """Every place is taken by someone who is being served."""
    CROWDED_OUT = "crowded_out"
    """Was idle for longest when all places were taken, or owed something and its address held most of them."""
    SILENT = "silent"
    """Said nothing, or took nothing, for too long."""
    NO_DESCRIPTOR = "no_descriptor"
    """The process, or the machine, had no descriptor left."""


Admits = Callable[[str, str], bool]
"""Whether an address may come in; the second is our own one that it has reached. Empty for a Unix socket."""
Observer = Callable[[DoorRefusal], None]
Receive = Callable[["Guest", socket.socket], object]
"""Given each who is let in, with the connection, which does not block. Tells the guest that it came, and has left."""


class Abortable(Protocol):
    """A connection, as far as the door knows it."""

    def abort(self) -> None:
        """Close it at once; whoever serves it says `Guest.left`."""


class Guest:
    """One connection that was let in. Whoever serves it tells the door how it stands."""

    def __init__(self, door: Door, peer: str = "") -> None:
        """``peer``: its address, or its network (`charging.sources.neighbourhood`)."""
        self.peer = peer
        self._door = door
        self._connection: Abortable | None = None
        self._is_in = True
        self.crowded_out = False
        door.waiting[self] = None
        door.places[peer] += 1

    def came(self, connection: Abortable) -> None:
        """It is open, and idle."""
        self._connection = connection
        if self not in self._door.waiting:
            connection.abort()  # it had to make room before it was open

    def idle(self) -> None:
        """It has yet to say what it wants: it may have to make room."""
        self._door.busy.discard(self)
        self._door.owing.pop(self, None)
        self._door.waiting[self] = None

    def owes(self) -> None:
        """It is served, and the next step is its own: to send more, or to take what was sent to it."""
        if self in self._door.busy:
            self._door.owing[self] = None

    def owes_nothing(self) -> None:
        """The next step is ours."""
        self._door.owing.pop(self, None)

    def is_served(self, *, always: bool = False) -> bool:
        """It has said what it wants; it keeps its place. ``False``: it is cut off, for those that are left are kept for
        what is answered ``always``."""
        if self.waits and not always and not self._door.has_place:
            self._door.turn(DoorRefusal.FULL)
            self._abort()
            return False
        if self.waits:
            del self._door.waiting[self]
            self._door.busy.add(self)
        return True

    def was_silent(self) -> None:
        """It was too slow, and is cut off."""
        self._door.turn(DoorRefusal.SILENT)
        self._abort()

    def make_room(self) -> None:
        """It is cut off for someone else."""
        self.crowded_out = True
        self._door.turn(DoorRefusal.CROWDED_OUT)
        self._abort()

    def left(self) -> None:
        """It is closed."""
        if not self._is_in:
            return
        self._is_in = False
        self._connection = None  # who holds us: both are freed at once, and leave the collector nothing to search for
        self._door.waiting.pop(self, None)
        self._door.busy.discard(self)
        self._door.owing.pop(self, None)
        self._door.places[self.peer] -= 1
        if not self._door.places[self.peer]:
            del self._door.places[self.peer]

    @property
    def waits(self) -> bool:
        """Whether it is idle."""
        return self in self._door.waiting

    def _abort(self) -> None:
        connection = self._connection
        self.left()
        if connection is not None:
            connection.abort()


class Door:
    """One listener's door, on one or several sockets."""

    def __init__(
        self,
        name: str,
        listeners: Sequence[socket.socket],
        clock: Clock,
        *,
        limit: int,
        reserve: int = 0,
        pace: int = 0,
        admits: Admits = lambda peer, own: True,
        observe: Observer = lambda turned: None,
    ) -> None:
        """``reserve``: so many of the ``limit`` are held by nothing but what is answered always. ``pace``: so many are
        let in before each rest of PACE_S; 0: all, at once."""
        self.waiting: dict[Guest, None] = {}
        """In the order in which they fell idle."""
        self.busy: set[Guest] = set()
        self.owing: dict[Guest, None] = {}
        """Those of them who owe something, in the order in which they came to."""
        self.places: Counter[str] = Counter()
        """How many each address holds."""
        self._name = name
        self._listeners = listeners
        self._limit = limit
        self._reserve = reserve
        self._pace = pace
        self._admits = admits
        self._observe = observe
        self.stands_for_many: Callable[[str], bool] = lambda peer: True
        """Whether an address is a proxy's, say, and may have all places; any other has half of them."""
        self._log_limit = LogLimit(clock, 1, LOG_EVERY_S)

    @property
    def port(self) -> int:
        """The number of the port on which it listens; the system's choice if port 0 was asked for."""
        return int(self._listeners[0].getsockname()[1])

    @property
    def has_place(self) -> bool:
        """Whether one more may be served."""
        return len(self.busy) < self._limit - self._reserve

    async def serve(self, receive: Receive) -> NoReturn:
        """Let guests in until cancelled; those who are in stay. Raises what ``receive`` raises."""
        loop = asyncio.get_running_loop()
        broken: asyncio.Future[NoReturn] = loop.create_future()
        knocks = [_Knocks(self, one, receive, broken, self._pace) for one in self._listeners]
        try:
            for one in knocks:
                one.wait()
            await broken
            raise AssertionError("it has no result")
        finally:
            for one in knocks:
                one.end()

    def close(self) -> None:
        """Listen no more."""
        for listener in self._listeners:
            listener.close()

    def enter(self, peer: str, own: str) -> Guest | None:
        """Give a connection from ``peer`` to our address ``own`` a place; ``None``: it has to go."""
        if not self._admits(peer, own):
            self.turn(DoorRefusal.SOURCE, peer)
            return None
        source = neighbourhood(peer)
        if self.places[source] >= max(1, self._limit // 2) and not self.stands_for_many(peer):
            goes = next((one for one in chain(self.waiting, self.owing) if one.peer == source), None)
        elif len(self.waiting) + len(self.busy) < self._limit:
            return Guest(self, source)
        else:
            goes = self._who_goes(source)
        if goes is None:
            self.turn(DoorRefusal.FULL, peer)
            return None
        goes.make_room()
        return Guest(self, source)

    def _who_goes(self, peer: str) -> Guest | None:
        """Who makes room for a newcomer: the one that has been idle for longest, unless the newcomer's address holds a
        large share already, and more than that one's; else whoever is idle or owes something of the address that holds
        most places. ``None`` if the newcomer's would hold as many."""
        oldest = next(iter(self.waiting), None)
        if oldest is not None and self.places[peer] <= max(self._limit // SHARE, self.places[oldest.peer]):
            return oldest
        most = max(chain(self.waiting, self.owing), key=lambda one: self.places[one.peer], default=None)
        return most if most is not None and self.places[peer] + 1 < self.places[most.peer] else None

    def turn(self, why: DoorRefusal, peer: str = "") -> None:
        """Count and say that someone was turned away, or out."""
        self._observe(why)
        if (more := self._log_limit.more(why.value)) is not None:
            log.warning("connection_turned_away", listener=self._name, why=why.value, peer=peer, more=more)


class _Knocks:
    """Those who come to one of a door's sockets."""

    def __init__(
        self, door: Door, listener: socket.socket, receive: Receive, broken: asyncio.Future[NoReturn], pace: int
    ) -> None:
        self._door, self._listener, self._receive, self._broken = door, listener, receive, broken
        self._loop = asyncio.get_running_loop()
        self._pace = pace
        self._come = 0
        self._rest: asyncio.Handle | None = None
        self._has_addresses = listener.family != socket.AF_UNIX
        self._own = _address(listener) if self._has_addresses else ""
        """Our address of all that come here; empty: each has its own, for the listener is on all of them."""
        listener.setblocking(False)

    def wait(self) -> None:
        self._rest = None
        self._loop.add_reader(self._listener, self._heard)

    def end(self) -> None:
        self._loop.remove_reader(self._listener)
        if self._rest is not None:
            self._rest.cancel()

    def _heard(self) -> None:
        try:
            for _ in range(AT_ONCE_MAX):
                if not self._let_in():
                    break
        except Exception as error:  # noqa: BLE001  whatever it is, serve raises it
            self.end()
            if not self._broken.done():
                self._broken.set_exception(error)

    def _let_in(self) -> bool:
        """Whether there may be another one, who may come in now."""
        try:
            connection, sender = self._listener.accept()
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in _EXHAUSTED:
                self._door.turn(DoorRefusal.NO_DESCRIPTOR)
                self._wait_a_while(NO_DESCRIPTOR_WAIT_S)
                return False
            return True  # the caller has gone again, or the network has
        guest = self._door.enter(*self._addresses(connection, sender))
        if guest is not None:
            connection.setblocking(False)
            self._receive(guest, connection)
        else:
            connection.close()
        self._come += 1
        if self._pace and self._come % self._pace == 0:
            self._wait_a_while(PACE_S)
            return False
        return True

    def _addresses(self, connection: socket.socket, sender: tuple[str, ...]) -> tuple[str, str]:
        """The other end's and ours; empty where there are none."""
        return (sender[0], self._own or _address(connection)) if self._has_addresses else ("", "")

    def _wait_a_while(self, seconds: float) -> None:
        self._loop.remove_reader(self._listener)
        self._rest = self._loop.call_later(seconds, self._wait_so_long, TURNS)

    def _wait_so_long(self, turns: int) -> None:
        if turns:
            self._rest = self._loop.call_soon(self._wait_so_long, turns - 1)
        else:
            self.wait()


def _address(ours: socket.socket) -> str:
    """Of this end; empty where that is every address of the machine."""
    address = str(ours.getsockname()[0])
    return "" if address in ANY else address


def listen(host: str, port: int, section: str, handed: Sequence[socket.socket] = ()) -> list[socket.socket]:
    """A listening socket on every address of ``host``; ``section`` of charging.yaml names it. Those that were
    ``handed`` to us are used where they are on one. Raises CannotServe, with what to do, where one cannot be had.

    What they accept has their TCP_NODELAY: without it each request of a kept connection costs 40 ms.
    """
    listeners: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, address in dict.fromkeys((one[0], one[4]) for one in found):
            if (ours := next((one for one in handed if _is_on(one, family, address)), None)) is not None:
                listeners.append(ours)
                continue
            listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
            listeners.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
    except OSError as error:
        for listener in listeners:
            listener.close()
        key, advice = _listening_advice(error, section, port)
        said = f"{section}.{key}: cannot listen on {host}:{port}: {error.strerror or error}"
        raise CannotServe(f"{said}; {advice} in charging.yaml") from error
    return listeners


def _is_on(handed: socket.socket, family: int, address: tuple[object, ...]) -> bool:
    if handed.family != family or handed.getsockname()[:2] != address[:2]:
        return False
    return bool(handed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _listening_advice(error: OSError, section: str, port: int) -> tuple[str, str]:
    """Which key of the section is at fault, and what to do."""
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return (
            "host",
            f"name an address of this machine (`ip address` shows them), or 0.0.0.0 for all, under `{section}`",
        )
    if error.errno == errno.EACCES:
        advice = "choose a higher one, or let the daemon (CAP_NET_BIND_SERVICE: docs/security.md), under"
        return "port", f"a port below 1024 is root's; {advice} `{section}`"
    whose = f"user {user!r} has it; " if (user := listener_of(port)) else ""
    return "port", f"free it ({whose}`ss -ltnp` shows the program), or choose another host or port under `{section}`"


def listener_of(port: int) -> str:
    """The user who listens on a port of this machine; empty: nobody, or it is not known (no /proc)."""
    found = (row.uid for row in tcp_table.rows() if row.state == tcp_table.LISTENS and row.port == port)
    return next(map(tcp_table.user_name, found), "")
