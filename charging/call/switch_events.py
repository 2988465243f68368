"""What the switch tells, as typed facts. No AMI field name appears here.

``at_us`` is the switch's own wall clock when it wrote the event, in µs since the epoch; ``None`` where
``timestampevents`` is off. ``session`` is never empty: events of channels that are not ours are not translated, but for
one that takes the place of another (`ChannelReplaced`), which may be ours.
``uid`` is Asterisk's ``Uniqueid``, good for every order to a channel.
"""

from __future__ import annotations

from enum import StrEnum

from charging.records import dataclass


@dataclass(frozen=True, slots=True)
class DialStarted:
    """The forward leg was made and rings."""

    session: str
    caller_uid: str
    callee_uid: str
    at_us: int | None


@dataclass(frozen=True, slots=True)
class DialEnded:
    """The forward leg answered (``ANSWER``) or did not (``BUSY``, ``NOANSWER``, ``CANCEL``, ``CHANUNAVAIL``…)."""

    session: str
    status: str
    caller_uid: str
    callee_uid: str
    at_us: int | None

    @property
    def answered(self) -> bool:
        return self.status == "ANSWER"


@dataclass(frozen=True, slots=True)
class BridgeEntered:
    """A channel of the session was joined to a bridge."""

    session: str
    uid: str
    channel: str
    leg: str
    bridge: str
    technology: str
    """``simple_bridge`` is needed for the prompt; ``native_rtp`` harms the conversation (ASTERISK.md §1)."""
    at_us: int | None
    channels: int | None = None
    """That are in that bridge now; ``None``: it is not said."""


@dataclass(frozen=True, slots=True)
class BridgeLeft:
    """A channel of the session left a bridge; the end of the conversation unless it enters one again."""

    session: str
    uid: str
    channel: str
    leg: str
    bridge: str
    at_us: int | None
    remaining: int | None = None
    """Channels that are still in that bridge; ``None``: it is not said."""


@dataclass(frozen=True, slots=True)
class ChannelReplaced:
    """A channel of no session took the place of another in a bridge (INVITE with Replaces, a Local channel that is
    optimised away). Whose that other was is not told."""

    uid: str
    """Of the channel that lost its place."""
    by: str
    """Of the one that has it now."""


@dataclass(frozen=True, slots=True)
class ChannelEnded:
    """A channel of the session is gone. Comes late (after hang-up handlers): not a basis for durations."""

    session: str
    uid: str
    channel: str
    leg: str
    """``caller``, ``callee`` or ``""`` where the channel was never marked."""
    cause: int
    """Q.850; 0 where unknown."""
    at_us: int | None


class TransferKind(StrEnum):
    """How someone moved a leg that we charge."""

    BLIND = "blind"
    ATTENDED = "attended"
    PICKUP = "pickup"


@dataclass(frozen=True, slots=True)
class TransferSeen:
    """A leg of the session was transferred or picked up, which the shipped configuration forbids."""

    session: str
    kind: TransferKind
    uid: str
    """The channel that did it: the transferer, or who picked up."""
    channel: str
    at_us: int | None


@dataclass(frozen=True, slots=True)
class PromptStarted:
    """The whisper is attached to the subscriber's leg."""

    session: str
    spyee_uid: str
    spyer_uid: str
    at_us: int | None


@dataclass(frozen=True, slots=True)
class PromptStopped:
    """The whisper is detached."""

    session: str
    spyee_uid: str
    spyer_uid: str
    at_us: int | None


@dataclass(frozen=True, slots=True)
class PromptEnded:
    """The channel that played a whispered prompt is gone."""

    uid: str
    cause: int
    """Q.850; the dialplan ends it with 47 where the file could not be played."""


@dataclass(frozen=True, slots=True)
class OriginateEnded:
    """How an originated channel of ours fared: answered, or not."""

    action_id: str
    """Of the order to originate; the channel's own id is not told where it failed."""
    uid: str
    answered: bool
    reason: str
    at_us: int | None


SwitchEvent = (
    DialStarted
    | DialEnded
    | BridgeEntered
    | BridgeLeft
    | ChannelReplaced
    | ChannelEnded
    | TransferSeen
    | PromptStarted
    | PromptStopped
    | PromptEnded
    | OriginateEnded
)
