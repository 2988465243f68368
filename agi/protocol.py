"""The AGI wire protocol, daemon's side: bytes in, frozen messages out; pure.

Asterisk connects and writes ``name: value`` lines up to an empty one. From then on we write one command a line and
it answers each with one of::

    200 result=1                        200 result=1 (a value)
    510 Invalid or unknown command      511 Command Not Permitted on a dead channel or intercept routine
    520-Invalid command syntax.  Proper usage follows:
    … any number of lines …
    520 End of proper usage.

``HANGUP`` may stand between two answers and is the answer to nothing. Bytes that are no UTF-8 are replaced.

Values come from the network: Asterisk decodes ``%0d%0a`` in a SIP user and writes real line breaks into
``agi_callerid``, ``agi_calleridname``, ``agi_dnid`` and ``agi_rdnis``. So a caller can add lines, and an empty line
that seems to end the header. Two checks together prove a header; neither does so alone:

- its lines are exactly Asterisk's, each once and in Asterisk's order (``setup_env`` of ``res_agi.c``, the same in
  Asterisk 20, 22 and 23). An added line is a line too many.
- the answer to the first command is the first line after the empty one (:func:`proof`). Asterisk writes its whole
  header before it reads a command, so after a forged end the rest of the true header comes first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from charging.asterisk import variables
from charging.errors import LocalProtocolError, RemoteProtocolError

MAX_PENDING_BYTES = 16 * 1024
"""Of an unfinished header, or an unfinished answer. Asterisk's own headers are below 2 KiB."""
MAX_VALUE_CHARACTERS = 1000
"""Asterisk reads a command into 2048 bytes."""

CODE_SUCCESS = 200
TAKEN_APART = frozenset(',"\\()[]')
"""By these Asterisk takes an application's arguments apart (``ast_app_separate_args``), or hides them from it. No value
of an answer has one."""

HEADER_NAMES = (
    "agi_network",
    "agi_network_script",
    "agi_request",
    "agi_channel",
    "agi_language",
    "agi_type",
    "agi_uniqueid",
    "agi_version",
    "agi_callerid",
    "agi_calleridname",
    "agi_callingpres",
    "agi_callingani2",
    "agi_callington",
    "agi_callingtns",
    "agi_dnid",
    "agi_rdnis",
    "agi_context",
    "agi_extension",
    "agi_priority",
    "agi_enhanced",
    "agi_accountcode",
    "agi_threadid",
)
"""The lines of a header, in order; ``agi_arg_1``, ``agi_arg_2``… follow."""


@dataclass(frozen=True, slots=True)
class Request:
    """The header with which the dialplan opens the conversation."""

    script: str
    """What is asked for: the path of ``agi://host/path``, without a query."""
    channel: str
    unique_id: str
    arguments: tuple[str, ...]
    """The dialplan's arguments, in order."""


@dataclass(frozen=True, slots=True)
class Result:
    """The answer to one command."""

    code: int
    value: str
    """What follows ``result=``; empty for a refused command."""
    data: str = ""
    """What stood in parentheses, or the words of a refusal."""


@dataclass(frozen=True, slots=True)
class HungUp:
    """The channel was hung up; commands may still be sent and are answered."""


Message = Request | Result | HungUp


