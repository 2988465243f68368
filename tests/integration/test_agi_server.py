"""The FastAGI server over real sockets: what it does for a dialplan, and what bad clients can not do to it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial

import pytest
import structlog

from agi.port import Answer, Declined, IncomingCall, Unproven
from agi.protocol import Request, Result
from agi.routes import routes_for
from agi.server import AgiLimits, AgiOutcome, AgiServer, Conversation
from charging.clock import SystemClock
from charging.door import CannotServe, Guest
from charging.log_limit import LINES
from tests.fakes.agi_client import AgiClient, header
from tests.fakes.ami import DEADLINE_S, eventually

NUMBER, CALLER, UID, CHANNEL = "+31850000001", "+31201234567", "1795262400.1", "PJSIP/trunk-1"
FORWARD = Answer("forward", "credit", "s-1", 61, "+31612345678", 25, "nl", "31850000001", "east")
LIMITS = AgiLimits(connections=20, header_s=10.0, request_s=20.0)
"""Patient enough for a busy machine; tests of one deadline shorten that one."""


@dataclass
class Desk:
    """A desk that answers what it was told to."""

    answer: Answer = FORWARD
    calls: list[IncomingCall] = field(default_factory=list)
    unanswered_calls: list[tuple[str, str]] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)
    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def incoming(self, request: IncomingCall) -> Answer:
        self.calls.append(request)
        if self.meanwhile is not None:
            await self.meanwhile()
        return self.answer

    async def unanswered(self, session: str, dial_status: str) -> Answer:
        self.unanswered_calls.append((session, dial_status))
        return self.answer

    async def abandoned(self, session: str, *, undelivered: bool = False) -> None:
        self.given_up.append(f"{session}, of which no call comes" if undelivered else session)


@dataclass
class Office:
    """A running server, its desk and what was counted."""

    server: AgiServer
    desk: Desk
    outcomes: list[tuple[str, AgiOutcome]]

    @property
    def port(self) -> int:
        return self.server.port

    async def incoming(self, client: AgiClient | None = None, number: str = NUMBER) -> AgiClient:
        """A real call, from beginning to end."""
        client = client or AgiClient()
        await client.call(self.port, "incoming", number, CALLER, UID, CHANNEL, "allowed", "")
        return client

    async def ended(self, count: int = 1) -> AgiOutcome:
        """How the connection that ended last ended, once ``count`` have."""
        await eventually(lambda: len(self.outcomes) >= count)
        return self.outcomes[-1][1]

    async def still_serves(self) -> None:
        """Whatever was done to the server before, a real call is answered; on a busy machine one may be beyond a limit
        that a test has made short."""
        async with asyncio.timeout(DEADLINE_S):
            while (await self.incoming()).variables.get("CHARGING_DECISION") != "forward":
                pass


@pytest.fixture
def limits() -> AgiLimits:
    return LIMITS


def limited(**changes: float) -> pytest.MarkDecorator:
    """Run the test with one limit changed."""
    return pytest.mark.parametrize("limits", [replace(LIMITS, **changes)], ids=["limited"])  # type: ignore[arg-type]


@pytest.fixture
async def office(limits: AgiLimits) -> AsyncIterator[Office]:
    desk, outcomes = Desk(), list[tuple[str, AgiOutcome]]()
    server = AgiServer(
        routes_for(desk),
        SystemClock(),
        limits=limits,
        observer=lambda route, outcome, seconds: outcomes.append((route, outcome)),
    )
    await server.start("127.0.0.1", 0)
    yield Office(server, desk, outcomes)
    await server.close()
    assert server.connections == 0


async def test_a_forward_sets_every_variable_the_decision_last(office: Office) -> None:
    client = await office.incoming()
    assert client.variables == {
        "CHARGING_SWITCH": "east",
        "CHARGING_SESSION": "s-1",
        "CHARGING_REASON": "credit",
        "CHARGING_QUOTA": "61",
        "CHARGING_TARGET": "+31612345678",
        "CHARGING_RING_S": "25",
        "CHARGING_LANGUAGE": "nl",
        "CHARGING_MAILBOX": "31850000001",
        "CHARGING_DECISION": "forward",
    }
    assert "CHARGING_DECISION" in client.commands[-1]
    assert office.desk.calls == [IncomingCall(NUMBER, CALLER, UID, CHANNEL)]
    assert await office.ended() is AgiOutcome.ANSWERED
    assert office.outcomes == [("incoming", AgiOutcome.ANSWERED)]
    assert office.desk.given_up == []


async def test_the_session_is_inherited_by_the_forward_leg(office: Office) -> None:
    client = await office.incoming()
    (command,) = client.commands[1:]
    assert ",__CHARGING_SESSION=s-1," in command


async def test_a_rejection_sets_no_quota(office: Office) -> None:
    office.desk.answer = Answer("reject", "unknown_number")
    client = await office.incoming()
    assert client.variables == {"CHARGING_REASON": "unknown_number", "CHARGING_DECISION": "reject"}


async def test_unanswered_names_the_session_and_how_dialling_ended(office: Office) -> None:
    office.desk.answer = Answer("voicemail", "included", "s-1")
    client = AgiClient()
    await client.call(office.port, "unanswered", "s-1", "BUSY")
    assert office.desk.unanswered_calls == [("s-1", "BUSY")]
    assert client.variables["CHARGING_DECISION"] == "voicemail"


@pytest.mark.parametrize("variable", ["CHARGING_SESSION", "CHARGING_QUOTA", "CHARGING_DECISION"])
async def test_a_caller_who_leaves_before_the_answer_is_delivered_is_given_back(office: Office, variable: str) -> None:
    await office.incoming(AgiClient(leave_at=variable))
    assert await office.ended() is AgiOutcome.CALLER_LEFT
    assert office.desk.given_up == ["s-1"]


async def test_a_caller_who_leaves_while_it_is_decided_is_given_back(office: Office) -> None:
    (reader, writer), gate = await asyncio.open_connection("127.0.0.1", office.port), asyncio.Event()
    office.desk.meanwhile = gate.wait
    writer.write(header("incoming", NUMBER, CALLER, UID, CHANNEL, "allowed", ""))
    writer.write(AgiClient().answer((await reader.readline()).decode()))
    await eventually(lambda: office.desk.calls)
    writer.transport.abort()
    office.desk.meanwhile = None
    await office.incoming()  # another is answered: by now the server has heard of the one who left
    gate.set()
    await eventually(lambda: office.desk.given_up == ["s-1, of which no call comes"])


@limited(request_s=0.3)
async def test_a_switch_that_stalls_is_given_back(office: Office) -> None:
    await office.incoming(AgiClient(stall_at="CHARGING_TARGET"))
    assert await office.ended() is AgiOutcome.DEADLINE
    assert office.desk.given_up == ["s-1"]


async def test_a_command_refused_on_a_dead_channel_is_given_back(office: Office) -> None:
    client = await office.incoming(AgiClient(refuse="CHARGING_DECISION"))
    await office.ended()
    assert office.desk.given_up == ["s-1"]
    assert "CHARGING_DECISION" not in client.variables


async def test_a_hangup_line_does_not_shift_the_answers_and_gives_back(office: Office) -> None:
    client = await office.incoming(AgiClient(hangup_at="CHARGING_QUOTA"))
    assert client.variables["CHARGING_DECISION"] == "forward"
    await office.ended()
    assert office.desk.given_up == ["s-1, of which no call comes"]


async def test_a_desk_that_raises_sets_nothing(office: Office) -> None:
    async def fail() -> None:
        raise ValueError("the desk is on fire")

    office.desk.meanwhile = fail
    client = await office.incoming()
    assert client.variables == {}
    assert await office.ended() is AgiOutcome.FAILED


@pytest.mark.parametrize(
    ("error", "outcome"), [(Unproven("no such call"), AgiOutcome.UNPROVEN), (Declined("not ours"), AgiOutcome.DECLINED)]
)
async def test_a_desk_that_refuses_sets_nothing_and_has_not_failed(
    office: Office, error: Exception, outcome: AgiOutcome
) -> None:
    async def refuse() -> None:
        raise error

    office.desk.meanwhile = refuse
    assert (await office.incoming()).variables == {}
    assert await office.ended() is outcome


@limited(request_s=0.3)
async def test_a_desk_that_takes_too_long_is_broken_off(office: Office) -> None:
    office.desk.meanwhile = asyncio.Event().wait
    client = await office.incoming()
    assert client.variables == {}
    assert await office.ended() is AgiOutcome.DEADLINE
    assert [outcome for _, outcome in office.outcomes] == [AgiOutcome.DEADLINE]


async def test_closing_the_server_gives_back_what_is_being_delivered(office: Office) -> None:
    call = asyncio.create_task(office.incoming(AgiClient(stall_at="CHARGING_TARGET")))
    await eventually(lambda: office.desk.calls)
    await asyncio.sleep(0)
    await office.server.close()
    await call
    assert office.desk.given_up == ["s-1"] or office.outcomes == [("incoming", AgiOutcome.STOPPED)]


@limited(request_s=0.2)
async def test_a_conversation_that_is_stopped_before_its_first_step_is_closed_and_counted(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    proven = Conversation._prove

    def proven_and_stopped(conversation: Conversation, request: Request, answer: Result) -> None:
        proven(conversation, request, answer)
        assert conversation.task is not None
        conversation.task.cancel()

    monkeypatch.setattr(Conversation, "_prove", proven_and_stopped)
    client = await office.incoming()
    await eventually(lambda: office.server.connections == 0)
    assert (client.variables, office.desk.calls) == ({}, [])
    assert office.outcomes == [("incoming", AgiOutcome.STOPPED)]


async def test_a_server_that_closes_closes_who_has_asked_nothing_yet() -> None:
    outcomes = list[AgiOutcome]()
    server = AgiServer({}, SystemClock(), observer=lambda _route, outcome, _seconds: outcomes.append(outcome))
    await server.start("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    await eventually(lambda: server.connections == 1)
    await server.close()
    async with asyncio.timeout(60):
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
    writer.close()
    assert (outcomes, server.connections) == ([AgiOutcome.STOPPED], 0)


async def test_nothing_begins_while_the_server_closes(office: Office) -> None:
    """Whoever was asked for the proof when the order came to stop answers it while another call is given back."""
    begun, ending, may_end = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def reluctantly() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ending.set()
            await may_end.wait()

    office.desk.meanwhile = reluctantly
    call = asyncio.create_task(office.incoming())
    await begun.wait()
    reader, writer = await asyncio.open_connection("127.0.0.1", office.port)
    writer.write(header("incoming", NUMBER, CALLER, UID, CHANNEL, "allowed", ""))
    proof = (await reader.readline()).decode()
    closing = asyncio.create_task(office.server.close())
    await ending.wait()
    with contextlib.suppress(ConnectionError):
        writer.write(AgiClient().answer(proof))
        async with asyncio.timeout(60):
            assert await reader.read() == b""
    may_end.set()
    await closing
    await call
    assert len(office.desk.calls) == 1
    writer.transport.abort()


@pytest.mark.parametrize("unasked", [b"200 result=1\n", b"what?\n"])
async def test_what_is_answered_while_nothing_was_asked_gives_the_decision_back(office: Office, unasked: bytes) -> None:
    gate = asyncio.Event()
    office.desk.meanwhile = gate.wait
    reader, writer = await asyncio.open_connection("127.0.0.1", office.port)
    writer.write(header("incoming", NUMBER, CALLER, UID, CHANNEL, "allowed", ""))
    writer.write(AgiClient().answer((await reader.readline()).decode()))
    await eventually(lambda: office.desk.calls)
    (conversation,) = office.server.open
    writer.write(unasked * 2000)
    await eventually(lambda: conversation._fault is not None)
    gate.set()
    assert await office.ended() is AgiOutcome.BAD_REQUEST
    assert office.desk.given_up == ["s-1, of which no call comes"]
    writer.transport.abort()


@pytest.mark.parametrize("number", ["", "abc", "+31 20", "1" * 33, "++31", "31+", "٣١٢٠", "31;drop"])
async def test_a_number_that_is_none_is_refused(office: Office, number: str) -> None:
    client = await office.incoming(number=number)
    assert client.variables == {}
    assert await office.ended() is AgiOutcome.BAD_REQUEST
    assert office.desk.calls == []


async def test_a_callers_number_is_bounded_and_printable(office: Office) -> None:
    await AgiClient().call(office.port, "incoming", NUMBER, "\x1b[31m" + "9" * 500, UID, CHANNEL, "allowed", "")
    assert office.desk.calls[0].caller == ("[31m" + "9" * 500)[:80]


async def test_an_unknown_route_is_counted_under_one_name(office: Office) -> None:
    await AgiClient().call(office.port, "no-such-route-%s")
    await office.ended()
    assert office.outcomes == [("unknown", AgiOutcome.UNKNOWN_ROUTE)]


async def test_a_query_behind_the_route_is_no_part_of_it(office: Office) -> None:
    client = AgiClient()
    await client.call(office.port, "incoming?x=1", NUMBER, CALLER, UID, CHANNEL, "allowed", "")
    assert client.variables["CHARGING_DECISION"] == "forward"


async def test_a_client_that_connects_and_leaves_harms_nobody(office: Office) -> None:
    for _ in range(50):
        _, writer = await asyncio.open_connection("127.0.0.1", office.port)
        writer.transport.abort()
    await eventually(lambda: office.server.connections == 0)
    await office.still_serves()


@limited(header_s=0.2)
async def test_half_a_header_is_given_up(office: Office) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", office.port)
    writer.write(header("incoming", NUMBER)[:100])
    assert await reader.read() == b""
    assert await office.ended() is AgiOutcome.HEADER_LATE
    writer.close()
    await office.still_serves()


@limited(header_s=0.2)
async def test_a_slow_header_has_one_deadline_not_one_a_byte(office: Office) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", office.port)

    async def drip() -> None:
        while not reader.at_eof():
            writer.write(b"x")
            await asyncio.sleep(0.02)

    dripping = asyncio.create_task(drip())
    async with asyncio.timeout(60):
        with contextlib.suppress(ConnectionResetError):  # a byte was on its way as the server closed
            assert await reader.read() == b""
    dripping.cancel()
    await asyncio.gather(dripping, return_exceptions=True)
    writer.transport.abort()
    assert await office.ended() is AgiOutcome.HEADER_LATE


@pytest.mark.parametrize("unit", [b"x", b"agi_a: b\n", b"\xff", b"\n"])
async def test_an_oversized_header_is_refused(office: Office, unit: bytes) -> None:
    client = AgiClient()
    await client.call(office.port, "incoming", raw=unit * (200_000 // len(unit)))
    await office.ended()
    assert office.outcomes[0][1] in (AgiOutcome.FOREIGN_HEADER, AgiOutcome.CALLER_LEFT)
    await office.still_serves()


async def test_a_name_that_is_no_utf8_is_a_call_like_any_other(office: Office) -> None:
    client = AgiClient()
    raw = header("incoming", NUMBER, CALLER, UID, CHANNEL, "allowed", "").replace(b"Caller", b"\xff\xfe\xc3")
    await client.call(office.port, "incoming", raw=raw)
    assert client.variables["CHARGING_DECISION"] == "forward"


FORGED = header("incoming", "+31999", CALLER, UID, CHANNEL, "allowed", "").decode().split("agi_callerid: ")[1]
"""A caller's name within which a whole header seems to end, in whose arguments another number stands."""
TRUE_FIELDS = ("caller", "name", "dialled", "redirecting")


