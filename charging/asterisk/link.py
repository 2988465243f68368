"""The link to the switch: one connection after the other, for ever.

``run`` connects, logs in, asks whether Asterisk was restarted, lets the owner reconcile while events are held
back in order, then delivers them one by one. It pings; a switch that does not answer in time is dropped, so a
half-open link is noticed within ``ping_interval_s + 2 * pong_deadline_s`` of its last word. Orders are never queued
while the link is down and never sent twice.

How proof of the past works: the switch writes what it has queued for us before it reads our next action, so when
the answer to a Ping is here, every event that the switch had queued when the Ping was sent has been delivered.
``proven_mono_us`` is the moment in which that Ping was *sent*. An event is queued a moment after the fact (stasis
hands it to the manager's thread; below 1 ms when idle), which is less than the tolerance everything is billed with.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn

import structlog

from charging.asterisk.connection import PING, Connection, ends_of
from charging.asterisk.far_end import FarEnd
from charging.asterisk.message import AmiMessage
from charging.asterisk.reply import Each, Fields, LinkSettings, LinkState, Order, Reply
from charging.asterisk.rights import missing_rights
from charging.clock import Clock
from charging.errors import ActionRefused, ActionTimeout, ChargingError, LinkDown, ShuttingDown, SwitchError
from charging.tasks import Tasks

MAX_HELD_EVENTS = 200_000
"""Events that arrive during reconciliation; more than this and it starts again."""

BESIDE_ADVICE = (
    "orders wait behind lists, and a warning may be whispered into silence; manager.conf: allowmultiplelogin = yes"
)

SUSPECTS_TOLD_EVERY_US = 60_000_000
SUSPECT_ADVICE = (
    "not obeyed; a SIP user with line breaks (%0d%0a) or an AMI of another make: see docs/attach.md, "
    "'What a stranger can write'"
)

ADVICE: dict[LinkState, str] = {
    LinkState.UNREACHABLE: "is Asterisk running, and do host and port match manager.conf?",
    LinkState.WRONG_SECRET: "make user and secret match manager.conf, then `manager reload`; check permit/deny",
    LinkState.PLAYED: (
        "end that program: it plays Asterisk to the daemon. If Asterisk has another user than before, restart charging"
    ),
    LinkState.FORBIDDEN: "grant the rights that config/asterisk/manager_charging.conf shows, then `manager reload`",
    LinkState.SHUTTING_DOWN: (
        "Asterisk refuses every order until its last call has ended: running calls are cut at their reserved end, "
        "though they could pay; `core abort shutdown` takes it back, and `charging drain` before it spares them"
    ),
    LinkState.LOST: "running calls go on until their reserved end; connecting again",
}

OnEvent = Callable[[AmiMessage], None]
OnUp = Callable[[bool], Awaitable[None]]

log = structlog.get_logger(__name__)


class _Failed(Exception):
    """This connection cannot be used; carries the state that says why."""

    def __init__(self, state: LinkState, detail: str) -> None:
        super().__init__(detail)
        self.state = state
        self.detail = detail


async def _open(connection: Connection, settings: LinkSettings, events: str, far_end: FarEnd) -> None:
    """Connect and log in. Raises _Failed."""
    try:
        await connection.open()
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        unknown_name = isinstance(error, socket.gaierror)
        said = os.strerror(error.errno) if error.errno and not unknown_name else error.strerror or str(error)
        reason = "no connection in time" if isinstance(error, TimeoutError) else said
        raise _Failed(LinkState.UNREACHABLE, f"{where}: {reason}") from error
    try:
        await _log_in(connection, settings, events, far_end)
    except ShuttingDown as error:
        raise _Failed(LinkState.SHUTTING_DOWN, str(error)) from error
    except ActionRefused as error:
        raise _Failed(LinkState.WRONG_SECRET, f"user {settings.username!r}: {error}") from error
    except (ActionTimeout, LinkDown) as error:
        raise _Failed(LinkState.UNREACHABLE, f"{error}; is this port AMI's?") from error


async def _log_in(connection: Connection, settings: LinkSettings, events: str, far_end: FarEnd) -> None:
    """Log in by challenge: whoever has taken the switch's port while it was restarted (any user of its machine can)
    never sees the password, and what he sees instead opens nothing. Nor can he hand it on to the switch, if it is on
    this machine: nobody logs in at another user's program. Raises SwitchError, _Failed."""
    wait_s = settings.login_timeout_s
    asked = await connection.action("Challenge", {"AuthType": "MD5"}, timeout_s=wait_s)
    if (ends := ends_of(connection)) is not None and (user := far_end.stranger(*ends)):
        where = f"{settings.host}:{settings.port}"
        raise _Failed(LinkState.PLAYED, f"user {user!r} has {where}, which was another's: `ss -ltnp` shows the program")
    proof = hashlib.md5(f"{asked.headers.get('Challenge')}{settings.secret}".encode(), usedforsecurity=False)
    login = {"AuthType": "MD5", "Username": settings.username, "Key": proof.hexdigest(), "Events": events}
    await connection.action("Login", login, timeout_s=wait_s)