class Receiver:
    """Turns the bytes of one connection into messages. One instance a connection.

    The buffer never holds more than ``MAX_PENDING_BYTES`` and the bytes of one call to ``receive``; each byte is
    looked at a bounded number of times, however it is cut into segments.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._header: list[str] | None = []
        self._usage: list[str] | None = None
        self._pending = 0

    def receive(self, data: bytes) -> list[Message]:
        """Take more bytes; the messages that they complete. Raises RemoteProtocolError; then it is over."""
        self._buffer += data
        messages = []
        while (line := self._next_line()) is not None:
            message = self._header_line(line) if self._header is not None else self._answer_line(line)
            if message is not None:
                self._pending = 0
                messages.append(message)
        if self._pending + len(self._buffer) > MAX_PENDING_BYTES:
            raise RemoteProtocolError(f"more than {MAX_PENDING_BYTES} bytes without an end")
        return messages

    def _next_line(self) -> str | None:
        end = self._buffer.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(self._buffer)
            return None
        line = self._buffer[:end].decode("utf-8", "replace").rstrip("\r")
        del self._buffer[: end + 1]
        self._searched = 0
        self._pending += end + 1
        if self._pending > MAX_PENDING_BYTES:
            raise RemoteProtocolError(f"more than {MAX_PENDING_BYTES} bytes without an end")
        return line

    def _header_line(self, line: str) -> Message | None:
        assert self._header is not None
        if line:
            self._header.append(line)
            return None
        lines, self._header = self._header, None
        return _request(lines)

    def _answer_line(self, line: str) -> Message | None:
        if self._usage is not None:
            self._usage.append(line)
            if not line.startswith("520 "):
                return None
            usage, self._usage = self._usage, None
            return Result(520, "", " ".join(usage))
        if line == "HANGUP":
            return HungUp()
        if line.startswith("520-"):
            self._usage = [line[4:]]
            return None
        return _result(line)


def _request(lines: list[str]) -> Request:
    count = max(0, len(lines) - len(HEADER_NAMES))
    names = (*HEADER_NAMES, *(f"agi_arg_{position}" for position in range(1, count + 1)))
    values = [_value(line, name) for line, name in zip(lines, names, strict=False)]
    if len(lines) < len(HEADER_NAMES):
        raise RemoteProtocolError(f"the header ends before its line {names[len(lines)]}")
    known = dict(zip(names, values, strict=True))
    return Request(
        script=known["agi_network_script"].partition("?")[0].strip("/"),
        channel=known["agi_channel"],
        unique_id=known["agi_uniqueid"],
        arguments=tuple(values[len(HEADER_NAMES) :]),
    )


def _value(line: str, name: str) -> str:
    prefix = f"{name}: "
    if not line.startswith(prefix):
        raise RemoteProtocolError(f"found the header line {line[:80]!r}, expected {name}")
    return line.removeprefix(prefix)


def proof(secret: str) -> bytes:
    """The first command. Asterisk notes ``secret`` on the channel and answers with it. Nobody could put it into the
    header, for it was made after the header was read; and nobody but Asterisk, whose AGI runs for this very channel,
    can put it there: whoever plays the dialplan is found out when the switch is asked for it."""
    return command("GET FULL VARIABLE", f"${{SET({variables.PROOF}={secret})}}")


def check_proof(result: Result, secret: str) -> None:
    """Raises RemoteProtocolError for another answer to :func:`proof`: the header went on behind its seeming end."""
    if (result.code, result.value, result.data) != (CODE_SUCCESS, "1", secret):
        raise RemoteProtocolError(f"something stood between the header and the first answer: {result.data[:80]!r}")


def _result(line: str) -> Result:
    code, _, rest = line.partition(" ")
    if len(code) != 3 or not (code.isascii() and code.isdigit()):
        raise RemoteProtocolError(f"not an answer: {line[:80]!r}")
    if int(code) != CODE_SUCCESS:
        return Result(int(code), "", rest)
    if not rest.startswith("result="):
        raise RemoteProtocolError(f"an answer without a result: {line[:80]!r}")
    value, _, data = rest.removeprefix("result=").partition(" ")
    return Result(CODE_SUCCESS, value, data[1:-1] if data.startswith("(") and data.endswith(")") else "")


def assigning(pairs: Iterable[tuple[str, str]]) -> bytes:
    """One command that sets channel variables, in this order: the application ``MSet``, which Asterisk's core has.
    Raises LocalProtocolError for a value that MSet would take apart."""
    assignments = []
    for name, value in pairs:
        if taken_apart := TAKEN_APART.intersection(value):
            raise LocalProtocolError(f"{name} holds {min(taken_apart)!r}: {value[:40]!r}")
        assignments.append(f"{name}={value}")
    return command("EXEC MSet", ",".join(assignments))


def check_assigned(result: Result) -> None:
    """Raises RemoteProtocolError for another answer to :func:`assigning` than that the application ran through."""
    if (result.code, result.value) != (CODE_SUCCESS, "0"):
        raise RemoteProtocolError(f"the variables were not set: {result.code} {result.value} {result.data}")


def command(*words: str) -> bytes:
    """One command line: the first word as it is, each further one quoted. Raises LocalProtocolError."""
    verb, *arguments = words
    return " ".join((verb, *map(_quoted, arguments))).encode() + b"\n"


def _quoted(argument: str) -> str:
    if len(argument) > MAX_VALUE_CHARACTERS:
        raise LocalProtocolError(f"an argument of {len(argument)} characters: {argument[:40]!r}…")
    if not argument.isprintable():
        raise LocalProtocolError(f"an argument with control characters: {argument!r}")
    escaped = argument.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
