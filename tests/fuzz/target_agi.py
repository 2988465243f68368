"""FastAGI: a header is proven to be Asterisk's own before it is a request (docs/security.md).

The first byte chooses: even, the rest is what a client sends; odd, it is what a caller writes into a header that
Asterisk wrote, and the second and third byte say into which of its lines, and where the network cuts the whole in two.
"""

from __future__ import annotations

import contextlib
import re
import shlex
from dataclasses import replace

from agi.protocol import (
    HEADER_NAMES,
    MAX_PENDING_BYTES,
    Message,
    Receiver,
    Request,
    Result,
    check_proof,
    command,
    proof,
)
from agi.routes import dial_status, is_withheld, number, printable, session_id
from charging.errors import LocalProtocolError, RemoteProtocolError
from tests.fakes.agi_client import evaluated
from tests.fakes.recordings import agi_bytes

RECORDED = agi_bytes("incoming", "<").partition(b"\n\n")[0] + b"\n\n"
FROM_THE_CALLER = (b"agi_callerid", b"agi_calleridname", b"agi_dnid", b"agi_rdnis")


def _request(data: bytes) -> Request:
    (message,) = Receiver().receive(data)
    assert isinstance(message, Request)
    return message


TRUE = _request(RECORDED)


def check(data: bytes) -> None:
    if data[:1] and data[0] % 2:
        _check_caller(data[3:].replace(b"\0", b""), *(data[1:3] if len(data) > 2 else (0, 0)))
    else:
        _check_client(data[1:])


def read(data: bytes) -> None:
    whole, piecemeal = Receiver(), Receiver()
    with contextlib.suppress(RemoteProtocolError):
        whole.receive(data)
    try:
        for at in range(0, len(data), 7):
            piecemeal.receive(data[at : at + 7])
    except RemoteProtocolError:
        pass


def _check_client(data: bytes) -> None:
    """What is read does not hang on how it was cut, and a request has Asterisk's lines."""
    whole, cut = _messages([data]), _messages([data[at : at + 5] for at in range(0, len(data), 5)])
    assert whole == cut, "the same bytes, cut otherwise, are read otherwise"
    if whole and isinstance(request := whole[0], Request):
        header = data.decode("utf-8", "replace").split("\n\n")[0].split("\r\n\r\n")[0].splitlines()
        lines = [line.partition(": ")[0] for line in re.split("\r*\n", data.decode("utf-8", "replace"))]
        names = [name for name in lines if name not in request.unknown]
        count = len(HEADER_NAMES) + len(request.arguments)
        assert names[:count] == [*HEADER_NAMES, *(f"agi_arg_{at + 1}" for at in range(len(request.arguments)))], header
        assert names[count] == "", "the header ends with the first empty line"
        _check_words(*request.arguments)
    _check_words(data.decode("utf-8", "replace"))


def _messages(pieces: list[bytes]) -> list[Message] | None:
    """``None``: refused."""
    receiver, found = Receiver(), []
    try:
        for piece in pieces:
            found += receiver.receive(piece)
    except RemoteProtocolError:
        return None
    return found


def _check_words(*words: str) -> None:
    for word in words:
        for reader, form in ((number, r"\+?[0-9]+"), (session_id, "[a-z0-9-]+"), (dial_status, "[A-Z_]*")):
            with contextlib.suppress(RemoteProtocolError):
                assert re.fullmatch(form, reader(word), re.ASCII)
        with contextlib.suppress(RemoteProtocolError):
            is_withheld(word)
        assert printable(word).isprintable()
        try:
            line = command("SET VARIABLE", word)
        except LocalProtocolError:
            continue
        assert line.count(b"\n") == 1 and line.endswith(b"\n"), "a value is never a second command"
        assert shlex.split(line.decode().removeprefix("SET VARIABLE ")) == [word]


class _Switch:
    """Both ends of the connection: Asterisk writes its whole header, then reads a command and answers it."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces

    def write(self, line: bytes) -> None:
        (text,) = shlex.split(line.decode().removeprefix("GET FULL VARIABLE "))
        self.pieces.append(f"200 result=1 ({evaluated(text)[0]})\n".encode())


def _check_caller(words: bytes, place: int, cut: int) -> None:
    """What a caller writes is never an argument, a channel or an answer; without a line break it does no harm."""
    name = FROM_THE_CALLER[place % len(FROM_THE_CALLER)]
    header = re.sub(rb"(?m)^" + name + b": .*$", lambda _: name + b": " + words, RECORDED)
    at = max(1, len(header) * cut // 256)
    try:
        request = _proven(_Switch([piece for piece in (header[:at], header[at:]) if piece]))
    except RemoteProtocolError:
        assert b"\n" in words or len(header) > MAX_PENDING_BYTES, "a call is not refused for how its caller is written"
    else:
        assert replace(request, unknown=()) == TRUE, "a caller has changed what the dialplan asks"


def _proven(switch: _Switch) -> Request:
    """The request, as `agi.server.Conversation` proves it."""
    receiver, secret, request = Receiver(), "0" * 32, None
    while switch.pieces:
        for message in receiver.receive(switch.pieces.pop(0)):
            if isinstance(message, Request):
                request = message
                switch.write(proof(secret))
            elif isinstance(message, Result):
                check_proof(message, secret)
                assert request is not None, "a receiver begins with the request"
                return request
    raise RemoteProtocolError("the header has no end")
