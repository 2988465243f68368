"""The AGI codec: every sample whole, byte by byte, and with bytes behind it."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any
from unittest.mock import ANY

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agi.port import Answer
from agi.protocol import (
    HEADER_NAMES,
    MAX_PENDING_BYTES,
    MAX_VALUE_CHARACTERS,
    HungUp,
    Message,
    Receiver,
    Request,
    Result,
    assigning,
    check_assigned,
    check_proof,
    command,
    proof,
)
from agi.routes import assignments
from charging.asterisk import variables
from charging.call.decide import Decision, Reason
from charging.errors import LocalProtocolError, RemoteProtocolError
from charging.ledger.accounts import Language
from charging.limits import VAIN_WAIT_MAX_S
from charging.service import text
from tests.fakes.agi_client import header
from tests.fakes.recordings import BRANCHES, agi_bytes

HEADER = header("incoming?a=b", "+31:20", "")
REQUEST = Request("incoming", "PJSIP/trunk-1", "1795262400.1", ("+31:20", ""))
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


LINES = HEADER.removesuffix(b"\n").splitlines(keepends=True)
FORGED_END = "x\n" + "".join(HEADER.decode().split("agi_callerid: +31201234567\n")[1:])
"""What a caller would have to be called so that a whole header seems to end within ``agi_callerid``."""


def test_a_header_has_exactly_asterisks_lines() -> None:
    assert [line.split(b":")[0].decode() for line in LINES] == [*HEADER_NAMES, "agi_arg_1", "agi_arg_2"]


@pytest.mark.parametrize("position", range(len(LINES) - 2))
def test_a_header_without_one_of_its_lines_is_foreign(position: int) -> None:
    with pytest.raises(RemoteProtocolError):
        Receiver().receive(b"".join(LINES[:position] + LINES[position + 1 :]) + b"\n")


@pytest.mark.parametrize("position", range(len(LINES)))
@pytest.mark.parametrize("twice", [b"agi_network: yes\n", b"agi_arg_1: +31999\n", b"agi_arg_3: x\n", b"x\n", b": \n"])
def test_a_line_too_many_is_foreign_wherever_it_stands(position: int, twice: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        Receiver().receive(b"".join(LINES[:position]) + twice + b"".join(LINES[position:]) + b"\n")


@pytest.mark.parametrize("position", range(len(LINES) + 1))
def test_a_line_that_a_later_asterisk_adds_is_left_out_wherever_it_stands(position: int) -> None:
    """Else the day on which Asterisk is upgraded is one on which nobody is answered."""
    later = b"agi_callerid_2: +31999\nagi_argument: x\n"
    raw = b"".join(LINES[:position]) + later + b"".join(LINES[position:]) + b"\n"
    for receive in (Receiver.receive, by_bytes):
        assert receive(Receiver(), raw) == [replace(REQUEST, unknown=("agi_callerid_2", "agi_argument"))]


@pytest.mark.parametrize(
    "line",
    [b"agi_arg_9: x", b"agi_arg_: x", b"agi_: x", b"agi_New: x", b"agi_new:x", b" agi_new: x", b"new: x", b"agi_new"],
)
def test_a_line_that_is_none_of_agis_or_an_argument_is_foreign(line: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        Receiver().receive(HEADER.replace(b"agi_dnid", line + b"\nagi_dnid"))


@pytest.mark.parametrize("field", ["caller", "name", "dialled", "redirecting"])
def test_a_line_of_a_callers_that_a_later_asterisk_could_write_asks_nothing(field: str) -> None:
    raw = header("incoming", "+31850000001", **{field: "x\nagi_new: agi_arg_1: +31999"})
    (request,) = Receiver().receive(raw)
    assert request == replace(REQUEST, arguments=("+31850000001",), unknown=("agi_new",))


@pytest.mark.parametrize("position", range(len(LINES) - 1))
def test_two_lines_that_changed_places_are_foreign(position: int) -> None:
    lines = [*LINES]
    lines[position], lines[position + 1] = lines[position + 1], lines[position]
    with pytest.raises(RemoteProtocolError):
        Receiver().receive(b"".join(lines) + b"\n")


@pytest.mark.parametrize("end", range(len(HEADER_NAMES)))
def test_an_end_before_the_last_line_is_foreign(end: int) -> None:
    with pytest.raises(RemoteProtocolError):
        Receiver().receive(b"".join(LINES[:end]) + b"\n")


@pytest.mark.parametrize(
    "written", [b"AGI_CHANNEL: ", b"agi_channel:", b" agi_channel: ", b"agi_channel : ", b"agi_chan: "]
)
def test_a_name_that_is_not_written_as_asterisk_writes_it_is_foreign(written: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        Receiver().receive(HEADER.replace(b"agi_channel: ", written))


@pytest.mark.parametrize("field", ["caller", "name", "dialled", "redirecting"])
@pytest.mark.parametrize(
    "text",
    ["x\n", "x\n\n", "x\nagi_arg_1: +31999", "x\n\n200 result=1", "x\r\n\r\n", "\n", "x\nagi_callingpres: 0"],
)
def test_a_line_break_in_what_the_network_says_is_foreign(field: str, text: str) -> None:
    for receive in (Receiver.receive, by_bytes):
        with pytest.raises(RemoteProtocolError):
            receive(Receiver(), header("incoming", "+31850000001", **{field: text}))


def test_a_forged_end_is_followed_by_the_rest_of_the_true_header() -> None:
    """Why the first answer is needed as a proof: the header's own form cannot tell."""
    data = header("incoming", "+31850000001", caller=FORGED_END.replace("+31:20", "+31999"))
    receiver = Receiver()
    assert receiver.receive(data[: data.index(b"\n\n") + 2])[0].arguments[0] == "+31999"  # type: ignore[union-attr]
    with pytest.raises(RemoteProtocolError, match="not an answer"):
        receiver.receive(data[data.index(b"\n\n") + 2 :])


