"""Streams that real Asterisks wrote, one folder a branch; each file's first lines say which and how it was made.

``make recordings`` makes those of the Asterisk that the lab has (`tests.asterisk.record`).
"""

from __future__ import annotations

import re
from pathlib import Path

from charging.asterisk.message import AmiMessage

GREETING = re.compile(r"\AAsterisk Call Manager/[0-9.]+\r\n")
DATA = Path(__file__).parent.parent / "data"
BRANCHES = tuple(sorted(path.name for path in (DATA / "ami").iterdir()))
USUAL = "22"
"""The branch that a test without a choice reads: Debian's, which the lab installs."""


def branch_of(version: str) -> str:
    return version.split(".")[0]


def ami_bytes(name: str, branch: str = USUAL) -> bytes:
    """The stream as it was on the wire, without the comment."""
    lines = (DATA / "ami" / branch / f"{name}.txt").read_text().splitlines()
    return "".join(f"{line}\r\n" for line in lines if not line.startswith("#")).encode()


def ami_messages(name: str, branch: str = USUAL) -> list[AmiMessage]:
    """The same, message by message."""
    text = GREETING.sub("", ami_bytes(name, branch).decode())
    return [AmiMessage.parse(block) for block in text.split("\r\n\r\n") if block.strip()]


def ami_events(name: str, branch: str = USUAL) -> list[AmiMessage]:
    """Only the events that are no part of an answer."""
    answered = {each.get("ActionID") for each in ami_messages(name, branch) if each.response and not each.event}
    return [
        each
        for each in ami_messages(name, branch)
        if each.event and (each.event == "OriginateResponse" or each.get("ActionID") not in answered)
    ]


def agi_bytes(name: str, direction: str, branch: str = USUAL) -> bytes:
    """One direction of an AGI conversation: ``<`` from Asterisk, ``>`` from the daemon."""
    lines = (DATA / "agi" / branch / f"{name}.txt").read_text().splitlines()
    return "".join(f"{line[2:]}\n" for line in lines if line.startswith(direction)).encode()
