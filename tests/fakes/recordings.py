"""Streams that a real Asterisk wrote; each file's first lines say which and how (``tests/data/ami``, ``…/agi``)."""

from __future__ import annotations

from pathlib import Path

from charging.asterisk.message import AmiMessage

GREETING = "Asterisk Call Manager/11.0.0\r\n"
DATA = Path(__file__).parent.parent / "data"


def ami_bytes(name: str) -> bytes:
    """The stream as it was on the wire, without the comment."""
    lines = (DATA / "ami" / f"{name}.txt").read_text().splitlines()
    return "".join(f"{line}\r\n" for line in lines if not line.startswith("#")).encode()


def ami_messages(name: str) -> list[AmiMessage]:
    """The same, message by message."""
    text = ami_bytes(name).decode().removeprefix(GREETING)
    return [AmiMessage.parse(block) for block in text.split("\r\n\r\n") if block.strip()]


def ami_events(name: str) -> list[AmiMessage]:
    """Only the events that are no part of an answer."""
    answered = {each.get("ActionID") for each in ami_messages(name) if each.response and not each.event}
    return [
        each
        for each in ami_messages(name)
        if each.event and (each.event == "OriginateResponse" or each.get("ActionID") not in answered)
    ]


def agi_bytes(name: str, direction: str) -> bytes:
    """One direction of an AGI conversation: ``<`` from Asterisk, ``>`` from the daemon."""
    lines = (DATA / "agi" / f"{name}.txt").read_text().splitlines()
    return "".join(f"{line[2:]}\n" for line in lines if line.startswith(direction)).encode()
