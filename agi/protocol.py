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

- its lines are Asterisk's, each once and in Asterisk's order (``setup_env`` of ``res_agi.c``, the same in Asterisk 20,
  22 and 23). A later Asterisk may write more: a line ``agi_name: value`` of a name that is none of these is left out,
  for what is not read answers nothing, whoever has written it. A second line of any of these is a line too many.
- the answer to the first command is the first line after the empty one (:func:`proof`). Asterisk writes its whole
  header before it reads a command, so after a forged end the rest of the true header comes first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from charging.asterisk import variables
from charging.errors import LocalProtocolError, RemoteProtocolError
from charging.records import dataclass

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
    unknown: tuple[str, ...] = ()
    """Names of lines that were left out: a later Asterisk's, or a caller's."""


@dataclass(frozen=True, slots=True)
class Result:
    """The answer to one of our commands."""

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
        self._has_request = False
        self._usage: list[str] | None = None
        self._pending = 0
        """Bytes of an unfinished answer that were taken out of the buffer."""

    def receive(self, data: bytes) -> list[Message]:
        """Take more bytes, and return the messages that they complete. Raises RemoteProtocolError; the receiver is then
        of no further use."""
        if self._has_request and self._is_one_line(data):
            message = self._answer_line(_text(data[:-1]))
            return [] if message is None else [message]
        self._buffer += data
        messages: list[Message] = []
        if not self._has_request:
            if (header := self._header()) is None:
                return messages
            messages.append(_request(header))
            self._has_request = True
        while (line := self._next_line()) is not None:
            if (message := self._answer_line(line)) is not None:
                self._pending = 0
                messages.append(message)
        self._bound(self._pending + len(self._buffer))
        return messages

    def _is_one_line(self, data: bytes) -> bool:
        """Whether the bytes are one whole line, with nothing unfinished before it: so nearly all answers come."""
        whole = not self._buffer and self._usage is None and data.find(b"\n") == len(data) - 1
        return whole and 0 < len(data) <= MAX_PENDING_BYTES

    def _header(self) -> str | None:
        """The lines up to the first empty one."""
        end = self._buffer.find(b"\n\n", self._searched)
        if end < 0 and not self._buffer.startswith(b"\n"):
            self._bound(len(self._buffer))
            self._searched = max(0, len(self._buffer) - 1)
            return None
        self._bound(end + 2)
        self._searched = 0
        header = self._buffer[: end + 1].decode("utf-8", "replace")
        del self._buffer[: end + 2]
        return header

    def _next_line(self) -> str | None:
        end = self._buffer.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(self._buffer)
            return None
        line = _text(self._buffer[:end])
        del self._buffer[: end + 1]
        self._searched = 0
        self._pending += end + 1
        self._bound(self._pending)
        return line

    def _bound(self, pending: int) -> None:
        if pending > MAX_PENDING_BYTES:
            raise RemoteProtocolError(f"more than {MAX_PENDING_BYTES} bytes without an end")

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


def _text(line: bytes | bytearray) -> str:
    return line.decode("utf-8", "replace").rstrip("\r")


ARGUMENTS_MAX = 8
"""No question of the dialplan has more."""
_ASKED = {"agi_network_script", "agi_channel", "agi_uniqueid"}
_BEGUN = "".join(f"{name}: {'(.*)' if name in _ASKED else '.*'}\n" for name in HEADER_NAMES)
_ARGUMENTS = "".join(f"(?:agi_arg_{number}: (.*)\n" for number in range(1, ARGUMENTS_MAX + 1)) + ")?" * ARGUMENTS_MAX
_HEADER = re.compile(_BEGUN + _ARGUMENTS)
_UNKNOWN = re.compile(
    rf"^(agi_(?!arg_|(?:{'|'.join(HEADER_NAMES).replace('agi_', '')}): )[a-z0-9_]{{1,40}}): .*\n", re.M
)


