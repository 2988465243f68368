"""A manager interface over real sockets, which can misbehave in every way that a real one was seen to.

Its answers have the form of Asterisk 22.10.1's, checked against ``tests/data/ami``.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Self

from charging.asterisk.message import AmiMessage
from charging.asterisk.reply import LinkSettings

BANNER = b"Asterisk Call Manager/11.0.0\r\n"
COMMANDS = (
    "AbsoluteTimeout",
    "CoreStatus",
    "DBGet",
    "DBGetTree",
    "Getvar",
    "Hangup",
    "ListCommands",
    "Originate",
    "Ping",
    "PlayDTMF",
    "Setvar",
    "Status",
)
CHALLENGE = "1683914127"
DEADLINE_S = 240.0

Answerer = Callable[[AmiMessage], Iterable[bytes]]


async def eventually(condition: Callable[[], object], what: str = "the condition") -> None:
    """Return once the condition holds; fail after a deadline."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110  the condition may depend on anything
            await asyncio.sleep(0.002)


def block(*pairs: tuple[str, str]) -> bytes:
    """One message as it stands on the wire."""
    return "".join(f"{name}: {value}\r\n" for name, value in pairs).encode() + b"\r\n"


@dataclass
class FakeAmi:
    """Plays Asterisk's manager to one client after the other."""

    secret: str = "right"
    commands: tuple[str, ...] = COMMANDS
    started: str = "12:00:00"
    silent_before_login: bool = False
    mute: set[str] = field(default_factory=set)
    """Actions that are read and never answered; ``*`` for all."""
    delay_s: dict[str, float] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    """Its own side's; ``None``: without TLS."""
    answers: dict[str, Answerer] = field(default_factory=dict)
    """Action → what is written for it, instead of ``Success``."""
    received: list[AmiMessage] = field(default_factory=list)
    connections_made: int = 0

    def __post_init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def listen(self) -> None:
        """Begin to listen, after a stop on the same port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse connections and drop those that there are."""
        if self._server is not None:
            self._server.close()
            self.drop()
            for task in self._tasks:
                task.cancel()  # what takes its time with an answer, too
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._server.wait_closed()
            self._server = None

    def settings(self, **changes: object) -> LinkSettings:
        """How a link reaches this server: quick to try again, patient enough for a busy machine."""
        defaults: dict[str, object] = {
            "host": "127.0.0.1",
            "port": self.port,
            "username": "charging",
            "secret": "right",
            "connect_timeout_s": 30.0,
            "login_timeout_s": 30.0,
            "ping_interval_s": 0.02,
            "pong_deadline_s": 30.0,
            "retry_min_s": 0.01,
            "retry_max_s": 0.02,
        }
        return LinkSettings(**(defaults | changes))  # type: ignore[arg-type]

    def drop(self) -> None:
        """Break every connection."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def send(self, data: bytes) -> None:
        """Write bytes to every client."""
        for writer in self._writers:
            writer.write(data)

    def event(self, name: str, *pairs: tuple[str, str], **headers: str) -> None:
        """Send an event to every client."""
        self.send(block(("Event", name), *headers.items(), *pairs))

    def names(self) -> list[str]:
        """The actions received, without pings."""
        return [name for each in self.received if (name := each.get("Action")) != "Ping"]

    def actions(self, name: str) -> list[AmiMessage]:
        return [each for each in self.received if each.get("Action") == name]

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections_made += 1
        self._writers.append(writer)
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if not self.silent_before_login:
                writer.write(BANNER)
            while True:
                raw = await reader.readuntil(b"\r\n\r\n")
                await self._handle(AmiMessage.parse(raw.decode()), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.transport.abort()

    async def _handle(self, message: AmiMessage, writer: asyncio.StreamWriter) -> None:
        self.received.append(message)
        name = message.get("Action")
        if self.silent_before_login or name in self.mute or "*" in self.mute:
            return
        await self._wait(self.delay_s.get(name, 0.0))
        for part in self._answer(name, message):
            writer.write(part)
        await writer.drain()

    def _wait(self, seconds: float) -> Awaitable[None]:
        return asyncio.sleep(seconds)

    def _answer(self, name: str, message: AmiMessage) -> Iterable[bytes]:
        if name in self.answers:
            return self.answers[name](message)
        return self._known(name, message)

    def _known(self, name: str, message: AmiMessage) -> Iterable[bytes]:
        if name == "Challenge":
            return [success(message, ("Challenge", CHALLENGE))]
        if name == "Login":
            return self._login(message)
        if name == "Ping":
            return [success(message, ("Ping", "Pong"), ("Timestamp", "1795262400.000001"))]
        if name == "ListCommands":
            return [success(message, *((command, "Does it.  (Priv: call,all)") for command in self.commands))]
        if name not in self.commands:
            return [refusal(message, "Permission denied")]
        if name == "CoreStatus":
            when = (("CoreStartupDate", "2026-11-21"), ("CoreStartupTime", self.started))
            return [success(message, *when, ("CoreCurrentCalls", "0"))]
        return [success(message)]

    def _login(self, message: AmiMessage) -> Iterable[bytes]:
        key = hashlib.md5(f"{CHALLENGE}{self.secret}".encode(), usedforsecurity=False).hexdigest()
        if (message.get("AuthType"), message.get("Key")) != ("MD5", key):
            return [refusal(message, "Authentication failed")]
        booted = block(
            ("Event", "FullyBooted"), ("Privilege", "system,all"), ("Uptime", "7"), ("Status", "Fully Booted")
        )
        return [success(message, ("Message", "Authentication accepted")), booted]


def channel(uid: str, prefix: str = "", **more: str) -> tuple[tuple[str, str], ...]:
    """The headers in which every event tells of a channel; ``more`` replaces some of them."""
    told = {
        "Channel": f"PJSIP/world-{uid}",
        "ChannelState": "6",
        "ChannelStateDesc": "Up",
        "CallerIDNum": "+31201234567",
        "CallerIDName": "<unknown>",
        "ConnectedLineNum": "<unknown>",
        "ConnectedLineName": "<unknown>",
        "Language": "en",
        "AccountCode": "",
        "Context": "charging-obey",
        "Exten": "s",
        "Priority": "9",
        "Uniqueid": uid,
        "Linkedid": uid,
    }
    return tuple((f"{prefix}{name}", value) for name, value in (told | more).items())


def status_entry(uid: str, *variables: str, bridge: str = "", **more: str) -> tuple[tuple[str, str], ...]:
    """One entry of a ``Status`` list."""
    return (
        ("Event", "Status"),
        ("Privilege", "Call"),
        *channel(uid, **more),
        ("Type", "PJSIP"),
        ("DNID", ""),
        ("EffectiveConnectedLineNum", "<unknown>"),
        ("TimeToHangup", "0"),
        ("BridgeID", bridge),
        ("Seconds", "3"),
        *(("Variable", variable) for variable in variables),
    )


def success(message: AmiMessage, *pairs: tuple[str, str]) -> bytes:
    """An answer that says yes."""
    return block(("Response", "Success"), ("ActionID", message.get("ActionID")), *pairs)


def refusal(message: AmiMessage, words: str) -> bytes:
    """An answer that says no."""
    return block(("Response", "Error"), ("ActionID", message.get("ActionID")), ("Message", words))


def listing(message: AmiMessage, end: str, entries: Iterable[tuple[tuple[str, str], ...]]) -> Iterable[bytes]:
    """A list: its announcement, its entries, its closing event."""
    identity = ("ActionID", message.get("ActionID"))
    yield success(message, ("EventList", "start"), ("Message", "Result will follow"))
    count = 0
    for entry in entries:
        count += 1
        yield block(*entry, identity)
    yield block(("Event", end), identity, ("EventList", "Complete"), ("ListItems", str(count)))
