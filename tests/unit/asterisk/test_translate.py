"""AMI messages become switch events: on what a real Asterisk wrote, and on what it might."""

from __future__ import annotations

import re
from unittest.mock import ANY

import pytest

from charging.asterisk.message import AmiMessage
from charging.asterisk.translate import stamp_us, translate
from charging.call.switch_events import (
    BridgeEntered,
    BridgeLeft,
    ChannelEnded,
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
from tests.fakes.recordings import BRANCHES, USUAL, ami_bytes, ami_events

SESSION = ("ChanVariable", "CHARGING_SESSION=s-1")
AT = "1795305157.134965"
AT_US = 1795305157134965


def told(recording: str, branch: str = USUAL) -> list[SwitchEvent]:
    return [event for message in ami_events(recording, branch) if (event := translate(message)) is not None]


def kinds(recording: str, branch: str) -> list[str]:
    return [type(event).__name__ for event in told(recording, branch)]


def stamps(recording: str, branch: str) -> list[int]:
    """The switch's own stamps as they stand in the file, in microseconds."""
    text = ami_bytes(recording, branch).decode()
    return [int(stamp.replace(".", "")) for stamp in re.findall(r"^Timestamp: (\d+\.\d{6})\r$", text, re.MULTILINE)]


CALLER, CALLEE = "PJSIP/world-00000000", "PJSIP/world-00000001"
DURING = ["DialStarted", "DialEnded", "BridgeEntered", "BridgeEntered"]
ENDING = ["BridgeLeft", "BridgeLeft", "ChannelEnded", "ChannelEnded"]


@pytest.mark.parametrize("branch", BRANCHES)
def test_an_answered_call_is_told_in_order_with_the_switchs_own_stamps(branch: str) -> None:
    events = told("answered_caller_hangs_up", branch)
    begun = events[0]
    assert isinstance(begun, DialStarted)
    caller, callee = begun.caller_uid, begun.callee_uid
    assert (caller[-2:], callee[-2:]) == (".0", ".1")
    (bridge,) = {event.bridge for event in events if isinstance(event, BridgeEntered)}
    at = stamps("answered_caller_hangs_up", branch)
    assert events[:4] == [
        DialStarted("s-rec-1", caller, callee, at[0]),
        DialEnded("s-rec-1", "ANSWER", caller, callee, at[1]),
        BridgeEntered("s-rec-1", callee, CALLEE, "callee", bridge, "simple_bridge", at[2], 1),
        BridgeEntered("s-rec-1", caller, CALLER, "caller", bridge, "simple_bridge", at[3], 2),
    ]
    assert [event.at_us for event in events[4:] if isinstance(event, BridgeLeft | ChannelEnded)] == at[4:]
    assert [event for event in events if isinstance(event, BridgeLeft)] == [
        BridgeLeft("s-rec-1", caller, CALLER, "caller", bridge, ANY, remaining=1),
        BridgeLeft("s-rec-1", callee, CALLEE, "callee", bridge, ANY, remaining=0),
    ]
    over = [event for event in events if isinstance(event, ChannelEnded)]
    assert {(one.session, one.uid, one.channel, one.leg, one.cause) for one in over} == {
        ("s-rec-1", callee, CALLEE, "callee", 16),
        ("s-rec-1", caller, CALLER, "caller", 16),
    }


@pytest.mark.parametrize("branch", BRANCHES)
@pytest.mark.parametrize("recording", ["answered_callee_hangs_up", "cut_by_quota"])
def test_every_answered_call_has_the_same_shape(recording: str, branch: str) -> None:
    assert kinds(recording, branch)[:4] == DURING
    assert sorted(kinds(recording, branch)[4:]) == ENDING


@pytest.mark.parametrize("branch", BRANCHES)
@pytest.mark.parametrize(
    ("recording", "status"), [("busy", "BUSY"), ("no_answer", "NOANSWER"), ("caller_gives_up", "CANCEL")]
)
def test_a_call_that_is_not_answered_never_enters_a_bridge(recording: str, status: str, branch: str) -> None:
    assert kinds(recording, branch) == ["DialStarted", "DialEnded", "ChannelEnded", "ChannelEnded"]
    ended = told(recording, branch)[1]
    assert isinstance(ended, DialEnded)
    assert (ended.status, ended.answered) == (status, False)


@pytest.mark.parametrize("branch", BRANCHES)
def test_a_whisper_adds_its_start_and_stop_and_leaves_the_call_alone(branch: str) -> None:
    events = told("whisper", branch)
    begun = events[0]
    assert isinstance(begun, DialStarted)
    prompts = [event for event in events if isinstance(event, PromptStarted | PromptStopped)]
    assert prompts == [
        PromptStarted("s-rec-1", begun.callee_uid, "w-s-rec-1-1-2", ANY),
        PromptStopped("s-rec-1", begun.callee_uid, "w-s-rec-1-1-2", ANY),
    ]
    orders = [event for event in events if isinstance(event, OriginateEnded)]
    assert [(order.action_id, order.answered) for order in orders] == [("w-s-rec-1-1", True), ("w-s-rec-1-1", False)]
    ended = [event for event in events if isinstance(event, PromptEnded)]
    assert [(one.uid, one.cause) for one in ended] == [("w-s-rec-1-1", 16)]
    others = [type(one).__name__ for one in events if one not in (*prompts, *orders, *ended)]
    assert (others[:4], sorted(others[4:])) == (DURING, ENDING)


@pytest.mark.parametrize("branch", BRANCHES)
def test_a_call_by_a_local_channel_that_is_optimised_away_keeps_its_forwarded_leg(branch: str) -> None:
    events = told("ring_group", branch)
    begun = events[0]
    assert isinstance(begun, DialStarted)
    entered = [event for event in events if isinstance(event, BridgeEntered) and event.uid == begun.callee_uid]
    left = [event for event in events if isinstance(event, BridgeLeft) and event.uid == begun.callee_uid]
    assert (len(entered), len(left)) == (1, 1), "its caller's channel is swapped under it, and it stays where it is"


@pytest.mark.parametrize("branch", BRANCHES)
@pytest.mark.parametrize(
    ("recording", "kind"), [("blind_transfer", TransferKind.BLIND), ("picked_up", TransferKind.PICKUP)]
)
def test_a_recorded_transfer_is_told(recording: str, kind: TransferKind, branch: str) -> None:
    seen = [event for event in told(recording, branch) if isinstance(event, TransferSeen)]
    assert [(one.session, one.kind) for one in seen] == [("s-rec-1", kind)]


@pytest.mark.parametrize("branch", BRANCHES)
def test_the_maintenance_channel_is_no_session(branch: str) -> None:
    assert kinds("maintenance", branch) == ["OriginateEnded"], "the order itself, which is never answered"


@pytest.mark.parametrize(
    ("event", "prefix", "kind"),
    [
        ("BlindTransfer", "Transferer", TransferKind.BLIND),
        ("AttendedTransfer", "OrigTransferer", TransferKind.ATTENDED),
        ("Pickup", "", TransferKind.PICKUP),
    ],
)
def test_a_transfer_names_who_did_it(event: str, prefix: str, kind: TransferKind) -> None:
    message = AmiMessage.of(
        ("Event", event),
        (f"{prefix}ChanVariable", "CHARGING_SESSION=s-1"),
        (f"{prefix}Uniqueid", "1.2"),
        (f"{prefix}Channel", "PJSIP/a-1"),
        ("Timestamp", AT),
    )
    assert translate(message) == TransferSeen("s-1", kind, "1.2", "PJSIP/a-1", AT_US)


@pytest.mark.parametrize(
    ("leg", "goes_to", "session", "kind"),
    [
        ("callee", "App", "s-1", TransferKind.BLIND),
        ("callee", "Bridge", "s-2", TransferKind.ATTENDED),
        ("caller", "App", "s-2", TransferKind.ATTENDED),
    ],
)
def test_a_leg_that_an_attended_transfer_puts_where_the_dialplan_goes_on_is_its_own_sessions(
    leg: str, goes_to: str, session: str, kind: TransferKind
) -> None:
    """It takes the place of another call's channel, which rings or speaks to voicemail."""
    message = AmiMessage.of(
        ("Event", "AttendedTransfer"),
        ("SecondTransfererChanVariable", "CHARGING_SESSION=s-2"),
        ("DestType", goes_to),
        ("TransfereeChanVariable", "CHARGING_SESSION=s-1"),
        ("TransfereeChanVariable", f"CHARGING_LEG={leg}"),
    )
    seen = translate(message)
    assert isinstance(seen, TransferSeen)
    assert (seen.session, seen.kind) == (session, kind)


def test_a_pickup_of_our_leg_by_a_stranger_is_ours() -> None:
    message = AmiMessage.of(
        ("Event", "Pickup"),
        ("Uniqueid", "9.9"),
        ("Channel", "PJSIP/stranger-1"),
        ("TargetChanVariable", "CHARGING_SESSION=s-1"),
    )
    assert translate(message) == TransferSeen("s-1", TransferKind.PICKUP, "9.9", "PJSIP/stranger-1", None)


@pytest.mark.parametrize("event", ["DialBegin", "DialEnd"])
def test_a_local_channel_is_no_forward_leg(event: str) -> None:
    message = AmiMessage.of(
        SESSION, ("DestChanVariable", "CHARGING_SESSION=s-1"), Event=event, DestChannel="Local/x@y-1;1"
    )
    assert translate(message) is None


@pytest.mark.parametrize("event", ["DialBegin", "DialEnd", "BridgeEnter", "BridgeLeave", "Hangup"])
@pytest.mark.parametrize(
    ("half", "leg", "ours"), [("1", "callee", True), ("2", "callee", False), ("2", "caller", True)]
)
def test_the_far_half_of_a_local_forward_leg_is_the_operators(event: str, half: str, leg: str, ours: bool) -> None:
    """Asterisk gives it all variables of the half that was dialled. A caller's own far half is the caller."""
    marks = SESSION, ("ChanVariable", f"CHARGING_LEG={leg}")
    message = AmiMessage.of(*marks, Event=event, Channel=f"Local/x@y-1;{half}", DestChannel="PJSIP/trunk-1")
    assert (translate(message) is not None) is ours


@pytest.mark.parametrize(
    "event",
    [
        "DialBegin",
        "DialEnd",
        "BridgeEnter",
        "BridgeLeave",
        "Hangup",
        "BlindTransfer",
        "AttendedTransfer",
        "Pickup",
        "ChanSpyStart",
        "ChanSpyStop",
    ],
)
@pytest.mark.parametrize("value", ["", "CHARGING_SESSION=", "CHARGING_SESSION=(null)", "OTHER=s-1"])
def test_a_channel_without_a_session_is_not_ours(event: str, value: str) -> None:
    assert translate(AmiMessage.of(("ChanVariable", value), Event=event, Channel="PJSIP/x-1")) is None


def test_what_nobody_needs_is_not_translated() -> None:
    assert translate(AmiMessage.of(SESSION, Event="Newexten")) is None
    assert translate(AmiMessage.of(Response="Success")) is None


@pytest.mark.parametrize(
    ("text", "stamp"),
    [
        (AT, AT_US),
        ("1795305157", 1795305157000000),
        ("1795305157.1", 1795305157100000),
        ("1795305157.1234567", 1795305157123456),
        ("", None),
        ("now", None),
        ("-1.5", None),
        ("1.5e3", None),
        ("1795305157.", None),
        ("١.٢", None),
    ],
)
def test_a_stamp_is_read_exactly_or_not_at_all(text: str, stamp: int | None) -> None:
    assert stamp_us(AmiMessage.of(Timestamp=text)) == stamp


def test_a_cause_that_is_none_is_zero() -> None:
    ended = translate(AmiMessage.of(SESSION, Event="Hangup", Cause="what"))
    assert isinstance(ended, ChannelEnded)
    assert ended.cause == 0
