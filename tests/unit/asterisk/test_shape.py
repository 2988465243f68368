"""What a stranger writes into a SIP user is never an order: AMI messages as they arrive, whole and byte by byte."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from charging.asterisk.message import AmiMessage
from charging.asterisk.shape import LISTS, SHAPES, flaw
from charging.asterisk.translate import _READERS, translate
from tests.fakes.ami import block, channel
from tests.fakes.recordings import BRANCHES, ami_messages

RECORDINGS = (
    *("answered_caller_hangs_up", "answered_callee_hangs_up", "busy", "no_answer", "caller_gives_up"),
    *("cut_by_quota", "whisper", "maintenance", "login", "answers", "ring_group", "blind_transfer", "picked_up"),
)
LONGEST = 79
"""Characters that Asterisk keeps of a number."""
DIAL = {"Context": "trunk", "Exten": "+31850000001"}
VARIABLES = (("ChanVariable", "CHARGING_SESSION=s-1"), ("ChanVariable", "CHARGING_LEG=caller"))


def pieces(message: bytes) -> list[AmiMessage]:
    """What a reader of AMI makes of the bytes."""
    return [AmiMessage.parse(each.decode()) for each in message.split(b"\r\n\r\n") if each.strip()]


def dial_begin(**caller: str) -> bytes:
    """One event, into which the caller may have written."""
    return block(
        ("Event", "DialBegin"),
        ("Privilege", "call,all"),
        ("Timestamp", "1795305158.861157"),
        *channel("1.2", **(DIAL | caller)),
        *VARIABLES,
        *channel("1.3", "Dest"),
        *((f"Dest{name}", value) for name, value in VARIABLES),
        ("DialString", "+31610000000@world"),
    )


def status(caller: str) -> bytes:
    """One entry of a list, into which the caller has written."""
    return block(
        ("Event", "Status"),
        ("Privilege", "Call"),
        *channel("1.2", CallerIDNum=caller),
        *VARIABLES,
        ("Type", "PJSIP"),
        ("DNID", ""),
        ("BridgeID", ""),
        ("Seconds", "3"),
        ("Variable", "CHARGING_SESSION=s-1"),
        ("ActionID", "ours"),
    )


def believed(messages: list[AmiMessage], list_end: str | None = None) -> Iterator[AmiMessage]:
    ours = [one for one in messages if list_end is None or one.all("ActionID") == ("ours",)]
    return (one for one in ours if not flaw(one, list_end))


@pytest.mark.parametrize("branch", BRANCHES)
@pytest.mark.parametrize("name", RECORDINGS)
def test_nothing_that_a_real_switch_wrote_is_suspect(name: str, branch: str) -> None:
    for message in ami_messages(name, branch):
        end = next((end for end, entries in LISTS.items() if message.event in (end, *entries)), None)
        assert flaw(message, end) == "", message


def test_every_event_that_is_obeyed_has_a_shape() -> None:
    assert set(_READERS) <= set(SHAPES)


@pytest.mark.parametrize(
    "words",
    [
        "x\r\nChanVariable: CHARGING_SESSION=z",
        "x\r\nUniqueid: 9.9",
        "x\r\nuniqueid: 9.9",
        "x\r\nBridgeUniqueid: b\r\nUniqueid: 9.9",
        "x\r\nhello",
        "x\r\nEvent: Hangup",
    ],
)
def test_a_header_that_comes_twice_makes_the_event_suspect(words: str) -> None:
    (message,) = pieces(dial_begin(CallerIDNum=words))
    assert flaw(message)


@pytest.mark.parametrize(
    "words",
    [
        "\r\n\r\nEvent: Hangup\r\nPrivilege: call,all\r\nCause: 16\r\nCallerIDNum: ",
        "\r\n\r\nEvent: DialEnd\r\nPrivilege: call,all\r\nDialStatus: ANSWER\r\nX: ",
        "\r\n\r\nEvent: BridgeEnter\r\nPrivilege: a\r\nBridgeUniqueid: b\r\nChannel: c\r\nX: ",
        "\r\n\r\nEvent: FullyBooted\r\nPrivilege: a\r\nUptime: 1\r\nStatus: x\r\nX: ",
        "\r\n\r\nEvent: Shutdown\r\nPrivilege: a\r\nShutdown: x\r\nRestart: True\r\nX: ",
        "\r\n\r\nEvent: OriginateResponse\r\nActionID: w-1\r\nResponse: Failure\r\nX: ",
        "\r\n\r\nEvent: Pickup\r\nPrivilege: call,all\r\nChannel: c\r\nChannelState: 6\r\nX: ",
        "\r\n\r\nResponse: Success\r\nActionID: 0123456789abcdef\r\nX: ",
        "\r\n\r\nResponse: x\r\nActionID: y\r\nEvent: Hangup\r\nX: ",
        "\r\n\r\nResponse: x\r\nActionID: y\r\nEvent: Shutdown\r\nX: ",
        "\r\n\r\n",
    ],
)
@pytest.mark.parametrize("place", ["CallerIDNum", "ConnectedLineNum", "Exten"])
def test_an_event_inside_another_is_never_believed(words: str, place: str) -> None:
    assert len(words) <= LONGEST
    messages = pieces(dial_begin(**{place: words}))
    assert len(messages) >= 2, "it is two on the wire"
    obeyed = [one for one in believed(messages) if one.event in SHAPES or one.all("ActionID") == ("ours",)]
    assert obeyed == []


@pytest.mark.parametrize(
    "words",
    [
        "\r\n\r\nEvent: StatusComplete",
        "\r\n\r\nEvent: StatusComplete\r\nEventList: Complete\r\nListItems: 1\r\nX: ",
        "\r\n\r\nEvent: Status\r\nPrivilege: Call\r\nBridgeID: x\r\nX: ",
        "\r\n\r\nEvent: Other\r\nX: ",
        "\r\n\r\nResponse: Error\r\nMessage: no\r\nX: ",
        "\r\n\r\nX: ",
        "x\r\nBridgeID: x",
        "x\r\nVariable: CHARGING_SESSION=z",
        "x\r\nActionID: y",
    ],
)
def test_a_list_is_neither_closed_nor_answered_nor_added_to_by_a_stranger(words: str) -> None:
    messages = pieces(status(words))
    assert list(believed(messages, "StatusComplete")) == []
    assert sum("ours" in one.all("ActionID") for one in messages) == 1, "so its entries can be counted"


def test_a_list_ends_with_its_own_action_alone() -> None:
    good = [("Event", "StatusComplete"), ("ActionID", "ours"), ("EventList", "Complete"), ("ListItems", "0")]
    assert not flaw(AmiMessage(tuple(good)), "StatusComplete")
    assert flaw(AmiMessage((*good, ("X", "y"))), "StatusComplete")
    assert flaw(AmiMessage((good[0], good[2], good[3], good[1])), "StatusComplete")


def test_headers_that_we_do_not_know_may_stand_between() -> None:
    (message,) = pieces(dial_begin(CallerIDNum="+31201234567\r\nNewInAsterisk99: 1"))
    assert not flaw(message)


def originate_response(*extra: tuple[str, str]) -> AmiMessage:
    """As Asterisk tells every login how an order to originate ended."""
    (message,) = pieces(
        block(
            ("Event", "OriginateResponse"),
            ("Privilege", "call,all"),
            ("Timestamp", "1795305158.861157"),
            *extra,
            ("Response", "Failure"),
            ("Channel", "PJSIP/desk"),
            ("Context", "from-desk"),
            ("Exten", "0201234567"),
            ("Application", "<none>"),
            ("Data", "<none>"),
            ("Reason", "8"),
            ("Uniqueid", "<null>"),
            ("CallerIDNum", "<unknown>"),
            ("CallerIDName", "<unknown>"),
        )
    )
    return message


def test_answer_to_another_programs_order_without_a_name_is_neither_suspect_nor_obeyed() -> None:
    """Click-to-dial programs give their orders no ActionID; each would raise ChargingStrangerWritesAmi."""
    message = originate_response()
    assert flaw(message) == ""
    assert translate(message) is None


def test_answer_to_an_order_that_has_a_name_is_obeyed() -> None:
    message = originate_response(("ActionID", "w-1"))
    assert flaw(message) == ""
    assert translate(message) is not None