TURNED_AWAY = {"CHARGING_REASON": "foreign_header", "CHARGING_DECISION": "reject"}


@pytest.mark.parametrize("field", TRUE_FIELDS)
@pytest.mark.parametrize("text", ["x\nagi_arg_1: +31999", "x\n\n", "\n", "x\n\n200 result=1"])
async def test_a_line_break_smuggled_into_a_name_asks_nothing(office: Office, field: str, text: str) -> None:
    client = AgiClient()
    await client.call(
        office.port, "incoming", raw=header("incoming", NUMBER, CALLER, UID, CHANNEL, "allowed", "", **{field: text})
    )
    assert await office.ended() is AgiOutcome.FOREIGN_HEADER
    assert (office.desk.calls, client.variables) == ([], TURNED_AWAY)


async def test_a_header_with_a_line_of_a_later_asterisk_is_answered_and_the_line_is_told(office: Office) -> None:
    raw = header("incoming", NUMBER, CALLER, UID, CHANNEL, "allowed", "")
    with structlog.testing.capture_logs() as logs:
        for nth in range(3):
            await AgiClient().call(office.port, "incoming", raw=raw.replace(b"agi_arg_1", b"agi_new: 1\nagi_arg_1"))
            assert await office.ended(nth + 1) is AgiOutcome.ANSWERED
    assert [one["names"] for one in logs if one["event"] == "agi_header_line_unknown"] == [("agi_new",)], "once an hour"
    assert len(office.desk.calls) == 3


