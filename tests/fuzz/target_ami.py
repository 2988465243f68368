"""AMI: what a stranger writes into an event or a list is never obeyed (docs/attach.md, 'What a stranger can write').

The first byte chooses. 0 (of three): the rest is a stream of the switch. 1: it is what a caller writes into one of the
headers of a recorded event; the second and third byte say which. 2: likewise into an entry of a list.
"""

from __future__ import annotations

import asyncio
import atexit
import hashlib
from collections.abc import Iterator

from charging.asterisk.connection import MAX_MESSAGE_BYTES, Connection, _Outstanding, _Protocol
from charging.asterisk.control import channel_status, doubtful_statuses
from charging.asterisk.message import AmiMessage
from charging.asterisk.reply import LinkSettings, Reply
from charging.asterisk.shape import LISTS, SHAPES, flaw
from charging.asterisk.translate import translate
from charging.call.switch_events import SwitchEvent
from charging.errors import ActionRefused
from tests.fakes.ami import block, channel
from tests.fakes.recordings import ami_messages

NAMES = ("CallerIDNum", "CallerIDName", "ConnectedLineNum", "ConnectedLineName", "Exten", "DNID")
PREFIXES = ("", "Dest", "Spyee", "Spyer", "Target")
LONGEST = 79
"""Characters that Asterisk keeps of a number or a name."""
EVENTS = [
    each
    for name in ("answered_caller_hangs_up", "busy", "cut_by_quota", "whisper")
    for each in ami_messages(name)
    if each.event in SHAPES and translate(each) is not None and "CallerIDNum" in each
]
NEXT = next(each for each in EVENTS if each.event == "Hangup")
VARIABLES = (("ChanVariable", "CHARGING_SESSION=s-1"), ("ChanVariable", "CHARGING_LEG=caller"))
STATUS = AmiMessage(
    (
        ("Event", "Status"),
        ("Privilege", "Call"),
        *channel("1.2"),
        *VARIABLES,
        ("Type", "PJSIP"),
        ("DNID", "+31850000001"),
        ("BridgeID", ""),
        ("Seconds", "3"),
        ("Variable", "CHARGING_SESSION=s-1"),
        ("ActionID", "?"),
    )
)
RECORD = AmiMessage((("Event", "DBGetTreeResponse"), ("Key", "/charging/s-1"), ("Val", "v2|"), ("ActionID", "?")))


def read(data: bytes) -> None:
    for message in _received([b"\r\n", data, b"\r\n\r\n"]):
        if not flaw(message):
            translate(message)
    for end in LISTS:
        for message in _received([b"\r\n", data]):
            flaw(message, end)


def check(data: bytes) -> None:
    kind, place, which = data[:3].ljust(3, b"\0")
    if kind % 3 == 1:
        _check_event(data[3:], place, which)
    elif kind % 3 == 2:
        _check_list(data[3:], place)
    else:
        _check_stream(data[1:])


class _Transport(asyncio.Transport):
    is_aborted = False

    def abort(self) -> None:
        self.is_aborted = True


class _Factory:
    def __init__(self) -> None:
        self.messages: list[AmiMessage] = []

    def received(self, message: AmiMessage) -> None:
        self.messages.append(message)


def _received(pieces: list[bytes]) -> list[AmiMessage]:
    """What the connection makes of the pieces of a stream."""
    protocol = _Protocol()
    protocol.connection_made(_Transport())
    protocol.factory = factory = _Factory()
    for piece in pieces:
        protocol.data_received(piece)
    return factory.messages


def _check_stream(data: bytes) -> None:
    """How the network cuts it changes nothing, no message is an exception, and what is obeyed says each thing once."""
    messages = _received([data])
    cut = 1 + len(data) // 7
    assert messages == _received([data[at : at + cut] for at in range(0, len(data), cut)])
    assert len(data) < MAX_MESSAGE_BYTES
    for message in messages:
        event = translate(message)
        channel_status(message)
        if event is not None and not flaw(message):
            singles = [name.lower() for name, _ in message if "variable" not in name.lower()]
            assert len(singles) == len(set(singles)), message
            assert singles[0] == "event", message
            assert not message.stray_lines, message
    list(doubtful_statuses(messages))


