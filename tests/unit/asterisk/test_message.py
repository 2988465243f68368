"""One AMI message."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charging.asterisk import message
from charging.asterisk.message import LAYOUTS_KEPT, PATTERN_LINES_MAX, AmiMessage, _Patterns, by_lines
from charging.asterisk.reply import check_sendable
from charging.errors import LocalProtocolError
from tests.fakes.recordings import ami_messages


def test_names_are_found_in_any_case_and_what_is_missing_is_empty() -> None:
    message = AmiMessage.of(Event="Hangup", Cause="16")
    assert (message.get("CAUSE"), message.event, message.response, message.get("none")) == (
        "16",
        "Hangup",
        "",
        "",
    )
    assert "cause" in message
    assert "none" not in message


def test_repeated_headers_keep_their_order() -> None:
    message = AmiMessage.of(("V", "1"), ("v", "2"), ("V", "3"))
    assert message.all("v") == ("1", "2", "3")
    assert message.get("v") == "1"


@pytest.mark.parametrize("value", ["(null)", "<null>", "<unknown>", ""])
def test_what_asterisk_prints_for_nothing_is_nothing(value: str) -> None:
    message = AmiMessage.of(("ChanVariable", f"A={value}"), Uniqueid=value)
    assert (message.get("Uniqueid"), message.channel_variable("A")) == ("", "")


def test_a_variable_may_hold_equals_signs_and_belongs_to_its_channel() -> None:
    message = AmiMessage.of(("ChanVariable", "A=b=c"), ("DestChanVariable", "A=d"))
    assert (message.channel_variable("A"), message.channel_variable("A", "Dest")) == ("b=c", "d")
    assert message.channel_variable("A", "Spyee") == ""


def test_parsing_takes_what_has_a_colon() -> None:
    assert AmiMessage.parse("A: 1\r\nnothing\r\nB:\r\nC: x: y\r\n: z").headers == (
        ("A", "1"),
        ("B", ""),
        ("C", "x: y"),
    )


RECORDED = ["\r\n".join(f"{name}: {value}" for name, value in each) for each in ami_messages("cut_by_quota")]
BITS = (
    "\r\n",
    "\n",
    "\r",
    ": ",
    ":",
    " ",
    "\x1c",
    "\xa0",
    "\n: ",
    ": \n",
    "X",
    "Uniqueid: 9.9",
    "x\r\ny",
    "(null)",
    "",
)
EDIT = st.tuples(st.floats(0, 1), st.integers(0, 40), st.sampled_from(BITS))


@given(st.sampled_from(RECORDED), st.lists(EDIT, max_size=5))
def test_a_message_that_is_read_at_once_is_read_as_line_by_line(text: str, edits: list[tuple[float, int, str]]) -> None:
    AmiMessage.parse(text)  # from now on one built like it is read by its pattern
    for where, gone, come in edits:
        at = int(where * len(text))
        text = text[:at] + come + text[at + gone :]
    at_once, by_line = AmiMessage.parse(text), by_lines(text)
    assert at_once == by_line
    assert at_once.layout.names == by_line.layout.names, "so the same of it is believed"
    assert [(at_once.get(name), at_once.all(name)) for name in by_line.layout.places] == [
        (by_line.get(name), by_line.all(name)) for name in by_line.layout.places
    ]


def test_more_kinds_of_messages_than_are_remembered_are_read_all_the_same() -> None:
    """Whoever makes up kinds costs us no more memory, and no message its meaning."""
    for number in range(2 * LAYOUTS_KEPT):
        text = f"Event: Made{number}\r\nUniqueid: {number}\r\nVal: a: b"
        for _ in range(2):
            assert AmiMessage.parse(text).headers == (
                ("Event", f"Made{number}"),
                ("Uniqueid", f"{number}"),
                ("Val", "a: b"),
            )


@pytest.mark.parametrize(("lines", "is_by_pattern"), [(PATTERN_LINES_MAX, True), (PATTERN_LINES_MAX + 1, False)])
def test_no_pattern_is_made_of_a_very_long_message(
    monkeypatch: pytest.MonkeyPatch, lines: int, is_by_pattern: bool
) -> None:
    """That of 100,000 lines took seven seconds, in which no call was charged."""
    patterns = _Patterns()
    monkeypatch.setattr(message, "_patterns", patterns)
    text = "\r\n".join(["Response: Success", *(f"Output: {number}" for number in range(lines - 1))])
    assert AmiMessage.parse(text) == AmiMessage.parse(text) == by_lines(text)
    assert (patterns.read(text) is not None) is is_by_pattern


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("Ping\r\nAction: Hangup", {}),
        ("Setvar", {"Value": "a\nb"}),
        ("Setvar", {"Value": ["fine", "a\rb"]}),
        ("Setvar", {"Val\nue": "a"}),
        ("Setvar", {"Value": "\0"}),
        ("Hangup", {"channel": "/PJSIP.*/"}),
    ],
)
def test_what_would_break_out_of_an_action_is_refused(name: str, fields: dict[str, str | list[str]]) -> None:
    with pytest.raises(LocalProtocolError):
        check_sendable(name, fields)


def test_slashes_elsewhere_are_fine() -> None:
    check_sendable("Hangup", {"Channel": "PJSIP/a-1", "Value": "/sounds/x"})