async def test_whose_header_is_too_long_is_turned_away_though_it_is_still_being_written(office: Office) -> None:
    """Asterisk writes the whole before it reads."""
    reader, writer = await asyncio.open_connection("127.0.0.1", office.port)
    raw = header("incoming", NUMBER, CALLER, UID, CHANNEL, "allowed", "", redirecting="1" * 4_000_000)
    client = AgiClient()
    writer.write(raw)
    await writer.drain()
    answer = client.answer((await reader.readline()).decode().rstrip("\n"))
    assert client.variables == TURNED_AWAY
    writer.write(answer)
    assert await reader.read() == b"", "nothing more is asked"
    writer.close()
    assert await office.ended() is AgiOutcome.FOREIGN_HEADER


async def test_whoever_is_turned_away_and_does_not_leave_is_cut_off(office: Office) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", office.port)
    writer.write(b"no header\n\n")
    assert await reader.readline() == b'EXEC MSet "CHARGING_REASON=foreign_header,CHARGING_DECISION=reject"\n'
    assert await office.ended() is AgiOutcome.FOREIGN_HEADER
    writer.transport.abort()


def _later(time: Callable[[], float], by_s: float) -> float:
    return time() + by_s


@pytest.mark.parametrize("behind", ["", "200 result=1\n" * 12, "520-\n", "HANGUP\n", "200 result=1 (x)\n"])
@pytest.mark.parametrize("cut", [False, True], ids=["at once", "line by line"])
async def test_a_forged_header_with_forged_answers_asks_nothing(
    office: Office, monkeypatch: pytest.MonkeyPatch, behind: str, cut: bool
) -> None:
    """However the network cuts the stream: the answer to the proof cannot be known in advance."""
    raw = header(
        "incoming", NUMBER, CALLER, UID, CHANNEL, "allowed", "", caller=FORGED + behind, redirecting="x\n520 end\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", office.port)
    writer.write(raw[: raw.index(b"\n\n") + 2] if cut else raw)
    await reader.readline()  # the proof is asked for before the rest comes
    if cut:
        for line in raw[raw.index(b"\n\n") + 2 :].splitlines(keepends=True):
            writer.write(line)
            await asyncio.sleep(0)
    await asyncio.sleep(0.05)
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "time", partial(_later, loop.time, LIMITS.header_s))  # and nothing else comes
    assert await office.ended() is AgiOutcome.FOREIGN_HEADER
    writer.transport.abort()
    assert office.desk.calls == []
    await office.still_serves()