class _Beside:
    """Another login without events, for what takes the switch long: no order waits behind it."""

    def __init__(self, settings: LinkSettings, on_suspect: Callable[[AmiMessage, str], None], far_end: FarEnd) -> None:
        self._settings = settings
        self._far_end = far_end
        self._on_suspect = on_suspect
        self._connection: Connection | None = None
        self._logging_in = asyncio.Lock()
        self._told = ""
        """Why it was refused, said once."""

    async def beside(self, first: Connection) -> Connection:
        """Return the other connection, or the first one if another login is refused. It stays open for the next
        time."""
        async with self._logging_in:
            if self._connection is not None and not self._connection.is_lost:
                return self._connection
            made = Connection(self._settings, lambda _event: None, self._on_suspect)
            try:
                await _open(made, self._settings, "off", self._far_end)
                self._connection = None if first.is_lost else made
            except _Failed as error:
                if error.detail != self._told:
                    self._told = error.detail
                    log.warning("ami_second_login_failed", detail=error.detail, advice=BESIDE_ADVICE)
            finally:
                if self._connection is not made:  # refused, cancelled, or the link was lost meanwhile
                    made.abort()
            return self._connection or first

    def end(self) -> None:
        """Close the connection; what comes next opens another."""
        if self._connection is not None:
            self._connection.abort()
            self._connection = None


