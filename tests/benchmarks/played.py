"""An Asterisk for load: thousands of calls at a time over real sockets, in the words of the real one's recordings.

It is the manager (:class:`PlayedAsterisk`, a `FakeAmi` that has calls), the dialplan that asks over FastAGI
(:class:`Asking`), the deadlines and the black box. As the real one does, it serves one manager connection in order:
while a long list is made, later answers and events of that connection wait.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from charging.asterisk import variables
from charging.asterisk.message import AmiMessage
from tests.benchmarks import played_words as words
from tests.fakes.agi_client import evaluated
from tests.fakes.ami import FakeAmi, block, listing, refusal, success

CHANNEL_S = 30e-6
"""How long the real one takes for one channel of a ``Status`` list: Asterisk 22.10 took 12 to 39 µs for each of 100 to
1,200 idle channels. Here the making of the text comes on top."""
LIST_STEP = 50
"""Channels of a list between two pauses."""
DELETES_AFTER_S = 0.005
PHASE = "CHARGING_PHASE"
"""How far the dialplan is with a call."""
SETTING = re.compile(r'EXEC MSet "(.*)"$')
GUARD_S = 3.0
"""The dialplan's own, as shipped."""
BACKSTOP_S = 5
"""What the dialplan adds to the caller's own deadline."""


@dataclass(slots=True, eq=False)
class PlayedCall:
    """One caller, and whom he reached."""

    uid: str
    callee_uid: str
    number: str
    caller: str
    over: asyncio.Future[None]
    variables: dict[str, str] = field(default_factory=dict)
    """Of the caller's channel; the subscriber's leg has inherited the session."""
    is_dialled: bool = False
    answered_ms: int | None = None
    ended_ms: int | None = None
    """Wall clock."""
    deadlines: dict[str, float] = field(default_factory=dict)
    """Unique id → when the switch cuts that channel, by the loop's clock."""
    timers: dict[str, asyncio.TimerHandle] = field(default_factory=dict)
    was_cut: bool = False

    @property
    def session(self) -> str:
        return self.variables.get(variables.SESSION, "")

    @property
    def decision(self) -> str:
        return self.variables.get(variables.DECISION, "")

    @property
    def is_over(self) -> bool:
        return self.over.done()

    @property
    def used_ms(self) -> int:
        """As the black box has it."""
        return 0 if self.answered_ms is None or self.ended_ms is None else self.ended_ms - self.answered_ms

    def names(self) -> dict[str, object]:
        return {
            "caller_channel": f"PJSIP/trunk-{self.uid.partition('.')[2]}",
            "callee_channel": f"PJSIP/trunk-{self.callee_uid.partition('.')[2]}",
            "uid": self.uid,
            "callee_uid": self.callee_uid,
            "caller": self.caller,
            "number": self.number,
            "session": self.session,
            "bridge": f"bridge-{self.uid}",
            "Timestamp": f"{time.time():.6f}",
        }


