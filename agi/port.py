"""What the FastAGI routes ask of the engine, and what they give it.

The routes decide nothing: they are given a :class:`CallDesk`.
"""

from __future__ import annotations

from dataclasses import field
from typing import Protocol

from charging.records import dataclass


@dataclass(frozen=True, slots=True)
class IncomingCall:
    """A new call; all values have been validated and bounded."""

    number: str
    """The dialled number: digits, with or without a leading ``+``."""
    caller: str
    """The caller's number as the network gave it: up to 80 characters, no control characters; may be empty."""
    unique_id: str
    channel: str
    is_withheld: bool = False
    """The caller does not want his number to be told to whom he calls."""
    diverted: tuple[str, ...] = ()
    """Numbers that the call was diverted from before it came here, as the network wrote them."""
    is_diverted_further: bool = False
    """The network named more of them than these: any number may be among the rest."""
    proof: str = field(default="", compare=False, repr=False)
    """What the conversation has had the switch note on the channel; the switch, asked by another way, must say it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the dialplan is to do."""

    decision: str
    """``forward``, ``voicemail`` or ``reject``."""
    reason: str
    session: str | None = None
    quota_s: int | None = None
    """Whole seconds, ≥ 1; with ``forward`` only."""
    target: str | None = None
    """E.164 with its leading ``+``; with ``forward`` only."""
    ring_s: int = 0
    """How long the target rings, in seconds; 0 leaves it to the dialplan."""
    language: str = ""
    """``nl`` or ``en``; empty leaves it to the dialplan."""
    mailbox: str = ""
    """Empty leaves it to the dialplan."""
    switch: str = ""
    """The ``switch.id`` of the daemon that decides, which the black box notes."""
    wait_s: int = 0
    """How long the caller hears it ring before the target is dialled, in seconds; with ``forward`` only."""


class Declined(Exception):
    """The desk leaves this question to another daemon, which the dialplan asks next."""


class Unproven(Exception):
    """The switch knows of no call that asks this now: its caller has left, or someone plays the dialplan."""


class CallDesk(Protocol):
    """The engine, as the dialplan's routes see it. If a method raises, the dialplan gets no answer and takes its
    fallback."""

    async def incoming(self, request: IncomingCall) -> Answer:
        """Decide over a new call, and reserve what it needs. Raises Unproven.

        The call is cancelled when the request's deadline passes; the desk itself then gives back what it had reserved.
        """

    async def unanswered(self, session: str, dial_status: str) -> Answer:
        """The forward was not answered: decide between voicemail and rejecting. Raises Declined."""

    async def abandoned(self, session: str, *, undelivered: bool = False) -> None:
        """The answer may not have been delivered (the connection was lost): have the switch asked what became of the
        call. If it is not there, its money is given back. ``undelivered``: before any part of the answer was sent, or
        the switch has said so; no call comes of it, and the money is given back at once."""