async def test_a_program_that_cannot_answer_is_not_taken_for_a_switch(office: Office) -> None:
    client = AgiClient(refuse="GET FULL VARIABLE")
    await office.incoming(client)
    assert await office.ended() is AgiOutcome.FOREIGN_HEADER
    assert office.desk.calls == []


@pytest.mark.parametrize(
    "arguments",
    [
        (NUMBER, CALLER, UID, CHANNEL, "allowed"),
        (NUMBER, CALLER, UID, CHANNEL, "allowed", "", "x"),
        (NUMBER, CALLER, UID, CHANNEL, "x", ""),
        (NUMBER, CALLER, CHANNEL, UID, "allowed", ""),
        (NUMBER, CALLER, "1795262400.2", CHANNEL, "allowed", ""),
        (NUMBER, CALLER, UID, "PJSIP/trunk-2", "allowed", ""),
    ],
)
async def test_arguments_that_are_not_the_dialplans_ask_nothing(office: Office, arguments: tuple[str, ...]) -> None:
    await AgiClient().call(office.port, "incoming", *arguments)
    assert await office.ended() is AgiOutcome.BAD_REQUEST
    assert office.desk.calls == []


async def test_answers_that_nobody_asked_for_are_refused(office: Office) -> None:
    raw = header("incoming", NUMBER, CALLER, UID, CHANNEL, "allowed", "") + b"200 result=1\n" * 20
    client = AgiClient()
    await client.call(office.port, "incoming", raw=raw)
    assert await office.ended() is AgiOutcome.FOREIGN_HEADER
    assert office.desk.calls == []