def _words(data: bytes) -> bytes:
    """As Asterisk writes them: no NUL ends up in a C string, and only so many characters are kept."""
    return data.replace(b"\0", b"")[:LONGEST]


def _wire(message: AmiMessage, name: str = "", words: bytes = b"") -> bytes:
    """The message as it was sent, with ``words`` as the value of the header ``name``."""
    lines = (
        f"{header}: ".encode() + (words if header == name else value.encode()) + b"\r\n" for header, value in message
    )
    return b"".join(lines) + b"\r\n"


def _believed(messages: list[AmiMessage]) -> Iterator[SwitchEvent]:
    """What the daemon obeys: the messages that no action waits for, as the connection tells them apart."""
    for message in messages:
        if not flaw(message) and message.event and (event := translate(message)) is not None:
            yield event


def _check_event(data: bytes, place: int, which: int) -> None:
    original = EVENTS[place % len(EVENTS)]
    names = [prefix + name for prefix in PREFIXES for name in NAMES if prefix + name in original]
    messages = _received([_wire(original, names[which % len(names)], _words(data)) + _wire(NEXT)])
    true = [translate(original), translate(NEXT)]
    believed = list(_believed(messages))
    assert all(event in true for event in believed), f"a caller's words are obeyed: {believed}"
    assert believed[-1:] == [true[1]], "the event that follows is lost"


def _check_list(data: bytes, place: int) -> None:
    """An answer is refused, or it has the one entry that there is: itself, or marked as doubtful."""
    ours = hashlib.sha256(data).hexdigest()[:32]  # an id that nobody can guess
    tree = place % 2
    original, end = (RECORD, "DBGetTreeComplete") if tree else (STATUS, "StatusComplete")
    entry = AmiMessage((*original.headers[:-1], ("ActionID", ours)))
    name = "Val" if tree else ("CallerIDNum", "CallerIDName", "ConnectedLineNum", "Exten", "DNID")[place // 2 % 5]
    stream = (
        block(("Response", "Success"), ("ActionID", ours), ("EventList", "start"), ("Message", "follows"))
        + _wire(entry, name, _words(data))
        + block(("Event", end), ("ActionID", ours), ("EventList", "Complete"), ("ListItems", "1"))
        + _wire(NEXT)
    )
    reply, events = _answered(ours, end, stream)
    assert all(event in (NEXT, entry) for event in events if translate(event) is not None), events
    assert NEXT in events
    assert reply is not None, "a caller's words deny us the list"
    assert len(reply.events) + len(reply.suspects) == 1
    if not tree:
        statuses = [*map(channel_status, reply.events), *doubtful_statuses(reply.suspects)]
        assert [each for each in statuses if each.session == "s-1"], "a running call is not in the list"
        sure = [each for each in statuses if not each.is_doubtful]
        assert all(each == channel_status(entry) for each in sure), f"a caller's words are believed: {sure}"
    else:
        keys = {each.get("Key") for each in reply.events}
        assert all(key == RECORD.get("Key") or (key and key.encode() in data) for key in keys), keys


LOOP = asyncio.new_event_loop()
atexit.register(LOOP.close)


def _answered(ours: str, end: str, stream: bytes) -> tuple[Reply | None, list[AmiMessage]]:
    """What the answer to our action is (``None``: refused), and the events that are told beside it."""

    async def answered() -> tuple[Reply | None, list[AmiMessage]]:
        events: list[AmiMessage] = []
        settings = LinkSettings("127.0.0.1", 1, "user", "secret")
        connection = Connection(settings, events.append, lambda message, wrong: None)
        future: asyncio.Future[Reply] = LOOP.create_future()
        connection._outstanding[ours] = _Outstanding("Status", end, future)
        for message in _received([stream]):
            connection._received(message)
        assert future.done(), "the caller's words keep the list open"
        try:
            return future.result(), events
        except ActionRefused:
            return None, events

    return LOOP.run_until_complete(answered())