def test_the_proof_is_its_own_answer_and_nothing_else() -> None:
    """It is noted on the channel, where the switch can be asked for it by another way."""
    assert proof("secret") == b'GET FULL VARIABLE "${SET(CHARGING_PROOF=secret)}"\n'
    check_proof(Result(200, "1", "secret"), "secret")
    for other in (Result(200, "1"), Result(200, "0"), Result(200, "1", "Secret"), Result(510, "", "secret")):
        with pytest.raises(RemoteProtocolError):
            check_proof(other, "secret")


@pytest.mark.parametrize("line", [b"\n", b"hello\n", b"20 result=1\n", b"200 what\n", b"+20 result=1\n"])
def test_an_answer_that_is_none_is_refused(line: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        in_conversation().receive(line)


def header_of(size: int) -> bytes:
    return header("incoming", "x" * (size - len(header("incoming", ""))))


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


@pytest.mark.parametrize("branch", BRANCHES)
def test_a_recorded_request_is_read(branch: str) -> None:
    messages = Receiver().receive(agi_bytes("incoming", "<", branch))
    request = messages[0]
    assert isinstance(request, Request)
    assert request.script == "incoming"
    assert request.channel == "PJSIP/world-00000000"
    called, caller = "+31850000001", "+31200000001"
    assert request.arguments == (called, caller, request.unique_id, request.channel, "allowed", ":>:>|")
    assert messages[1:] == [Result(200, "0")]
    check_assigned(messages[1])  # type: ignore[arg-type]  # a Result, as the line above says


@pytest.mark.parametrize("branch", BRANCHES)
def test_recorded_answers_of_every_kind_are_read(branch: str) -> None:
    data = agi_bytes("answers", "<", branch)
    messages = Receiver().receive(data)
    assert [(each.code, each.value, each.data) for each in messages if isinstance(each, Result)] == [
        (200, "1", ""),
        (200, "0", ""),
        (510, "", "Invalid or unknown command"),
        (520, "", ANY),
        (200, "0", ""),
        (200, "1", "yes"),
    ]
    assert by_bytes(Receiver(), data) == messages


@pytest.mark.parametrize("branch", BRANCHES)
@pytest.mark.parametrize("name", ["incoming", "unanswered"])
def test_commands_that_a_real_switch_obeyed_are_written_like_that(name: str, branch: str) -> None:
    (line,) = agi_bytes(name, ">", branch).decode().splitlines(keepends=True)
    pairs = [pair.split("=") for pair in line.split('"')[1].split(",")]
    assert assigning((variable, value) for variable, value in pairs).decode() == line
    assert pairs[-1][0] == variables.DECISION, "the decision is set last"


MSET_PAIRS_MAX = 24
"""So many has ``MSet`` (``pbx_builtin_setvar_multiple`` in Asterisk's ``main/pbx_variables.c``)."""


def test_a_decision_with_every_member_at_its_longest_is_one_command_that_the_switch_takes_whole() -> None:
    longest: dict[str, Any] = {
        "decision": max(Decision, key=len),
        "reason": max(Reason, key=len),
        "session": "f" * 40,
        "quota_s": 2**53,
        "target": "+" + "9" * 32,
        "ring_s": 600,
        "language": max(Language, key=len),
        "mailbox": "m" * 40,
        "switch": "s" * 32,
        "wait_s": VAIN_WAIT_MAX_S,
    }
    assert set(longest) == {one.name for one in fields(Answer)}, "each member is told with its longest"
    assert text.mailbox(longest["mailbox"]) is None
    assert text.mailbox(longest["mailbox"] + "m") is not None
    pairs = list(assignments(Answer(**longest)))
    assert len(pairs) == len(longest) <= MSET_PAIRS_MAX
    assert len(assigning(pairs)) <= MAX_VALUE_CHARACTERS


@pytest.mark.parametrize("character", list(',"\\()[]\n\0'))
def test_no_value_is_written_that_the_switch_would_take_apart(character: str) -> None:
    with pytest.raises(LocalProtocolError):
        assigning([("CHARGING_MAILBOX", f"318{character}5"), ("CHARGING_DECISION", "forward")])


@pytest.mark.parametrize(
    "result", [Result(200, "-2"), Result(200, "-1"), Result(200, "1"), Result(510, ""), Result(511, "")]
)
def test_variables_are_set_only_where_the_switch_says_that_it_ran_through(result: Result) -> None:
    with pytest.raises(RemoteProtocolError):
        check_assigned(result)
    check_assigned(Result(200, "0"))
