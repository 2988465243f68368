"""What the link answers, what it can be in, and how it is set up."""

from __future__ import annotations

import re
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import field
from enum import Enum
from typing import Protocol

from charging.asterisk.message import AmiMessage
from charging.errors import LocalProtocolError, SwitchError
from charging.records import dataclass

Fields = Mapping[str, str | Sequence[str]]
"""An action's fields; a sequence repeats the header."""

Order = tuple[str, Fields]
"""An action's name and fields."""

Each = Callable[[AmiMessage], None]
"""Hears of one entry of a list."""

_FORBIDDEN = re.compile("[\r\n\0]").search
PATTERN_START = "/"
"""AMI reads a channel name that starts with a slash as a regular expression over all channels."""


class LinkState(Enum):
    """Where the link is; every value but ``UP`` means that orders are refused, or soon will be."""

    CONNECTING = "connecting"
    UNREACHABLE = "unreachable"
    """Nobody listens, or nobody answers."""
    WRONG_SECRET = "wrong_secret"  # noqa: S105  the name of a state
    PLAYED = "played"
    """Another user's program listens at the switch's port, on this machine."""
    FORBIDDEN = "forbidden"
    """Logged in, but a right is missing without which nothing can be reconciled."""
    SYNCING = "syncing"
    """Logged in; orders work; events are held back until reconciliation is done."""
    UP = "up"
    SHUTTING_DOWN = "shutting_down"
    """Asterisk waits for its last call (`core restart gracefully`): it refuses every order and every login, and still
    sends events."""
    LOST = "lost"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """How to reach the switch and how patient to be. Seconds; all of them above zero."""

    host: str
    port: int
    username: str
    secret: str = field(repr=False)
    tls: ssl.SSLContext | None = None
    connect_timeout_s: float = 3.0
    login_timeout_s: float = 3.0
    ping_interval_s: float = 2.0
    pong_deadline_s: float = 3.0
    retry_min_s: float = 0.25
    retry_max_s: float = 5.0
    """Well below the horizon to which running calls are paid, so that they go on when the switch is back."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The switch's answer to one action."""

    headers: AmiMessage
    events: tuple[AmiMessage, ...] = ()
    """The entries of a list, without its closing event."""
    suspects: tuple[AmiMessage, ...] = ()
    """What is left of entries that a stranger has written into: not to be believed, but not nothing."""
    end: AmiMessage | None = None
    """The event that closed a list."""

    @property
    def action_id(self) -> str:
        return self.headers.get("ActionID")


class Orders(Protocol):
    """The part of the link that call control needs."""

    def action(
        self,
        name: str,
        fields: Fields | None = None,
        *,
        timeout_s: float = 3.0,
        list_end: str | None = None,
        each: Each | None = None,
        aside: bool = False,
    ) -> Awaitable[Reply]: ...

    def actions(
        self, orders: Sequence[Order], *, list_end: str | None = None
    ) -> Awaitable[list[Reply | SwitchError]]: ...


def check_sendable(name: str, fields: Fields) -> None:
    """Raise LocalProtocolError for what would inject headers or reach every channel at once."""
    for key, value in (("Action", name), *fields.items()):
        if _FORBIDDEN(key):
            raise LocalProtocolError(f"action {name!r}: {key!r} holds a line break or NUL")
        for text in (value,) if isinstance(value, str) else value:
            if _FORBIDDEN(text):
                raise LocalProtocolError(f"action {name!r}: {key!r} holds a line break or NUL")
            if text.startswith(PATTERN_START) and key.lower() == "channel":
                raise LocalProtocolError(f"action {name!r}: a channel may not be a pattern: {text!r}")
