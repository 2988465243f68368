"""Plays Asterisk to our FastAGI server: sends the header, obeys commands, remembers what was set."""

from __future__ import annotations

import asyncio
import re
import shlex
from dataclasses import dataclass, field

HEADER = """\
agi_network: yes
agi_network_script: {script}
agi_request: agi://127.0.0.1:4573/{script}
agi_channel: PJSIP/trunk-1
agi_language: en
agi_type: PJSIP
agi_uniqueid: 1795262400.1
agi_version: 22.10.1
agi_callerid: {caller}
agi_calleridname: {name}
agi_callingpres: 0
agi_callingani2: 0
agi_callington: 0
agi_callingtns: 0
agi_dnid: {dialled}
agi_rdnis: {redirecting}
agi_context: charging-decide
agi_extension: s
agi_priority: 9
agi_enhanced: 0.0
agi_accountcode: 
agi_threadid: 140213
"""  # noqa: W291 - Asterisk's own space behind a name without a value


def header(
    script: str,
    *arguments: str,
    caller: str = "+31201234567",
    name: str = "Caller",
    dialled: str = "+31850000001",
    redirecting: str = "unknown",
) -> bytes:
    """What Asterisk writes first. The last four come from the network, line breaks included."""
    lines = HEADER.format(script=script, caller=caller, name=name, dialled=dialled, redirecting=redirecting)
    lines += "".join(f"agi_arg_{position}: {value}\n" for position, value in enumerate(arguments, 1))
    return lines.encode() + b"\n"


def evaluated(expression: str) -> tuple[str, str]:
    """What ``GET FULL VARIABLE`` says of a text as it is, or of ``${SET(NAME=VALUE)}``; and the name that it sets."""
    setting = re.fullmatch(r"\$\{SET\((\w+)=(\w+)\)\}", expression)
    return (expression, "") if setting is None else (setting[2], setting[1])


@dataclass
class AgiClient:
    """One connection of a dialplan."""

    variables: dict[str, str] = field(default_factory=dict)
    noted: dict[str, str] = field(default_factory=dict)
    """What the daemon has the channel note before it answers."""
    commands: list[str] = field(default_factory=list)
    refuse: str = ""
    """Answer 511 to commands that hold this text."""
    leave_at: str = ""
    """Close the connection instead of answering a command that holds this text."""
    stall_at: str = ""
    """Never answer a command that holds this text."""
    hangup_at: str = ""
    """Say HANGUP before the answer to a command that holds this text."""

    async def call(self, port: int, script: str, *arguments: str, raw: bytes | None = None) -> None:
        """Run one whole conversation, until the server closes it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(header(script, *arguments) if raw is None else raw)
            while line := await reader.readline():
                command = line.decode().rstrip("\n")
                self.commands.append(command)
                if self.leave_at and self.leave_at in command:
                    return
                if not (self.stall_at and self.stall_at in command):
                    writer.write(self.answer(command))
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()

    def answer(self, command: str) -> bytes:
        """What the switch says to a command."""
        if self.refuse and self.refuse in command:
            return b"511 Command Not Permitted on a dead channel or intercept routine\n"
        hung_up = b"HANGUP\n" if self.hangup_at and self.hangup_at in command else b""
        return hung_up + self._obey(command)

    def _obey(self, command: str) -> bytes:
        words = shlex.split(command)
        match words:
            case ["GET", "FULL", "VARIABLE", text]:
                value, name = evaluated(text)
                self.noted |= {name: value} if name else {}
                return f"200 result=1 ({value})\n".encode()
            case ["EXEC", "MSet", pairs]:
                named = (pair.partition("=") for pair in pairs.split(","))
                self.variables |= {re.sub("^__?", "", name): value for name, _, value in named}
                return b"200 result=0\n"
        return b"510 Invalid or unknown command\n"