class AmiLink:
    """Keeps the link up, sends orders and delivers events."""

    def __init__(
        self,
        settings: LinkSettings,
        clock: Clock,
        *,
        on_state: Callable[[LinkState, str], None] = lambda state, detail: None,
        on_suspect: Callable[[], None] = lambda: None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """``on_state`` is given every change of state; ``on_suspect`` every message that a stranger has written into,
        which is not obeyed. ``jitter`` returns numbers in [0, 1)."""
        self._settings = settings
        self._clock = clock
        self._on_event: OnEvent = lambda _message: None
        self._on_state = on_state
        self._on_suspect = on_suspect
        self._suspects_told_mono_us: int | None = None
        self._jitter = jitter
        self._connection: Connection | None = None
        self._far_end = FarEnd()
        self._lists = _Beside(settings, self._suspected, self._far_end)
        self._asides = _Beside(settings, self._suspected, self._far_end)
        self._held: deque[AmiMessage] | None = None
        self._state, self._detail = LinkState.STOPPED, ""
        self.switch_started: str = ""
        """When Asterisk says that it was started, in its own words; empty until known."""
        self.proven_mono_us: int | None = None
        """Everything that the switch queued before this moment has been delivered. ``None`` before the first."""

    @property
    def state(self) -> LinkState:
        return self._state

    @property
    def is_up(self) -> bool:
        return self._state is LinkState.UP

    @property
    def is_coming(self) -> bool:
        """Whether the link is not up yet and nothing has failed so far."""
        return self._state in (LinkState.STOPPED, LinkState.CONNECTING, LinkState.SYNCING)

    async def action(
        self,
        name: str,
        fields: Fields | None = None,
        *,
        timeout_s: float = 3.0,
        list_end: str | None = None,
        each: Each | None = None,
        aside: bool = False,
    ) -> Reply:
        """Send one action, once, now. ``list_end`` names the event that closes the list it is answered with. ``each``
        hears of the list's entries as they come, which are then not in the reply: there may be very many. Whether the
        list was whole is known at its end only. Such a list goes over a connection of its own, where there is one: a
        switch answers one connection's orders one after the other, and a list of 20,000 channels takes it a second.
        ``aside``: a party may keep the switch from answering (its channel's thread is busy for as long as a name in SDP
        is looked up); so it goes over a third connection, and is not sent if there is none (LinkDown).

        Raises LocalProtocolError (a line break in a value, or a pattern as channel; not sent), LinkDown (not
        sent, or lost before the answer), ActionTimeout (outcome unknown), ActionRefused (in the switch's words).
        """
        if (connection := self._connection) is None:
            raise LinkDown
        other = self._asides if aside else self._lists if each is not None else None
        if other is not None:
            first, connection = connection, await other.beside(connection)
            if aside and connection is first:
                raise LinkDown
        try:
            return await connection.action(name, fields or {}, timeout_s=timeout_s, list_end=list_end, each=each)
        except ActionTimeout:
            if other is not None:  # it may be half open, and nobody pings it
                other.end()
            raise

    async def actions(
        self, orders: Sequence[Order], *, timeout_s: float = 3.0, list_end: str | None = None
    ) -> list[Reply | SwitchError]:
        """Send several actions, each once, in one write. Returns each one's answer, or the error that `action` would
        have raised for it, in their order. ``list_end`` holds for each of them."""
        if self._connection is None:
            return [LinkDown()] * len(orders)
        return await self._connection.actions(orders, timeout_s=timeout_s, list_end=list_end)

    async def run(self, on_event: OnEvent, on_up: OnUp) -> NoReturn:
        """Keep the link up until cancelled.

        ``on_event`` is called in order of arrival and must be quick; what it raises is logged.

        ``on_up(restarted)`` reconciles after each login; orders work in it, events wait until it returns. If it
        raises a ChargingError the link is dropped and tried again; anything else ends ``run``. It is cancelled
        when the link is lost meanwhile. ``restarted`` is true when Asterisk was restarted since the last login.
        """
        self._on_event = on_event
        attempt = 0
        self._change(LinkState.CONNECTING, "")
        try:
            while True:
                was_up = await self._live_once(on_up)
                attempt = 0 if was_up else attempt + 1
                await self._clock.sleep_until(self._clock.now().plus(self._pause_s(attempt)).mono_us)
        finally:
            self._change(LinkState.STOPPED, "")

    def _pause_s(self, attempt: int) -> float:
        """The next pause, in seconds: it doubles up to a ceiling. Half of it is random, so that daemons do not all
        reconnect at once."""
        ceiling = min(self._settings.retry_max_s, self._settings.retry_min_s * 2.0 ** min(attempt, 30))
        return ceiling * (0.5 + 0.5 * self._jitter())

    async def _live_once(self, on_up: OnUp) -> bool:
        """Use one connection from beginning to end. Returns whether it was ever fully up."""
        connection = Connection(self._settings, self._received, self._suspected)
        failure: _Failed | None = None
        try:
            await self._log_in(connection)
            await self._serve(connection, on_up)
        except _Failed as error:
            failure = error
        finally:
            was_up = self.is_up
            self._connection = None
            connection.abort()
            self._lists.end()
            self._asides.end()
            self._release_held()
            if failure is not None:
                self._change(failure.state, failure.detail)
        return was_up

    async def _log_in(self, connection: Connection) -> None:
        self._held = deque()
        await _open(connection, self._settings, "on", self._far_end)
        self._connection = connection

    async def _serve(self, connection: Connection, on_up: OnUp) -> NoReturn:
        """Reconcile, then deliver, until the connection is lost; always ends by raising."""
        duties = Tasks()
        try:
            duties.begin(self._ping_for_ever(connection), "ami-ping")
            duties.begin(self._watch(connection), "ami-watch")
            duties.begin(self._synchronise(on_up), "ami-synchronise")
            await duties.failure()
        finally:
            await duties.end()

    async def _watch(self, connection: Connection) -> NoReturn:
        await connection.wait_lost()
        raise _Failed(LinkState.LOST, "the connection ended")

    async def _ping_for_ever(self, connection: Connection) -> NoReturn:
        while True:
            try:
                await self.prove()
                if self._state is LinkState.SHUTTING_DOWN:
                    connection.abort()
                    raise _Failed(LinkState.LOST, "Asterisk does not shut down after all; reconciling again")
            except ShuttingDown as error:
                # The connection lives, and reports how calls end. Nothing is proven, so nothing is charged or reserved.
                self._change(LinkState.SHUTTING_DOWN, str(error))
            except (ActionTimeout, ActionRefused) as error:
                connection.abort()
                raise _Failed(LinkState.LOST, f"half-open: {error}") from error
            except LinkDown as error:
                raise _Failed(LinkState.LOST, "the connection ended") from error
            next_ping = self._clock.now().plus(self._settings.ping_interval_s)
            await self._clock.sleep_until(next_ping.mono_us)

    async def prove(self) -> int:
        """Ping now. Returns the moment up to which the past is known (monotonic, µs), and keeps it as
        ``proven_mono_us``.

        While events are held back nothing is proven, and the former proof is returned (0 if there is none). Raises like
        ``action``.
        """
        sent_us = self._clock.now().mono_us
        await self.action(PING, timeout_s=self._settings.pong_deadline_s)
        if self._held is None:
            self.proven_mono_us = max(sent_us, self.proven_mono_us or 0)
        return self.proven_mono_us or 0

    async def _synchronise(self, on_up: OnUp) -> None:
        try:
            missing = missing_rights(await self.action("ListCommands"))
            if missing.needed:
                raise _Failed(LinkState.FORBIDDEN, f"not allowed: {', '.join(missing.needed)}")
            restarted = self._note_start(await self.action("CoreStatus"))
            self._change(LinkState.SYNCING, "")
            await on_up(restarted)
            self._release_held()
            await self.prove()  # who asks how fresh our knowledge is must not wait for the next ordinary Ping
        except ShuttingDown as error:
            raise _Failed(LinkState.SHUTTING_DOWN, str(error)) from error
        except SwitchError as error:
            raise _Failed(LinkState.LOST, f"while reconciling: {error}") from error
        except ChargingError as error:
            raise _Failed(LinkState.LOST, f"reconciliation failed: {error}") from error
        self._change(LinkState.UP, "Asterisk was restarted" if restarted else "")

    def _note_start(self, reply: Reply) -> bool:
        """Remember when Asterisk was started. Returns whether that has changed since the last login."""
        headers = reply.headers
        started = f"{headers.get('CoreStartupDate')} {headers.get('CoreStartupTime')}".strip()
        restarted = bool(self.switch_started) and started != self.switch_started
        self.switch_started = started
        return restarted

    def _received(self, message: AmiMessage) -> None:
        if self._held is None:
            self._deliver(message)
        elif len(self._held) < MAX_HELD_EVENTS:
            self._held.append(message)
        elif self._connection is not None:
            log.error("ami_held_events_overflowed", limit=MAX_HELD_EVENTS)
            self._connection.abort()

    def _release_held(self) -> None:
        """Deliver what was held back, in order; also when the link is lost: events are facts."""
        while self._held:
            self._deliver(self._held.popleft())
        self._held = None

    def _deliver(self, message: AmiMessage) -> None:
        try:
            self._on_event(message)
        except Exception:
            log.exception("ami_event_failed", ami_event=message.event)

    def _suspected(self, message: AmiMessage, why: str) -> None:
        """Count every suspect message; log one a minute, since a stranger can send any number."""
        self._on_suspect()
        now_us = self._clock.now().mono_us
        if self._suspects_told_mono_us is None or now_us - self._suspects_told_mono_us >= SUSPECTS_TOLD_EVERY_US:
            self._suspects_told_mono_us = now_us
            log.warning("ami_message_suspect", why=why, message=repr(message.headers)[:600], advice=SUSPECT_ADVICE)

    def _change(self, state: LinkState, detail: str) -> None:
        """Report a change of state once: in the log, with what to do, and to ``on_state``."""
        if (state, detail) == (self._state, self._detail):
            return
        self._state, self._detail = state, detail
        say = log.warning if state in ADVICE else log.info
        say("ami_link_changed", state=state.value, detail=detail, advice=ADVICE.get(state, ""))
        self._on_state(state, detail)