async def test_a_flood_of_silent_clients_shuts_no_call_out(office: Office) -> None:
    writers = []
    for _ in range(LIMITS.connections * 3):
        _, writer = await asyncio.open_connection("127.0.0.1", office.port)
        writers.append(writer)
    await office.still_serves()
    assert office.server.connections <= LIMITS.connections
    assert ("unknown", AgiOutcome.CROWDED_OUT) in office.outcomes
    for writer in writers:
        writer.transport.abort()


async def test_when_every_place_is_taken_by_a_call_the_newcomer_is_refused(office: Office) -> None:
    gate = asyncio.Event()
    office.desk.meanwhile = gate.wait
    calls = [asyncio.create_task(office.incoming()) for _ in range(LIMITS.connections)]
    await eventually(lambda: len(office.desk.calls) == LIMITS.connections)
    turned_away = await office.incoming()
    assert turned_away.variables == {}
    gate.set()
    for call in calls:
        assert (await call).variables["CHARGING_DECISION"] == "forward"


@limited(connections=2)
async def test_complete_but_silent_clients_shut_no_call_out(office: Office) -> None:
    """They send a whole header and answer nothing: they make room as who sends none, and nobody decided anything."""
    writers = []
    for _ in range(30):
        _, writer = await asyncio.open_connection("127.0.0.1", office.port)
        writer.write(header("incoming", NUMBER, CALLER, UID, CHANNEL, "allowed", ""))
        writers.append(writer)
    await eventually(lambda: len(office.outcomes) >= 28)
    await office.still_serves()
    assert len(office.desk.calls) == 1
    for writer in writers:
        writer.transport.abort()