def _request(header: str) -> Request:
    found, unknown = _HEADER.fullmatch(header), ()
    if found is None:
        unknown = tuple(_UNKNOWN.findall(header))
        header = _UNKNOWN.sub("", header)
        found = _HEADER.fullmatch(header)
    if found is None:
        raise RemoteProtocolError(_misfit(header))
    values = found.groups()
    if "\r" in header:
        values = tuple([value and value.rstrip("\r") for value in values])
    script, channel, unique_id, *arguments = values
    given = ARGUMENTS_MAX - arguments.count(None)
    return Request(script.partition("?")[0].strip("/"), channel, unique_id, tuple(arguments[:given]), unknown)


def _misfit(header: str) -> str:
    """How a header's lines differ from Asterisk's."""
    lines = header.split("\n")[:-1]
    names = (*HEADER_NAMES, *(f"agi_arg_{number}" for number in range(1, ARGUMENTS_MAX + 1)))
    for name, line in zip(names, lines, strict=False):
        if not line.startswith(f"{name}: "):
            return f"found the header line {line[:80]!r}, expected {name}"
    if len(lines) < len(HEADER_NAMES):
        return f"the header ends before its line {HEADER_NAMES[len(lines)]}"
    return f"more than {ARGUMENTS_MAX} arguments"


def proof(secret: str) -> bytes:
    """Make the first command: Asterisk sets ``secret`` on the channel and answers with it. The secret is made after the
    header was read, so the header cannot contain it. Only Asterisk, whose AGI runs for this channel, can set it there:
    a client that imitates the dialplan is found out when the switch is asked for it."""
    return _PROVE % secret.encode()


def check_proof(result: Result, secret: str) -> None:
    """Check the answer to :func:`proof`. Raises RemoteProtocolError if it is another: the header then went on after its
    seeming end."""
    if (result.code, result.value, result.data) != (CODE_SUCCESS, "1", secret):
        raise RemoteProtocolError(f"something stood between the header and the first answer: {result.data[:80]!r}")


_DONE = f"{CODE_SUCCESS} result="


def _result(line: str) -> Result:
    if line.startswith(_DONE):
        value, _, data = line[len(_DONE) :].partition(" ")
        return Result(CODE_SUCCESS, value, data[1:-1] if data.startswith("(") and data.endswith(")") else "")
    code, _, rest = line.partition(" ")
    if len(code) != 3 or not (code.isascii() and code.isdigit()):
        raise RemoteProtocolError(f"not an answer: {line[:80]!r}")
    if int(code) == CODE_SUCCESS:
        raise RemoteProtocolError(f"an answer without a result: {line[:80]!r}")
    return Result(int(code), "", rest)


def assigning(pairs: Iterable[tuple[str, str]]) -> bytes:
    """Make one command that sets channel variables in this order, by the application ``MSet`` of Asterisk's core.
    Raises LocalProtocolError if MSet would split a value."""
    values = dict(pairs)
    if TAKEN_APART.intersection("".join(values.values())):
        name, value = next(pair for pair in values.items() if TAKEN_APART.intersection(pair[1]))
        raise LocalProtocolError(f"{name} holds {min(TAKEN_APART.intersection(value))!r}: {value[:40]!r}")
    return command("EXEC MSet", ",".join(map("=".join, values.items())))


def check_assigned(result: Result) -> None:
    """Check the answer to :func:`assigning`. Raises RemoteProtocolError unless the application ran to its end."""
    if (result.code, result.value) != (CODE_SUCCESS, "0"):
        raise RemoteProtocolError(f"the variables were not set: {result.code} {result.value} {result.data}")


def command(*words: str) -> bytes:
    """Make one command line: the first word as it is, each further one quoted. Raises LocalProtocolError."""
    verb, *arguments = words
    return " ".join((verb, *map(_quoted, arguments))).encode() + b"\n"


def _quoted(argument: str) -> str:
    if len(argument) > MAX_VALUE_CHARACTERS:
        raise LocalProtocolError(f"an argument of {len(argument)} characters: {argument[:40]!r}…")
    if not argument.isprintable():
        raise LocalProtocolError(f"an argument with control characters: {argument!r}")
    escaped = argument.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


_PROVE = command("GET FULL VARIABLE", f"${{SET({variables.PROOF}=%s)}}")
