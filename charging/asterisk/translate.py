"""AMI message → switch event. The one place that knows the names of AMI's event fields.

Order of one call, measured: DialBegin · DialEnd ANSWER · BridgeEnter twice · BridgeLeave twice · Hangup callee ·
hang-up handlers · Hangup caller. Messages that are not about a session, or that nobody needs, give ``None``.
"""

from __future__ import annotations

from collections.abc import Callable

from charging.asterisk import variables
from charging.asterisk.message import AmiMessage
from charging.asterisk.numbers import scaled, whole
from charging.call.switch_events import (
    BridgeEntered,
    BridgeLeft,
    ChannelEnded,
    ChannelReplaced,
    DialEnded,
    DialStarted,
    OriginateEnded,
    PromptEnded,
    PromptStarted,
    PromptStopped,
    SwitchEvent,
    TransferKind,
    TransferSeen,
)

LOCAL_CHANNEL = "Local/"
"""Halves of a Local channel are plumbing, unless the dialplan has marked one as the forwarded leg itself."""


def translate(message: AmiMessage) -> SwitchEvent | None:
    """Return the event that this message reports, or ``None``. Never raises: a malformed value reads as absent."""
    reader = _READERS.get(message.event)
    return reader(message) if reader is not None else None


def stamp_us(message: AmiMessage) -> int | None:
    """Read ``Timestamp: 1700000000.123456`` as µs, without floats; ``None`` if absent or malformed."""
    return scaled(message.get("Timestamp"), 6)


def is_far_half(channel: str, leg: str) -> bool:
    """Whether this is the half of a Local channel that runs the operator's dialplan behind a forwarded leg. Asterisk
    gives it every variable of the half that was dialled (``core_unreal.c``), so it says that it is the leg itself."""
    return leg == variables.LEG_CALLEE and channel.startswith(LOCAL_CHANNEL) and channel.endswith(";2")


def _session(message: AmiMessage, *prefixes: str) -> str:
    for prefix in prefixes:
        if found := message.channel_variable(variables.SESSION, prefix):
            return found
    return ""


def _dial_started(message: AmiMessage) -> DialStarted | None:
    session, channel = _session(message, "Dest", ""), message.get("DestChannel")
    if not session or _is_plumbing(message, channel) or is_far_half(message.get("Channel"), _leg(message)):
        return None
    return DialStarted(session, message.get("Uniqueid"), message.get("DestUniqueid"), stamp_us(message))


def _dial_ended(message: AmiMessage) -> DialEnded | None:
    session, channel = _session(message, "Dest", ""), message.get("DestChannel")
    if not session or _is_plumbing(message, channel) or is_far_half(message.get("Channel"), _leg(message)):
        return None
    return DialEnded(
        session,
        message.get("DialStatus"),
        message.get("Uniqueid"),
        message.get("DestUniqueid"),
        stamp_us(message),
    )


def _is_plumbing(message: AmiMessage, channel: str) -> bool:
    marked = message.channel_variable(variables.LEG, "Dest") == variables.LEG_CALLEE
    return channel.startswith(LOCAL_CHANNEL) and not marked


def _leg(message: AmiMessage) -> str:
    return message.channel_variable(variables.LEG)


def _bridge_entered(message: AmiMessage) -> BridgeEntered | ChannelReplaced | None:
    session = _session(message, "")
    if not session and (swapped := message.get("SwapUniqueid")):
        return ChannelReplaced(swapped, message.get("Uniqueid"))
    if not session or is_far_half(message.get("Channel"), _leg(message)):
        return None
    return BridgeEntered(
        session,
        message.get("Uniqueid"),
        message.get("Channel"),
        _leg(message),
        message.get("BridgeUniqueid"),
        message.get("BridgeTechnology"),
        stamp_us(message),
        whole(message.get("BridgeNumChannels")),
    )


def _bridge_left(message: AmiMessage) -> BridgeLeft | None:
    if not (session := _session(message, "")) or is_far_half(message.get("Channel"), _leg(message)):
        return None
    return BridgeLeft(
        session,
        message.get("Uniqueid"),
        message.get("Channel"),
        _leg(message),
        message.get("BridgeUniqueid"),
        stamp_us(message),
        whole(message.get("BridgeNumChannels")),
    )


def _channel_ended(message: AmiMessage) -> ChannelEnded | PromptEnded | None:
    if message.get("Uniqueid").startswith(variables.PROMPT_UID) and message.get("Channel").endswith(";1"):
        return PromptEnded(message.get("Uniqueid"), whole(message.get("Cause")) or 0)
    if not (session := _session(message, "")) or is_far_half(message.get("Channel"), _leg(message)):
        return None
    return ChannelEnded(
        session,
        message.get("Uniqueid"),
        message.get("Channel"),
        _leg(message),
        whole(message.get("Cause")) or 0,
        stamp_us(message),
    )


def _transfer(kind: TransferKind, actor: str, *others: str) -> Callable[[AmiMessage], TransferSeen | None]:
    """A reader for a transfer: ``actor`` and ``others`` are the prefixes of the channels in the message."""

    def read(message: AmiMessage) -> TransferSeen | None:
        if not (session := _session(message, actor, *others)):
            return None
        uid, channel = message.get(f"{actor}Uniqueid"), message.get(f"{actor}Channel")
        return TransferSeen(session, kind, uid, channel, stamp_us(message))

    return read


_attended = _transfer(TransferKind.ATTENDED, "OrigTransferer", "SecondTransferer", "Transferee", "TransferTarget")
_taken_along = _transfer(TransferKind.BLIND, "Transferee")


def _attended_transfer(message: AmiMessage) -> TransferSeen | None:
    """A forwarded leg that takes the place of a channel in no bridge (it rings, or speaks to voicemail) goes on in that
    one's dialplan, as after a blind transfer."""
    is_leg = message.channel_variable(variables.LEG, "Transferee") == variables.LEG_CALLEE
    return (_taken_along if is_leg and message.get("DestType") == "App" else _attended)(message)


def _prompt_started(message: AmiMessage) -> PromptStarted | None:
    if not (session := _session(message, "Spyee")):
        return None
    return PromptStarted(session, message.get("SpyeeUniqueid"), message.get("SpyerUniqueid"), stamp_us(message))


def _prompt_stopped(message: AmiMessage) -> PromptStopped | None:
    if not (session := _session(message, "Spyee")):
        return None
    return PromptStopped(session, message.get("SpyeeUniqueid"), message.get("SpyerUniqueid"), stamp_us(message))


def _originate_ended(message: AmiMessage) -> OriginateEnded | None:
    if "ActionID" not in message:
        return None
    answered = message.response == "Success"
    return OriginateEnded(
        message.get("ActionID"),
        message.get("Uniqueid"),
        answered,
        message.get("Reason"),
        stamp_us(message),
    )


_READERS: dict[str, Callable[[AmiMessage], SwitchEvent | None]] = {
    "DialBegin": _dial_started,
    "DialEnd": _dial_ended,
    "BridgeEnter": _bridge_entered,
    "BridgeLeave": _bridge_left,
    "Hangup": _channel_ended,
    "BlindTransfer": _transfer(TransferKind.BLIND, "Transferer", "Transferee", "Extension"),
    "AttendedTransfer": _attended_transfer,
    "Pickup": _transfer(TransferKind.PICKUP, "", "Target"),
    "ChanSpyStart": _prompt_started,
    "ChanSpyStop": _prompt_stopped,
    "OriginateResponse": _originate_ended,
}
