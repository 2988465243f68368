"""The AGI codec: every sample whole, byte by byte, and with bytes behind it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agi.protocol import MAX_PENDING_BYTES, HungUp, Message, Receiver, Request, Result, command
from charging.errors import LocalProtocolError, RemoteProtocolError
from tests.fakes.recordings import agi_bytes

HEADER = b"agi_network: yes\nagi_network_script: incoming?a=b\nagi_callerid: \nagi_arg_1: +31:20\n\n"
REQUEST = Request(
    (
        ("agi_network", "yes"),
        ("agi_network_script", "incoming?a=b"),
        ("agi_callerid", ""),
        ("agi_arg_1", "+31:20"),
    )
)
USAGE = b"520-Invalid command syntax.  Proper usage follows:\n Usage: NOOP\n520 End of proper usage.\n"
ANSWERS: list[tuple[bytes, Message]] = [
    (b"200 result=1\n", Result(200, "1")),
    (b"200 result=0\r\n", Result(200, "0")),
    (b"200 result=-1\n", Result(200, "-1")),
    (b"200 result=1 (a value)\n", Result(200, "1", "a value")),
    (b"200 result=1 (a (nested) value)\n", Result(200, "1", "a (nested) value")),
    (b"200 result=1 ()\n", Result(200, "1", "")),
    (b"200 result= (timeout)\n", Result(200, "", "timeout")),
    (b"200 result=1 (\xff)\n", Result(200, "1", "�")),
    (b"510 Invalid or unknown command\n", Result(510, "", "Invalid or unknown command")),
    (
        b"511 Command Not Permitted on a dead channel\n",
        Result(511, "", "Command Not Permitted on a dead channel"),
    ),
    (
        USAGE,
        Result(520, "", "Invalid command syntax.  Proper usage follows:  Usage: NOOP 520 End of proper usage."),
    ),
    (b"HANGUP\n", HungUp()),
]


def in_conversation() -> Receiver:
    receiver = Receiver()
    assert receiver.receive(HEADER) == [REQUEST]
    return receiver


def by_bytes(receiver: Receiver, data: bytes) -> list[Message]:
    return [message for byte in data for message in receiver.receive(bytes([byte]))]


def test_a_header_whole_and_byte_by_byte_and_with_bytes_behind() -> None:
    assert Receiver().receive(HEADER) == [REQUEST]
    assert by_bytes(Receiver(), HEADER) == [REQUEST]
    assert Receiver().receive(HEADER + b"200 result=1\n200 r") == [REQUEST, Result(200, "1")]


@pytest.mark.parametrize(("data", "message"), ANSWERS)
def test_an_answer_whole_and_byte_by_byte_and_with_bytes_behind(data: bytes, message: Message) -> None:
    assert in_conversation().receive(data) == [message]
    assert by_bytes(in_conversation(), data) == [message]
    assert in_conversation().receive(data + b"200 resu") == [message]
    assert in_conversation().receive(data * 3) == [message] * 3


def test_the_script_is_the_path_without_its_query() -> None:
    assert REQUEST.script == "incoming"
    assert (REQUEST.argument(1), REQUEST.argument(2)) == ("+31:20", "")


@pytest.mark.parametrize(
    "data",
    [
        b"\n",
        b"no colon\n\n",
        b": no name\n\n",
        b"agi_network: yes\n\n",
        b"agi_network_script: a\nagi_network_script: b\n\n",
        b"agi_network_script: a\nAGI_NETWORK_SCRIPT: b\n\n",
    ],
)
def test_a_header_that_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        Receiver().receive(data)


@pytest.mark.parametrize("line", [b"\n", b"hello\n", b"20 result=1\n", b"200 what\n", b"+20 result=1\n"])
def test_an_answer_that_is_none_is_refused(line: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        in_conversation().receive(line)


def header_of(size: int) -> bytes:
    start, end = b"agi_network_script: ", b"\n\n"
    return start + b"x" * (size - len(start) - len(end)) + end


def test_the_largest_header_is_taken_and_one_byte_more_is_not() -> None:
    assert len(Receiver().receive(header_of(MAX_PENDING_BYTES))) == 1
    assert len(by_bytes(Receiver(), header_of(MAX_PENDING_BYTES))) == 1
    for receive in (Receiver.receive, by_bytes):
        with pytest.raises(RemoteProtocolError):
            receive(Receiver(), header_of(MAX_PENDING_BYTES + 1))


def test_many_short_lines_without_an_end_are_bounded_too() -> None:
    with pytest.raises(RemoteProtocolError):
        Receiver().receive(b"".join(b"a%d: b\n" % number for number in range(5000)))


def test_a_usage_text_without_an_end_is_bounded() -> None:
    with pytest.raises(RemoteProtocolError):
        in_conversation().receive(b"520-Usage\n" + b"more\n" * 5000)


def test_a_long_conversation_never_reaches_the_limit() -> None:
    receiver = in_conversation()
    for _ in range(MAX_PENDING_BYTES):
        assert receiver.receive(b"200 result=1\n") == [Result(200, "1")]


@given(st.binary(max_size=400), st.integers(min_value=0, max_value=400))
def test_how_bytes_are_cut_changes_nothing(data: bytes, cut: int) -> None:
    def run(*parts: bytes) -> list[Message] | None:
        receiver = in_conversation()
        try:
            return [message for part in parts for message in receiver.receive(part)]
        except RemoteProtocolError:
            return None

    assert run(data) == run(data[:cut], data[cut:]) or run(data[:cut], data[cut:]) is None


def test_a_command_quotes_what_the_switch_would_take_apart() -> None:
    assert command("SET VARIABLE", "A", 'x "y" \\z') == b'SET VARIABLE "A" "x \\"y\\" \\\\z"\n'


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\0b", "\x1b[0m", "x" * 1001])
def test_a_command_refuses_what_would_break_the_protocol(value: str) -> None:
    with pytest.raises(LocalProtocolError):
        command("SET VARIABLE", "A", value)


def test_the_longest_value_is_taken() -> None:
    assert len(command("NOOP", "x" * 1000)) == len('NOOP ""\n') + 1000


def test_a_recorded_request_is_read() -> None:
    messages = Receiver().receive(agi_bytes("incoming", "<"))
    request = messages[0]
    assert isinstance(request, Request)
    assert request.script == "incoming"
    arguments = [request.argument(position) for position in range(1, 6)]
    assert arguments == ["+31850000001", "+31200000001", "1795305157.0", "PJSIP/world-00000000", ""]
    assert messages[1:] == [Result(200, "1")] * 7


def test_recorded_answers_of_every_kind_are_read() -> None:
    data = agi_bytes("answers", "<")
    messages = Receiver().receive(data)
    assert [(each.code, each.value) for each in messages if isinstance(each, Result)] == [
        (200, "1"),
        (200, "0"),
        (510, ""),
        (520, ""),
        (200, "0"),
    ]
    assert by_bytes(Receiver(), data) == messages


@pytest.mark.parametrize("name", ["incoming", "unanswered"])
def test_commands_that_a_real_switch_obeyed_are_written_like_that(name: str) -> None:
    for line in agi_bytes(name, ">").splitlines(keepends=True):
        _, variable, _, value, _ = line.decode().split('"')
        assert command("SET VARIABLE", variable, value) == line