async def test_many_calls_at_once_are_each_answered(office: Office) -> None:
    calls = [asyncio.create_task(office.incoming()) for _ in range(LIMITS.connections)]
    for call in calls:
        assert (await call).variables["CHARGING_DECISION"] == "forward"


async def test_a_port_that_is_taken_is_an_error(office: Office) -> None:
    other = AgiServer({}, SystemClock())
    with pytest.raises(CannotServe, match=r"agi.port: cannot listen on 127.0.0.1:\d+: Address already in use; free it"):
        await other.start("127.0.0.1", office.port)
    await other.close()


@pytest.mark.parametrize(
    ("said", "event"), [(b"no header\n\n", "agi_header_foreign"), (header("incoming"), "agi_request_refused")]
)
async def test_strangers_fill_no_disk_with_what_they_make_us_log(office: Office, said: bytes, event: str) -> None:
    """Any program on the switch's machine may connect as often as it likes."""
    with structlog.testing.capture_logs() as logs:
        for number in range(1, LINES + 11):
            await AgiClient().call(office.port, "incoming", raw=said)
            await office.ended(number)
    assert [one["event"] for one in logs] == [event] * LINES


async def test_a_door_that_breaks_is_reported_for_no_call_would_be_let_in_again(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving = asyncio.create_task(office.server.serve())

    def broken(_server: AgiServer, _guest: Guest, connection: socket.socket) -> None:
        connection.close()
        raise OSError("no random bytes")

    monkeypatch.setattr("agi.server.Conversation", broken)
    _, writer = await asyncio.open_connection("127.0.0.1", office.port)
    with pytest.raises(OSError, match="no random bytes"):
        await asyncio.wait_for(serving, 30)
    writer.transport.abort()


async def test_a_server_that_is_closed_has_served(office: Office) -> None:
    serving = asyncio.create_task(office.server.serve())
    await asyncio.sleep(0)
    await office.server.close()
    assert await asyncio.wait_for(serving, 30) is None  # type: ignore[func-returns-value]  # it returns, and raises nothing