class PlayedAsterisk(FakeAmi):
    """A manager interface behind which there are calls."""

    _serials = itertools.count(1)
    """Of all calls in this process: no caller is at two of these at once."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[str, PlayedCall] = {}
        """By the unique id of each of their channels."""
        self.records: dict[str, str] = {}
        """AstDB's family of the black box."""
        self.asked: Counter[str] = Counter()
        """Actions, by name."""
        self.on_deadline: Callable[[PlayedCall, float], None] = lambda _call, _left_s: None
        """Hears of each order to cut a subscriber's leg, with the seconds that were left of the former one."""
        self._waiting: dict[asyncio.StreamWriter, list[bytes] | None] = {}
        """Connections that want events; while one is busy with a list, its events."""
        self.answers = {
            "Getvar": self._getvar,
            "Setvar": self._setvar,
            "Status": self._status,
            "DBGet": self._record,
            "DBGetTree": self._tree,
            "AbsoluteTimeout": self._deadline,
            "Hangup": self._hang_up,
            "Originate": self._originate,
        }

    # --- what callers do

    def ring(self, number: str, caller: str = "") -> PlayedCall:
        """A caller is in the dialplan, which is about to ask. Where none is named, each has a number of his own: of one
        caller no more than ``AT_ONCE_MAX`` are decided about at a time."""
        serial = next(self._serials) * 2
        caller = caller or f"+3120{serial % 10**7:07d}"
        uid, callee_uid = (f"{int(time.time())}.{one}" for one in (serial, serial + 1))
        call = PlayedCall(uid, callee_uid, number, caller, asyncio.get_running_loop().create_future())
        call.variables = {PHASE: "decide", variables.NUMBER: number, variables.LEG: "caller"}
        self.calls[uid] = call
        return call

    def dial(self, call: PlayedCall) -> None:
        """What the dialplan does with ``forward``."""
        call.is_dialled = True
        call.variables[PHASE] = "dial"
        self.calls[call.callee_uid] = call
        quota, ring_s = int(call.variables[variables.QUOTA]), int(call.variables.get(variables.RING_S, "30"))
        self._cut_in(call, call.uid, quota + ring_s + BACKSTOP_S)
        self._tell(words.DIALLED, call)

    def answer(self, call: PlayedCall) -> None:
        call.answered_ms = time.time_ns() // 1_000_000
        self._tell(words.ANSWER, call)
        self._cut_in(call, call.callee_uid, int(call.variables[variables.QUOTA]))

    def end(self, call: PlayedCall, *, is_cut: bool = False) -> None:
        """Someone hangs up, or the switch does."""
        if call.is_over:
            return
        call.was_cut = is_cut
        call.ended_ms = time.time_ns() // 1_000_000
        for timer in call.timers.values():
            timer.cancel()
        for uid in (call.uid, call.callee_uid):
            self.calls.pop(uid, None)
        self._note(call)
        said = words.ENDED if call.answered_ms is not None else words.LEFT if call.is_dialled else words.GONE
        self._tell(said, call)
        call.over.set_result(None)

    def live(self) -> list[PlayedCall]:
        """The calls that talk now."""
        return [call for uid, call in self.calls.items() if uid == call.callee_uid and call.answered_ms is not None]

    # --- what the switch does

    def _tell(self, template: str, call: PlayedCall) -> None:
        data = (template % call.names()).encode()
        for writer, held in self._waiting.items():
            if held is None:
                writer.write(data)
            else:
                held.append(data)

    def _note(self, call: PlayedCall) -> None:
        assert call.ended_ms is not None
        key = call.session or f"{variables.NO_SESSION_PREFIX}{call.uid}"
        template = words.LEFT_RECORD if call.answered_ms is None else words.ANSWERED_RECORD
        told = {"answered": _stamp(call.answered_ms or 0), "ended": _stamp(call.ended_ms)}
        told |= {"caller": call.caller, "number": call.number, "switch": call.variables.get(variables.SWITCH, "")}
        text = template % told
        if not call.is_dialled:
            text = text.replace("|dial=CANCEL|", "|dial=|")
            text = text.replace("|phase=dial|", f"|phase={call.variables[PHASE]}|")
            text = text.replace("|decision=forward|", f"|decision={call.decision}|")
        self.records[key] = text

    def _cut_in(self, call: PlayedCall, uid: str, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        if (former := call.timers.get(uid)) is not None:
            former.cancel()
        call.deadlines[uid] = loop.time() + seconds
        call.timers[uid] = loop.call_later(seconds, lambda: self.end(call, is_cut=True))

    # --- what the manager answers

    async def _handle(self, message: AmiMessage, writer: asyncio.StreamWriter) -> None:
        name = message.get("Action")
        self.asked[name] += 1
        if name == "Login" and message.get("Events") != "off":
            self._waiting[writer] = None
        if name == "Status" and not message.get("Channel"):
            await self._every_channel(message, writer)
        else:
            for part in self._answer(name, message):
                writer.write(part)
        await writer.drain()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await super()._serve(reader, writer)
        finally:
            self._waiting.pop(writer, None)

    async def _every_channel(self, message: AmiMessage, writer: asyncio.StreamWriter) -> None:
        """The list that takes long."""
        writer.write(success(message, ("EventList", "start"), ("Message", "Channel status will follow")))
        count = str(await self._listed(message, writer))
        end = ("EventList", "Complete"), ("ListItems", count), ("Items", count)
        writer.write(block(("Event", "StatusComplete"), ("ActionID", message.get("ActionID")), *end))
        self._told(writer)

    async def _listed(self, message: AmiMessage, writer: asyncio.StreamWriter) -> int:
        """Write the entries; their number. While this is made the connection does nothing else, until :meth:`_told`."""
        if writer in self._waiting:
            self._waiting[writer] = []
        asked, count = message.get("Variables"), 0
        identity = f"ActionID: {message.get('ActionID')}\r\n\r\n"
        everyone = list(self.calls.items())
        for first in range(0, len(everyone), LIST_STEP):
            alive = [(uid, call) for uid, call in everyone[first : first + LIST_STEP] if not call.is_over]
            count += len(alive)
            writer.write("".join(f"{self._entry(uid, call, asked)}{identity}" for uid, call in alive).encode())
            await asyncio.sleep(len(alive) * CHANNEL_S)
        return count

    def _told(self, writer: asyncio.StreamWriter) -> None:
        """The list is over: the events that waited."""
        if held := self._waiting.get(writer):
            writer.write(b"".join(held))
        if writer in self._waiting:
            self._waiting[writer] = None

    def _entry(self, uid: str, call: PlayedCall, asked: str) -> str:
        leg = "caller" if uid == call.uid else "callee"
        up = call.answered_ms is not None
        template = words.ENTRIES[leg]
        if not up:
            state = ("4", "Ring") if leg == "caller" else ("5", "Ringing")
            template = template.replace("ChannelState: 6", f"ChannelState: {state[0]}")
            template = template.replace("ChannelStateDesc: Up", f"ChannelStateDesc: {state[1]}")
        left = self._left_s(call, uid)
        more = {"TimeToHangup": int(time.time() + left) if left else 0, "Seconds": 1}
        told = call.names() | more | ({} if up else {"bridge": ""})
        lines = (
            f"Variable: {name}={self._value(call, uid, name) or '(null)'}\r\n" for name in asked.split(",") if name
        )
        return f"{template % told}\r\n{''.join(lines)}"

    def _left_s(self, call: PlayedCall, uid: str) -> float:
        deadline = call.deadlines.get(uid)
        return 0.0 if deadline is None else max(0.001, deadline - asyncio.get_running_loop().time())

    def _value(self, call: PlayedCall, uid: str, name: str) -> str:
        if name == "TIMEOUT(absolute)":
            return f"{self._left_s(call, uid):.3f}"
        if uid == call.callee_uid and name == variables.LEG:
            return variables.LEG_CALLEE
        return call.variables.get(name, "")

    def _status(self, message: AmiMessage) -> Iterable[bytes]:
        call = self.calls.get(uid := message.get("Channel"))
        if call is None:
            return [refusal(message, "No such channel")]
        entry = self._entry(uid, call, message.get("Variables"))
        pairs = tuple(tuple(line.split(": ", 1)) for line in entry.rstrip("\r\n").split("\r\n"))
        return listing(message, "StatusComplete", [pairs])  # type: ignore[list-item]  # pairs by the split

    def _getvar(self, message: AmiMessage) -> Iterable[bytes]:
        call = self.calls.get(uid := message.get("Channel"))
        if call is None:
            return [refusal(message, "No such channel")]
        name = message.get("Variable")
        return [success(message, ("Variable", name), ("Value", self._value(call, uid, name)))]

    def _setvar(self, message: AmiMessage) -> Iterable[bytes]:
        call = self.calls.get(message.get("Channel"))
        if call is None:
            return [refusal(message, "No such channel")]
        call.variables[message.get("Variable")] = message.get("Value")
        return [success(message, ("Message", "Variable Set"))]

    def _deadline(self, message: AmiMessage) -> Iterable[bytes]:
        call = self.calls.get(uid := message.get("Channel"))
        if call is None:
            return [refusal(message, "No such channel")]
        if uid == call.callee_uid:
            self.on_deadline(call, self._left_s(call, uid))
        self._cut_in(call, uid, float(message.get("Timeout")))
        return [success(message, ("Message", "Timeout Set"))]

    def _hang_up(self, message: AmiMessage) -> Iterable[bytes]:
        call = self.calls.get(message.get("Channel"))
        if call is None:
            return [refusal(message, "No such channel")]
        asyncio.get_running_loop().call_soon(lambda: self.end(call, is_cut=True))
        return [success(message, ("Message", "Channel Hungup"))]

    def _record(self, message: AmiMessage) -> Iterable[bytes]:
        key = message.get("Key")
        if (found := self.records.get(key)) is None:
            return [refusal(message, "Database entry not found")]
        entry = ("Event", "DBGetResponse"), ("Family", "charging"), ("Key", key), ("Val", found)
        return listing(message, "DBGetComplete", [entry])

    def _tree(self, message: AmiMessage) -> Iterable[bytes]:
        found = self.records.items()
        entries = [(("Event", "DBGetTreeResponse"), ("Key", f"/charging/{key}"), ("Val", text)) for key, text in found]
        return listing(message, "DBGetTreeComplete", entries)

    def _originate(self, message: AmiMessage) -> Iterable[bytes]:
        """The maintenance extension, which deletes records; whatever else is ordered is not carried out."""
        if message.get("Context") == variables.MAINTENANCE_CONTEXT:
            self._delete(message)
        return [success(message, ("Message", "Originate successfully queued"))]

    def _delete(self, message: AmiMessage) -> None:
        keys = message.get("Variable").partition("=")[2].split(variables.FORGET_SEPARATOR)
        asyncio.get_running_loop().call_later(DELETES_AFTER_S, self._forget, keys)

    def _forget(self, keys: list[str]) -> None:
        for key in keys:
            self.records.pop(key, None)


def _stamp(ms: int) -> str:
    return f"{ms // 1000}.{ms % 1000:03d}"


class Asking(asyncio.Protocol):
    """One question of the dialplan over FastAGI, on a connection of its own as Asterisk does it."""

    def __init__(self, call: PlayedCall) -> None:
        self._call = call
        self._unread = b""
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # a socket's
        self._transport.write((words.AGI_HEADER % self._call.names()).encode())

    def data_received(self, data: bytes) -> None:
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            self._transport.write(self._obey(line.decode()))

    def connection_lost(self, _error: Exception | None) -> None:
        if not self.over.done():
            self.over.set_result(None)

    def _obey(self, command: str) -> bytes:
        if command.startswith("GET FULL VARIABLE "):
            value, name = evaluated(command[19:-1])
            if name:
                self._call.variables[name] = value
            return f"200 result=1 ({value})\n".encode()
        if (setting := SETTING.match(command)) is None:
            return b"510 Invalid or unknown command\n"
        for pair in setting[1].split(","):
            name, _, value = pair.partition("=")
            self._call.variables[name.lstrip("_")] = value
        return b"200 result=0\n"


async def ask(call: PlayedCall, port: int) -> float:
    """Have the daemon decide over a call; the seconds that its caller waited. Without a ``decision`` there was none:
    the connection was refused or closed, or the dialplan's guard let go of it."""
    begin, transport = time.perf_counter(), None
    try:
        async with asyncio.timeout(GUARD_S):
            connecting = asyncio.get_running_loop().create_connection(lambda: Asking(call), "127.0.0.1", port)
            transport, asking = await connecting
            await asking.over
    except (TimeoutError, ConnectionError):
        if transport is not None:
            transport.abort()
        call.variables.pop(variables.DECISION, None)
    if not call.decision:
        call.variables[PHASE] = variables.PHASE_FALLBACK
    return time.perf_counter() - begin
